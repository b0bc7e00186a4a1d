"""Answers as text: nothing of a set of labels is lost in it, and metrics are scikit-learn's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from advisor.data.examples import Example
from advisor.errors import DataError
from advisor.training.answers import (
    answer_statistics,
    class_names,
    expected_answers,
    label_set_of,
    label_set_text,
    measure_answers,
    occurring_labels,
)
from tests.training.toy import CLONES, COMMENTS, SUMMARIES, examples

LABELS = st.lists(st.text(min_size=1, max_size=8), max_size=5)


@given(labels=LABELS)
def test_a_set_is_read_as_it_was_written_in_whatever_order_it_came(labels: list[str]) -> None:
    text = label_set_text(labels)
    assert label_set_of(text) == frozenset(labels)
    assert label_set_text(reversed(labels)) == text
    assert "\n" not in text


def test_a_label_with_a_comma_is_one_label_and_no_label_can_be_seen() -> None:
    assert label_set_text(["b", "a, c"]) == '["a, c", "b"]'
    assert label_set_text(["10", "9"]) == '["9", "10"]'  # numbers by value, as classes are
    assert label_set_text([]) == "[]"
    assert label_set_text(["é"]) == '["é"]'


@pytest.mark.parametrize("text", ["", "a, b", '"a"', "[1]", '{"a": 1}', "["])
def test_what_is_not_a_set_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(DataError, match="not a set of labels") as caught:
        label_set_of(text)
    assert "\n" not in str(caught.value)


def test_classes_and_expected_answers_are_those_of_the_form() -> None:
    rows = (
        Example(example_id="1", text="x", text_pair=None, target="b, a", labels=("a", "b")),
        Example(example_id="2", text="x", text_pair=None, target=""),
    )
    assert class_names(COMMENTS, rows) == ("a", "b")  # a row without labels adds no empty one
    assert expected_answers(COMMENTS, rows) == ['["a", "b"]', "[]"]
    assert class_names(CLONES, examples(CLONES, 4)) == ("0", "1")
    assert class_names(SUMMARIES, examples(SUMMARIES, 4)) == ()
    assert expected_answers(SUMMARIES, examples(SUMMARIES, 2)) == [row.target for row in examples(SUMMARIES, 2)]


def test_metrics_of_sets_are_scikit_learns() -> None:
    truth, guess = [[1, 1], [0, 1], [0, 0]], [[1, 0], [0, 1], [1, 0]]
    expected, predicted = ['["a", "b"]', '["b"]', "[]"], ['["a"]', '["b"]', '["a"]']
    found = measure_answers(COMMENTS, COMMENTS.metrics, expected, predicted, label_names=("a", "b"))
    assert found == {
        "macro-f1": pytest.approx(f1_score(truth, guess, average="macro")),
        "micro-f1": pytest.approx(f1_score(truth, guess, average="micro")),
        "subset-accuracy": pytest.approx(1 / 3),
    }
    for metric, value in found.items():
        sample = answer_statistics(COMMENTS, metric, expected, predicted, label_names=("a", "b"))  # type: ignore[arg-type]
        assert sample.value == pytest.approx(value)


def test_labels_that_occur_are_those_within_sets() -> None:
    assert occurring_labels(COMMENTS, ['["b", "a, c"]', "[]", '["b"]']) == ("a, c", "b")
    assert occurring_labels(CLONES, ["10", "9", "10"]) == ("9", "10")
