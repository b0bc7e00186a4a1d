"""The study of faults breaks what it says that it breaks, and counts what was lost."""

import json
import socket
import threading
from pathlib import Path

import pytest

from advisor.durable import append
from advisor.search.events import SearchEvent, TrialFinished
from advisor.trial import TrialRecord
from advisor.trials_file import FILE_NAME, line_of
from studies.shared_faults.line import Line
from studies.shared_faults.run import FAULTS, Run, Scene, _counted, table
from studies.slow_runner import SlowRunner, plan_of, settings_of


@pytest.fixture
def echo():
    """Port of a server that sends back what it is sent."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=lambda one=connection: _echo(one), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    yield listener.getsockname()[1]
    listener.close()


def _echo(connection: socket.socket) -> None:
    while content := connection.recv(100):
        connection.sendall(content)


def connected(line: Line) -> socket.socket:
    return socket.create_connection(("127.0.0.1", line.port), timeout=10)


def test_a_cut_line_ends_connections_and_refuses_new_ones_until_it_is_mended(echo):
    line = Line(echo)
    before = connected(line)
    before.sendall(b"one")
    assert before.recv(10) == b"one"
    line.cut()
    assert before.recv(10) == b""
    refused = connected(line)
    assert refused.recv(10) == b""
    line.mend()
    after = connected(line)
    after.sendall(b"two")
    assert after.recv(10) == b"two"
    line.close()


def searched(folder: Path) -> list[TrialRecord]:
    """Search for real with a runner that takes no time; return what was finished."""
    from advisor.search import run_search

    events: list[SearchEvent] = []
    folder.mkdir()
    run_search(
        folder, settings_of(0), plan_of(3), SlowRunner(0.0, folder.parent / "log.jsonl"), clock=lambda: 0.0,
        on_event=events.append, interrupted=lambda: False,
    )  # fmt: skip
    return [event.record for event in events if isinstance(event, TrialFinished)]


def counted(folder: Path, lines: list[dict[str, object]]) -> Run:
    scene = Scene(None, None, [], lambda: None, folder, None, 0, [])  # type: ignore[arg-type]
    return _counted("none", 0, folder, lines, 1.0, scene)


def test_it_counts_what_was_finished_and_is_not_kept(tmp_path):
    records = searched(tmp_path / "run")
    rungs = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    finished = [{"what": "finished", "number": record.number, "at_s": 0.0} for record in records]
    whole = counted(tmp_path / "run", [*rungs, *finished])
    assert (whole.n_finished, whole.n_lost, whole.n_twice, whole.rungs_again) == (3, 0, 0, 0)
    again = counted(tmp_path / "run", [*rungs, rungs[-1], *finished, finished[0]])
    assert (again.n_lost, again.n_twice, again.rungs_again) == (0, 1, 1)
    (tmp_path / "run" / FILE_NAME).unlink()
    append(tmp_path / "run" / FILE_NAME, line_of(records[0]))
    assert counted(tmp_path / "run", [*rungs, *finished]).n_lost == 2


def test_the_table_has_a_row_for_each_fault_that_was_run():
    runs = [
        Run(fault=name, seed=seed, n_finished=13, n_lost=seed, n_twice=0, n_planned=12, rungs_again=2 * seed,
            stalled_s=1.5, took_s=9.0, ended=())
        for name in ("worker killed", "database restarted") for seed in (0, 1)
    ]  # fmt: skip
    rows = table(runs).splitlines()[2:]
    assert rows == [
        f"| {name} | 2 | 1 | 0 | 2 | 1.0 (2) | 1.5 (1.5) |" for name in ("worker killed", "database restarted")
    ]
    assert {"worker killed", "database restarted"} <= set(FAULTS)
