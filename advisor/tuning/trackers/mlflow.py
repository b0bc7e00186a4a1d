"""MLflow: one run for the study, nested runs for its trials and finals.

Without `MLFLOW_TRACKING_URI` everything goes to `mlflow/` of the run folder: an SQLite database and the artifacts. With
it, to that place, in the experiment that `MLFLOW_EXPERIMENT_NAME` names, by default "peft-advisor". `mlflow-skinny` is
enough to log; MLflow's pages need the whole `mlflow`.

MLflow's telemetry is turned off where the environment says nothing else. Not covered: a run folder that was moved keeps
its runs, but MLflow knows the old place of their artifacts, so no file is added to them.
"""

import logging
import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from advisor.errors import AdvisorError
from advisor.tuning.trackers.contract import Ending, EndState, Point, TrackedRun
from advisor.tuning.trackers.facts import STUDY_KEY

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

FOLDER_NAME = "mlflow"
EXPERIMENT = "peft-advisor"
# A server that does not answer must not hold up the study: by default MLflow tries again for minutes.
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}
_RUN_TAG = "peft_advisor.run"
_STATES: Mapping[EndState, str] = {"finished": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}
# https://mlflow.org/docs/latest/python_api/mlflow.client.html: longest value of a tag that every store takes.
_LONGEST_TAG = 5000


class MlflowTracker:
    """Logs through `MlflowClient`, so that nothing of a user's own MLflow session changes."""

    def __init__(self, folder: Path, study: str) -> None:
        """Load MLflow; nothing is written.

        Args:
            folder: Run folder.
            study: Name that no other study has.
        """
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        from mlflow.tracking import MlflowClient

        logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)  # says that it makes tables
        asked = os.environ.get("MLFLOW_TRACKING_URI")
        self._home = None if asked else (folder / FOLDER_NAME).absolute()
        self._study = study
        self._ids: dict[str, str] = {}
        self._steps: dict[str, int] = {}
        self._uri = asked or _local_uri(self._home or folder)
        self._new_client = MlflowClient
        self.place = asked or FOLDER_NAME

    @cached_property
    def _client(self) -> "MlflowClient":
        """Made when it is needed: to make it makes the database."""
        return self._new_client(tracking_uri=self._uri)

    @property
    def is_empty(self) -> bool:
        """Is there no database in the run folder?"""
        return self._home is not None and not (self._home / "mlflow.db").is_file()

    def begin(self, run: TrackedRun, *, is_new: bool, step: int) -> None:
        """Create the run, or find it by its tag and go on with it."""
        experiment = self._experiment()
        tag = f"{self._study}/{run.key}"
        found = self._client.search_runs([experiment], f"tags.`{_RUN_TAG}` = '{tag}'", max_results=1)
        if found:
            self._ids[run.key] = found[0].info.run_id
            self._client.update_run(self._ids[run.key], status="RUNNING")
            self._steps[run.key] = self._last_step(self._ids[run.key], list(found[0].data.metrics))
        else:
            parent = {"mlflow.parentRunId": self._ids[STUDY_KEY]} if run.key != STUDY_KEY else {}
            tags = {_RUN_TAG: tag, "peft_advisor.kind": run.kind, **parent}
            made = self._client.create_run(experiment, run_name=run.title, tags=tags)
            self._ids[run.key], self._steps[run.key] = made.info.run_id, 0
        self._write(run.key, params={name: str(value) for name, value in run.params.items()}, facts=run.facts)

    def log(self, key: str, point: Point) -> None:
        """Log values, unless they came in before a kill that was quicker than the note of it."""
        if point.step > self._steps[key]:
            self._write(key, point)

    def end(self, key: str, ending: Ending) -> None:
        """Log the last values, tags and files, and set the status."""
        run_id = self._ids.pop(key)
        self._write(run_id=run_id, point=ending.point, facts=ending.facts)
        if self._home is None or self._client.get_run(run_id).info.artifact_uri.startswith(self._artifacts):
            for path in ending.files:
                self._client.log_artifact(run_id, str(path))
        self._client.set_terminated(run_id, status=_STATES[ending.state], end_time=round(ending.point.at_s * 1000))

    def close(self) -> None:
        """Nothing is held."""

    @property
    def _artifacts(self) -> str:
        assert self._home is not None
        return (self._home / "artifacts").as_uri()

    def _experiment(self) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT) if self._home is None else EXPERIMENT
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        if self._home is None:
            return str(self._client.create_experiment(name))
        return str(self._client.create_experiment(name, artifact_location=self._artifacts))

    def _last_step(self, run_id: str, names: list[str]) -> int:
        steps = (metric.step for name in names for metric in self._client.get_metric_history(run_id, name))
        return int(max(steps, default=0))

    def _write(
        self,
        key: str = "",
        point: Point | None = None,
        *,
        run_id: str | None = None,
        params: Mapping[str, str] | None = None,
        facts: Mapping[str, str] | None = None,
    ) -> None:
        from mlflow.entities import Metric, Param, RunTag

        at_ms = round(point.at_s * 1000) if point else 0
        self._client.log_batch(
            run_id or self._ids[key],
            metrics=[Metric(name, value, at_ms, point.step) for name, value in point.values.items()] if point else [],
            params=[Param(name, value) for name, value in (params or {}).items()],
            tags=[RunTag(name, value[:_LONGEST_TAG]) for name, value in (facts or {}).items()],
        )


def _local_uri(home: Path) -> str:
    """Return the address of the database in a folder.

    Raises:
        AdvisorError: The path cannot stand in an address.
    """
    if set(str(home)) & set("?#%"):
        raise AdvisorError(f"{home}: MLflow cannot keep a database in a folder with ?, # or % in its path")
    return f"sqlite:///{home / 'mlflow.db'}"
