"""New trials: warm starts (`advisor.search.warm_starts`) and sampled ones in turn.

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
from advisor.search.distributions import parameters_of, suggest, suggest_base
from advisor.search.sampling import make_sampler
from advisor.search.settings import StudySettings
from advisor.search.warm_starts import WarmStart, next_warm_start, warm_start_of
from advisor.search_space import Scalar, candidate_from_choice
from advisor.trial import TrialSpec

_UNKNOWN_TO_SAMPLERS = (TrialState.WAITING, TrialState.FAIL)

# Finished trials that the sampler goes by where there are more.
N_BEST = 100
N_LATEST = 900

ORIGIN = "origin"  # user attribute of a trial, as in TrialRecord


def ask(study: optuna.Study, settings: StudySettings, n_warm_starts: int) -> optuna.Trial:
    """Return the next trial, which Optuna then holds as running: a warm start or a sampled one.

    Warm starts, `n_warm_starts` at most, take turns with sampled trials, the recommendation first: where the
    recommendation is wrong, its neighbours do not use up the beginning of the budget one after the other.
    """
    trials = study.get_trials(deepcopy=False)
    if not any(trial.state == TrialState.WAITING for trial in trials):
        due = _warm_start_due(trials, settings, n_warm_starts)
        if due is None:
            study.add_trial(_sample(study, trials, settings))
            return open_trial(study, study.get_trials(deepcopy=False)[-1])
        _enqueue(study, due, settings)
    return study.ask()


def draw_warm_start(study: optuna.Study, settings: StudySettings, n_warm_starts: int) -> FrozenTrial | None:
    """Return the warm start whose turn it is as a trial to create, None where it is a sampled one's."""
    trials = study.get_trials(deepcopy=False)
    due = _warm_start_due(trials, settings, n_warm_starts)
    if due is None:
        return None
    draft = optuna.create_study(storage=InMemoryStorage(), directions=study.directions)
    return _drawn(draft, settings, _enqueue(draft, due, settings))


def draw_sampled(study: optuna.Study, settings: StudySettings, salt: int) -> FrozenTrial:
    """Return a sampled trial to create.

    Args:
        study: Its history is what the sampler goes by.
        settings: What the study is about.
        salt: Tells apart what several processes draw from the same history; 0 draws as `ask` does.
    """
    # What waits in the queue would be asked for first, and records do not help a sampler.
    trials = [trial for trial in study.get_trials(deepcopy=False) if trial.state not in _UNKNOWN_TO_SAMPLERS]
    return _sample(study, trials, settings, salt)


def _warm_start_due(trials: Sequence[FrozenTrial], settings: StudySettings, n_warm_starts: int) -> WarmStart | None:
    """Return the warm start whose turn it is, None for a sampled trial."""
    found = [warm_start_of(trial.user_attrs) for trial in trials]
    n_sampled = found.count(None)
    # One that was lost and is trained again has two trials.
    n_tried = len(set(found) - {None})
    return next_warm_start(trials, settings, n_warm_starts) if n_tried <= n_sampled else None


def _enqueue(study: optuna.Study, due: WarmStart, settings: StudySettings) -> dict[str, object]:
    """Put a warm start into the queue; return the user attributes that its trial has."""
    attributes = {ORIGIN: "recommendation", **due.attributes}
    study.enqueue_trial(dict(parameters_of(due.candidate(settings), settings.space)), user_attrs=attributes)
    return attributes


def open_trial(study: optuna.Study, trial: FrozenTrial) -> optuna.Trial:
    """Return a trial that Optuna holds as running, so that it can be reported to."""
    # There is no public way back from a frozen trial to one that can be reported to.
    return optuna.Trial(study, trial._trial_id)


def spec_of(trial: optuna.Trial, settings: StudySettings) -> TrialSpec:
    """Return what a trial trains; a warm start gets its parameters here."""
    base = suggest_base(trial, settings.space)
    method, values = suggest(trial, settings.space, base)
    warm_start = warm_start_of(trial.user_attrs)
    recommended = settings.warm_starts[0] if base is None else base.recommended
    return TrialSpec(
        number=trial.number,
        candidate=_sampled(recommended, method, values) if warm_start is None else warm_start.candidate(settings),
        seed=settings.seed,
        rung_steps=settings.rung_steps,
    )


def _sample(study: optuna.Study, trials: Sequence[FrozenTrial], settings: StudySettings, salt: int = 0) -> FrozenTrial:
    n_sampled = sum(trial.user_attrs.get(ORIGIN) == "sampler" for trial in trials)
    draft = optuna.create_study(
        storage=InMemoryStorage(), directions=study.directions, sampler=make_sampler(settings.seed, n_sampled, salt)
    )
    draft.add_trials(trials if len(settings.objectives) > 1 else limited(trials))
    return _drawn(draft, settings, {ORIGIN: "sampler"})


def limited(trials: Sequence[FrozenTrial], *, n_best: int = N_BEST, n_latest: int = N_LATEST) -> Sequence[FrozenTrial]:
    """Return what the sampler goes by of a long history: live trials, the latest finished ones, the best of the others.

    Ten thousand trials take it seconds to copy and to read, for every point (`studies/scale`). It calls a tenth of the
    trials good, 25 at most, so these are all among the best; of the others the latest weigh most with it.

    Args:
        trials: By number; one objective, which is maximised.
        n_best: Complete trials that are kept beside the latest.
        n_latest: Finished trials that are kept in any case.
    """
    finished = [trial for trial in trials if trial.state.is_finished()]
    if len(finished) <= n_best + n_latest:
        return trials
    older = (trial for trial in finished[:-n_latest] if trial.state == TrialState.COMPLETE)
    best = sorted(older, key=lambda trial: trial.value or 0.0, reverse=True)[:n_best]
    kept = {trial.number for trial in (*finished[-n_latest:], *best)}
    return [trial for trial in trials if trial.number in kept or not trial.state.is_finished()]


def _drawn(draft: optuna.Study, settings: StudySettings, attributes: Mapping[str, object]) -> FrozenTrial:
    drawn = draft.ask()
    suggest(drawn, settings.space, suggest_base(drawn, settings.space))
    return create_trial(
        state=TrialState.RUNNING,
        params=drawn.params,
        distributions=drawn.distributions,
        user_attrs=dict(attributes),
    )


def _sampled(recommended: Candidate, method: str, values: Mapping[str, Scalar]) -> Candidate:
    """Return the candidate of a sampled point: checkpointed like the recommendation where its method can be."""
    checkpointing = recommended.gradient_checkpointing and method not in WITHOUT_CHECKPOINTING
    return replace(candidate_from_choice(recommended, method, values), gradient_checkpointing=checkpointing)
