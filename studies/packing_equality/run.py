"""Train every packable method alone and in a pack of three, on the same data with the same seeds, and compare.

Run from the repository root: `python -m studies.packing_equality.run`. Alone means PEFT's own model in the plain loop
(`training.loop`), which the tests compare with a hand-written one. Float32 on the CPU, shipped demonstration models and
data, attention and LoRA dropout on. The three trials of a pack differ in rank, dropout, learning rate, schedule and
weight decay, and their neighbours differ from step to step in nothing but that. As a yardstick the lone trials are run
once more from weights that differ by one part in ten million: training amplifies rounding, on some models a lot.
"""

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import torch

from advisor.candidates import Candidate
from advisor.catalog.methods import METHODS
from advisor.catalog.tasks import Task, find_task, head_of
from advisor.data.examples import read_examples
from advisor.demo import base_model_path, write_dataset
from advisor.modeling.attachment import attach_adapter
from advisor.modeling.base import BaseModel
from advisor.modeling.sharing import shared_base
from advisor.spec import Architecture
from advisor.training.loop import Training
from advisor.training.packing.pack import Pack, pack_key
from advisor.training.resident import Resident
from studies.gpu.entry import processor

FOLDER = Path(__file__).parent
SETTINGS: tuple[tuple[str, Architecture], ...] = (
    ("clone-detection", "encoder-only"),
    ("clone-detection", "decoder-only"),
    ("clone-detection", "encoder-decoder"),
    ("code-summarization", "decoder-only"),
    ("code-summarization", "encoder-decoder"),
)
SEED = 0
DISTURBANCE = 1e-7
# Attention does not change when all keys move by one vector, so the gradient of these biases is rounding, which Adam
# scales up to the learning rate. What they are has no meaning, alone or packed.
WITHOUT_GRADIENT = (".k.beft_bias", ".key.beft_bias", ".k_proj.beft_bias")


def main() -> None:
    """Train, compare, print a table and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=50)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for task_name, architecture in SETTINGS:
        task = find_task(task_name)
        with tempfile.TemporaryDirectory() as folder:
            data = _data(task, Path(folder))
        for method in METHODS:
            row = _compared(data, task, architecture, method, arguments.steps)
            if row is not None:
                rows.append(row)
                print(json.dumps(row), flush=True)
    _write(rows, arguments.steps)


def _data(task: Task, folder: Path) -> Resident:
    files = write_dataset(task.slug, folder, seed=SEED, n_train=256, n_valid=8, n_test=8)
    splits = {split: read_examples(getattr(files, split), task).examples for split in ("train", "valid", "test")}
    return Resident(task, splits, torch.device("cpu"), seed=SEED)


def _variants(architecture: Architecture, method: str) -> list[Candidate]:
    defaults = {**METHODS[method].hyperparameters(architecture), "learning_rate": 1e-3}
    if method in ("lora", "rslora", "dora"):
        changes: list[dict[str, object]] = [
            {"r": 8, "lora_dropout": 0.1},
            {"r": 2, "lora_dropout": 0.0, "learning_rate": 3e-4},
            {"r": 16, "lora_dropout": 0.3, "warmup_ratio": 0.1, "weight_decay": 0.1},
        ]
    else:
        changes = [{}, {"learning_rate": 3e-4, "lr_scheduler_type": "cosine"}, {"weight_decay": 0.1}]
    return [
        Candidate(
            base_model=str(base_model_path(architecture)), architecture=architecture, method=method, batch_size=4,
            max_seq_length=64, hyperparameters={**defaults, **change},
        )
        for change in changes
    ]  # fmt: skip


def _compared(
    data: Resident, task: Task, architecture: Architecture, method: str, n_steps: int
) -> Mapping[str, object] | None:
    if not METHODS[method].supports(architecture, head_of(task, architecture)):
        return None
    chosen = _variants(architecture, method)
    base = data.base_model(chosen[0])
    if pack_key(attach_adapter(shared_base(base), chosen[0], seed=SEED), gradient_checkpointing=False) is None:
        return None
    solo, solo_s = _timed(lambda: _alone(data, base, chosen, n_steps))
    pack, pack_s = _timed(lambda: _packed(data, base, chosen, n_steps))
    disturbed, _ = _timed(lambda: _alone(data, base, chosen, n_steps, factor=1 + DISTURBANCE))
    values = [
        float((value - dict(_trained(other))[name]).abs().max())
        for one, other in zip(solo[0], pack[0], strict=True)
        for name, value in _trained(one)
        if not any(part in name for part in WITHOUT_GRADIENT)
    ]
    return {
        "task": task.slug, "architecture": architecture, "method": method, "steps": n_steps, "trials": len(chosen),
        "largest_loss_difference": _largest(solo[1], pack[1]), "largest_parameter_difference": max(values),
        "after_ten_steps": _largest([one[:10] for one in solo[1]], [one[:10] for one in pack[1]]),
        "largest_loss_difference_when_disturbed": _largest(solo[1], disturbed[1]),
        "first_loss": solo[1][0][0], "last_loss": solo[1][0][-1], "alone_s": solo_s, "packed_s": pack_s,
    }  # fmt: skip


def _largest(one: list[list[float]], other: list[list[float]]) -> float:
    return max(abs(a - b) for first, second in zip(one, other, strict=True) for a, b in zip(first, second, strict=True))


Trained = tuple[list[Training], list[list[float]]]


def _trainings(data: Resident, base: BaseModel, chosen: list[Candidate], n_steps: int) -> list[Training]:
    trainings = []
    for seed, one in enumerate(chosen):
        attached = attach_adapter(shared_base(base), one, seed=seed)
        rows = data.rows("train", one, attached).rows
        trainings.append(Training(attached, rows, one, n_steps=n_steps, seed=seed, data_seed=SEED))
    return trainings


def _alone(data: Resident, base: BaseModel, chosen: list[Candidate], n_steps: int, factor: float = 1.0) -> Trained:
    trainings = _trainings(data, base, chosen, n_steps)
    for one in trainings:
        for _, value in _trained(one):
            value.mul_(factor)
    return trainings, [[one.advance_to(step) for step in range(1, n_steps + 1)] for one in trainings]


def _packed(data: Resident, base: BaseModel, chosen: list[Candidate], n_steps: int) -> Trained:
    trainings = _trainings(data, base, chosen, n_steps)
    pack = Pack(base, dict(enumerate(trainings)))
    losses: list[list[float]] = [[] for _ in trainings]
    for step in range(1, n_steps + 1):
        pack.advance(dict.fromkeys(range(len(trainings)), step))
        for number, one in enumerate(trainings):
            losses[number].append(one.mean_loss())
    return trainings, losses


def _trained(training: Training) -> list[tuple[str, torch.Tensor]]:
    named = training.attached.model.named_parameters()
    return [(name, value.detach()) for name, value in named if value.requires_grad]


def _timed(run: Callable[[], Trained]) -> tuple[Trained, float]:
    began_s = time.perf_counter()
    found = run()
    return found, time.perf_counter() - began_s


def _write(rows: list[Mapping[str, object]], n_steps: int) -> None:
    result = {
        "date": datetime.now(tz=UTC).date().isoformat(), "machine": processor(), "threads": 1,
        "python": platform.python_version(), "steps": n_steps, "seed": SEED,
        "versions": {name: version(name) for name in ("torch", "transformers", "peft")}, "rows": rows,
    }  # fmt: skip
    path = FOLDER / "results" / f"cpu-{n_steps}-steps.json"
    path.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
