"""The settings that are simulated: sizes of clusters, trials and studies, and the largest cluster that keeps busy."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from studies.scale.costs import MeasuredCosts
from studies.scale.cycles import N_FINISHED, WARM_UP_S
from studies.scale.durations import recorded_shape
from studies.scale.protocols import LONG_LOCK, PRODUCT, PROXY, SHORT_LOCK, WAYS, Way
from studies.scale.simulation import Outcome, Setting, simulate

N_SLOTS = (1, 8, 64, 512, 4096)
MEANS_S = (60.0, 600.0)
SIZES = (1000, 10_000, 100_000)
# Finished trials at which the largest cluster is searched.
LARGEST_AT = 10_000
SERVER_CORES = 8
BUSY = 0.9
# Steps of the search for the largest cluster: each halves what is left of a factor of eight between two sizes.
_HALVINGS = 3

Measured = Mapping[str, Any]


def setting_of(way: Way, measured: Measured, n_slots: int, *, mean_s: float, n_finished: int) -> Setting:
    """Return a cluster with a network and a server of its own."""
    slots_each = min(way.slots_each, n_slots)
    trials = tuple(tuple(mean_s * rung for rung in trial) for trial in recorded_shape().trials)
    return Setting(
        n_workers=max(1, n_slots // slots_each), slots_each=slots_each, trials=trials, protocol=way.protocol,
        costs=MeasuredCosts(
            rows=measured["operations"], sampling=measured["sampling"], n_finished=n_finished, kind=way.kind,
            draw=way.draw, fetch=way.fetch, loop=measured["loop"], walks=way.walks,
        ),
        server_cores=SERVER_CORES, warm_up_s=max(2 * mean_s, 240.0),
        # Enough trials for a quantile, also where there is one worker.
        duration_s=max(2 * mean_s, 240.0, 300 * mean_s / n_slots),
    )  # fmt: skip


def simulate_all(measured: Measured) -> Iterator[dict[str, Any]]:
    """Simulate every way at every size."""
    for mean_s in MEANS_S:
        for n_finished in SIZES:
            for way in WAYS.values():
                for n_slots in N_SLOTS:
                    outcome = simulate(setting_of(way, measured, n_slots, mean_s=mean_s, n_finished=n_finished))
                    yield {
                        "way": way.name,
                        "slots": n_slots,
                        "mean_s": mean_s,
                        "finished": n_finished,
                        **_plain(outcome),
                    }


def _plain(outcome: Outcome) -> dict[str, float | None]:
    """Return an outcome for JSON, which has no word for what is not a number."""
    return {name: None if value != value else value for name, value in asdict(outcome).items()}


def largest(measured: Measured, rows: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield for every way the largest number of slots that are busy nine tenths of the time, at `LARGEST_AT`.

    Between the sizes of `rows` it is searched; `None` where the smallest is not, and `is_more` where the largest is.
    """
    for mean_s in MEANS_S:
        for way in WAYS.values():
            busy = {
                row["slots"]: row["busy"]
                for row in rows
                if (row["way"], row["mean_s"], row["finished"]) == (way.name, mean_s, LARGEST_AT)
            }
            slots = _largest(busy, partial(setting_of, way, measured, mean_s=mean_s, n_finished=LARGEST_AT))
            yield {"way": way.name, "mean_s": mean_s, "slots": slots, "is_more": slots == max(busy)}


def _largest(busy: Mapping[int, float], setting_for: Callable[[int], Setting]) -> int | None:
    good = [n for n, share in busy.items() if share >= BUSY]
    if not good or max(good) == max(busy):
        return max(good, default=None)
    low, high = max(good), min(n for n in busy if n > max(good))
    for _ in range(_HALVINGS):
        middle = round(math.sqrt(low * high))
        if middle in (low, high):
            break
        low, high = (middle, high) if simulate(setting_for(middle)).busy >= BUSY else (low, middle)
    return low


# What the validation's clients do, as the simulation has it.
_SAME: Mapping[str, Way] = {
    "product": Way(name="product", protocol=PRODUCT, draw="cut"),
    "long lock": Way(name="long lock", protocol=LONG_LOCK),  # the product as it was when these were measured
    "short lock": Way(name="short lock", protocol=SHORT_LOCK, kind="slim", draw="limited"),
    "proxy": Way(name="proxy", protocol=PROXY, kind="proxy"),
}


def validate(measured: Measured) -> list[dict[str, Any]]:
    """Simulate what the real clients did, on one machine whose cores they share with the server and with others."""
    rows = []
    for real in measured["cycles"]:
        setting = setting_of(
            _SAME[real["kind"]], measured, real["clients"], mean_s=max(real["mean_s"], 1e-6), n_finished=N_FINISHED
        )
        share = max(0.1, 1.0 - real["other_cores"] / measured["machine"]["cores"])
        costs = replace_costs(setting.costs, share)
        outcome = simulate(
            replace(
                setting,
                costs=costs,
                server_cores=measured["machine"]["cores"],
                clients_on_server=True,
                warm_up_s=WARM_UP_S,
                duration_s=10 * real["duration_s"],
                slots_each=1,
                n_workers=real["clients"],
            )
        )
        cores = share * outcome.server_use * measured["machine"]["cores"]
        rows.append({**real, "simulated": {**_plain(outcome), "cores": cores}})
    return rows


def replace_costs(costs: Any, share: float) -> MeasuredCosts:
    """Return costs without a network, on processors of which others leave a share."""
    return MeasuredCosts(
        rows=costs.rows, sampling=costs.sampling, n_finished=costs.n_finished, kind=costs.kind, draw=costs.draw,
        fetch=costs.fetch, walks=False, round_trip_s=0.0, processor_share=share,
    )  # fmt: skip
