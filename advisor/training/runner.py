"""Trials on one device: the `TrialRunner` that search uses, one trial at a time.

The base model is loaded once and reused; each trial's adapter is put on it and taken off again.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from advisor.candidates import Candidate
from advisor.catalog.tasks import Task
from advisor.errors import AdvisorError
from advisor.modeling.adapters import UnsupportedCandidateError
from advisor.modeling.attachment import AttachedModel, attach_adapter, load_adapter, untuned
from advisor.modeling.devices import (
    choose_device,
    describe_device,
    is_out_of_memory,
    peak_memory_bytes,
    release_memory,
    reset_peak_memory,
)
from advisor.training.evaluation import predict
from advisor.training.examples import Example
from advisor.training.loop import NonFiniteLossError, Training
from advisor.training.metrics import measure
from advisor.training.predictions import predictions_of, shown, write_predictions
from advisor.training.probe import device_memory, measure_step
from advisor.training.resident import Resident
from advisor.trial import Evaluation, RungReport, Split, StepMeasurement, TrialFailure, TrialSpec

_log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class _LiveTrial:
    """A trial between `start` and `stop`; without `training` when it failed to start."""

    spec: TrialSpec
    started: float
    attached: AttachedModel | None = None
    training: Training | None = None
    failure: TrialFailure | None = None
    rung: int = 0
    reports: list[RungReport] = field(default_factory=list)


class DeviceRunner:
    """Implements `advisor.trial.TrialRunner` on one device with one slot."""

    def __init__(
        self,
        task: Task,
        splits: Mapping[Split, Sequence[Example]],
        *,
        seed: int,
        device: str | None = None,
        max_eval_examples: int | None = None,
    ) -> None:
        """Choose the device; nothing is loaded yet.

        Args:
            task: What is trained for.
            splits: Examples of "train" and "valid", and "test" where it will be asked for.
            seed: Of the study: the order of the training data, and which validation examples are taken.
            device: "cpu", "cuda", "cuda:1", "mps", or None for the best there is.
            max_eval_examples: Most validation examples that are used, drawn once and the same for all trials;
                None for all. The test split is always used whole.

        Raises:
            InputError: No such device.
        """
        self._task = task
        self._seed = seed
        self._device = choose_device(device)
        self._data = Resident(task, splits, self._device, seed=seed, max_valid_examples=max_eval_examples)
        self._memory = device_memory(self._device)
        self._live: _LiveTrial | None = None

    @property
    def slots(self) -> int:
        """How many trials may be live at once."""
        return 1

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
        if self._live is not None:
            raise RuntimeError(f"trial {self._live.spec.number} is live; stop it before measuring another")
        if self._memory is None:
            return None
        try:
            return measure_step(self._data, candidate, self._memory, seed=self._seed)
        except Exception as error:
            _log.info("no training step could be measured: %s", _failure(error).message)
            return None

    def start(self, trial: TrialSpec) -> None:
        """Place a trial in the slot.

        Raises:
            RuntimeError: The slot is taken.
        """
        if self._live is not None:
            raise RuntimeError(f"trial {self._live.spec.number} is live; stop it before starting {trial.number}")
        reset_peak_memory(self._device)
        live = _LiveTrial(spec=trial, started=time.perf_counter())
        self._live = live
        try:
            base = self._data.base_model(trial.candidate)
            live.started = time.perf_counter()  # loading the base model is no part of the trial
            live.attached = attach_adapter(base, trial.candidate, seed=trial.seed)
            live.training = Training(
                live.attached,
                self._data.rows("train", trial.candidate, live.attached).rows,
                trial.candidate,
                n_steps=trial.rung_steps[-1],
                seed=trial.seed,
                data_seed=self._seed,
            )
        except Exception as error:
            live.failure = _failure(error)

    def advance(self) -> tuple[RungReport, ...]:
        """Train the live trial to its next rung, evaluate it, and report.

        Raises:
            RuntimeError: There is no live trial, or it has reached its last rung.
        """
        live = self._live
        if live is None or live.rung >= len(live.spec.rung_steps):
            raise RuntimeError("no live trial that could be advanced")
        metrics: Mapping[str, float] = {}
        train_loss = None
        if live.failure is None and live.training is not None and live.attached is not None:
            try:
                train_loss = live.training.advance_to(live.spec.rung_steps[live.rung])
                metrics = self._evaluate(live.attached, live.spec.candidate, "valid").metrics
            except Exception as error:
                live.failure, metrics, train_loss = _failure(error), {}, None
        report = RungReport(
            number=live.spec.number,
            rung=live.rung,
            step=live.training.step if live.training else 0,
            metrics=metrics,
            train_loss=train_loss,
            duration_s=time.perf_counter() - live.started,
            peak_memory_bytes=peak_memory_bytes(self._device),
            trainable_params=live.training.trainable_params if live.training else None,
            micro_batch_size=live.training.micro_batch_size if live.training else None,
            failure=live.failure,
        )
        live.rung += 1
        if live.failure is not None:
            self._free(live)
        return (report,)

    def save(self, number: int, folder: Path) -> None:
        """Write the live trial's adapter (ordinary PEFT format, or a model folder for full fine-tuning).

        Raises:
            RuntimeError: This trial is not live or has failed.
        """
        live = self._live
        if live is None or live.spec.number != number or live.attached is None:
            raise RuntimeError(f"trial {number} has no adapter to save")
        live.attached.save(folder)

    def stop(self, number: int) -> None:
        """Free the slot and the memory of a trial.

        Raises:
            RuntimeError: This trial is not live.
        """
        if self._live is None or self._live.spec.number != number:
            raise RuntimeError(f"trial {number} is not live")
        live, self._live = self._live, None
        self._free(live)

    def evaluate(
        self, candidate: Candidate, adapter: Path | None, split: Split, *, seed: int, predictions: Path | None = None
    ) -> Evaluation:
        """Evaluate a saved adapter, or the untuned base model when `adapter` is None, on a split.

        The validation split is cut to `max_eval_examples` as it is for trials. See `trial.TrialRunner`.

        Raises:
            RuntimeError: A trial is live; the base model can carry one adapter only.
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
            RuntimeError: A trial is live.
            AdvisorError: Base model or adapter cannot be loaded.
        """
        if self._live is not None and self._live.attached is not None:
            raise RuntimeError(f"trial {self._live.spec.number} is live; stop it before evaluating another")
        base = self._data.base_model(candidate)
        return untuned(base, seed=seed) if adapter is None else load_adapter(base, candidate, adapter)

    def _evaluate(
        self, attached: AttachedModel, candidate: Candidate, split: Split, *, predictions: Path | None = None
    ) -> Evaluation:
        started = time.perf_counter()
        examples = self._data.examples(split)
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
            duration_s=time.perf_counter() - started,
            predictions=shown(made),
        )

    def _free(self, live: _LiveTrial) -> None:
        attached, live.attached, live.training = live.attached, None, None
        if attached is not None:
            self._data.give_back(attached)
        release_memory(self._device)


def _failure(error: Exception) -> TrialFailure:
    """Say why a trial is over; what was not foreseen is recorded with its class, not raised."""
    message = " ".join(str(error).split())[:500] or type(error).__name__
    if is_out_of_memory(error):
        return TrialFailure(kind="out-of-memory", message=message)
    if isinstance(error, NonFiniteLossError):
        return TrialFailure(kind="nan-loss", message=message)
    if isinstance(error, UnsupportedCandidateError):
        return TrialFailure(kind="unsupported", message=message)
    if isinstance(error, AdvisorError):
        return TrialFailure(kind="error", message=message)
    return TrialFailure(kind="error", message=f"{type(error).__name__}: {message}")
