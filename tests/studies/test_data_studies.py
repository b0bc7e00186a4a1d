"""The studies of data judge and measure what they say they do."""

import json
from pathlib import Path

import pytest

from studies.data_throughput.run import growth_exponents, made_code, write_rows
from studies.malformed_inputs.run import FOLDER, judge, read_report, run_case

CASE = {"exit": 1, "says": ["line 3"], "rows": 0}


def test_a_case_needs_its_exit_code_its_message_its_rows_and_a_clean_stream():
    assert judge(CASE, 1, ["x: line 3: bad"], 0, "")
    for exit_code, messages, n_rows, stderr in (
        (0, ["x: line 3: bad"], 0, ""),
        (1, ["x: line 4: bad"], 0, ""),
        (1, ["x: line 3: bad"], 1, ""),
        (1, ["x: line 3: bad"], 0, "Traceback"),
        (1, ["x: line 3: \x1b[31m"], 0, ""),
    ):
        assert not judge(CASE, exit_code, messages, n_rows, stderr)


def test_a_case_is_run_in_a_process_of_its_own_whose_memory_is_known(tmp_path: Path):
    (tmp_path / "a.jsonl").write_text('{"code": "a", "label": 1}\n{"code": "b"}\n')
    case = {
        "file": "a.jsonl",
        "task": "defect-detection",
        "expected": "refuse",
        "exit": 1,
        "says": ["line 2: no field"],
    }
    row = run_case(tmp_path, case)
    assert row["as_expected"]
    assert row["peak_mib"] > 5
    assert not run_case(tmp_path, case | {"exit": 0})["as_expected"]


def test_every_malformed_input_has_one_case_with_an_expectation():
    cases = json.loads((FOLDER / "params.json").read_text())["cases"]
    assert [int(case["file"][:2]) for case in cases] == list(range(1, 26))
    assert all(case["expected"] for case in cases)


def test_what_is_no_report_has_no_messages():
    assert read_report("Traceback") == ([], 0)


def test_growth_is_the_slope_between_the_smallest_and_the_largest_size():
    sizes = [
        {"rows": rows, "stages": [{"cpu_s": seconds} for seconds in (rows, rows**2, 1.0, rows**0.5)]}
        for rows in (100, 10_000)
    ]
    assert growth_exponents(sizes) == {"read": 1.0, "exact": 2.0, "near": 0.0, "tokens": 0.5}
    assert growth_exponents(sizes[:1]) == {}


def test_made_rows_repeat_earlier_ones_in_their_shares(tmp_path: Path):
    lines = [f"value_{number} = {number}" for number in range(500)]
    made = list(made_code(lines, 5000))
    assert 5000 - len(set(made)) == pytest.approx(100, abs=50)
    assert made == list(made_code(lines, 5000))
    write_rows(tmp_path / "a.jsonl", lines, 3)
    assert len((tmp_path / "a.jsonl").read_text().splitlines()) == 3
