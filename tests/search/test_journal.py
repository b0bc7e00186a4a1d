"""trials.jsonl tolerates a cut last line and nothing else."""

import pytest

from advisor.errors import DataError
from advisor.search.journal import Journal
from advisor.trial import RungReport, TrialFailure, TrialRecord
from advisor.trials_file import read_records
from tests.search.fakes import candidate


def record(number: int) -> TrialRecord:
    report = RungReport(
        number=number,
        rung=0,
        step=5,
        metrics={"f1": 0.5},
        train_loss=None,
        duration_s=1.5,
        failure=TrialFailure(kind="error", message="Zeile\n\u2028zwei"),
    )
    return TrialRecord(
        number=number,
        state="failed",
        candidate=candidate(),
        seed=0,
        origin="sampler",
        value=None,
        reports=(report,),
        started_at="2026-01-01T00:00:00+00:00",
        failure=report.failure,
    )


def test_what_is_appended_is_read_back(tmp_path):
    journal = Journal(tmp_path)
    for number in range(3):
        journal.append(record(number))
    assert read_records(journal.path) == (record(0), record(1), record(2))
    assert Journal(tmp_path).records == [record(0), record(1), record(2)]


def test_a_missing_file_holds_no_trials(tmp_path):
    assert Journal(tmp_path).records == []
    assert not (tmp_path / "trials.jsonl").exists()


def test_a_last_line_cut_at_any_byte_is_ignored_and_repaired(tmp_path):
    journal = Journal(tmp_path)
    journal.append(record(0))
    whole = journal.path.stat().st_size
    journal.append(record(1))
    both = journal.path.read_bytes()
    for size in [*range(whole, len(both), 23), len(both) - 2]:
        journal.path.write_bytes(both[:size])
        assert read_records(journal.path) == (record(0),)
        repaired = Journal(tmp_path)
        repaired.append(record(2))
        assert read_records(journal.path) == (record(0), record(2))


def test_a_whole_last_line_without_its_line_end_counts_and_is_ended(tmp_path):
    journal = Journal(tmp_path)
    journal.append(record(0))
    journal.append(record(1))
    both = journal.path.read_bytes()
    journal.path.write_bytes(both[:-1])
    assert read_records(journal.path) == (record(0), record(1))
    repaired = Journal(tmp_path)
    assert journal.path.read_bytes() == both
    repaired.append(record(2))
    assert read_records(journal.path) == (record(0), record(1), record(2))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "trials.jsonl:1: not valid JSON"),
        ("[]", "trials.jsonl:1: TrialRecord: expected an object"),
        ('{"number": 1}', "trials.jsonl:1: state: missing"),
        ("[" * 100_000, "trials.jsonl:1: not valid JSON"),
    ],
)
def test_a_whole_line_that_is_no_trial_is_an_error_with_its_place(tmp_path, line, said):
    (tmp_path / "trials.jsonl").write_text(line + "\n")
    with pytest.raises(DataError, match=said):
        read_records(tmp_path / "trials.jsonl")


def test_a_trial_that_stands_there_twice_is_an_error(tmp_path):
    journal = Journal(tmp_path)
    journal.append(record(4))
    journal.append(record(4))
    with pytest.raises(DataError, match="trial 4 stands there twice"):
        Journal(tmp_path)


def test_a_folder_in_place_of_the_file_is_an_error(tmp_path):
    (tmp_path / "trials.jsonl").mkdir()
    with pytest.raises(DataError, match="cannot be read"):
        Journal(tmp_path)
