"""What a worker asks of a study in PostgreSQL, call by call, so that each can be measured alone.

The calls are those that `advisor.search.shared_keeper` and `advisor.search.loop` make, through the product's storage;
`simulation` puts them in the product's order, and `cycles` runs the product itself beside it. The calls "by query" are
remedies: what the same thing costs when the server is asked for no more than is needed.
"""

import json
import random
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from pathlib import Path

import optuna
import sqlalchemy
from optuna.distributions import distribution_to_json
from optuna.samplers import RandomSampler
from optuna.storages import BaseStorage, GrpcStorageProxy, fail_stale_trials
from optuna.trial import FrozenTrial, TrialState, create_trial

from advisor.records import from_plain, to_plain
from advisor.search.asking import ORIGIN, open_trial
from advisor.search.distributions import suggest
from advisor.search.keeper import begun
from advisor.search.live_trial import LiveTrial
from advisor.search.patient_storage import PatientStorage
from advisor.search.settings import StudySettings
from advisor.search.shared_keeper import LIVE, RECORD
from advisor.search.sharing import Address, SharedStudy, begin_or_continue, connect
from advisor.search.study import make_pruner
from advisor.search_space import candidate_from_choice
from advisor.trial import RungReport, TrialRecord
from studies.scale.slim_storage import SlimStorage
from studies.search_quality.problem import draw, problem

STUDY = "scale"
METRIC = "f1"
RUNG_STEPS = (4, 8, 16, 32)
N_WARM_STARTS = 5
_N_POINTS = 400
_NEVER = 2**31 - 1  # larger than any identifier

optuna.logging.set_verbosity(optuna.logging.WARNING)
warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)


@cache
def settings() -> StudySettings:
    """Return what `tune` would search for clone detection with the demonstration encoder."""
    given = problem("clone-detection")
    return StudySettings(
        task=given.task.slug, base_model=given.warm_starts[0].base_model, metric=METRIC, data={}, seed=0,
        rung_steps=RUNG_STEPS, space=given.space, warm_starts=given.warm_starts,
    )  # fmt: skip


def begin(url: str, folder: Path) -> None:
    """Create the empty study in a database."""
    address = Address(url=url, study=STUDY)
    shared = begin_or_continue(address, settings(), folder, request={}, version="1")
    shared.set_plan(n_trials=_NEVER, target=None, is_open=True)
    shared.close()


def open_shared(url: str, *, slim: bool = False) -> SharedStudy:
    """Open the study, with Optuna's cache or with the one that reads live trials once."""
    address = Address(url=url, study=STUDY)
    storage = connect(address)
    study = optuna.load_study(study_name=STUDY, storage=SlimStorage(storage) if slim else storage)
    return SharedStudy(address=address, storage=storage, study=study)


@cache
def points(n: int = _N_POINTS, *, seed: int = 0) -> tuple[FrozenTrial, ...]:
    """Return running trials with parameters drawn at random from the space."""
    study = optuna.create_study(direction="maximize", sampler=RandomSampler(seed=seed))
    found = []
    for _ in range(n):
        trial = study.ask()
        suggest(trial, settings().space)
        found.append(
            create_trial(
                state=TrialState.RUNNING,
                params=trial.params,
                distributions=trial.distributions,
                user_attrs={ORIGIN: "sampler"},
            )
        )
    return tuple(found)


def reports(number: int, values: Sequence[float]) -> tuple[RungReport, ...]:
    """Return what a trial showed at its rungs."""
    return tuple(
        RungReport(
            number=number, rung=rung, step=RUNG_STEPS[rung], metrics={METRIC: value, "accuracy": value, "mcc": value},
            train_loss=value / 3, duration_s=3.125 * (rung + 1), peak_memory_bytes=123_456_789,
            trainable_params=164_226, micro_batch_size=8,
        )
        for rung, value in enumerate(values)
    )  # fmt: skip


def record(number: int, values: Sequence[float]) -> TrialRecord:
    """Return the record of a trial with these values at its rungs."""
    method, chosen = draw(settings().space, random.Random(number % _N_POINTS))
    return TrialRecord(
        number=number, state="complete" if len(values) == len(RUNG_STEPS) else "pruned", seed=0, origin="sampler",
        candidate=candidate_from_choice(settings().warm_starts[0], method, chosen), value=values[-1],
        reports=reports(number, values), started_at="2026-01-01T00:00:00+00:00",
    )  # fmt: skip


_CREATE = """
WITH made AS (
    INSERT INTO trials (study_id, state, datetime_start, number)
    SELECT :study, 'RUNNING', timezone('utc', now()), count(*) FROM trials WHERE study_id = :study RETURNING trial_id
), params AS (
    INSERT INTO trial_params (trial_id, param_name, param_value, distribution_json)
    SELECT trial_id, name, value, distribution FROM made, unnest(
        CAST(:names AS text[]), CAST(:numbers AS float[]), CAST(:texts AS text[])) AS one (name, value, distribution)
), attributes AS (
    INSERT INTO trial_user_attributes (trial_id, key, value_json)
    SELECT trial_id, key, value FROM made, unnest(
        CAST(:keys AS text[]), CAST(:attributes AS text[])) AS one (key, value)
), beat AS (
    INSERT INTO trial_heartbeats (trial_id, heartbeat) SELECT trial_id, now() FROM made
)
SELECT trial_id FROM made
"""

_FETCH = """
SELECT trial_id, number, state, datetime_start, datetime_complete,
    (SELECT value FROM trial_values v WHERE v.trial_id = t.trial_id),
    (SELECT json_object_agg(param_name, param_value) FROM trial_params p WHERE p.trial_id = t.trial_id),
    (SELECT json_object_agg(step, intermediate_value) FROM trial_intermediate_values i WHERE i.trial_id = t.trial_id)
FROM trials t WHERE trial_id = ANY(:ids)
"""

_STALE = """
SELECT trial_id FROM trials JOIN trial_heartbeats USING (trial_id)
WHERE study_id = :study AND state = 'RUNNING' AND heartbeat < now() - make_interval(secs => :grace)
"""


class Client:
    """One worker's side of the study."""

    def __init__(self, shared: SharedStudy | GrpcStorageProxy, *, seed: int = 0) -> None:
        """Take the open study.

        Args:
            shared: `open_shared`'s, or Optuna's proxy.
            seed: Of points and values.
        """
        if isinstance(shared, GrpcStorageProxy):
            self.study = optuna.load_study(study_name=STUDY, storage=shared)
            self._shared = None
        else:
            self.study = shared.study
            self._shared = shared
        self.study.sampler, self.study.pruner = RandomSampler(seed=seed), make_pruner(N_WARM_STARTS)
        self._id = self.study._study_id
        self._rng = random.Random(seed)
        self._points = points(seed=0)
        self._distributions = {name: one for point in self._points for name, one in point.distributions.items()}

    @property
    def cache(self) -> BaseStorage:
        """What stands between the study and the database."""
        return self.study._storage

    @property
    def shared(self) -> SharedStudy:
        """The study in the database; through the proxy there is none."""
        assert self._shared is not None
        return self._shared

    @property
    def storage(self) -> PatientStorage:
        """The product's storage; through the proxy there is none."""
        return self.shared.storage

    def is_open(self) -> bool:
        """Ask whether new trials may begin."""
        return self.shared.is_open

    def lock(self) -> None:
        """Take the lock of reservations and give it back."""
        with self.storage.exclusive(self._id):
            pass

    def stale(self) -> None:
        """Look for trials whose workers are gone."""
        self.storage.give_first_heartbeats(self._id)
        fail_stale_trials(self.study)

    def stale_by_query(self) -> list[int]:
        """Look for such trials: only those that are stale come back."""
        with self._connected() as connection:
            values = {"study": self._id, "grace": self.storage.grace_period}
            return list(connection.scalars(sqlalchemy.text(_STALE), values))

    def queued_by_query(self) -> int | None:
        """Look for a trial that waits."""
        query = "SELECT trial_id FROM trials WHERE study_id = :study AND state = 'WAITING' ORDER BY trial_id LIMIT 1"
        with self._connected() as connection:
            return connection.scalars(sqlalchemy.text(query), {"study": self._id}).one_or_none()

    def count(self) -> int:
        """Count the trials that are taken."""
        return self.storage.count_taken(self._id)

    def read(self) -> Sequence[FrozenTrial]:
        """Bring the history up to date."""
        return self.study.get_trials(deepcopy=False)

    def fetch(self, trial_ids: Sequence[int]) -> Sequence[FrozenTrial]:
        """Read trials whole, as Optuna's cache does."""
        found: Sequence[FrozenTrial] = self.storage._get_trials(self._id, None, set(trial_ids), _NEVER)
        return found

    def fetch_by_query(self, trial_ids: Sequence[int]) -> list[FrozenTrial]:
        """Read what sampler and pruner use of trials, in one statement."""
        with self._connected() as connection:
            rows = connection.execute(sqlalchemy.text(_FETCH), {"ids": list(trial_ids)}).all()
        return [self._frozen(*row) for row in rows]

    def parse(self, trials: Sequence[FrozenTrial]) -> list[TrialRecord]:
        """Read the records of trials, as a worker does once for each."""
        return [from_plain(TrialRecord, trial.user_attrs[RECORD], where="here") for trial in trials]

    def create(self) -> LiveTrial:
        """Create a trial with all its parameters at once."""
        point = self._rng.choice(self._points)
        # The storage puts a token into it.
        template = create_trial(state=point.state, params=point.params, distributions=point.distributions,
                                user_attrs=dict(point.user_attrs))  # fmt: skip
        trial_id = self.cache.create_new_trial(self._id, template)
        if self._shared is not None:
            self.storage.record_heartbeat(trial_id)
        return self.open(trial_id)

    def create_by_query(self) -> int:
        """Create a trial: all rows of it in one statement, behind the same lock as Optuna's."""
        point = self._rng.choice(self._points)
        values = {
            "study": self._id, "names": list(point.params),
            "numbers": [float(one.to_internal_repr(point.params[name])) for name, one in point.distributions.items()],
            "texts": [distribution_to_json(one) for one in point.distributions.values()],
            "keys": list(point.user_attrs), "attributes": [json.dumps(one) for one in point.user_attrs.values()],
        }  # fmt: skip
        with self._connected() as connection:
            connection.execute(sqlalchemy.text("SELECT 1 FROM studies WHERE study_id = :study FOR UPDATE"), values)
            return int(connection.scalars(sqlalchemy.text(_CREATE), values).one())

    def open(self, trial_id: int) -> LiveTrial:
        """Return a trial that can be reported to."""
        return begun(open_trial(self.study, self.cache.get_trial(trial_id)), settings(), 0.0)

    def beat(self, live: LiveTrial) -> None:
        """Say that a trial is alive."""
        self.storage.record_heartbeat(live.trial._trial_id)

    def keep(self, live: LiveTrial, values: Sequence[float]) -> None:
        """Write what a live trial has shown so far."""
        live.reports[:] = reports(live.number, values)
        live.trial.set_user_attr(LIVE, to_plain(live.on_disk()))

    def report(self, live: LiveTrial) -> None:
        """Write the last value."""
        last = live.reports[-1]
        live.trial.report(last.metrics[METRIC], last.step)

    def prune(self, live: LiveTrial) -> bool:
        """Ask the pruner."""
        return live.trial.should_prune()

    def finish(self, live: LiveTrial) -> None:
        """Write the record and the end of a trial."""
        assert self.cache.get_trial(live.trial._trial_id).state == TrialState.RUNNING
        kept = record(live.number, [one.metrics[METRIC] for one in live.reports])
        live.trial.set_user_attr(RECORD, to_plain(kept))
        is_complete = kept.state == "complete"
        self.study.tell(
            live.number, kept.value if is_complete else None,
            state=TrialState.COMPLETE if is_complete else TrialState.PRUNED,
        )  # fmt: skip

    @contextmanager
    def _connected(self) -> Iterator[sqlalchemy.Connection]:
        with self.storage.engine.begin() as connection:
            yield connection

    def _frozen(
        self, trial_id: int, number: int, state: str, start: datetime, end: datetime | None, value: float | None,
        numbers: Mapping[str, float], curve: Mapping[str, float] | None,
    ) -> FrozenTrial:  # fmt: skip
        distributions = {name: self._distributions[name] for name in numbers}
        return FrozenTrial(
            trial_id=trial_id, number=number, state=TrialState[state], value=value, datetime_start=start,
            datetime_complete=end, user_attrs={}, system_attrs={}, distributions=distributions,
            params={name: one.to_external_repr(numbers[name]) for name, one in distributions.items()},
            intermediate_values={int(step): shown for step, shown in (curve or {}).items()},
        )  # fmt: skip


def values(rng: random.Random, n: int) -> list[float]:
    """Return values of so many rungs, with digits that do not repeat."""
    return [rng.random() for _ in range(n)]
