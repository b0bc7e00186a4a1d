"""`peft-advisor tune`: every mistake is one line with exit code 2, and leaves nothing behind."""

import json
import os
import sys
from pathlib import Path

import pytest

from advisor import execution
from advisor.errors import InputError
from advisor.execution import SandboxError
from advisor.recommendation import recommend
from advisor.records import dumps
from advisor.spec import Budget, CodeTask
from tests.cli.test_cli import run

LABELLED = [{"code1": f"def f{i}(): pass", "code2": f"def g{i}(): pass", "label": i % 2} for i in range(4)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with three data files, a base model's config, and a file that is not a folder."""
    monkeypatch.chdir(tmp_path)
    for split in ("train", "valid", "test"):
        rows = [dict(row, code1=f"{row['code1']} # {split}") for row in LABELLED]
        Path(f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    Path("broken.jsonl").write_text('{"code": "x", "label": 1}\n')
    Path("taken").write_text("a file")
    Path("mine").mkdir()
    Path("mine/thesis.tex").write_text("not to be touched")
    return tmp_path


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in sorted(folder.rglob("*"))}


DATA = ("--train", "train.jsonl", "--valid", "valid.jsonl", "--test", "test.jsonl")
TASK = ("--task", "clone-detection", "--model", "microsoft/codebert-base")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "nothing to tune"),
        (TASK, "--train and --valid and --test missing"),
        ((*TASK, *DATA[:4]), "--test missing"),
        ((*TASK, *DATA[:5], "gone.jsonl"), "--test: gone.jsonl does not exist"),
        (("--task", "cloning", *DATA), "unknown task 'cloning'; nearest: clone-detection"),
        ((*TASK, *DATA[:5], "broken.jsonl"), "broken.jsonl: line 1: no field 'code1', 'code2'"),
        (
            (*TASK, *DATA, "--allow-execution"),
            "--allow-execution: answers of clone-detection are no programs; it is for",
        ),
        ((*TASK, *DATA, "--output", "taken"), "taken is a file, not a folder"),
        ((*TASK, *DATA, "--output", "taken/run"), "taken is a file, not a folder"),
        ((*TASK, *DATA, "--output", "mine"), "mine holds other files ('thesis.tex')"),
        (("rec.json", *TASK, *DATA), "--task and a recommendation file exclude each other"),
        ((*TASK, "--model", "microsoft/codebert-bas", *DATA), "unknown base model 'microsoft/codebert-bas'; nearest"),
        ((*TASK, "--quantization", "2bit", *DATA), "'2bit' is not one of 'none', '4bit', '8bit'"),
        ((*TASK, "--quantization", "4bit", "--method", "vera", *DATA), "'vera' does not work on a quantized base"),
        (("--demo", "--quantization", "4bit"), "--demo and --quantization exclude each other"),
        (("--demo", "--model", "a", "--model", "b"), "--demo and --model exclude each other"),
        (("--demo", "--sample", "9"), "--demo and --sample exclude each other"),
        ((*TASK, *DATA, "--split", "80/10/10"), "--split: train, valid, test are there already"),
        ((*TASK, *DATA, "--map", "code1"), "--map 'code1': give FIELD=COLUMN"),
        ((*TASK, *DATA, "--map", "code1=first"), "train.jsonl: --map code1=first: no such column"),
        ((*TASK, "--train", "mine"), "mine: no file of a split there"),
        ((*TASK, "--train", "train.jsonl", "--split", "90/10"), "give three shares such as 80/10/10"),
        (("gone.json", *DATA), "gone.json: cannot be read"),
        (("train.jsonl", *DATA), "train.jsonl: not valid JSON"),
        ((*TASK, *DATA, "--time", "soon"), "--time: 'soon' is not a duration"),
        ((*TASK, *DATA, "--time", "0s"), "--time: '0s' is not a duration"),
        ((*TASK, *DATA, "--trials", "0"), "--trials: 0 is less than 1"),
        ((*TASK, *DATA, "--trials", "many"), "'many' is not a valid integer"),
        ((*TASK, *DATA, "--max-steps", "0"), "--max-steps: 0 is less than 1"),
        ((*TASK, *DATA, "--gpu-hours", "0"), "--gpu-hours: 0 is not a time limit"),
        ((*TASK, *DATA, "--gpu-hours", "nan"), "--gpu-hours: nan is not a time limit"),
        ((*TASK, *DATA, "--gpu-hours", "2h"), "'2h' is not a valid float"),
        ((*TASK, *DATA, "--target", "nan"), "--target: nan is not a value of a metric"),
        ((*TASK, *DATA, "--target", "high"), "'high' is not a valid float"),
        ((*TASK, *DATA, "--objective", "speed"), "'speed' is not one of 'quality', 'memory', 'latency'"),
        ((*TASK, *DATA, "--objective", "memory"), "--objective: memory given; name quality"),
        ((*TASK, *DATA, "--final-seeds", "0"), "--final-seeds: 0 is less than 1"),
        ((*TASK, *DATA, "--seed", "-1"), "--seed: -1 is not between"),
        ((*TASK, *DATA, "--method", "lara"), "unknown method 'lara'; nearest: lora"),
        ((*TASK, *DATA, "--method", "lora", "--method", "lara"), "unknown method 'lara'; nearest: lora"),
        (("--task", "clone-detection", "--model", "./gone", *DATA), "gone"),
        (("--demo", "--train", "train.jsonl"), "--demo and --train exclude each other"),
        (("--demo", "rec.json"), "--demo and a recommendation file exclude each other"),
        (("--demo", "--task", "defect-detection"), "unknown demonstration task 'defect-detection'"),
        (("--demo", "--output", "mine"), "mine holds other files"),
        (("--demo", "--method", "lara"), "unknown method 'lara'"),
        (("--demo", "--seed", "-1"), "--seed: -1 is not between"),
        ((*TASK, *DATA, "--device", "tpu"), "--device"),
        ((*TASK, "--train", "gone.jsonl", "--track", "comet"), "--track: comet is not one of mlflow, tensorboard"),
    ],
)
def test_a_mistake_is_one_line_with_exit_code_2_and_leaves_no_file(folder, capsys, arguments, said):
    before = everything(folder)
    code, out, err = run(capsys, "tune", *arguments)
    error = [line for line in err.splitlines() if not line.startswith(("Data of the demo", "Loading PyTorch"))]
    assert (code, out) == (2, "")
    assert len(error) == 1
    assert error[0].startswith("error: ")
    assert said in error[0]
    assert everything(folder) == before


@pytest.mark.parametrize(
    ("option", "wanted"), [((), True), (("--no-full-baseline",), False), (("--full-baseline",), True)]
)
def test_full_fine_tuning_is_a_baseline_unless_it_is_refused(folder, capsys, monkeypatch, option, wanted):
    asked = []

    def prepare(request):
        asked.append(request.full_baseline)
        raise InputError("no further")

    monkeypatch.setattr("advisor.tuning.prepare", prepare)
    run(capsys, "tune", *TASK, *DATA, *option)
    assert asked == [wanted]


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs a folder that not even root can write")
def test_an_unwritable_folder_is_one_line(folder, capsys):
    code, _, err = run(capsys, "tune", *TASK, *DATA, "--output", "/proc/run")
    assert code == 2
    assert err.count("\n") == 1
    assert "/proc/run cannot be written" in err


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_one_line(folder, capsys):
    Path("closed").mkdir(mode=0o500)
    code, _, err = run(capsys, "tune", *TASK, *DATA, "--output", "closed/run")
    assert code == 2
    assert "closed/run cannot be written" in err


def test_a_recommendation_without_the_wanted_method_is_one_line(folder, capsys):
    task = CodeTask(task="clone-detection", budget=Budget(), base_model="microsoft/codebert-base", method="lora")
    Path("rec.json").write_text(dumps(recommend(task)))
    code, _, err = run(capsys, "tune", "rec.json", *DATA, "--method", "ia3")
    assert code == 2
    assert "--method: ia3 cannot be searched; the recommendation holds lora" in err


def test_a_missing_file_with_a_hostile_name_does_not_reach_the_terminal_raw(folder, capsys):
    _, _, err = run(capsys, "tune", *TASK, *DATA[:5], "evil\x1b[2J\nname.jsonl")
    assert "\x1b" not in err
    assert err.count("\n") == 1


def write_problems(folder: Path, **tests: object) -> None:
    for n, split in enumerate(("train", "valid", "test")):
        row = {"source": f"Add {n}.", "target": f"def f(x): return x + {n}", **tests}
        (folder / f"{split}.jsonl").write_text(json.dumps(row) + "\n")


GENERATION = ("tune", "--task", "code-generation", "--model", "Salesforce/codet5-small", *DATA, "--allow-execution")


def test_permission_to_run_programs_that_have_no_tests_is_one_line(folder, capsys):
    write_problems(folder)
    code, _, err = run(capsys, *GENERATION)
    assert (code, err.count("\n")) == (2, 1)
    assert "no valid or test row has tests" in err


@pytest.mark.skipif(sys.platform == "win32", reason="generated programs are not run on Windows")
def test_a_machine_without_a_sandbox_is_one_line_with_exit_code_2(folder, capsys, monkeypatch):
    def refused():
        raise SandboxError("the sandbox could not be made: user namespaces are off")

    write_problems(folder, test="assert f(0) >= 0")
    monkeypatch.setattr(execution, "protection", refused, raising=False)
    before = everything(folder)
    code, _, err = run(capsys, *GENERATION)
    assert (code, err.count("\n")) == (2, 1)
    assert "--allow-execution: the sandbox could not be made: user namespaces are off" in err
    assert everything(folder) == before
