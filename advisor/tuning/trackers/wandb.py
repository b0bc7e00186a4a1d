"""Weights & Biases: one run for the study and each of its trials and finals, in one group.

Nothing is sent unless `WANDB_MODE=online` says so, also where the user is logged in: runs are written offline to
`wandb/` of the run folder, and `wandb sync` uploads them. `WANDB_PROJECT` names the project, by default "peft-advisor".
What W&B would collect by itself (command line, host, git state, console output, installed packages, code, usage of the
machine) is turned off: a study tells what it was.

Offline, a run that goes on gets a further folder with the same id; `wandb sync` puts them together.
"""

import os
import time
from pathlib import Path
from typing import Any

from advisor.tuning.trackers.contract import Ending, Point, TrackedRun

FOLDER_NAME = "wandb"
PROJECT = "peft-advisor"
# W&B's process writes to the disk that often; by default it takes 15 s, and what is killed before is lost.
_FLUSH_S = 0.1
_ID_LENGTH = 12  # letters of the study's name: a run's id is unique in a project


class WandbTracker:
    """Logs through `wandb.init`, with as many runs open as trials are live."""

    def __init__(self, folder: Path, study: str) -> None:
        """Load W&B; nothing is written.

        Args:
            folder: Run folder.
            study: Name that no other study has.
        """
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # reports of its own errors to its makers
        os.environ.setdefault("WANDB_SILENT", "true")  # it would write between the lines of `tune`
        import wandb

        self._wandb: Any = wandb
        self._folder = folder.absolute()
        self._study = study[:_ID_LENGTH]
        self._mode = os.environ.get("WANDB_MODE", "offline")
        self._runs: dict[str, Any] = {}
        self.place = FOLDER_NAME if self._mode == "offline" else self._mode

    @property
    def is_empty(self) -> bool:
        """Are there no runs in the run folder?"""
        return self._mode == "offline" and not (self._folder / FOLDER_NAME).is_dir()

    def begin(self, run: TrackedRun, *, is_new: bool, step: int) -> None:
        """Begin a run, or a further part of it."""
        self._runs[run.key] = self._wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            group=f"{self._folder.name}-{self._study}",
            id=f"{self._study}-{run.key}",
            name=run.title,
            job_type=run.kind,
            config={**run.params, **run.facts},
            resume="allow",
            dir=str(self._folder),
            settings=self._settings(),
        )

    def log(self, key: str, point: Point) -> None:
        """Log values; W&B's own process has written them down when this returns."""
        # Without `commit` W&B waits for the next step, which a killed process does not reach.
        self._runs[key].log(dict(point.values), step=point.step, commit=True)
        time.sleep(2 * _FLUSH_S)  # there is no way to ask whether it has

    def end(self, key: str, ending: Ending) -> None:
        """Log the last values, facts and files, and finish the run."""
        run = self._runs.pop(key)
        # The summary, since values of a step that was committed cannot be added to.
        run.summary.update({**ending.point.values, **ending.facts})
        for path in ending.files:
            run.save(str(path), base_path=str(path.parent), policy="now")
        run.finish(exit_code=0 if ending.state == "finished" else 1)

    def close(self) -> None:
        """Nothing is held: W&B's process ends with this one."""

    def _settings(self) -> Any:
        return self._wandb.Settings(
            mode=self._mode,
            reinit="create_new",  # several at once
            silent=True,
            console="off",
            host="",
            symlink=False,  # copies of files, so that the folder can be moved
            save_code=False,
            disable_code=True,
            disable_git=True,
            disable_job_creation=True,
            x_disable_meta=True,
            x_disable_stats=True,
            x_disable_machine_info=True,
            x_save_requirements=False,
            x_transaction_log_flush_interval=_FLUSH_S,
        )
