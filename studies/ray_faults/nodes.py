"""A local Ray cluster that can be broken: a process of its own, since Ray wants a main thread for it.

    python -m studies.ray_faults.nodes

Prints the address of its head, then reads commands, one on a line: `node` kills a node that is not the head, with
everything on it, and starts another one after `BACK_AFTER_S` seconds; `head` kills the head and starts it again at the
same port, with the other nodes. Prints a line when a command is done, and ends with its input.
"""

import os
import subprocess
import sys
import time

BACK_AFTER_S = 3.0
N_NODES = 3
OBJECT_STORE_BYTES = 80 * 1024**2


class Nodes:
    """The study's end: starts the process and tells it what to do."""

    def __init__(self) -> None:
        """Start the cluster."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "studies.ray_faults.nodes"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0"},
        )  # fmt: skip
        self.address = self._answer()

    def do(self, command: str) -> None:
        """Let it do something, and wait until it is done."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()
        self._answer()

    def stop(self) -> None:
        """End the cluster."""
        self._process.communicate(timeout=60)

    def _answer(self) -> str:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("done "):
                return line.split()[1]
        raise RuntimeError("the cluster ended")


class _Cluster:
    """The other end."""

    def __init__(self) -> None:
        self._port: int | None = None
        self.start()

    def start(self) -> None:
        from ray.cluster_utils import Cluster

        self._cluster = Cluster()
        for _ in range(N_NODES):
            self.add()
        self._port = int(self.address.rpartition(":")[2])

    def add(self) -> None:
        is_head = self._cluster.head_node is None
        port = {"gcs_server_port": self._port} if is_head and self._port is not None else {}
        self._cluster.add_node(
            num_cpus=1, object_store_memory=OBJECT_STORE_BYTES, include_dashboard=False, dashboard_port=None, **port
        )

    @property
    def address(self) -> str:
        return str(self._cluster.address)

    def node(self) -> None:
        self._cluster.remove_node(next(iter(self._cluster.worker_nodes)), allow_graceful=False)
        time.sleep(BACK_AFTER_S)
        self.add()

    def head(self) -> None:
        """Kill the head; the other nodes, which do not live without it, are killed when it comes back."""
        self._cluster.head_node.kill_all_processes(check_alive=False, allow_graceful=False, wait=True)
        time.sleep(BACK_AFTER_S)
        for node in list(self._cluster.worker_nodes):
            node.kill_all_processes(check_alive=False, allow_graceful=False, wait=True)
        self.start()

    def stop(self) -> None:
        self._cluster.shutdown()


def main() -> None:
    """Serve one study."""
    cluster = _Cluster()
    print(f"done {cluster.address}", flush=True)
    for line in sys.stdin:
        {"node": cluster.node, "head": cluster.head}[line.strip()]()
        print(f"done {cluster.address}", flush=True)
    cluster.stop()


if __name__ == "__main__":
    main()
