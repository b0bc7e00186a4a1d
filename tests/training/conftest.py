"""Tiny base models, and adapters of every kind trained on them, built once per session."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from advisor.candidates import Candidate
from advisor.training.runner import DeviceRunner
from advisor.trial import Evaluation, RungReport, TrialSpec
from tests.tiny_bases import base_folder, fast_for_small_models
from tests.training.toy import SUPPORTED, TASKS, candidate, splits

__all__ = ["base_folder", "fast_for_small_models"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedTrial:
    """A trial that a runner took from start to stop.

    Attributes:
        runner: The runner, without a live trial.
        candidate: What was trained.
        reports: Of its two rungs.
        adapter: Folder that was saved.
        valid: Evaluation of the saved adapter on the validation split.
        valid_predictions: File that this evaluation wrote.
    """

    runner: DeviceRunner
    candidate: Candidate
    reports: tuple[RungReport, ...]
    adapter: Path
    valid: Evaluation
    valid_predictions: Path


@pytest.fixture(scope="session")
def finished(
    base_folder: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[tuple[str, str, str]], FinishedTrial]:
    """Return the finished trial of a method, task and architecture out of `SUPPORTED`."""
    runners = {name: DeviceRunner(task, splits(task), seed=7, device="cpu") for name, task in TASKS.items()}
    root = tmp_path_factory.mktemp("finished")
    done: dict[tuple[str, str, str], FinishedTrial] = {}

    def trial(kind: tuple[str, str, str]) -> FinishedTrial:
        assert kind in SUPPORTED
        if kind not in done:
            done[kind] = _finish(runners[kind[1]], kind, base_folder, root / "-".join(kind))
        return done[kind]

    return trial


def _finish(
    runner: DeviceRunner, kind: tuple[str, str, str], base_folder: Callable[..., Path], folder: Path
) -> FinishedTrial:
    method, _, architecture = kind
    chosen = candidate(base_folder(architecture), architecture, method)  # type: ignore[arg-type]
    runner.start(TrialSpec(number=0, candidate=chosen, seed=3, rung_steps=(2, 4)))
    reports = (*runner.advance(), *runner.advance())
    runner.save(0, folder / "adapter")
    runner.stop(0)
    predictions = folder / "valid.jsonl"
    return FinishedTrial(
        runner=runner,
        candidate=chosen,
        reports=reports,
        adapter=folder / "adapter",
        valid=runner.evaluate(chosen, folder / "adapter", "valid", seed=0, predictions=predictions),
        valid_predictions=predictions,
    )
