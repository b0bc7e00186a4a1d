"""`tune --demo`: a small study that needs neither data nor network and ends within five minutes on two cores.

All its sizes stand here. The time limit covers search and final evaluation; what it takes to import the libraries
and to write the report comes on top.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from advisor.demo import TASKS, base_model_path, write_dataset
from advisor.errors import InputError, UnknownNameError
from advisor.spec import Architecture
from advisor.trial import Split
from advisor.tuning.folder import STUDIES, check_ours, check_writable
from advisor.tuning.request import TuningRequest
from advisor.tuning.starting_point import find_starting_point

DEFAULT_TASK = TASKS[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoSize:
    """How large the demonstration of one task is.

    Attributes:
        architecture: Of the demonstration base model.
        n_examples: Examples by split.
        n_trials: Trials at most.
        final_seeds: Seeds that the best trials are trained with.
        max_steps: Optimizer steps of a trial at most.
        time_limit_s: Seconds for search, finals and final evaluation.
    """

    architecture: Architecture
    n_examples: Mapping[Split, int]
    n_trials: int
    final_seeds: int
    max_steps: int
    time_limit_s: float


SIZES: Mapping[str, DemoSize] = {
    "clone-detection": DemoSize(
        architecture="encoder-only",
        n_examples={"train": 800, "valid": 150, "test": 400},
        n_trials=6,
        final_seeds=3,
        max_steps=12,
        time_limit_s=230,
    ),
    "code-summarization": DemoSize(
        architecture="encoder-decoder",
        n_examples={"train": 1000, "valid": 60, "test": 150},
        n_trials=5,
        final_seeds=2,
        max_steps=32,
        time_limit_s=230,
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Demonstration:
    """A demonstration that can be run.

    Attributes:
        task: Task slug.
        base_model: Folder of the demonstration base model.
        folder: Run folder.
        size: Of data and study.
    """

    task: str
    base_model: str
    folder: Path
    size: DemoSize

    @classmethod
    def of(cls, task: str | None, output: Path | None, given: Mapping[str, object]) -> "Demonstration":
        """Choose the demonstration of a task; nothing is written.

        Args:
            task: Task slug, None for the default.
            output: Run folder, None for `studies/demo-<task>`.
            given: Options that a demonstration has no use for, with their values.

        Raises:
            InputError: One of these options was given, or the folder cannot be used.
            UnknownNameError: There is no demonstration of this task.
            DataError: The base model is not in this installation.
        """
        for option, value in given.items():
            if value is not None:
                raise InputError(f"--demo and {option} exclude each other: the demonstration brings its own")
        task = task or DEFAULT_TASK
        if task not in SIZES:
            raise UnknownNameError("demonstration task", task, SIZES)
        folder = output or Path(STUDIES) / f"demo-{task}"
        check_writable(folder)
        check_ours(folder)
        size = SIZES[task]
        return cls(task=task, base_model=str(base_model_path(size.architecture)), folder=folder, size=size)

    @property
    def files(self) -> dict[Split, Path]:
        """Where the data go, by split."""
        return {split: self.folder / "data" / f"{split}.jsonl" for split in self.size.n_examples}

    def write_data(self, request: TuningRequest) -> None:
        """Make the data from the installed Python packages, unless they are there already.

        Args:
            request: What will be tuned with them; it is checked first, so that a mistake in it leaves no files.

        Raises:
            InputError: See `advisor.tuning.prepare`.
            DataError: The installed packages do not yield enough.
        """
        find_starting_point(request)
        if all(path.is_file() for path in self.files.values()):
            return
        wanted = self.size.n_examples
        write_dataset(
            self.task,
            self.folder / "data",
            seed=request.seed,
            n_train=wanted["train"],
            n_valid=wanted["valid"],
            n_test=wanted["test"],
        )
