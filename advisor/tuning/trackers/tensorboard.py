"""TensorBoard: one folder per run in `tensorboard/` of the run folder, hyperparameters for its HPARAMS page.

Event files can only grow. A run that goes on gets a further file, which says from which step on earlier values do not
count; so what was written by a process that was killed before it noted it is not shown twice.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from advisor.tuning.trackers.contract import Ending, Point, Scalar, TrackedRun
from advisor.tuning.trackers.facts import STUDY_KEY

FOLDER_NAME = "tensorboard"


class TensorBoardTracker:
    """Writes event files with PyTorch's writer; TensorFlow is not needed."""

    place = FOLDER_NAME

    def __init__(self, folder: Path, study: str) -> None:
        """Load the writer; nothing is written.

        Args:
            folder: Run folder.
            study: Not needed: the files stay in the run folder.
        """
        from torch.utils.tensorboard import SummaryWriter

        self._new_writer = SummaryWriter
        self._home = folder / FOLDER_NAME
        self._writers: dict[str, Any] = {}
        self._params: dict[str, Mapping[str, Scalar]] = {}

    @property
    def is_empty(self) -> bool:
        """Is there no folder of event files?"""
        return not self._home.is_dir()

    def begin(self, run: TrackedRun, *, is_new: bool, step: int) -> None:
        """Open a further event file of the run."""
        # The study's values come at its end alone: there is nothing of it that a kill could have left.
        purge_step = None if is_new or run.key == STUDY_KEY else step + 1
        writer = self._new_writer(str(self._home / run.key), purge_step=purge_step)
        self._writers[run.key] = writer
        self._params[run.key] = run.params
        if is_new and run.key == STUDY_KEY:
            writer.add_text("study", _table({**run.params, **run.facts}))
        writer.flush()

    def log(self, key: str, point: Point) -> None:
        """Write values."""
        self._scalars(self._writers[key], point)

    def end(self, key: str, ending: Ending) -> None:
        """Write the last values, and the hyperparameters beside them."""
        writer = self._writers.pop(key)
        try:
            if ending.state == "interrupted":
                return
            if ending.facts:
                writer.add_text("ending", _table(ending.facts), ending.point.step, ending.point.at_s)
            if key == STUDY_KEY:
                self._scalars(writer, ending.point)
            elif ending.point.values:
                self._hyperparameters(writer, key, ending.point)
        finally:
            writer.close()

    def close(self) -> None:
        """Nothing is held."""

    def _hyperparameters(self, writer: Any, key: str, point: Point) -> None:
        """Write what the HPARAMS page shows of a run.

        `SummaryWriter.add_hparams` opens a second event file for it. Files of one second are read in the order of
        their names, so the first could take back what stands in the second.
        """
        from torch.utils.tensorboard import summary

        figures = {f"end/{name}": value for name, value in point.values.items()}
        summaries: Any = summary
        for one in summaries.hparams(dict(self._params[key]), dict(figures)):
            writer.file_writer.add_summary(one)
        self._scalars(writer, Point(step=point.step, at_s=point.at_s, values=figures))

    def _scalars(self, writer: Any, point: Point) -> None:
        for name, value in point.values.items():
            writer.add_scalar(name, value, point.step, point.at_s)
        writer.flush()


def _table(rows: Mapping[str, Scalar]) -> str:
    """Return rows as a table in Markdown, which the TEXT page shows."""
    cells = "\n".join(f"| {name} | {str(value).replace('|', chr(92) + '|')} |" for name, value in rows.items())
    return f"| | |\n|---|---|\n{cells}"
