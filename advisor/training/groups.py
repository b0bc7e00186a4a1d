"""Which live trials advance together: groups that take turns, and the packs of those that share passes."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from advisor.modeling.attachment import AttachedModel
from advisor.modeling.devices import is_out_of_memory, peak_memory_bytes, release_memory, reset_peak_memory
from advisor.training.live import LiveTrial, failure_of
from advisor.training.packing.layout import PackingError
from advisor.training.packing.pack import Pack
from advisor.training.resident import Resident
from advisor.training.scoring import Scorer
from advisor.training.thresholds import Predicted

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A trial that has reached its rung, or failed on the way (then there is nothing else to tell).

    Attributes:
        live: The trial.
        metrics: On the validation split.
        train_loss: Mean since its last rung.
    """

    live: LiveTrial
    metrics: dict[str, float] = field(default_factory=dict)
    train_loss: float | None = None


class Groups:
    """Advances live trials: those that share forward and backward passes are a group, every other is one of its own."""

    def __init__(self, data: Resident, scorer: Scorer, devices: Sequence[torch.device]) -> None:
        """Take base models, what evaluates at rungs, and the devices whose memory is watched."""
        self._data = data
        self._scorer = scorer
        self._devices = tuple(devices)
        self._pack: Pack | None = None
        self._unpackable: set[object] = set()

    def advance(self, begun: Sequence[LiveTrial]) -> list[Arrival]:
        """Train the group that has waited longest until one of it reaches its next rung, and evaluate what did.

        Args:
            begun: All trials on the device, not one of them over.

        Returns:
            At least one.
        """
        group = self._next_group(begun)
        turn = 1 + max(live.turn for live in begun)
        for live in group:
            live.turn = turn
        reset_peak_memory(*self._devices)
        began_s = time.perf_counter()
        try:
            arrived = self._until_rung(group)
        except PackingError as error:
            _log.warning("trials cannot be packed on this model and train one by one: %s", error)
            self._unpackable.add(group[0].pack_key)
            self._pack = None
            group = group[:1]
            arrived = self._until_rung(group)
        duration_s, peak = time.perf_counter() - began_s, peak_memory_bytes(*self._devices)
        for live in group:
            live.note(duration_s, peak, len(group))
        return arrived

    def leave(self, number: int) -> None:
        """Forget what is held of a trial that is over; the rest of its pack goes on in a new one."""
        if self._pack is not None and number in self._pack.numbers:
            self._pack = None

    def evaluate(self, arrived: Sequence[LiveTrial]) -> list[Arrival]:
        """Evaluate trials at their rung, those of a pack in shared passes where that is possible.

        A trial that fails is marked as over.

        Raises:
            PackingError: The model does something that packs do not allow for.
        """
        together = self._predicted_together([live for live in arrived if live.failure is None])
        return [self._evaluated(live, together.get(live.spec.number)) for live in arrived]

    def _next_group(self, begun: Sequence[LiveTrial]) -> list[LiveTrial]:
        first = min(begun, key=lambda live: live.turn)
        key = first.pack_key
        if key is None or key in self._unpackable:
            return [first]
        return [live for live in begun if live.pack_key == key]

    def _until_rung(self, group: list[LiveTrial]) -> list[Arrival]:
        return self.evaluate(self._train_alone(group[0]) if len(group) == 1 else self._train_packed(group))

    def _train_alone(self, live: LiveTrial) -> list[LiveTrial]:
        assert live.training is not None
        try:
            live.training.train_to(live.target)
        except Exception as error:
            live.failure = failure_of(error)
        return [live]

    def _train_packed(self, group: list[LiveTrial]) -> list[LiveTrial]:
        """Train until one has reached its rung; return those that have, and those that failed."""
        pack = self._pack_of(group)
        pack.advance({live.spec.number: live.target for live in group})
        for live in group:
            if live.spec.number in pack.failures:
                live.failure = failure_of(pack.failures[live.spec.number])
        return [live for live in group if live.failure or (live.training and live.training.step >= live.target)]

    def _pack_of(self, group: list[LiveTrial]) -> Pack:
        numbers = frozenset(live.spec.number for live in group)
        if self._pack is None or self._pack.numbers != numbers:
            self._pack = None  # the old stacks go before the new ones come
            trainings = {live.spec.number: live.training for live in group if live.training is not None}
            self._pack = Pack(self._data.base_model(group[0].spec.candidate), trainings)
        return self._pack

    def _predicted_together(self, alive: list[LiveTrial]) -> dict[int, Predicted]:
        """Return predictions by trial number; none where each trial has to predict for itself."""
        if len(alive) < 2 or self._pack is None:
            return {}
        attached = {live.spec.number: _attached(live) for live in alive}
        try:
            return self._scorer.predict_together(self._pack.trunk, attached, alive[0].spec.candidate)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        _log.info("memory does not hold one example of %d trials at once; they are evaluated one by one", len(alive))
        release_memory(self._devices[0])
        return {}

    def _evaluated(self, live: LiveTrial, predicted: Predicted | None) -> Arrival:
        if live.failure is not None:
            return Arrival(live=live)
        try:
            assert live.training is not None
            scored = self._scorer.score(_attached(live), live.spec.candidate, "valid", predicted=predicted)
            return Arrival(live=live, metrics=dict(scored.metrics), train_loss=live.training.mean_loss())
        except Exception as error:
            live.failure = failure_of(error)
            return Arrival(live=live)


def _attached(live: LiveTrial) -> AttachedModel:
    assert live.attached is not None
    return live.attached
