"""Several processes search one study in a real PostgreSQL: nothing finished is lost, nothing is done twice."""

import json
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from optuna.trial import TrialState

from advisor.errors import DataError, InputError
from advisor.result import Plan
from advisor.search import SearchOutcome, run_part, run_search
from advisor.search.events import SearchEvent, TrialDropped, TrialFinished
from advisor.search.sharing import Address, SharedStudy, StorageAwayError, begin_or_continue, connect, find_study
from advisor.trial import TrialRecord
from advisor.trials_file import read_records
from tests.postgres import new_database, server
from tests.search.fakes import FakeRunner, plan, settings
from tests.search.test_loop import search

pytestmark = pytest.mark.slow

TIMES = (1, 3)


@pytest.fixture
def address() -> Address:
    return Address(url=new_database(server()), study="clones")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "run"
    made.mkdir()
    return made


def opened(address: Address, folder: Path, n_trials: int = 6, **changes: object) -> SharedStudy:
    shared = begin_or_continue(address, settings(**changes), folder, request={}, version="1", times=TIMES)
    shared.set_plan(n_trials=n_trials, target=None, is_open=True)
    return shared


def joined(address: Address, **options: float) -> SharedStudy:
    shared = find_study(connect(address, times=TIMES, **options), address)
    assert shared is not None
    return shared


def led(
    address: Address, folder: Path, runner: FakeRunner | None = None, planned: Plan | None = None,
    events: list[SearchEvent] | None = None, interrupted=lambda: False,
) -> SearchOutcome:  # fmt: skip
    """Search as `tune` does."""
    runner, planned = runner or FakeRunner(), planned or plan()
    shared = opened(address, folder, planned.n_trials)
    try:
        return run_search(
            folder, settings(), planned, runner, clock=runner.clock, interrupted=interrupted, shared=shared,
            on_event=events.append if events is not None else lambda event: None,
        )  # fmt: skip
    finally:
        shared.close()


class Helper(threading.Thread):
    """A worker: a search of its own with a connection of its own."""

    def __init__(
        self, address: Address, folder: Path, runner: FakeRunner, planned: Plan, interrupted=lambda: False
    ) -> None:
        super().__init__(daemon=True)
        self.runner, self.events, self.stopped = runner, list[SearchEvent](), ""
        self.error: BaseException | None = None
        self._arguments = (address, folder, planned, interrupted)
        self.start()

    def run(self) -> None:
        address, folder, planned, interrupted = self._arguments
        shared = joined(address)
        try:
            self.stopped = run_part(
                folder, settings(), planned, self.runner, shared, clock=self.runner.clock,
                on_event=self.events.append, interrupted=lambda: interrupted() or not shared.is_open,
            )  # fmt: skip
        except BaseException as error:
            self.error = error
        finally:
            shared.close()

    def ended(self) -> "Helper":
        self.join(60)
        assert not self.is_alive()
        if self.error is not None:
            raise self.error
        return self


def slow(seconds: float = 0.05) -> FakeRunner:
    """Return a runner that leaves others the time to take part."""
    runner = FakeRunner()
    runner.before_advance = lambda: time.sleep(seconds)
    return runner


def points(records: tuple[TrialRecord, ...]) -> list[tuple[object, ...]]:
    return [(one.candidate.method, *one.candidate.hyperparameters.items(), one.value, one.state) for one in records]


def test_alone_it_tries_the_points_that_a_study_in_a_folder_tries(address, folder, tmp_path):
    shared = led(address, folder, planned=plan(10))
    alone = search(tmp_path / "alone", planned=plan(10))
    assert points(shared.records) == points(alone.records)
    assert shared.best == alone.best
    assert read_records(folder / "trials.jsonl") == shared.records
    assert not list((folder / "live").glob("*/*"))


def test_several_processes_share_the_trials_and_take_no_more_than_planned(address, folder):
    planned = plan(25)
    opened(address, folder, 25).close()
    helpers = [Helper(address, folder, slow(), planned) for _ in range(3)]
    events: list[SearchEvent] = []
    outcome = led(address, folder, slow(), planned, events)
    for helper in helpers:
        helper.ended()
    assert len(outcome.records) == 25
    assert len({record.number for record in outcome.records}) == 25
    started = [spec.number for runner in [*(one.runner for one in helpers)] for spec in runner.started]
    assert len(started) == len(set(started))
    assert all(helper.runner.started for helper in helpers)
    assert {record.number for record in read_records(folder / "trials.jsonl")} == set(range(25))
    told = [event.record.number for event in events if isinstance(event, TrialFinished)]
    assert sorted(told) == list(range(25))
    assert {one.candidate.method for one in outcome.finalists}
    assert all((folder / "trials" / str(one.number) / "adapter").is_dir() for one in outcome.finalists)


def test_two_processes_never_try_the_recommendation_both(address, folder):
    planned = plan(8)
    opened(address, folder, 8).close()
    helper = Helper(address, folder, slow(), planned)
    outcome = led(address, folder, slow(), planned)
    helper.ended()
    assert sum(record.candidate == settings().warm_starts[0] for record in outcome.records) == 1


def test_who_leaves_hands_back_what_it_trains_and_another_goes_on_from_the_last_rung(address, folder):
    opened(address, folder, 1).close()
    first = FakeRunner()
    helper = Helper(address, folder, first, plan(1), interrupted=lambda: first.steps_trained > 0).ended()
    assert helper.stopped == "interrupted"
    second = FakeRunner()
    outcome = led(address, folder, second, plan(1))
    assert [record.number for record in outcome.records] == [0]
    assert [report.rung for report in outcome.records[0].reports] == [0, 1, 2]
    assert second.resumed == [(0, 5)]
    assert first.steps_trained + second.steps_trained == 20


def test_a_process_that_gives_no_sign_of_life_loses_its_trial_and_notices(address, folder, monkeypatch):
    opened(address, folder, 1).close()
    silent, may_go_on = threading.Event(), threading.Event()
    first = FakeRunner()

    def hang() -> None:
        if first.steps_trained:
            silent.set()
            assert may_go_on.wait(60)

    first.before_advance = hang
    monkeypatch.setattr("advisor.search.heartbeat.Heartbeat._work", lambda self: None)
    helper = Helper(address, folder, first, plan(1))
    assert silent.wait(60)
    monkeypatch.undo()
    second = FakeRunner()
    outcome = led(address, folder, second, plan(1))
    assert second.resumed == [(1, 5)]  # the copy that Optuna queued for the trial that it declared failed
    (record,) = outcome.records
    assert [report.step for report in record.reports] == [5, 10, 20]
    may_go_on.set()
    helper.ended()
    assert [event.spec.number for event in helper.events if isinstance(event, TrialDropped)] == [0]
    assert first.live == {}
    shared = joined(address)
    states = [trial.state for trial in shared.study.get_trials(deepcopy=False)]
    shared.close()
    assert states == [TrialState.FAIL, TrialState.COMPLETE]


def test_a_trial_that_was_kept_but_not_told_counts_once(address, folder, monkeypatch):
    """The process ended between the record and Optuna's end of the trial."""

    class Killed(BaseException):
        pass

    def die(*arguments: object) -> None:
        raise Killed

    shared = opened(address, folder, 2)
    monkeypatch.setattr("advisor.search.shared_keeper.tell", die)
    monkeypatch.setattr("advisor.search.shared_keeper.SharedKeeper.close", lambda self: self._heartbeat.close())
    with pytest.raises(Killed):
        run_search(folder, settings(), plan(2), FakeRunner(), clock=time.time, on_event=lambda event: None,
                   interrupted=lambda: False, shared=shared)  # fmt: skip
    shared.close()
    monkeypatch.undo()
    (folder / "trials.jsonl").unlink()  # as on another machine
    outcome = led(address, folder, planned=plan(2))
    assert len(outcome.records) == 2
    assert outcome.records[0].number == 0
    assert len({record.number for record in outcome.records}) == 2


def test_a_trial_that_three_workers_were_lost_on_fails(address, folder, monkeypatch):
    class Killed(BaseException):
        pass

    def killed() -> None:
        raise Killed

    shared = opened(address, folder, 1)
    monkeypatch.setattr("advisor.search.shared_keeper.SharedKeeper.close", lambda self: self._heartbeat.close())
    for _ in range(3):
        runner = FakeRunner(before_advance=killed)
        with pytest.raises(Killed):
            run_search(folder, settings(), plan(1), runner, clock=time.time, on_event=lambda event: None,
                       interrupted=lambda: False, shared=shared)  # fmt: skip
    shared.close()
    helper = Helper(address, folder, FakeRunner(), plan(1)).ended()
    assert helper.runner.steps_trained == 0
    (ended,) = [event.record for event in helper.events if isinstance(event, TrialFinished)]
    assert ended.state == "failed"
    assert ended.failure is not None
    assert "3 workers ended" in ended.failure.message


def test_a_study_goes_on_when_the_database_was_restarted(address, folder):
    opened(address, folder, 12).close()
    runner, helper = slow(0.1), Helper(address, folder, slow(0.1), plan(12))
    restarted = []

    def restart() -> None:
        time.sleep(0.1)
        if runner.steps_trained >= 20 and not restarted:
            restarted.append(True)
            server().kill()
            time.sleep(1.0)
            server().start()

    runner.before_advance = restart
    outcome = led(address, folder, runner, plan(12))
    helper.ended()
    assert restarted
    assert len(outcome.records) == 12
    assert len({record.number for record in outcome.records}) == 12


def test_closed_studies_give_no_trials(address, folder):
    shared = opened(address, folder)
    shared.set_plan(n_trials=6, target=None, is_open=False)
    shared.close()
    helper = Helper(address, folder, FakeRunner(), plan(6)).ended()
    assert helper.stopped == "interrupted"
    assert helper.runner.started == []


def test_a_finished_study_is_only_read_again(address, folder):
    first = led(address, folder)
    again = FakeRunner()
    assert led(address, folder, again) == replace(first, duration_s=pytest.approx(first.duration_s))
    assert again.started == []


def test_more_trials_go_on_with_the_same_study(address, folder):
    led(address, folder, planned=plan(4))
    outcome = led(address, folder, planned=plan(7))
    assert [record.number for record in outcome.records] == list(range(7))


def test_a_study_of_other_settings_or_another_folder_is_refused(address, folder, tmp_path):
    led(address, folder)
    with pytest.raises(InputError, match=r"--study clones: .* other settings \(seed: 0 then, 1 now\)"):
        opened(address, folder, seed=1)
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(InputError, match=f"whose run folder is {folder}"):
        opened(address, other)


def test_only_one_process_leads_a_study(address, folder, tmp_path):
    shared = opened(address, folder)
    with pytest.raises(InputError, match="another `tune` leads it"):
        opened(address, folder)
    shared.close()
    opened(address, folder).close()


def test_processes_that_begin_together_both_find_their_tables(address):
    made: list[object] = []
    threads = [threading.Thread(target=lambda: made.append(connect(address, times=TIMES))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 6
    for storage in made:
        storage.close()


def test_a_database_that_is_not_there_may_come_back_and_one_that_refuses_does_not(address):
    with pytest.raises(StorageAwayError):
        connect(Address(url="postgresql+psycopg://me@127.0.0.1:1/d", study="s"))
    with pytest.raises(InputError) as caught:
        connect(Address(url=address.url.replace(server().password, "wrong"), study="s"))
    assert not isinstance(caught.value, StorageAwayError)


def test_a_database_that_lost_trials_is_refused(address, folder):
    led(address, folder)
    fresh = Address(url=new_database(server()), study="clones")
    with pytest.raises(DataError, match=r"lacks trial 0 of trials\.jsonl"):
        led(fresh, folder)


def test_passwords_are_neither_shown_nor_kept(address, folder):
    led(address, folder)
    password = server().password
    assert password not in repr(address) + address.shown
    assert all(password not in path.read_text() for path in folder.rglob("*.json*"))
    shared = joined(address)
    assert password not in json.dumps(shared.attributes)
    shared.close()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://u@h/d", "'mysql' is not postgresql"),
        ("nonsense", "not a URL"),
        ("postgresql://advisor:secret@127.0.0.1:1/d", "cannot be used"),
    ],
)
def test_databases_that_cannot_be_used_are_refused_in_one_line(url, said):
    pytest.importorskip("psycopg")
    with pytest.raises(InputError, match=said) as caught:
        connect(Address(url=url, study="s"))
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_wrong_password_is_refused_without_showing_it(address):
    wrong = Address(url=address.url.replace(server().password, "hunter2"), study="s")
    with pytest.raises(InputError, match="password authentication failed") as caught:
        connect(wrong)
    assert "hunter2" not in str(caught.value)
