"""Write a demonstration dataset from the source of the installed packages, split by package."""

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from random import Random

from advisor.demo.clone_detection import MAX_PAIR_CHARACTERS, ClonePair, make_pairs
from advisor.demo.code_summarization import SummaryExample, make_examples
from advisor.demo.functions import MAX_CHARACTERS, Function
from advisor.demo.packages import assign_splits, find_packages, installed_package_folders, read_functions
from advisor.errors import DataError

CLONE_DETECTION = "clone-detection"
CODE_SUMMARIZATION = "code-summarization"
TASKS = (CLONE_DETECTION, CODE_SUMMARIZATION)
# Examples per split (train, valid, test) that keep a demonstration within minutes on two cores.
DEFAULT_SIZES: Mapping[str, tuple[int, int, int]] = {
    CLONE_DETECTION: (1200, 200, 400),
    CODE_SUMMARIZATION: (2000, 200, 300),
}
_SPLITS = ("train", "valid", "test")
# Some functions yield no pair (nothing to rewrite, too long, no lookalike).
_FUNCTIONS_PER_PAIR = 1.25
_TURNS_PER_SPLIT = 4
_MIN_CHUNK = 40
_SPARE_FUNCTIONS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoDataset:
    """A written dataset.

    Attributes:
        task: "clone-detection" or "code-summarization".
        train: File with the training examples, one JSON object per line.
        valid: The same for validation.
        test: The same for the test.
        n_train: Number of training examples, at most as many as were asked for.
        n_valid: Number of validation examples.
        n_test: Number of test examples.
        packages: Split name to the packages that its functions come from; no package is in two splits.
    """

    task: str
    train: Path
    valid: Path
    test: Path
    n_train: int
    n_valid: int
    n_test: int
    packages: Mapping[str, tuple[str, ...]]


def write_dataset(
    task: str,
    folder: Path,
    *,
    seed: int = 0,
    n_train: int | None = None,
    n_valid: int | None = None,
    n_test: int | None = None,
    source: Path | None = None,
) -> DemoDataset:
    """Write `train.jsonl`, `valid.jsonl` and `test.jsonl`.

    Clone detection has the fields `id`, `code1`, `code2`, `label` (1 for a clone, half of the lines); code
    summarization has `id`, `source`, `target`. The same seed and the same packages give the same bytes.

    Args:
        task: "clone-detection" or "code-summarization".
        folder: Created where missing; files of the same names are replaced, each in one go.
        seed: Decides which functions are read, how they are rewritten and paired.
        n_train: Examples wanted for training (default: `DEFAULT_SIZES`).
        n_valid: Examples wanted for validation.
        n_test: Examples wanted for the test.
        source: Folder that holds packages; default: the packages of the running Python.

    Returns:
        Where the files lie and what is in them; fewer examples than wanted where the packages yield fewer.

    Raises:
        DataError: If the task is not one of the two, a size is not positive, or some split stays empty.
    """
    if task not in TASKS:
        raise DataError(f"no demonstration data for task {task!r}; choose from {list(TASKS)}")
    wanted = dict(zip(_SPLITS, _sizes(task, (n_train, n_valid, n_test)), strict=True))
    folders = [source] if source is not None else installed_package_folders()
    packages = find_packages(folders)
    splits = assign_splits(packages, seed=seed)
    seen = _Seen(functions=set(), sentences=set())
    made: dict[str, Sequence[ClonePair | SummaryExample]] = {}
    used: dict[str, tuple[str, ...]] = {}
    for split in _SPLITS:
        mine = {name: packages[name] for name in splits[split]}
        made[split], used[split] = _make(task, mine, wanted[split], seen, Random(f"{task}:{split}:{seed}"))
        if not made[split]:
            raise DataError(
                f"found no {split} examples for task {task!r} in {len(mine)} of {len(packages)} packages under "
                f"{', '.join(map(str, folders))}; name a folder that holds more Python packages"
            )
    files = {split: folder / f"{split}.jsonl" for split in _SPLITS}
    folder.mkdir(parents=True, exist_ok=True)
    for split, path in files.items():
        _write_jsonl(path, made[split], prefix=split)
    return DemoDataset(
        task=task,
        train=files["train"],
        valid=files["valid"],
        test=files["test"],
        n_train=len(made["train"]),
        n_valid=len(made["valid"]),
        n_test=len(made["test"]),
        packages=used,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What earlier splits took already, so that nothing stands in two splits."""

    functions: set[str]
    sentences: set[str]


def _sizes(task: str, asked: Sequence[int | None]) -> tuple[int, ...]:
    sizes = tuple(usual if size is None else size for usual, size in zip(DEFAULT_SIZES[task], asked, strict=True))
    least = 2 if task == CLONE_DETECTION else 1
    if min(sizes) < least:
        raise DataError(f"sizes for task {task!r} must be at least {least} per split, got {list(sizes)}")
    return sizes


def _make(
    task: str, packages: Mapping[str, Sequence[Path]], n_wanted: int, seen: _Seen, rng: Random
) -> tuple[Sequence[ClonePair | SummaryExample], tuple[str, ...]]:
    """The examples of one split, and the packages that were read for them."""
    chunk = max(_MIN_CHUNK, n_wanted // _TURNS_PER_SPLIT)
    read: set[str] = set()
    clones = task == CLONE_DETECTION
    found = read_functions(
        packages,
        chunk=chunk,
        max_characters=MAX_PAIR_CHARACTERS if clones else MAX_CHARACTERS,
        documented=not clones,
        seen=seen.functions,
        rng=rng,
    )
    functions = _noting_packages(found, read)
    examples: Sequence[ClonePair | SummaryExample]
    if clones:
        pool = list(islice(functions, math.ceil(_FUNCTIONS_PER_PAIR * n_wanted) + _SPARE_FUNCTIONS))
        examples = make_pairs(pool, n_pairs=n_wanted, rng=rng)
    else:
        examples = make_examples(functions, n_examples=n_wanted, seen=seen.sentences)
    return examples, tuple(sorted(read))


def _noting_packages(functions: Iterator[Function], read: set[str]) -> Iterator[Function]:
    for function in functions:
        read.add(function.package)
        yield function


def _write_jsonl(path: Path, examples: Sequence[ClonePair | SummaryExample], *, prefix: str) -> None:
    """Write under another name first, so that a killed process leaves no half of a file."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("w", encoding="utf-8", newline="\n") as file:
            for number, example in enumerate(examples):
                file.write(json.dumps({"id": f"{prefix}-{number}", **asdict(example)}, ensure_ascii=False) + "\n")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
