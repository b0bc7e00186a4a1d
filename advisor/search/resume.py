"""Bring the Optuna study and trials.jsonl together after a run that ended in the middle.

A trial ends in this order: its adapter is saved, its line goes to trials.jsonl, Optuna is told. trials.jsonl
decides. A trial that Optuna still holds as running is therefore either finished (it has a line: Optuna is told
now) or was interrupted (no line: its parameters are queued as a new trial). Only interrupted trials have
Optuna's state FAIL; trials that failed are told as pruned, see `advisor.search.study`.
"""

from collections.abc import Mapping, Sequence

import optuna
from optuna.trial import FrozenTrial, TrialState

from advisor.errors import DataError
from advisor.search.distributions import parameters_of
from advisor.search.settings import StudySettings
from advisor.trial import TrialRecord

# User attributes of a trial.
ORIGIN = "origin"  # as in TrialRecord
WARM_START = "warm_start"  # index into the warm starts
RETRY_OF = "retry_of"  # number of the interrupted trial
FAILURE = "failure"  # kind and message
RUNS = "runs"  # constraint: violated (1) by a trial that failed

_STATES = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.PRUNED}


def reconcile(study: optuna.Study, records: Sequence[TrialRecord], settings: StudySettings) -> None:
    """Tell Optuna what it missed and queue what was interrupted; does nothing when nothing was.

    Raises:
        DataError: trials.jsonl and the study do not belong together.
    """
    by_number = {record.number: record for record in records}
    trials = study.get_trials(deepcopy=False)
    _check_same_trials(trials, by_number)
    for trial in trials:
        if trial.state == TrialState.RUNNING:
            if trial.number in by_number:
                tell(study, by_number[trial.number])
            else:
                give_back(study, trial)


def tell(study: optuna.Study, record: TrialRecord) -> None:
    """Tell Optuna how a trial ended."""
    value = record.value if record.state == "complete" else None
    study.tell(record.number, value, state=_STATES[record.state])


def give_back(study: optuna.Study, trial: FrozenTrial) -> None:
    """End a running trial as interrupted (FAIL) and queue its parameters, once, for a trial to come."""
    parameters = _parameters_to_retry(trial)
    queued = any(other.user_attrs.get(RETRY_OF) == trial.number for other in study.get_trials(deepcopy=False))
    if parameters is not None and not queued:
        kept = {key: trial.user_attrs[key] for key in (WARM_START,) if key in trial.user_attrs}
        study.enqueue_trial(dict(parameters), user_attrs={ORIGIN: "retry", RETRY_OF: trial.number, **kept})
    study.tell(trial.number, state=TrialState.FAIL)


def enqueue_warm_starts(study: optuna.Study, settings: StudySettings, n_warm_starts: int) -> None:
    """Queue the first `n_warm_starts` warm starts that are not in the study yet."""
    there = {trial.user_attrs.get(WARM_START) for trial in study.get_trials(deepcopy=False)}
    for index, candidate in enumerate(settings.warm_starts[:n_warm_starts]):
        if index not in there:
            attributes = {ORIGIN: "recommendation", WARM_START: index}
            study.enqueue_trial(dict(parameters_of(candidate, settings.space)), user_attrs=attributes)


def _parameters_to_retry(trial: FrozenTrial) -> Mapping[str, object] | None:
    # A queued trial holds its parameters from the start. A sampled one gets its origin when all are drawn; one
    # that was cut off before is forgotten: the sampler, seeded by the number of whole points, draws it again.
    queued: Mapping[str, object] | None = trial.system_attrs.get("fixed_params")
    if queued is not None:
        return queued
    return trial.params if ORIGIN in trial.user_attrs else None


def _check_same_trials(trials: Sequence[FrozenTrial], records: Mapping[int, TrialRecord]) -> None:
    finished = {trial.number for trial in trials if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)}
    begun = {trial.number for trial in trials if trial.state != TrialState.WAITING}
    if finished - records.keys():
        raise DataError(
            f"trials.jsonl lacks trial {min(finished - records.keys())} of study.db; "
            "put the file back or begin anew with `--output` and another folder"
        )
    if records.keys() - begun:
        raise DataError(
            f"study.db lacks trial {min(records.keys() - begun)} of trials.jsonl; "
            "put the file back or begin anew with `--output` and another folder"
        )
