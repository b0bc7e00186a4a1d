"""Trackio: a local database in `trackio/` of the run folder, one run for the study and each of its trials and finals.

Trackio decides on its folder when it is imported, prints on stdout, keeps one run open at a time and asks the Hugging
Face hub for the user's name. So it runs in a process of its own, `advisor.tuning.trackers.trackio_process`, which sees
neither the hub nor a Space: no variable of the environment makes this tracker send anything.

Not covered: a process that is killed after values were logged and before that was noted logs them twice.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from advisor.errors import AdvisorError
from advisor.tuning.trackers.contract import Ending, Point, Scalar, TrackedRun

FOLDER_NAME = "trackio"
PROJECT = "peft-advisor"
_SCRIPT = Path(__file__).with_name("trackio_process.py")
# Variables that would send runs or messages elsewhere.
_REMOTE = ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL", "TRACKIO_BUCKET_ID", "TRACKIO_DATASET_ID", "TRACKIO_WEBHOOK_URL")
_ANSWER_S = 60.0


class TrackioTracker:
    """Logs through Trackio's public functions in another process."""

    place = FOLDER_NAME

    def __init__(self, folder: Path, study: str) -> None:
        """Take the folder; the process is started when there is something to log.

        Args:
            folder: Run folder.
            study: Name that no other study has; the runs of a study are a group.
        """
        self._home = folder.absolute() / FOLDER_NAME
        self._group = f"{folder.absolute().name}-{study[:12]}"
        self._configs: dict[str, dict[str, Scalar]] = {}
        self._process: subprocess.Popen[str] | None = None

    @property
    def is_empty(self) -> bool:
        """Is there no database?"""
        return not (self._home / f"{PROJECT}.db").is_file()

    def begin(self, run: TrackedRun, *, is_new: bool, step: int) -> None:
        """Keep what the run is: Trackio knows a run from its first values on."""
        self._configs[run.key] = {**run.params, **run.facts, "kind": run.kind}

    def log(self, key: str, point: Point) -> None:
        """Log values; they are in the database when this returns."""
        self._tell(key, point)

    def end(self, key: str, ending: Ending) -> None:
        """Log the last values and facts."""
        if ending.point.values:
            self._configs[key] |= {**ending.facts, "ended": ending.state}
            self._tell(key, ending.point, ending.files)
        del self._configs[key]

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            try:
                process.communicate(timeout=_ANSWER_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()

    def _tell(self, key: str, point: Point, files: Sequence[Path] = ()) -> None:
        """Have values logged.

        Raises:
            AdvisorError: Trackio said no, or nothing in time.
        """
        message = {
            "project": PROJECT,
            "name": key,
            "group": self._group,
            "config": self._configs[key],
            "step": point.step,
            "values": dict(point.values),
            "files": [str(path.absolute()) for path in files],
        }
        answer = self._answer(json.dumps(message) + "\n")
        if answer != "ok":
            raise AdvisorError(answer or "its process ended")

    def _answer(self, line: str) -> str:
        process = self._process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        patience = threading.Timer(_ANSWER_S, process.kill)
        patience.start()
        try:
            process.stdin.write(line)
            process.stdin.flush()
            return process.stdout.readline().strip()
        finally:
            patience.cancel()

    def _start(self) -> "subprocess.Popen[str]":
        environment = {name: value for name, value in os.environ.items() if name not in _REMOTE}
        environment |= {"TRACKIO_DIR": str(self._home), "HF_HUB_OFFLINE": "1", "PYTHONIOENCODING": "utf-8"}
        # -P: this folder holds modules with the names of packages, and must not be searched for them. A session of
        # its own: Ctrl-C is for the study, which closes this when it has ended.
        return subprocess.Popen(
            [sys.executable, "-P", str(_SCRIPT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            encoding="utf-8",
            start_new_session=True,
        )
