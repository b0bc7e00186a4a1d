"""A pack: trainings that advance together, each with its own data, optimizer, schedule and random numbers.

In a pass every training gives one micro-batch. The base model's products run once over the rows of all; each training
then takes its own gradient, clips it and updates when its step is complete, so trainings with different accumulation,
ranks, dropout or learning rates share passes. None leaves a trace in another: a training that diverges keeps its rows
(with zeros for an adapter) until the pack stops at the next rung, so that not even the shape of the others' work
changes.
"""

import logging
from collections.abc import Callable, Mapping, Sequence

import torch
from peft import PeftModel
from torch.nn import functional

from advisor.modeling.attachment import AttachedModel
from advisor.modeling.base import BaseModel
from advisor.modeling.devices import is_out_of_memory, release_memory
from advisor.modeling.quiet import quiet_libraries
from advisor.modeling.tuners.hybrid import MamConfig
from advisor.training.batches import Batch, collate
from advisor.training.loop import MicroBatch, NonFiniteLossError, Training
from advisor.training.packing.layout import PackingError
from advisor.training.packing.randomness import SlotRandomness
from advisor.training.packing.trunk import Trunk, can_be_routed, has_prompts
from advisor.training.tokens import IGNORED, TokenRow

_log = logging.getLogger(__name__)


def pack_key(attached: AttachedModel, *, gradient_checkpointing: bool) -> tuple[object, ...] | None:
    """Return what trainings that share passes must have in common, None for one that cannot share any.

    Full fine-tuning changes the base model; rows that must be padded on the left would be moved by the others' padding;
    recomputed layers would draw their dropout twice; embeddings of a batch are compared with each other; and some
    methods do not stand on the base model that the others see.
    """
    is_full = attached.model is attached.base.model
    compares = attached.base.request.head == "embedding"
    if is_full or gradient_checkpointing or attached.padding_side == "left" or compares:
        return None
    if has_prompts(attached):
        return (attached.base.request, attached.model.active_peft_config.peft_type, attached.virtual_tokens)  # type: ignore[union-attr]
    if not can_be_routed(attached):
        return None
    n_prefix = prefix_tokens(attached)
    return (attached.base.request, "prefixes", n_prefix) if n_prefix else (attached.base.request,)


class Pack:
    """Trainings with one `pack_key`.

    Attributes:
        failures: Why a training is over, by its number.
    """

    def __init__(self, base: BaseModel, trainings: Mapping[int, Training], *, halves: bool = True) -> None:
        """Put the adapters of all trainings on one copy of the base model.

        Args:
            base: Base model without adapter; the trainings' models share its weights.
            trainings: By trial number, in the order of their rows.
            halves: Go on with fewer trainings in a pass when memory runs out, rather than raise.
        """
        self._halves = halves
        self.failures: dict[int, Exception] = {}
        self._base = base
        self._trainings = dict(trainings)
        self._trunk = Trunk(base, {number: one.attached for number, one in trainings.items()})
        self._width = len(self._trainings)

    @property
    def numbers(self) -> frozenset[int]:
        """Trial numbers of the trainings."""
        return frozenset(self._trainings)

    @property
    def trunk(self) -> Trunk:
        """The model with all adapters."""
        return self._trunk

    def advance(self, targets: Mapping[int, int]) -> None:
        """Train until one of the trainings has reached its target, or all have failed.

        Args:
            targets: Optimizer step to reach by trial number.

        Raises:
            PackingError: The model does something that packs do not allow for; all trainings are at the beginning of
                a step and can go on alone.
        """
        self._trunk.train()
        with quiet_libraries():
            while not self._has_arrived(targets):
                self._passes(list(self._trainings))

    def _has_arrived(self, targets: Mapping[int, int]) -> bool:
        alive = [number for number in self._trainings if number not in self.failures]
        return not alive or any(self._trainings[number].step >= targets[number] for number in alive)

    def _passes(self, numbers: Sequence[int]) -> None:
        """Let every training compute one micro-batch, as many at once as memory has room for."""
        width = self._width  # it may shrink on the way
        for start in range(0, len(numbers), width):
            self._pass_in_memory(numbers[start : start + width])

    def _pass_in_memory(self, numbers: Sequence[int]) -> None:
        if len(numbers) == 1:
            self._step_alone(numbers[0])
            return
        try:
            self._pass(numbers)
            return
        except PackingError:
            self._rewind(numbers)
            raise
        except Exception as error:
            if not is_out_of_memory(error) or not self._halves:
                raise
        # Outside the handler: the error's traceback holds on to the tensors of the failed pass.
        self._rewind(numbers)
        release_memory(self._base.device)
        self._width = -(-len(numbers) // 2)
        _log.info("memory ran out with %d trials in a pass; going on with %d", len(numbers), self._width)
        self._passes(numbers)

    def _step_alone(self, number: int) -> None:
        training = self._trainings[number]
        if number in self.failures:
            return
        try:
            training.train_to(training.step + 1)
        except Exception as error:
            if not is_out_of_memory(error) and not isinstance(error, NonFiniteLossError):
                raise
            self._fail(number, error)

    def _rewind(self, numbers: Sequence[int]) -> None:
        self._trunk.add_gradients()
        for number in numbers:
            self._trainings[number].rewind()

    def _pass(self, numbers: Sequence[int]) -> None:
        parts = {number: self._trainings[number].next_micro_batch() for number in numbers}
        first = self._trainings[numbers[0]]
        batch = self._batch(parts)
        randomness = SlotRandomness(self._trunk.layout, {number: self._trainings[number].random for number in numbers})
        self._trunk.load()
        self._trunk.draws_from(randomness)
        with torch.random.fork_rng(devices=[one for one in self._base.devices if one.type == "cuda"]):
            with first.autocast(), randomness:
                self._trunk.model(**batch, **first.attached.forward_options)
            losses = randomness.losses
            if len(losses) != len(numbers):
                raise PackingError("the model's loss is not a cross entropy")
            total = torch.stack(
                [self._trainings[n].scaled(loss, parts[n].share) for n, loss in zip(numbers, losses, strict=True)]
            )
            total.sum().backward()
        self._trunk.add_gradients()
        # One wait for the device for all trainings, not one each.
        shares = [loss.detach() * parts[number].share for number, loss in zip(numbers, losses, strict=True)]
        for number, value in zip(numbers, torch.stack(shares).tolist(), strict=True):
            self._guarded(number, self._trainings[number].take_loss, value)
        self._update([number for number in numbers if self._trainings[number].step_is_complete])

    def _update(self, numbers: Sequence[int]) -> None:
        alive = [number for number in numbers if number not in self.failures]
        if not alive:
            return
        norms = torch.stack([self._trainings[number].gradient_norm() for number in alive]).tolist()
        for number, norm in zip(alive, norms, strict=True):
            self._guarded(number, self._trainings[number].update, norm)

    def _guarded(self, number: int, act: Callable[[float], None], value: float) -> None:
        """Let a training take a number of its own; what it did not like ends this training only."""
        if number in self.failures:
            self._trainings[number].discard_gradients()
            return
        try:
            act(value)
        except NonFiniteLossError as error:
            self._fail(number, error)

    def _fail(self, number: int, error: Exception) -> None:
        self.failures[number] = error
        training = self._trainings[number]
        training.discard_gradients()
        with torch.no_grad():
            for parameter in training.attached.trainable_parameters:
                parameter.zero_()

    def _batch(self, parts: Mapping[int, MicroBatch]) -> Batch:
        """Put the rows of all trainings into one batch and describe it in the layout."""
        base = self._base
        rows = [row for part in parts.values() for row in part.rows]
        batch = collate(
            rows, base.tokenizer, base.request.head, side="right", is_multi_label=base.request.is_multi_label
        )
        if base.request.head == "seq2seq-lm" and batch["labels"].shape[1] == batch["input_ids"].shape[1]:
            # Source and target must be told apart by their lengths.
            batch["labels"] = functional.pad(batch["labels"], (0, 1), value=IGNORED)
        self._trunk.layout.set(
            {number: len(part.rows) for number, part in parts.items()},
            {number: self._lengths(part.rows, batch) for number, part in parts.items()},
        )
        return {name: tensor.to(base.device_for(name), non_blocking=True) for name, tensor in batch.items()}

    def _lengths(self, rows: Sequence[TokenRow], batch: Batch) -> dict[int, int]:
        """Return the lengths of these rows alone by the lengths that they are padded to here."""
        attached = next(iter(self._trainings.values())).attached
        virtual = attached.virtual_tokens or prefix_tokens(attached)
        source = max(len(row.input_ids) for row in rows)
        padded = batch["input_ids"].shape[1]
        found = {padded: source, padded + virtual: source + virtual}
        if self._base.request.head == "seq2seq-lm":
            target = max(len(row.labels) for row in rows)
            padded = batch["labels"].shape[1]
            found |= {padded: target, padded + virtual: target + virtual}
        return found


def prefix_tokens(attached: AttachedModel) -> int:
    """Return how many keys the adapter puts before those of the text inside attention."""
    model = attached.model
    config = model.active_peft_config if isinstance(model, PeftModel) else None
    return config.num_prefix_tokens if isinstance(config, MamConfig) else 0
