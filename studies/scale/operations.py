"""What each call takes: processor seconds of client, proxy and server apart, and seconds by the clock.

Sizes are crossed: finished trials (written with COPY) and running ones. Per size one client goes through whole trials,
so that the number of running trials stays; each call is measured alone, with all others waiting.
"""

import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.storages import GrpcStorageProxy

from studies.postgres_server import PostgresServer, postgres_server
from studies.scale.client import RUNG_STEPS, Client, begin, open_shared, points, values
from studies.scale.server_load import ServerClock, clear, fill, process_s

# Whole trials at a size: at most, and until this many seconds have gone by (but at least one).
MOST_TRIALS = 20
ENOUGH_S = 4.0
_FETCHED = 1000


class Meter:
    """Measures calls of one client."""

    def __init__(self, server: PostgresServer, *, proxy_pid: int | None = None) -> None:
        """Take the server, and the process of the proxy if there is one."""
        self._server_clock = ServerClock(server)
        self._proxy_pid = proxy_pid
        self._round_trips = 0
        self._all: dict[str, list[tuple[float, ...]]] = defaultdict(list)

    def listen(self, engine: sqlalchemy.Engine) -> None:
        """Count the round trips of an engine: statements, beginnings and ends of transactions."""

        def count(*_: object) -> None:
            self._round_trips += 1

        for event in ("before_cursor_execute", "begin", "commit", "rollback"):
            sqlalchemy.event.listen(engine, event, count)

    def __call__(self, name: str, call: Callable[[], Any]) -> Any:
        """Call, and note what it took."""
        before = self._now()
        result = call()
        self._all[name].append(tuple(now - then for now, then in zip(self._now(), before, strict=True)))
        return result

    def _now(self) -> tuple[float, ...]:
        proxy_s = process_s(self._proxy_pid) if self._proxy_pid else 0.0
        server_s = self._server_clock() + self._server_clock.ended_s()
        return (time.process_time(), proxy_s, server_s, time.perf_counter(), float(self._round_trips))

    def found(self) -> dict[str, dict[str, float]]:
        """Return means of processor seconds and the median by the clock, by name of the call."""
        return {name: _found(all_of_it) for name, all_of_it in self._all.items()}


def _found(measured: Sequence[tuple[float, ...]]) -> dict[str, float]:
    # The first call at a size also reads what was just written there: it belongs to no worker that is under way.
    usual = measured[1:] or measured
    columns = list(zip(*usual, strict=True))
    client_s, proxy_s, server_s = (statistics.fmean(column) for column in columns[:3])
    return {
        "n": len(usual), "client_s": client_s, "proxy_s": proxy_s, "server_s": server_s,
        "wall_s": statistics.median(columns[3]), "round_trips": statistics.median(columns[4]),
    }  # fmt: skip


def measure_operations(n_finished: Sequence[int], n_running: Sequence[int]) -> list[dict[str, Any]]:
    """Measure all calls at all sizes, with Optuna's cache and with the slim one; one row per size and kind."""
    rows: list[dict[str, Any]] = []
    with server_with_study() as server:
        for finished in n_finished:
            for kind in ("direct", "slim"):
                clear(server)
                fill(server, finished, points(), running=False)
                rows += _at(server, kind, finished, n_running)
    return rows


@contextmanager
def server_with_study() -> Iterator[PostgresServer]:
    """Run a server with the empty study in it."""
    with postgres_server() as server, tempfile.TemporaryDirectory(prefix="scale-") as folder:
        begin(server.url_with_password, Path(folder))
        try:
            yield server
        finally:
            server.stop()


def _at(server: PostgresServer, kind: str, finished: int, n_running: Sequence[int]) -> Iterator[dict[str, Any]]:
    shared = open_shared(server.url_with_password, slim=kind == "slim")
    client, there = Client(shared), 0
    cold = Meter(server)
    cold("cold", client.read)
    for running in n_running:
        fill(server, running - 1 - there, points(), running=True)  # and one of the client
        there = running - 1
        meter = Meter(server)
        meter.listen(shared.storage.engine)
        _repeat(partial(one_trial, client, meter, is_direct=True))
        calls = meter.found()
        if running == n_running[0]:
            calls |= cold.found() | _fetches(client, server, finished)
        row = {"kind": kind, "finished": finished, "running": running, "calls": calls}
        print(_line(row), file=sys.stderr, flush=True)
        yield row
    shared.close()


def _repeat(call: Callable[[], None]) -> None:
    began_s, n = time.perf_counter(), 0
    while n < 2 or (n < MOST_TRIALS and time.perf_counter() - began_s < ENOUGH_S):
        call()
        n += 1


def measure_proxy(n_finished: Sequence[int], n_running: Sequence[int]) -> list[dict[str, Any]]:
    """Measure the calls that there are through Optuna's proxy."""
    rows: list[dict[str, Any]] = []
    with server_with_study() as server:
        for finished in n_finished:
            clear(server)
            fill(server, finished, points(), running=False)
            with proxy(server) as (pid, port):
                rows += _through_proxy(server, Client(GrpcStorageProxy(port=port)), pid, finished, n_running)
    return rows


def _through_proxy(
    server: PostgresServer, client: Client, pid: int, finished: int, n_running: Sequence[int]
) -> Iterator[dict[str, Any]]:
    first = Meter(server, proxy_pid=pid)
    for _ in range(4):  # from the second time on the proxy has all of it
        first("fetch", client.read)
        client.cache._cache.delete_study_cache(client.study._study_id)  # type: ignore[attr-defined]
    there = 0
    for running in n_running:
        fill(server, running - 1 - there, points(), running=True)
        there = running - 1
        meter = Meter(server, proxy_pid=pid)
        _repeat(partial(one_trial, client, meter, is_direct=False))
        calls = meter.found()
        if running == n_running[0]:
            calls |= _each(first.found(), finished)
        row = {"kind": "proxy", "finished": finished, "running": running, "calls": calls}
        print(_line(row), file=sys.stderr, flush=True)
        yield row


def _fetches(client: Client, server: PostgresServer, finished: int) -> dict[str, dict[str, float]]:
    """Measure reading finished trials whose identifiers are known, per trial."""
    ids = range(1, min(finished, _FETCHED) + 1)
    if not ids:
        return {}
    meter = Meter(server)
    for _ in range(4):
        found = meter("fetch", lambda: client.fetch(ids))
        meter("parse", partial(client.parse, found))
        meter("fetch by query", lambda: client.fetch_by_query(ids))
    return _each(meter.found(), len(ids))


def _each(measured: dict[str, dict[str, float]], n_trials: int) -> dict[str, dict[str, float]]:
    """Return what a call takes for each of the trials that it reads."""
    return {
        name: {key: value if key in ("n", "round_trips") else value / n_trials for key, value in found.items()}
        for name, found in measured.items()
    }


def _line(row: dict[str, Any]) -> str:
    shown = (
        f"{name} {1e3 * found['client_s']:.1f}+{1e3 * found['proxy_s']:.1f}+{1e3 * found['server_s']:.1f}"
        for name, found in row["calls"].items()
    )
    return f"{row['kind']} {row['finished']} {row['running']} ms: {', '.join(shown)}"


def one_trial(client: Client, meter: Meter, *, is_direct: bool) -> None:
    """Go through a trial, and through what would do the same at less cost."""
    rng = random.Random(0)
    if is_direct:
        for name, call in (
            ("is open", client.is_open), ("lock", client.lock), ("stale", client.stale), ("count", client.count),
            ("stale by query", client.stale_by_query), ("queued by query", client.queued_by_query),
        ):  # fmt: skip
            meter(name, call)
        made = meter("create by query", client.create_by_query)
        other = meter("open", lambda: client.open(made))
        client.keep(other, values(rng, 1))
        client.finish(other)
    meter("read", client.read)
    live = meter("create", client.create)
    if is_direct:
        meter("beat", lambda: client.beat(live))
    for rungs in (1, len(RUNG_STEPS)):
        meter("keep", partial(client.keep, live, values(rng, rungs)))
        meter("report", lambda: client.report(live))
    meter("prune", lambda: client.prune(live))
    meter("finish", lambda: client.finish(live))


@contextmanager
def proxy(server: PostgresServer) -> Iterator[tuple[int, int]]:
    """Run Optuna's proxy in a process of its own; yield its process id and port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-m", "studies.scale.operations", server.url_with_password, str(port)])
    try:
        # No channel in this process: gRPC does not survive a fork, and clients are forked from it.
        while process.poll() is None and not _listens(port):
            time.sleep(0.1)
        yield process.pid, port
    finally:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


if __name__ == "__main__":
    optuna.storages.run_grpc_proxy_server(
        open_shared(sys.argv[1]).study._storage, host="localhost", port=int(sys.argv[2])
    )
