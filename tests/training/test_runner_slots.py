"""A runner with several slots reports what one with a single slot does."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from advisor.errors import DataError
from advisor.spec import Architecture
from advisor.training.packing.layout import PackingError
from advisor.training.packing.pack import Pack
from advisor.training.runner import DeviceRunner
from advisor.trial import RungReport, TrialSpec
from tests.training.toy import SETTINGS, TASKS, candidate, splits

pytestmark = pytest.mark.slow  # together more than the fast part can take

BaseFolder = Callable[..., Path]
RUNGS = (2, 4)


def runner_for(task_name: str, slots: int = 1) -> DeviceRunner:
    task = TASKS[task_name]
    return DeviceRunner(task, splits(task), seed=7, device="cpu", slots=slots)


def specs(folder: Path, architecture: Architecture) -> list[TrialSpec]:
    chosen = [
        candidate(folder, architecture, "lora", r=2),
        candidate(folder, architecture, "rslora", lora_dropout=0.2),
        candidate(folder, architecture, "ia3"),
    ]
    return [
        TrialSpec(number=number, candidate=one, seed=3 + number, rung_steps=RUNGS) for number, one in enumerate(chosen)
    ]


def finish(runner: DeviceRunner, trials: list[TrialSpec]) -> dict[int, list[RungReport]]:
    """Run trials to their ends, a new one in every slot that is free."""
    reports: dict[int, list[RungReport]] = {trial.number: [] for trial in trials}
    waiting, live = list(trials), set()
    while waiting or live:
        while waiting and len(live) < runner.slots:
            trial = waiting.pop(0)
            runner.start(trial)
            live.add(trial.number)
        for report in runner.advance():
            reports[report.number].append(report)
            if report.failure or report.step == trials[report.number].rung_steps[-1]:
                runner.stop(report.number)
                live.remove(report.number)
    return reports


def shown(reports: dict[int, list[RungReport]]) -> dict[int, list[tuple[int, dict[str, float]]]]:
    return {number: [(one.step, dict(one.metrics)) for one in of] for number, of in reports.items()}


@pytest.mark.parametrize(("task_name", "architecture"), SETTINGS, ids=map("-".join, SETTINGS))
def test_trials_in_slots_report_what_they_would_alone(
    task_name: str, architecture: Architecture, base_folder: BaseFolder
) -> None:
    trials = specs(base_folder(architecture), architecture)
    alone = finish(runner_for(task_name), trials)
    together = finish(runner_for(task_name, slots=3), trials)
    assert shown(together) == shown(alone)
    for number, of in together.items():
        assert [one.train_loss for one in of] == pytest.approx([one.train_loss for one in alone[number]], rel=1e-5)
        assert {one.pack_size for one in of} == {3}
        assert {one.pack_size for one in alone[number]} == {1}
        assert [one.trainable_params for one in of] == [one.trainable_params for one in alone[number]]


def test_a_trial_that_joins_later_shares_passes_with_those_further_on(base_folder: BaseFolder) -> None:
    trials = specs(base_folder("encoder-only"), "encoder-only")
    alone = finish(runner_for("clone-detection"), trials)
    together = finish(runner_for("clone-detection", slots=2), trials)
    assert shown(together) == shown(alone)
    assert {one.pack_size for one in together[0]} == {2}


def test_full_fine_tuning_waits_until_it_has_the_base_model_for_itself(base_folder: BaseFolder) -> None:
    folder = base_folder("encoder-only")
    first, _, last = specs(folder, "encoder-only")
    full = replace(first, number=1, candidate=candidate(folder, "encoder-only", "full"))
    alone = finish(runner_for("clone-detection"), [first, full, last])
    runner = runner_for("clone-detection", slots=3)
    together = finish(runner, [first, full, last])
    assert shown(together) == shown(alone)
    assert {one.pack_size for of in together.values() for one in of} == {1}


@pytest.mark.parametrize("task_name", ["clone-detection", "code-summarization"])
def test_a_model_that_cannot_be_packed_trains_its_trials_one_by_one(
    task_name: str, base_folder: BaseFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials = specs(base_folder("decoder-only"), "decoder-only")
    alone = finish(runner_for(task_name), trials)

    def refused(*_: object) -> None:
        raise PackingError("the loss is another one")

    monkeypatch.setattr(Pack, "_pass", refused)
    together = finish(runner_for(task_name, slots=3), trials)
    assert shown(together) == shown(alone)
    assert {one.pack_size for of in together.values() for one in of} == {1}


def test_one_failing_trial_is_reported_and_the_others_go_on(base_folder: BaseFolder) -> None:
    trials = specs(base_folder("encoder-only"), "encoder-only")
    wild = replace(trials[1], candidate=candidate(base_folder("encoder-only"), "encoder-only", learning_rate=1e30))
    alone = finish(runner_for("clone-detection"), trials)
    together = finish(runner_for("clone-detection", slots=3), [trials[0], wild, trials[2]])
    assert together[1][-1].failure is not None
    assert together[1][-1].failure.kind == "nan-loss"
    assert {number: shown(together)[number] for number in (0, 2)} == {number: shown(alone)[number] for number in (0, 2)}


@pytest.mark.parametrize("slots", [1, 3])
@pytest.mark.parametrize(("task_name", "architecture"), SETTINGS[::2], ids=map("-".join, SETTINGS[::2]))
def test_a_trial_goes_on_from_its_checkpoint_as_if_nothing_had_happened(
    task_name: str, architecture: Architecture, slots: int, base_folder: BaseFolder, tmp_path: Path
) -> None:
    trials = specs(base_folder(architecture), architecture)[:slots]
    expected = finish(runner_for(task_name, slots), trials)
    first = runner_for(task_name, slots)
    for trial in trials:
        first.start(trial)
    before = first.advance()
    for report in before:
        first.checkpoint(report.number, tmp_path / str(report.number))
    second = runner_for(task_name, slots)
    for trial in trials:
        second.start(trial, checkpoint=tmp_path / str(trial.number))
    after = second.advance()
    for report in after:
        twin = expected[report.number][1]
        assert (report.step, report.rung, report.metrics) == (twin.step, twin.rung, twin.metrics)
        assert report.train_loss == twin.train_loss  # bit for bit
        assert report.duration_s > next(one for one in before if one.number == report.number).duration_s


def test_a_trial_between_rungs_goes_on_from_its_checkpoint(base_folder: BaseFolder, tmp_path: Path) -> None:
    """The second trial accumulates, so it is in the middle of a step when the first reaches its rung."""
    folder = base_folder("encoder-only")
    first = TrialSpec(number=0, candidate=candidate(folder, "encoder-only"), seed=3, rung_steps=RUNGS)
    slow = replace(candidate(folder, "encoder-only", lora_dropout=0.2), micro_batch_size=3)
    trials = [first, TrialSpec(number=1, candidate=slow, seed=4, rung_steps=RUNGS)]
    expected = finish(runner_for("clone-detection", 2), trials)
    runner = runner_for("clone-detection", 2)
    for trial in trials:
        runner.start(trial)
    assert [report.number for report in runner.advance()] == [0]
    for trial in trials:
        runner.checkpoint(trial.number, tmp_path / str(trial.number))
    again = runner_for("clone-detection", 2)
    for trial in trials:
        again.start(trial, checkpoint=tmp_path / str(trial.number))
    reports: dict[int, list[RungReport]] = {0: [], 1: []}
    live = {0, 1}
    while live:
        for report in again.advance():
            reports[report.number].append(report)
            if report.step == RUNGS[-1]:
                again.stop(report.number)
                live.remove(report.number)
    assert shown({1: reports[1]}) == shown({1: expected[1]})
    assert [one.train_loss for one in reports[1]] == pytest.approx([one.train_loss for one in expected[1]], rel=1e-6)


def test_a_damaged_checkpoint_leaves_the_slot_free(base_folder: BaseFolder, tmp_path: Path) -> None:
    (trial, *_) = specs(base_folder("encoder-only"), "encoder-only")
    runner = runner_for("clone-detection")
    with pytest.raises(DataError, match=str(tmp_path / "gone")):
        runner.start(trial, checkpoint=tmp_path / "gone")
    runner.start(trial)
    other: Any = replace(trial, number=9, candidate=candidate(base_folder("encoder-only"), "encoder-only", r=8))
    runner.advance()
    runner.checkpoint(0, tmp_path / "of-rank-2")
    runner.stop(0)
    with pytest.raises(DataError, match="not a checkpoint of this trial"):
        runner.start(other, checkpoint=tmp_path / "of-rank-2")
    runner.start(other)


def test_when_a_trial_leaves_the_base_model_stays_frozen_for_the_others(base_folder: BaseFolder) -> None:
    first, second, _ = specs(base_folder("encoder-only"), "encoder-only")
    runner = runner_for("clone-detection", slots=2)
    runner.start(first)
    runner.start(second)
    runner.advance()
    runner.stop(first.number)
    base = runner.data.base_model(second.candidate).model
    assert not any(parameter.requires_grad for parameter in base.parameters())
    runner.advance()
    assert all(parameter.grad is None for parameter in base.parameters())
