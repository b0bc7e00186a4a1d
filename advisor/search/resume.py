"""Bring the Optuna study, trials.jsonl and the live trials on disk together after a run that ended in the middle.

A trial ends in this order: its adapter is saved, its line goes to trials.jsonl, Optuna is told. trials.jsonl decides.
A trial that Optuna still holds as running is therefore either finished (it has a line: Optuna is told now) or was live
when its process ended. Nobody else can be at work on it, since a run folder is locked: it goes on under its number,
from its checkpoint or from its beginning.

Within a round, reports are decided about in the order of the trial numbers, and each decision leaves a trace: the value
in Optuna, then, if the trial ends, its line. So what was decided before a kill is known, and the rest is decided now,
after the same history.

Studies of earlier versions are read: there an interrupted trial has Optuna's state FAIL, and its parameters are queued
as a trial of the origin "retry". Trials that failed are told as pruned, see `advisor.search.study`.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC

import optuna
from optuna.trial import FrozenTrial, TrialState

from advisor.errors import DataError
from advisor.search.asking import ORIGIN, open_trial, spec_of
from advisor.search.checkpoints import Round
from advisor.search.live_trial import LiveTrial
from advisor.search.pareto import trade_off, values_of
from advisor.search.settings import StudySettings
from advisor.search.warm_starts import is_recommendation
from advisor.trial import Objective, TrialRecord

RUNS = "runs"  # constraint: violated (1) by a trial that failed

_STATES = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.PRUNED}


def reconcile(
    study: optuna.Study, records: Sequence[TrialRecord], objectives: Sequence[Objective] = ("quality",)
) -> None:
    """Tell Optuna what it missed; does nothing when nothing was.

    Args:
        study: As it was left.
        records: The finished trials, in the order in which they ended.
        objectives: Of the study.

    Raises:
        DataError: trials.jsonl and the study do not belong together.
    """
    by_number = {record.number: record for record in records}
    trials = study.get_trials(deepcopy=False)
    _check_same_trials(trials, by_number)
    for trial in trials:
        if trial.state == TrialState.RUNNING:
            if trial.number in by_number:
                tell(study, by_number[trial.number], records, objectives)
            elif ORIGIN not in trial.user_attrs:
                # Half drawn by an earlier version: it is forgotten, and the sampler draws it again.
                study.tell(trial.number, state=TrialState.FAIL)


def tell(
    study: optuna.Study, record: TrialRecord, records: Sequence[TrialRecord], objectives: Sequence[Objective]
) -> None:
    """Tell Optuna how a trial ended.

    Args:
        study: It holds the trial as running.
        record: The trial.
        records: All finished trials, in the order in which they ended.
        objectives: Of the study.
    """
    study.tell(record.number, _values(record, records, objectives), state=_STATES[record.state])


def _values(
    record: TrialRecord, records: Sequence[TrialRecord], objectives: Sequence[Objective]
) -> float | list[float] | None:
    if record.state != "complete":
        return None
    if len(objectives) == 1:
        return record.value
    found = trade_off(record, records)
    assert found is not None, "a trial that was not measured has failed"
    return values_of(found, objectives)


def live_trials(
    study: optuna.Study, settings: StudySettings, last: Round | None, records: Sequence[TrialRecord]
) -> list[LiveTrial]:
    """Return the trials that were live when the run before ended, in the order of their numbers.

    Args:
        study: After `reconcile`.
        settings: Of the study.
        last: The last whole round, None where there is none.
        records: The finished trials.
    """
    trials = study.get_trials(deepcopy=False)
    undecided = _undecided(trials, last, records)
    return [
        _live_trial(study, trial, settings, last, is_undecided=trial.number in undecided)
        for trial in trials
        if trial.state == TrialState.RUNNING
    ]


def _live_trial(
    study: optuna.Study, frozen: FrozenTrial, settings: StudySettings, last: Round | None, *, is_undecided: bool
) -> LiveTrial:
    trial = open_trial(study, frozen)
    spec = spec_of(trial, settings)
    known = last.of(spec.number) if last is not None else None
    if known is not None and known.spec != spec:
        known = None  # of another study: the folder was put together by hand
    started = frozen.datetime_start.astimezone(UTC).isoformat(timespec="seconds") if frozen.datetime_start else ""
    return LiveTrial(
        trial=trial,
        spec=spec,
        origin=trial.user_attrs[ORIGIN],
        is_recommendation=is_recommendation(trial.user_attrs),
        started_at=known.started_at if known else started,
        reports=list(known.reports) if known else [],
        checkpoint=known.checkpoint if known else None,
        told_steps=set(frozen.intermediate_values),
        is_undecided=is_undecided and known is not None,
    )


def _undecided(trials: Sequence[FrozenTrial], last: Round | None, records: Sequence[TrialRecord]) -> set[int]:
    """Return the trials whose report of the last round may not have been acted on.

    The last one with a trace counts as undecided unless it has its line; deciding again gives the same, since nothing
    ended in between. Trials at their last rung and failed ones end in any case.
    """
    if last is None:
        return set()
    finished = {record.number for record in records}
    reports = {number: record.reports[-1] for number in last.reported if (record := last.of(number)) is not None}
    order = [number for number in last.reported if number in reports and number < len(trials)]
    traced = [
        position
        for position, number in enumerate(order)
        if number in finished or reports[number].step in trials[number].intermediate_values
    ]
    rest = set(order[traced[-1] :] if traced else order)
    ending = {number for number in order if reports[number].failure or reports[number].step >= _last_step(last, number)}
    return (rest | ending) - finished


def _last_step(last: Round, number: int) -> int:
    record = last.of(number)
    return record.spec.rung_steps[-1] if record is not None else 0


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
