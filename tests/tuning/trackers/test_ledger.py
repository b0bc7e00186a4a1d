"""trackers.json keeps what was logged, and nothing else decides."""

import json

import pytest

from advisor.errors import DataError
from advisor.tuning.trackers.ledger import FILE_NAME, Ledger, LoggedRun, at_step


def run(key: str, **changes: object) -> LoggedRun:
    return LoggedRun(**{"tracker": "mlflow", "place": "mlflow", "key": key, **changes})


def test_what_was_noted_is_there_when_the_file_is_read_again(tmp_path):
    ledger = Ledger(tmp_path)
    assert not (tmp_path / FILE_NAME).exists()
    ledger.note(run("trial-0"))
    ledger.note(run("trial-0", step=5))
    ledger.note(run("trial-1", step=3, ended="complete"))
    again = Ledger(tmp_path)
    assert again.study == ledger.study
    assert again.of("mlflow", "mlflow", "trial-0") == run("trial-0", step=5)
    assert again.of("mlflow", "mlflow", "trial-1") == run("trial-1", step=3, ended="complete")
    assert again.of("wandb", "mlflow", "trial-0") is None
    assert again.of("mlflow", "elsewhere", "trial-0") is None


def test_two_studies_have_different_names(tmp_path):
    assert Ledger(tmp_path).study != Ledger(tmp_path).study


def test_forgetting_a_place_leaves_the_others(tmp_path):
    ledger = Ledger(tmp_path)
    ledger.note(run("trial-0"))
    ledger.note(run("trial-0", place="https://tracking.example"))
    ledger.forget("mlflow", "mlflow")
    assert Ledger(tmp_path).of("mlflow", "mlflow", "trial-0") is None
    assert Ledger(tmp_path).of("mlflow", "https://tracking.example", "trial-0") is not None


def test_a_run_that_is_trained_again_from_its_beginning_does_not_go_back():
    assert at_step(run("trial-0", step=10), 5).step == 10
    assert at_step(run("trial-0", step=10), 20).step == 20


@pytest.mark.parametrize("content", ["[]", "{", json.dumps({"schema_version": 99, "study": "a", "runs": []})])
def test_a_file_that_is_no_ledger_is_refused(tmp_path, content):
    (tmp_path / FILE_NAME).write_text(content)
    with pytest.raises(DataError, match=FILE_NAME):
        Ledger(tmp_path)
