"""A study from request to report, with a tiny model with random weights: real training, real files."""

import json
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from transformers import AutoTokenizer

from advisor import records
from advisor.errors import AdvisorError, InputError, ReloadCheckError
from advisor.feasibility.device import CONTEXT_BYTES
from advisor.recommendation import Recommendation
from advisor.result import Probe, TuningResult
from advisor.search import read_records
from advisor.search.events import TrialFinished, TrialStarted
from advisor.spec import GIB
from advisor.tuning import TuningRequest, prepare, tune
from advisor.tuning.announcement import plan_of
from advisor.tuning.budget import Budget
from advisor.tuning.events import (
    AlreadyFinished,
    ContenderEvaluated,
    FinalRunFinished,
    PackingChosen,
    Planned,
    StageStarted,
)
from tests.models import save_tiny_base_model
from tests.report import fixtures
from tests.search.fakes import FakeRunner

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def write_pairs(path: Path, n: int) -> Path:
    """Write pairs that can be told apart by one word; no pair stands in two files."""
    rows = [
        {
            "id": f"{path.stem}-{i}",
            "code1": f"def {path.stem}_{i}(a): return a",
            "code2": "clone" if i % 2 else "something quite different",
            "label": i % 2,
        }
        for i in range(n)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Base model and data files of all studies here."""
    folder = tmp_path_factory.mktemp("inputs")
    save_tiny_base_model("encoder-only", folder / "base")
    for split, n in (("train", 32), ("valid", 12), ("test", 16)):
        write_pairs(folder / f"{split}.jsonl", n)
    return folder


def request(inputs: Path, output: Path, **changes: object) -> TuningRequest:
    fields = {
        "task": "clone-detection",
        "base_model": str(inputs / "base"),
        "train": inputs / "train.jsonl",
        "valid": inputs / "valid.jsonl",
        "test": inputs / "test.jsonl",
        "methods": ("lora", "ia3"),
        "n_trials": 3,
        "max_steps": 4,
        "final_seeds": 2,
        "output": output,
        "device": "cpu",
        "pack": 1,
        "full_baseline": False,  # one more training for every study here; those that are about it ask for it
        "command": "peft-advisor tune ...",
        **changes,
    }
    return TuningRequest(**fields)


@pytest.fixture(scope="module")
def finished(inputs, tmp_path_factory):
    """Events, result and folder of a study that ran to its end."""
    events = []
    folder = tmp_path_factory.mktemp("studies") / "run"
    result = prepare(request(inputs, folder, full_baseline=True)).finish(events.append)
    return events, result, folder


def test_a_study_leaves_everything_in_its_folder(finished):
    _, result, folder = finished
    assert records.read(TuningResult, folder / "result.json") == result
    assert records.read(Recommendation, folder / "recommendation.json").task == "clone-detection"
    assert len(read_records(folder / "trials.jsonl")) == 3
    assert {path.name for path in folder.iterdir()} == {
        "best_adapter",
        "data_report.json",
        "finals",
        "finals.jsonl",
        "importance.json",
        "packing.json",
        "predictions",
        "recommendation.json",
        "report.html",
        "report.md",
        "report_files",
        "result.json",
        "study.db",
        "trials",
        "trials.jsonl",
    }
    assert {path.stem for path in (folder / "predictions").glob("*.jsonl")} == {
        "untuned-base-model",
        "majority-class",
        "linear-probe",
        "full-fine-tuning",
        "recommendation",
        "best-trial",
    }
    assert (folder / "best_adapter" / "adapter_model.safetensors").is_file()
    assert "clone" in (folder / "best_adapter" / "README.md").read_text()


def test_the_best_trials_are_trained_with_a_second_seed_and_the_mean_decides(finished):
    _, result, folder = finished
    trials = {record.number: record for record in read_records(folder / "trials.jsonl")}
    finals = result.finals
    assert finals is not None
    complete = {number for number, record in trials.items() if record.state == "complete"}
    assert {finalist.trial for finalist in finals.finalists} == complete
    assert (finals.seeds, finals.counted, finals.stopped) == ((0, 1), (0, 1), "all")
    lines = [json.loads(line) for line in (folder / "finals.jsonl").read_text().splitlines()]
    means = {line["trial"]: (trials[line["trial"]].value + line["value"]) / 2 for line in lines}
    assert set(means) == complete
    assert {line["seed"] for line in lines} == {1}
    assert all([report["step"] for report in line["reports"]] == [1, 2, 4] for line in lines)
    assert means[result.best_trial] == max(means.values())
    assert result.best_trial == 0 or means[result.best_trial] > means[0]


def test_winner_and_recommendation_are_compared_on_test_data_with_all_others(finished):
    _, result, _ = finished
    rows = {row.name: row for row in result.contenders}
    assert list(rows) == [
        "untuned base model", "majority class", "linear probe", "full fine-tuning", "recommendation", "best trial"
    ]  # fmt: skip
    assert rows["recommendation"].trial == 0
    assert rows["best trial"].trial == result.best_trial
    assert all(row.evaluation.n_examples == 16 for row in result.contenders)
    assert rows["majority class"].evaluation.metrics["accuracy"] == 0.5
    for name in ("recommendation", "best trial"):
        of_seeds = [one.evaluation.metrics["f1"] for one in rows[name].seeds]
        assert [one.seed for one in rows[name].seeds] == [0, 1]
        assert rows[name].evaluation.metrics["f1"] == pytest.approx(sum(of_seeds) / 2)
    against = {difference.against for difference in result.differences}
    expected = {"untuned base model", "majority class", "linear probe", "full fine-tuning"} | (
        {"recommendation"} if result.best_trial else set()
    )
    assert against == expected
    for difference in result.differences:
        gap = rows["best trial"].evaluation.metrics["f1"] - rows[difference.against].evaluation.metrics["f1"]
        assert difference.value == pytest.approx(gap)
        assert difference.n_seeds == 2


def test_every_adapter_meets_the_test_split_once(finished):
    events, result, _ = finished
    texts = [event.text for event in events if isinstance(event, StageStarted) and "test examples" in event.text]
    n_full = sum(len(row.seeds) for row in result.contenders if row.name == "full fine-tuning")
    # The untuned model, full fine-tuning, then two seeds of each trial.
    n_evaluated = 1 + n_full + 2 * len({0, result.best_trial})
    assert len(texts) == len(set(texts)) == n_evaluated


def test_the_adapter_of_the_seed_that_is_best_on_validation_data_gives_its_metric_when_peft_alone_loads_it(finished):
    _, result, folder = finished
    best = next(row for row in result.contenders if row.name == "best trial")
    delivered = max(best.seeds, key=lambda one: one.validation)
    assert result.reload_check.passed
    assert result.reload_check.expected == delivered.evaluation.metrics["f1"]
    assert result.threshold is not None
    assert result.threshold == delivered.evaluation.threshold == best.evaluation.threshold
    number = result.best_trial
    own = folder / "trials" / str(number) / "adapter"
    other = folder / "finals" / f"{number}-seed1" / "adapter"
    made = (own if delivered.seed == 0 else other) / "adapter_model.safetensors"
    assert (folder / "best_adapter" / "adapter_model.safetensors").read_bytes() == made.read_bytes()
    assert (
        own.joinpath("adapter_model.safetensors").read_bytes()
        != other.joinpath("adapter_model.safetensors").read_bytes()
    )


def test_the_result_says_what_was_done_with_what(finished, inputs):
    _, result, _ = finished
    assert result.plan.rung_steps == (1, 2, 4)
    assert result.stopped == "trials"
    assert result.command == "peft-advisor tune ..."
    assert result.search_duration_s > 0
    assert result.n_trials_finished == 3
    assert result.plan.final_seeds == 2
    assert result.data["train"].label_counts == {"0": 16, "1": 16}
    assert result.data["test"].path == str(inputs / "test.jsonl")
    assert {"python", "torch", "transformers", "peft", "optuna"} <= set(result.versions)


def test_the_plan_is_told_before_anything_else_and_then_every_trial(finished):
    events, result, folder = finished
    kinds = [type(event) for event in events]
    assert kinds.index(Planned) < kinds.index(ContenderEvaluated)
    planned = next(event for event in events if isinstance(event, Planned))
    assert planned.plan == result.plan
    assert planned.n_examples == {"train": 32, "valid": 12, "test": 16}
    assert planned.folder == folder
    assert planned.n_finalists == 3
    assert planned.expected_s is None
    assert (planned.study, planned.storage) == ("", "")
    assert sum(kind is TrialFinished for kind in kinds) == 3


def test_a_finished_study_is_only_reported_again(finished, inputs):
    _, result, folder = finished
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    (folder / "report.md").unlink()
    events = []
    assert prepare(request(inputs, folder)).finish(events.append) == result
    assert events == [AlreadyFinished(folder=folder, n_finished=3)]
    assert {path for path in folder.rglob("*") if path.is_file()} == set(before)
    assert (folder / "trials.jsonl").read_bytes() == before[folder / "trials.jsonl"]


def test_a_result_whose_adapter_failed_its_check_stays_an_error(finished, inputs, tmp_path):
    _, result, folder = finished
    shutil.copytree(folder, tmp_path / "run")
    broken = replace(result, reload_check=replace(result.reload_check, passed=False))
    records.write(broken, tmp_path / "run" / "result.json")
    with pytest.raises(ReloadCheckError, match=r"loaded by PEFT alone it gives .*; do not use it"):
        prepare(request(inputs, tmp_path / "run")).finish()


def test_a_best_trial_whose_adapter_was_deleted_is_one_line(finished, inputs, tmp_path):
    _, _, folder = finished
    shutil.copytree(folder, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "trials")
    (tmp_path / "run" / "result.json").unlink()
    with pytest.raises(AdvisorError, match=r"the adapter of trial \d is gone"):
        prepare(request(inputs, tmp_path / "run")).finish()


class FakeMemory:
    """A device of 4 GiB on which the step takes 3 GiB, whatever it is."""

    def __init__(self) -> None:
        self.n_measured = 0

    def reset(self) -> None: ...

    def synchronize(self) -> None: ...

    def peak_bytes(self) -> int:
        self.n_measured += 1
        return 3 * GIB

    def available_bytes(self) -> int:
        return 4 * GIB


@pytest.mark.slow
def test_on_a_device_that_reports_memory_one_step_is_measured_and_what_does_not_fit_is_not_started(
    inputs, tmp_path, monkeypatch
):
    memory = FakeMemory()
    monkeypatch.setattr("advisor.training.runner.device_memory", lambda device: memory)
    # A fresh process takes seconds and has nothing to do with memory.
    monkeypatch.setattr("advisor.training.reload.reload_check", lambda *_, **__: fixtures.result().reload_check)
    # Beside the context LoRA 2 GiB, (IA)3 3 GiB: measured 3 for every 2 estimated, so (IA)3 would take 4.5.
    sizes = {"lora": 2 * GIB, "ia3": 3 * GIB, "full": 4 * GIB}
    estimator = lambda candidate, step: replace(  # noqa: E731
        fixtures.estimate(),
        peak_memory_bytes=sizes[candidate.method] + CONTEXT_BYTES,
        peak_reserved_bytes=sizes[candidate.method],
    )
    monkeypatch.setattr("advisor.tuning.study_run.estimator_for", lambda task, device: estimator)
    events = []
    asked = request(inputs, tmp_path / "run", n_trials=6, max_steps=2, final_seeds=1, full_baseline=True)
    result = prepare(asked).finish(events.append)
    texts = [event.text for event in events if isinstance(event, StageStarted)]
    assert texts.count("measuring one training step of the recommendation") == 1
    assert texts[-1] == "loading the saved adapter in a fresh process, with PEFT alone"
    assert records.read(Probe, tmp_path / "run" / "probe.json") == result.probe
    assert result.probe is not None
    assert result.probe.candidate.method == "lora"
    assert "full fine-tuning" not in {row.name for row in result.contenders}
    assert (result.probe.measured_memory_bytes, result.probe.memory_ratio) == (3 * GIB, 1.5)
    assert result.probe.measured_step_s > 0
    trials = read_records(tmp_path / "run" / "trials.jsonl")
    assert {record.candidate.method for record in trials} == {"lora", "ia3"}
    for record in trials:
        assert (record.failure is not None) == (record.candidate.method == "ia3")
        assert record.failure is None or record.failure.kind == "infeasible"
    report = (tmp_path / "run" / "report.md").read_text()
    assert "Before the search one real step of the recommendation was measured" in report
    assert "infeasible" in report

    prepare(request(inputs, tmp_path / "run", n_trials=7, max_steps=2, final_seeds=1)).finish(lambda event: None)
    assert memory.n_measured == 1
    again = records.read(TuningResult, tmp_path / "run" / "result.json")
    assert again.probe == result.probe


def test_a_kill_after_the_measurement_leaves_a_folder_that_can_be_continued(inputs, tmp_path):
    (tmp_path / "run").mkdir()
    for name in ("probe.json", "recommendation.json"):
        (tmp_path / "run" / name).write_text("{}")
    prepare(request(inputs, tmp_path / "run"))


def test_on_a_cpu_nothing_is_measured(finished):
    events, result, folder = finished
    assert result.probe is None
    assert not (folder / "probe.json").exists()
    assert not [event for event in events if isinstance(event, StageStarted) and "measuring" in event.text]


@pytest.mark.slow
def test_more_trials_continue_a_study_without_evaluating_again_what_is_known(finished, inputs, tmp_path):
    _, result, folder = finished
    shutil.copytree(folder, tmp_path / "run")
    events = []
    more = prepare(request(inputs, tmp_path / "run", n_trials=4, full_baseline=True)).finish(events.append)
    assert sum(isinstance(event, TrialFinished) for event in events) == 1
    # With their durations: these are the rows of the first run, not equal ones.
    assert more.contenders[:4] == result.contenders[:4]
    assert more.contenders[4].seeds == result.contenders[4].seeds
    before = (folder / "finals.jsonl").read_text().splitlines()
    assert (tmp_path / "run" / "finals.jsonl").read_text().splitlines()[: len(before)] == before
    assert more.search_duration_s > result.search_duration_s
    assert more.reload_check.passed


@pytest.mark.slow
def test_another_seed_for_the_finals_trains_that_seed_alone(finished, inputs, tmp_path):
    _, result, folder = finished
    shutil.copytree(folder, tmp_path / "run")
    events = []
    more = prepare(request(inputs, tmp_path / "run", final_seeds=3)).finish(events.append)
    assert not any(isinstance(event, TrialFinished) for event in events)
    assert {event.run.seed for event in events if isinstance(event, FinalRunFinished)} == {2}
    assert more.finals is not None
    assert more.finals.counted == (0, 1, 2)
    rows = {row.name: row for row in more.contenders}
    assert [one.seed for one in rows["recommendation"].seeds] == [0, 1, 2]
    known = next(row for row in result.contenders if row.name == "recommendation")
    assert rows["recommendation"].seeds[:2] == known.seeds
    texts = [event.text for event in events if isinstance(event, StageStarted)]
    assert not [text for text in texts if "seed 0" in text and "recommendation" in text]


@pytest.mark.slow
def test_a_target_ends_the_search_when_a_trial_reaches_it(inputs, tmp_path):
    # Any complete trial reaches an F1 of 0.
    result = prepare(request(inputs, tmp_path / "run", target=0.0, final_seeds=1, n_trials=9)).finish()
    assert result.stopped == "target"
    assert result.n_trials_finished == 1
    assert result.plan.target == 0.0
    assert result.finals is not None
    assert result.finals.winner == 0
    events = []
    assert (
        prepare(request(inputs, tmp_path / "run", target=0.0, final_seeds=1, n_trials=9)).finish(events.append)
        == result
    )
    assert isinstance(events[0], AlreadyFinished)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seed": 1}, "seed: 0 then, 1 now"),
        ({"max_steps": 8}, "training steps"),
        ({"methods": ("lora",)}, "the searched methods or ranges differ"),
    ],
)
def test_other_settings_on_the_same_folder_are_refused(finished, inputs, changes, said):
    _, _, folder = finished
    with pytest.raises(InputError, match=said):
        prepare(request(inputs, folder, **changes))


def test_other_data_on_the_same_folder_are_refused(finished, inputs, tmp_path):
    _, _, folder = finished
    other = write_pairs(tmp_path / "other.jsonl", 12)
    with pytest.raises(InputError, match="the content of the valid file differs"):
        prepare(request(inputs, folder, valid=other))


def test_a_base_model_that_cannot_be_loaded_leaves_no_folder(inputs, tmp_path):
    shutil.copytree(inputs / "base", tmp_path / "base")
    (tmp_path / "base" / "model.safetensors").write_bytes(b"not weights")
    run = prepare(request(inputs, tmp_path / "run", base_model=str(tmp_path / "base")))
    with pytest.raises(AdvisorError):
        run.finish()
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_generation_study_runs_end_to_end(tmp_path):
    base = save_tiny_base_model("encoder-decoder", tmp_path / "base")
    for split, n in (("train", 4), ("valid", 2), ("test", 2)):
        rows = [{"source": f"def {split}{i}(): pass", "target": "Do nothing."} for i in range(n)]
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = tune(
        task="code-summarization",
        base_model=str(base),
        train=tmp_path / "train.jsonl",
        valid=tmp_path / "valid.jsonl",
        test=tmp_path / "test.jsonl",
        methods=("lora",),
        n_trials=1,
        max_steps=2,
        final_seeds=2,
        full_baseline=False,
        output=tmp_path / "run",
        device="cpu",
    )
    assert [(row.name, len(row.seeds)) for row in result.contenders] == [
        ("untuned base model", 0),
        ("nearest training example", 0),
        ("recommendation", 2),
        ("best trial", 2),
    ]
    assert result.reload_check.passed


@pytest.mark.slow
def test_a_decoder_is_asked_in_its_chat_template_from_training_to_the_printed_code(tmp_path):
    base = save_tiny_base_model("decoder-only", tmp_path / "base")
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.chat_template = "{% for m in messages %}{{ m.role[0] }}:{{ m.content }}\n{% endfor %}a:"
    tokenizer.save_pretrained(base)
    for split, n in (("train", 8), ("valid", 2), ("test", 2)):
        rows = [{"source": f"def {split}{i}(): pass", "target": f"name{i}"} for i in range(n)]
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = tune(
        task="method-naming",
        base_model=str(base),
        train=tmp_path / "train.jsonl",
        valid=tmp_path / "valid.jsonl",
        test=tmp_path / "test.jsonl",
        methods=("lora",),
        n_trials=1,
        max_steps=2,
        final_seeds=1,
        output=tmp_path / "run",
        device="cpu",
    )
    assert [row.name for row in result.contenders] == [
        "untuned base model",
        "nearest training example",
        "retrieved examples in context",
        "examples in context",
        "full fine-tuning",
        "recommendation",
        "best trial",
    ]
    assert result.reload_check.passed
    assert result.prompt is not None
    assert (result.prompt.name, result.prompt.before) == ("chat", "u:Give the method a name.\n\n")
    assert records.read(TuningResult, tmp_path / "run" / "result.json").prompt == result.prompt
    card = (tmp_path / "run" / "best_adapter" / "README.md").read_text()
    assert "chat template" in card
    assert f"marks({result.prompt.before!r})" in card
    predictions = {path.stem for path in (tmp_path / "run" / "predictions").glob("*.jsonl")}
    assert {"nearest-training-example", "retrieved-examples-in-context", "examples-in-context"} <= predictions


def command_line(inputs: Path, output: Path, n_trials: int, n_seeds: int = 2) -> list[str]:
    files = [part for split in ("train", "valid", "test") for part in (f"--{split}", str(inputs / f"{split}.jsonl"))]
    options = [
        "--trials",
        str(n_trials),
        "--max-steps",
        "4",
        "--final-seeds",
        "2",
        "--device",
        "cpu",
        "--output",
        str(output),
    ]
    model = ["--task", "clone-detection", "--model", str(inputs / "base"), "--method", "lora"]
    return [sys.executable, "-m", "advisor", "tune", *model, *files, *options, "--output", str(output)]


@pytest.mark.slow
def test_a_killed_tune_goes_on_where_it_was_and_repeats_no_finished_trial(inputs, tmp_path):
    child = subprocess.Popen(
        command_line(inputs, tmp_path / "run", 4), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert child.stderr is not None
    for line in child.stderr:
        if line.startswith("[2/4]"):  # two trials are finished
            child.send_signal(signal.SIGKILL)
            break
    child.communicate()
    before = (tmp_path / "run" / "trials.jsonl").read_bytes()
    assert before.count(b"\n") >= 2
    done = subprocess.run(
        command_line(inputs, tmp_path / "run", 4), capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    after = (tmp_path / "run" / "trials.jsonl").read_bytes()
    whole = before[: before.rfind(b"\n") + 1]
    assert after.startswith(whole)
    finished = read_records(tmp_path / "run" / "trials.jsonl")
    assert len(finished) == len({record.number for record in finished}) == 4
    assert "Continuing" in done.stderr
    assert "best trial" in done.stdout


@pytest.mark.slow
def test_a_kill_in_the_finals_loses_and_repeats_nothing_and_changes_no_value(inputs, tmp_path):
    command = command_line(inputs, tmp_path / "run", 2, n_seeds=3)
    child = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert child.stderr is not None
    for line in child.stderr:
        if line.startswith("[final 2/4]"):
            child.send_signal(signal.SIGKILL)
            break
    child.communicate()
    before = (tmp_path / "run" / "finals.jsonl").read_bytes()
    assert before.count(b"\n") >= 2
    prepare(request(inputs, tmp_path / "run", n_trials=2, final_seeds=3, methods=("lora",))).finish()
    after = (tmp_path / "run" / "finals.jsonl").read_bytes()
    assert after.startswith(before[: before.rfind(b"\n") + 1])
    whole = prepare(request(inputs, tmp_path / "whole", n_trials=2, final_seeds=3, methods=("lora",))).finish()
    values = {}
    for name in ("run", "whole"):
        lines = [json.loads(line) for line in (tmp_path / name / "finals.jsonl").read_text().splitlines()]
        values[name] = {(line["trial"], line["seed"]): line["reports"][-1]["metrics"] for line in lines}
        assert len(lines) == len(values[name]) == 4
    assert values["run"] == values["whole"]
    result = records.read(TuningResult, tmp_path / "run" / "result.json")
    assert result.finals == whole.finals


@pytest.mark.slow
def test_control_c_ends_at_the_next_rung_with_a_result_and_twice_ends_at_once(inputs, tmp_path):
    child = subprocess.Popen(
        command_line(inputs, tmp_path / "run", 50), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert child.stderr is not None
    for line in child.stderr:
        if line.startswith("[1/50]"):
            child.send_signal(signal.SIGINT)
            break
    out, err = child.communicate()
    assert child.returncode == 0, err
    assert "Ending at the next rung" in err
    assert "best trial" in out
    result = records.read(TuningResult, tmp_path / "run" / "result.json")
    assert result.stopped == "interrupted"

    again = subprocess.Popen(
        command_line(inputs, tmp_path / "run", 50), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert again.stderr is not None
    for line in again.stderr:
        if "step 1 of 4" in line:
            again.send_signal(signal.SIGINT)
        if "Ending at the next rung" in line:
            again.send_signal(signal.SIGINT)
            break
    _, err = again.communicate()
    assert again.returncode == 130, err
    assert "Traceback" not in err
    assert "goes on from there" in err


@pytest.mark.parametrize("slots", [1, 3])
def test_search_and_finals_share_the_time_that_there_is(inputs, tmp_path, slots):
    (tmp_path / "run").mkdir()
    runner = FakeRunner(slots=slots)
    began_s = runner.clock.now
    run = prepare(request(inputs, tmp_path / "run", n_trials=500, final_seeds=3), clock=runner.clock)
    budget = Budget(limit_s=84.0, so_far_s=0.0, evaluation_s=0.0, n_seeds=3, slots=slots)
    plan = replace(plan_of(run.request, run.settings, "fake"), time_limit_s=84.0)
    events = []
    outcome, finals, further = run._train(runner, plan, budget, lambda *_: None, events.append)
    assert further == []
    # A trial takes 4 s, so four finalists take 32 s with two more seeds: the search has 52 s.
    finals_s = 2 * 4 * -(-4 // slots)
    assert outcome.stopped == "time"
    assert 84 - finals_s - 8 <= outcome.duration_s <= 84 - finals_s
    assert finals is not None
    assert finals.stopped == "all"
    assert finals.counted == (0, 1, 2)
    assert len(finals.finalists) in (3, 4)
    assert runner.clock.now - began_s <= 84
    assert not runner.live


def test_too_little_time_leaves_the_finals_out_and_says_so(inputs, tmp_path):
    (tmp_path / "run").mkdir()
    runner = FakeRunner()
    run = prepare(request(inputs, tmp_path / "run", n_trials=500, final_seeds=3), clock=runner.clock)
    plan = replace(plan_of(run.request, run.settings, "fake"), time_limit_s=6.0)
    budget = Budget(limit_s=6.0, so_far_s=0.0, evaluation_s=0.0, n_seeds=3)
    outcome, finals, _ = run._train(runner, plan, budget, lambda *_: None, lambda event: None)
    assert outcome.stopped == "time"
    assert finals is not None
    assert (finals.stopped, finals.counted, finals.winner) == ("time", (0,), outcome.best.number)


@pytest.mark.slow
@pytest.mark.parametrize("pack", [3, None])
def test_a_study_of_packed_trials_ends_with_the_same_kinds_of_results(pack, inputs, tmp_path):
    events = []
    result = prepare(request(inputs, tmp_path / "run", pack=pack, n_trials=5)).finish(events.append)
    (chosen,) = [event.packing for event in events if isinstance(event, PackingChosen)]
    assert result.packing == chosen
    assert chosen.asked is (pack is not None)
    trials = read_records(tmp_path / "run" / "trials.jsonl")
    assert len(trials) == 5
    sizes = {report.pack_size for trial in trials for report in trial.reports}
    assert sizes == {1} if chosen.size == 1 else max(sizes) > 1
    assert result.reload_check.passed
    assert chosen.reason[1:] in (tmp_path / "run" / "report.md").read_text()


@pytest.mark.slow
def test_a_study_of_two_objectives_survives_a_kill_and_leaves_the_adapters_of_its_front(inputs, tmp_path):
    class Killed(BaseException):
        """Stands for the end of the process: nothing may catch it."""

    def die_at_the_second_trial(event: object) -> None:
        if isinstance(event, TrialStarted) and event.spec.number == 1:
            raise Killed

    wanted = request(
        inputs,
        tmp_path / "run",
        methods=("lora", "prompt-tuning"),
        objectives=("memory", "quality"),
        final_seeds=1,
    )
    with pytest.raises(Killed):
        prepare(wanted).finish(die_at_the_second_trial)
    (first,) = read_records(tmp_path / "run" / "trials.jsonl")
    events: list[object] = []
    result = prepare(wanted).finish(events.append)
    trials = read_records(tmp_path / "run" / "trials.jsonl")
    assert trials[0] == first
    assert [one.number for one in trials] == [0, 1, 2]
    assert {one.state for one in trials} == {"complete"}
    assert (result.plan.objectives, result.plan.pruner) == (("quality", "memory"), "NopPruner")
    forms = {one.candidate.method: one.inference.form for one in trials}
    assert forms.items() <= {"lora": "merged", "prompt-tuning": "adapter"}.items()
    assert result.trade_offs is not None
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{tmp_path / 'run' / 'study.db'}")
    assert {trial.number for trial in study.best_trials} == set(result.trade_offs.front)
    for number in result.trade_offs.front:
        assert (tmp_path / "run" / "trials" / str(number) / "adapter" / "adapter_model.safetensors").is_file()
    assert result.best_trial == result.trade_offs.front[0]
    assert result.contenders[-1].trial == result.best_trial
    for report in ("report.html", "report.md"):
        assert "Trade-offs" in (tmp_path / "run" / report).read_text()
    with pytest.raises(InputError, match=r"objectives: \['quality', 'memory'\] then, \['quality'\] now"):
        prepare(replace(wanted, objectives=("quality",)))
