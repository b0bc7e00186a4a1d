"""The search fills slots, stops what does not pay, survives failures, and keeps to its budget."""

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from optuna import load_study
from optuna.storages import InMemoryStorage

from advisor.candidates import Candidate
from advisor.errors import AdvisorError, InputError
from advisor.result import Plan
from advisor.search import SearchOutcome, StudySettings, run_search
from advisor.search.events import RungReached, SearchEvent, TrialFinished, TrialStarted
from advisor.search.journal import Journal
from advisor.search.keeper import FolderKeeper
from advisor.search.loop import Search
from advisor.search.study import begin_study, continue_study
from advisor.trial import Inference
from advisor.trials_file import read_records
from tests.search.fakes import (
    BEST_LEARNING_RATE,
    METRIC,
    FakeRunner,
    candidate,
    inference,
    level_of,
    plan,
    settings,
    space,
)


def search(
    folder: Path,
    runner: FakeRunner | None = None,
    *,
    about: StudySettings | None = None,
    planned: Plan | None = None,
    events: list[SearchEvent] | None = None,
    interrupted=lambda: False,
) -> SearchOutcome:
    """Search as a new process would; the folder's storage stays in memory, which is what makes it fast."""
    runner = runner or FakeRunner()
    about = about or settings()
    folder.mkdir(exist_ok=True)
    return Search(
        keeper=FolderKeeper(
            study=continue_study(storage_of(folder, about), about, str(folder)),
            journal=Journal(folder),
            folder=folder,
            settings=about,
            clock=runner.clock,
        ),
        folder=folder,
        settings=about,
        plan=planned or plan(),
        runner=runner,
        clock=runner.clock,
        on_event=events.append if events is not None else lambda event: None,
        interrupted=interrupted,
    ).run()


STORAGES: dict[Path, InMemoryStorage] = {}


def storage_of(folder: Path, about: StudySettings) -> InMemoryStorage:
    if folder not in STORAGES:
        STORAGES[folder] = InMemoryStorage()
        begin_study(STORAGES[folder], about)
    return STORAGES[folder]


def search_on_disk(folder: Path, runner: FakeRunner) -> SearchOutcome:
    return run_search(
        folder,
        settings(),
        plan(3),
        runner,
        clock=runner.clock,
        on_event=lambda event: None,
        interrupted=lambda: False,
    )


def only(method: str):
    """Fail the trials of one method."""
    return lambda spec: "unsupported" if spec.candidate.method == method else None


def test_the_recommendation_is_tried_first_as_it_was_recommended(tmp_path):
    recommendation = candidate(learning_rate=2e-4, target_modules="all-linear", num_epochs=3)
    outcome = search(tmp_path, about=settings(warm_starts=(recommendation, candidate("ia3"))))
    assert outcome.records[0].candidate == recommendation
    assert outcome.records[0].origin == "recommendation"
    assert outcome.recommended == outcome.records[0]


def test_warm_starts_take_turns_with_sampled_trials_and_at_most_a_third_of_all(tmp_path):
    # The fake values of LoRA are best at a rate of 1e-3.
    warm_starts = tuple(candidate(method, learning_rate=1e-3) for method in ("lora", "ia3"))
    outcome = search(tmp_path, about=settings(warm_starts=warm_starts), planned=plan(9))
    assert [record.origin for record in outcome.records] == ["recommendation", "sampler"] * 3 + ["sampler"] * 3
    tried = [record.candidate for record in outcome.records[0:5:2]]
    assert tried == [warm_starts[0], candidate(learning_rate=1e-2), warm_starts[1]]


def test_a_search_runs_as_many_trials_as_planned_and_ends_for_that_reason(tmp_path):
    outcome = search(tmp_path, planned=plan(7))
    assert len(outcome.records) == 7
    assert outcome.stopped == "trials"


def test_every_trial_but_the_first_ones_comes_from_the_space(tmp_path):
    outcome = search(tmp_path, planned=plan(12))
    for record in outcome.records:
        values = record.candidate.hyperparameters
        assert 1e-5 <= values["learning_rate"] <= 1e-1
        assert ("r" in values) == (record.candidate.method == "lora")
    assert {record.candidate.method for record in outcome.records} == {"lora", "ia3"}


def test_the_best_trial_has_the_highest_value_and_the_adapters_of_the_best_three_and_the_recommendation_stay(tmp_path):
    outcome = search(tmp_path, planned=plan(10))
    complete = [record.value for record in outcome.records if record.state == "complete"]
    assert outcome.best.value == max(complete)
    assert outcome.best.value > outcome.recommended.value
    kept = sorted(int(path.name) for path in (tmp_path / "trials").iterdir())
    by_value = sorted(
        (record for record in outcome.records if record.state == "complete"), key=lambda record: -record.value
    )
    assert kept == sorted({record.number for record in by_value[:3]} | {outcome.recommended.number})
    assert {record.number for record in outcome.finalists} == set(kept)
    assert (tmp_path / "trials" / str(outcome.best.number) / "adapter" / "adapter_config.json").is_file()


def test_all_trials_get_the_same_steps_and_the_same_seed(tmp_path):
    runner = FakeRunner()
    search(tmp_path, runner, about=settings(seed=7))
    assert {spec.rung_steps for spec in runner.started} == {(5, 10, 20)}
    assert {spec.seed for spec in runner.started} == {7}


def test_the_same_seed_gives_the_same_trials_and_another_seed_others(tmp_path):
    folders = [tmp_path / name for name in "abc"]
    for folder in folders:
        folder.mkdir()
    first, again, other = (
        [record.candidate for record in search(folder, about=settings(seed=seed), planned=plan(8)).records]
        for folder, seed in zip(folders, (0, 0, 1), strict=True)
    )
    assert first == again
    assert first != other


def test_no_point_is_tried_twice(tmp_path):
    outcome = search(tmp_path, planned=plan(15))
    tried = Counter(str(record.candidate) for record in outcome.records)
    assert max(tried.values()) == 1


@pytest.mark.parametrize("slots", [1, 2, 5])
def test_any_number_of_slots_is_filled_and_runs_the_planned_trials(tmp_path, slots):
    runner = FakeRunner(slots=slots)
    live = []
    runner.before_advance = lambda: live.append(len(runner.live))
    outcome = search(tmp_path, runner, planned=plan(10))
    assert len(outcome.records) == 10
    assert live[0] == slots
    assert not runner.live


def test_a_poor_trial_is_stopped_at_a_rung_and_a_good_one_is_not(tmp_path):
    outcome = search(tmp_path, planned=plan(20))
    pruned = [record for record in outcome.records if record.state == "pruned"]
    complete = [record for record in outcome.records if record.state == "complete"]
    assert pruned
    assert all(record.reports[-1].step < 20 for record in pruned)
    assert all(record.value == record.reports[-1].metrics[METRIC] for record in pruned)
    assert max(record.value for record in pruned) < outcome.best.value
    assert all([report.step for report in record.reports] == [5, 10, 20] for record in complete)


def test_one_strong_warm_start_does_not_stop_everything_after_it(tmp_path):
    perfect = candidate(learning_rate=BEST_LEARNING_RATE["lora"])
    outcome = search(tmp_path, about=settings(space=space("lora"), warm_starts=(perfect,)), planned=plan(12))
    sampled = [record for record in outcome.records if record.origin == "sampler"]
    assert sum(record.state == "complete" for record in sampled) >= 4


def test_a_wrong_recommendation_does_not_keep_the_search_from_what_is_good(tmp_path):
    wrong = candidate(learning_rate=9e-2)
    outcome = search(tmp_path, about=settings(warm_starts=(wrong,)), planned=plan(25))
    assert outcome.recommended.value < 0.1
    assert outcome.best.value > 0.7


def test_the_recommendation_itself_is_never_pruned(tmp_path):
    # Its first run is cut off; when it is run again there are complete trials to be compared with.
    runner = FakeRunner(slots=2)
    poor = candidate(learning_rate=9e-2)
    ends = iter([False] * 4)
    about = settings(warm_starts=(poor, candidate()))
    search(tmp_path, runner, about=about, planned=plan(3), interrupted=lambda: next(ends, True))
    outcome = search(tmp_path, about=about, planned=plan(20))
    assert outcome.recommended.state == "complete"


@pytest.mark.parametrize("checkpointing", [False, True])
def test_sampled_trials_are_checkpointed_like_the_recommendation_where_their_method_can_be(tmp_path, checkpointing):
    recommended = replace(candidate(), gradient_checkpointing=checkpointing)
    about = settings(space=space("lora", "ia3", "prefix-tuning"), warm_starts=(recommended,))
    outcome = search(tmp_path, about=about, planned=plan(20))
    found = {(record.candidate.method, record.candidate.gradient_checkpointing) for record in outcome.records}
    assert found == {("lora", checkpointing), ("ia3", checkpointing), ("prefix-tuning", False)}
    assert outcome.recommended.candidate == recommended


@pytest.mark.parametrize("kind", ["out-of-memory", "infeasible", "nan-loss", "unsupported", "error"])
def test_a_failed_trial_is_a_result_and_the_search_goes_on(tmp_path, kind):
    runner = FakeRunner(fails=lambda spec: kind if spec.candidate.method == "ia3" else None)
    outcome = search(tmp_path, runner, planned=plan(12))
    failed = [record for record in outcome.records if record.state == "failed"]
    assert failed
    assert len(outcome.records) == 12
    assert all(record.value is None for record in failed)
    assert {(record.failure.kind, record.failure.message) for record in failed} == {(kind, "ia3 cannot run")}


def test_a_failure_of_the_recommendation_does_not_end_the_search(tmp_path):
    runner = FakeRunner(fails=lambda spec: "out-of-memory" if spec.number == 0 else None)
    outcome = search(tmp_path, runner)
    assert outcome.recommended.state == "failed"
    assert outcome.best.number != 0


def test_the_sampler_keeps_away_from_what_does_not_run(tmp_path):
    about = settings(space=space("lora", "ia3", "p-tuning"))
    methods = [
        record.candidate.method
        for record in search(tmp_path, FakeRunner(fails=only("ia3")), about=about, planned=plan(40)).records
    ]
    assert methods[20:].count("ia3") < 20 / 3


def test_when_all_trials_fail_the_commonest_reason_is_said_in_one_line(tmp_path):
    runner = FakeRunner(fails=lambda spec: "nan-loss" if spec.number == 0 else "out-of-memory")
    with pytest.raises(
        AdvisorError, match=r"all 6 trials failed, 5 of them with out-of-memory: .* cannot run"
    ) as caught:
        search(tmp_path, runner)
    assert caught.value.exit_code == 1
    assert "\n" not in str(caught.value)
    assert len(read_records(tmp_path / "trials.jsonl")) == 6


def test_a_value_that_is_not_a_number_is_a_failure_not_a_crash(tmp_path):
    runner = FakeRunner(level=lambda candidate: math.nan if candidate.method == "ia3" else 0.5)
    outcome = search(tmp_path, runner, planned=plan(10))
    failed = [record for record in outcome.records if record.state == "failed"]
    assert failed
    assert all("f1 is not a number" in record.failure.message for record in failed)


def test_the_search_stops_before_its_time_is_over(tmp_path):
    # A trial takes 20 s of the fake clock: two fit, the first rung of a third does too, but not all of it.
    outcome = search(tmp_path, planned=plan(50, time_limit_s=48))
    assert outcome.stopped == "time"
    assert len(outcome.records) == 2
    assert outcome.duration_s <= 48


def test_time_counts_over_all_runs_of_a_study(tmp_path):
    first = search(tmp_path, planned=plan(50, time_limit_s=48))
    second = search(tmp_path, planned=plan(50, time_limit_s=48))
    assert second == first
    third = search(tmp_path, planned=plan(50, time_limit_s=100))
    assert len(third.records) > len(first.records)
    assert 48 < third.duration_s <= 100


def test_when_time_ends_in_the_first_trial_what_it_had_learned_is_the_result(tmp_path):
    outcome = search(tmp_path, planned=plan(50, time_limit_s=8))
    assert outcome.stopped == "time"
    assert [(record.state, record.reports[-1].step) for record in outcome.records] == [("pruned", 10)]
    assert outcome.best == outcome.recommended == outcome.records[0]
    assert (tmp_path / "trials" / "0" / "adapter").is_dir()


def test_the_first_trial_may_run_past_a_limit_that_it_has_not_reached_yet(tmp_path):
    outcome = search(tmp_path, planned=plan(50, time_limit_s=12))
    assert outcome.stopped == "time"
    assert [(record.state, record.reports[-1].step) for record in outcome.records] == [("complete", 20)]


def test_no_time_for_a_single_rung_is_said(tmp_path):
    with pytest.raises(AdvisorError, match="ran out of time after 0 s, before any trial reached its first rung"):
        search(tmp_path, planned=plan(50, time_limit_s=0))


def test_an_interrupted_search_ends_at_the_next_rung_with_what_is_finished(tmp_path):
    runner = FakeRunner()
    outcome = search(tmp_path, runner, interrupted=lambda: len(runner.started) == 3)
    assert outcome.stopped == "interrupted"
    assert [record.number for record in outcome.records] == [0, 1]
    again = search(tmp_path)
    assert again.stopped == "trials"
    assert again.records[:2] == outcome.records
    assert [record.number for record in again.records] == list(range(6))


def test_a_trial_that_was_interrupted_goes_on_from_its_last_rung_with_the_same_number(tmp_path):
    runner, ends = FakeRunner(), iter([False] * 4)
    outcome = search(tmp_path, runner, interrupted=lambda: next(ends, True))
    # Three rungs of trial 0, one of trial 1.
    assert [record.number for record in outcome.records] == [0]
    assert [path.name for path in (tmp_path / "live").iterdir() if path.is_dir()] == ["1"]
    again = FakeRunner()
    whole = search(tmp_path, again)
    assert again.resumed == [(1, 5)]
    assert [report.step for report in whole.records[1].reports] == [5, 10, 20]
    assert [spec.number for spec in again.started] == [2, 3, 4, 5]
    assert not (tmp_path / "live").exists()


def test_an_interrupted_search_without_a_complete_trial_says_so_and_goes_on_later(tmp_path):
    ends = iter([False] * 2)
    with pytest.raises(AdvisorError, match="before any trial was complete; run the same command again") as caught:
        search(tmp_path, interrupted=lambda: next(ends, True))
    assert caught.value.exit_code == 1
    runner = FakeRunner()
    outcome = search(tmp_path, runner)
    assert runner.resumed == [(0, 10)]
    assert outcome.recommended.state == "complete"


def test_a_second_control_c_in_the_middle_of_a_trial_keeps_what_is_finished_and_the_last_rung(tmp_path):
    runner = FakeRunner()

    def press() -> None:
        if len(runner.started) == 2 and runner.live[1].step == 10:
            raise KeyboardInterrupt

    runner.before_advance = press
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path, runner)
    assert [record.number for record in read_records(tmp_path / "trials.jsonl")] == [0]
    again = FakeRunner()
    assert len(search(tmp_path, again).records) == 6
    assert again.resumed == [(1, 10)]


def test_a_search_ends_when_its_target_is_reached(tmp_path):
    reached = search(tmp_path, planned=replace(plan(20), target=0.6))
    assert reached.stopped == "target"
    assert reached.best.value >= 0.6
    assert max((record.value for record in reached.records[:-1] if record.state == "complete"), default=0) < 0.6
    assert search(tmp_path, planned=replace(plan(20), target=0.6)) == reached


def test_checkpoints_of_live_trials_are_all_that_stays_of_them(tmp_path):
    runner = FakeRunner(slots=3)
    seen = []

    def look() -> None:
        folders = {path.parent.name: path.name for path in (tmp_path / "live").glob("*/*")}
        assert len(list((tmp_path / "live").glob("*/*"))) == len(folders)
        seen.append(folders)
        assert set(folders) <= {str(number) for number in runner.live}

    runner.before_advance = look
    search(tmp_path, runner, planned=plan(10))
    assert max(map(len, seen)) == 3
    assert not (tmp_path / "live").exists()


def test_a_runner_with_fewer_slots_than_the_one_before_takes_live_trials_one_after_the_other(tmp_path):
    ends = iter([False] * 2)
    with pytest.raises(AdvisorError):
        search(tmp_path, FakeRunner(slots=3), interrupted=lambda: next(ends, True))
    narrow = FakeRunner(slots=1)
    outcome = search(tmp_path, narrow)
    assert [number for number, _ in narrow.resumed] == [0, 1, 2]
    assert sorted(record.number for record in outcome.records) == list(range(6))


def test_events_tell_starts_rungs_ends_and_the_time_left(tmp_path):
    events: list[SearchEvent] = []
    outcome = search(tmp_path, events=events, planned=plan(4))
    started = [event for event in events if isinstance(event, TrialStarted)]
    rungs = [event for event in events if isinstance(event, RungReached)]
    finished = [event for event in events if isinstance(event, TrialFinished)]
    assert [event.spec.number for event in started] == [0, 1, 2, 3]
    assert [event.record for event in finished] == list(outcome.records)
    assert [event.rung for event in rungs if event.spec.number == 0] == [0, 1]
    assert started[0].progress.eta_s is None
    # One of four trials of 20 s is done.
    assert finished[0].progress.eta_s == pytest.approx(60)
    assert finished[-1].progress.eta_s == 0
    assert finished[-1].progress.best_number == outcome.best.number


def test_other_settings_on_the_same_folder_are_refused_by_name(tmp_path):
    search(tmp_path)
    before = (tmp_path / "trials.jsonl").read_bytes()
    with pytest.raises(InputError, match=r"seed: 0 then, 1 now.*--output"):
        search(tmp_path, about=settings(seed=1))
    assert (tmp_path / "trials.jsonl").read_bytes() == before


def test_a_full_disk_ends_the_search_in_one_line_and_it_can_go_on(tmp_path):
    runner = FakeRunner()

    def refuse(number: int, folder: Path) -> None:
        raise OSError(28, "No space left on device")

    runner.save = refuse  # type: ignore[method-assign]
    with pytest.raises(AdvisorError, match="No space left on device"):
        search_on_disk(tmp_path, runner)
    assert len(search_on_disk(tmp_path, FakeRunner()).records) == 3


def measuring(**memory_bytes: int) -> FakeRunner:
    """Return a runner whose trials take what is said for their method; what is not named cannot be measured."""

    def taken(of: Candidate) -> Inference | None:
        return inference(memory_bytes[of.method], 1.0) if of.method in memory_bytes else None

    return FakeRunner(taken=taken)


TWO = ("quality", "memory")


def test_with_a_second_objective_every_trial_is_trained_to_its_end(tmp_path):
    alone = search(tmp_path / "quality", planned=plan(12))
    assert any(record.state == "pruned" for record in alone.records)
    outcome = search(tmp_path / "both", measuring(lora=200, ia3=100), about=settings(objectives=TWO), planned=plan(12))
    assert {record.state for record in outcome.records} == {"complete"}
    study = load_study(study_name=None, storage=STORAGES[tmp_path / "both"])
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    for record in outcome.records:
        memory = {"lora": 200.0, "ia3": 100.0}[record.candidate.method]
        assert study.trials[record.number].values == [record.value, memory]
    assert outcome.trade_offs is not None
    assert {trial.number for trial in study.best_trials} == set(outcome.trade_offs.front)


def test_the_best_of_each_cost_stays_on_the_disk_and_the_best_quality_is_delivered(tmp_path):
    runner = measuring(lora=200, ia3=100)
    runner.level = lambda of: level_of(of) * (1.0 if of.method == "lora" else 0.1)
    outcome = search(tmp_path, runner, about=settings(objectives=TWO), planned=plan(12))
    best = {
        method: max(
            (one for one in outcome.records if one.candidate.method == method), key=lambda one: (one.value, -one.number)
        )
        for method in ("lora", "ia3")
    }
    assert outcome.trade_offs is not None
    assert outcome.trade_offs.front == (best["lora"].number, best["ia3"].number)
    assert outcome.best == best["lora"]
    kept = {int(path.name) for path in (tmp_path / "trials").iterdir()}
    assert set(outcome.trade_offs.front) <= kept
    assert kept == {*outcome.trade_offs.front, 0} | {one.number for one in outcome.finalists}


def test_a_trial_without_its_second_objective_has_failed_and_the_sampler_keeps_away_from_it(tmp_path):
    outcome = search(tmp_path, measuring(lora=200), about=settings(objectives=TWO), planned=plan(4))
    failed = [record for record in outcome.records if record.candidate.method == "ia3"]
    assert failed
    study = load_study(study_name=None, storage=STORAGES[tmp_path])
    for record in failed:
        assert (record.state, record.value) == ("failed", None)
        assert record.failure is not None
        assert "could not be measured" in record.failure.message
        assert study.trials[record.number].constraints == {"runs": 1.0}


def test_with_quality_alone_what_is_measured_is_kept_and_decides_nothing(tmp_path):
    plain = search(tmp_path / "plain", planned=plan(8))
    outcome = search(tmp_path / "measured", measuring(lora=200, ia3=100), planned=plan(8))
    assert [(one.number, one.state, one.value) for one in outcome.records] == [
        (one.number, one.state, one.value) for one in plain.records
    ]
    assert plain.trade_offs is None
    assert all((one.inference is None) == (one.state != "complete") for one in outcome.records)
    assert outcome.trade_offs is not None
    assert outcome.trade_offs.objectives == ("quality", "memory", "latency")
    assert outcome.best.number == plain.best.number


def test_a_study_is_not_continued_with_other_objectives(tmp_path):
    search(tmp_path)
    with pytest.raises(InputError, match="objectives"):
        search(tmp_path, about=settings(objectives=TWO))


def test_time_that_ends_in_the_first_trial_leaves_a_result_whatever_the_objectives(tmp_path):
    about = settings(objectives=TWO)
    outcome = search(tmp_path, measuring(lora=200, ia3=100), about=about, planned=plan(6, 7.0))
    assert [(one.state, one.inference) for one in outcome.records] == [("pruned", None)]
    assert outcome.best == outcome.records[0]
    assert outcome.trade_offs is None
    assert load_study(study_name=None, storage=STORAGES[tmp_path]).trials[0].state.name == "PRUNED"
    more = search(tmp_path, measuring(lora=200, ia3=100), about=about, planned=plan(4))
    assert more.records[0] == outcome.records[0]
    assert more.best.state == "complete"
