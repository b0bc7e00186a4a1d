"""The folder of live trials holds one whole round, and nothing that nobody needs."""

import json
import logging
from pathlib import Path

import optuna
import pytest

from advisor.errors import DataError
from advisor.search.asking import ask, spec_of
from advisor.search.checkpoints import Checkpoints, Round
from advisor.search.live_trial import LiveTrial
from advisor.trial import RungReport, TrialFailure
from tests.search.fakes import FakeRunner, settings


@pytest.fixture
def live() -> list[LiveTrial]:
    """Two live trials that have not begun."""
    study = optuna.create_study(direction="maximize")
    trials = [ask(study, settings(), 2) for _ in range(2)]
    return [
        LiveTrial(
            trial=trial,
            spec=spec_of(trial, settings()),
            origin="recommendation",
            is_recommendation=trial.number == 0,
            started_at="2026-01-01T00:00:00+00:00",
        )
        for trial in trials
    ]


def round_of(runner: FakeRunner, live: list[LiveTrial]) -> None:
    """Let a runner bring the trials to their next rung."""
    for report in runner.advance():
        live[report.number].reports.append(report)
        live[report.number].is_undecided = True


def started(live: list[LiveTrial]) -> FakeRunner:
    runner = FakeRunner(slots=2)
    for trial in live:
        runner.start(trial.spec)
    return runner


def kept(folder: Path) -> set[str]:
    return {str(path.relative_to(folder / "live")) for path in (folder / "live").rglob("*")}


def test_what_is_written_is_read_back_by_another_process(tmp_path, live):
    runner = started(live)
    round_of(runner, live)
    Checkpoints(tmp_path).write(runner, live)
    last = Checkpoints(tmp_path).read()
    assert last is not None
    assert last.number == 1
    assert last.live == tuple(trial.on_disk() for trial in live)
    assert last.reported == (0, 1)
    assert last.of(1) == live[1].on_disk()
    assert last.of(2) is None
    assert json.loads((tmp_path / "live" / "round.json").read_text())["schema_version"] == 1


def test_only_the_last_round_stays_also_of_trials_between_two_rungs(tmp_path, live):
    runner, checkpoints = started(live), Checkpoints(tmp_path)
    runner.live[1].step = 3
    for _ in range(2):
        round_of(runner, live)
        checkpoints.write(runner, live)
    assert kept(tmp_path) == {"round.json", "0", "0/2", "0/2/progress.json", "1", "1/2", "1/2/progress.json"}
    assert checkpoints.path(live[0]) == tmp_path / "live" / "0" / "2"
    assert [len(trial.reports) for trial in live] == [1, 1]
    assert json.loads((tmp_path / "live" / "0" / "2" / "progress.json").read_text())["step"] == 5


def test_a_finished_trial_leaves_nothing_and_the_last_one_not_even_the_folder(tmp_path, live):
    runner, checkpoints = started(live), Checkpoints(tmp_path)
    round_of(runner, live)
    checkpoints.write(runner, live)
    checkpoints.remove(0)
    assert kept(tmp_path) == {"round.json", "1", "1/1", "1/1/progress.json"}
    checkpoints.keep_only([])
    assert list(tmp_path.iterdir()) == []


def test_what_a_kill_left_unfinished_is_cleared_away(tmp_path, live):
    runner, checkpoints = started(live), Checkpoints(tmp_path)
    round_of(runner, live)
    checkpoints.write(runner, live)
    for name in ("0/2", "0/2.part", "7/1"):
        (tmp_path / "live" / name).mkdir(parents=True)
    checkpoints.keep_only(live)
    assert kept(tmp_path) == {"round.json", "0", "0/1", "0/1/progress.json", "1", "1/1", "1/1/progress.json"}


def test_a_failed_trial_has_no_checkpoint_but_its_report_is_kept(tmp_path, live):
    runner = started(live)
    runner.fails = lambda spec: "nan-loss" if spec.number == 1 else None
    round_of(runner, live)
    Checkpoints(tmp_path).write(runner, live)
    last = Checkpoints(tmp_path).read()
    assert last is not None
    assert [record.checkpoint for record in last.live] == ["0/1", None]
    assert last.live[1].reports[-1].failure == TrialFailure(kind="nan-loss", message="ia3 cannot run")


def test_a_trial_that_waits_for_its_turn_has_no_checkpoint(tmp_path, live):
    class Waiting(FakeRunner):
        def checkpoint(self, number: int, folder: Path) -> None:
            raise RuntimeError("nothing to go on from")

    runner = Waiting(slots=2)
    Checkpoints(tmp_path).write(runner, live)
    assert [trial.checkpoint for trial in live] == [None, None]
    live[0].reports.append(RungReport(number=0, rung=0, step=5, metrics={"f1": 0.5}, train_loss=None, duration_s=1))
    live[0].is_undecided = True
    with pytest.raises(RuntimeError, match="nothing to go on from"):
        Checkpoints(tmp_path).write(runner, live)


def test_parked_trials_keep_their_old_checkpoints(tmp_path, live):
    runner, checkpoints = started(live), Checkpoints(tmp_path)
    round_of(runner, live)
    checkpoints.write(runner, live)
    live[1].is_undecided = False
    checkpoints.write(runner, live[:1], live[1:])
    last = checkpoints.read()
    assert last is not None
    assert [record.checkpoint for record in last.live] == ["0/2", "1/1"]
    assert last.reported == (0,)
    assert (tmp_path / "live" / "1" / "1" / "progress.json").is_file()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"schema_version": 99, "number": 1, "live": [], "reported": []}'])
def test_a_damaged_list_is_said_and_taken_for_none(tmp_path, live, content, caplog):
    runner = started(live)
    round_of(runner, live)
    Checkpoints(tmp_path).write(runner, live)
    (tmp_path / "live" / "round.json").write_text(content)
    with caplog.at_level(logging.WARNING):
        assert Checkpoints(tmp_path).read() is None
    assert "live trials begin again" in caplog.text
    assert Checkpoints(tmp_path / "elsewhere").read() is None


def test_rounds_count_on_after_a_restart(tmp_path, live):
    runner = started(live)
    round_of(runner, live)
    Checkpoints(tmp_path).write(runner, live)
    (again := Checkpoints(tmp_path)).read()
    again.write(runner, live)
    last = again.read()
    assert last is not None
    assert last.number == 2


def test_a_round_of_another_version_is_refused():
    with pytest.raises(ValueError, match="schema_version 2 is not 1"):
        Round(schema_version=2, number=1, live=(), reported=())


def test_a_runner_that_refuses_leaves_the_round_before(tmp_path, live):
    class Foreign(FakeRunner):
        def checkpoint(self, number: int, folder: Path) -> None:
            raise OSError(28, "No space left on device")

    runner = started(live)
    round_of(runner, live)
    Checkpoints(tmp_path).write(runner, live)
    before = (tmp_path / "live" / "round.json").read_bytes()
    with pytest.raises(OSError, match="No space left"):
        Checkpoints(tmp_path).write(Foreign(slots=2), live)
    assert (tmp_path / "live" / "round.json").read_bytes() == before
    with pytest.raises(DataError, match="not a checkpoint"):
        FakeRunner().start(live[0].spec, checkpoint=tmp_path / "live" / "0" / "9")
