"""Training of one adapter: optimizer, schedule, clipping, accumulation, and its own random numbers.

A plain PyTorch loop. Each `Training` keeps everything that is its own (also the state of the random number
generators), so several can be advanced in turn without a trace in each other's numbers.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from transformers import get_scheduler
from transformers.trainer_utils import SchedulerType

from advisor.candidates import Candidate
from advisor.errors import nearest_names, printable
from advisor.modeling.adapters import UnsupportedCandidateError
from advisor.modeling.attachment import AttachedModel
from advisor.modeling.devices import DTYPES, is_out_of_memory, precision_on, release_memory
from advisor.modeling.quiet import quiet_libraries
from advisor.training.batches import collate, training_batches
from advisor.training.tokens import TokenRow

CLIP_NORM = 1.0
# Weight decay pulls towards zero, which suits a matrix but not a bias, nor a scale that starts at one.
_NOT_DECAYED = ("bias", "norm", "ia3_l")


class NonFiniteLossError(ArithmeticError):
    """The loss or its gradient is not a number, or infinite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Hyperparameters of the loop, under transformers' names, with its defaults."""

    learning_rate: float
    weight_decay: float = 0.0
    warmup_ratio: float = 0.0
    lr_scheduler_type: str = "linear"

    @classmethod
    def of(cls, candidate: Candidate) -> "Schedule":
        """Read and check the values of a candidate.

        Raises:
            UnsupportedCandidateError: A value is not one that can be trained with.
        """
        values = {name: candidate.hyperparameters[name] for name in cls.__slots__ if name in candidate.hyperparameters}
        kind = values.pop("lr_scheduler_type", "linear")
        kinds = [item.value for item in SchedulerType]
        if kind not in kinds:
            near = nearest_names(str(kind), kinds) or kinds
            raise UnsupportedCandidateError(f"lr_scheduler_type {printable(str(kind))}: use {', '.join(near[:3])}")
        for name, value in values.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
                raise UnsupportedCandidateError(f"{name} must be a number of at least 0, not {value!r}")
        numbers = {name: float(str(value)) for name, value in values.items()}
        if numbers.get("warmup_ratio", 0.0) > 1:
            raise UnsupportedCandidateError(f"warmup_ratio {numbers['warmup_ratio']:g} is not between 0 and 1")
        return cls(lr_scheduler_type=str(kind), **numbers)


class Training:
    """One adapter being trained."""

    def __init__(
        self,
        attached: AttachedModel,
        rows: Sequence[TokenRow],
        candidate: Candidate,
        *,
        n_steps: int,
        seed: int,
        data_seed: int,
    ) -> None:
        """Prepare the first step.

        Args:
            attached: Model with the adapter to train.
            rows: The training split.
            candidate: Learning rate, schedule, batch size, precision.
            n_steps: Optimizer steps to the end of the schedule.
            seed: Of dropout.
            data_seed: Of the order of the data.

        Raises:
            UnsupportedCandidateError: A hyperparameter of the loop is not usable.
        """
        schedule = Schedule.of(candidate)
        self._attached = attached
        self._rows = rows
        self._device = attached.base.device
        self._precision = precision_on(self._device, candidate.precision)
        self._parameters = attached.trainable_parameters
        self._optimizer = torch.optim.AdamW(
            _parameter_groups(attached, schedule.weight_decay), lr=schedule.learning_rate, fused=True
        )
        self._scheduler = get_scheduler(
            schedule.lr_scheduler_type,
            self._optimizer,
            num_warmup_steps=math.ceil(schedule.warmup_ratio * n_steps),
            num_training_steps=n_steps,
        )
        self._scaler = torch.amp.GradScaler(self._device.type, enabled=self._precision == "fp16")
        self._batches = training_batches([len(row.input_ids) for row in rows], candidate.batch_size, data_seed)
        self._random = _RandomState(self._device, seed)
        self.micro_batch_size = candidate.micro_batch_size or candidate.batch_size
        self._halved = False
        self.step = 0

    @property
    def trainable_params(self) -> int:
        """Number of parameters that are trained, head included."""
        return sum(parameter.numel() for parameter in self._parameters)

    def advance_to(self, step: int) -> float:
        """Train up to an optimizer step and return the mean loss per example or target token since the last call.

        Raises:
            NonFiniteLossError: Training has diverged.
            torch.OutOfMemoryError: Memory ran out twice, the second time with half the micro-batch. (The host
                raises other classes, see `devices.is_out_of_memory`.)
        """
        total, units = 0.0, 0
        self._attached.model.train()
        with self._random.own(), quiet_libraries():
            while self.step < step:
                rows = [self._rows[number] for number in next(self._batches)]
                loss = self._gradients_in_memory(rows)
                self._update()
                n_units = sum(row.units for row in rows)
                total, units = total + loss * n_units, units + n_units
                self.step += 1
        return total / max(1, units)

    def _gradients_in_memory(self, rows: list[TokenRow]) -> float:
        before = self._random.read()
        try:
            return self._gradients(rows)
        except Exception as error:
            if not is_out_of_memory(error) or self._halved or self.micro_batch_size == 1:
                raise
        # Outside the handler: the error's traceback holds on to the tensors of the failed step.
        self._optimizer.zero_grad(set_to_none=True)
        release_memory(self._device)
        self._halved = True
        self.micro_batch_size = -(-self.micro_batch_size // 2)
        self._random.write(before)
        return self._gradients(rows)

    def _gradients(self, rows: list[TokenRow]) -> float:
        """Add up the gradient of the mean loss over all units of the rows, one micro-batch at a time."""
        base = self._attached.base
        n_units = sum(row.units for row in rows)
        total = torch.zeros((), device=self._device)
        for start in range(0, len(rows), self.micro_batch_size):
            part = rows[start : start + self.micro_batch_size]
            batch = collate(part, base.tokenizer, base.request.head, side=self._attached.padding_side)
            batch = {name: tensor.to(self._device, non_blocking=True) for name, tensor in batch.items()}
            with self._autocast():
                loss = self._attached.model(**batch, **self._attached.forward_options).loss
            # The model's loss is the mean over the units of its own part.
            share = loss * (sum(row.units for row in part) / n_units)
            self._scaler.scale(share).backward()
            total += share.detach()
        value = float(total)
        if not math.isfinite(value):
            raise NonFiniteLossError(f"the loss is {value} at step {self.step + 1}")
        return value

    def _update(self) -> None:
        self._scaler.unscale_(self._optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, CLIP_NORM)
        # With loss scaling an infinite gradient is part of finding the scale; the scaler skips that step.
        if not self._scaler.is_enabled() and not torch.isfinite(norm):
            raise NonFiniteLossError(f"the gradient is not finite at step {self.step + 1}")
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._scheduler.step()
        self._optimizer.zero_grad(set_to_none=True)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self._device.type, dtype=DTYPES[self._precision], enabled=self._precision != "fp32")


def _parameter_groups(attached: AttachedModel, weight_decay: float) -> list[dict[str, object]]:
    decayed: list[torch.nn.Parameter] = []
    rest: list[torch.nn.Parameter] = []
    for name, parameter in attached.model.named_parameters():
        if parameter.requires_grad:
            is_vector = parameter.ndim < 2 or any(part in name.lower() for part in _NOT_DECAYED)
            group = rest if is_vector else decayed
            group.append(parameter)
    groups = ((decayed, weight_decay), (rest, 0.0))
    return [{"params": parameters, "weight_decay": decay} for parameters, decay in groups if parameters]


class _RandomState:
    """Random numbers of one training, kept apart from everything else that draws some."""

    def __init__(self, device: torch.device, seed: int) -> None:
        self._cuda = [device] if device.type == "cuda" else []
        with torch.random.fork_rng(devices=self._cuda):
            torch.manual_seed(seed)
            self._state = self.read()

    @contextmanager
    def own(self) -> Iterator[None]:
        """Draw from this training's numbers within the block."""
        with torch.random.fork_rng(devices=self._cuda):
            self.write(self._state)
            try:
                yield
            finally:
                self._state = self.read()

    def read(self) -> list[torch.Tensor]:
        return [torch.get_rng_state(), *(torch.cuda.get_rng_state(device) for device in self._cuda)]

    def write(self, state: list[torch.Tensor]) -> None:
        torch.set_rng_state(state[0])
        for device, values in zip(self._cuda, state[1:], strict=True):
            torch.cuda.set_rng_state(values, device)
