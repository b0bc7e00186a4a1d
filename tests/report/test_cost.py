"""What a study cost, against sums made by hand."""

from dataclasses import replace

import pytest

from advisor.report.cost import cost_part, device_s, spent_on
from advisor.result import Packing
from advisor.trial import PackMeasurement, RungReport, TrialFailure
from tests.report import fixtures


def reports(*rungs):
    """Return reports from (step, seconds since the start, trials in the pack)."""
    return tuple(
        RungReport(
            number=0, rung=rung, step=step, metrics={"f1": 0.5}, train_loss=None, duration_s=seconds, pack_size=pack
        )
        for rung, (step, seconds, pack) in enumerate(rungs)
    )


def trial(number, *rungs, state="complete"):
    failure = TrialFailure(kind="nan-loss", message="x") if state == "failed" else None
    found = fixtures.trial(number, (0.5,), state=state, failure=failure)
    return replace(found, reports=reports(*rungs))


def run(*trials, **changes):
    result = changes.pop("result", fixtures.result())
    return fixtures.run_folder(trials=trials, result=result, **changes)


def notes(of):
    return " ".join(cost_part(of).notes).replace("\u00a0", " ")


def test_a_trial_in_a_pack_takes_its_part_of_the_device():
    # 30 s alone, then 60 s among three: 30 + 20.
    assert device_s(reports((20, 30.0, 1), (60, 90.0, 3))) == pytest.approx(50)
    assert device_s(()) == 0


def test_seconds_are_added_up_by_what_they_were_spent_on():
    trials = (
        trial(0, (20, 10.0, 1), (60, 30.0, 1), (180, 90.0, 1)),
        trial(9, (180, 110.0, 1)),
        trial(2, (20, 10.0, 1), state="pruned"),
        trial(3, (5, 2.0, 1), state="failed"),
    )
    spent = spent_on(run(*trials, final_reports=(reports((180, 100.0, 1)), reports((180, 80.0, 2)))))
    # The fixture's two baselines and two trained models were evaluated in 12.5 s each.
    assert [(one.n_runs, one.n_steps, one.device_s) for one in spent] == [
        (2, 360, 200.0), (1, 20, 10.0), (1, 5, 2.0), (2, 360, 140.0), (2, None, 25.0), (2, None, 25.0),
    ]  # fmt: skip
    total = [cell.replace("\u00a0", " ") for cell in cost_part(run(*trials)).table.rows[-1].cells]
    assert total == ["All of it", "8", "385", "4 min 22 s", "100 %"]  # 200 + 10 + 2 + 25 + 25 s


def test_each_seed_is_a_run_of_the_final_evaluation():
    spent = spent_on(fixtures.run_folder(result=fixtures.seeded_result()))
    assert [one.n_runs for one in spent if one.what.startswith("Test split")] == [6, 2]


def test_steps_that_stopping_saved_leave_failed_trials_aside():
    trials = (trial(0, (180, 90.0, 1)), trial(1, (60, 30.0, 1), state="pruned"), trial(2, (5, 1.0, 1), state="failed"))
    said = notes(run(*trials))
    assert "saved 120 of the 360 optimizer steps that all 2 would have had at their ends (33 %)" in said
    # 90 s, and 30 s for a third of the steps: 180 s.
    assert "would have taken about 3 min instead of 2 min" in said


def test_nothing_is_said_to_be_saved_where_all_trials_were_trained_to_their_end():
    said = notes(run(trial(0, (180, 90.0, 1)), trial(1, (180, 90.0, 1))))
    assert "saved" not in said
    assert "instead of" not in said


def test_packs_are_compared_with_the_step_alone_that_was_timed():
    packed = (trial(0, (180, 120.0, 2)), trial(1, (180, 120.0, 2)))
    measured = (PackMeasurement(size=1, duration_s=1.0), PackMeasurement(size=2, duration_s=1.25))
    packing = Packing(device="cuda", size=2, asked=False, measured=measured)
    # Each took 60 s of the device; alone a step takes 1 s where it took 0.625 s in the pack: 96 s each.
    timed = notes(run(*packed, result=replace(fixtures.result(), packing=packing)))
    assert "would have taken about 3 min 12 s instead of 2 min" in timed
    assert "instead of" not in notes(run(*packed))


def test_a_gpu_of_the_catalogue_bounds_the_energy_and_says_that_it_is_a_bound():
    # An L4 has a limit of 72 W; the trial's 3550 s and four evaluations of 12.5 s are an hour.
    done = replace(fixtures.result(), device="cuda:0 (NVIDIA L4)")
    said = notes(run(trial(0, (180, 3550.0, 1)), result=done))
    assert "Energy was not measured. At its board's limit of 72 W (L4, data sheet)" in said
    assert "more than 72 Wh" in said
    assert "upper bound" in said


@pytest.mark.parametrize("device", ["cpu", "cuda (Test GPU)", "mps", "NVIDIA L4"])
def test_energy_of_other_devices_is_not_guessed(device):
    said = notes(run(trial(0, (180, 90.0, 1)), result=replace(fixtures.result(), device=device)))
    assert "Energy was not measured." in said
    assert "Wh" not in said


def test_time_by_the_clock_is_that_of_the_records():
    first = replace(trial(0, (180, 90.0, 1)), started_at="2026-01-02T03:00:00+00:00")
    said = notes(run(first))  # the fixture ended at 04:00 after 1234.5 s of search
    assert "search took 20 min 34 s; from the first trial to the end 1 h passed" in said
    odd = notes(run(replace(first, started_at="yesterday")))
    assert "search took 20 min 34 s. Everything ran on cuda (Test GPU)." in odd


def test_what_is_not_counted_is_said():
    full = replace(fixtures.seeded_result().contenders[3], name="full fine-tuning", trial=None)
    done = fixtures.seeded_result()
    said = notes(fixtures.run_folder(result=replace(done, contenders=(*done.contenders, full))))
    assert "the training of full fine-tuning" in said
    assert "the reload check" not in notes(fixtures.run_folder(result=None))


def test_a_run_without_any_time_has_no_costs():
    assert cost_part(fixtures.run_folder(result=None, trials=())) is None
