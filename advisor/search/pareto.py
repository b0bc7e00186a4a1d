"""Trade-offs between the objectives: which trials are not beaten in everything, and which of them is a fair middle.

A trial dominates another when it is at least as good in every objective and better in one. Those that nobody dominates
are the front, as Optuna finds it. Only complete trials whose prediction was measured take part.

Two models that do the same arithmetic on other numbers take the same memory and time; what was measured for them
differs by noise alone. The first of them to finish speaks for all (`Inference.computation`), or else noise would decide
who dominates whom. Nothing that was told to Optuna is changed by later trials, so a trial that is off the front never
comes back to it.

Not covered: noise of the quality itself, which is that of one run on the validation split.
"""

from collections.abc import Sequence
from math import dist

import optuna
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import create_trial

from advisor.trial import OBJECTIVES, Inference, Objective, TradeOff, TradeOffs, TrialRecord

# With two members each is the extreme of one objective: there is no middle.
_LEAST_FOR_KNEE = 3


def directions_of(objectives: Sequence[Objective]) -> list[StudyDirection]:
    """Return Optuna's directions: quality is to be high, everything else low."""
    high, low = StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE
    return [high if objective == "quality" else low for objective in objectives]


def trade_offs(records: Sequence[TrialRecord], objectives: Sequence[Objective]) -> TradeOffs | None:
    """Return what can be chosen from, None where no trial was measured.

    Args:
        records: Finished trials in the order in which they ended.
        objectives: Of the study. With quality alone the front is over all objectives: which trial is delivered does
            not depend on it.
    """
    measured = [found for record in records if (found := trade_off(record, records)) is not None]
    if not measured:
        return None
    over = tuple(objectives) if len(objectives) > 1 else OBJECTIVES
    front = sorted(_front(measured, over), key=lambda one: (_losses(one, over), one.trial))
    return TradeOffs(
        objectives=over,
        trials=tuple(sorted(measured, key=lambda one: one.trial)),
        front=tuple(one.trial for one in front),
        knee=_knee(front, over),
    )


def trade_off(record: TrialRecord, records: Sequence[TrialRecord]) -> TradeOff | None:
    """Return a trial by all objectives; None where it is not complete or was not measured.

    Args:
        record: The trial.
        records: Finished trials in the order in which they ended; this one need not be among them.
    """
    if record.state != "complete" or record.value is None or record.inference is None:
        return None
    taken = _first_of_its_kind(record.inference, records)
    return TradeOff(
        trial=record.number, quality=record.value, memory_bytes=taken.memory_bytes, latency_s=taken.latency_s
    )


def values_of(of: TradeOff, objectives: Sequence[Objective]) -> list[float]:
    """Return the values of the objectives as Optuna is told them."""
    values = {"quality": of.quality, "memory": float(of.memory_bytes), "latency": of.latency_s}
    return [values[objective] for objective in objectives]


def _first_of_its_kind(inference: Inference, records: Sequence[TrialRecord]) -> Inference:
    known = (one.inference for one in records if one.state == "complete" and one.inference is not None)
    return next((one for one in known if one.computation == inference.computation), inference)


def _front(measured: Sequence[TradeOff], objectives: Sequence[Objective]) -> list[TradeOff]:
    study = optuna.create_study(storage=InMemoryStorage(), directions=directions_of(objectives))
    study.add_trials([create_trial(values=values_of(one, objectives)) for one in measured])
    return [measured[trial.number] for trial in study.best_trials]


def _losses(of: TradeOff, objectives: Sequence[Objective]) -> tuple[float, ...]:
    return tuple(
        -value if objective == "quality" else value
        for objective, value in zip(objectives, values_of(of, objectives), strict=True)
    )


def _knee(front: Sequence[TradeOff], objectives: Sequence[Objective]) -> int | None:
    """Return the trial of the front nearest to the best of everything, None where the front has no middle.

    Each objective is scaled to the range that it has on the front, so that none counts for its unit.
    """
    if len(front) < _LEAST_FOR_KNEE:
        return None
    losses = [_losses(one, objectives) for one in front]
    best, worst = ([pick(column) for column in zip(*losses, strict=True)] for pick in (min, max))
    ranges = [high - low or 1.0 for low, high in zip(best, worst, strict=True)]

    def distance(one: TradeOff) -> float:
        scaled = [loss / span for loss, span in zip(_losses(one, objectives), ranges, strict=True)]
        return dist(scaled, [low / span for low, span in zip(best, ranges, strict=True)])

    return min(front, key=lambda one: (distance(one), one.trial)).trial
