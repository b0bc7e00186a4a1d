"""Trainings of toy candidates, alone and in packs, that the tests of packing share."""

from collections.abc import Mapping, Sequence

import torch

from advisor.candidates import Candidate
from advisor.catalog.tasks import Task
from advisor.modeling.attachment import attach_adapter
from advisor.modeling.base import BaseModel
from advisor.modeling.sharing import shared_base
from advisor.training.loop import Training
from advisor.training.packing.pack import Pack
from tests.training.toy import tokenized

DATA_SEED = 9


def training_on(base: BaseModel, chosen: Candidate, task: Task, *, seed: int, n_steps: int) -> Training:
    """Begin a training whose adapter stands on a copy of the base model's structure."""
    attached = attach_adapter(shared_base(base), chosen, seed=seed)
    rows = tokenized(attached, task).rows
    return Training(attached, rows, chosen, n_steps=n_steps, seed=seed, data_seed=DATA_SEED)


def alone(
    base: BaseModel, chosen: Sequence[Candidate], task: Task, n_steps: int
) -> tuple[list[Training], list[list[float]]]:
    """Train candidates one after the other by the loop that calls PEFT's model; return the losses of every step."""
    trainings = [training_on(base, one, task, seed=seed, n_steps=n_steps) for seed, one in enumerate(chosen)]
    return trainings, [[one.advance_to(step) for step in range(1, n_steps + 1)] for one in trainings]


def packed(
    base: BaseModel, chosen: Sequence[Candidate], task: Task, n_steps: int
) -> tuple[dict[int, Exception], list[Training], list[list[float]]]:
    """Train the same in packs: a pack is made anew when a trial has reached its last step and leaves."""
    trainings = [training_on(base, one, task, seed=seed, n_steps=n_steps) for seed, one in enumerate(chosen)]
    losses: list[list[float]] = [[] for _ in chosen]
    failures: dict[int, Exception] = {}
    while live := {
        number: one for number, one in enumerate(trainings) if one.step < n_steps and number not in failures
    }:
        pack = Pack(base, live)
        while all(one.step < n_steps for one in live.values()) and len(pack.failures) < len(live):
            before = {number: one.step for number, one in live.items()}
            pack.advance({number: one.step + 1 for number, one in live.items()})
            for number, one in live.items():
                if one.step > before[number]:
                    losses[number].append(one.mean_loss())
        failures |= pack.failures
    return failures, trainings, losses


def parameters_of(training: Training) -> Mapping[str, torch.Tensor]:
    """Return what was trained by PEFT's names."""
    return {name: value.detach() for name, value in training.attached.model.named_parameters() if value.requires_grad}
