"""Prediction files and the few predictions that a report shows."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from advisor.training.predictions import predictions_of, read_predictions, shown, write_predictions
from tests.training.toy import CLONES, examples, predictions


def test_prediction_files_keep_every_character(tmp_path: Path) -> None:
    made = predictions(['<b>"\u2028\n\x00é', "x"], ["\x85", "\t"])
    write_predictions(made, tmp_path / "deep" / "file.jsonl")
    assert read_predictions(tmp_path / "deep" / "file.jsonl") == made


@given(wrong=st.lists(st.booleans(), min_size=1, max_size=30))
def test_examples_shown_are_few_in_order_and_of_both_kinds(wrong: list[bool]) -> None:
    made = predictions(["1"] * len(wrong), ["0" if is_wrong else "1" for is_wrong in wrong])
    found = shown(made)
    assert len(found) == min(6, len(wrong))
    assert [int(item.example_id) for item in found] == sorted(int(item.example_id) for item in found)
    if sum(wrong) >= 3 and len(wrong) - sum(wrong) >= 3:
        assert sum(item.predicted == "0" for item in found) == 3


def test_predictions_belong_to_their_examples() -> None:
    rows = examples(CLONES, 2)
    made = predictions_of(rows, ["0", "1"])
    assert made[1].source == f"{rows[1].text}\n\n{rows[1].text_pair}"
    assert (made[1].example_id, made[1].expected, made[1].predicted) == ("p1", "1", "1")
