"""A simulation of workers that share one study: what waits for what, and how much of the time is left for training.

Whatever takes time is a process, written as a generator of steps: seconds that pass without anybody else (`Spend`:
training, a network, a processor of one's own), seconds of something that serves a few at a time, first come first
served (`Use`: the cores of the database server, the proxy), or a lock (`Take`, `Give`).

A slot asks for a trial, trains rung after rung, reports each and asks whether to go on, ends it, and begins again;
beside it a heartbeat. Which calls these are, and what is done under the lock of the study, is a `Protocol`. The slots
of a worker share one search loop, which does one thing at a time, and one copy of the history.
Not in it: memory, limits of connections, lost messages; PostgreSQL shares its cores out in slices, here a request has a
core to itself until it is answered, which is the same work and other waiting times.
"""

import heapq
import itertools
import math
import random
import typing
from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field

HEARTBEAT_S = 10.0


@dataclass(frozen=True, slots=True)
class Spend:
    """Let time pass."""

    duration_s: float


@dataclass(slots=True)
class Resource:
    """Something that serves `capacity` at a time: cores of a server, or 1 for a lock.

    Attributes:
        capacity: How many at a time.
        in_use: How many are served now.
        busy_s: Seconds of service that have ended, all together; what is taken as a lock is not counted.
        waiting: Who is next, with seconds of service, or None for a lock.
    """

    capacity: int
    in_use: int = 0
    busy_s: float = 0.0
    waiting: "deque[tuple[Process, float | None]]" = field(default_factory=deque)


@dataclass(frozen=True, slots=True)
class Use:
    """Be served for so long, behind those that came before."""

    resource: Resource
    duration_s: float


@dataclass(frozen=True, slots=True)
class Take:
    """Wait for a place and keep it."""

    resource: Resource


@dataclass(frozen=True, slots=True)
class Give:
    """Give the place back."""

    resource: Resource


Process = Generator[Spend | Use | Take | Give, None, None]


class Clock:
    """Runs processes in the order of simulated time."""

    def __init__(self) -> None:
        """Begin at second 0 with nothing to do."""
        self.now_s = 0.0
        self._queue: list[tuple[float, int, Process, Resource | None, float]] = []
        self._order = itertools.count()

    def add(self, process: Process, *, after_s: float = 0.0) -> None:
        """Let a process go on after a time."""
        self._push(process, after_s, None)

    def run(self, until_s: float) -> None:
        """Let time pass up to a time."""
        while self._queue and self._queue[0][0] <= until_s:
            self.now_s, _, process, served_by, duration_s = heapq.heappop(self._queue)
            if served_by is not None:
                served_by.busy_s += duration_s
                self._free(served_by)
            self._go_on(process)
        self.now_s = until_s

    def _push(self, process: Process, after_s: float, resource: Resource | None) -> None:
        heapq.heappush(self._queue, (self.now_s + after_s, next(self._order), process, resource, after_s))

    def _go_on(self, process: Process) -> None:
        """Run a process up to the next step that takes time."""
        for step in process:
            if isinstance(step, Spend):
                self.add(process, after_s=step.duration_s)
                return
            if isinstance(step, Give):
                self._free(step.resource)
                continue
            resource, duration_s = step.resource, step.duration_s if isinstance(step, Use) else None
            if resource.in_use >= resource.capacity:
                resource.waiting.append((process, duration_s))
                return
            resource.in_use += 1
            if duration_s is not None:
                self._push(process, duration_s, resource)
                return

    def _free(self, resource: Resource) -> None:
        if not resource.waiting:
            resource.in_use -= 1
            return
        process, duration_s = resource.waiting.popleft()  # takes the place over
        self._push(process, duration_s or 0.0, None if duration_s is None else resource)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one call takes.

    Attributes:
        client_s: Seconds of the asking machine's processor.
        proxy_s: Seconds of the proxy, which is one thread at a time.
        server_s: Seconds of the database server's processors.
        wait_s: Seconds of disk and network.
    """

    client_s: float = 0.0
    proxy_s: float = 0.0
    server_s: float = 0.0
    wait_s: float = 0.0


class Costs(typing.Protocol):
    """What the calls of a worker take."""

    def cost(self, call: str, n_running: int, n_started: int, n_ended: int) -> Cost:
        """Return what a call takes.

        Args:
            call: One of a `Protocol`, or "beat".
            n_running: Live trials in the study.
            n_started: Trials that began since this worker last looked at the history.
            n_ended: Trials that ended since.
        """


LOCK, UNLOCK = "take the lock", "give it back"
# These look at the history.
READERS = ("read", "prune")


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """What a worker calls, in order; between `LOCK` and `UNLOCK` no other worker is.

    Attributes:
        ask: For a new trial, which is live from "create" or "create by query" on.
        rung: After each rung but the last possible one.
        last_rung: After that.
        end: At the end of a trial.
        beat: Every `HEARTBEAT_S`, for each slot.
    """

    ask: tuple[str, ...] = ("create",)
    rung: tuple[str, ...] = ()
    last_rung: tuple[str, ...] = ()
    end: tuple[str, ...] = ()
    beat: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One thing to simulate.

    Attributes:
        n_workers: Workers: search loops.
        slots_each: Trials that each has live at once.
        trials: Durations of the rungs of trials, in seconds; drawn at random with equal chances.
        protocol: What workers call.
        costs: Of the calls.
        server_cores: Of the database server.
        clients_on_server: Do clients and proxy use the server's cores too, as when all is on one machine?
        warm_up_s: Seconds before anything is counted.
        duration_s: Seconds that are counted.
        seed: Of all that is drawn.
    """

    n_workers: int
    slots_each: int = 1
    trials: Sequence[Sequence[float]]
    protocol: Protocol
    costs: Costs
    server_cores: int = 8
    clients_on_server: bool = False
    warm_up_s: float
    duration_s: float
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of it, in the time that was counted.

    Attributes:
        busy: Share of the slots' time that is training.
        trials_per_s: Trials that ended.
        ask_p50_s: Seconds from wanting a trial to having one: half take longer. NaN where nobody asked.
        ask_p99_s: One in a hundred takes longer.
        server_use: Share of the server's cores in use.
        lock_use: Share of the time in which somebody has the lock.
        proxy_use: Share of the proxy in use.
        n_running: Trials that are live, on average over those that asked.
    """

    busy: float
    trials_per_s: float
    ask_p50_s: float
    ask_p99_s: float
    server_use: float
    lock_use: float
    proxy_use: float
    n_running: float


def simulate(setting: Setting) -> Outcome:
    """Run one setting; workers begin at random within the warm-up's first half."""
    return _Simulation(setting).run()


@dataclass(slots=True, kw_only=True)
class _Worker:
    """A search loop, and how far it has read the history."""

    loop: Resource = field(default_factory=lambda: Resource(1))
    seen_started: int = 0
    seen_ended: int = 0


class _Simulation:
    def __init__(self, setting: Setting) -> None:
        self._is = setting
        self._clock = Clock()
        self._server = Resource(setting.server_cores)
        self._proxy = Resource(1)
        self._lock = Resource(1)
        self._random = random.Random(setting.seed)
        self._most_rungs = max(map(len, setting.trials))
        self._n_started = 0
        self._n_ended = 0
        self._n_counted = 0  # that ended in the time that is counted
        self._trained_s = 0.0
        self._lock_s = 0.0
        self._asks: list[tuple[float, int]] = []  # seconds, live trials then

    def run(self) -> Outcome:
        for _ in range(self._is.n_workers):
            worker = _Worker()
            for _ in range(self._is.slots_each):
                after_s = self._random.uniform(0.0, self._is.warm_up_s / 2)
                self._clock.add(self._slot(worker), after_s=after_s)
                if self._is.protocol.beat:
                    self._clock.add(self._heart(worker), after_s=after_s)
        self._clock.run(self._is.warm_up_s)
        server_s, proxy_s, lock_s = self._server.busy_s, self._proxy.busy_s, self._lock_s
        self._clock.run(self._end_s)
        asked = sorted(duration_s for duration_s, _ in self._asks)
        return Outcome(
            busy=self._trained_s / (self._is.n_workers * self._is.slots_each * self._is.duration_s),
            trials_per_s=self._n_counted / self._is.duration_s,
            ask_p50_s=_quantile(asked, 0.5),
            ask_p99_s=_quantile(asked, 0.99),
            server_use=(self._server.busy_s - server_s) / (self._is.server_cores * self._is.duration_s),
            lock_use=(self._lock_s - lock_s) / self._is.duration_s,
            proxy_use=(self._proxy.busy_s - proxy_s) / self._is.duration_s,
            n_running=sum(live for _, live in self._asks) / len(self._asks) if self._asks else math.nan,
        )

    @property
    def _end_s(self) -> float:
        return self._is.warm_up_s + self._is.duration_s

    @property
    def _n_running(self) -> int:
        return self._n_started - self._n_ended

    def _slot(self, worker: _Worker) -> Process:
        while True:
            began_s = self._clock.now_s
            yield Take(worker.loop)
            yield from self._calls(worker, self._is.protocol.ask)
            yield Give(worker.loop)
            if began_s >= self._is.warm_up_s:
                self._asks.append((self._clock.now_s - began_s, self._n_running))
            yield from self._train(worker, self._random.choice(self._is.trials))

    def _train(self, worker: _Worker, rungs: Sequence[float]) -> Process:
        for number, duration_s in enumerate(rungs, start=1):
            self._note_training(duration_s)
            yield Spend(duration_s)
            yield Take(worker.loop)
            # Who is pruned is known beforehand: the last rung of those trained here is where a trial is stopped.
            could_go_on = number < self._most_rungs
            yield from self._calls(worker, self._is.protocol.rung if could_go_on else self._is.protocol.last_rung)
            if number == len(rungs):
                yield from self._calls(worker, self._is.protocol.end)
            yield Give(worker.loop)
        self._n_ended += 1
        self._n_counted += self._clock.now_s >= self._is.warm_up_s

    def _calls(self, worker: _Worker, calls: Sequence[str]) -> Process:
        since_s = 0.0
        for call in calls:
            if call == LOCK:
                yield Take(self._lock)
                since_s = self._clock.now_s
            elif call == UNLOCK:
                self._lock_s += self._clock.now_s - since_s
                yield Give(self._lock)
            else:
                yield from self._call(worker, call)
                self._n_started += call in ("create", "create by query")

    def _note_training(self, duration_s: float) -> None:
        """Count what of a rung lies in the time that is counted."""
        now_s = self._clock.now_s
        self._trained_s += max(0.0, min(now_s + duration_s, self._end_s) - max(now_s, self._is.warm_up_s))

    def _heart(self, worker: _Worker) -> Process:
        while True:
            yield from self._calls(worker, self._is.protocol.beat)
            yield Spend(HEARTBEAT_S)

    def _call(self, worker: _Worker, call: str) -> Process:
        new = self._n_started - worker.seen_started, self._n_ended - worker.seen_ended
        if call in READERS:
            worker.seen_started, worker.seen_ended = self._n_started, self._n_ended
        cost = self._is.costs.cost(call, self._n_running, *new)
        if cost.client_s:
            yield Use(self._server, cost.client_s) if self._is.clients_on_server else Spend(cost.client_s)
        if cost.proxy_s and self._is.clients_on_server:
            yield Take(self._proxy)
            yield Use(self._server, cost.proxy_s)
            yield Give(self._proxy)
        elif cost.proxy_s:
            yield Use(self._proxy, cost.proxy_s)
        if cost.server_s:
            yield Use(self._server, cost.server_s)
        if cost.wait_s:
            yield Spend(cost.wait_s)


def _quantile(ascending: Sequence[float], share: float) -> float:
    """Return the value that a share of the others does not exceed."""
    return ascending[max(0, math.ceil(share * len(ascending)) - 1)] if ascending else math.nan
