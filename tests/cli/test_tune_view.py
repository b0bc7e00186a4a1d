"""What `tune` shows while it runs: every event has its line, and foreign text cannot command the terminal."""

import re
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import get_args

import pytest
from rich.console import Console

from advisor.catalog.trained_adapters import TrainedAdapter
from advisor.cli.tune_view import TuneView
from advisor.result import Contender, Packing, Plan
from advisor.search.events import (
    InterruptRequested,
    Progress,
    RungReached,
    SearchEvent,
    TrialDropped,
    TrialFinished,
    TrialStarted,
)
from advisor.spec import GIB
from advisor.trial import Evaluation, RungReport, TrialFailure, TrialRecord, TrialSpec
from advisor.tuning.events import (
    AlreadyFinished,
    ContenderEvaluated,
    FinalRunFinished,
    FinalRungReached,
    FinalRunStarted,
    FinalsDecided,
    FinalsStarted,
    Joining,
    PackingChosen,
    Planned,
    ProgramsRun,
    StageStarted,
    TuningEvent,
)
from advisor.tuning.final_runs import FinalRun
from tests.report import fixtures
from tests.search.fakes import candidate

PROGRESS = Progress(n_finished=2, n_trials=12, best_number=1, best_value=0.75, elapsed_s=80.0, eta_s=300.0)
SPEC = TrialSpec(number=2, candidate=candidate(), seed=0, rung_steps=(5, 10, 20))
REPORT = RungReport(number=2, rung=0, step=5, metrics={"f1": 0.5}, train_loss=1.0, duration_s=3.0)
RECORD = TrialRecord(
    number=2,
    state="pruned",
    candidate=candidate(),
    seed=0,
    origin="sampler",
    value=0.5,
    reports=(REPORT,),
    started_at="2026-01-01T00:00:00+00:00",
)
PLANNED = Planned(
    folder=Path("studies/run"),
    task="Code clone detection",
    methods=("lora", "ia3"),
    recommended=candidate(),
    n_examples={"train": 1200, "valid": 100, "test": 200},
    plan=Plan(
        n_trials=12,
        time_limit_s=1800,
        rung_steps=(5, 10, 20),
        sampler="TPESampler",
        pruner="MedianPruner",
        device="cpu",
        primary_metric="f1",
        target=0.9,
        final_seeds=3,
    ),
    n_finalists=4,
    memory_bytes=3 * GIB,
    memory_basis="dry run",
    warnings=("3 of 200 test rows stand in the train split too",),
    n_finished=2,
)
ROW = Contender(
    name="majority class",
    trial=None,
    candidate=None,
    evaluation=Evaluation(metrics={"f1": 0.0, "accuracy": 0.5}, n_examples=200, duration_s=1.0),
)
FINAL_SPEC = replace(SPEC, number=1_000_002, seed=8)
FINAL_REPORT = replace(REPORT, number=1_000_002)
FINAL_RUN = FinalRun(
    trial=2,
    seed=8,
    state="complete",
    candidate=candidate(),
    value=0.625,
    reports=(FINAL_REPORT,),
    started_at="2026-01-01T00:00:00+00:00",
)
EVENTS = {
    Planned: PLANNED,
    StageStarted: StageStarted(text="loading the base model"),
    ProgramsRun: ProgramsRun(n_run=1_200, n_programs=1_500),
    PackingChosen: PackingChosen(packing=Packing(device="cpu", size=4, asked=True)),
    ContenderEvaluated: ContenderEvaluated(contender=ROW),
    AlreadyFinished: AlreadyFinished(folder=Path("studies/run"), n_finished=12),
    TrialStarted: TrialStarted(spec=SPEC, progress=PROGRESS),
    RungReached: RungReached(spec=SPEC, rung=0, value=0.5, progress=PROGRESS),
    TrialFinished: TrialFinished(record=RECORD, is_best=False, progress=PROGRESS),
    TrialDropped: TrialDropped(spec=SPEC, progress=PROGRESS),
    Joining: Joining(
        study="clones", folder=Path("studies/run"), metric="f1", n_trials=12, has_costs=False, has_bases=False
    ),
    InterruptRequested: InterruptRequested(),
    FinalsStarted: FinalsStarted(finalists=(2, 0), seeds=(7, 8, 9), n_finished=1, n_runs=4),
    FinalRunStarted: FinalRunStarted(spec=FINAL_SPEC, trial=2),
    FinalRungReached: FinalRungReached(spec=FINAL_SPEC, trial=2, report=FINAL_REPORT, metric="f1"),
    FinalRunFinished: FinalRunFinished(run=FINAL_RUN, n_finished=2, n_runs=4, eta_s=90.0),
    FinalsDecided: FinalsDecided(finals=fixtures.finals()),
}


def shown(*events: object, terminal: bool = False) -> str:
    file = StringIO()
    with TuneView(Console(file=file, force_terminal=terminal, width=200)) as view:
        for event in events:
            view(event)
    return file.getvalue()


def test_every_event_has_a_way_to_be_shown():
    assert set(EVENTS) == {*get_args(TuningEvent), *get_args(SearchEvent)}
    for event in EVENTS.values():
        shown(PLANNED, event)
        shown(PLANNED, event, terminal=True)


def test_programs_that_run_are_counted_where_a_line_can_be_written_again():
    event = ProgramsRun(n_run=1_200, n_programs=1_500)
    assert "running generated programs: 1,200 of 1,500" in shown(PLANNED, event, terminal=True)
    assert shown(PLANNED, event) == shown(PLANNED)  # a log would get a line for every program


def test_the_plan_is_shown_in_full():
    text = shown(PLANNED)
    for part in (
        "Code clone detection; F1 on the validation split decides",
        "1,200 train, 100 valid, 200 test",
        "lora, ia3",
        "the recommendation: LoRA, learning_rate=0.0003, r=8",
        "Search      12 trials, looked at after 5, 10 and 20 steps, until F1 0.900",
        "TPESampler and MedianPruner",
        "Finals      up to 4 trials again with 2 other seeds: 8 runs of 20 steps at most",
        "Memory      about 3.00 GiB on a GPU for the first trial, by estimate (dry run)",
        "Time        at most 30 min with final evaluation; measured at the first rung",
        "Device      cpu",
        "studies/run",
        "Continuing: 2 trials finished before.",
        "warning: 3 of 200 test rows stand in the train split too",
    ):
        assert part in text


def test_what_adapters_are_made_of_is_named_where_they_are_made_of_trained_ones():
    part = TrainedAdapter(
        folder="studies/java/best_adapter", sha256="0", reduction_factor=16.0, non_linearity="silu", scaling=1.0
    )
    text = shown(replace(PLANNED, recommended=replace(candidate(), adapters=(part, replace(part, folder="go")))))
    assert "Made of     java (studies/java/best_adapter), go (go)\n" in text
    assert "Made of" not in shown(PLANNED)


def test_a_finished_trial_is_one_line_with_value_best_and_time_left():
    line = shown(PLANNED, EVENTS[TrialFinished]).splitlines()[-1]
    assert line == (
        "[2/12] trial 2: LoRA, learning_rate=0.0003, r=8; pruned at step 5, F1 0.500 (best 0.750); "
        "1 min 20 s, about 5 min left"
    )


def test_a_failed_trial_says_why():
    failure = TrialFailure(kind="out-of-memory", message="tried to allocate 2 GiB")
    failed = replace(RECORD, state="failed", value=None, failure=failure)
    line = shown(PLANNED, TrialFinished(record=failed, is_best=False, progress=PROGRESS)).splitlines()[-1]
    assert "failed (out-of-memory: tried to allocate 2 GiB)" in line


def test_what_is_not_known_or_not_wanted_is_said_in_the_plan():
    plan = replace(PLANNED.plan, target=None, final_seeds=1, time_limit_s=None)
    text = shown(replace(PLANNED, plan=plan, n_finalists=0, memory_bytes=None))
    assert "looked at after 5, 10 and 20 steps\n" in text
    assert "Finals      none: one seed decides" in text
    assert "Memory      no estimate for this base model" in text
    assert "Time        measured at the first rung" in text


def test_a_study_that_goes_on_says_how_long_the_rest_will_take():
    assert "30 min with final evaluation; about 7 min 30 s more" in shown(replace(PLANNED, expected_s=450.0))


def test_rungs_are_lines_without_a_terminal_and_a_row_on_one():
    reached = EVENTS[RungReached]
    assert "  trial 2: LoRA, learning_rate=0.0003, r=8; step 5 of 20, F1 0.500\n" in shown(PLANNED, reached)
    assert "step 5 of 20, F1" not in shown(PLANNED, reached, terminal=True)


def screen(*events: object) -> list[str]:
    """Return the lines of the live table after these events, without the spinner's first character."""
    console = Console(file=StringIO(), force_terminal=True, width=120)
    view = TuneView(console)
    for event in events:
        view(event)
    with console.capture() as capture:
        console.print(view._table._rendered())
    text = re.sub(r"\x1b\[[0-9;]*m", "", capture.get())
    return [" ".join(line.split()) for line in text.splitlines()]


def test_on_a_terminal_live_trials_stand_in_a_table_with_best_value_and_time_left():
    reached = replace(EVENTS[RungReached], peak_memory_bytes=3 * GIB)
    other = TrialStarted(spec=replace(SPEC, number=3), progress=PROGRESS)
    headline, *table = screen(PLANNED, EVENTS[TrialStarted], reached, other)
    assert headline.endswith("[2/12] 1 min 20 s, about 5 min left; best F1 0.750 (trial 1)")
    assert table == [
        "trial method rung F1 memory",
        "trial 2 LoRA, learning_rate=0.0003, r=8 step 5 of 20 0.500 3.00 GiB",
        "trial 3 LoRA, learning_rate=0.0003, r=8 step 0 of 20 – –",
    ]


def test_a_trial_that_is_over_leaves_the_table_and_a_line():
    assert len(screen(PLANNED, EVENTS[TrialStarted], EVENTS[TrialFinished])) == 1


def test_a_final_run_is_a_row_with_its_seed_while_it_is_trained():
    headline, _, row = screen(PLANNED, EVENTS[FinalsStarted], EVENTS[FinalRunStarted], EVENTS[FinalRungReached])
    assert headline.endswith("finals: 1 of 4 runs finished")
    assert row == "trial 2, seed 8 LoRA, learning_rate=0.0003, r=8 step 5 of 20 0.500 –"
    done = screen(PLANNED, EVENTS[FinalRunStarted], EVENTS[FinalRunFinished])
    assert len(done) == 1
    assert done[0].endswith("finals: 2 of 4 runs finished, about 1 min 30 s left")


def test_the_finals_are_told_in_lines():
    finals = [FinalsStarted, FinalRungReached, FinalRunFinished, FinalsDecided]
    lines = shown(PLANNED, *(EVENTS[kind] for kind in finals)).splitlines()[-6:]
    assert lines == [
        "Finals: trials 2 and 0 again with seeds 8 and 9 (4 runs, 1 of them finished before)",
        "  trial 2, seed 8: step 5 of 20, F1 0.500",
        "[final 2/4] trial 2, seed 8; F1 0.625, about 1 min 30 s left",
        "  trial 9: F1 0.855 ± 0.010 on the validation split over 3 seeds",
        "  trial 0 (recommendation): F1 0.812 ± 0.010 on the validation split over 3 seeds",
        "Winner: trial 9",
    ]


def test_a_final_run_that_failed_says_why():
    failure = TrialFailure(kind="nan-loss", message="loss is NaN")
    failed = replace(FINAL_RUN, state="failed", value=None, failure=failure)
    line = shown(PLANNED, replace(EVENTS[FinalRunFinished], run=failed)).splitlines()[-1]
    assert "trial 2, seed 8; failed (nan-loss: loss is NaN)" in line


def test_a_recommendation_that_won_the_finals_is_said_to_be_kept():
    kept = replace(fixtures.finals(), recommendation=9)
    assert shown(PLANNED, FinalsDecided(finals=kept)).endswith("Winner: trial 9; the recommendation is kept\n")


def test_ctrl_c_is_answered_with_what_happens_next():
    line = shown(EVENTS[InterruptRequested])
    assert "Ending at the next rung; then the report is written from what is finished." in line
    assert "Ctrl-C again stops at once" in line


@pytest.mark.parametrize("terminal", [False, True])
def test_foreign_text_cannot_command_the_terminal(terminal):
    evil = "model\x1b]0;owned\x07[bold]"
    hostile = replace(
        PLANNED, recommended=replace(candidate(), base_model=evil), folder=Path(evil), warnings=(evil + "\u202e",)
    )
    text = shown(hostile, terminal=terminal)
    assert "\x1b]0" not in text
    assert "\x07" not in text
    assert "\u202e" not in text
    assert "[bold]" in text


def test_ctrl_c_leaves_word_that_nothing_finished_is_lost():
    file = StringIO()
    with pytest.raises(KeyboardInterrupt), TuneView(Console(file=file)):
        raise KeyboardInterrupt
    assert "the same command again goes on from there" in file.getvalue()


WEIGHED = replace(PLANNED, plan=replace(PLANNED.plan, objectives=("quality", "memory", "latency"), pruner="NopPruner"))
COMPLETE = replace(RECORD, state="complete", inference=fixtures.inference(500, 4.0))


def test_a_plan_with_several_objectives_names_them_and_says_that_nothing_is_pruned():
    text = shown(WEIGHED)
    assert "Objectives  F1, weighed against memory and latency of prediction\n" in text
    assert "Decided by  TPESampler of Optuna; every trial is trained to its end\n" in text
    assert "Objectives" not in shown(PLANNED)


def test_what_prediction_takes_is_told_of_a_trial_where_it_is_an_objective():
    finished = TrialFinished(record=COMPLETE, is_best=False, progress=PROGRESS)
    line = shown(WEIGHED, finished).splitlines()[-1]
    assert "complete at step 5, F1 0.500, 0.49 GiB, 4 ms per example (best 0.750)" in line
    assert "per example" not in shown(PLANNED, finished)


def test_the_storage_of_the_base_model_stands_in_the_plan_where_it_is_not_the_usual_one():
    stored = replace(PLANNED, recommended=replace(PLANNED.recommended, quantization="4bit"))
    base = PLANNED.recommended.base_model
    assert f"Base model  {base} (4bit)\n" in shown(stored)
    assert f"Base model  {base}\n" in shown(PLANNED)
