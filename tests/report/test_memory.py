"""Estimates and measurements of memory stand side by side and never share a bar."""

from dataclasses import replace

import pytest

from advisor.report.memory import compare_memory
from advisor.result import Probe
from advisor.spec import GIB
from tests.report import fixtures


def test_an_estimate_is_shown_by_part_and_a_measurement_as_a_whole():
    estimated, *measured = compare_memory(fixtures.run_folder()).bars
    assert estimated.kind == "estimate"
    assert [s.name for s in estimated.segments] == [
        "weights", "adapter", "gradients", "optimizer", "activations", "workspace", "fragmentation", "context"
    ]  # fmt: skip
    assert [bar.kind for bar in measured] == ["measurement", "measurement"]
    assert [len(bar.segments) for bar in measured] == [1, 1]


def test_parts_add_up_to_the_estimate_on_the_common_scale():
    memory = compare_memory(fixtures.run_folder())
    peak = fixtures.estimate().peak_memory_bytes
    drawn = sum(segment.percent for segment in memory.bars[0].segments)
    assert drawn == pytest.approx(100 * peak / (2.5 * 1024**3))
    assert memory.budget_percent == pytest.approx(100)


def test_a_budget_far_beyond_the_bars_does_not_squeeze_them():
    run = fixtures.run_folder()
    wide = replace(run.recommendation, budget=replace(run.recommendation.budget, vram_gib=80.0))
    memory = compare_memory(replace(run, recommendation=wide))
    assert memory.budget_percent is None
    assert memory.budget == "80 GiB"
    assert max(sum(s.percent for s in bar.segments) for bar in memory.bars) == pytest.approx(100)


def test_a_cpu_measurement_is_said_to_be_no_test_of_the_estimate():
    run = fixtures.run_folder(result=replace(fixtures.result(), device="cpu"))
    assert any("not a test of each other" in note for note in compare_memory(run).notes)


def test_nothing_measured_and_nothing_estimated_is_said_plainly():
    run = fixtures.run_folder(trials=(), result=None)
    ranked = tuple(replace(c, estimate=None) for c in run.recommendation.candidates)
    memory = compare_memory(replace(run, recommendation=replace(run.recommendation, candidates=ranked)))
    assert memory.bars == ()
    assert memory.table is None
    assert memory.notes == (
        "No estimate was computed for these configurations.",
        "Peak memory was not measured in this run.",
    )


def test_a_recommendation_that_won_is_drawn_once():
    result = fixtures.result()
    rows = tuple(replace(row, trial=9) if row.name == "recommendation" else row for row in result.contenders)
    bars = compare_memory(fixtures.run_folder(result=replace(result, contenders=rows))).bars
    assert [bar.label for bar in bars] == ["Recommendation", "Recommendation, also best trial (9)"]


def test_a_runner_up_that_won_has_its_own_estimate():
    result = fixtures.result()
    rows = tuple(replace(row, trial=1) if row.name == "best trial" else row for row in result.contenders)
    run = fixtures.run_folder(result=replace(result, best_trial=1, contenders=rows))
    ranked = run.recommendation.candidates
    second = replace(ranked[1], estimate=fixtures.estimate(0.5))
    run = replace(run, recommendation=replace(run.recommendation, candidates=(ranked[0], second)))
    bars = [(bar.label, bar.total) for bar in compare_memory(run).bars if bar.kind == "estimate"]
    assert bars == [("Recommendation", "1.56\u00a0GiB"), ("Best trial (trial 1)", "0.78\u00a0GiB")]


def probe(**changes: object) -> Probe:
    values: dict[str, object] = {
        "candidate": fixtures.candidate(), "device": "cuda (Test GPU)", "basis": "dry run", "micro_batch_size": 8,
        "source_tokens": 243, "target_tokens": 0, "estimated_memory_bytes": 2 * GIB,
        "measured_memory_bytes": 5 * GIB // 2, "available_bytes": 20 * GIB, "estimated_step_s": None,
        "measured_step_s": 0.0425, **changes,
    }  # fmt: skip
    return Probe(**values)  # type: ignore[arg-type]


def test_a_step_measured_before_the_search_stands_beside_its_estimate():
    run = fixtures.run_folder(result=replace(fixtures.result(), probe=probe()))
    memory = compare_memory(run)
    rows = [row.cells for row in memory.table.rows if row.cells[0] == "Step measured before the search"]
    assert rows == [
        ("Step measured before the search", "estimate", "peak", "2.00\u00a0GiB", ""),
        ("Step measured before the search", "measurement", "peak", "2.50\u00a0GiB", ""),
    ]
    (said,) = [note for note in memory.notes if note.startswith("Before the search one real step")]
    for part in (
        "8 examples at once, up to 243 tokens each", "2.50\u00a0GiB of device memory",
        "estimate 2.00\u00a0GiB (dry run)",
        "ratio 1.25", "42.5\u00a0ms per optimizer step", "fitted into 20.00\u00a0GiB",
    ):  # fmt: skip
        assert part in said
    assert said.count("ratio 1.25") == 1


def test_an_estimated_time_targets_and_a_smaller_micro_batch_are_said_too():
    told = probe(estimated_step_s=0.034, measured_step_s=1.7, target_tokens=64, micro_batch_size=4)
    run = fixtures.run_folder(result=replace(fixtures.result(), probe=told))
    (said,) = [note for note in compare_memory(run).notes if note.startswith("Before the search one real step")]
    assert "1.7\u00a0s per optimizer step, estimate 34\u00a0ms, ratio 50.00" in said
    assert "and targets of up to 64" in said
    assert "the recommendation asks for 8 examples at once" in said


def test_without_a_measured_step_nothing_is_said_of_one():
    memory = compare_memory(fixtures.run_folder())
    assert not [note for note in memory.notes if "real step" in note]
    assert not [row for row in memory.table.rows if "before the search" in row.cells[0]]
