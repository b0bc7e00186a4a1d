"""Trials advance in fair turns, in packs where they can share passes, and none is lost when memory runs out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from advisor.spec import Architecture
from advisor.training import scoring
from advisor.training.runner import DeviceRunner
from advisor.trial import RungReport, TrialSpec
from tests.training.toy import TASKS, candidate, splits

pytestmark = pytest.mark.slow  # together more than the fast part can take

BaseFolder = Callable[..., Path]


def runner_for(task_name: str, slots: int) -> DeviceRunner:
    return DeviceRunner(TASKS[task_name], splits(TASKS[task_name]), seed=7, device="cpu", slots=slots)


def spec(number: int, folder: Path, architecture: Architecture, method: str, **changes: Any) -> TrialSpec:
    chosen = candidate(folder, architecture, method, **changes)
    return TrialSpec(number=number, candidate=chosen, seed=3 + number, rung_steps=(1, 2, 3, 4, 5))


def advanced(runner: DeviceRunner, trials: list[TrialSpec]) -> list[RungReport]:
    for trial in trials:
        runner.start(trial)
    return list(runner.advance())


def test_trials_that_cannot_share_passes_take_turns(base_folder: BaseFolder) -> None:
    folder = base_folder("encoder-only")
    runner = runner_for("clone-detection", slots=3)
    # Prompts of different lengths share no pass with each other, nor with LoRA.
    for trial in (
        spec(0, folder, "encoder-only", "prompt-tuning", num_virtual_tokens=2),
        spec(1, folder, "encoder-only", "prompt-tuning", num_virtual_tokens=3),
        spec(2, folder, "encoder-only", "lora"),
    ):
        runner.start(trial)
    assert [report.number for _ in range(6) for report in runner.advance()] == [0, 1, 2, 0, 1, 2]


def test_a_newcomer_has_its_turn_before_those_that_had_one(base_folder: BaseFolder) -> None:
    folder = base_folder("encoder-only")
    runner = runner_for("clone-detection", slots=2)
    runner.start(spec(0, folder, "encoder-only", "prompt-tuning", num_virtual_tokens=2))
    assert [report.number for _ in range(2) for report in runner.advance()] == [0, 0]
    runner.start(spec(1, folder, "encoder-only", "prompt-tuning", num_virtual_tokens=3))
    assert [report.number for _ in range(3) for report in runner.advance()] == [1, 0, 1]


@pytest.mark.parametrize(
    ("method", "architecture"),
    [
        ("prompt-tuning", "decoder-only"),
        ("prefix-tuning", "encoder-decoder"),
        pytest.param("p-tuning", "decoder-only", marks=pytest.mark.slow),
        pytest.param("prefix-tuning", "decoder-only", marks=pytest.mark.slow),
        pytest.param("prompt-tuning", "encoder-decoder", marks=pytest.mark.slow),
    ],
)
def test_packs_of_prompts_generate_together_what_each_would_alone(
    method: str, architecture: Architecture, base_folder: BaseFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = base_folder(architecture)
    trials = [spec(number, folder, architecture, method, learning_rate=0.1 * (1 + number)) for number in range(3)]
    alone = [advanced(runner_for("code-summarization", 1), [trial])[0] for trial in trials]

    def refused(*_: object, **__: object) -> None:
        raise AssertionError("a trial of a pack was asked by itself")

    monkeypatch.setattr(scoring, "predict", refused)
    together = advanced(runner_for("code-summarization", 3), trials)
    assert [report.failure for report in together] == [None, None, None]
    assert [report.metrics for report in together] == [report.metrics for report in alone]
    assert {report.pack_size for report in together} == {3}


def test_a_pack_too_large_to_be_evaluated_at_once_is_evaluated_one_by_one(
    base_folder: BaseFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = base_folder("encoder-only")
    trials = [spec(number, folder, "encoder-only", "lora", r=2 + number) for number in range(2)]
    expected = advanced(runner_for("clone-detection", 2), trials)

    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(scoring, "predict_packed", full)
    found = advanced(runner_for("clone-detection", 2), trials)
    assert [report.failure for report in found] == [None, None]
    assert [report.metrics for report in found] == [report.metrics for report in expected]
