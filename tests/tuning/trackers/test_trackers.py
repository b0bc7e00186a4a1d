"""Every tracker holds what the study's own files hold, each thing once, read back with the tracker's own reader."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from advisor.search import read_records
from advisor.tuning.trackers.registry import TRACKERS, is_installed, make_tracker
from tests.tuning.trackers import studies
from tests.tuning.trackers.readers import READERS, Held

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
SAID_OF_AN_END = {
    "mlflow": {"complete": "FINISHED", "failed": "FAILED"},
    "tensorboard": {"complete": "complete", "failed": "failed"},
    "wandb": {"complete": "0", "failed": "1"},
    "trackio": {"complete": "finished", "failed": "failed"},
}


@pytest.fixture(scope="module", autouse=True)
def knocks() -> Iterator[list[str]]:
    """Take note of every attempt to reach the network: of this process, and of others by way of a proxy."""
    seen: list[str] = []
    listener = socket.create_server(("127.0.0.1", 0))
    connect = socket.socket.connect

    def listen() -> None:
        while True:
            try:
                taken, _ = listener.accept()
            except OSError:
                return
            seen.append(f"proxy: {taken.recv(200)!r}")
            taken.close()

    def refuse(self: socket.socket, address: object) -> None:
        if self.family != socket.AF_UNIX:
            seen.append(f"connect: {address}")
            raise OSError("no network here")
        connect(self, address)  # type: ignore[arg-type]

    threading.Thread(target=listen, daemon=True).start()
    proxy = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
            patch.setenv(name, proxy)
        for name in ("MLFLOW_TRACKING_URI", "WANDB_MODE", "NO_PROXY", "no_proxy"):
            patch.delenv(name, raising=False)
        yield seen
    listener.close()


@pytest.fixture(scope="module", params=list(TRACKERS))
def tracker(request: pytest.FixtureRequest) -> str:
    """One tracker after the other; those that are not installed are skipped."""
    name = str(request.param)
    if not is_installed(TRACKERS[name].package):
        pytest.skip(f"{name} is not installed")
    return name


@pytest.fixture(scope="module")
def finished(tracker: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Held]]:
    """Folder of a study that ran in one go, and what the tracker holds of it."""
    folder = tmp_path_factory.mktemp(tracker) / "run"
    folder.mkdir()
    studies.search(folder, [tracker])
    studies.finals(folder, [tracker])
    studies.finish(folder, [tracker])
    return folder, READERS[tracker](folder)


def test_the_study_and_every_trial_and_final_is_one_run(finished):
    folder, held = finished
    trials = {f"trial-{record.number}" for record in read_records(folder / "trials.jsonl")}
    assert set(held) == {"study", "final-0-seed1", *trials}
    assert len(trials) == studies.N_TRIALS


def test_a_trial_has_its_hyperparameters_and_seed(finished):
    folder, held = finished
    for record in read_records(folder / "trials.jsonl"):
        params = held[f"trial-{record.number}"].params
        assert params["method"] == record.candidate.method
        assert params["base_model"] == "base"
        assert int(float(params["seed"])) == record.seed
        for name, value in record.candidate.hyperparameters.items():
            assert params[name] == str(value) or float(params[name]) == value


def test_validation_metrics_and_training_loss_stand_at_their_optimizer_steps(finished):
    folder, held = finished
    for record in read_records(folder / "trials.jsonl"):
        values = held[f"trial-{record.number}"].values
        for name in ("f1", "accuracy"):
            expected = [(report.step, report.metrics[name]) for report in record.reports if report.metrics]
            assert values.get(f"validation/{name}", []) == [(step, pytest.approx(value)) for step, value in expected]
        expected_loss = [(report.step, 1.0) for report in record.reports if report.metrics]
        assert [one for one in values.get("train/loss", []) if one[0]] == expected_loss


def test_a_trial_says_how_it_ended_and_why_it_failed(finished, tracker):
    folder, held = finished
    for record in read_records(folder / "trials.jsonl"):
        one = held[f"trial-{record.number}"]
        assert one.ended == SAID_OF_AN_END[tracker][record.state]
        assert one.facts["state"] == record.state
        assert one.facts["origin"] == record.origin
        assert one.last["duration_s"] == record.reports[-1].duration_s
    assert held[f"trial-{studies.FAILING}"].facts["failure"].startswith("out-of-memory: ")


def test_a_final_run_is_there_with_its_own_seed(finished):
    _, held = finished
    final = held["final-0-seed1"]
    assert final.values["validation/f1"] == [(5, 0.125), (10, 0.25), (20, 0.5)]
    assert int(float(final.params["seed"])) == studies.FINAL_SEED
    assert final.facts["origin"] == "finals"


def test_the_study_has_command_versions_and_the_comparison_on_test_data(finished):
    _, held = finished
    study = held["study"]
    assert study.facts["command"] == "peft-advisor tune ..."
    result = studies.fixtures.result()
    for row in result.contenders:
        assert study.last[f"test/{row.name}/f1"] == pytest.approx(row.evaluation.metrics["f1"])
    assert study.facts["stopped"] == result.stopped
    assert study.facts["reload_check"] == "passed"


def test_the_report_is_kept_with_the_study_where_the_tracker_keeps_files(finished, tracker):
    folder, held = finished
    if tracker == "trackio":
        assert str((folder / "report.html").stat().st_size) in held["study"].files
    elif tracker != "tensorboard":
        assert {"report.html", "result.json"} <= held["study"].files


def test_trials_belong_to_their_study(finished, tracker):
    _, held = finished
    if tracker == "mlflow":
        assert {one.parent for key, one in held.items() if key != "study"} == {"study"}
    elif tracker in ("wandb", "trackio"):
        assert len({one.parent for one in held.values()}) == 1


def test_nothing_leaves_the_run_folder_or_names_the_machine(finished, tracker, knocks):
    folder, held = finished
    assert knocks == []
    if tracker == "wandb":
        assert {one.facts["host"] for one in held.values()} == {""}
        assert not list(folder.rglob("requirements.txt"))
        assert not list(folder.rglob("wandb-metadata.json"))


def test_a_killed_study_goes_on_in_the_same_runs_and_nothing_is_logged_twice(finished, tracker, tmp_path):
    _, whole = finished
    command = [sys.executable, "-m", "tests.tuning.trackers.studies", str(tmp_path), tracker]
    # Without the name of this process's own W&B service, which would outlive the kill.
    environment = {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}
    killed = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert not (tmp_path / "trials.jsonl").exists(), "a trial had ended"
    studies.search(tmp_path, [tracker])
    studies.finals(tmp_path, [tracker])
    studies.finish(tmp_path, [tracker])
    held = READERS[tracker](tmp_path)
    assert {key: one.values for key, one in held.items()} == {key: one.values for key, one in whole.items()}
    assert {key: one.ended for key, one in held.items()} == {key: one.ended for key, one in whole.items()}


def test_a_study_that_is_tracked_from_its_end_on_has_all_of_its_trials_and_again_when_they_were_removed(
    finished, tracker, tmp_path
):
    _, whole = finished
    folder = tmp_path / "run"
    folder.mkdir()
    studies.search(folder, [])
    studies.finals(folder, [])
    assert not (folder / "trackers.json").exists()
    for emptied in (folder, tmp_path / "copy"):
        studies.finish(emptied, [tracker])
        held = READERS[tracker](emptied)
        assert {key: one.values for key, one in held.items()} == {key: one.values for key, one in whole.items()}
        if emptied is folder:  # MLflow keeps a database open for as long as the process lives: not under that path
            shutil.copytree(folder, tmp_path / "copy", ignore=shutil.ignore_patterns(tracker))


def test_telling_of_a_finished_study_again_changes_nothing(finished, tracker):
    folder, _ = finished
    before = READERS[tracker](folder)
    ledger = (folder / "trackers.json").read_bytes()
    studies.finish(folder, [tracker])
    assert (folder / "trackers.json").read_bytes() == ledger
    assert READERS[tracker](folder) == before


def test_nothing_is_written_before_there_is_something_to_log(tracker, tmp_path):
    made = make_tracker(tracker, tmp_path, "a" * 32)
    assert made.is_empty
    made.close()
    assert list(tmp_path.iterdir()) == []
