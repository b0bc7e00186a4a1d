"""What a call takes at any size, between the sizes that were measured; remedies put cheaper calls in its place."""

import bisect
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from studies.scale.simulation import READERS, Cost

Found = Mapping[str, float]  # as `operations.Meter.found` has it
# Seconds there and back between two machines of a cluster.
ROUND_TRIP_S = 0.0002
# These take the same whatever the size of the study.
SIZELESS = ("is open", "lock", "open", "beat", "keep", "report", "finish")


@dataclass(kw_only=True)
class MeasuredCosts:
    """Implements `simulation.Costs` for a study with so many finished trials.

    Attributes:
        rows: Of `operations`.
        sampling: Of `sampling_cost`.
        n_finished: Finished trials.
        kind: "direct", "slim" (live trials are read once) or "proxy".
        draw: How the next point is drawn.
        fetch: What reading one more trial takes: "fetch" (Optuna's way) or "fetch by query".
        loop: Of `loop_cost`.
        walks: As in `protocols.Way`.
        round_trip_s: Of the network, for what was measured without one.
        processor_share: What others leave of the processors.
    """

    rows: Sequence[Mapping[str, Any]]
    sampling: Sequence[Mapping[str, Any]]
    n_finished: int
    kind: str = "direct"
    draw: str = "copied"
    fetch: str = "fetch"
    loop: Sequence[Mapping[str, Any]] = ()
    walks: bool = True
    round_trip_s: float = ROUND_TRIP_S
    processor_share: float = 1.0
    _known: dict[tuple[str, int], Cost] = field(default_factory=dict)
    _curves: dict[str, list[tuple[float, Cost]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._per_started = self._per_trial(self.fetch)
        parsed = self._per_trial("parse") if self.fetch == "fetch" else Cost()  # its record stands in what was fetched
        best_s, needed_s = (self._loop_s(name) for name in ("best_s", "needed_s"))
        heard = Cost(client_s=2 * best_s / self.processor_share)
        self._per_ended = plus(plus(self._per_started, parsed, 1), heard, 1)
        self._sample = Cost(client_s=self._sample_s() / self.processor_share)
        # Needed is looked for twice for complete trials, which are about three of ten.
        self._loop = Cost(client_s=(3 * best_s + 1.3 * needed_s) / self.processor_share)

    def cost(self, call: str, n_running: int, n_started: int, n_ended: int) -> Cost:
        """See `simulation.Costs`."""
        if call == "sample":
            return self._sample
        if call == "loop":
            return self._loop
        known = self._known.get((call, n_running))
        if known is None:
            if call not in self._curves:
                self._curves[call] = self._curve(call)
            known = self._known[call, n_running] = at(self._curves[call], n_running)
        if call not in READERS:
            return known
        known = plus(known, self._per_ended, n_ended)
        # Optuna reads those that run in any case, and that is in the curve.
        return plus(known, self._per_started, n_started) if self.kind == "slim" else known

    def _curve(self, call: str) -> list[tuple[float, Cost]]:
        """Return what a call takes by running trials, at this number of finished ones."""
        rows = [row for row in self.rows if row["kind"] in self._kinds(call) and call in row["calls"]]
        if not rows:  # no such call here: through the proxy there is no lock, no heartbeat
            return [(0.0, Cost())]
        if call in SIZELESS:
            return [(0.0, self._of_several(call, rows))]
        sizes = sorted({(row["running"], row["finished"]) for row in rows})
        found: dict[int, list[tuple[float, Cost]]] = {}
        for running, finished in sizes:
            own = [row for row in rows if (row["running"], row["finished"]) == (running, finished)]
            found.setdefault(running, []).append((finished, self._of_several(call, own)))
        return [(running, at(by_finished, self.n_finished)) for running, by_finished in found.items()]

    def _kinds(self, call: str) -> tuple[str, ...]:
        """Return where a call was measured that takes the same here: only readers know of Optuna's cache."""
        return (self.kind,) if self.kind == "proxy" or call in READERS else ("direct", "slim")

    def _of_several(self, call: str, rows: Sequence[Mapping[str, Any]]) -> Cost:
        """Return the median of what was measured."""
        costs = [self._cost_of(call, row["calls"][call]) for row in rows]
        return Cost(
            client_s=statistics.median(one.client_s for one in costs),
            proxy_s=statistics.median(one.proxy_s for one in costs),
            server_s=statistics.median(one.server_s for one in costs),
            wait_s=statistics.median(one.wait_s for one in costs),
        )

    def _cost_of(self, call: str, found: Found) -> Cost:
        share = self.processor_share
        return Cost(
            client_s=found["client_s"] / share, proxy_s=found["proxy_s"] / share, server_s=found["server_s"] / share,
            wait_s=self._disk_s(call) + self.round_trip_s * found["round_trips"],
        )  # fmt: skip

    def _disk_s(self, call: str) -> float:
        """Return what a call waits for disks: the least of all sizes, since the rest is waiting for processors."""
        rows = (row["calls"][call] for row in self.rows if row["kind"] in self._kinds(call) and call in row["calls"])
        least_s = min(one["wall_s"] - one["client_s"] - one["proxy_s"] - one["server_s"] for one in rows)
        return max(0.0, float(least_s))

    def _per_trial(self, call: str) -> Cost:
        """Return what one more trial takes; one call reads many."""
        rows = [row["calls"][call] for row in self.rows if call in row["calls"] and row["kind"] in self._kinds(call)]
        rows = rows or [row["calls"][call] for row in self.rows if call in row["calls"]]  # parsing: by nobody's proxy
        share = self.processor_share
        return Cost(
            client_s=statistics.median(one["client_s"] for one in rows) / share,
            proxy_s=statistics.median(one["proxy_s"] for one in rows) / share,
            server_s=statistics.median(one["server_s"] for one in rows) / share,
        )

    def _sample_s(self) -> float:
        rows = (row for row in self.sampling if row["draw"] == self.draw and row["running"] == 1)
        return self._on_line([(row["finished"], row["cpu_s"]) for row in rows])

    def _loop_s(self, name: str) -> float:
        return self._on_line([(row["finished"], row[name]) for row in self.loop]) if self.walks and self.loop else 0.0

    def _on_line(self, points: Sequence[tuple[float, float]]) -> float:
        return at([(size, Cost(client_s=seconds)) for size, seconds in sorted(points)], self.n_finished).client_s


def at(curve: Sequence[tuple[float, Cost]], size: float) -> Cost:
    """Return the cost at a size, on straight lines between those that were measured; beyond them, on the last line."""
    low, share = _between([one[0] for one in curve], size)
    first, second = curve[low][1], curve[min(low + 1, len(curve) - 1)][1]
    return Cost(
        client_s=_mixed(first.client_s, second.client_s, share), proxy_s=_mixed(first.proxy_s, second.proxy_s, share),
        server_s=_mixed(first.server_s, second.server_s, share), wait_s=_mixed(first.wait_s, second.wait_s, share),
    )  # fmt: skip


def plus(cost: Cost, one: Cost, n: int) -> Cost:
    """Return a cost with so many times another."""
    return Cost(
        client_s=cost.client_s + n * one.client_s, proxy_s=cost.proxy_s + n * one.proxy_s,
        server_s=cost.server_s + n * one.server_s, wait_s=cost.wait_s + n * one.wait_s,
    )  # fmt: skip


def _mixed(first: float, second: float, share: float) -> float:
    return max(0.0, first + share * (second - first))


def _between(sizes: Sequence[float], size: float) -> tuple[int, float]:
    """Return the index of the size below, and how far the asked one lies towards the next."""
    if len(sizes) == 1 or size <= sizes[0]:
        return 0, 0.0
    low = min(bisect.bisect_right(sizes, size), len(sizes) - 1) - 1
    return low, (size - sizes[low]) / (sizes[low + 1] - sizes[low])
