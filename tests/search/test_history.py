"""A study as a pandas table."""

import pandas as pd

from advisor.search import history
from tests.search.fakes import FakeRunner, plan
from tests.search.test_loop import search


def test_each_finished_trial_is_a_row_with_its_hyperparameters(tmp_path):
    fails = lambda spec: "out-of-memory" if spec.candidate.method == "ia3" else None  # noqa: E731
    outcome = search(tmp_path, FakeRunner(fails=fails), planned=plan(8))
    table = history(tmp_path)
    assert list(table["number"]) == [record.number for record in outcome.records]
    assert table.loc[0, "learning_rate"] == 3e-4
    assert (table["base_model"] == "base").all()
    assert table["quantization"].isna().all()
    assert table.loc[0, "value"] == table.loc[0, "valid_f1"] == outcome.records[0].value
    failed = table[table["state"] == "failed"]
    assert not failed.empty
    assert (failed["failure"] == "out-of-memory: ia3 cannot run").all()
    assert failed["value"].isna().all()


def test_a_folder_without_trials_is_an_empty_table(tmp_path):
    assert isinstance(history(tmp_path), pd.DataFrame)
    assert history(tmp_path).empty
