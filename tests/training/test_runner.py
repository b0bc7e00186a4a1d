"""The runner keeps the contract of `advisor.trial.TrialRunner`, for every method on every head."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from advisor.errors import DataError, InputError
from advisor.spec import Architecture
from advisor.training.predictions import read_predictions
from advisor.training.runner import DeviceRunner
from advisor.trial import TrialRunner, TrialSpec
from tests.training.conftest import FinishedTrial
from tests.training.toy import CLONES, METHODS, SETTINGS, SUPPORTED, TASKS, UNSUPPORTED, candidate, splits

pytestmark = pytest.mark.slow

BaseFolder = Callable[..., Path]


@pytest.fixture(scope="module")
def runner_for() -> Callable[[str], DeviceRunner]:
    """One runner per task for the whole module, as one study would use it."""
    runners = {name: DeviceRunner(task, splits(task), seed=7, device="cpu") for name, task in TASKS.items()}
    return runners.__getitem__


def spec(base_folder: BaseFolder, architecture: Architecture, method: str = "lora", **changes: Any) -> TrialSpec:
    options: dict[str, Any] = {"number": 0, "seed": 3, "rung_steps": (2, 4)} | {
        name: changes.pop(name) for name in ("number", "seed", "rung_steps") if name in changes
    }
    return TrialSpec(candidate=candidate(base_folder(architecture), architecture, method, **changes), **options)


def test_it_is_a_trial_runner() -> None:
    runner: TrialRunner = DeviceRunner(CLONES, splits(CLONES), seed=0, device="cpu")
    assert runner.slots == 1


@pytest.mark.parametrize("kind", SUPPORTED, ids="-".join)
def test_a_saved_adapter_gives_the_metrics_of_the_last_rung(
    kind: tuple[str, str, str], finished: Callable[..., FinishedTrial]
) -> None:
    done = finished(kind)
    first, last = done.reports
    assert (first.failure, last.failure) == (None, None)
    assert [(first.rung, first.step), (last.rung, last.step)] == [(0, 2), (1, 4)]
    assert set(last.metrics) == set(TASKS[kind[1]].metrics)
    assert last.train_loss is not None
    assert last.train_loss > 0
    assert 0 < first.duration_s < last.duration_s
    assert last.trainable_params
    assert last.peak_memory_bytes is None or last.peak_memory_bytes > 2**20
    assert done.valid.metrics == last.metrics
    assert done.valid.n_examples == 6
    assert len(read_predictions(done.valid_predictions)) == 6


@pytest.mark.parametrize(("method", "task", "architecture"), UNSUPPORTED, ids=map("-".join, SUPPORTED))
def test_what_cannot_be_trained_is_reported_not_raised(
    method: str,
    task: str,
    architecture: Architecture,
    runner_for: Callable[[str], DeviceRunner],
    base_folder: BaseFolder,
) -> None:
    runner = runner_for(task)
    runner.start(spec(base_folder, architecture, method, number=4))
    (report,) = runner.advance()
    runner.stop(4)
    assert report.failure is not None
    assert report.failure.kind == "unsupported"
    assert UNSUPPORTED[method, task, architecture] in report.failure.message
    assert (report.number, report.step, report.metrics) == (4, 0, {})


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"lora_r": 8}, "unsupported", "nearest: "),
        ({"lr_scheduler_type": "linaer"}, "unsupported", "linear"),
        ({"weight_decay": -1}, "unsupported", "weight_decay"),
        ({"r": 0}, "unsupported", "r"),
        ({"learning_rate": 1e30}, "nan-loss", "step"),
    ],
)
def test_a_trial_that_cannot_go_on_says_why(
    changes: dict[str, object],
    kind: str,
    message: str,
    runner_for: Callable[[str], DeviceRunner],
    base_folder: BaseFolder,
) -> None:
    runner = runner_for("clone-detection")
    runner.start(spec(base_folder, "encoder-only", **changes, rung_steps=(5,)))
    (report,) = runner.advance()
    runner.stop(0)
    assert report.failure is not None
    assert report.failure.kind == kind
    assert message in report.failure.message
    assert (report.metrics, report.train_loss) == ({}, None)


@pytest.mark.parametrize("when", ["attaching", "training", "evaluating"])
def test_running_out_of_memory_is_reported_and_leaves_the_runner_usable(
    when: str, base_folder: BaseFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = DeviceRunner(CLONES, splits(CLONES), seed=7, device="cpu")

    def out_of_memory(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    places = {
        "attaching": "runner.attach_adapter", "training": "loop.Training.train_to", "evaluating": "scoring.predict"
    }  # fmt: skip
    with monkeypatch.context() as patched:
        patched.setattr(f"advisor.training.{places[when]}", out_of_memory)
        runner.start(spec(base_folder, "encoder-only"))
        (report,) = runner.advance()
        runner.stop(0)
    assert report.failure is not None
    assert report.failure.kind == "out-of-memory"
    runner.start(spec(base_folder, "encoder-only", number=1))
    assert runner.advance()[0].failure is None
    runner.stop(1)


def test_the_same_trial_gives_the_same_numbers_whatever_ran_before(base_folder: BaseFolder) -> None:
    runner = DeviceRunner(CLONES, splits(CLONES), seed=7, device="cpu")
    trial = spec(base_folder, "encoder-only", lora_dropout=0.3)

    def run(wanted: TrialSpec) -> list[tuple[float | None, dict[str, float]]]:
        runner.start(wanted)
        found = [(report.train_loss, dict(report.metrics)) for _ in (0, 1) for report in runner.advance()]
        runner.stop(wanted.number)
        return found

    alone = run(trial)
    torch.rand(17)
    for method in ("full", "p-tuning", "ia3", "bitfit"):
        run(spec(base_folder, "encoder-only", method, number=1))
    assert run(trial) == alone
    assert run(spec(base_folder, "encoder-only", lora_dropout=0.3, seed=4)) != alone


@pytest.mark.parametrize(
    ("task", "architecture"), [("clone-detection", "encoder-only"), ("code-summarization", "encoder-decoder")]
)
def test_a_checkpointed_trial_reports_the_numbers_of_one_that_is_not(
    task: str, architecture: Architecture, runner_for: Callable[[str], DeviceRunner], base_folder: BaseFolder
) -> None:
    runner = runner_for(task)
    plain = spec(base_folder, architecture, lora_dropout=0.3)
    checkpointed = replace(plain, candidate=replace(plain.candidate, gradient_checkpointing=True))
    found = []
    for trial in (plain, checkpointed):
        runner.start(trial)
        found.append([(report.train_loss, dict(report.metrics)) for _ in (0, 1) for report in runner.advance()])
        runner.stop(trial.number)
    assert found[0] == found[1]
    assert found[0][0][0] is not None


def test_a_report_names_the_examples_that_were_in_memory_at_once(
    base_folder: BaseFolder,
) -> None:
    runner = DeviceRunner(CLONES, splits(CLONES), seed=7, device="cpu")
    trial = spec(base_folder, "encoder-only")
    asked = replace(trial, number=1, candidate=replace(trial.candidate, micro_batch_size=3))
    found = []
    for one in (trial, asked):
        runner.start(one)
        found.append(runner.advance()[0].micro_batch_size)
        runner.stop(one.number)
    assert found == [8, 3]


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("task", "architecture"), [("clone-detection", "decoder-only"), ("code-summarization", "encoder-decoder")]
)
def test_half_precision_works_for_every_method(
    method: str,
    task: str,
    architecture: Architecture,
    base_folder: BaseFolder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A CPU can compute in bf16, it is just not worth it; so the arithmetic of a GPU can be tried here.
    for module in ("modeling.base", "training.loop", "training.evaluation"):
        monkeypatch.setattr(f"advisor.{module}.precision_on", lambda device, precision: precision)
    if (method, task, architecture) in UNSUPPORTED:
        pytest.skip("the method does not work on this model")
    runner = DeviceRunner(TASKS[task], splits(TASKS[task]), seed=7, device="cpu")
    trial = spec(base_folder, architecture, method, rung_steps=(2,))
    trial = replace(trial, candidate=replace(trial.candidate, precision="bf16"))
    base = runner.data.base_model(trial.candidate)
    assert base.model.dtype == (torch.float32 if method == "full" else torch.bfloat16)
    runner.start(trial)
    (report,) = runner.advance()
    assert report.failure is None
    runner.save(0, tmp_path / "adapter")
    runner.stop(0)
    assert runner.evaluate(trial.candidate, tmp_path / "adapter", "valid", seed=0).metrics == report.metrics


def test_one_base_model_is_loaded_for_all_trials(base_folder: BaseFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    from advisor.training import resident

    loaded = []
    load = resident.load_base_model
    monkeypatch.setattr(resident, "load_base_model", lambda *args: (loaded.append(args), load(*args))[1])
    runner = DeviceRunner(CLONES, splits(CLONES), seed=7, device="cpu")
    for number, method in enumerate(METHODS):
        runner.start(spec(base_folder, "encoder-only", method, number=number, rung_steps=(1,)))
        assert runner.advance()[0].failure is None
        runner.stop(number)
    assert len(loaded) == 1


@pytest.mark.parametrize(("task", "architecture"), SETTINGS, ids=map("-".join, SETTINGS))
def test_the_untuned_base_model_can_be_evaluated(
    task: str, architecture: Architecture, runner_for: Callable[[str], DeviceRunner], base_folder: BaseFolder
) -> None:
    runner = runner_for(task)
    chosen = candidate(base_folder(architecture), architecture)
    first = runner.evaluate(chosen, None, "test", seed=1)
    assert first.n_examples == 12
    assert first.metrics == runner.evaluate(chosen, None, "test", seed=1).metrics
    assert 0 < len(first.predictions) <= 6


def test_a_part_of_the_validation_split_can_stand_for_it(base_folder: BaseFolder) -> None:
    task = TASKS["code-summarization"]
    runners = [DeviceRunner(task, splits(task), seed=7, device="cpu", max_eval_examples=4) for _ in (0, 1)]
    chosen = candidate(base_folder("decoder-only"), "decoder-only")
    drawn = [[example.example_id for example in runner.data.examples("valid")] for runner in runners]
    assert drawn[0] == drawn[1]
    assert runners[0].evaluate(chosen, None, "valid", seed=0).n_examples == 4
    assert runners[0].evaluate(chosen, None, "test", seed=0).n_examples == 12


def test_a_live_trial_keeps_others_out(base_folder: BaseFolder, tmp_path: Path) -> None:
    runner = DeviceRunner(CLONES, splits(CLONES), seed=7, device="cpu")
    trial = spec(base_folder, "encoder-only", rung_steps=(1,))
    runner.start(trial)
    with pytest.raises(RuntimeError, match="all 1 slots are taken"):
        runner.start(trial)
    with pytest.raises(RuntimeError, match="trial 0 is live"):
        runner.evaluate(
            replace(trial.candidate, method="full", hyperparameters={"learning_rate": 1e-3}), None, "valid", seed=0
        )
    with pytest.raises(RuntimeError, match="trial 5 is not live"):
        runner.stop(5)
    with pytest.raises(RuntimeError, match="trial 5 has no adapter"):
        runner.save(5, tmp_path / "adapter")
    runner.advance()
    with pytest.raises(RuntimeError, match="no live trial"):
        runner.advance()
    runner.stop(0)
    with pytest.raises(RuntimeError, match="no live trial"):
        runner.advance()


def test_a_base_model_that_cannot_be_loaded_fails_the_trial_and_is_raised_by_evaluate(tmp_path: Path) -> None:
    runner = DeviceRunner(CLONES, splits(CLONES), seed=7, device="cpu")
    chosen = candidate(tmp_path / "none", "encoder-only")
    runner.start(TrialSpec(number=0, candidate=chosen, seed=0, rung_steps=(1,)))
    (report,) = runner.advance()
    runner.stop(0)
    assert report.failure is not None
    assert report.failure.kind == "error"
    assert "no such folder" in report.failure.message
    with pytest.raises(DataError, match="no such folder"):
        runner.evaluate(chosen, None, "test", seed=0)


def test_facts_count_what_is_cut(base_folder: BaseFolder) -> None:
    from advisor.data.examples import ExampleFile

    data = splits(CLONES)
    runner = DeviceRunner(CLONES, data, seed=7, device="cpu", max_eval_examples=2)
    file = ExampleFile(
        path="valid.jsonl", sha256="0", examples=data["valid"], label_counts={"0": 3, "1": 3}, warnings=()
    )
    facts = runner.data.facts("valid", file, candidate(base_folder("encoder-only"), "encoder-only"))
    assert facts.n_examples == 6
    assert facts.median_tokens is not None
    assert facts.median_tokens > 10
    assert 0 < facts.truncated <= 6


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(InputError, match="not a device"):
        DeviceRunner(CLONES, splits(CLONES), seed=0, device="toaster")
