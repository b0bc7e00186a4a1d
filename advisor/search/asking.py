"""New trials: from the queue of warm starts, or sampled.

A sampled trial is drawn in a copy of the study in memory and then written to the study at once. A process that is
killed leaves all of it or nothing, so a resumed study draws it again from the same history and with the same seed.
(Optuna's own `ask` writes one parameter at a time; half of a trial would have to be completed with other random
numbers.)
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import optuna
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from advisor.candidates import WITHOUT_CHECKPOINTING, Candidate
from advisor.search.distributions import parameters_of, suggest
from advisor.search.settings import StudySettings
from advisor.search.study import make_sampler
from advisor.search_space import Scalar, candidate_from_choice
from advisor.trial import TrialSpec

# User attributes of a trial.
ORIGIN = "origin"  # as in TrialRecord
WARM_START = "warm_start"  # index into the warm starts


def enqueue_warm_starts(study: optuna.Study, settings: StudySettings, n_warm_starts: int) -> None:
    """Queue the first `n_warm_starts` warm starts that are not in the study yet."""
    there = {trial.user_attrs.get(WARM_START) for trial in study.get_trials(deepcopy=False)}
    for index, candidate in enumerate(settings.warm_starts[:n_warm_starts]):
        if index not in there:
            attributes = {ORIGIN: "recommendation", WARM_START: index}
            study.enqueue_trial(dict(parameters_of(candidate, settings.space)), user_attrs=attributes)


def ask(study: optuna.Study, settings: StudySettings) -> optuna.Trial:
    """Return the next trial: the first of the queue, or else a sampled one. Optuna holds it as running."""
    trials = study.get_trials(deepcopy=False)
    if any(trial.state == TrialState.WAITING for trial in trials):
        return study.ask()
    study.add_trial(_sample(trials, settings))
    return open_trial(study, study.get_trials(deepcopy=False)[-1])


def open_trial(study: optuna.Study, trial: FrozenTrial) -> optuna.Trial:
    """Return a trial that Optuna holds as running, so that it can be reported to."""
    # There is no public way back from a frozen trial to one that can be reported to.
    return optuna.Trial(study, trial._trial_id)


def spec_of(trial: optuna.Trial, settings: StudySettings) -> TrialSpec:
    """Return what a trial trains; a trial of the queue gets its parameters here."""
    method, values = suggest(trial, settings.space)
    warm_start = trial.user_attrs.get(WARM_START)
    recommended = settings.warm_starts
    return TrialSpec(
        number=trial.number,
        candidate=_sampled(recommended[0], method, values) if warm_start is None else recommended[warm_start],
        seed=settings.seed,
        rung_steps=settings.rung_steps,
    )


def _sample(trials: Sequence[FrozenTrial], settings: StudySettings) -> FrozenTrial:
    n_sampled = sum(trial.user_attrs.get(ORIGIN) == "sampler" for trial in trials)
    draft = optuna.create_study(
        storage=InMemoryStorage(), direction="maximize", sampler=make_sampler(settings.seed, n_sampled)
    )
    draft.add_trials(trials)
    suggest(drawn := draft.ask(), settings.space)
    return create_trial(
        state=TrialState.RUNNING,
        params=drawn.params,
        distributions=drawn.distributions,
        user_attrs={ORIGIN: "sampler"},
    )


def _sampled(recommended: Candidate, method: str, values: Mapping[str, Scalar]) -> Candidate:
    """Return the candidate of a sampled point: checkpointed like the recommendation where its method can be."""
    checkpointing = recommended.gradient_checkpointing and method not in WITHOUT_CHECKPOINTING
    return replace(candidate_from_choice(recommended, method, values), gradient_checkpointing=checkpointing)
