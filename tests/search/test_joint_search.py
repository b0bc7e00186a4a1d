"""A search over several base models: every one is tried, and a run that was cut off goes on as if it had not been."""

from pathlib import Path

import pytest

from advisor.search import SearchOutcome, run_search
from tests.search.fakes import FakeClock, FakeRunner, plan
from tests.search.several_bases import joint_settings

N_TRIALS = 12


class _Switch:
    """Interrupts a search when it is asked for the `n`-th time."""

    def __init__(self, n: int | None) -> None:
        self.left = n

    def __call__(self) -> bool:
        if self.left is not None:
            self.left -= 1
        return self.left is not None and self.left < 0


def run(folder: Path, *, slots: int = 1, interrupted_at: int | None = None) -> SearchOutcome:
    folder.mkdir(exist_ok=True)
    clock = FakeClock()
    return run_search(
        folder,
        joint_settings(),
        plan(N_TRIALS),
        FakeRunner(slots=slots, clock=clock),
        clock=clock,
        on_event=lambda event: None,
        interrupted=_Switch(interrupted_at),
    )


@pytest.mark.parametrize("slots", [3])
def test_every_base_model_is_tried_and_the_best_candidate_names_its_own(tmp_path, slots):
    outcome = run(tmp_path / "run", slots=slots)
    tried = [record.candidate for record in sorted(outcome.records, key=lambda record: record.number)]
    assert len(tried) == N_TRIALS
    assert tuple(tried[0:7:2]) == joint_settings().warm_starts
    assert {(one.base_model, one.quantization) for one in tried[4:]} > {("encoder", None)}
    assert outcome.best.candidate in tried
    assert outcome.recommended.candidate == joint_settings().warm_starts[0]


@pytest.mark.slow
@pytest.mark.parametrize("interrupted_at", [9])
def test_a_search_that_was_interrupted_ends_as_one_that_was_not(tmp_path, interrupted_at):
    whole = run(tmp_path / "whole", slots=2)
    run(tmp_path / "cut", slots=2, interrupted_at=interrupted_at)
    resumed = run(tmp_path / "cut", slots=2)
    assert [(one.number, one.candidate, one.state, one.value) for one in resumed.records] == [
        (one.number, one.candidate, one.state, one.value) for one in whole.records
    ]
