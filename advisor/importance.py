"""Which hyperparameters decided the quality of a study's trials: importance.json, the record that the report reads.

`advisor.search.importance` makes it from the study.
"""

from dataclasses import dataclass
from pathlib import Path

from advisor import records
from advisor.errors import DataError
from advisor.trials_file import FILE_NAME as TRIALS

SCHEMA_VERSION = 1
FILE_NAME = "importance.json"  # in a run folder
STUDY = "study.db"  # what it is made from


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterImportance:
    """How much one choice had to do with being among the best trials.

    Attributes:
        name: Hyperparameter, or "method" or "base_model".
        method: Whose hyperparameter it is; None for a choice that every trial makes.
        base: Base model with a range of its own, None where base models share the range.
        share: Of the importance of all, 0 to 1.
        by_chance: Share of shuffles of the values over the trials in which it was at least as important.
        n_trials: Counted trials in which it was chosen.
    """

    name: str
    method: str | None
    base: str | None
    share: float
    by_chance: float
    n_trials: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Importance:
    """The importance of all choices of a study, or that there are too few trials to say.

    Attributes:
        schema_version: Of this record.
        n_finished: Trials on record when it was computed.
        n_counted: Trials that it rests on: complete ones, and those stopped because they lay behind.
        n_pruned: Of these the stopped ones.
        n_best: Of these the best, which the others are compared with.
        n_needed: Fewest trials that it is computed for.
        n_shuffles: Shuffles that the shares by chance rest on.
        parameters: The most important first; empty with fewer trials than are needed.
    """

    schema_version: int = SCHEMA_VERSION
    n_finished: int
    n_counted: int
    n_pruned: int
    n_best: int
    n_needed: int
    n_shuffles: int
    parameters: tuple[ParameterImportance, ...]

    def __post_init__(self) -> None:
        if self.schema_version != SCHEMA_VERSION:
            raise ValueError(f"schema_version {self.schema_version} is not {SCHEMA_VERSION}; remove the file")


def is_wanted(folder: Path) -> bool:
    """Say whether a run folder holds a study whose importance is not on record, or from before its last trials."""
    if not ((folder / STUDY).is_file() and (folder / TRIALS).is_file()):
        return False
    if not (folder / FILE_NAME).is_file():
        return True
    try:
        kept = records.read(Importance, folder / FILE_NAME)
        return kept.n_finished != (folder / TRIALS).read_bytes().count(b"\n")
    except (DataError, OSError):  # of another version, or cut short: it is made anew
        return True
