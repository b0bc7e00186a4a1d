"""A study in a real PostgreSQL: `tune` leads it, `worker` joins it, and what is left is a run folder like any other."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from advisor.cli import main
from advisor.errors import InputError
from advisor.search.events import RungReached, TrialFinished
from advisor.tuning import prepare
from advisor.tuning.events import Planned
from advisor.tuning.joining import JoinRequest, join
from advisor.tuning.shared_study import checked_storage, storage_to_name
from tests.postgres import new_database, server
from tests.tuning.test_study_run import inputs as inputs  # a fixture
from tests.tuning.test_study_run import request

pytestmark = pytest.mark.slow


@pytest.fixture
def url() -> str:
    return new_database(server())


def worker(url: str, *options: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "advisor", "worker", "--study", "run", *options],
        env={**os.environ, "PEFT_ADVISOR_STORAGE": url, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE if "--json" in options else subprocess.STDOUT, text=True,
    )  # fmt: skip


def wait_for_another(url: str) -> None:
    """Wait until two processes train, or one has finished all."""
    from advisor.search.sharing import Address, connect, find_study

    address = Address(url=url, study="run")
    storage = connect(address)
    shared = find_study(storage, address)
    assert shared is not None
    for _ in range(600):
        if sum(trial.state.name == "RUNNING" for trial in shared.study.get_trials(deepcopy=False)) > 1:
            break
        time.sleep(0.2)
    shared.close()


def records_of(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "trials.jsonl").read_text().splitlines()]


def test_a_worker_joins_and_the_folder_is_like_any_other(inputs, tmp_path, url):
    folder = tmp_path / "run"
    joined = worker(url, "--wait", "2m", "--json")  # before the study is there
    elsewhere: list[int] = []

    def on_event(event: object) -> None:
        if isinstance(event, RungReached) and not elsewhere:
            wait_for_another(url)  # loading takes a worker longer than one that has loaded already
        elif isinstance(event, TrialFinished) and event.elsewhere:
            elsewhere.append(event.record.number)

    result = prepare(request(inputs, folder, storage=url, n_trials=6, max_steps=8)).finish(on_event)
    told, said = joined.communicate(timeout=120)
    assert joined.returncode == 0, said
    did = json.loads(told)
    assert did["left"] == "over"
    records = records_of(folder)
    assert sorted(record["number"] for record in records) == list(range(6))
    assert len(elsewhere) == did["n_finished"] > 0
    assert result.n_trials_finished == 6
    assert result.reload_check.passed
    assert len(result.workers) == 2
    assert all(one.n_trials for one in result.workers)
    kept = json.loads((folder / "storage.json").read_text())
    assert kept["study"] == "run"
    password = server().password
    for path in folder.rglob("*"):
        if path.is_file():
            assert password.encode() not in path.read_bytes(), path
    assert password not in said
    report = (folder / "report.md").read_text()
    assert "2 workers shared search" in report
    # What is finished is only shown again, also without the database.
    again = prepare(request(inputs, folder, storage=url, n_trials=6, max_steps=8)).finish()
    assert again == result
    assert not [record for record in records if record["state"] == "failed"]


def test_a_worker_that_is_asked_to_leave_hands_its_trial_on(inputs, tmp_path, url):
    folder = tmp_path / "run"
    killed = []

    def on_event(event: object) -> None:
        if isinstance(event, RungReached) and not killed:
            joined = worker(url)
            for line in joined.stdout or ():
                if "step" in line:
                    break
            joined.send_signal(signal.SIGTERM)
            killed.append(joined.communicate(timeout=120)[0])
            assert joined.returncode == 128 + signal.SIGTERM, killed

    prepare(request(inputs, folder, storage=url, n_trials=3, max_steps=8)).finish(on_event)
    assert "Asked to leave" in killed[0]
    assert sorted(record["number"] for record in records_of(folder)) == [0, 1, 2]


def test_the_folder_and_its_database_belong_together(inputs, tmp_path, url):
    folder = tmp_path / "run"
    events: list[object] = []
    prepare(request(inputs, folder, storage=url, n_trials=1, max_steps=4)).finish(events.append)
    (planned,) = [event for event in events if isinstance(event, Planned)]
    assert (planned.study, planned.storage) == ("run", url.replace(f":{server().password}@", "@"))
    with pytest.raises(InputError, match=r"is in a database; give --storage postgresql\+psycopg://advisor@"):
        prepare(request(inputs, folder, n_trials=2, max_steps=4))
    with pytest.raises(InputError, match=r"--study other: .* is named run"):
        prepare(request(inputs, folder, storage=url, study="other", n_trials=2, max_steps=4))
    with pytest.raises(InputError, match="whose run folder is"):
        prepare(request(inputs, tmp_path / "elsewhere" / "run", storage=url, n_trials=2, max_steps=4))
    from advisor.search.sharing import Address

    open_again(url)
    with pytest.raises(InputError, match="is not the run folder of study run on this machine"):
        join(JoinRequest(address=Address(url=url, study="run"), output=tmp_path), lambda event: None)


def open_again(url: str) -> None:
    """Open a finished study as a run with more trials does."""
    from advisor.search.sharing import Address, connect, find_study

    shared = find_study(connect(Address(url=url, study="run")), Address(url=url, study="run"))
    assert shared is not None
    shared.set_plan(n_trials=2, target=None, is_open=True)
    shared.close()


def test_a_study_in_a_folder_is_not_moved_into_a_database(inputs, tmp_path, url):
    prepare(request(inputs, tmp_path / "run", n_trials=1, max_steps=4)).finish()
    with pytest.raises(InputError, match=r"is in its study\.db; leave --storage out"):
        prepare(request(inputs, tmp_path / "run", storage=url, n_trials=1, max_steps=4))


def test_a_password_on_the_command_line_is_refused_and_not_repeated():
    for url in ("postgresql+psycopg://me:geheim@db/studies", "postgresql+psycopg://me@db/studies?password=geheim"):
        with pytest.raises(InputError, match="leave the password out of the command line") as caught:
            checked_storage(url)
        assert "geheim" not in str(caught.value)
    assert checked_storage("postgresql+psycopg://me@db/studies") == "postgresql+psycopg://me@db/studies"


def test_the_url_with_its_password_may_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("PEFT_ADVISOR_STORAGE", "postgresql+psycopg://me:geheim@db/studies")
    assert checked_storage("postgresql+psycopg://me:geheim@db/studies") is not None


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("postgresql+psycopg://me@db:5433/studies", "postgresql+psycopg://me@db:5433/studies"),
        ("postgresql+psycopg://me:geheim@db/studies", "postgresql+psycopg://me@db/studies"),
        (
            "postgresql://me@/studies?host=a&host=b&password=geheim&sslpassword=geheim&scram_client_key=geheim",
            "postgresql+psycopg://me@/studies?host=a&host=b",
        ),
    ],
)
def test_the_url_for_workers_is_without_its_password_and_left_to_the_environment_where_it_stands_there(
    url, named, monkeypatch
):
    from advisor.search.sharing import Address

    monkeypatch.setenv("PEFT_ADVISOR_STORAGE", "postgresql+psycopg://me:geheim@elsewhere/studies")
    assert storage_to_name(Address(url=url, study="run")) == named
    monkeypatch.setenv("PEFT_ADVISOR_STORAGE", url)
    assert storage_to_name(Address(url=url, study="run")) == ""


def test_a_worker_without_its_study_says_so_in_one_line(url):
    joined = worker(url, "--wait", "1s")
    said, _ = joined.communicate(timeout=120)
    assert joined.returncode == 2
    *before, last = said.strip().splitlines()
    assert last.startswith("error: --study run: no such study in")
    assert before in ([], ["Waiting for study run ..."])
    assert server().password not in said


def test_other_databases_are_refused_in_one_line(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["worker", "--study", "s", "--storage", "sqlite:///x"])
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
