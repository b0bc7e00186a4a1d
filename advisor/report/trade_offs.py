"""Trade-offs: what the trials of the front give and take against the one that is delivered, in a table and in words."""

import math
from dataclasses import dataclass
from statistics import fmean, variance

from advisor.report.formatting import (
    NBSP,
    NONE,
    base_title,
    gib,
    listed,
    method_title,
    metric_title,
    number,
    plural,
    short_duration,
)
from advisor.report.run_folder import RunFolder
from advisor.report.tables import Column, Row, Table
from advisor.result import Finals, TuningResult
from advisor.trial import Inference, Objective, TradeOff, TradeOffs

# 95 of 100 differences of two equally good runs lie within this many standard deviations of one run (1.96 x sqrt(2)).
_DIFFERENCE = 2.77
_FORMS = {"merged": "merged", "adapter": "beside the weights", "model": "whole model"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeOffsPart:
    """The front of a finished run.

    Attributes:
        summary: What there is to choose from.
        table: The front, the delivered trial first.
        notes: How it was measured and how far it can be trusted, most important first.
        costs: What quality is drawn against; empty where nothing but quality was looked for.
    """

    summary: str
    table: Table
    notes: tuple[str, ...]
    costs: tuple[Objective, ...]


def trade_offs_part(run: RunFolder) -> TradeOffsPart | None:
    """Return the front of a run; None where nothing was measured, or where nobody asked and nothing is to choose."""
    result = run.result
    if result is None or result.trade_offs is None:
        return None
    asked = len(result.plan.objectives) > 1
    different = {(one.quality, one.memory_bytes, one.latency_s) for one in _front(result.trade_offs)}
    if not asked and len(different) < 2:
        return None
    found = result.trade_offs
    return TradeOffsPart(
        summary=_summary(result, found),
        table=_table(run, result, found),
        notes=_notes(run, result, found),
        costs=tuple(one for one in found.objectives if one != "quality") if asked else (),
    )


def against(one: TradeOff, delivered: TradeOff, objectives: tuple[Objective, ...], metric: str) -> str:
    """Say what somebody gives up and gets who takes `one` instead of what is delivered."""
    lost: list[str] = []
    won: list[str] = []
    gain = one.quality - delivered.quality
    if gain:
        side, word = (won, "more") if gain > 0 else (lost, "less")
        side.append(f"{number(abs(gain))} {word} {metric_title(metric)}")
    for objective, name, mine, other in (
        ("memory", "memory", one.memory_bytes, delivered.memory_bytes),
        ("latency", "time", one.latency_s, delivered.latency_s),
    ):
        if objective in objectives and mine != other:
            side = won if mine < other else lost
            side.append(f"{_percent(mine, other)} {'less' if mine < other else 'more'} {name}")
    if not lost and not won:
        return "the same in all of it"
    return "; ".join(filter(None, (listed(won) and f"gets {listed(won)}", listed(lost) and f"accepts {listed(lost)}")))


def seed_spread(finals: Finals | None) -> float | None:
    """Return the standard deviation between seeds, pooled over the finalists; None where there was one seed."""
    counted = finals.counted if finals else ()
    values = [one.complete(counted) for one in finals.finalists] if finals else []
    several = [of_one for of_one in values if len(of_one) > 1]
    if not several:
        return None
    degrees = [len(of_one) - 1 for of_one in several]
    weighted = sum(n * variance(of_one) for n, of_one in zip(degrees, several, strict=True))
    return math.sqrt(weighted / sum(degrees))


def _front(found: TradeOffs) -> list[TradeOff]:
    return [one for number in found.front if (one := found.of(number)) is not None]


def _summary(result: TuningResult, found: TradeOffs) -> str:
    best, metric = result.best_trial, metric_title(result.plan.primary_metric)
    weighed = listed([metric if one == "quality" else one for one in found.objectives])
    if found.front == (best,):
        return (
            f"No trial is better than trial {best}, which is delivered, in any of {weighed}: there is nothing to trade."
        )
    are = "trial is" if len(found.front) == 1 else "trials are"
    said = (
        f"Of {len(found.trials)} trials that were measured, {len(found.front)} {are} not beaten by another in "
        f"{weighed} together. Trial {best} is delivered, for its quality.{_why_off_front(result, found)}"
    )
    if found.knee is not None and found.knee != best:
        said += f" Trial {found.knee} is the middle way: nearest to the best of everything."
    return said


def _why_off_front(result: TuningResult, found: TradeOffs) -> str:
    """Say why the delivered trial is beaten by another, if it is."""
    delivered = found.of(result.best_trial)
    if delivered is None:
        return " It was not measured itself."
    if delivered.trial in found.front:
        return ""
    equal = next((one.trial for one in _front(found) if one.quality == delivered.quality), None)
    if equal is not None:
        return f" Trial {equal} is as good in one run and takes less."
    return " In its one run of the search it was beaten; the seeds of the finals decided for it."


def _table(run: RunFolder, result: TuningResult, found: TradeOffs) -> Table:
    delivered = found.of(result.best_trial)
    shown = sorted(_front(found), key=lambda one: one.trial != result.best_trial)
    if delivered is not None and delivered not in shown:
        shown.insert(0, delivered)
    means = _means(result.finals)
    metric = metric_title(result.plan.primary_metric)
    rows = [
        Row(
            cells=(
                str(one.trial),
                _named(run, one.trial) + _role(one.trial, result, found),
                number(one.quality),
                *((number(means.get(one.trial)),) if means else ()),
                gib(one.memory_bytes),
                short_duration(one.latency_s),
                _form(run, one.trial),
                NONE
                if delivered is None or one.trial == delivered.trial
                else against(one, delivered, found.objectives, result.plan.primary_metric),
            ),
            strong=one.trial == result.best_trial,
        )
        for one in shown
    ]
    return Table(
        caption="Trials that no other beats in everything, and what they give and take against the delivered one",
        columns=(
            Column(title="Trial", kind="number"),
            Column(title="Method"),
            Column(title=f"{metric} (validation, one run)", kind="number"),
            *((Column(title=f"{metric} (mean of seeds)", kind="number"),) if means else ()),
            Column(title="Memory", kind="number"),
            Column(title="Time per example", kind="number"),
            Column(title="Adapter"),
            Column(title="Against the delivered one"),
        ),
        rows=tuple(rows),
    )


def _named(run: RunFolder, trial: int) -> str:
    record = run.trial(trial)
    if record is None:
        return NONE
    candidate = record.candidate
    several = len({base_title(one.candidate) for one in run.trials}) > 1
    return method_title(candidate.method) + (f" on {base_title(candidate)}" if several else "")


def _role(trial: int, result: TuningResult, found: TradeOffs) -> str:
    roles = ["delivered"] if trial == result.best_trial else []
    roles += ["middle way"] if trial == found.knee else []
    return f" ({', '.join(roles)})" if roles else ""


def _form(run: RunFolder, trial: int) -> str:
    taken = _inference(run, trial)
    return _FORMS[taken.form] if taken is not None else NONE


def _inference(run: RunFolder, trial: int) -> Inference | None:
    record = run.trial(trial)
    return record.inference if record is not None else None


def _means(finals: Finals | None) -> dict[int, float]:
    if finals is None or len(finals.counted) < 2:
        return {}
    means = {one.trial: one.complete(finals.counted) for one in finals.finalists}
    return {trial: fmean(values) for trial, values in means.items() if values}


def _notes(run: RunFolder, result: TuningResult, found: TradeOffs) -> tuple[str, ...]:
    metric = metric_title(result.plan.primary_metric)
    spread = seed_spread(result.finals)
    noise = f"{metric} here is that of one run of each trial on the validation split"
    if spread is None:
        noise += ". How much it varies with the seed was not measured, so small differences mean little."
    else:
        noise += (
            f". With other seeds the finalists varied by ±{NBSP}{number(spread)} (standard deviation): two runs of "
            f"equal worth may differ by {number(_DIFFERENCE * spread)}."
        )
    notes = [noise]
    if (taken := _inference(run, found.front[0])) is not None:
        notes.append(_how(taken, result.device))
    notes.append(
        "The adapter of each trial in this table is kept in trials/<number>/adapter of the run folder; that of the "
        "delivered one is in best_adapter."
    )
    return tuple(notes)


def _how(taken: Inference, device: str) -> str:
    tokens = f" with {plural(taken.new_tokens, 'new token')} each" if taken.new_tokens else ""
    memory = (
        "measured on the device"
        if taken.memory_basis == "measured"
        else "an estimate: the sizes of weights and of the tensors alive at a time, added up"
    )
    return (
        f"Time is the fastest of a few passes over {taken.n_examples} validation examples, {taken.batch_size} at a time"
        f"{tokens}, on {device}; memory is {memory}. Adapters that PEFT can merge into the weights without loss (its "
        "merge_adapter) count as merged. Trials that compute the same share the figures of the first one."
    )


def _percent(mine: float, other: float) -> str:
    change = 100 * abs(mine - other) / other
    return f"{change:.0f}{NBSP}%" if change >= 1 else f"under 1{NBSP}%"
