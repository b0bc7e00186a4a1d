"""Trials on one device, or on several that hold one base model: the `TrialRunner` that search uses.

The base model is loaded once. Each trial's adapter stands on a copy of its structure that shares the weights, so
several can be live; those that can are trained in the same forward and backward passes (`training.packing`).
"""

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from advisor.candidates import Candidate
from advisor.catalog.tasks import Task
from advisor.data.dataset import Code
from advisor.data.examples import Example
from advisor.modeling.attachment import AttachedModel, attach_adapter, changes_base, load_adapter, untuned
from advisor.modeling.devices import release_memory
from advisor.modeling.spreading import choose_devices, describe_devices
from advisor.training.checkpoint import read_checkpoint, write_checkpoint
from advisor.training.groups import Arrival, Groups
from advisor.training.inference import measure_inference
from advisor.training.live import LiveTrial, failure_of
from advisor.training.loop import Training
from advisor.training.packing.choice import measure_packs
from advisor.training.probe import device_memory, measure_step
from advisor.training.programs import ProgramJudge
from advisor.training.resident import Resident
from advisor.training.scoring import Scorer
from advisor.training.token_cache import TokenCache
from advisor.trial import Evaluation, Inference, PackMeasurement, RungReport, Split, StepMeasurement, TrialSpec

_log = logging.getLogger(__name__)


class DeviceRunner:
    """Implements `advisor.trial.TrialRunner` on one device, or on several over which the base model is spread."""

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
        codebase: Sequence[Code] = (),
        judge: ProgramJudge | None = None,
    ) -> None:
        """Choose the device; nothing is loaded yet.

        Args:
            task: What is trained for.
            splits: Examples of "train" and "valid", and "test" where it will be asked for.
            seed: Of the study: the order of the training data, and which validation examples are taken.
            device: "cpu", "cuda", "cuda:1", "mps", a list such as "cuda:0,cuda:1", or None for the best there is.
            max_eval_examples: Most validation examples that are used, drawn once and the same for all trials;
                None for all. The test split is always used whole.
            slots: How many trials may be live at once; more than one are packed.
            cache: Keeps token ids between runs; None to tokenize in each.
            codebase: What a code search searches; empty for the code of the split that is asked about.
            judge: Runs answers that are programs, for a task with metrics of these; None for others.

        Raises:
            DataError: No row of a code search is an answer.
            InputError: No such device.
        """
        self._seed = seed
        self._devices = choose_devices(device)
        self._device, *more_devices = self._devices
        self._data = Resident(
            task, splits, self._device, more_devices=more_devices,
            seed=seed, max_valid_examples=max_eval_examples, cache=cache, codebase=codebase, judge=judge,
        )  # fmt: skip
        self._scorer = Scorer(task, self._data)
        self._groups = Groups(self._data, self._scorer, self._devices)
        self._memory = device_memory(*self._devices)
        self._slots = slots
        # What else a computer does beside must not decide; a GPU is waited for, and the processor does not work then.
        self._clock = time.process_time if self._device.type == "cpu" else time.perf_counter
        self._live: dict[int, LiveTrial] = {}

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
        """The device for people, such as "cuda (NVIDIA L4)" or "cuda:0, cuda:1 (2 x NVIDIA L4)"."""
        return describe_devices(self._devices)

    @property
    def device_type(self) -> str:
        """Its kind: "cpu", "cuda" or "mps"."""
        return self._device.type

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
            return measure_packs(
                self._data, candidate, self._memory, seed=self._seed, at_most=at_most, clock=self._clock
            )
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
        arrived = [Arrival(live=live) for live in self._live.values() if live.failure is not None]
        if not arrived:
            arrived = self._groups.advance([live for live in self._live.values() if live.training is not None])
        return tuple(map(self._reported, arrived))

    def checkpoint(self, number: int, folder: Path) -> None:
        """Write all that a live trial needs to go on from where it stands: whole or not at all.

        Raises:
            RuntimeError: This trial is not live or has failed.
        """
        live = self._live.get(number)
        if live is None or live.training is None or live.failure is not None:
            raise RuntimeError(f"trial {number} has nothing to go on from")
        write_checkpoint(live.training, folder, duration_s=live.duration_s, rung=live.rung, turn=live.turn)

    def measure_inference(self, number: int) -> Inference | None:
        """Measure what predicting with a live trial's model takes, alone; see `training.inference`.

        Returns:
            None where it cannot be measured.

        Raises:
            RuntimeError: This trial is not live or has failed.
        """
        live = self._live.get(number)
        if live is None or live.attached is None:
            raise RuntimeError(f"trial {number} has no model to measure")
        candidate = live.spec.candidate
        try:
            rows = self._data.rows("valid", candidate, live.attached).rows
            return measure_inference(live.attached, rows, precision=candidate.precision)
        except Exception as error:
            _log.warning("trial %d: prediction could not be measured: %s", number, failure_of(error).message)
            return None

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
            if split == "test" and adapter is not None:
                return self._scorer.score_finally(attached, candidate, predictions=predictions)
            return self._scorer.score(attached, candidate, split, predictions=predictions)
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
        live.training = training
        live.duration_s += time.perf_counter() - began_s

    def _reported(self, arrival: Arrival) -> RungReport:
        live = arrival.live
        report = live.report(arrival.metrics, arrival.train_loss)
        live.rung += 1
        if live.failure is not None:
            self._free(live)
        return report

    def _free(self, live: LiveTrial) -> None:
        attached, live.attached, live.training = live.attached, None, None
        self._groups.leave(live.spec.number)
        if attached is not None:
            self._data.give_back(attached)
        else:
            release_memory(self._device)
