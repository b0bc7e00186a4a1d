"""The data of a study: read and checked before anything else is done."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from advisor.catalog.tasks import Task
from advisor.errors import InputError
from advisor.trial import Split
from advisor.tuning.request import TuningRequest

if TYPE_CHECKING:
    from advisor.training.examples import ExampleFile


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningData:
    """Three splits that were read and found usable.

    Attributes:
        files: By split.
        warnings: What is odd about them, one line each.
    """

    files: "Mapping[Split, ExampleFile]"
    warnings: tuple[str, ...]

    @property
    def n_examples(self) -> dict[Split, int]:
        """Examples by split."""
        return {split: len(file.examples) for split, file in self.files.items()}


def read_data(request: TuningRequest, task: Task) -> TuningData:
    """Read the three files and check them against each other.

    Raises:
        InputError: A file does not exist.
        DataError: A file cannot be used; the message names it and the rows.
    """
    from advisor.training.examples import read_examples
    from advisor.training.splits import check_splits

    for split, path in request.files.items():
        if not path.exists():
            raise InputError(f"--{split}: {path} does not exist")
    files = {split: read_examples(path, task) for split, path in request.files.items()}
    return TuningData(files=files, warnings=check_splits(files, task))
