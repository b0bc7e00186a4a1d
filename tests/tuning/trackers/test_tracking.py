"""What trackers are told, and that a study does not notice when one of them fails."""

import logging
from pathlib import Path

import pytest

from advisor.errors import AdvisorError
from advisor.search import read_records
from advisor.tuning.trackers import tracking
from advisor.tuning.trackers.contract import Ending, Point, TrackedRun
from advisor.tuning.trackers.tracking import Tracking
from tests.tuning.trackers import studies

pytestmark = pytest.mark.slow

SECRET_ADDRESS = "https://me:hunter2@tracking.example/api"


class Kept:
    """A tracker that keeps what it is told in memory, and fails when it is asked to."""

    def __init__(self, fails_at: str = "", error: BaseException | None = None) -> None:
        self.place = "memory"
        self.is_empty = False
        self.told: list[tuple[object, ...]] = []
        self.fails_at = fails_at
        self.error = error or OSError("No space left on device")

    def _note(self, what: str, *rest: object) -> None:
        self.told.append((what, *rest))
        if what == self.fails_at:
            raise self.error

    def begin(self, run: TrackedRun, *, is_new: bool, step: int) -> None:
        self._note("begin", run.key, is_new, step)

    def log(self, key: str, point: Point) -> None:
        self._note("log", key, point.step)

    def end(self, key: str, ending: Ending) -> None:
        self._note("end", key, ending.state)

    def close(self) -> None:
        self._note("close")


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> dict[str, Kept]:
    """Trackers by the names of real ones, which are not loaded."""
    made = {"mlflow": Kept(), "tensorboard": Kept()}
    monkeypatch.setattr(tracking, "make_tracker", lambda name, folder, study: made[name])
    return made


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.name == tracking.__name__ and one.levelno >= 30]


def test_a_trial_is_begun_logged_at_every_rung_while_it_runs_and_ended(tmp_path, kept):
    at_first_rung = []

    def hear(event: object) -> None:
        if type(event).__name__ == "RungReached" and not at_first_rung:
            at_first_rung.extend(kept["mlflow"].told)

    studies.search(tmp_path, ["mlflow"], hear=hear)
    assert ("log", "trial-0", 5) in at_first_rung
    of_trial = [one for one in kept["mlflow"].told if one[1:2] == ("trial-0",)]
    assert of_trial == [
        ("begin", "trial-0", True, 0),
        ("log", "trial-0", 5),
        ("log", "trial-0", 10),
        ("log", "trial-0", 20),
        ("end", "trial-0", "finished"),
    ]
    assert kept["mlflow"].told[0] == ("begin", "study", True, 0)
    assert kept["mlflow"].told[-2:] == [("end", "study", "interrupted"), ("close",)]


@pytest.mark.parametrize("fails_at", ["begin", "log", "end"])
def test_a_tracker_that_fails_is_named_once_and_let_go_while_study_and_others_go_on(tmp_path, kept, caplog, fails_at):
    kept["mlflow"] = Kept(fails_at, AdvisorError(f"cannot reach {SECRET_ADDRESS}"))
    studies.search(tmp_path, ["mlflow", "tensorboard"])
    assert len(read_records(tmp_path / "trials.jsonl")) == studies.N_TRIALS
    assert warnings_in(caplog) == ["MLflow is not told any more: cannot reach https://***@tracking.example/api"]
    assert [one[0] for one in kept["mlflow"].told].count(fails_at) <= 1 + (fails_at == "end")
    assert ("end", f"trial-{studies.FAILING}", "failed") in kept["tensorboard"].told


def test_a_tracker_that_cannot_be_loaded_is_named_once(tmp_path, monkeypatch, caplog):
    def broken(name: str, folder: Path, study: str) -> object:
        raise ImportError("libfoo.so: cannot open shared object file")

    monkeypatch.setattr(tracking, "make_tracker", broken)
    studies.search(tmp_path, ["wandb"])
    assert len(read_records(tmp_path / "trials.jsonl")) == studies.N_TRIALS
    assert warnings_in(caplog) == ["Weights & Biases is not told any more: libfoo.so: cannot open shared object file"]


def test_a_broken_ledger_means_no_tracking_and_is_said_once(tmp_path, kept, caplog):
    (tmp_path / "trackers.json").write_text("{}")
    studies.search(tmp_path, ["mlflow", "tensorboard"])
    assert len(read_records(tmp_path / "trials.jsonl")) == studies.N_TRIALS
    assert kept["mlflow"].told == []
    (said,) = warnings_in(caplog)
    assert said.startswith("nothing is tracked: ")
    assert "trackers.json" in said


def test_ctrl_c_reaches_the_user_and_leaves_the_runs_marked_as_interrupted(tmp_path, kept):
    kept["mlflow"] = Kept("log", KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        studies.search(tmp_path, ["mlflow"])
    assert ("end", "trial-0", "interrupted") in kept["mlflow"].told
    assert kept["mlflow"].told[-2:] == [("end", "study", "interrupted"), ("close",)]


def test_a_study_that_ends_in_an_error_is_marked_as_failed(tmp_path, kept):
    def break_off() -> None:
        with Tracking(["mlflow"], tmp_path, studies.STUDY, lambda: 0.0) as told:
            told(studies.FinalRunStarted(spec=_spec(), trial=0))
            raise AdvisorError("the disk is full")

    with pytest.raises(AdvisorError, match="the disk is full"):
        break_off()
    assert ("end", "final-0-seed1", "failed") in kept["mlflow"].told


def test_a_study_that_goes_on_tells_only_what_is_new(tmp_path, kept):
    studies.search(tmp_path, ["mlflow"], n_trials=2)
    kept["mlflow"].told.clear()
    studies.search(tmp_path, ["mlflow"])
    told = kept["mlflow"].told
    assert told[0] == ("begin", "study", False, 0)
    assert {one[1] for one in told if one[0] == "begin"} == {"study", "trial-2", "trial-3"}


def test_a_study_whose_end_was_told_is_not_begun_again(tmp_path, kept):
    studies.search(tmp_path, ["mlflow"])
    studies.finish(tmp_path, ["mlflow"])
    assert ("end", "study", "finished") in kept["mlflow"].told
    kept["mlflow"].told.clear()
    studies.finish(tmp_path, ["mlflow"])
    assert kept["mlflow"].told == [("close",)]
    studies.finish(tmp_path, ["mlflow"], finished_at="2026-01-03T04:00:00+00:00")
    assert ("begin", "study", False, 0) in kept["mlflow"].told


def test_another_place_is_told_everything(tmp_path, kept):
    studies.search(tmp_path, ["mlflow"])
    kept["mlflow"] = Kept()
    kept["mlflow"].place = "https://tracking.example"
    studies.finish(tmp_path, ["mlflow"])
    ended = {one[1] for one in kept["mlflow"].told if one[0] == "end"}
    assert ended == {"study", *(f"trial-{number}" for number in range(studies.N_TRIALS))}


def test_without_trackers_nothing_is_written(tmp_path, caplog):
    caplog.set_level(logging.DEBUG, tracking.__name__)
    studies.search(tmp_path, [])
    studies.finish(tmp_path, [])
    assert not (tmp_path / "trackers.json").exists()
    assert warnings_in(caplog) == []


def _spec() -> object:
    return studies.TrialSpec(
        number=100, candidate=studies.settings().warm_starts[0], seed=studies.FINAL_SEED, rung_steps=(5,)
    )
