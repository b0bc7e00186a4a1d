"""A live trial knows how far it is and what it would be on disk."""

import optuna
import pytest

from advisor.search.live_trial import LiveTrial
from advisor.trial import RungReport, TrialFailure, TrialSpec
from tests.search.fakes import candidate


def live(*steps: int, failure: TrialFailure | None = None) -> LiveTrial:
    trial = optuna.create_study().ask()
    reports = [
        RungReport(number=0, rung=rung, step=step, metrics={"f1": step / 100}, train_loss=1.0, duration_s=1.0)
        for rung, step in enumerate(steps)
    ]
    if failure:
        reports.append(
            RungReport(number=0, rung=len(steps), step=7, metrics={}, train_loss=None, duration_s=1, failure=failure)
        )
    return LiveTrial(
        trial=trial,
        spec=TrialSpec(number=0, candidate=candidate(), seed=3, rung_steps=(5, 10, 20)),
        origin="sampler",
        is_recommendation=False,
        started_at="2026-01-01T00:00:00+00:00",
        reports=reports,
        checkpoint="0/2" if steps else None,
    )


@pytest.mark.parametrize(
    ("reached", "steps", "left"), [((), 0, 5), ((5,), 5, 5), ((5, 10), 10, 10), ((5, 10, 20), 20, 0)]
)
def test_steps_are_counted_from_the_last_rung(reached, steps, left):
    assert (live(*reached).steps, live(*reached).steps_to_next_rung) == (steps, left)


def test_it_ends_with_the_value_of_its_last_rung():
    record = live(5, 10).record("pruned", "f1")
    assert (record.number, record.state, record.value, record.failure) == (0, "pruned", 0.1, None)
    assert [report.step for report in record.reports] == [5, 10]


def test_after_a_failure_it_has_no_value():
    failure = TrialFailure(kind="nan-loss", message="the loss is nan")
    failed = live(5, failure=failure)
    assert failed.has_failed
    assert not live(5).has_failed
    assert not live().has_failed
    assert failed.record("failed", "f1").value is None
    assert failed.record("failed", "f1").failure == failure


def test_on_disk_it_is_what_it_needs_to_go_on():
    one = live(5, 10)
    kept = one.on_disk()
    assert (kept.spec, kept.started_at, kept.reports, kept.checkpoint) == (
        one.spec, one.started_at, tuple(one.reports), "0/2",
    )  # fmt: skip
