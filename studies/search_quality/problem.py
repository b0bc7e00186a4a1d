"""The tuning problems of this study: a task, a demonstration base model, its data, and what `tune` would search.

Space and warm starts are those of the product (`advisor.tuning.starting_point`) on the day a table was begun; only the
sizes are smaller, so that a training takes seconds: they stand in params.json. What the product searches moves with its
knowledge, a recorded table does not, so each keeps its space beside it (`table/<problem>.space.json`).
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from advisor.candidates import Candidate
from advisor.catalog.dimensions import Dimension, Scalar
from advisor.catalog.methods import METHODS
from advisor.catalog.tasks import Task, find_task, head_of
from advisor.demo import base_model_path, write_dataset
from advisor.demo.packages import find_packages, installed_package_folders, read_functions
from advisor.records import from_plain, to_plain
from advisor.search_space import MethodSpace, SearchSpace, candidate_from_choice
from advisor.tuning.request import TuningRequest
from advisor.tuning.starting_point import find_starting_point

HERE = Path(__file__).parent
SPACES = HERE / "table"
# Large libraries that this package depends on, directly or through another: they are there wherever it is installed.
LIBRARIES = ("pandas", "scipy", "sklearn", "sympy", "torch", "transformers")


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One task with everything that fixes its trials.

    Attributes:
        task: Of the catalogue.
        rung_steps: Optimizer steps at which the validation metric is taken.
        space: What `tune` would search.
        warm_starts: The recommendation and its runners-up, in this order.
        n_train: Training examples.
        n_valid: Validation examples.
    """

    task: Task
    rung_steps: tuple[int, ...]
    space: SearchSpace
    warm_starts: tuple[Candidate, ...]
    n_train: int
    n_valid: int

    @property
    def other_methods(self) -> SearchSpace:
        """Methods of the catalogue that work on this base model and head, but that `tune` would leave out."""
        architecture = self.warm_starts[0].architecture
        head = head_of(self.task, architecture)
        inside = {part.method for part in self.space.methods}
        # P-tuning brings a network of its own; with 32 steps it is prompt tuning that has not begun to learn.
        others = [
            method
            for method in METHODS.values()
            if method.slug not in inside and method.slug != "p-tuning" and method.supports(architecture, head)
        ]
        return SearchSpace(
            methods=tuple(MethodSpace(method=method.slug, dimensions=method.dimensions) for method in others)
        )

    def candidate(self, method: str, values: dict[str, Scalar]) -> Candidate:
        """Return the candidate of a point of the space."""
        return candidate_from_choice(self.warm_starts[0], method, values)


@cache
def params() -> dict[str, Any]:
    """Read params.json."""
    found: dict[str, Any] = json.loads((HERE / "params.json").read_text())
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """What a table was begun with.

    Attributes:
        space: As in `Problem`.
        warm_starts: As in `Problem`, with the base model's folder left out: it lies elsewhere on each machine.
    """

    space: SearchSpace
    warm_starts: tuple[Candidate, ...]


def problem(name: str) -> Problem:
    """Return a problem of params.json, with the space of its table, or the product's where no table was begun."""
    sizes = params()["problems"][name]
    base = str(base_model_path(sizes["architecture"]))
    path = space_file(name)
    if path.is_file():
        begun = from_plain(Begun, json.loads(path.read_text()), where=str(path))
    else:
        begun = _of_product(sizes["task"], base)
    small = {"base_model": base, "batch_size": sizes["batch_size"], "max_seq_length": sizes["max_seq_length"]}
    return Problem(
        task=find_task(sizes["task"]),
        rung_steps=tuple(sizes["rung_steps"]),
        space=begun.space,
        warm_starts=tuple(replace(candidate, **small) for candidate in begun.warm_starts),
        n_train=sizes["n_train"],
        n_valid=sizes["n_valid"],
    )


def space_file(name: str) -> Path:
    """Return where the space of a problem's table stands."""
    return SPACES / f"{name}.space.json"


def keep_space(name: str) -> None:
    """Write the space of a problem beside its table, unless it is there."""
    path, given = space_file(name), problem(name)
    if not path.exists():
        kept = tuple(replace(candidate, base_model="demo") for candidate in given.warm_starts)
        path.write_text(json.dumps(to_plain(Begun(space=given.space, warm_starts=kept)), indent=1) + "\n")


def _of_product(task: str, base_model: str) -> Begun:
    no_file = Path("unused")
    start = find_starting_point(
        TuningRequest(task=task, base_model=base_model, train=no_file, valid=no_file, test=no_file)
    )
    return Begun(space=start.space, warm_starts=start.warm_starts)


def write_data(given: Problem, folder: Path, *, seed: int) -> dict[str, Path]:
    """Write the data of a problem from the installed packages, unless they are there; return train and valid."""
    files = {split: folder / f"{split}.jsonl" for split in ("train", "valid")}
    if not all(path.is_file() for path in files.values()):
        if given.task.slug == "code-classification":
            _write_libraries(files, {"train": given.n_train, "valid": given.n_valid}, seed)
        else:
            write_dataset(given.task.slug, folder, seed=seed, n_train=given.n_train, n_valid=given.n_valid, n_test=8)
    return files


def draw(space: SearchSpace, rng: Random) -> tuple[str, dict[str, Scalar]]:
    """Draw a point as random search does: a method, then each of its dimensions in the scale of the space."""
    part = rng.choice(space.methods)
    return part.method, {dimension.name: _draw(dimension, rng) for dimension in part.dimensions}


def _draw(dimension: Dimension, rng: Random) -> Scalar:
    if dimension.kind == "categorical":
        return rng.choice(dimension.choices)
    low, high = dimension.low or 0.0, dimension.high or 0.0
    # Six digits: the table holds what was trained.
    value = float(f"{low * (high / low) ** rng.random() if dimension.log else rng.uniform(low, high):.6g}")
    return round(value) if dimension.kind == "int" else min(max(value, low), high)


def _write_libraries(files: dict[str, Path], sizes: dict[str, int], seed: int) -> None:
    """Write code classification: from which library does a function come? No source file is in two splits."""
    folder = files["train"].parent
    folder.mkdir(parents=True, exist_ok=True)
    rng = Random(f"libraries:{seed}")
    found = find_packages(installed_package_folders())
    paths: dict[str, dict[str, list[Path]]] = {split: {} for split in sizes}
    for name in LIBRARIES:
        shuffled = list(found[name])
        rng.shuffle(shuffled)
        third = len(shuffled) // 3
        paths["valid"][name], paths["train"][name] = shuffled[:third], shuffled[third:]
    seen: set[str] = set()
    for split, wanted in sizes.items():
        rows = list(_labelled(paths[split], wanted, seen, rng))
        files[split].write_text("".join(json.dumps(row) + "\n" for row in rows))


def _labelled(paths: dict[str, list[Path]], wanted: int, seen: set[str], rng: Random) -> Iterator[dict[str, str]]:
    functions = read_functions(paths, chunk=1, max_characters=600, documented=False, seen=seen, rng=rng)
    taken: Sequence[Any] = [function for _, function in zip(range(wanted), functions, strict=False)]
    for number, function in enumerate(taken):
        yield {"id": str(number), "code": function.source, "label": function.package}
