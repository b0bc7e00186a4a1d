"""Numbers and foreign text as the report shows them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.report import formatting


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.84349, "0.843"), (1.0, "1.000"), (-0.02, "−0.020"), (23.456, "23.46"), (None, "–"), (math.nan, "–")],
)
def test_a_metric_has_three_decimals_up_to_one_and_two_above(value, shown):
    assert formatting.number(value) == shown


def test_a_difference_carries_its_sign_and_zero_has_none():
    assert [formatting.signed(v) for v in (0.1, 0.0, -0.1)] == ["+0.100", "0.000", "−0.100"]


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(8.44, "8.4 s"), (59.97, "1 min"), (61, "1 min 1 s"), (3600, "1 h"), (10980, "3 h 3 min"), (None, "–")],
)
def test_seconds_become_the_units_people_use(seconds, shown):
    assert formatting.duration(seconds).replace("\u00a0", " ") == shown


def test_memory_is_in_gib_and_small_amounts_in_mib():
    assert formatting.gib(3 * 1024**3).replace("\u00a0", " ") == "3.00 GiB"
    assert formatting.gib(5 * 1024**2).replace("\u00a0", " ") == "5.0 MiB"
    assert formatting.gib(None) == "–"


def test_times_are_said_in_utc_and_what_is_no_time_stays():
    assert formatting.moment("2026-01-02T05:04:00+01:00") == "2026-01-02 04:04 UTC"
    assert formatting.moment("yesterday") == "yesterday"


def test_hyperparameters_of_any_json_type_fit_on_one_line():
    values = {"r": 8, "learning_rate": 0.00011352, "target_modules": ["q", "v"], "bias": None, "x": {"a": 1}}
    shown = 'r=8, learning_rate=0.0001135, target_modules=[q, v], bias=null, x={"a": 1}'
    assert formatting.settings(values) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("def f():\n\treturn 1", "def f():\n\treturn 1"),
        ("a\r\nb", "a\nb"),
        ("\x1b[2Jred", "\\u001b[2Jred"),
        ("\u202eevil", "\\u202eevil"),
        ("zero\u200bwidth", "zero\\u200bwidth"),
        ("half \ud800", "half \\ud800"),
        ("line\u2028end", "line\\u2028end"),
        ("né 代码 👩\u200d💻", "né 代码 👩\u200d💻"),
    ],
)
def test_characters_that_hide_or_reorder_text_are_written_out(text, shown):
    assert formatting.visible(text) == shown


@given(st.text())
def test_visible_text_can_be_written_as_utf_8_and_is_left_alone_the_second_time(text):
    shown = formatting.visible(text)
    shown.encode("utf-8")
    assert formatting.visible(shown) == shown


def test_long_text_is_cut_with_the_number_of_characters_left_out():
    assert formatting.shortened("x" * 12, 10) == "x" * 10 + " … [2 more characters]"
    assert formatting.shortened("short", 10) == "short"
