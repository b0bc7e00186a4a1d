"""A search that is cut off anywhere loses no finished trial, repeats none, and ends as if nothing had happened."""

import errno
import logging
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from optuna.exceptions import StorageInternalError
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState

from advisor.candidates import Candidate
from advisor.errors import AdvisorError, DataError
from advisor.search import SearchOutcome, StudySettings, adapters, run_search, study
from advisor.search.asking import ORIGIN
from advisor.search.checkpoints import FOLDER_NAME, ROUND_NAME
from advisor.search.journal import Journal
from advisor.search.keeper import FolderKeeper
from advisor.search.loop import Search
from advisor.search.study import begin_study, continue_study
from advisor.trial import Inference, TrialRecord, TrialSpec
from advisor.trials_file import FILE_NAME, read_records
from tests.search.fakes import FakeRunner, candidate, inference, plan, settings

pytestmark = pytest.mark.slow

N_TRIALS = 7


@pytest.fixture(autouse=True, scope="module")
def _pruning_from_the_third_complete_trial_on() -> Iterator[None]:
    """Let short studies prune: what a trial is compared with must be the same after a kill."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study, "N_FREE_TRIALS", 0)
        yield


class Crash(BaseException):
    """Stands for a killed process: nothing may catch it."""


def crash() -> BaseException:
    return Crash()


def full_disk() -> BaseException:
    return OSError(errno.ENOSPC, "No space left on device")


class Fuse:
    """Counts writes; the one numbered `burns_at` does not come back, nor does any after it."""

    def __init__(self, burns_at: int | None = None, failure: Callable[[], BaseException] = crash) -> None:
        self.burns_at = burns_at
        self.n_writes = 0
        self.failure = failure

    def __call__(self) -> None:
        self.n_writes += 1
        if self.burns_at is not None and self.n_writes >= self.burns_at:
            raise self.failure()


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
            try:
                self.fuse()
                result = found(*args, **kwargs)  # type: ignore[operator]
                self.fuse()
            except OSError as error:
                raise StorageInternalError("database or disk is full") from error
            return result

        return write


@contextmanager
def fragile_files(fuse: Fuse, trials: Path) -> Iterator[None]:
    """Let writes to the run folder burn the fuse too; a crash while trials.jsonl is synced leaves half a line."""
    real = {"replace": Path.replace, "rmtree": shutil.rmtree}

    def between(name: str) -> Callable[..., object]:
        def write(*args: object, **kwargs: object) -> object:
            fuse()
            done = real[name](*args, **kwargs)
            fuse()
            return done

        return write

    def fsync(number: int) -> None:
        whole = os.fstat(number).st_size
        try:
            fuse()
        except Crash:
            if trials.exists() and os.path.sameopenfile(number, handle := os.open(trials, os.O_RDONLY)):
                os.close(handle)
                start_of_last = trials.read_bytes()[: whole - 1].rfind(b"\n") + 1
                os.truncate(trials, (start_of_last + whole) // 2)
            raise
        fuse()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "replace", between("replace"))
        patch.setattr(shutil, "rmtree", between("rmtree"))
        patch.setattr(os, "fsync", fsync)
        yield


def run(
    folder: Path,
    storage: FragileStorage,
    fuse: Fuse,
    n_trials: int = N_TRIALS,
    runner: FakeRunner | None = None,
    about: StudySettings | None = None,
) -> SearchOutcome:
    """Run a search as a new process would: everything but storage and folder is new."""
    about = about or settings()
    runner = runner or FakeRunner(fails=ia3_runs_out_of_memory)
    storage.fuse = fuse
    with fragile_files(fuse, folder / FILE_NAME):
        return Search(
            keeper=FolderKeeper(
                study=continue_study(storage, about, str(folder)),
                journal=Journal(folder),
                folder=folder,
                settings=about,
                clock=runner.clock,
            ),
            folder=folder,
            settings=about,
            plan=plan(n_trials),
            runner=runner,
            clock=runner.clock,
            on_event=lambda event: None,
            interrupted=lambda: False,
        ).run()


def ia3_runs_out_of_memory(spec: TrialSpec):
    return "out-of-memory" if spec.candidate.method == "ia3" and spec.number < 4 else None


def wide() -> FakeRunner:
    """Return a runner whose trials are between two rungs when others report."""
    return FakeRunner(slots=3, fails=ia3_runs_out_of_memory)


def narrow() -> FakeRunner:
    return FakeRunner(slots=1, fails=ia3_runs_out_of_memory)


def begun(folder: Path) -> FragileStorage:
    """Return a storage with an empty study."""
    folder.mkdir()
    storage = FragileStorage()
    begin_study(storage, settings())
    return storage


def found(records: tuple[TrialRecord, ...]) -> list[object]:
    """Return all of the trials that does not depend on the clock."""
    return [
        (
            record.number, record.state, record.origin, record.seed, record.candidate, record.value, record.failure,
            [(report.rung, report.step, dict(report.metrics), report.failure) for report in record.reports],
        )
        for record in records
    ]  # fmt: skip


def uninterrupted(folder: Path, runner: FakeRunner) -> tuple[SearchOutcome, int]:
    """Return what a search finds when nothing happens, and how many writes it makes."""
    fuse = Fuse()
    return run(folder, begun(folder), fuse, runner=runner), fuse.n_writes


def cut_at(
    folder: Path,
    points: list[int],
    make_runner: Callable[[], FakeRunner],
    failure: Callable[[], BaseException] = crash,
) -> SearchOutcome:
    """Run a search that breaks off after each number of writes in `points`, then let it finish; check on the way."""
    storage = begun(folder)
    lines: list[bytes] = []
    for point in points:
        try:
            run(folder, storage, Fuse(point, failure), runner=make_runner())
        except (Crash, OSError, StorageInternalError, AdvisorError):
            path = folder / FILE_NAME
            now = path.read_bytes().splitlines(keepends=True) if path.exists() else []
            whole = [line for line in now if line.endswith(b"\n")]
            assert whole[: len(lines)] == lines, "a finished trial was lost or rewritten"
            lines = whole
    outcome = run(folder, storage, Fuse(), runner=make_runner())
    now = (folder / FILE_NAME).read_bytes().splitlines(keepends=True)
    assert now[: len(lines)] == lines, "a finished trial was lost or rewritten"
    check_whole(folder, storage, outcome)
    return outcome


def check_whole(folder: Path, storage: FragileStorage, outcome: SearchOutcome) -> None:
    numbers = [record.number for record in outcome.records]
    assert sorted(numbers) == list(range(N_TRIALS))
    assert read_records(folder / FILE_NAME) == outcome.records
    told = {trial.number: trial for trial in optuna.load_study(study_name=None, storage=storage).trials}
    assert len(told) == N_TRIALS
    assert {trial.state for trial in told.values()} <= {TrialState.COMPLETE, TrialState.PRUNED}
    for record in outcome.records:
        assert told[record.number].value == record.value or record.state != "complete"
        assert told[record.number].intermediate_values == {
            report.step: report.metrics["f1"] for report in record.reports if not report.failure
        }
        assert bool(record.failure) == any(value > 0 for value in told[record.number].constraints.values())
    needed = {record.number for record in (outcome.best, outcome.recommended, *outcome.finalists) if record}
    assert outcome.recommended is not None
    assert outcome.recommended.candidate == settings().warm_starts[0]
    assert {int(path.name) for path in (folder / "trials").iterdir()} == needed
    assert all(adapters.adapter_folder(folder, number).is_dir() for number in needed)
    assert not (folder / FOLDER_NAME).exists()


RUNNERS = pytest.mark.parametrize("make_runner", [narrow, wide])


def check_every(stride: int, tmp_path: Path, make_runner: Callable[[], FakeRunner], failure=crash) -> None:
    whole, n_writes = uninterrupted(tmp_path / "whole", make_runner())
    assert n_writes > 200
    assert {record.state for record in whole.records} == {"complete", "pruned", "failed"}
    for point in range(1, n_writes + 1, stride):
        outcome = cut_at(tmp_path / str(point), [point], make_runner, failure)
        assert found(outcome.records) == found(whole.records), point
        assert outcome.best.number == whole.best.number


@RUNNERS
def test_a_search_cut_off_at_a_write_ends_as_if_nothing_had_happened(tmp_path, make_runner):
    check_every(29, tmp_path, make_runner)


@pytest.mark.slow
@RUNNERS
def test_a_search_cut_off_at_any_write_ends_as_if_nothing_had_happened(tmp_path, make_runner):
    check_every(1, tmp_path, make_runner)


@RUNNERS
def test_a_disk_that_is_full_at_a_write_costs_no_finished_trial_and_changes_nothing(tmp_path, make_runner):
    check_every(31, tmp_path, make_runner, full_disk)


@pytest.mark.slow
@RUNNERS
def test_a_disk_that_is_full_at_any_write_costs_no_finished_trial_and_changes_nothing(tmp_path, make_runner):
    check_every(1, tmp_path, make_runner, full_disk)


@RUNNERS
@given(points=st.lists(st.integers(min_value=1, max_value=150), min_size=2, max_size=6))
@hypothesis_settings(
    max_examples=8, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_search_cut_off_again_and_again_ends_as_if_nothing_had_happened(tmp_path_factory, make_runner, points):
    folder = tmp_path_factory.mktemp("cut")
    whole, _ = uninterrupted(folder / "whole", make_runner())
    assert found(cut_at(folder / "run", points, make_runner).records) == found(whole.records)


def stopped_in(folder: Path, number: int, step: int, make_runner=narrow) -> FragileStorage:
    """Return the storage of a search that was killed when a trial had left a step."""
    storage, runner = begun(folder), make_runner()

    def die() -> None:
        if number in runner.live and runner.live[number].step == step:
            raise Crash

    runner.before_advance = die
    with pytest.raises(Crash):
        run(folder, storage, Fuse(), runner=runner)
    return storage


def test_a_killed_trial_goes_on_from_its_last_rung_and_nothing_is_trained_twice(tmp_path, caplog):
    whole = narrow()
    expected, _ = uninterrupted(tmp_path / "whole", whole)
    number = max(record.number for record in expected.records if record.state == "complete")
    storage = stopped_in(folder := tmp_path / "run", number, 10)
    runner = narrow()
    with caplog.at_level(logging.INFO, "advisor.search.loop"):
        outcome = run(folder, storage, Fuse(), runner=runner)
    assert runner.resumed == [(number, 10)]
    assert found(outcome.records) == found(expected.records)
    done_before = sum(record.reports[-1].step for record in expected.records[:number]) + 10
    assert runner.steps_trained == whole.steps_trained - done_before
    assert f"trials {number} under way: {number} go on from their last round" in caplog.text


def test_a_trial_killed_before_its_first_rung_begins_again_under_its_number(tmp_path):
    expected, _ = uninterrupted(tmp_path / "whole", narrow())
    storage = stopped_in(folder := tmp_path / "run", 2, 0)
    runner = narrow()
    outcome = run(folder, storage, Fuse(), runner=runner)
    assert runner.started[0].number == 2
    assert runner.resumed == []
    assert found(outcome.records) == found(expected.records)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "removed": lambda checkpoint: shutil.rmtree(checkpoint),
    "cut": lambda checkpoint: (checkpoint / "progress.json").write_text('{"step": 5'),
    "of another trial": lambda checkpoint: (checkpoint / "progress.json").write_text(
        '{"step": 10, "rung": 2, "candidate": {}}'
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
@RUNNERS
def test_a_damaged_checkpoint_costs_time_and_nothing_else(tmp_path, damage, make_runner):
    expected, _ = uninterrupted(tmp_path / "whole", make_runner())
    storage = stopped_in(folder := tmp_path / "run", 0, 10, make_runner)
    checkpoints = sorted((folder / FOLDER_NAME).glob("*/*"))
    assert checkpoints
    DAMAGES[damage](checkpoints[0])
    runner = make_runner()
    outcome = run(folder, storage, Fuse(), runner=runner)
    assert runner.started[0].number == 0
    assert found(outcome.records) == found(expected.records)
    assert not (folder / FOLDER_NAME).exists()


def test_without_the_list_of_live_trials_they_begin_again(tmp_path, caplog):
    expected, _ = uninterrupted(tmp_path / "whole", wide())
    storage = stopped_in(folder := tmp_path / "run", 0, 10, wide)
    n_begun = storage.get_n_trials(0)
    (folder / FOLDER_NAME / ROUND_NAME).write_text('{"schema_version": 1, "live"')
    runner = wide()
    outcome = run(folder, storage, Fuse(), runner=runner)
    assert runner.resumed == []
    assert sorted(record.number for record in outcome.records) == list(range(N_TRIALS))
    # Trials that are asked for later go by what is finished then, and that comes in another order now.
    assert n_begun == 4
    assert {record.number: record.value for record in outcome.records if record.number < n_begun} == {
        record.number: record.value for record in expected.records if record.number < n_begun
    }
    assert "live trials begin again" in caplog.text


def test_a_live_trial_of_an_earlier_version_that_was_half_drawn_is_forgotten(tmp_path):
    storage = begun(folder := tmp_path / "run")
    stored = optuna.load_study(study_name=None, storage=storage)
    stored.ask().suggest_categorical("method", ["lora", "ia3"])
    outcome = run(folder, storage, Fuse())
    assert [trial.state.name for trial in stored.trials].count("FAIL") == 1
    assert len(outcome.records) == N_TRIALS
    assert 0 not in {record.number for record in outcome.records}


def test_a_retry_that_an_earlier_version_queued_is_run(tmp_path):
    storage = begun(folder := tmp_path / "run")
    stored = optuna.load_study(study_name=None, storage=storage)
    parameters = {"method": "lora", "lora.learning_rate": 0.002, "lora.r": 16}
    stored.enqueue_trial(parameters, user_attrs={ORIGIN: "retry", "retry_of": 7})
    outcome = run(folder, storage, Fuse())
    retry = next(record for record in outcome.records if record.origin == "retry")
    values = retry.candidate.hyperparameters
    assert (retry.candidate.method, values["learning_rate"], values["r"]) == ("lora", 0.002, 16)


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
    (folder / FILE_NAME).unlink()
    with pytest.raises(DataError, match=r"trials\.jsonl lacks trial 0"):
        run(folder, storage, Fuse())


def test_a_trials_file_without_its_study_is_refused(tmp_path):
    run(folder := tmp_path / "run", begun(folder), Fuse())
    storage = FragileStorage()
    begin_study(storage, settings())
    with pytest.raises(DataError, match=r"study\.db lacks trial 0"):
        run(folder, storage, Fuse())


def search_on_disk(folder: Path, runner: FakeRunner) -> SearchOutcome:
    return run_search(
        folder,
        settings(),
        plan(N_TRIALS),
        runner,
        clock=runner.clock,
        on_event=lambda event: None,
        interrupted=lambda: False,
    )


def killed_after(n_syncs: int, folder: Path) -> bool:
    """Search in a process of its own that is killed at a sync of a file; return False when it came to its end."""
    child = os.fork()
    if child == 0:
        left, real_fsync = [n_syncs], os.fsync

        def fsync(number: int) -> None:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            real_fsync(number)

        os.fsync = fsync
        try:
            search_on_disk(folder, wide())
            os._exit(0)
        except BaseException:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def test_a_process_killed_five_times_loses_and_repeats_no_finished_trial(tmp_path):
    (tmp_path / "whole").mkdir()
    (tmp_path / "run").mkdir()
    whole = search_on_disk(tmp_path / "whole", wide())
    lines: list[bytes] = []
    for n_syncs in (7, 11, 9, 6, 5):
        assert killed_after(n_syncs, tmp_path / "run")
        path = tmp_path / "run" / FILE_NAME
        now = path.read_bytes().splitlines() if path.exists() else []
        assert now[: len(lines)] == lines
        lines = now
    outcome = search_on_disk(tmp_path / "run", wide())
    assert found(outcome.records) == found(whole.records)
    assert outcome.best.number == whole.best.number
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"study.db", "trials", "trials.jsonl"}
    assert candidate() == outcome.recommended.candidate


OBJECTIVES = ("quality", "memory", "latency")


def weighing() -> FakeRunner:
    """Return a runner that measures: a larger rank takes more memory, IA3 less of it but more time."""

    def taken(of: Candidate) -> Inference:
        rank = int(of.hyperparameters.get("r", 1))  # type: ignore[call-overload]
        return inference(100 + rank, 2.0 if of.method == "ia3" else 1.0)

    return FakeRunner(slots=2, fails=ia3_runs_out_of_memory, taken=taken)


def test_a_search_with_several_objectives_goes_on_after_a_kill_and_finds_the_same(tmp_path):
    about = settings(objectives=OBJECTIVES)

    def begun_for(folder: Path) -> FragileStorage:
        folder.mkdir()
        begin_study(storage := FragileStorage(), about)
        return storage

    fuse = Fuse()
    whole = run(tmp_path / "whole", begun_for(tmp_path / "whole"), fuse, runner=weighing(), about=about)
    assert whole.trade_offs is not None
    assert len(whole.trade_offs.front) > 1
    for point in range(1, fuse.n_writes + 1, 17):
        storage = begun_for(folder := tmp_path / str(point))
        with pytest.raises((Crash, OSError)):
            run(folder, storage, Fuse(point), runner=weighing(), about=about)
        outcome = run(folder, storage, Fuse(), runner=weighing(), about=about)
        assert found(outcome.records) == found(whole.records), point
        assert outcome.trade_offs == whole.trade_offs, point
        told = optuna.load_study(study_name=None, storage=storage)
        for record in outcome.records:
            values = told.trials[record.number].values
            assert (values is None) == (record.inference is None) == (record.state != "complete")
            if record.inference is not None:
                assert values == [record.value, float(record.inference.memory_bytes), record.inference.latency_s]
        assert {trial.number for trial in told.best_trials} == set(whole.trade_offs.front)
