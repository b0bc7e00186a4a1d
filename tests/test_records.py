"""Records go to JSON and come back the same, or are refused with the place of the mistake."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor import records
from advisor.candidates import Candidate
from advisor.errors import DataError
from advisor.search_space import Dimension
from advisor.trial import RungReport, TrialFailure, TrialRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    count: int
    share: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    name: str
    kind: Literal["a", "b"]
    parts: tuple[Inner, ...]
    by_name: Mapping[str, float]
    free: Mapping[str, object]
    on: bool = False


OUTER = {"name": "n", "kind": "a", "parts": [{"count": 1}], "by_name": {"x": 1}, "free": {"deep": [1, {"y": None}]}}

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.text(),
    st.lists(st.builds(Inner, count=st.integers(), share=st.none() | st.floats(allow_nan=False, allow_infinity=False))),
    st.dictionaries(st.text(), json_values),
    st.booleans(),
)
def test_any_record_survives_the_way_through_json(name, parts, free, on):
    record = Outer(name=name, kind="b", parts=tuple(parts), by_name={"x": 0.5}, free=free, on=on)
    assert records.from_plain(Outer, json.loads(records.dumps(record))) == record


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": 3}, "name: expected str, found the number 3"),
        ({"kind": "c"}, "kind: 'c' is not one of a, b"),
        ({"parts": {}}, "parts: expected a list, found an object"),
        ({"parts": [{"count": 1}, {"count": "2"}]}, r"parts\[1\].count: expected int, found text"),
        ({"parts": [{"count": True}]}, r"parts\[0\].count: expected int, found true/false"),
        ({"parts": [{}]}, r"parts\[0\].count: missing"),
        ({"by_name": {"x": "1"}}, "by_name.x: expected float, found text"),
        ({"nmae": "n"}, "nmae: no such field in Outer; did you mean name"),
        ({"on": 1}, "on: expected bool, found the number 1"),
    ],
)
def test_a_wrong_field_is_refused_with_its_place(change, said):
    with pytest.raises(DataError, match=said):
        records.from_plain(Outer, OUTER | change)


def test_a_whole_number_is_taken_where_a_fraction_is_expected():
    assert records.from_plain(Outer, OUTER).by_name == {"x": 1.0}


@pytest.mark.parametrize("text", ["", "{", "[1]", "nul", "[" * 100_000])
def test_a_file_that_is_not_a_record_is_one_line_naming_the_file(tmp_path: Path, text):
    path = tmp_path / "record.json"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        records.read(Outer, path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(DataError, match="no-such"):
        records.read(Outer, tmp_path / "no-such.json")


def test_numbers_that_json_cannot_hold_are_not_written():
    with pytest.raises(ValueError, match="nan"):
        records.dumps(Inner(count=1, share=float("nan")))


def test_a_record_check_that_fails_on_reading_is_a_data_error():
    plain = {"name": "r", "kind": "int", "low": 8, "high": 4}
    with pytest.raises(DataError, match="not a range"):
        records.from_plain(Dimension, plain)


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path):
    path = tmp_path / "record.json"
    records.write(Inner(count=1), path)
    with pytest.raises(ValueError, match="inf"):
        records.write(Inner(count=2, share=float("inf")), path)
    assert records.read(Inner, path) == Inner(count=1)
    assert [child.name for child in tmp_path.iterdir()] == ["record.json"]


def test_a_trial_record_with_reports_and_a_failure_comes_back_the_same():
    candidate = Candidate(
        base_model="b", architecture="encoder-only", method="lora", hyperparameters={"learning_rate": 1e-3, "r": 8}
    )
    failure = TrialFailure(kind="nan-loss", message="loss is not finite at step 3")
    report = RungReport(
        number=4, rung=0, step=3, metrics={}, train_loss=None, duration_s=1.5, peak_memory_bytes=10, failure=failure
    )
    record = TrialRecord(
        number=4,
        state="failed",
        candidate=candidate,
        seed=1,
        origin="sampler",
        value=None,
        reports=(report,),
        started_at="2026-01-01T00:00:00+00:00",
        failure=failure,
    )
    assert records.from_plain(TrialRecord, json.loads(records.dumps(record))) == record


def test_text_that_is_no_unicode_survives_a_record(tmp_path: Path):
    record = Outer(name="bad \udc80 path", kind="a", parts=(), by_name={}, free={})
    records.write(record, tmp_path / "record.json")
    assert records.read(Outer, tmp_path / "record.json") == record


def test_a_number_keeps_its_kind_where_several_are_allowed():
    """`torch.empty` takes no rank of 8.0."""
    dimension = Dimension(name="r", kind="categorical", choices=(8, 0.5, "all", True))
    read = records.from_plain(Dimension, json.loads(json.dumps(records.to_plain(dimension))))
    assert [type(choice) for choice in read.choices] == [int, float, str, bool]
