"""`peft-advisor tune --on-adapter` and `--fuse`: every mistake is one line with exit code 2, and no model is loaded."""

import json
import sys
from pathlib import Path

import pytest

from advisor.errors import InputError
from advisor.recommendation import recommend
from advisor.records import dumps
from advisor.spec import Budget, CodeTask
from tests.adapter_folders import write_adapter
from tests.cli.test_cli import run

BASE = "microsoft/codebert-base"
DATA = ("--train", "train.jsonl", "--valid", "valid.jsonl", "--test", "test.jsonl")
TASK = ("--task", "clone-detection", "--model", BASE)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with data and some adapters: two that go together and others that do not."""
    monkeypatch.chdir(tmp_path)
    for split in ("train", "valid", "test"):
        rows = [{"code1": f"def f{i}(): {split}", "code2": f"def g{i}(): pass", "label": i % 2} for i in range(4)]
        Path(f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_adapter(tmp_path / "java", BASE)
    write_adapter(tmp_path / "python" / "best_adapter", BASE, seed=1)
    write_adapter(tmp_path / "houlsby", BASE, seed=2, placement="houlsby")
    write_adapter(tmp_path / "lora", BASE, seed=3, peft_type="LORA")
    write_adapter(tmp_path / "unixcoder", "microsoft/unixcoder-base", seed=4)
    (tmp_path / "empty").mkdir()
    (tmp_path / "rec.json").write_text(
        dumps(recommend(CodeTask(task="clone-detection", budget=Budget(), method="lora")))
    )
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((*TASK, "--method", "adapter-stack"), "is made of trained adapters; name them with --on-adapter DIR"),
        ((*TASK, "--method", "adapter-fusion"), "name them with --fuse DIR --fuse DIR"),
        ((*TASK, "--method", "lora", "--method", "adapter-stack"), "adapter-stack: is made of trained adapters"),
        (
            (*TASK, "--on-adapter", "java", "--method", "lora"),
            "--method 'lora': --on-adapter means adapter-stack; leave",
        ),
        ((*TASK, "--fuse", "java", "--fuse", "python", "--method", "adapter-stack"), "--fuse means adapter-fusion"),
        ((*TASK, "--on-adapter", "java", "--fuse", "python"), "--on-adapter and --fuse exclude each other"),
        ((*TASK, "--fuse", "java"), "--fuse 'java': a fusion is of two adapters or more"),
        ((*TASK, "--model", "bert", "--on-adapter", "java"), "--model: trained adapters go with one base model"),
        ((*TASK, "--on-adapter", "gone"), "--on-adapter 'gone': does not exist; name the folder of a trained adapter"),
        ((*TASK, "--on-adapter", "train.jsonl"), "--on-adapter 'train.jsonl': is a file, not a folder"),
        ((*TASK, "--on-adapter", "empty"), "--on-adapter 'empty': has no adapter_config.json"),
        ((*TASK, "--on-adapter", "lora"), "--on-adapter 'lora': is a 'LORA' adapter"),
        ((*TASK, "--fuse", "java", "--fuse", "java"), "--fuse 'java': is there twice"),
        ((*TASK, "--fuse", "java", "--fuse", "houlsby"), "name adapters of one placement"),
        ((*TASK, "--fuse", "java", "--fuse", "unixcoder"), "name adapters of one base model"),
        (
            (*TASK, "--on-adapter", "unixcoder"),
            f"was trained on 'microsoft/unixcoder-base', and the study is on '{BASE}'; give adapters of that base",
        ),
        ((*TASK, "--on-adapter", "java", "--quantization", "4bit"), "does not work on a quantized base"),
        (("rec.json", "--on-adapter", "java"), "adapter-stack cannot be searched; the recommendation holds lora"),
        (("--task", "code-summarization", "--on-adapter", "java"), "cannot do code-summarization"),
    ],
)
def test_a_mistake_is_one_line_with_exit_code_2_and_leaves_no_file(folder, capsys, arguments, said):
    before = sorted(folder.rglob("*"))
    code, out, err = run(capsys, "tune", *arguments, *DATA)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert said in err
    assert sorted(folder.rglob("*")) == before


def asked(monkeypatch, capsys, *arguments):
    """Return the request that a command line becomes."""
    found = []

    def prepare(request):
        found.append(request)
        raise InputError("no further")

    monkeypatch.setattr("advisor.tuning.prepare", prepare)
    monkeypatch.setattr(sys, "argv", ["peft-advisor", *arguments])
    run(capsys, "tune", *arguments)
    return found[0]


def test_the_folders_reach_the_request_in_their_order(folder, capsys, monkeypatch):
    stacked = asked(monkeypatch, capsys, *TASK, *DATA, "--on-adapter", "python", "--on-adapter", "java")
    assert (stacked.on_adapters, stacked.fuse) == ((Path("python"), Path("java")), ())
    same = ("--method", "adapter-fusion", "--fuse", "java", "--fuse", "python")
    fused = asked(monkeypatch, capsys, *TASK, *DATA, *same)
    assert (fused.on_adapters, fused.fuse, fused.methods) == ((), (Path("java"), Path("python")), ("adapter-fusion",))


def test_a_recommendation_says_that_trained_adapters_are_needed(capsys):
    code, out, _ = run(
        capsys, "recommend", "--task", "clone-detection", "--model", BASE, "--vram", "8", "--method", "adapter-fusion"
    )
    assert code == 0
    assert "with --fuse DIR --fuse DIR: the trained adapters that it is made of" in out
