"""The server's side: processor time of a process of somebody else, and a study of any size in the database at once."""

import json
import os
import random
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import psycopg
from optuna.distributions import distribution_to_json
from optuna.trial import FrozenTrial

from advisor.records import to_plain
from advisor.search.asking import ORIGIN
from advisor.search.live_trial import LiveRecord
from advisor.search.patient_storage import TOKEN
from advisor.search.shared_keeper import LIVE, RECORD
from advisor.trial import TrialSpec
from studies.postgres_server import PostgresServer
from studies.scale.client import RUNG_STEPS, STUDY, record, reports
from studies.scale.client import values as drawn_values

NULL = r"\N"
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_TABLES = (
    "trials", "trial_params", "trial_values", "trial_user_attributes", "trial_system_attributes",
    "trial_intermediate_values", "trial_heartbeats",
)  # fmt: skip


def process_s(pid: int) -> float:
    """Return the processor seconds of a process, to the nanosecond; 0 when it is gone."""
    try:
        return time.clock_gettime((~pid << 3) | 2)  # the kernel's number for the processor clock of a process
    except OSError:
        return 0.0


def busy_s() -> float:
    """Return the seconds that all processors were busy, whoever made them so, but for those who give way to others."""
    fields = Path("/proc/stat").read_text().splitlines()[0].split()
    user, _, system, _, _, interrupts, soft_interrupts = map(int, fields[1:8])
    return (user + system + interrupts + soft_interrupts) / _TICKS_PER_S


class ServerClock:
    """Processor seconds of all processes of a server, those that came and went included."""

    def __init__(self, server: PostgresServer) -> None:
        """Look at a running server."""
        self._pid = server.pid
        self._seen: dict[int, float] = {}

    def __call__(self) -> float:
        """Return the seconds since the server began."""
        for pid in [self._pid, *_children(self._pid)]:
            self._seen[pid] = max(self._seen.get(pid, 0.0), process_s(pid))
        return sum(self._seen.values())

    def ended_s(self) -> float:
        """Return the seconds of processes that have ended, such as parallel workers, in hundredths."""
        fields = Path(f"/proc/{self._pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[13]) + int(fields[14])) / _TICKS_PER_S


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def connect(server: PostgresServer) -> psycopg.Connection:
    """Connect beside Optuna."""
    return psycopg.connect(server.url_with_password.replace("+psycopg", ""), autocommit=True)


def clear(server: PostgresServer) -> None:
    """Remove all trials."""
    with connect(server) as connection:
        connection.execute(f"TRUNCATE {', '.join(_TABLES)} RESTART IDENTITY CASCADE")


def fill(server: PostgresServer, n: int, points: Sequence[FrozenTrial], *, running: bool, seed: int = 0) -> None:
    """Write trials with COPY, behind those that are there.

    Args:
        server: With a study in it.
        n: Trials to write.
        points: Whose parameters they have, in turn.
        running: Running ones, with what they showed at one rung and a heartbeat that stays fresh; else finished ones:
            of ten, seven stopped at the first rung, three complete.
        seed: Of values.
    """
    with connect(server) as connection:
        found = connection.execute(
            "SELECT study_id, (SELECT coalesce(max(trial_id), 0) FROM trials) FROM studies WHERE study_name = %s",
            [STUDY],
        ).fetchone()
        assert found is not None
        study, last = found
        rng = random.Random(f"{seed}:{last}")
        rows = _rows(range(last + 1, last + 1 + n), points, rng, study=study, running=running)
        for columns, lines in rows.items():
            with connection.cursor().copy(f"COPY {columns} FROM STDIN") as copy:
                copy.write("".join(lines))
        if n:
            connection.execute("SELECT setval(pg_get_serial_sequence('trials', 'trial_id'), %s)", [last + n])
        connection.execute("VACUUM ANALYZE")


def _rows(
    trial_ids: range, points: Sequence[FrozenTrial], rng: random.Random, *, study: int, running: bool
) -> dict[str, list[str]]:
    """Return lines for COPY by table with columns."""
    trials, params, values, attributes, shown, beats = [], [], [], [], [], []
    now = datetime.now()
    distributions: dict[int, str] = {}
    for trial_id in trial_ids:
        number = trial_id - 1
        point = points[number % len(points)]
        n_rungs = 1 if running or number % 10 < 7 else len(RUNG_STEPS)
        state = "RUNNING" if running else "COMPLETE" if n_rungs > 1 else "PRUNED"
        trials.append(f"{trial_id}\t{number}\t{study}\t{state}\t{now}\t{NULL if running else now}\n")
        for name, distribution in point.distributions.items():
            as_json = distributions.setdefault(id(distribution), distribution_to_json(distribution))
            params.append(f"{trial_id}\t{name}\t{distribution.to_internal_repr(point.params[name])}\t{as_json}\n")
        curve = drawn_values(rng, n_rungs)
        shown += [f"{trial_id}\t{step}\t{value}\tFINITE\n" for step, value in zip(RUNG_STEPS, curve, strict=False)]
        attributes += [f"{trial_id}\t{key}\t{json.dumps(one)}\n" for key, one in _attributes(number, curve, running)]
        if running:
            beats.append(f"{trial_id}\t{now + timedelta(days=1)}\n")
        else:
            values.append(f"{trial_id}\t0\t{curve[-1]}\tFINITE\n")
    return {
        "trials (trial_id, number, study_id, state, datetime_start, datetime_complete)": trials,
        "trial_params (trial_id, param_name, param_value, distribution_json)": params,
        "trial_values (trial_id, objective, value, value_type)": values,
        "trial_user_attributes (trial_id, key, value_json)": attributes,
        "trial_intermediate_values (trial_id, step, intermediate_value, intermediate_value_type)": shown,
        "trial_heartbeats (trial_id, heartbeat)": beats,
    }


def _attributes(number: int, curve: Sequence[float], running: bool) -> list[tuple[str, object]]:
    """Return user attributes as the search writes them; a finished trial has what it had while it was live."""
    kept = record(number, curve)
    spec = TrialSpec(number=number, candidate=kept.candidate, seed=0, rung_steps=RUNG_STEPS)
    live = LiveRecord(
        spec=spec, started_at=kept.started_at, reports=reports(number, curve), checkpoint=f"{number}/0123456789ab-7"
    )
    attributes: list[tuple[str, object]] = [(ORIGIN, "sampler"), (TOKEN, f"{number:032x}"), (LIVE, to_plain(live))]
    return attributes if running else [*attributes, (RECORD, to_plain(kept))]
