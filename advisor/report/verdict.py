"""The first lines of the report: what a sceptical reader may believe, decided by paired intervals.

A difference counts only when its 95 % interval leaves out zero. The interval is over test examples, and over seeds
where there is more than one; with one seed, how much a result moves between seeds is not in it (see `limits`).
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

from advisor.candidates import Candidate
from advisor.report.formatting import base_title, interval, listed, method_title, metric_title, number, plural, signed
from advisor.report.public import public_name
from advisor.report.run_folder import RunFolder
from advisor.result import Difference, TuningResult
from advisor.trial import TrialRecord

Kind = Literal["gain", "no gain", "problem", "unfinished"]
Outcome = Literal["better", "not shown", "worse"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Headline, the one sentence with the numbers, and what to do."""

    kind: Kind
    headline: str
    sentence: str
    advice: str


def outcome(difference: Difference) -> Outcome:
    """Say what a paired interval allows to say of best trial minus the other."""
    if difference.low > 0:
        return "better"
    return "worse" if difference.high < 0 else "not shown"


def judge(run: RunFolder) -> Verdict:
    """Return the verdict on a run, finished or not."""
    if run.result is None:
        return _unfinished(run)
    headline, kind, advice = _decision(run, run.result)
    return Verdict(kind=kind, headline=headline, sentence=_sentence(run, run.result), advice=advice)


# Whatever is not better than these has learnt nothing that is known of; other baselines use the training data too.
_LEARNT_NOTHING = ("untuned base model", "majority class")
_FULL_FINE_TUNING = "full fine-tuning"


def recommendation_won(run: RunFolder) -> bool:
    """Say whether the best trial is the recommendation itself."""
    if run.result is None:
        return False
    row = run.contender("recommendation")
    best = run.trial(run.result.best_trial)
    ranked = run.recommendation.candidates
    return (row is not None and row.trial == run.result.best_trial) or (
        best is not None and bool(ranked) and best.candidate == ranked[0].candidate
    )


def best_so_far(trials: tuple[TrialRecord, ...]) -> TrialRecord | None:
    """Return the complete trial with the highest validation value (pruned ones stopped at lower fidelity)."""
    values = {t.number: t.value for t in trials if t.state == "complete" and t.value is not None}
    finite = {number: value for number, value in values.items() if math.isfinite(value)}
    best = max(finite, key=lambda number: (finite[number], -number), default=None)
    return next((trial for trial in trials if trial.number == best), None)


def _decision(run: RunFolder, result: TuningResult) -> tuple[str, Kind, str]:
    outcomes = {difference.against: outcome(difference) for difference in result.differences}
    if not result.reload_check.passed:
        return (
            "Do not use this adapter: reloaded, it does not give its result",
            "problem",
            "Look at the reload check below before anything else.",
        )
    baselines = [name for name in outcomes if name != "recommendation"]
    # What is cheaper than an adapter and no worse comes before what is dearer.
    for part in ([name for name in baselines if name != _FULL_FINE_TUNING], [_FULL_FINE_TUNING]):
        for found, words in (("worse", "Worse than"), ("not shown", "Not shown to be better than")):
            for baseline in (name for name in part if outcomes.get(name) == found):
                headline = f"{words} {_named(baseline)}"
                if baseline == _FULL_FINE_TUNING or (found == "not shown" and baseline not in _LEARNT_NOTHING):
                    return headline, "no gain", _use_of(baseline, found)
                return headline, "problem", "Do not deploy this adapter on the strength of this study."
    if recommendation_won(run):
        if not any(trial.value is not None for trial in run.trials if trial.number != result.best_trial):
            return (
                "Only the recommendation gave a result",
                "no gain",
                "More time or trials would search around it; so far it was compared with the baselines alone.",
            )
        return (
            "The recommendation stands: the search found nothing better",
            "no gain",
            f"Use the adapter: it is the recommendation, trained on your data.{_overtaken(run, result)}",
        )
    return _against_recommendation(outcomes.get("recommendation"), has_baselines=bool(baselines))


def _named(contender: str) -> str:
    return contender if contender == _FULL_FINE_TUNING else f"the {contender}"


def _use_of(baseline: str, found: str) -> str:
    """Say what to make of a baseline that uses the training data and is not beaten."""
    if baseline == _FULL_FINE_TUNING:
        cost = "it needs more memory to train and leaves a whole model instead of a small adapter"
        if found == "worse":
            return f"Train all weights where that can be afforded: {cost}."
        return (
            f"Both may serve, but full fine-tuning is the dearer one: {cost}. More training steps, seeds or test "
            "examples could tell them apart."
        )
    return (
        f"The {baseline} costs next to nothing and may serve as well. More training steps, seeds or test examples "
        "could show whether the adapter is worth more."
    )


def _overtaken(run: RunFolder, result: TuningResult) -> str:
    """Name the trial that was ahead of the recommendation until it was trained with other seeds."""
    ahead = best_so_far(run.trials)
    if result.finals is None or len(result.finals.counted) < 2 or ahead is None or ahead.number == result.best_trial:
        return ""
    seeds = plural(len(result.finals.counted), "seed")
    return f" Trial {ahead.number} was ahead of it in the search, but not over {seeds} on the validation split."


def _against_recommendation(found: Outcome | None, *, has_baselines: bool) -> tuple[str, Kind, str]:
    if found == "better":
        beaten = "the recommendation and the baselines" if has_baselines else "the recommendation"
        return f"Better than {beaten}", "gain", "Use the adapter of the best trial."
    if found == "worse":
        return (
            "Worse than the recommendation",
            "no gain",
            "Train the recommendation instead: the validation split misled the search.",
        )
    if found == "not shown":
        return (
            "Not shown to be better than the recommendation",
            "no gain",
            "Both may serve: choose by memory, time and size. More test examples or seeds could tell them apart.",
        )
    if has_baselines:
        return (
            "Better than the baselines; not compared with the recommendation",
            "gain",
            "Use the adapter, knowing that the recommendation was not measured on the test split.",
        )
    return "Trained, but compared with nothing", "problem", "Without a baseline the metric says little."


def _sentence(run: RunFolder, result: TuningResult) -> str:
    metric = result.plan.primary_metric
    best = run.contender("best trial")
    trial = run.trial(result.best_trial)
    what = f"Trial {result.best_trial}"
    if trial is not None:
        what += f" ({method_title(trial.candidate.method)} on {_shown_base(trial.candidate)})"
    if best is None:
        return f"{what} was chosen on the validation split and was not evaluated on the test split."
    value = number(best.evaluation.metrics.get(metric))
    n_examples = plural(best.evaluation.n_examples, "test example")
    mean = f", the mean of {len(best.seeds)} seeds," if len(best.seeds) > 1 else ""
    said = f"{what} reaches {metric_title(metric)} {value}{mean} on {n_examples}"
    clauses = [_clause(d) for d in _in_order(result.differences) if d.metric == metric]
    return f"{said}: {listed(clauses)}." if clauses else f"{said}."


def _clause(difference: Difference) -> str:
    against = _named(difference.against)
    found = outcome(difference)
    if found == "not shown":
        shown = interval(difference.low, difference.high)
        return f"{signed(difference.value)} against {against}, where the 95\u00a0% interval {shown} includes zero"
    near, far = sorted((abs(difference.low), abs(difference.high)))
    word = "above" if found == "better" else "below"
    return f"{number(abs(difference.value))} {word} {against} (95\u00a0% interval {number(near)} to {number(far)})"


def _in_order(differences: tuple[Difference, ...]) -> list[Difference]:
    return sorted(differences, key=lambda d: d.against != "recommendation")


def _unfinished(run: RunFolder) -> Verdict:
    best = best_so_far(run.trials)
    done = plural(len(run.trials), "trial")
    if best is None:
        sentence = f"{done} on record, none of them complete; nothing was evaluated on the test split."
    else:
        sentence = (
            f"{done} on record; the best so far is trial {best.number} ({method_title(best.candidate.method)} on "
            f"{_shown_base(best.candidate)}) with {number(best.value)} on the validation split. "
            "Nothing was evaluated on the test split, so no claim is made."
        )
    return Verdict(
        kind="unfinished",
        headline="This study is not finished",
        sentence=sentence,
        advice="Run the same command again to continue; finished trials are not repeated.",
    )


def _shown_base(candidate: Candidate) -> str:
    """Return the base model for a sentence: of a folder the last name, whose place stands in the configuration."""
    return base_title(replace(candidate, base_model=public_name(candidate.base_model)))
