"""Training of one adapter: optimizer, schedule, clipping, accumulation, and its own random numbers.

A plain PyTorch loop. Each `Training` keeps everything that is its own (also the state of the random number
generators), so several can be advanced in turn without a trace in each other's numbers.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import get_scheduler

from advisor.candidates import Candidate
from advisor.modeling.attachment import AttachedModel
from advisor.modeling.devices import DTYPES, is_out_of_memory, precision_on, release_memory
from advisor.modeling.quiet import quiet_libraries
from advisor.training.batches import Batch, collate, training_batches
from advisor.training.random_state import RandomState
from advisor.training.rank_allocation import RankAllocation
from advisor.training.retrieval import pair_loss
from advisor.training.schedule import Schedule, parameter_groups
from advisor.training.tokens import TokenRow

CLIP_NORM = 1.0


class NonFiniteLossError(ArithmeticError):
    """The loss or its gradient is not a number, or infinite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MicroBatch:
    """Rows whose gradient is computed at once.

    Attributes:
        rows: The rows.
        share: Their part of the examples or target tokens of the optimizer step.
    """

    rows: list[TokenRow]
    share: float


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
        self._optimizer = torch.optim.AdamW(parameter_groups(attached, schedule), lr=schedule.learning_rate, fused=True)
        self._scheduler = get_scheduler(
            schedule.lr_scheduler_type,
            self._optimizer,
            num_warmup_steps=math.ceil(schedule.warmup_ratio * n_steps),
            num_training_steps=n_steps,
        )
        self._ranks = RankAllocation(attached, n_steps)
        self._scaler = torch.amp.GradScaler(self._device.type, enabled=self._precision == "fp16")
        self._batches = training_batches([len(row.input_ids) for row in rows], candidate.batch_size, data_seed)
        self._batches_drawn = 0
        self._random = RandomState(attached.base.devices, seed)
        self._random_before = self._random.read()
        self._rows_of_step: list[TokenRow] = []
        self._waiting: list[list[TokenRow]] = []
        self._step_units, self._step_loss = 0, 0.0
        self._total, self._units = 0.0, 0
        self.micro_batch_size = candidate.micro_batch_size or candidate.batch_size
        self._halved = False
        self.step = 0

    @property
    def trainable_params(self) -> int:
        """Number of parameters that are trained, head included."""
        return sum(parameter.numel() for parameter in self._parameters)

    @property
    def attached(self) -> AttachedModel:
        """The model that is trained."""
        return self._attached

    @property
    def random(self) -> RandomState:
        """The random numbers of this training."""
        return self._random

    def advance_to(self, step: int) -> float:
        """Train up to an optimizer step and return the mean loss, see `mean_loss`.

        Raises:
            NonFiniteLossError: Training has diverged.
            torch.OutOfMemoryError: Memory ran out twice, the second time with half the micro-batch. (The host
                raises other classes, see `devices.is_out_of_memory`.)
        """
        self.train_to(step)
        return self.mean_loss()

    def train_to(self, step: int) -> None:
        """Train up to an optimizer step. Raises what `advance_to` does."""
        self._attached.model.train()
        with self._random.own(), quiet_libraries():
            while self.step < step:
                self._step_in_memory()

    def mean_loss(self) -> float:
        """Return the mean loss per example or target token over the steps since the last call."""
        total, units = self._total, self._units
        self._total, self._units = 0.0, 0
        return total / max(1, units)

    def next_micro_batch(self) -> MicroBatch:
        """Return the next rows to compute a gradient of; they begin a step when the last one is complete.

        For a caller that runs forward and backward pass itself: for each micro-batch of a step the gradient of
        `scaled(loss, share)` is to be added up, then `take_loss` called, and when `step_is_complete` `gradient_norm`
        and `update`.
        """
        if not self._waiting:
            self._start_step()
        rows = self._waiting.pop(0)
        return MicroBatch(rows=rows, share=sum(row.units for row in rows) / self._step_units)

    @property
    def step_is_complete(self) -> bool:
        """Have all micro-batches of the step been handed out?"""
        return not self._waiting

    def scaled(self, loss: torch.Tensor, share: float) -> torch.Tensor:
        """Return what to differentiate: the share of a micro-batch's mean loss, scaled for half precision."""
        scaled: torch.Tensor = self._scaler.scale(loss * share)
        return scaled

    def take_loss(self, loss: float) -> None:
        """Note a micro-batch's share of the loss.

        Raises:
            NonFiniteLossError: It is not a number, or infinite.
        """
        if not math.isfinite(loss):
            raise NonFiniteLossError(f"the loss is {loss} at step {self.step + 1}")
        self._step_loss += loss

    def gradient_norm(self) -> torch.Tensor:
        """Clip the step's gradient and return its norm before, a scalar on the device."""
        self._scaler.unscale_(self._optimizer)
        return torch.nn.utils.clip_grad_norm_(self._parameters, CLIP_NORM)

    def update(self, norm: float) -> None:
        """End the step: change the parameters.

        Args:
            norm: Of the gradient.

        Raises:
            NonFiniteLossError: The gradient is not finite.
        """
        # With loss scaling an infinite gradient is part of finding the scale; the scaler skips that step.
        if not self._scaler.is_enabled() and not math.isfinite(norm):
            raise NonFiniteLossError(f"the gradient is not finite at step {self.step + 1}")
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._ranks.after_step(self.step + 1)
        self._scheduler.step()
        self._optimizer.zero_grad(set_to_none=True)
        self._total, self._units = self._total + self._step_loss * self._step_units, self._units + self._step_units
        self._rows_of_step = []
        self.step += 1

    def discard_gradients(self) -> None:
        """Forget the gradients of the step under way."""
        self._optimizer.zero_grad(set_to_none=True)

    def rewind(self) -> None:
        """Go back to the beginning of the step under way, as after its memory ran out."""
        self.discard_gradients()
        if self._rows_of_step:
            self._random.write(self._random_before)
            self._divide(self._rows_of_step)

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return all tensors that are needed to go on from the last complete step."""
        found = {f"parameters.{name}": parameter.detach() for name, parameter in self._named_parameters()}
        for number, values in self._optimizer.state_dict()["state"].items():
            found.update({f"optimizer.{number}.{name}": tensor for name, tensor in values.items()})
        found.update(self._ranks.tensors())
        random = self._random_before if self._waiting else self._random.read()
        found.update({f"random.{number}": state for number, state in enumerate(random)})
        return found

    def numbers(self) -> dict[str, Any]:
        """Return all else that is needed to go on from the last complete step, fit for JSON."""
        return {
            "step": self.step,
            "micro_batch_size": self.micro_batch_size,
            "halved": self._halved,
            # A step that is under way (a trial that accumulates, in a pack) is begun again.
            "batches_drawn": self._batches_drawn - bool(self._waiting),
            "total": self._total,
            "units": self._units,
            "scheduler": self._scheduler.state_dict(),
            "scaler": self._scaler.state_dict(),
            "kept_ranks": self._ranks.kept(),
        }

    def restore(self, tensors: Mapping[str, torch.Tensor], numbers: Mapping[str, Any]) -> None:
        """Go on from where `tensors` and `numbers` were taken of a training of the same candidate.

        Raises:
            KeyError, ValueError, RuntimeError: They belong to another training.
        """
        with torch.no_grad():
            for name, parameter in self._named_parameters():
                if parameter.shape != tensors[f"parameters.{name}"].shape:
                    raise ValueError(f"{name} has another shape")
                parameter.copy_(tensors[f"parameters.{name}"])
        state = self._optimizer.state_dict()
        state["state"] = {}
        for key, tensor in tensors.items():
            kind, _, rest = key.partition(".")
            if kind == "optimizer":
                number, _, name = rest.partition(".")
                state["state"].setdefault(int(number), {})[name] = tensor
        self._scheduler.load_state_dict(dict(numbers["scheduler"]))
        for group, rate in zip(state["param_groups"], self._scheduler.get_last_lr(), strict=True):
            group["lr"] = rate
        self._optimizer.load_state_dict(state)
        if self._scaler.is_enabled():
            self._scaler.load_state_dict(dict(numbers["scaler"]))
        self._ranks.restore(tensors, numbers.get("kept_ranks"))
        self._random.write([tensors[f"random.{number}"] for number in range(len(self._random.read()))])
        self.step, self.micro_batch_size = int(numbers["step"]), int(numbers["micro_batch_size"])
        self._halved = bool(numbers["halved"])
        self._total, self._units = float(numbers["total"]), int(numbers["units"])
        while self._batches_drawn < numbers["batches_drawn"]:
            next(self._batches)
            self._batches_drawn += 1

    def _named_parameters(self) -> list[tuple[str, torch.nn.Parameter]]:
        return [(name, value) for name, value in self._attached.model.named_parameters() if value.requires_grad]

    def _step_in_memory(self) -> None:
        try:
            self._run_step()
            return
        except Exception as error:
            if not is_out_of_memory(error) or self._halved or self.micro_batch_size == 1:
                raise
        # Outside the handler: the error's traceback holds on to the tensors of the failed step.
        self._halved = True
        self.micro_batch_size = -(-self.micro_batch_size // 2)
        self.rewind()
        release_memory(self._device)
        self._run_step()

    def _run_step(self) -> None:
        if not self._waiting:
            self._start_step()
        self._add_gradients()
        self.update(float(self.gradient_norm()))

    def _add_gradients(self) -> None:
        """Add up the gradient of the mean loss over all units of the step, one micro-batch at a time."""
        total = torch.zeros((), device=self._device)
        while self._waiting:
            part = self.next_micro_batch()
            with self.autocast():
                loss = self._mean_loss(part.rows)
            self.scaled(loss, part.share).backward()
            total += loss.detach().to(self._device) * part.share
        self.take_loss(float(total))

    def _mean_loss(self, rows: Sequence[TokenRow]) -> torch.Tensor:
        """Return the mean loss over the units of some rows: the model's own, where it has a head."""
        if self._attached.base.request.head == "embedding":
            return pair_loss(self._attached, rows)
        loss: torch.Tensor = self._attached.model(**self.batch_of(rows), **self._attached.forward_options).loss
        return loss

    def batch_of(self, rows: Sequence[TokenRow]) -> Batch:
        """Return rows as a padded batch with labels, on the device."""
        base = self._attached.base
        batch = collate(
            rows, base.tokenizer, base.request.head,
            side=self._attached.padding_side, is_multi_label=base.request.is_multi_label,
        )  # fmt: skip
        return {name: tensor.to(base.device_for(name), non_blocking=True) for name, tensor in batch.items()}

    def _start_step(self) -> None:
        self._rows_of_step = [self._rows[number] for number in next(self._batches)]
        self._batches_drawn += 1
        self._random_before = self._random.read()
        self._divide(self._rows_of_step)

    def _divide(self, rows: list[TokenRow]) -> None:
        size = self.micro_batch_size
        self._waiting = [rows[start : start + size] for start in range(0, len(rows), size)]
        self._step_units = sum(row.units for row in rows)
        self._step_loss = 0.0

    def autocast(self) -> torch.autocast:
        """Return the arithmetic of the forward pass."""
        return torch.autocast(self._device.type, dtype=DTYPES[self._precision], enabled=self._precision != "fp32")
