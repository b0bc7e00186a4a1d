"""`peft-advisor dashboard`: the study's own page, while it runs too, and no way to change anything."""

import http.client
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from advisor.cli import dashboard_server
from advisor.search import read_records, run_search
from advisor.search.study import FILE_NAME, sqlite_storage
from tests.cli.test_cli import run
from tests.search.fakes import FakeRunner, plan, settings

N_TRIALS = 4
ENTRY = "import sys; from advisor.cli import main; main(sys.argv[1:])"

needs_dashboard = pytest.mark.skipif(
    dashboard_server.find_spec("optuna_dashboard") is None, reason="optuna-dashboard is not installed"
)


def search(folder: Path, n_trials: int = N_TRIALS) -> None:
    runner = FakeRunner(fails=lambda spec: "out-of-memory" if spec.number == 2 else None)
    run_search(
        folder,
        settings(),
        plan(n_trials),
        runner,
        clock=runner.clock,
        on_event=lambda event: None,
        interrupted=lambda: False,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run folder of a study of four trials, one of which failed."""
    made = tmp_path_factory.mktemp("studies") / "a run"
    made.mkdir()
    search(made)
    return made


def _hear_ctrl_c() -> None:
    """A shell lets what it starts in the background ignore Ctrl-C, and processes inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Shown:
    """The command, running in a process of its own on a port of its own."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-c", ENTRY, "dashboard", str(folder), "--port", "0", "--no-browser"]
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            preexec_fn=_hear_ctrl_c,
        )  # fmt: skip
        assert self.process.stdout is not None
        self.line = self.process.stdout.readline()
        self.port = int(self.line.partition("http://127.0.0.1:")[2].partition("/")[0])

    def ask(self, path: str, method: str = "GET", **headers: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()

    def api(self, path: str) -> Any:
        status, text = self.ask(f"/api/{path}")
        assert status == 200, text
        return json.loads(text)

    def end(self) -> tuple[int, str]:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        _, errors = self.process.communicate(timeout=60)
        return self.process.returncode, errors


@pytest.fixture(scope="module")
def shown(folder: Path) -> Iterator[Shown]:
    found = Shown(folder)
    yield found
    found.end()


@needs_dashboard
@pytest.mark.slow
def test_one_line_says_where_the_page_is_and_the_page_is_there(shown):
    assert shown.line == f"http://127.0.0.1:{shown.port}/dashboard (Ctrl-C ends it)\n"
    status, page = shown.ask("/dashboard")
    assert status == 200
    assert "<title>Optuna Dashboard</title>" in page


@needs_dashboard
@pytest.mark.slow
def test_the_dashboard_has_the_trials_of_trials_jsonl(shown, folder):
    (study,) = shown.api("studies")["study_summaries"]
    assert study["directions"] == ["maximize"]
    trials = {trial["number"]: trial for trial in shown.api(f"studies/{study['study_id']}")["trials"]}
    records = read_records(folder / "trials.jsonl")
    assert set(trials) == {record.number for record in records} == set(range(N_TRIALS))
    states = {"complete": "Complete", "pruned": "Pruned", "failed": "Pruned"}
    for record in records:
        trial = trials[record.number]
        assert trial["state"] == states[record.state]
        if record.state == "complete":
            assert [float(value) for value in trial["values"]] == [record.value]
        steps = [(one["step"], float(one["value"])) for one in trial["intermediate_values"]]
        assert steps == [(one.step, one.metrics["f1"]) for one in record.reports if one.metrics][: len(steps)]


@needs_dashboard
@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "path"), [("DELETE", "/api/studies/1"), ("POST", "/api/studies"), ("PUT", "/api/studies/1/note")]
)
def test_nothing_can_be_changed_from_the_page(shown, folder, method, path):
    before = (folder / FILE_NAME).read_bytes()
    status, text = shown.ask(path, method)
    assert status == 405
    assert "only reads" in text
    assert (folder / FILE_NAME).read_bytes() == before


@needs_dashboard
@pytest.mark.slow
def test_a_page_that_calls_this_machine_by_a_name_of_its_own_is_refused(shown):
    assert shown.ask("/api/studies", Host=f"evil.example:{shown.port}")[0] == 403
    assert shown.ask("/api/studies", Host=f"localhost:{shown.port}")[0] == 200


@needs_dashboard
@pytest.mark.slow
def test_a_running_study_is_not_held_up_and_its_new_trials_show_and_ctrl_c_ends_with_0(folder, tmp_path):
    running = tmp_path / "run"
    shutil.copytree(folder, running)
    found = Shown(running)
    try:
        assert len(found.api("studies/1")["trials"]) == N_TRIALS
        search(running, n_trials=N_TRIALS + 2)
        for _ in range(50):  # the dashboard asks the database anew every two seconds
            n_shown = len(found.api("studies/1")["trials"])
            if n_shown == N_TRIALS + 2:
                break
            time.sleep(0.2)
        assert n_shown == N_TRIALS + 2
    finally:
        code, errors = found.end()
    assert (code, errors) == (0, "")


def test_sqlite_itself_refuses_to_write(folder):
    storage = dashboard_server.open_for_reading(folder / FILE_NAME)
    with pytest.raises(Exception, match=r"readonly|commit"):
        storage.delete_study(1)
    storage.remove_session()
    storage.engine.dispose()
    assert len(read_records(folder / "trials.jsonl")) == N_TRIALS
    assert len(sqlite_storage(folder / FILE_NAME).get_all_trials(1)) == N_TRIALS


def test_a_folder_without_a_study_is_one_line(tmp_path, capsys):
    code, out, err = run(capsys, "dashboard", str(tmp_path))
    assert (code, out) == (2, "")
    assert err == f"error: {tmp_path}: no study there (no study.db); give the folder that `tune` wrote\n"


def test_a_file_that_is_no_study_is_one_line(tmp_path, capsys):
    (tmp_path / FILE_NAME).write_text("not a database " * 100)
    code, out, err = run(capsys, "dashboard", str(tmp_path))
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert "not a study that can be shown" in err


def test_a_database_of_something_else_is_one_line(tmp_path, capsys):
    sqlite3.connect(tmp_path / FILE_NAME).execute("CREATE TABLE other (x)").connection.close()
    code, _, err = run(capsys, "dashboard", str(tmp_path))
    assert code == 2
    assert err.count("\n") == 1


def test_without_the_package_one_line_says_how_to_install_it(folder, capsys, monkeypatch):
    monkeypatch.setattr(dashboard_server, "find_spec", lambda name: None)
    code, out, err = run(capsys, "dashboard", str(folder))
    assert (code, out) == (2, "")
    assert err == "error: optuna-dashboard is not installed; pip install 'peft-advisor[dashboard]'\n"


@needs_dashboard
def test_a_port_that_is_taken_is_one_line(folder, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, out, err = run(capsys, "dashboard", str(folder), "--port", str(port))
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert f"--port {port}: cannot be listened on" in err


@needs_dashboard
def test_other_addresses_than_this_machines_own_get_a_warning(folder, capsys, monkeypatch):
    monkeypatch.setattr(dashboard_server, "serve", lambda folder, **options: options["on_ready"]("http://0.0.0.0:1"))
    code, out, err = run(capsys, "dashboard", str(folder), "--host", "0.0.0.0", "--no-browser")
    assert code == 0
    assert out == "http://0.0.0.0:1/dashboard (Ctrl-C ends it)\n"
    assert "lets others on the network read this study" in err
    assert run(capsys, "dashboard", str(folder), "--no-browser")[2] == ""


@needs_dashboard
@pytest.mark.slow
def test_a_study_in_a_database_is_opened_such_that_the_server_refuses_changes(tmp_path, monkeypatch):
    from optuna.exceptions import StorageInternalError

    from advisor.search.sharing import Address
    from tests.postgres import new_database, server
    from tests.search.test_shared_keeper import led

    url = new_database(server())
    (tmp_path / "run").mkdir()
    led(Address(url=url, study="clones"), tmp_path / "run")
    monkeypatch.setenv("PEFT_ADVISOR_STORAGE", url)
    storage = dashboard_server._storage_of(tmp_path / "run")
    (study,) = storage.get_all_studies()
    assert len(storage.get_all_trials(study._study_id)) == 6
    with pytest.raises(StorageInternalError) as caught:
        storage.set_study_user_attr(study._study_id, "key", 1)
    assert "read-only" in str(caught.value.__cause__)
    storage.engine.dispose()
