"""What is exported: one candidate with its task, and as much of its data, prompt and seed as the records say."""

import csv
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from advisor import records
from advisor.candidates import Candidate
from advisor.catalog.base_models import BaseModel, find_base_model
from advisor.catalog.prompts import Prompt
from advisor.catalog.tasks import Head, Task, find_task, head_of
from advisor.data.fields import choose_columns, fields_of, parse_map
from advisor.errors import AdvisorError, DataError, InputError
from advisor.recommendation.records import read_recommendation
from advisor.result import TuningResult
from advisor.trial import Split

ExportHead = Head | Literal["embedding"]
RESULT = "result.json"
PLACEHOLDERS: Mapping[Split, str] = {"train": "TRAIN.jsonl", "valid": "VALID.jsonl", "test": "TEST.jsonl"}
# Tokens that a chat template or our marks put around source and target, where a target counts all in one length.
_FRAME_TOKENS = 64
_READABLE = (".jsonl", ".json", ".csv", ".parquet")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportPlan:
    """Everything that an export may say.

    Attributes:
        task: What is learned.
        candidate: Base model, method, hyperparameters.
        seed: Of head, adapter, dropout and data order.
        places: Data files by split as the run had them; empty when only a recommendation is known.
        columns: Column of each field of an example.
        n_train: Training examples, None when not known.
        labels: Classes in the order of their ids, empty when not known or not classification.
        prompt: What a decoder of the run read around a source; None when not known.
        model: Facts about the base model, None for one that is neither in the catalogue nor a folder here.
    """

    task: Task
    candidate: Candidate
    seed: int = 0
    places: Mapping[Split, str] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    n_train: int | None = None
    labels: tuple[str, ...] = ()
    prompt: Prompt | None = None
    model: BaseModel | None = None

    @property
    def head(self) -> ExportHead:
        """Task head that the base model gets."""
        return "embedding" if self.task.form == "retrieval" else head_of(self.task, self.candidate.architecture)

    @property
    def micro_batch_size(self) -> int:
        """Examples in memory at once: the most that the candidate allows and that divide its batch evenly.

        Other trainers accumulate whole micro-batches, so that an uneven one would change the batch size.
        """
        most = self.candidate.micro_batch_size or self.candidate.batch_size
        return next(size for size in range(most, 0, -1) if self.candidate.batch_size % size == 0)

    @property
    def accumulation_steps(self) -> int:
        """Micro-batches per optimizer step."""
        return self.candidate.batch_size // self.micro_batch_size

    @property
    def virtual_tokens(self) -> int:
        """Positions that a soft prompt takes, 0 for other methods."""
        value = self.candidate.hyperparameters.get("num_virtual_tokens", 0)
        return value if isinstance(value, int) else 0

    @property
    def max_source_tokens(self) -> int:
        """Most tokens of the source, fewer than the candidate asks for where the model has fewer positions."""
        wanted = self.candidate.max_seq_length
        if self.model is None or self.model.context_length is None:
            return wanted
        room = self.model.context_length - self.virtual_tokens
        if self.head == "causal-lm":
            room -= self.task.max_target_length + _FRAME_TOKENS
        return max(8, min(wanted, room))

    @property
    def max_total_tokens(self) -> int:
        """Most tokens of source, what stands around it, and target together."""
        if self.head != "causal-lm":
            return self.max_source_tokens
        return self.max_source_tokens + self.task.max_target_length + _FRAME_TOKENS

    def place(self, split: Split) -> str:
        """Return the file of a split, or a placeholder."""
        return self.places.get(split, PLACEHOLDERS[split])

    def number(self, name: str, default: float) -> float:
        """Return a numeric hyperparameter.

        Raises:
            InputError: It is not a number.
        """
        value = self.candidate.hyperparameters.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InputError(f"hyperparameter {name} must be a number to be exported, not {value!r}")
        return value

    def whole(self, name: str, default: int) -> int:
        """Return a hyperparameter that is counted.

        Raises:
            InputError: It is not a whole number.
        """
        value = self.number(name, default)
        if value != int(value):
            raise InputError(f"hyperparameter {name} must be a whole number to be exported there, not {value!r}")
        return int(value)

    def text(self, name: str, default: str) -> str:
        """Return a hyperparameter that is a name.

        Raises:
            InputError: It is not text.
        """
        value = self.candidate.hyperparameters.get(name, default)
        if not isinstance(value, str):
            raise InputError(f"hyperparameter {name} must be text to be exported, not {value!r}")
        return value


def read_plan(place: Path, rank: int | None = None) -> ExportPlan:
    """Read what to export.

    Args:
        place: A recommendation (JSON), or the folder of a finished run.
        rank: Which candidate of a recommendation; None is the first. A run has its best trial only.

    Raises:
        DataError: Not such a record, or the run is not finished.
        InputError: No candidate of that rank.
    """
    if place.is_dir():
        if rank is not None:
            raise InputError(
                f"--rank {rank}: a run folder is exported with its best trial; give {place}/recommendation.json"
            )
        return _of_run(place)
    return _of_recommendation(place, 1 if rank is None else rank)


def _of_recommendation(path: Path, rank: int) -> ExportPlan:
    found = read_recommendation(path)
    ranked = {one.rank: one for one in found.candidates}
    if rank not in ranked:
        known = f"1 to {len(ranked)}" if ranked else "none"
        raise InputError(f"--rank {rank}: {path} has no such candidate; it has {known}")
    task = find_task(found.task)
    candidate = ranked[rank].candidate
    return ExportPlan(task=task, candidate=candidate, columns=_own_names(task), model=_model(candidate))


def _of_run(folder: Path) -> ExportPlan:
    path = folder / RESULT
    if not path.is_file():
        raise DataError(
            f"{folder}: no {RESULT} in it, so there is no best trial yet; let `tune` finish, or give the file of a"
            " recommendation"
        )
    result = records.read(TuningResult, path)
    best = next((row for row in result.contenders if row.trial == result.best_trial and row.candidate), None)
    if best is None or best.candidate is None:
        raise DataError(f"{path}: trial {result.best_trial} is not among the contenders; run `tune` again")
    task = find_task(result.task)
    places = _places(result)
    train = result.data.get("train")
    return ExportPlan(
        task=task, candidate=best.candidate, places=places, columns=_columns(task, result, places.get("train")),
        seed=best.delivered.seed if best.delivered else result.seed,
        n_train=train.n_examples if train else None,
        labels=tuple(train.label_counts) if train else (),
        prompt=result.prompt, model=_model(best.candidate),
    )  # fmt: skip


def _model(candidate: Candidate) -> BaseModel | None:
    try:
        return find_base_model(candidate.base_model)
    except AdvisorError:  # a model of the hub that the catalogue does not know can be exported all the same
        return None


def _places(result: TuningResult) -> dict[Split, str]:
    """Return the splits that are a file of their own; others (parts of one table, the hub) get placeholders."""
    splits: tuple[Split, ...] = ("train", "valid", "test")
    named = {split: result.data[split].path for split in splits if split in result.data}
    paths = list(named.values())
    return {split: path for split, path in named.items() if path.lower().endswith(_READABLE) and paths.count(path) == 1}


def _own_names(task: Task) -> dict[str, str]:
    return {one.name: one.name for one in fields_of(task) if one.required}


def _columns(task: Task, result: TuningResult, train: str | None) -> dict[str, str]:
    """Return the columns as `tune` found them: by `--map` of its command line, then by their names in the file."""
    chosen = _mapped(result.command)
    wanted = _own_names(task)
    try:
        found = choose_columns(task, _header(Path(train)), chosen, where=train) if train else chosen
    except (AdvisorError, OSError, ValueError):  # the file has moved or changed since
        found = chosen
    return {name: found.get(name, name) for name in wanted}


def _mapped(command: str) -> dict[str, str]:
    try:
        words = shlex.split(command)
        return parse_map([words[place + 1] for place, word in enumerate(words[:-1]) if word == "--map"])
    except (ValueError, InputError):
        return {}


def _header(path: Path) -> list[str]:
    """Return the column names of a JSON Lines or CSV file.

    Raises:
        OSError, ValueError: It cannot be read so.
    """
    with path.open(encoding="utf-8", newline="") as lines:
        if path.suffix.lower() == ".csv":
            return next(csv.reader(lines), [])
        first = json.loads(lines.readline())
    if not isinstance(first, dict):
        raise ValueError(f"{path} is not JSON Lines")
    return list(first)
