"""Closed forms evaluated by hand, and the file that holds them: written, found again, and damaged."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from advisor.catalog import files
from advisor.errors import DataError
from advisor.feasibility import profiles
from advisor.feasibility.profiles import FILE_NAME, Moment, Point, StepProfile, find_profile, key_of, line_of

# The head: most alive with long batches. The last layer's backward pass: with large ranks and many examples.
AT_HEAD = Moment(alive={"bs": 100.0, "1": 1000.0}, logits={"bs": 40.0}, gradients={}, workspace={"1": 500.0})
AT_END = Moment(alive={"b": 5000.0, "p": 310.0}, logits={}, gradients={"p": 300.0}, workspace={"p": 10.0})
PROFILE = StepProfile(
    base_model="someone/model", head="causal-lm", method="lora", precision="bf16", quantization=None,
    gradient_checkpointing=False, weights={"1": 1_000_000.0}, adapter={"p": 300.0}, gradients={"p": 300.0},
    optimizer={"p": 600.0, "1": 8.0}, trainable={"p": 75.0}, moments=(AT_HEAD, AT_END), overhead=0.25,
    totals={"half_flops": {"bs": 2e9}, "update_bytes": {"p": 2100.0}},
)  # fmt: skip


@pytest.fixture
def knowledge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A knowledge folder of its own; what was read of the real one is forgotten before and after."""
    monkeypatch.setattr(files, "knowledge_folder", lambda: tmp_path)
    profiles._lines.cache_clear()
    profiles._parsed.cache_clear()
    yield tmp_path
    profiles._lines.cache_clear()
    profiles._parsed.cache_clear()


def store(folder: Path, *lines: str) -> None:
    (folder / FILE_NAME).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def found(**changes: object) -> StepProfile | None:
    about = {
        "base_model": "someone/model", "head": "causal-lm", "method": "lora", "precision": "bf16", "quantization": None,
        "checkpointing": False,
    }  # fmt: skip
    return find_profile(**{**about, **changes})


@pytest.mark.parametrize(
    ("term", "expected"), [("1", 1), ("b", 3), ("bs", 15), ("bss", 75), ("bst", 105), ("tt", 49), ("bsp", 165)]
)
def test_a_monomial_is_the_product_of_its_letters(term, expected):
    assert Point(batch_size=3, source_tokens=5, target_tokens=7, size=11).value(term) == expected


def test_a_closed_form_is_the_sum_of_its_terms():
    point = Point(batch_size=2, source_tokens=30, size=8)
    assert point.evaluate({"1": 7.0, "bs": 0.5, "bp": 10.0}) == 7 + 30 + 160
    assert point.evaluate({}) == 0


def test_the_moment_with_most_alive_is_the_peak():
    long = PROFILE.at(Point(batch_size=2, source_tokens=200, size=8))
    # 100 * 400 + 1000 against 5000 * 2 + 310 * 8.
    assert (long.alive_bytes, long.logits_bytes, long.gradients_bytes, long.workspace_bytes) == (41_000, 16_000, 0, 500)
    short = PROFILE.at(Point(batch_size=2, source_tokens=30, size=8))
    # 100 * 60 + 1000 against the same.
    assert (short.alive_bytes, short.logits_bytes) == (12_480, 0)
    assert (short.gradients_bytes, short.workspace_bytes) == (2400, 80)


def test_weights_adapter_and_state_are_added_and_the_overhead_is_a_share_of_all_but_the_weights():
    step = PROFILE.at(Point(batch_size=2, source_tokens=30, size=8))
    assert (step.weights_bytes, step.adapter_bytes, step.optimizer_bytes) == (1_000_000, 2400, 4808)
    assert step.trainable_params == 600
    assert step.requested_bytes == 1_000_000 + 2400 + 4808 + 12_480
    assert step.overhead_bytes == (2400 + 4808 + 12_480) // 4
    assert step.totals == {"half_flops": 2e9 * 60, "update_bytes": 2100.0 * 8}


def test_gradients_of_an_earlier_pass_wait_where_there_are_none_yet():
    point = Point(batch_size=2, source_tokens=200, size=8)
    step = PROFILE.at(point, accumulating=True)
    assert (step.gradients_bytes, step.alive_bytes) == (2400, 41_000 + 2400)
    # Where all gradients are alive anyway nothing is added.
    short = Point(batch_size=2, source_tokens=30, size=8)
    assert PROFILE.at(short, accumulating=True) == PROFILE.at(short)


def test_waiting_gradients_may_move_the_peak():
    # 100 * 100 + 1000 = 11,000 against 5000 * 1 + 310 * 20 = 11,200; with 300 * 20 waiting, 17,000 against 11,200.
    point = Point(batch_size=1, source_tokens=100, size=20)
    assert PROFILE.at(point).alive_bytes == 11_200
    assert PROFILE.at(point, accumulating=True).alive_bytes == 17_000


def test_a_profile_is_found_again_as_it_was_written(knowledge):
    other = replace(PROFILE, quantization="4bit", gradient_checkpointing=True, head="sequence-classification")
    store(knowledge, line_of(PROFILE), "", line_of(other))
    assert found() == PROFILE
    assert found(quantization="4bit", checkpointing=True, head="sequence-classification") == other


def test_float16_has_the_bytes_of_bfloat16_and_rank_stabilized_lora_those_of_lora(knowledge):
    store(knowledge, line_of(PROFILE))
    assert found(precision="fp16") == found(method="rslora") == found(method="lora-plus") == PROFILE
    assert found(precision="fp32") is None


@pytest.mark.parametrize(
    "change",
    [
        {"base_model": "someone/other"}, {"head": "seq2seq-lm"}, {"method": "dora"}, {"quantization": "8bit"},
        {"checkpointing": True},
    ],
)  # fmt: skip
def test_another_configuration_has_no_profile(change, knowledge):
    store(knowledge, line_of(PROFILE))
    assert found(**change) is None


def test_without_the_file_there_are_no_profiles(knowledge):
    assert found() is None


def test_a_line_begins_with_its_key_and_is_plain_json(knowledge):
    line = line_of(PROFILE)
    assert line.startswith('{"key":"someone/model|causal-lm|lora|bf16||",')
    assert json.loads(line)["overhead"] == 0.25
    assert key_of("m", "seq2seq-lm", "full", "fp32", "8bit", True) == "m|seq2seq-lm|full|fp32|8bit|checkpointing"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda line: line[:-20], "not valid JSON"),
        (lambda line: line.replace('"overhead"', '"overheard"'), "did you mean overhead"),
        (lambda line: line.replace(',"overhead":0.25', ""), "overhead: missing"),
        (lambda line: line.replace("0.25", '"much"'), "overhead"),
        (lambda line: line.replace('"bf16",', '"bf17",', 1), "precision: 'bf17' is not one of"),
    ],
)
def test_a_damaged_line_is_an_error_of_one_line_that_names_the_file(damage, message, knowledge):
    store(knowledge, damage(line_of(PROFILE)))
    with pytest.raises(DataError, match=message) as error:
        found()
    assert FILE_NAME in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("line", ["garbage", '{"kex":"a","b":1}', '{"key"', "[]"])
def test_a_line_without_a_key_is_an_error_too(line, knowledge):
    store(knowledge, line_of(PROFILE), line)
    with pytest.raises(DataError, match="does not begin with a key"):
        found()


def test_other_lines_are_not_parsed(knowledge):
    """There are thousands of them, and a recommendation needs a few."""
    broken = line_of(replace(PROFILE, base_model="someone/broken"))[:-5]
    store(knowledge, broken, line_of(PROFILE))
    assert found() == PROFILE
