"""What the search loop itself does at the end of a trial, beside the storage, as finished trials grow.

The functions are those that `advisor.search.loop` calls, over records with the adapters of the best three on disk. In
one end of a trial `best_of` is looked for three times and what is needed twice; for every trial of another process that
the loop hears of, `best_of` twice.
"""

import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from advisor.search.adapters import adapter_folder, remove_others
from advisor.search.outcome import best_of, finalists_of, trial_of
from advisor.search.pareto import trade_offs
from advisor.trial import TrialRecord
from studies.scale.client import RUNG_STEPS, record, settings, values


def measure_loop(sizes: Sequence[int], *, repetitions: int = 3) -> list[dict[str, Any]]:
    """Measure at sizes; CPU seconds of one call each."""
    rows = []
    for n in sizes:
        rng = random.Random(n)
        records = [record(number, values(rng, 1 if number % 10 < 7 else len(RUNG_STEPS))) for number in range(n)]
        with tempfile.TemporaryDirectory(prefix="scale-") as name:
            rows.append({"finished": n, **_measured(records, Path(name), repetitions)})
        print(rows[-1], flush=True)
    return rows


def _measured(records: Sequence[TrialRecord], folder: Path, repetitions: int) -> dict[str, float]:
    def has_adapter(number: int) -> bool:
        return adapter_folder(folder, number).is_dir()

    complete = (one for one in records if one.state == "complete")
    for one in sorted(complete, key=lambda one: -(one.value or 0.0))[:3]:
        adapter_folder(folder, one.number).mkdir(parents=True)
    objectives = settings().objectives

    def needed() -> None:
        recommended = trial_of(settings().warm_starts[0], records)
        finalists_of(records, recommended, has_adapter, objectives=objectives)
        best_of(records, has_adapter, objectives)
        trade_offs(records, objectives)
        remove_others(folder, range(len(records)))

    calls: dict[str, Callable[[], Any]] = {
        "best_s": partial(best_of, records, has_adapter, objectives), "needed_s": needed,
    }  # fmt: skip
    return {name: statistics.median(_took_s(call) for _ in range(repetitions)) for name, call in calls.items()}


def _took_s(call: Callable[[], Any]) -> float:
    began_s = time.process_time()
    call()
    return time.process_time() - began_s
