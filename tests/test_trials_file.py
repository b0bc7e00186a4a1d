"""trials.jsonl is read strictly: a cut last line is left out, anything else that is no trial is an error.

What writes it is tested in tests/search/test_journal.py.
"""

import json
from dataclasses import replace

import pytest

from advisor.errors import DataError
from advisor.records import to_plain
from advisor.trials_file import line_of, read_records, whole_size
from tests.search.fakes import inference
from tests.search.test_journal import record


def test_a_line_is_the_record_as_json_with_a_line_end():
    line = line_of(record(3))
    assert line.endswith(b"}\n")
    assert line.count(b"\n") == 1
    assert json.loads(line) == to_plain(record(3))


def test_a_path_that_is_no_text_is_read_back(tmp_path):
    odd = replace(record(0), candidate=replace(record(0).candidate, base_model="models/\udcff"))
    (tmp_path / "trials.jsonl").write_bytes(line_of(odd))
    assert read_records(tmp_path / "trials.jsonl") == (odd,)


def test_every_cut_of_a_last_line_is_left_out_but_that_of_the_line_end(tmp_path):
    first, second = line_of(record(0)), line_of(record(1))
    for size in range(len(second) + 1):
        is_whole = size >= len(second) - 1
        content = first + second[:size]
        assert whole_size(content) == (len(content) if is_whole else len(first))
        (tmp_path / "trials.jsonl").write_bytes(content)
        assert len(read_records(tmp_path / "trials.jsonl")) == 1 + is_whole


def test_a_line_in_the_middle_that_is_no_trial_is_named(tmp_path):
    (tmp_path / "trials.jsonl").write_bytes(line_of(record(0)) + b'{"number": 1' + b"\n" + line_of(record(2)))
    with pytest.raises(DataError, match=r"trials\.jsonl:2: not valid JSON"):
        read_records(tmp_path / "trials.jsonl")


def test_bytes_that_are_no_text_are_one_line(tmp_path):
    (tmp_path / "trials.jsonl").write_bytes(b"\xff\xfe{}\n")
    with pytest.raises(DataError, match=r"trials\.jsonl:1: not valid JSON") as caught:
        read_records(tmp_path / "trials.jsonl")
    assert "\n" not in str(caught.value)


def test_empty_lines_are_no_trials(tmp_path):
    (tmp_path / "trials.jsonl").write_bytes(b"\n" + line_of(record(0)) + b"\n\n")
    assert read_records(tmp_path / "trials.jsonl") == (record(0),)


def test_lines_of_earlier_versions_have_no_measurement_of_prediction(tmp_path):
    plain = to_plain(record(0))
    del plain["inference"]
    (tmp_path / "trials.jsonl").write_text(json.dumps(plain) + "\n")
    (read,) = read_records(tmp_path / "trials.jsonl")
    assert read.inference is None
    measured = replace(record(1), inference=inference(2**30, 0.004))
    (tmp_path / "trials.jsonl").write_bytes(line_of(measured))
    assert read_records(tmp_path / "trials.jsonl") == (measured,)


@pytest.mark.parametrize("wrong", [{"latency_s": 0.0}, {"memory_bytes": 0}, {"memory_basis": "guessed"}])
def test_a_measurement_of_prediction_that_cannot_be_is_refused(tmp_path, wrong):
    plain = to_plain(replace(record(0), inference=inference(2**30, 0.004)))
    plain["inference"] |= wrong
    (tmp_path / "trials.jsonl").write_text(json.dumps(plain) + "\n" + json.dumps(to_plain(record(1))) + "\n")
    with pytest.raises(DataError, match="inference"):
        read_records(tmp_path / "trials.jsonl")
