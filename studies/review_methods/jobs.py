"""What is to be run, one line of the results each, and in which order."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from advisor.catalog.dimensions import Scalar
from studies.review_methods.methods import METHODS, ReviewMethod

SETTINGS = ("clone-detection", "code-summarization")
BELOW = "L-Adapter"
# The second adapter of a fusion: in no row of the review's, but it has to be trained.
SECOND = "second adapter of the fusion"
FULL, UNTUNED, MAJORITY, NEAREST, PROBE = (
    "full fine-tuning", "untuned base model", "majority class", "nearest training example", "linear probe",
)  # fmt: skip
_BASELINES = {"clone-detection": (UNTUNED, MAJORITY, PROBE), "code-summarization": (UNTUNED, NEAREST)}
_SMOKE = {"n_train": 40, "n_valid": 16, "n_test": 12, "batch_size": 4, "max_seq_length": 48, "n_steps": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A dataset with a base model and sizes, the same for all methods.

    Attributes:
        dataset: Folder below the data's, `<task>/<name>`.
        task: Slug in the catalogue.
        architecture: Of the demonstration base model.
        n_train: Rows that are drawn of the training split, as of the others.
        n_valid: They choose the threshold of a classifier of two classes.
        n_test: They judge.
        batch_size: Rows in an optimizer step.
        max_seq_length: Tokens of the source that are kept.
        n_steps: Optimizer steps.
        metrics: That are kept, the first is shown.
        below: Settings of the adapters that compositions are made of, the L-Adapter's first.
    """

    dataset: str
    task: str
    architecture: str
    n_train: int
    n_valid: int
    n_test: int
    batch_size: int
    max_seq_length: int
    n_steps: int
    metrics: Sequence[str]
    below: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One run.

    Attributes:
        row: The review's name of a method, or a baseline's.
        setting: Key of `params.json`.
        kind: Whether something is trained by the engine.
        method: What `tune --method` is given; None for what is made of trained adapters, and for baselines.
        composition: As in `ReviewMethod`.
        below: Names of the jobs whose adapters it is made of.
        hyperparameters: Beyond the catalogue's defaults.
        base: The demonstration base model, or its weights in a model with biases.
        is_kept: Its adapter is used by others.
    """

    row: str
    setting: str
    kind: Literal["training", "baseline"] = "training"
    method: str | None = None
    composition: str | None = None
    below: tuple[str, ...] = ()
    hyperparameters: Mapping[str, Scalar] = field(default_factory=dict)
    base: Literal["shipped", "with biases"] = "shipped"
    is_kept: bool = False

    @property
    def name(self) -> str:
        """Unique name."""
        return f"{self.row} / {self.setting}"


@cache
def read_params(*, smoke: bool = False) -> dict[str, Any]:
    """Read params.json; `smoke` for sizes that are next to nothing, only to see that every line runs."""
    found: dict[str, Any] = json.loads((Path(__file__).parent / "params.json").read_text(encoding="utf-8"))
    if smoke:
        found["settings"] = {name: {**values, **_SMOKE} for name, values in found["settings"].items()}
    return found


def setting_of(name: str, params: Mapping[str, Any]) -> Setting:
    """Return a setting of the parameters."""
    return Setting(**params["settings"][name])


def digests_of(params: Mapping[str, Any]) -> dict[str, str]:
    """Return a digest for each job, by name, of the parameters that its run depends on.

    Runs of other parameters are not mixed with these.
    """
    found = {}
    for job in all_jobs(params):
        used = [job.setting, *(name.rpartition(" / ")[2] for name in job.below)]
        said = [params["seed"], params["rate_factor"], dict(job.hyperparameters), job.base]
        text = json.dumps([*said, *(params["settings"][name] for name in used)], sort_keys=True)
        found[job.name] = hashlib.sha256(text.encode()).hexdigest()[:12]
    return found


def all_jobs(params: Mapping[str, Any]) -> list[Job]:
    """Return all jobs; those that others stand on come before them."""
    found: list[Job] = []
    for name in SETTINGS:
        found += [Job(row=row, setting=name, kind="baseline") for row in _BASELINES[name]]
        found.append(Job(row=FULL, setting=name, method="full"))
        below = _below(setting_of(name, params).below)
        found += below
        rows = (method for method in METHODS if method.is_offered and not method.is_below)
        found += [_job(method, name, tuple(job.name for job in below)) for method in rows]
    return found


def part_of(jobs: Sequence[Job], part: int, n_parts: int) -> list[Job]:
    """Return one part of several; jobs that stand on others are in the part of those."""
    chains: dict[str, list[Job]] = {}
    for job in jobs:
        tied = job.composition is not None or job.is_kept
        chains.setdefault(_base_of(job) if tied else job.name, []).append(job)
    return [job for number, chain in enumerate(chains.values()) if number % n_parts == part for job in chain]


def _below(settings: Sequence[str]) -> list[Job]:
    """Return the jobs that train what compositions are made of."""
    method = next(one for one in METHODS if one.is_below)
    rows = (method.review, SECOND)
    return [
        Job(row=row, setting=name, method=method.method, is_kept=True) for row, name in zip(rows, settings, strict=True)
    ]


def _job(method: ReviewMethod, setting: str, below: tuple[str, ...]) -> Job:
    used = {None: (), "stack": below[:1], "fusion": below}[method.composition]
    lacks_biases = method.method == "bitfit" and setting == "code-summarization"
    return Job(
        row=method.review, setting=setting, method=method.method, composition=method.composition, below=used,
        hyperparameters=method.hyperparameters, base="with biases" if lacks_biases else "shipped",
    )  # fmt: skip


def _base_of(job: Job) -> str:
    of_encoder = job.setting in ("clone-detection", "python-pairs", "defects")
    return "made of adapters on the encoder" if of_encoder else "made of adapters on the decoder"
