"""`check-data` tells a person and a machine the same, and ends with a code that says whether the data is usable."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from advisor import records
from advisor.cli import main
from advisor.data.findings import DataReport
from advisor.demo import base_model_path
from tests.data.rows import write_rows


def run(*args: object) -> int:
    """Run the command in this process and return its exit code."""
    try:
        main(["check-data", "--task", "defect-detection", *map(str, args)])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for split, start, n in (("train", 0, 40), ("valid", 38, 10), ("test", 100, 10)):
        rows = (
            {"id": f"r{i}", "func": f"int f{i}()", "target": i % 2, "project": i % 5} for i in range(start, start + n)
        )
        write_rows(tmp_path / f"{split}.jsonl", *rows)
    return tmp_path


def test_a_usable_dataset_ends_with_zero_and_says_what_is_odd(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--train", folder) == 0
    out = capsys.readouterr().out
    assert "warning  2 of 10 valid rows stand in the train split too" in out
    assert "not done lengths in tokens: no model was named" in out
    assert out.rstrip().endswith("0 errors, 1 warning, 0 notes")


def test_errors_in_the_data_end_with_one(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_rows(folder / "valid.jsonl", {"func": "x", "target": 2})
    assert run("--train", folder) == 1
    assert "error    " in capsys.readouterr().out
    write_rows(folder / "valid.jsonl", {"func": "x"})
    assert run("--train", folder) == 1
    assert "line 1: no field 'label'" in capsys.readouterr().out


@pytest.mark.parametrize(
    "args",
    [
        (),
        ("--train", "nosuch.jsonl"),
        ("--train", "x.jsonl", "--split", "all"),
        ("--train", "x.jsonl", "--map", "code"),
        ("--train", "x.jsonl", "--dedup", "no"),
        ("--train", "x.jsonl", "--sample", "0"),
    ],
)
def test_a_wrong_command_ends_with_two_and_one_line(args: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*args) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1


def test_the_json_is_the_report_on_stdout_and_in_the_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--train", folder, "--json", "--output", folder / "report.json") == 0
    out = capsys.readouterr().out
    report = records.from_plain(DataReport, json.loads(out))
    assert report == records.read(DataReport, folder / "report.json")
    assert report.splits["train"].n_examples == 40


def test_splitting_sampling_and_dropping_are_done_before_the_checks(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut = ("--train", folder / "train.jsonl", "--split", "60/20/20", "--group-by", "project", "--map", "code=func")
    assert run(*cut, "--seed", 1, "--json") == 0
    report = records.from_plain(DataReport, json.loads(capsys.readouterr().out))
    assert [facts.n_examples for facts in report.splits.values()] == [24, 8, 8]
    assert run("--train", folder, "--dedup", "exact", "--sample", 30, "--json") == 0
    report = records.from_plain(DataReport, json.loads(capsys.readouterr().out))
    assert len(report.changes) == 2
    assert all(overlap.n_exact == 0 for overlap in report.overlaps)


def test_lengths_are_measured_with_the_tokenizer_of_a_model(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--train", folder, "--model", base_model_path("encoder-only"), "--json") == 0
    report = records.from_plain(DataReport, json.loads(capsys.readouterr().out))
    (lengths,) = report.splits["train"].token_lengths
    # "int f7()" has at least the tokens int, f, 7 and (); at most one for each character.
    assert 4 <= lengths.p50 <= 8
    assert run("--train", folder, "--model", folder / "nosuch") == 2
    assert "its tokenizer cannot be loaded" in capsys.readouterr().err


def test_what_a_terminal_would_act_on_is_not_printed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hostile = {"func": "int f38()", "target": "\u202e\x1b[31m", "id": "\x1b]0;title\x07"}
    write_rows(folder / "train.jsonl", hostile, {"func": "int  f38()", "target": "b", "id": "\x1b]0;title\x07"})
    write_rows(folder / "valid.jsonl", {"func": "int f38()", "target": "b"})
    write_rows(folder / "test.jsonl", {"func": "int f38()", "target": "c"})
    assert run("--train", folder) == 1
    out = capsys.readouterr().out
    assert "repeat the input" in out
    assert "\x1b]" not in out
    assert "\x1b[31m" not in out
    assert "\u202e" not in out


def test_the_command_does_not_load_torch(folder: Path) -> None:
    code = (
        "import sys\nfrom advisor.cli import main\n"
        f"main(['check-data', '--task', 'defect-detection', '--train', {str(folder)!r}])\n"
        "print('torch' in sys.modules, 'transformers' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ, "TERM": "dumb"}
    )
    assert done.stdout.rstrip().endswith("False False")
