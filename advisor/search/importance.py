"""Which choices decided whether a trial was among the best, by PED-ANOVA on the trials of a study.

PED-ANOVA (Watanabe, Bansal, Hutter 2023, https://arxiv.org/abs/2304.10255) compares where the best trials lie in each
hyperparameter with where all of them lie. Optuna's evaluator knows hyperparameters that only some trials have
(https://arxiv.org/abs/2601.20800), as those of a method are; its fANOVA leaves them out. What decides is compared with
what was tried, not with the whole space: a sampler that keeps to one region says nothing of the rest.

Counted are complete trials, and those stopped because they lay behind: that a trial is not among the best is all that
the comparison needs to know of it. A trial was stopped for lying behind when its last value is under the median of the
complete ones at that step, as the pruner has it; others were stopped when time was up. Failed trials have no quality
and are left out. The best are a quarter, five at least, as many as Optuna's documentation asks for.

Fewer trials than that show little. Of twelve simulated studies with this sampler, of three methods with four
hyperparameters where the learning rate decides, it stood out from chance in two with 12 trials, in two with 16, in four
with 20 and in eight with 30.

With few trials chance alone makes some hyperparameter look important, so the values are shuffled over the trials, and
how often that gives as much is kept beside each share.
"""

import math
import sqlite3
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median

import numpy as np
import optuna
from optuna.exceptions import OptunaError
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy.exc import SQLAlchemyError

from advisor import records
from advisor.importance import FILE_NAME, Importance, ParameterImportance, is_wanted
from advisor.search.distributions import BASE, METHOD
from advisor.search.study import FILE_NAME as STUDY
from advisor.search.study import STUDY_NAME, close_study, quiet_optuna, sqlite_storage
from advisor.trial import TrialRecord
from advisor.trials_file import FILE_NAME as TRIALS
from advisor.trials_file import read_records

N_SHUFFLES = 99
_BEST_SHARE = 0.25
_FEWEST_BEST = 5
N_NEEDED = math.ceil(_FEWEST_BEST / _BEST_SHARE)


def keep_importance(folder: Path) -> None:
    """Write importance.json of a run folder from its study, where the one that is there is not of the same trials.

    A study that cannot be read, or a folder that cannot be written, is let be: the report does without.

    Raises:
        DataError: trials.jsonl is damaged.
    """
    if not is_wanted(folder):
        return
    finished = read_records(folder / TRIALS)
    with quiet_optuna(), suppress(OptunaError, SQLAlchemyError, sqlite3.Error, RuntimeError, KeyError, OSError):
        study = optuna.load_study(study_name=STUDY_NAME, storage=sqlite_storage(folder / STUDY))
        try:
            found = importance_of(study.get_trials(deepcopy=False), finished)
        finally:
            close_study(study)
        records.write(found, folder / FILE_NAME)


def importance_of(
    trials: Sequence[FrozenTrial], finished: Sequence[TrialRecord], *, n_shuffles: int = N_SHUFFLES
) -> Importance:
    """Return what the trials of a study say of the importance of its parameters.

    Args:
        trials: Of the study, with the parameters that were chosen; the first value is the quality.
        finished: The same trials as they stand on record; others are not looked at.
        n_shuffles: How often the values are shuffled.
    """
    values = _values(trials, finished)
    n_pruned = sum(value == -math.inf for value in values.values())
    n_best = math.ceil(_BEST_SHARE * len(values))
    # The stopped ones are told apart from the best only, not from each other.
    is_enough = len(values) >= N_NEEDED and len(values) - n_pruned >= n_best
    counted = [trial for trial in trials if trial.number in values]
    return Importance(
        n_finished=len(finished),
        n_counted=len(values),
        n_pruned=n_pruned,
        n_best=n_best,
        n_needed=N_NEEDED,
        n_shuffles=n_shuffles,
        parameters=_importances(counted, values, n_shuffles) if is_enough else (),
    )


def _values(trials: Sequence[FrozenTrial], finished: Sequence[TrialRecord]) -> dict[int, float]:
    """Return the quality of the trials that count by number; one that was stopped lies below all others."""
    states = {record.number: record.state for record in finished}
    known = [trial for trial in trials if trial.number in states and trial.params]
    complete = [
        trial
        for trial in known
        if states[trial.number] == "complete" and trial.values and math.isfinite(trial.values[0])
    ]
    found = {trial.number: trial.values[0] for trial in complete}
    behind = [trial for trial in known if states[trial.number] == "pruned" and _lies_behind(trial, complete)]
    return found | dict.fromkeys((trial.number for trial in behind), -math.inf)


def _lies_behind(trial: FrozenTrial, complete: Sequence[FrozenTrial]) -> bool:
    step = max(trial.intermediate_values, default=None)
    others = [other.intermediate_values[step] for other in complete if step in other.intermediate_values]
    return step is not None and bool(others) and trial.intermediate_values[step] < median(others)


def _importances(
    trials: Sequence[FrozenTrial], values: Mapping[int, float], n_shuffles: int
) -> tuple[ParameterImportance, ...]:
    # The lowest complete trial is above those that were stopped, by however much: the evaluator goes by ranks.
    lowest = min(value for value in values.values() if value > -math.inf) - 1.0
    losses = np.array([-max(values[trial.number], lowest) for trial in trials])
    study = optuna.create_study(storage=InMemoryStorage())
    study.add_trials(
        [
            create_trial(state=TrialState.COMPLETE, params=one.params, distributions=one.distributions, value=0.0)
            for one in trials
        ]
    )
    found = _evaluated(study, losses)
    rng = np.random.default_rng(0)
    shuffled = [_evaluated(study, rng.permutation(losses)) for _ in range(n_shuffles)]
    total = sum(found.values())
    parts = [
        ParameterImportance(
            name=name, method=method, base=base,
            share=value / total if total > 0 else 0.0,
            by_chance=sum(one[parameter] >= value for one in shuffled) / n_shuffles,
            n_trials=sum(parameter in trial.params for trial in trials),
        )
        for parameter, value in found.items()
        for name, method, base in (split_parameter(parameter),)
    ]  # fmt: skip
    return tuple(sorted(parts, key=lambda part: (-part.share, part.method or "", part.name, part.base or "")))


def _evaluated(study: optuna.Study, losses: np.ndarray) -> dict[str, float]:
    evaluator = PedAnovaImportanceEvaluator(target_quantile=_BEST_SHARE)
    with warnings.catch_warnings():
        # That low values of a target are best, and that some trials share their choice with none: a choice that
        # one trial made is left out.
        warnings.simplefilter("ignore")
        return evaluator.evaluate(study, target=lambda trial: float(losses[trial.number]))


def split_parameter(parameter: str) -> tuple[str, str | None, str | None]:
    """Return hyperparameter, method and base model of a parameter of a study, see `advisor.search.distributions`."""
    plain, _, base = parameter.partition("@")
    if plain == BASE:
        return "base_model", None, None
    if plain == METHOD:
        return "method", None, base or None
    method, _, name = plain.partition(".")
    return name, method, base or None
