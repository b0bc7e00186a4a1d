"""A search that is cut off anywhere loses no finished trial, repeats none, and goes on as if nothing had happened."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent

import optuna
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState

from advisor.errors import DataError
from advisor.search import SearchOutcome, adapters, journal, run_search
from advisor.search.journal import Journal, read_records
from advisor.search.loop import Search
from advisor.search.study import begin_study, continue_study
from advisor.trial import TrialRecord
from tests.search.fakes import FakeClock, FakeRunner, candidate, plan, settings

N_TRIALS = 5


class Crash(BaseException):
    """Stands for a killed process: nothing may catch it."""


class Fuse:
    """Counts writes; the one numbered `burns_at` does not come back."""

    def __init__(self, burns_at: int | None = None) -> None:
        self.burns_at = burns_at
        self.n_writes = 0

    def __call__(self) -> None:
        self.n_writes += 1
        if self.n_writes == self.burns_at:
            raise Crash


WRITES = (
    "create_new_trial",
    "set_trial_param",
    "set_trial_state_values",
    "set_trial_intermediate_value",
    "set_trial_user_attr",
    "set_trial_system_attr",
    "set_study_user_attr",
)


class FragileStorage(InMemoryStorage):
    """Storage whose writes may be the last ones: each passes the fuse before and after."""

    fuse = Fuse()

    def __getattribute__(self, name: str) -> object:
        found = super().__getattribute__(name)
        if name not in WRITES:
            return found

        def write(*args: object, **kwargs: object) -> object:
            self.fuse()
            result = found(*args, **kwargs)  # type: ignore[operator]
            self.fuse()
            return result

        return write


@contextmanager
def fragile_files(fuse: Fuse, trials: Path) -> Iterator[None]:
    """Let writes to the run folder burn the fuse too; one that burns in trials.jsonl leaves half a line."""

    real_replace = Path.replace

    def replace(source: Path, target: Path) -> Path:
        fuse()
        done = real_replace(source, target)
        fuse()
        return done

    def fsync(number: int) -> None:
        whole = trials.stat().st_size
        try:
            fuse()
        except Crash:
            lines = trials.read_bytes()
            start_of_last = lines[: whole - 1].rfind(b"\n") + 1
            os.truncate(trials, (start_of_last + whole) // 2)
            raise
        fuse()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        patch.setattr(journal, "os", type("", (), {"fsync": staticmethod(fsync)}))
        yield


def run(folder: Path, storage: FragileStorage, fuse: Fuse, n_trials: int = N_TRIALS, slots: int = 1) -> SearchOutcome:
    """Run a search as a new process would: everything but storage and folder is new."""
    clock = FakeClock()
    storage.fuse = fuse
    with fragile_files(fuse, folder / journal.FILE_NAME):
        return Search(
            study=continue_study(storage, settings(), str(folder)),
            journal=Journal(folder),
            folder=folder,
            settings=settings(),
            plan=plan(n_trials),
            runner=FakeRunner(slots=slots, clock=clock, fails=ia3_runs_out_of_memory),
            clock=clock,
            on_event=lambda event: None,
            interrupted=lambda: False,
        ).run()


def ia3_runs_out_of_memory(spec):
    too_much = spec.candidate.method == "ia3"
    return "out-of-memory" if too_much else None


def begun(folder: Path) -> FragileStorage:
    """Return a storage with an empty study."""
    folder.mkdir()
    storage = FragileStorage()
    begin_study(storage, settings())
    return storage


def tried(records: tuple[TrialRecord, ...]) -> list[dict[str, object]]:
    return [dict(record.candidate.hyperparameters, method=record.candidate.method) for record in records]


def uninterrupted(folder: Path) -> tuple[SearchOutcome, int]:
    """Return what a search finds when nothing happens, and how many writes it makes."""
    fuse = Fuse()
    return run(folder, begun(folder), fuse), fuse.n_writes


def cut_at(folder: Path, points: list[int]) -> SearchOutcome:
    """Run a search that crashes after each number of writes in `points`, then let it finish; check on the way."""
    storage = begun(folder)
    lines: list[bytes] = []
    for point in points:
        try:
            run(folder, storage, Fuse(point))
        except Crash:
            path = folder / journal.FILE_NAME
            now = path.read_bytes().splitlines(keepends=True) if path.exists() else []
            whole = [line for line in now if line.endswith(b"\n")]
            assert whole[: len(lines)] == lines, "a finished trial was lost or rewritten"
            lines = whole
    outcome = run(folder, storage, Fuse())
    now = (folder / journal.FILE_NAME).read_bytes().splitlines(keepends=True)
    assert now[: len(lines)] == lines, "a finished trial was lost or rewritten"
    check_whole(folder, storage, outcome)
    return outcome


def check_whole(folder: Path, storage: FragileStorage, outcome: SearchOutcome) -> None:
    numbers = [record.number for record in outcome.records]
    assert len(numbers) == N_TRIALS
    assert len(set(numbers)) == N_TRIALS
    assert read_records(folder / journal.FILE_NAME) == outcome.records
    told = {trial.number: trial for trial in optuna.load_study(study_name=None, storage=storage).trials}
    assert {told[number].state for number in numbers} <= {TrialState.COMPLETE, TrialState.PRUNED}
    assert all(trial.state != TrialState.RUNNING for trial in told.values())
    for record in outcome.records:
        assert told[record.number].value == record.value or record.state != "complete"
        assert bool(record.failure) == any(value > 0 for value in told[record.number].constraints.values())
    for record in (outcome.best, outcome.recommended):
        assert record is not None
        assert adapters.adapter_folder(folder, record.number).is_dir()
    assert outcome.recommended.candidate == settings().warm_starts[0]
    kept = {int(path.name) for path in (folder / "trials").iterdir()}
    assert kept == {outcome.best.number, outcome.recommended.number}


def test_a_search_cut_off_at_any_write_goes_on_as_if_nothing_had_happened(tmp_path):
    whole, n_writes = uninterrupted(tmp_path / "whole")
    assert n_writes > 100
    assert any(record.state == "failed" for record in whole.records)
    for point in range(1, n_writes + 1):
        outcome = cut_at(tmp_path / str(point), [point])
        assert tried(outcome.records) == tried(whole.records)
        assert outcome.best.value == whole.best.value


@given(points=st.lists(st.integers(min_value=1, max_value=60), min_size=2, max_size=4))
@hypothesis_settings(
    max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_search_cut_off_again_and_again_still_finishes_every_trial_once(tmp_path_factory, points):
    cut_at(tmp_path_factory.mktemp("cut") / "run", points)


def test_a_search_with_several_slots_survives_a_cut_at_any_write(tmp_path):
    fuse = Fuse()
    run(folder := tmp_path / "whole", begun(folder), fuse, slots=3)
    for point in range(1, fuse.n_writes + 1, 3):
        storage = begun(folder := tmp_path / str(point))
        with pytest.raises(Crash):
            run(folder, storage, Fuse(point), slots=3)
        check_whole(folder, storage, run(folder, storage, Fuse(), slots=3))


def test_an_interrupted_trial_is_marked_and_its_repetition_says_so(tmp_path):
    storage = begun(folder := tmp_path / "run")
    with pytest.raises(Crash):
        run(folder, storage, Fuse(16))
    outcome = run(folder, storage, Fuse())
    failed = [
        trial for trial in optuna.load_study(study_name=None, storage=storage).trials if trial.state.name == "FAIL"
    ]
    assert [trial.number for trial in failed] == [0]
    retry = next(record for record in outcome.records if record.origin == "retry")
    assert retry.candidate == settings().warm_starts[0]
    assert retry == outcome.recommended


def test_more_trials_than_before_continue_a_finished_study(tmp_path):
    storage = begun(folder := tmp_path / "run")
    first = run(folder, storage, Fuse(), n_trials=3)
    second = run(folder, storage, Fuse(), n_trials=6)
    assert second.records[:3] == first.records
    assert len(second.records) == 6


def test_a_finished_study_runs_nothing(tmp_path):
    storage = begun(folder := tmp_path / "run")
    first = run(folder, storage, Fuse())
    fuse = Fuse()
    assert run(folder, storage, fuse) == first
    # Only the spent seconds are noted again.
    assert fuse.n_writes <= 2


def test_a_study_without_its_trials_file_is_refused(tmp_path):
    storage = begun(folder := tmp_path / "run")
    run(folder, storage, Fuse())
    (folder / journal.FILE_NAME).unlink()
    with pytest.raises(DataError, match=r"trials\.jsonl lacks trial 0"):
        run(folder, storage, Fuse())


def test_a_trials_file_without_its_study_is_refused(tmp_path):
    run(folder := tmp_path / "run", begun(folder), Fuse())
    storage = FragileStorage()
    begin_study(storage, settings())
    with pytest.raises(DataError, match=r"study\.db lacks trial 0"):
        run(folder, storage, Fuse())


CHILD = """
    import sys
    from pathlib import Path
    from advisor.search import run_search
    from tests.search.fakes import FakeClock, FakeRunner, plan, settings

    clock = FakeClock()
    runner = FakeRunner(clock=clock)

    def wait_for_death() -> None:
        if len(runner.started) == 3:  # in the middle of the third trial
            print("in the third trial", flush=True)
            sys.stdin.read()

    runner.before_advance = wait_for_death
    run_search(Path(sys.argv[1]), settings(), plan(5), runner, clock=clock, on_event=lambda event: None,
               interrupted=lambda: False)
"""


def test_a_killed_process_loses_only_the_trial_it_was_in(tmp_path):
    child = subprocess.Popen(
        [sys.executable, "-c", dedent(CHILD), str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "in the third trial\n"
    child.send_signal(signal.SIGKILL)
    child.communicate()
    before = read_records(tmp_path / journal.FILE_NAME)
    assert len(before) == 2

    clock = FakeClock()
    runner = FakeRunner(clock=clock)
    outcome = run_search(
        tmp_path, settings(), plan(5), runner, clock=clock, on_event=lambda event: None, interrupted=lambda: False
    )
    assert outcome.records[:2] == before
    assert len(runner.started) == 3
    assert [record.origin for record in outcome.records] == ["recommendation", "sampler", "retry", "sampler", "sampler"]
    assert outcome.recommended is not None
    assert outcome.recommended.candidate == candidate()
    assert len({record.number for record in outcome.records}) == 5
