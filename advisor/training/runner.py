"""Trials on one device: the `TrialRunner` that search uses.

The base model is loaded once. Each trial's adapter stands on a copy of its structure that shares the weights, so
several can be live; those that can are trained in the same forward and backward passes (`training.packing`).
"""

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from advisor.candidates import Candidate
from advisor.catalog.tasks import Task
from advisor.modeling.attachment import AttachedModel, attach_adapter, changes_base, load_adapter, untuned
from advisor.modeling.devices import (
    choose_device,
    describe_device,
    peak_memory_bytes,
    release_memory,
    reset_peak_memory,
)
from advisor.training.checkpoint import read_checkpoint, write_checkpoint
from advisor.training.evaluation import predict
from advisor.training.examples import Example
from advisor.training.live import LiveTrial, failure_of
from advisor.training.loop import Training
from advisor.training.metrics import measure
from advisor.training.packing.choice import measure_packs
from advisor.training.packing.evaluation import predict_packed
from advisor.training.packing.layout import PackingError
from advisor.training.packing.pack import Pack
from advisor.training.packing.trunk import has_prompts
from advisor.training.predictions import predictions_of, shown, write_predictions
from advisor.training.probe import device_memory, measure_step
from advisor.training.resident import Resident
from advisor.training.token_cache import TokenCache
from advisor.trial import Evaluation, PackMeasurement, RungReport, Split, StepMeasurement, TrialSpec

_log = logging.getLogger(__name__)


class DeviceRunner:
    """Implements `advisor.trial.TrialRunner` on one device."""

    def __init__(
        self,
        task: Task,
        splits: Mapping[Split, Sequence[Example]],
        *,
        seed: int,
        device: str | None = None,
        max_eval_examples: int | None = None,
        slots: int = 1,
        cache: TokenCache | None = None,
    ) -> None:
        """Choose the device; nothing is loaded yet.

        Args:
            task: What is trained for.
            splits: Examples of "train" and "valid", and "test" where it will be asked for.
            seed: Of the study: the order of the training data, and which validation examples are taken.
            device: "cpu", "cuda", "cuda:1", "mps", or None for the best there is.
            max_eval_examples: Most validation examples that are used, drawn once and the same for all trials;
                None for all. The test split is always used whole.
            slots: How many trials may be live at once; more than one are packed.
            cache: Keeps token ids between runs; None to tokenize in each.

        Raises:
            InputError: No such device.
        """
        self._task = task
        self._seed = seed
        self._device = choose_device(device)
        self._data = Resident(task, splits, self._device, seed=seed, max_valid_examples=max_eval_examples, cache=cache)
        self._memory = device_memory(self._device)
        self._slots = slots
        self._live: dict[int, LiveTrial] = {}
        self._turn = 0
        self._pack: Pack | None = None
        self._unpackable: set[object] = set()

    @property
    def slots(self) -> int:
        """How many trials may be live at once."""
        return self._slots

    @slots.setter
    def slots(self, value: int) -> None:
        if value < max(1, len(self._live)):
            raise ValueError(f"{value} slots for {len(self._live)} live trials")
        self._slots = value

    @property
    def device(self) -> str:
        """The device for people, such as "cuda (NVIDIA L4)"."""
        return describe_device(self._device)

    @property
    def reports_memory(self) -> bool:
        """Does the device say how much memory a step took?"""
        return self._memory is not None

    @property
    def data(self) -> Resident:
        """Base models and tokenized data that this runner holds."""
        return self._data

    def probe(self, candidate: Candidate) -> StepMeasurement | None:
        """Measure one real training step of a candidate; nothing of it stays.

        Returns:
            None where the device does not report its memory, or where the candidate cannot be trained (its trial will
            say why).

        Raises:
            RuntimeError: A trial is live.
        """
        if self._live:
            raise RuntimeError(f"trial {next(iter(self._live))} is live; stop it before measuring another")
        if self._memory is None:
            return None
        try:
            return measure_step(self._data, candidate, self._memory, seed=self._seed)
        except Exception as error:
            _log.info("no training step could be measured: %s", failure_of(error).message)
            return None

    def measure_packs(self, candidate: Candidate, at_most: int) -> tuple[PackMeasurement, ...]:
        """Measure training steps of packs of a candidate, as long as larger ones gain time; nothing of them stays.

        Returns:
            See `packing.choice.measure_packs`; empty where the candidate cannot be trained (its trial will say why).

        Raises:
            RuntimeError: A trial is live.
        """
        if self._live:
            raise RuntimeError(f"trial {next(iter(self._live))} is live; stop it before measuring others")
        try:
            return measure_packs(self._data, candidate, self._memory, seed=self._seed, at_most=at_most)
        except Exception as error:
            _log.info("no pack could be measured: %s", failure_of(error).message)
            return ()

    def start(self, trial: TrialSpec, *, checkpoint: Path | None = None) -> None:
        """Place a trial in a free slot.

        It begins at once, or when those that it cannot share the device with are over: other base models, and those
        that write into the base model's weights.

        Raises:
            RuntimeError: All slots are taken.
            DataError: The checkpoint cannot be used; the slot stays free.
        """
        if len(self._live) >= self._slots:
            raise RuntimeError(f"all {self._slots} slots are taken; stop a trial before starting {trial.number}")
        live = LiveTrial(spec=trial)
        self._live[trial.number] = live
        if checkpoint is None:
            self._begin_waiting()
            return
        try:
            self._begin(live, checkpoint)
        except BaseException:
            self.stop(trial.number)
            raise

    def advance(self) -> tuple[RungReport, ...]:
        """Train a group of live trials until one of it reaches its next rung; evaluate what did, and report.

        Groups take turns: trials that share forward and backward passes are one, every other trial is one of its own.

        Raises:
            RuntimeError: There is no live trial, or one has reached its last rung.
        """
        self._begin_waiting()
        if not self._live or any(live.rung >= len(live.spec.rung_steps) for live in self._live.values()):
            raise RuntimeError("no live trial that could be advanced")
        over = [live for live in self._live.values() if live.failure is not None]
        if not over:
            group = self._next_group()
            self._turn += 1
            for live in group:
                live.turn = self._turn
            return tuple(self._reported(live, *shown) for live, shown in self._advance_group(group))
        return tuple(self._reported(live, {}, None) for live in over)

    def checkpoint(self, number: int, folder: Path) -> None:
        """Write all that a live trial needs to go on from where it stands: whole or not at all.

        Raises:
            RuntimeError: This trial is not live or has failed.
        """
        live = self._live.get(number)
        if live is None or live.training is None or live.failure is not None:
            raise RuntimeError(f"trial {number} has nothing to go on from")
        write_checkpoint(live.training, folder, duration_s=live.duration_s, rung=live.rung, turn=live.turn)

    def save(self, number: int, folder: Path) -> None:
        """Write the live trial's adapter (ordinary PEFT format, or a model folder for full fine-tuning).

        Raises:
            RuntimeError: This trial is not live or has failed.
        """
        live = self._live.get(number)
        if live is None or live.attached is None:
            raise RuntimeError(f"trial {number} has no adapter to save")
        live.attached.save(folder)

    def stop(self, number: int) -> None:
        """Free the slot and the memory of a trial.

        Raises:
            RuntimeError: This trial is not live.
        """
        live = self._live.pop(number, None)
        if live is None:
            raise RuntimeError(f"trial {number} is not live")
        self._free(live)

    def evaluate(
        self, candidate: Candidate, adapter: Path | None, split: Split, *, seed: int, predictions: Path | None = None
    ) -> Evaluation:
        """Evaluate a saved adapter, or the untuned base model when `adapter` is None, on a split.

        The validation split is cut to `max_eval_examples` as it is for trials. See `trial.TrialRunner`.

        Raises:
            RuntimeError: A live trial has the base model for itself.
            AdvisorError: Base model or adapter cannot be loaded.
        """
        attached = self.attach_saved(candidate, adapter, seed=seed)
        try:
            return self._evaluate(attached, candidate, split, predictions=predictions)
        finally:
            self._data.give_back(attached)

    def attach_saved(self, candidate: Candidate, adapter: Path | None, *, seed: int) -> AttachedModel:
        """Put a saved adapter (or none) on its base model; hand it to `data.give_back` afterwards.

        Raises:
            RuntimeError: A live trial has the base model for itself, or this candidate must have it.
            AdvisorError: Base model or adapter cannot be loaded.
        """
        begun = [live for live in self._live.values() if live.training is not None]
        if begun and (changes_base(candidate) or any(live.is_exclusive for live in begun)):
            raise RuntimeError(f"trial {begun[0].spec.number} is live; stop it before evaluating another")
        base = self._data.lend(candidate)
        return untuned(base, seed=seed) if adapter is None else load_adapter(base, candidate, adapter)

    def _begin_waiting(self) -> None:
        """Begin trials in the order of their start, as far as they can share the device."""
        for live in self._live.values():
            if live.has_begun:
                continue
            if not self._can_begin(live):
                return  # those behind it wait too, or it would never get its turn
            try:
                self._begin(live)
            except Exception as error:
                live.failure = failure_of(error)

    def _can_begin(self, live: LiveTrial) -> bool:
        begun = [other for other in self._live.values() if other.training is not None]
        if not begun:
            return True
        if live.is_exclusive or any(other.is_exclusive for other in begun):
            return False
        wanted = self._data.request(live.spec.candidate)
        return all(self._data.request(other.spec.candidate) == wanted for other in begun)

    def _begin(self, live: LiveTrial, checkpoint: Path | None = None) -> None:
        spec = live.spec
        base = self._data.lend(spec.candidate)
        began_s = time.perf_counter()  # loading the base model is no part of the trial
        live.attached = attach_adapter(base, spec.candidate, seed=spec.seed)
        training = Training(
            live.attached,
            self._data.rows("train", spec.candidate, live.attached).rows,
            spec.candidate,
            n_steps=spec.rung_steps[-1],
            seed=spec.seed,
            data_seed=self._seed,
        )
        if checkpoint is not None:
            extra = read_checkpoint(training, checkpoint)
            live.duration_s, live.rung, live.turn = float(extra["duration_s"]), int(extra["rung"]), int(extra["turn"])
            self._turn = max(self._turn, live.turn)
        live.training = training
        live.duration_s += time.perf_counter() - began_s

    def _next_group(self) -> list[LiveTrial]:
        """Return the trials that advance together next: those that have waited longest."""
        begun = [live for live in self._live.values() if live.training is not None]
        first = min(begun, key=lambda live: live.turn)
        key = first.pack_key
        if key is None or key in self._unpackable:
            return [first]
        return [live for live in begun if live.pack_key == key]

    def _advance_group(self, group: list[LiveTrial]) -> list[tuple[LiveTrial, tuple[dict[str, float], float | None]]]:
        reset_peak_memory(self._device)
        began_s = time.perf_counter()
        try:
            arrived = self._train(group)
            shown = self._shown(arrived)
        except PackingError as error:
            _log.warning("trials cannot be packed on this model and train one by one: %s", error)
            self._unpackable.add(group[0].pack_key)
            self._pack = None
            group = group[:1]
            arrived = self._train(group)
            shown = self._shown(arrived)
        duration_s, peak = time.perf_counter() - began_s, peak_memory_bytes(self._device)
        for live in group:
            live.note(duration_s, peak, len(group))
        return [(live, shown[live.spec.number]) for live in arrived]

    def _train(self, group: list[LiveTrial]) -> list[LiveTrial]:
        """Train until one has reached its rung; return those that have, and those that failed."""
        if len(group) == 1:
            live = group[0]
            assert live.training is not None
            try:
                live.training.train_to(live.target)
            except Exception as error:
                live.failure = failure_of(error)
            return group
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

    def _shown(self, arrived: list[LiveTrial]) -> dict[int, tuple[dict[str, float], float | None]]:
        """Evaluate trials at their rung; return metrics and training loss by number."""
        alive = [live for live in arrived if live.failure is None]
        shown: dict[int, tuple[dict[str, float], float | None]] = {live.spec.number: ({}, None) for live in arrived}
        together: dict[int, list[str]] = {}
        if len(alive) > 1 and self._pack is not None and not any(has_prompts(_attached(live)) for live in alive):
            first = alive[0].spec.candidate
            together = predict_packed(
                self._data.base_model(first),
                self._pack.trunk,
                [live.spec.number for live in alive],
                self._data.rows("valid", first, _attached(alive[0])).rows,
                precision=first.precision,
                max_target_length=self._task.max_target_length,
            )
        for live in alive:
            number = live.spec.number
            try:
                assert live.training is not None
                metrics = self._evaluate(_attached(live), live.spec.candidate, "valid", together.get(number)).metrics
                shown[number] = (dict(metrics), live.training.mean_loss())
            except Exception as error:
                live.failure = failure_of(error)
        return shown

    def _reported(self, live: LiveTrial, metrics: dict[str, float], train_loss: float | None) -> RungReport:
        report = live.report(metrics, train_loss)
        live.rung += 1
        if live.failure is not None:
            self._free(live)
        return report

    def _evaluate(
        self,
        attached: AttachedModel,
        candidate: Candidate,
        split: Split,
        predicted: list[str] | None = None,
        *,
        predictions: Path | None = None,
    ) -> Evaluation:
        began_s = time.perf_counter()
        examples = self._data.examples(split)
        if predicted is None:
            predicted = predict(
                attached,
                self._data.rows(split, candidate, attached).rows,
                precision=candidate.precision,
                max_target_length=self._task.max_target_length,
            )
        made = predictions_of(examples, predicted)
        if predictions is not None:
            write_predictions(made, predictions)
        expected = [example.target for example in examples]
        return Evaluation(
            metrics=measure(self._task.metrics, expected, predicted, label_names=self._data.label_names),
            n_examples=len(examples),
            duration_s=time.perf_counter() - began_s,
            predictions=shown(made),
        )

    def _free(self, live: LiveTrial) -> None:
        attached, live.attached, live.training = live.attached, None, None
        if self._pack is not None and live.spec.number in self._pack.numbers:
            self._pack = None
        if attached is not None:
            self._data.give_back(attached)
        else:
            release_memory(self._device)


def _attached(live: LiveTrial) -> AttachedModel:
    assert live.attached is not None
    return live.attached
