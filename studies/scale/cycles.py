"""Real clients in processes of their own against one server: whole trials that sleep in place of training.

`product` runs `advisor.search.shared_keeper.SharedKeeper` as the search does; `short lock` and `proxy` make the calls
of `client` in the order of `protocols`. Rungs take what the simulation takes for them, and end where it ends them.
"""

import multiprocessing
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from optuna.storages import GrpcStorageProxy

from advisor.search.live_trial import LiveTrial
from advisor.search.sampling import make_sampler
from advisor.search.shared_keeper import SharedKeeper
from advisor.search.sharing import HEARTBEAT_S
from advisor.search.study import make_pruner
from studies.postgres_server import PostgresServer
from studies.scale.client import N_WARM_STARTS, RUNG_STEPS, Client, open_shared, points, record, reports, settings
from studies.scale.durations import recorded_shape
from studies.scale.operations import proxy, server_with_study
from studies.scale.sampling_cost import draw_copied, draw_limited
from studies.scale.server_load import ServerClock, busy_s, clear, fill, process_s

# Finished trials before each run.
N_FINISHED = 1000
WARM_UP_S = 5.0
KINDS = ("product", "short lock", "proxy")
_ENDLESS = 10**9


@dataclass(slots=True, kw_only=True)
class Window:
    """The time that is counted, and what lies in it."""

    begin_s: float
    end_s: float
    trained_s: float = 0.0
    n_trials: int = 0
    asks_s: list[float] = field(default_factory=list)

    @property
    def is_over(self) -> bool:
        """Has it passed?"""
        return time.perf_counter() >= self.end_s

    @property
    def has_begun(self) -> bool:
        """Is there anything to count?"""
        return time.perf_counter() >= self.begin_s

    def train(self, duration_s: float) -> None:
        """Sleep in the place of a rung, to the end of the window at most."""
        now_s = time.perf_counter()
        until_s = min(now_s + duration_s, max(now_s, self.end_s))
        time.sleep(until_s - now_s)
        self.trained_s += max(0.0, min(until_s, self.end_s) - max(now_s, self.begin_s))


class _NoRunner:
    """Stands for what trains: it writes checkpoints."""

    def checkpoint(self, number: int, folder: Path) -> None:
        """Write something."""
        folder.mkdir()
        (folder / "state").write_text(str(number))


class ProductWorker:
    """A worker as `peft-advisor worker` is one."""

    def __init__(self, url: str, folder: Path, seed: int) -> None:
        """Join the study."""
        self._shared = open_shared(url)
        self._keeper = SharedKeeper(
            shared=self._shared, folder=folder, settings=settings(), clock=time.time, journal=None
        )
        self._shared.study.sampler, self._shared.study.pruner = make_sampler(0, 0), make_pruner(N_WARM_STARTS)
        self._keeper.pick_up()
        self._rng = random.Random(seed)

    def ask(self) -> LiveTrial:
        """Return a new trial."""
        live = self._keeper.ask(_ENDLESS, 0, 0)
        assert live is not None
        return live

    def reached(self, live: LiveTrial, rung: int) -> None:
        """Do what the search does at a rung."""
        live.reports.append(reports(live.number, [self._rng.random()] * (rung + 1))[-1])
        live.is_undecided = True
        self._keeper.keep_live(_NoRunner(), [live], [])  # type: ignore[arg-type]
        self._keeper.news()
        last = live.reports[-1]
        live.trial.report(last.metrics[settings().metric], last.step)
        if rung < len(RUNG_STEPS) - 1:
            live.trial.should_prune()  # what it says is not heeded: where a trial ends is drawn

    def end(self, live: LiveTrial) -> None:
        """End a trial."""
        self._keeper.finish(live, record(live.number, [one.metrics[settings().metric] for one in live.reports]))
        self._keeper.forget(live)


class OtherWorker:
    """A worker of a remedy, or behind the proxy."""

    def __init__(self, shared: Any, seed: int) -> None:
        """Join the study."""
        self._client = Client(shared, seed=seed)
        self._client.read()
        self._rng = random.Random(seed)
        self._is_direct = not isinstance(shared, GrpcStorageProxy)
        self._values: dict[int, list[float]] = {}
        self._live: LiveTrial | None = None
        if self._is_direct:
            threading.Thread(target=self._beat, daemon=True).start()

    def ask(self) -> LiveTrial:
        """Return a new trial."""
        draw = draw_limited if self._is_direct else draw_copied
        draw(self._client.read(), settings().space, self._rng.randrange(1 << 30))
        if self._is_direct:
            with self._client.storage.exclusive(self._client.shared.study_id):
                self._client.is_open()
                self._client.queued_by_query()
                self._client.count()
                self._live = self._client.create()
        else:
            self._live = self._client.create()
        self._values[self._live.number] = []
        return self._live

    def reached(self, live: LiveTrial, rung: int) -> None:
        """Do what the search would do at a rung."""
        shown = self._values[live.number]
        shown.append(self._rng.random())
        self._client.keep(live, shown)
        if not self._is_direct:
            self._client.read()
        self._client.report(live)
        if rung < len(RUNG_STEPS) - 1:
            self._client.prune(live)

    def end(self, live: LiveTrial) -> None:
        """End a trial."""
        self._live = None
        self._client.finish(live)

    def _beat(self) -> None:
        while True:
            time.sleep(HEARTBEAT_S)
            live = self._live
            if live is not None:
                self._client.beat(live)
            self._client.stale_by_query()


def measure_cycles(
    kinds: Sequence[str], n_clients: Sequence[int], means_s: Sequence[float], *, duration_s: float
) -> list[dict[str, Any]]:
    """Let clients work beside each other, in all combinations.

    Args:
        kinds: Of `KINDS`.
        n_clients: Processes.
        means_s: Of a trial; 0 for trials that take no time, which is as fast as it goes.
        duration_s: Seconds that are counted.
    """
    rows = []
    points(), settings(), recorded_shape()  # once, before the processes are forked
    with server_with_study() as server:
        for mean_s in means_s:
            for kind in kinds:
                for n in n_clients:
                    clear(server)
                    fill(server, N_FINISHED, points(), running=False)
                    rows.append(_measure(server, kind, n, mean_s=mean_s, duration_s=duration_s))
                    print(rows[-1], flush=True)
    return rows


def _measure(server: PostgresServer, kind: str, n: int, *, mean_s: float, duration_s: float) -> dict[str, Any]:
    with _workers(server, kind) as (join, proxy_pid):
        barrier = multiprocessing.Barrier(n + 1)
        pipes, processes = [], []
        for number in range(n):
            receiver, sender = multiprocessing.Pipe(duplex=False)
            process = multiprocessing.get_context("fork").Process(
                target=_client, args=(join, number, mean_s, duration_s, barrier, sender)
            )
            process.start()
            pipes.append(receiver)
            processes.append(process)
        barrier.wait()
        time.sleep(WARM_UP_S)
        clock = ServerClock(server)
        before = clock(), process_s(proxy_pid) if proxy_pid else 0.0
        all_before_s = busy_s()
        time.sleep(duration_s)
        server_s, proxy_s = clock() - before[0], (process_s(proxy_pid) if proxy_pid else 0.0) - before[1]
        all_s = busy_s() - all_before_s
        done = [pipe.recv() for pipe in pipes]
        for process in processes:
            process.join()
    ours = (server_s + proxy_s) / duration_s + sum(cpu_s for _, cpu_s in done) / (duration_s + WARM_UP_S)
    asks = sorted(one for window, _ in done for one in window.asks_s)
    n_trials = sum(window.n_trials for window, _ in done)
    return {
        "kind": kind, "clients": n, "mean_s": mean_s, "duration_s": duration_s, "trials": n_trials,
        "busy": sum(window.trained_s for window, _ in done) / (n * duration_s), "trials_per_s": n_trials / duration_s,
        "ask_p50_s": statistics.median(asks) if asks else None,
        "ask_p99_s": asks[int(0.99 * (len(asks) - 1))] if asks else None, "server_cores": server_s / duration_s,
        "client_cores": sum(cpu_s for _, cpu_s in done) / (duration_s + WARM_UP_S), "proxy_cores": proxy_s / duration_s,
        "other_cores": max(0.0, all_s / duration_s - ours),
    }  # fmt: skip


Join = Callable[[int], ProductWorker | OtherWorker]


@contextmanager
def _workers(server: PostgresServer, kind: str) -> Iterator[tuple[Join, int | None]]:
    url = server.url_with_password
    if kind == "product":
        with tempfile.TemporaryDirectory(prefix="scale-") as folder:
            yield lambda seed: ProductWorker(url, Path(folder), seed), None
    elif kind == "proxy":
        with proxy(server) as (pid, port):
            yield lambda seed: OtherWorker(GrpcStorageProxy(host="localhost", port=port), seed), pid
    else:
        yield lambda seed: OtherWorker(open_shared(url, slim=True), seed), None


def _client(join: Join, number: int, mean_s: float, duration_s: float, barrier: Any, sender: Any) -> None:
    worker = join(number)
    rng, shapes = random.Random(number), recorded_shape().trials
    barrier.wait()
    began_s, cpu_s = time.perf_counter(), time.process_time()
    window = Window(begin_s=began_s + WARM_UP_S, end_s=began_s + WARM_UP_S + duration_s)
    while not window.is_over:
        _one_trial(worker, window, [mean_s * rung for rung in rng.choice(shapes)])
    sender.send((window, time.process_time() - cpu_s))


def _one_trial(worker: ProductWorker | OtherWorker, window: Window, rungs: Sequence[float]) -> None:
    began_s = time.perf_counter()
    live = worker.ask()
    if began_s >= window.begin_s:
        window.asks_s.append(time.perf_counter() - began_s)
    for rung, duration_s in enumerate(rungs):
        window.train(duration_s)
        if window.is_over:
            return
        worker.reached(live, rung)
    worker.end(live)
    window.n_trials += window.has_begun and not window.is_over
