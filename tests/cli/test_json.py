"""`--json` of every command: stdout holds one JSON document and nothing else, progress and logs stay on stderr."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from advisor.cli import COMMANDS, group
from advisor.report.intervals import metric_intervals
from advisor.result import TuningResult
from advisor.tuning.events import StageStarted
from advisor.tuning.prediction import PredictionProgress, PredictionSummary, RowPrediction
from tests.cli.test_cli import run
from tests.report import fixtures
from tests.report.test_intervals import scored_run

# A command without `--json` stands here with the reason.
WITHOUT = {"dashboard": "a page for people that is served until Ctrl-C"}
TASK = ("--task", "defect-detection")


def commands(of: click.Group = group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the words of every command that does something."""
    context = click.Context(of)
    for name in of.list_commands(context):
        found = of.get_command(context, name)
        if isinstance(found, click.Group):
            yield from commands(found, (*path, name))
        else:
            yield (*path, name)


def found_command(words: tuple[str, ...]) -> click.Command:
    found: click.Command = group
    for word in words:
        assert isinstance(found, click.Group)
        inner = found.get_command(click.Context(found), word)
        assert inner is not None
        found = inner
    return found


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_every_command_has_json(words):
    names = {name for one in found_command(words).params for name in one.opts}
    assert ("--json" in names) != (words[0] in WITHOUT)


class FakeRun:
    """A request of `tune` that was checked; its study is the one of the fixtures."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def finish(self, view) -> TuningResult:
        view(StageStarted(text="loading PyTorch and the base model"))
        logging.getLogger("advisor.tuning").warning("something odd")
        result = fixtures.run_folder().result
        assert result is not None
        return result


class FakePrediction:
    """A request of `predict` that was checked, with two rows."""

    class rows:
        n_rows = 2

    n_done = 0
    made = (RowPrediction(row=0, id="a", prediction="1", score=0.75), RowPrediction(row=1, prediction="0", score=0.5))

    def __init__(self, output: Path | None) -> None:
        self.output = output

    def predictions(self, view) -> Iterator[list[RowPrediction]]:
        view(PredictionProgress(n_done=2, n_new=2, n_rows=2, elapsed_s=1.0))
        yield [self.made[0]]
        yield [self.made[1]]

    def write(self, view) -> PredictionSummary:
        return PredictionSummary(output=str(self.output), n_rows=2, n_new=2, n_blank=0)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working directory with a run folder, data and a recommendation; training is a fake."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PEFT_ADVISOR_DATA", str(tmp_path / "data"))
    for forced in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(forced, raising=False)
    fixtures.write_run(Path("run"))
    Path("train.jsonl").write_text('{"code": "a", "label": 1}\n{"code": "b", "label": 0}\n')
    monkeypatch.setattr("advisor.tuning.prepare", lambda request: FakeRun(Path("run")))
    monkeypatch.setattr("advisor.tuning.prediction.prepare_prediction", lambda request: FakePrediction(request.output))
    return tmp_path


CALLS: dict[str, tuple[str, ...]] = {
    "recommend": ("recommend", *TASK, "--vram", "24", "--output", "rec.json"),
    "estimate": ("estimate", "--model", "microsoft/codebert-base"),
    "check-data": ("check-data", *TASK, "--train", "train.jsonl"),
    "tune": ("tune", *TASK, "--train", "train.jsonl", "--split", "80/10/10"),
    "predict": ("predict", "run", "--input", "train.jsonl"),
    "report": ("report", "run"),
    "export": ("export", "run", "--to", "peft"),
    "doctor": ("doctor",),
    "evidence show": ("evidence", "--task", "clone-detection", "--method", "lora"),
    "evidence add": ("evidence", "add", "run"),
    "evidence list-local": ("evidence", "list-local"),
    "evidence remove-local": ("evidence", "remove-local", "--all"),
}  # fmt: skip
# Pushing talks to the hub and a worker to a database; their own tests look at what they print.
ELSEWHERE = {"push", "worker"}


def test_the_list_of_calls_has_every_command():
    assert set(CALLS) == {" ".join(words) for words in commands() if words[0] not in {*WITHOUT, *ELSEWHERE}}
    assert set(COMMANDS) == {name.split()[0] for name in CALLS} | ({*WITHOUT, *ELSEWHERE} & set(COMMANDS))


@pytest.mark.slow
@pytest.mark.parametrize("name", list(CALLS))
def test_stdout_is_one_json_document_however_much_is_logged(place, capfd, name):
    codes = (0, 1) if name in ("check-data", "doctor") else (0,)  # these say by 1 what they found
    plain_code, plain, _ = run(capfd, *CALLS[name], "--json")
    assert plain_code in codes
    assert json.loads(plain) is not None
    assert "\x1b" not in plain
    for loudness in ("--quiet", "--verbose"):
        if name == "evidence remove-local":
            run(capfd, *CALLS["evidence add"])
        code, out, err = run(capfd, loudness, *CALLS[name], "--json")
        assert code == plain_code
        assert json.loads(out).keys() == json.loads(plain).keys() if isinstance(json.loads(plain), dict) else True
        assert "\x1b" not in out + err


@pytest.mark.parametrize("name", ["recommend", "evidence show", "export", "report"])
def test_quiet_leaves_stdout_as_it_is(place, capsys, name):
    for option in ((), ("--json",)):
        _, loud, _ = run(capsys, *CALLS[name], *option)
        _, quiet, _ = run(capsys, "--quiet", *CALLS[name], *option)
        assert loud == quiet


@pytest.mark.parametrize("colour", ["FORCE_COLOR", "CLICOLOR_FORCE"])
def test_progress_under_json_is_plain_lines_even_where_colours_are_forced(place, capfd, monkeypatch, colour):
    monkeypatch.setenv(colour, "1")
    for name in ("tune", "predict"):
        code, out, err = run(capfd, *CALLS[name], "--json")
        assert code == 0
        assert "oading PyTorch" in err
        assert "\x1b" not in out + err


def test_the_outcome_of_tune_has_verdict_metrics_with_intervals_and_paths(place, capsys):
    _, out, _ = run(capsys, *CALLS["tune"], "--json")
    found, result = json.loads(out), fixtures.run_folder().result
    assert result is not None
    assert (found["schema_version"], found["folder"], found["finished"]) == (1, "run", True)
    assert found["verdict"]["headline"]
    assert found["best"]["number"] == result.best_trial
    assert found["best"]["candidate"]["method"] == "lora"
    assert [row["name"] for row in found["contenders"]] == [row.name for row in result.contenders]
    for row, expected in zip(found["contenders"], result.contenders, strict=True):
        assert {name: value["value"] for name, value in row["metrics"].items()} == expected.evaluation.metrics
    assert [one["low"] for one in found["differences"]] == [one.low for one in result.differences]
    assert found["reload_check"]["passed"] is True
    assert all(Path(path).exists() for path in found["paths"].values())
    assert found["paths"]["trials"] == "run/trials.jsonl"
    assert "\u00a0" not in json.dumps(found["verdict"], ensure_ascii=False)


def test_metrics_have_the_intervals_of_the_report(place, capsys):
    """Where the predictions on record give the values on record; those of the other fixtures are invented."""
    scored = scored_run(60)
    fixtures.write_run(Path("scored"), scored)
    intervals = metric_intervals(scored)
    assert intervals is not None
    _, out, _ = run(capsys, "report", "scored", "--json")
    rows = {row["name"]: row["metrics"] for row in json.loads(out)["contenders"]}
    assert {(name, metric) for name, metrics in rows.items() for metric in metrics} == set(intervals.found)
    for (name, metric), interval in intervals.found.items():
        assert rows[name][metric] == {
            "value": pytest.approx(interval.value),
            "low": interval.low,
            "high": interval.high,
        }


def test_report_prints_the_same_record_and_says_of_a_running_study_that_it_is_not_finished(place, capsys):
    _, tuned, _ = run(capsys, *CALLS["tune"], "--json")
    _, reported, _ = run(capsys, *CALLS["report"], "--json")
    assert json.loads(reported) == json.loads(tuned) | {"paths": json.loads(reported)["paths"]}
    assert json.loads(reported)["paths"]["report_html"] == "run/report.html"
    fixtures.write_run(Path("running"), fixtures.run_folder(result=None))
    _, out, _ = run(capsys, "report", "running", "--json")
    found = json.loads(out)
    assert (found["finished"], found["contenders"], found["reload_check"]) == (False, [], None)
    assert found["verdict"]["kind"] == "unfinished"
    assert sum(found["n_trials"].values()) == len(fixtures.trials())


def test_predictions_are_one_array_and_with_output_a_summary(place, capsys):
    _, out, _ = run(capsys, *CALLS["predict"], "--json")
    assert json.loads(out) == [
        {"row": 0, "id": "a", "prediction": "1", "score": 0.75}, {"row": 1, "prediction": "0", "score": 0.5}
    ]  # fmt: skip
    _, lines, _ = run(capsys, *CALLS["predict"])
    assert [json.loads(line) for line in lines.splitlines()] == json.loads(out)
    _, out, _ = run(capsys, *CALLS["predict"], "--output", "out.jsonl", "--json")
    assert json.loads(out) == {"output": "out.jsonl", "n_rows": 2, "n_new": 2, "n_blank": 0}


def test_no_predictions_are_an_empty_array(place, capsys, monkeypatch):
    monkeypatch.setattr(FakePrediction, "predictions", lambda self, view: iter(()))
    assert run(capsys, *CALLS["predict"], "--json")[1] == "[]\n"


def test_an_export_as_json_has_all_files_with_their_texts_or_paths(place, capsys):
    _, text, _ = run(capsys, *CALLS["export"])
    _, out, _ = run(capsys, *CALLS["export"], "--json")
    (file,) = json.loads(out)["files"]
    assert (json.loads(out)["to"], file["text"]) == ("peft", text)
    _, out, _ = run(capsys, *CALLS["export"], "--output", "new.py", "--json")
    assert json.loads(out)["files"] == [{"name": file["name"], "path": "new.py"}]
    assert Path("new.py").read_text() == text


def test_own_evidence_is_added_listed_and_removed_as_json(place, capsys):
    _, out, err = run(capsys, *CALLS["evidence add"], "--json")
    added = json.loads(out)
    assert (added["n_replaced"], err) == (0, "")
    _, listed, _ = run(capsys, *CALLS["evidence list-local"], "--json")
    assert [row["id"] for row in json.loads(listed)] == added["ids"]
    assert {row["study"] for row in json.loads(listed)} == {added["study"]}
    assert json.loads(run(capsys, *CALLS["evidence add"], "--json")[1])["n_replaced"] == len(added["ids"])
    _, out, err = run(capsys, *CALLS["evidence remove-local"], "--json")
    assert (json.loads(out), err) == ({"n_removed": len(added["ids"])}, "")


@pytest.mark.parametrize(
    "arguments",
    [
        ("recommend", "--task", "cloning", "--vram", "24", "--json"),
        ("report", "nowhere", "--json"),
        ("export", "nowhere.json", "--to", "peft", "--json"),
        ("evidence", "remove-local", "nothing", "--json"),
        ("predict", "run", "--json"),
    ],
)
def test_a_mistake_under_json_is_one_line_on_stderr_and_nothing_on_stdout(place, capsys, arguments):
    code, out, err = run(capsys, *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("error: ")
