"""One run: a candidate as `tune` would begin with, trained and evaluated by this project's engine."""

import importlib.util
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from advisor.candidates import Candidate
from advisor.catalog.methods import METHODS
from advisor.catalog.tasks import Task, find_task
from advisor.data.examples import Example, read_examples
from advisor.metrics.bootstrap import interval_of
from advisor.modeling import base as base_models
from advisor.modeling.attachment import attach_adapter
from advisor.report.interval_samples import sample_of
from advisor.training.baselines import Baseline, majority_class, nearest_example
from advisor.training.linear_probe import linear_probe
from advisor.training.loop import Training
from advisor.training.predictions import read_predictions
from advisor.training.runner import DeviceRunner
from advisor.trial import Evaluation, Split
from advisor.tuning.request import TuningRequest
from advisor.tuning.starting_point import find_starting_point
from studies.review_methods.jobs import MAJORITY, NEAREST, PROBE, UNTUNED, Job, Setting
from studies.review_methods.loss import LOSS, loss_on
from studies.review_methods.memory import measured_step
from studies.review_methods.records import Measured, Run

# Where adapters that are built on are put, which `tune` reads from there.
_PLACED = ("placement", "cross_adapter")
_PARTS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What a job runs on.

    Attributes:
        setting: Data and sizes.
        task: Of the catalogue.
        runner: Has the data, and base models when they are asked for.
        base: Folder of the base model.
        seed: Of everything.
        rate_factor: What all default learning rates are multiplied by.
    """

    setting: Setting
    task: Task
    runner: DeviceRunner
    base: Path
    seed: int
    rate_factor: float


def place_of(setting: Setting, data: Path, base: Path, params: Mapping[str, Any]) -> Place:
    """Read and draw the rows of a setting."""
    task, seed = find_task(setting.task), params["seed"]
    sizes: dict[Split, int] = {"train": setting.n_train, "valid": setting.n_valid, "test": setting.n_test}
    folder = data / setting.dataset
    splits = {
        split: _drawn(read_examples(folder / f"{split}.jsonl", task).examples, size, seed)
        for split, size in sizes.items()
    }
    runner = DeviceRunner(task, splits, seed=seed, device="cpu")
    return Place(
        setting=setting, task=task, runner=runner, base=base, seed=seed, rate_factor=params["rate_factor"]
    )  # fmt: skip


def candidate_of(job: Job, place: Place, below: Sequence[Path]) -> Candidate:
    """Return what `tune` would try first for the job's options, with the catalogue's hyperparameters.

    Args:
        job: Names method or composition.
        place: Where it runs.
        below: Folders of trained adapters, for a composition.

    Raises:
        AdvisorError: It cannot be had so.
    """
    no_file = Path("unused")
    asked = {None: {}, "stack": {"on_adapters": tuple(below)}, "fusion": {"fuse": tuple(below)}}[job.composition]
    request = TuningRequest(
        task=place.task.slug, base_model=str(place.base), methods=() if job.method is None else (job.method,),
        train=no_file, valid=no_file, test=no_file, **asked,
    )  # fmt: skip
    first = find_starting_point(request).recommended
    values = METHODS[first.method].hyperparameters(first.architecture) | dict(job.hyperparameters)
    values |= {name: first.hyperparameters[name] for name in _PLACED if name in first.hyperparameters}
    values["learning_rate"] *= place.rate_factor
    sizes = place.setting
    return replace(
        first, hyperparameters=values, precision="fp32", batch_size=sizes.batch_size, micro_batch_size=None,
        max_seq_length=sizes.max_seq_length, gradient_checkpointing=False,
    )  # fmt: skip


def train(job: Job, place: Place, below: Sequence[Path], folder: Path, plain: Run) -> Run:
    """Train, save, load again and evaluate; return the run with what came out.

    Args:
        job: What to train.
        place: Where.
        below: Folders of trained adapters, for a composition.
        folder: For the adapter; its predictions go beside it.
        plain: The run without results.
    """
    candidate = candidate_of(job, place, below)
    with _four_bits_on_cpu() if candidate.quantization else nullcontext():
        attached = attach_adapter(place.runner.data.lend(candidate), candidate, seed=place.seed)
        try:
            n_steps = place.setting.n_steps
            rows = place.runner.data.rows("train", candidate, attached).rows
            training = Training(attached, rows, candidate, n_steps=n_steps, seed=place.seed, data_seed=place.seed)
            began_s, cpu_began_s = time.perf_counter(), time.process_time()
            losses = [training.advance_to(step) for step in _marks(n_steps)]
            train_s, train_cpu_s = time.perf_counter() - began_s, time.process_time() - cpu_began_s
            trainable = training.trainable_params
            total = _n_parameters(attached.model)
            attached.save(folder)
        finally:
            place.runner.data.give_back(attached)
        found = place.runner.evaluate(candidate, folder, "test", seed=place.seed, predictions=_predictions_of(folder))
        loss = _test_loss(place, candidate, folder)
        tokens, live_bytes, estimated_bytes = measured_step(place.runner.data, candidate, folder, seed=place.seed)
    return replace(
        evaluated(plain, place, found, _predictions_of(folder), loss),
        learning_rate=float(str(candidate.hyperparameters["learning_rate"])), n_steps=n_steps, first_loss=losses[0],
        last_loss=losses[-1], train_s=train_s, train_cpu_s=train_cpu_s, trainable_params=trainable,
        total_params=total, tokens=tokens, live_bytes=live_bytes, estimated_bytes=estimated_bytes,
    )  # fmt: skip


def baseline(job: Job, place: Place, folder: Path, plain: Run) -> Run:
    """Evaluate a baseline that trains no adapter."""
    runner, task, seed = place.runner, place.task, place.seed
    candidate = candidate_of(replace(job, method="full"), place, ())
    train_rows, test_rows = runner.data.examples("train"), runner.data.examples("test")
    ways: dict[str, Baseline] = {
        MAJORITY: partial(majority_class, task, train_rows, test_rows),
        NEAREST: partial(nearest_example, task, train_rows, test_rows),
        PROBE: partial(linear_probe, runner, task, candidate, most_train=len(train_rows), seed=seed),
    }
    loss = None
    if job.row == UNTUNED:
        evaluate: Baseline = partial(runner.evaluate, candidate, None, "test", seed=seed)
        loss = _test_loss(place, candidate, None)
    else:
        evaluate = ways[job.row]
    return evaluated(plain, place, evaluate(predictions=_predictions_of(folder)), _predictions_of(folder), loss)


def evaluated(plain: Run, place: Place, found: Evaluation, predictions: Path, loss: Measured | None) -> Run:
    """Return a run with the metrics of an evaluation and their intervals."""
    made, names = (read_predictions(predictions),), place.runner.data.label_names
    metrics = {}
    for metric in place.setting.metrics:
        sample = sample_of(place.task, metric, made, names)  # type: ignore[arg-type]  # names of params.json
        if sample is None:
            raise ValueError(f"{metric} cannot be taken on resamples of {place.setting.dataset}")
        drawn = interval_of(sample, seed=place.seed)
        metrics[metric] = Measured(value=found.metrics[metric], low=drawn.low, high=drawn.high)
    if loss is not None:
        metrics[LOSS] = loss
    return replace(plain, metrics=metrics, n_test=found.n_examples, evaluation_s=found.duration_s)


def has_four_bits() -> bool:
    """Is bitsandbytes there?"""
    return importlib.util.find_spec("bitsandbytes") is not None


def _test_loss(place: Place, candidate: Candidate, folder: Path | None) -> Measured | None:
    attached = place.runner.attach_saved(candidate, folder, seed=place.seed)
    try:
        return loss_on(attached, place.runner.data.rows("test", candidate, attached).rows, seed=place.seed)
    finally:
        place.runner.data.give_back(attached)


@contextmanager
def _four_bits_on_cpu() -> Iterator[None]:
    """Let a 4-bit base model be loaded on a CPU: bitsandbytes computes there, `tune` asks for a CUDA device."""
    with patch.object(base_models, "_check_quantization", lambda request, device: None):
        yield


def _drawn(examples: Sequence[Example], size: int, seed: int) -> list[Example]:
    if len(examples) <= size:
        return list(examples)
    return [examples[number] for number in sorted(random.Random(seed).sample(range(len(examples)), size))]


def _marks(n_steps: int) -> list[int]:
    """Return the ends of the eighths of a training, or each step of a short one."""
    return sorted({max(1, n_steps * part // _PARTS) for part in range(1, _PARTS + 1)})


def _n_parameters(model: torch.nn.Module) -> int:
    """Count parameters as PEFT does; 4-bit weights hold two in a byte."""
    shapes = [getattr(getattr(one, "quant_state", None), "shape", one.shape) for one in model.parameters()]
    return sum(shape.numel() for shape in shapes)


def _predictions_of(folder: Path) -> Path:
    return folder.with_suffix(".predictions.jsonl")
