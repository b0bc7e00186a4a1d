"""Steps alone: the training loop against one written by hand, on the same batches; and packs of several sizes."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import torch
from transformers import get_scheduler

from advisor.candidates import Candidate
from advisor.modeling.attachment import AttachedModel, attach_adapter
from advisor.modeling.quiet import quiet_libraries
from advisor.training.batches import Batch, collate, training_batches
from advisor.training.loop import CLIP_NORM, Training
from advisor.training.packing.pack import Pack
from advisor.training.resident import Resident
from advisor.training.tokens import TokenRow
from studies.throughput.setting import Setting


def measure_overhead(setting: Setting, *, n_blocks: int, block_steps: int, seed: int) -> dict[str, Any]:
    """Train the recommendation by both loops in turns, without dropout, so that both must end with the same adapter.

    Returns:
        Seconds per step of each block by each loop (the first block of each warms up and is left out), their ratios,
        and the largest difference between the two adapters.
    """
    recommended = setting.candidates[0]
    candidate = replace(recommended, hyperparameters={**recommended.hyperparameters, "lora_dropout": 0.0})
    data = Resident(setting.task, setting.examples, torch.device("cpu"), seed=seed)
    ours, bare = (attach_adapter(data.lend(candidate), candidate, seed=seed) for _ in range(2))
    rows = data.rows("train", candidate, ours).rows
    n_steps = (n_blocks + 1) * block_steps
    training = Training(ours, rows, candidate, n_steps=n_steps, seed=seed, data_seed=seed)
    loop = BareLoop(bare, rows, candidate, n_steps=n_steps, data_seed=seed)
    times: dict[str, list[float]] = {"ours_s": [], "bare_s": []}
    for block in range(1, n_blocks + 2):
        for name, run in (("ours_s", training.train_to), ("bare_s", loop.train_to)):
            began_s = time.perf_counter()
            run(block * block_steps)
            times[name].append((time.perf_counter() - began_s) / block_steps)
    kept = {name: values[1:] for name, values in times.items()}
    ratios = [a / b for a, b in zip(kept["ours_s"], kept["bare_s"], strict=True)]
    pairs = zip(ours.trainable_parameters, bare.trainable_parameters, strict=True)
    return {**kept, "ratios": ratios, "largest_difference": max(float((a - b).detach().abs().max()) for a, b in pairs)}


def measure_packing(setting: Setting, *, sizes: Sequence[int], n_steps: int, seed: int) -> dict[int, float]:
    """Return seconds of a step of one trial in packs of several sizes, copies of the recommendation.

    Every size trains the same batches; its first step is not counted.
    """
    candidate = setting.candidates[0]
    data = Resident(setting.task, setting.examples, torch.device("cpu"), seed=seed)
    measured = {}
    for size in sizes:
        attached = [attach_adapter(data.lend(candidate), candidate, seed=seed + number) for number in range(size)]
        rows = data.rows("train", candidate, attached[0]).rows
        trainings = {
            number: Training(one, rows, candidate, n_steps=n_steps + 1, seed=seed + number, data_seed=seed)
            for number, one in enumerate(attached)
        }
        pack = Pack(data.base_model(candidate), trainings) if size > 1 else None
        durations = [_step_s(trainings, pack, step) for step in range(1, n_steps + 2)]
        measured[size] = sum(durations[1:]) / n_steps / size
    return measured


def _step_s(trainings: Mapping[int, Training], pack: Pack | None, step: int) -> float:
    began_s = time.perf_counter()
    if pack is None:
        trainings[0].train_to(step)
    else:
        pack.advance(dict.fromkeys(trainings, step))
    return time.perf_counter() - began_s


class BareLoop:
    """Forward, backward, clipping, AdamW, schedule; the batches are padded beforehand."""

    def __init__(
        self, attached: AttachedModel, rows: Sequence[TokenRow], candidate: Candidate, *, n_steps: int, data_seed: int
    ) -> None:
        """Prepare everything that is not a step."""
        values: Any = candidate.hyperparameters
        self._attached = attached
        self._parameters = attached.trainable_parameters
        matrices = [one for one in self._parameters if one.ndim > 1]
        vectors = [one for one in self._parameters if one.ndim < 2]
        groups = [
            {"params": matrices, "weight_decay": values["weight_decay"]},
            {"params": vectors, "weight_decay": 0.0},
        ]
        self._optimizer = torch.optim.AdamW(groups, lr=values["learning_rate"], fused=True)
        warmup = math.ceil(values["warmup_ratio"] * n_steps)
        self._schedule = get_scheduler(
            values["lr_scheduler_type"], self._optimizer, num_warmup_steps=warmup, num_training_steps=n_steps
        )
        numbers = training_batches([len(row.input_ids) for row in rows], candidate.batch_size, data_seed)
        self._batches = [self._padded([rows[n] for n in one]) for one in islice(numbers, n_steps)]
        self._step = 0

    def train_to(self, step: int) -> None:
        """Train up to a step."""
        self._attached.model.train()
        with quiet_libraries():
            for batch in self._batches[self._step : step]:
                self._attached.model(**batch, **self._attached.forward_options).loss.backward()
                torch.nn.utils.clip_grad_norm_(self._parameters, CLIP_NORM)
                self._optimizer.step()
                self._schedule.step()
                self._optimizer.zero_grad(set_to_none=True)
        self._step = step

    def _padded(self, rows: list[TokenRow]) -> Batch:
        base = self._attached.base
        return collate(rows, base.tokenizer, base.request.head, side="right")
