"""Optuna's relational storage for a server that may be away for a while: restarted, or at the end of a cut line.

Each operation is tried again until the server answers, for `PATIENCE_S` at most. What makes that safe:

* An operation that fails with its connection may have been done: the answer was lost. Setting an attribute, a parameter
  or an intermediate value twice gives what once gives. A state that was set is looked up before it is set again.
* A trial that is created carries a token; after a lost answer it is looked for by that.
* A server that is silent rather than gone is given up after `_SILENCE_S`, so a cut line does not hang a study for the
  hours that TCP takes by default.

Reservations are made under a lock of the server (`exclusive`): no two processes count the trials at the same time. The
lock ends with its connection, and the server ends a connection that holds it and is silent (`_LOCK_S`).
"""

import json
import logging
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial, wraps
from typing import Any, TypeVar
from uuid import uuid4

from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy import Connection, text
from sqlalchemy.exc import (
    DBAPIError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    PendingRollbackError,
    ProgrammingError,
    SQLAlchemyError,
)

# A restart of a server takes seconds, a failover minutes; after ten a person has to look at it in any case.
PATIENCE_S = 600.0
_FIRST_WAIT_S = 0.2
_LONGEST_WAIT_S = 10.0
_MOST_ATTEMPTS = 6
_SILENCE_S = 30
_LOCK_S = 60
TOKEN = "token"  # user attribute of a trial: who created it

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

# https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS
_CONNECTION = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": _SILENCE_S * 1000,
    "application_name": "peft-advisor",
}


class PatientStorage(RDBStorage):
    """`RDBStorage` on PostgreSQL that waits for a server that is away."""

    def __init__(self, url: str, *, heartbeat_s: int, grace_s: int, patience_s: float = PATIENCE_S) -> None:
        """Connect, once: a server that does not answer now is a mistake in the URL rather than a restart.

        Args:
            url: SQLAlchemy URL.
            heartbeat_s: Seconds from one sign of life of a live trial to the next.
            grace_s: Seconds without one after which a trial counts as stale.
            patience_s: Seconds to wait for a server that is away.

        Raises:
            SQLAlchemyError: The server cannot be reached or refuses.
            RuntimeError: The tables are those of another version of Optuna.
        """
        self._patience_s = patience_s
        self._is_ready = False
        self._trouble_s = -float("inf")
        self._last_warning_s = -float("inf")
        self._claim: Connection | None = None
        with without_experimental_warnings():
            self._begin(
                url,
                engine_kwargs={"connect_args": _CONNECTION, "pool_pre_ping": True, "pool_size": 4, "max_overflow": 8},
                heartbeat_interval=heartbeat_s,
                grace_period=grace_s,
                heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(inherit_intermediate_values=True),
            )
        self._is_ready = True

    def _begin(self, url: str, **options: Any) -> None:
        """Connect, and make Optuna's tables where they are missing; others may be making them at this moment."""
        for attempt in range(_MOST_ATTEMPTS):
            try:
                super().__init__(url, **options)
                return
            except (IntegrityError, ProgrammingError):
                if attempt == _MOST_ATTEMPTS - 1:
                    raise
                time.sleep(_FIRST_WAIT_S * 2**attempt)

    @property
    def quiet_s(self) -> float:
        """Seconds since the server was last away, as this process sees it."""
        return time.monotonic() - self._trouble_s

    def close(self) -> None:
        """Close all connections."""
        if self._claim is not None:
            self._claim.invalidate()
            self._claim.close()
        self.remove_session()
        self.engine.dispose()

    def patiently(self, operation: Callable[[], _T]) -> _T:
        """Return what an operation gives, which may be done twice, when the server is there.

        Raises:
            StorageInternalError: The server was away for too long, or refused.
        """
        began_s, wait_s = time.monotonic(), _FIRST_WAIT_S
        while True:
            try:
                return operation()
            except (StorageInternalError, SQLAlchemyError) as error:
                if not self._is_ready or not is_away(error):
                    raise
                self._trouble_s = time.monotonic()
                if self._trouble_s - began_s + wait_s > self._patience_s:
                    raise
                self._warn(error)
            time.sleep(wait_s)
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)

    def claim(self, study_id: int) -> bool:
        """Be the only process that leads a study, until this storage is closed or its process ends.

        The claim ends with its connection; of a machine that is gone the server notices within a minute. After a
        restart of the server nobody has it, and the lock of the run folder remains.

        Returns:
            Whether nobody else has it.
        """
        connection = self.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        for name, value in (("idle", 30), ("interval", 10), ("count", 3)):
            connection.execute(text(f"SET tcp_keepalives_{name} = {value}"))
        if connection.execute(_CLAIM, {"space": _SPACE + 1, "study": study_id}).scalar():
            self._claim = connection
            return True
        connection.close()
        return False

    @contextmanager
    def exclusive(self, study_id: int) -> Iterator[None]:
        """Keep other processes out of the same block for the same study, for as long as the server is there.

        Raises:
            StorageInternalError: The server was away for too long.
        """
        connection = self.patiently(partial(self._locked_connection, study_id))
        try:
            yield
        finally:
            try:
                connection.rollback()  # nothing was written through it; this ends the lock
            except SQLAlchemyError:
                connection.invalidate()
            connection.close()

    def count_taken(self, study_id: int) -> int:
        """Return how many trials are finished, live or waiting; those that were begun anew are counted once."""
        statement = text("SELECT count(*) FROM trials WHERE study_id = :study AND state <> 'FAIL'")
        return int(self.patiently(lambda: self._scalar(statement, study=study_id)) or 0)

    def waiting_trial(self, study_id: int) -> int | None:
        """Return the trial that waits in Optuna's queue for the longest, by Optuna's id of it; None for none."""
        found = self.patiently(lambda: self._scalar(_WAITING, study=study_id))
        return None if found is None else int(found)

    def has_stale(self, study_id: int) -> bool:
        """Is there a live trial without a sign of life for the grace period?"""
        return bool(self.patiently(lambda: self._scalar(_STALE, study=study_id, grace=self.grace_period)))

    def set_attribute_of_live(self, trial_id: int, key: str, value: Any) -> bool:
        """Set a user attribute of a trial that is live; of one that another process has declared failed it is not set.

        Unlike Optuna's own check this one and the write are one: whoever declares the trial failed afterwards sees the
        attribute.

        Returns:
            Whether the trial is live.
        """
        values = {"trial": trial_id, "key": key, "value": json.dumps(value)}
        return self.patiently(lambda: self._returned(_SET_OF_LIVE, **values)) is not None

    def give_first_heartbeats(self, study_id: int) -> None:
        """Let the grace period begin for live trials without any sign of life.

        Optuna takes a trial for stale only after its first one: one whose process ended right after it had created it
        would be live for ever.
        """
        statement = text(
            "INSERT INTO trial_heartbeats (trial_id, heartbeat) SELECT trial_id, now() FROM trials WHERE "
            "study_id = :study AND state = 'RUNNING' AND NOT EXISTS "
            "(SELECT 1 FROM trial_heartbeats WHERE trial_heartbeats.trial_id = trials.trial_id) "
            "ON CONFLICT (trial_id) DO NOTHING"
        )
        self.patiently(lambda: self._execute(statement, study=study_id))

    def _create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> FrozenTrial:
        token = uuid4().hex
        template = template_trial or create_trial(state=TrialState.RUNNING)
        template.user_attrs = {**template.user_attrs, TOKEN: token}
        attempts = 0

        def create() -> FrozenTrial:
            nonlocal attempts
            attempts += 1
            made = self._find(study_id, token) if attempts > 1 else None
            return made or super(PatientStorage, self)._create_new_trial(study_id, template)

        return self.patiently(create)

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """See `RDBStorage`."""
        attempts = 0

        def change() -> bool:
            nonlocal attempts
            attempts += 1
            if attempts > 1 and state.is_finished():
                there = super(PatientStorage, self).get_trial(trial_id)
                if there.state == state and (values is None or there.values == list(values)):
                    return True
            return super(PatientStorage, self).set_trial_state_values(trial_id, state, values)

        return self.patiently(change)

    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        """See `RDBStorage`. Not tried again: whether a study of this name is there is asked before."""
        return super().create_new_study(directions, study_name)

    def _locked_connection(self, study_id: int) -> Connection:
        connection = self.engine.connect()
        try:
            connection.execute(text(f"SET LOCAL idle_in_transaction_session_timeout = '{_LOCK_S}s'"))
            connection.execute(_LOCK, {"space": _SPACE, "study": study_id})
        except BaseException:
            connection.close()
            raise
        return connection

    def _find(self, study_id: int, token: str) -> FrozenTrial | None:
        statement = text(
            "SELECT trials.trial_id FROM trials JOIN trial_user_attributes USING (trial_id) "
            "WHERE study_id = :study AND key = :key AND value_json = :token"
        )
        found = self._scalar(statement, study=study_id, key=TOKEN, token=f'"{token}"')
        return None if found is None else super().get_trial(int(found))

    def _scalar(self, statement: Any, **values: object) -> Any:
        with self.engine.connect() as connection:
            return connection.execute(statement, values).scalar()

    def _returned(self, statement: Any, **values: object) -> Any:
        with self.engine.begin() as connection:
            return connection.execute(statement, values).scalar()

    def _execute(self, statement: Any, **values: object) -> None:
        with self.engine.begin() as connection:
            connection.execute(statement, values)

    def _warn(self, error: BaseException) -> None:
        if self._trouble_s - self._last_warning_s > 30.0:
            self._last_warning_s = self._trouble_s
            cause = error.__cause__ or error
            _log.warning("the database does not answer; trying again: %s", (str(cause).splitlines() or [""])[0])


# First half of the key of advisory locks; others who use this database may have locks of their own.
_SPACE = 0x70656674  # "peft"
_LOCK = text("SELECT pg_advisory_xact_lock(:space, :study)")
_WAITING = text("SELECT trial_id FROM trials WHERE study_id = :study AND state = 'WAITING' ORDER BY trial_id LIMIT 1")
_STALE = text(
    "SELECT EXISTS (SELECT 1 FROM trials JOIN trial_heartbeats USING (trial_id) WHERE study_id = :study AND "
    "state = 'RUNNING' AND heartbeat < now() - make_interval(secs => :grace))"
)
_SET_OF_LIVE = text(
    "WITH live AS (SELECT trial_id FROM trials WHERE trial_id = :trial AND state = 'RUNNING' FOR UPDATE) "
    "INSERT INTO trial_user_attributes (trial_id, key, value_json) SELECT trial_id, :key, :value FROM live "
    "ON CONFLICT (trial_id, key) DO UPDATE SET value_json = EXCLUDED.value_json RETURNING trial_id"
)
_CLAIM = text("SELECT pg_try_advisory_lock(:space, :study)")


@contextmanager
def without_experimental_warnings() -> Iterator[None]:
    """Keep quiet about heartbeats being experimental in Optuna since version 2.9."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield


def is_away(error: BaseException) -> bool:
    """Say whether the server is away (restarting, unreachable, overloaded), rather than refusing what it was asked."""
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, PendingRollbackError):  # the next statement on a connection that was lost
            return True
        if isinstance(inner, DBAPIError):
            return inner.connection_invalidated or isinstance(inner, (OperationalError, InterfaceError))
        inner = inner.__cause__ or inner.__context__
    return False


def _patient(name: str) -> Callable[..., Any]:
    plain = getattr(RDBStorage, name)

    @wraps(plain)
    def patient(self: PatientStorage, *arguments: Any, **options: Any) -> Any:
        return self.patiently(partial(plain, self, *arguments, **options))

    return patient


# What may be done twice: reading, and writing what is the same the second time.
for _name in (
    "set_study_user_attr", "set_study_system_attr", "get_study_id_from_name", "get_study_name_from_id",
    "get_study_directions", "get_study_user_attrs", "get_study_system_attrs", "get_trial_user_attrs",
    "get_trial_system_attrs", "get_all_studies", "_set_trial_param", "set_trial_param", "get_trial_param",
    "set_trial_intermediate_value", "set_trial_user_attr", "set_trial_system_attr",
    "get_trial_id_from_study_id_trial_number", "get_trial", "_get_trials", "get_all_trials", "record_heartbeat",
    "_get_stale_trial_ids",
):  # fmt: skip
    setattr(PatientStorage, _name, _patient(_name))
