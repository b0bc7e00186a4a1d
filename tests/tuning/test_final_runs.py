"""finals.jsonl: whole lines are kept, a cut one is not, and nonsense is named with its row."""

import pytest

from advisor.errors import DataError
from advisor.tuning.final_runs import FinalRun, FinalRuns, final_adapter, remove_runs_of_others
from tests.search.fakes import candidate
from tests.tuning.fakes import report


def run(trial: int = 3, seed: int = 1, value: float | None = 0.5) -> FinalRun:
    return FinalRun(
        trial=trial,
        seed=seed,
        state="failed" if value is None else "complete",
        candidate=candidate(),
        value=value,
        reports=(report(3, 0, 5, {"f1": 0.25}), report(3, 1, 10, {"f1": 0.5})),
        started_at="2026-01-01T00:00:00+00:00",
    )


def test_what_was_appended_is_read_again(tmp_path):
    held = FinalRuns(tmp_path)
    assert held.runs == {}
    held.append(run())
    held.append(run(seed=2, value=None))
    assert FinalRuns(tmp_path).runs == {(3, 1): run(), (3, 2): run(seed=2, value=None)} == held.runs
    assert run().duration_s == 10.0


def test_a_line_that_a_kill_cut_off_is_forgotten_and_removed(tmp_path):
    FinalRuns(tmp_path).append(run())
    path = tmp_path / "finals.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:40])
    assert list(FinalRuns(tmp_path).runs) == [(3, 1)]
    assert path.read_bytes() == whole


def test_a_line_that_lacks_only_its_end_is_a_finished_run(tmp_path):
    held = FinalRuns(tmp_path)
    held.append(run())
    path = tmp_path / "finals.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    held = FinalRuns(tmp_path)
    assert held.runs == {(3, 1): run()}
    assert path.read_bytes() == whole
    held.append(run(seed=2))
    assert len(FinalRuns(tmp_path).runs) == 2


def test_a_later_line_of_a_run_replaces_the_earlier(tmp_path):
    held = FinalRuns(tmp_path)
    held.append(run(value=0.5))
    held.append(run(value=0.75))
    assert FinalRuns(tmp_path).runs[3, 1].value == 0.75


@pytest.mark.parametrize("line", ["no json", "{}", '{"schema_version": 9}', "[1]"])
def test_a_line_that_is_no_record_is_named_with_its_row(tmp_path, line):
    FinalRuns(tmp_path).append(run())
    path = tmp_path / "finals.jsonl"
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(DataError, match=r"finals\.jsonl:2: "):
        FinalRuns(tmp_path)


def test_a_record_of_another_version_is_refused(tmp_path):
    FinalRuns(tmp_path).append(run())
    path = tmp_path / "finals.jsonl"
    path.write_text(path.read_text().replace('"schema_version": 1', '"schema_version": 2'))
    with pytest.raises(DataError, match="schema_version 2 is not 1"):
        FinalRuns(tmp_path)


def test_only_folders_of_the_named_trials_stay(tmp_path):
    for key in ((1, 8), (1, 9), (12, 8)):
        final_adapter(tmp_path, key).mkdir(parents=True)
    (tmp_path / "finals" / "notes").mkdir()
    remove_runs_of_others(tmp_path, {1})
    assert {path.name for path in (tmp_path / "finals").iterdir()} == {"1-seed8", "1-seed9", "notes"}
