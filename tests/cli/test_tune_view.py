"""What `tune` prints: every event has its line, foreign text cannot command the terminal, the verdict stands first."""

from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import get_args

import pytest
from rich.console import Console

from advisor.cli.tune_view import TuneView, show_result
from advisor.result import Contender, Plan
from advisor.search.events import (
    InterruptRequested,
    Progress,
    RungReached,
    SearchEvent,
    TrialFinished,
    TrialStarted,
)
from advisor.trial import Evaluation, RungReport, TrialFailure, TrialRecord, TrialSpec
from advisor.tuning.events import AlreadyFinished, ContenderEvaluated, Planned, StageStarted, TuningEvent
from tests.report.fixtures import run_folder, write_run
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
    ),
    warnings=("3 of 200 test rows stand in the train split too",),
    n_finished=2,
)
ROW = Contender(
    name="majority class",
    trial=None,
    candidate=None,
    evaluation=Evaluation(metrics={"f1": 0.0, "accuracy": 0.5}, n_examples=200, duration_s=1.0),
)
EVENTS = {
    Planned: PLANNED,
    StageStarted: StageStarted(text="loading the base model"),
    ContenderEvaluated: ContenderEvaluated(contender=ROW),
    AlreadyFinished: AlreadyFinished(folder=Path("studies/run"), n_finished=12),
    TrialStarted: TrialStarted(spec=SPEC, progress=PROGRESS),
    RungReached: RungReached(spec=SPEC, rung=0, value=0.5, progress=PROGRESS),
    TrialFinished: TrialFinished(record=RECORD, is_best=False, progress=PROGRESS),
    InterruptRequested: InterruptRequested(),
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


def test_the_plan_is_shown_in_full():
    text = shown(PLANNED)
    for part in (
        "Code clone detection; F1 on the validation split decides",
        "1,200 train, 100 valid, 200 test",
        "lora, ia3",
        "the recommendation: LoRA, learning_rate=0.0003, r=8",
        "12 trials, looked at after 5, 10 and 20 steps, at most 30 min with final evaluation",
        "TPESampler and MedianPruner",
        "cpu",
        "studies/run",
        "Continuing: 2 trials finished before.",
        "warning: 3 of 200 test rows stand in the train split too",
    ):
        assert part in text


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


def test_rungs_are_lines_without_a_terminal_and_a_status_on_one():
    reached = EVENTS[RungReached]
    assert "step 5 of 20, F1 0.500" in shown(PLANNED, reached)
    assert "step 5 of 20" not in shown(PLANNED, reached, EVENTS[TrialFinished], terminal=True).splitlines()[-1]


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


def test_the_result_begins_with_the_verdict_and_ends_with_code_that_loads_the_adapter(tmp_path, capsys):
    folder = write_run(tmp_path / "run")
    show_result(folder)
    out = capsys.readouterr().out
    first = out.splitlines()[0]
    assert "recommendation" in first.lower() or "better" in first.lower()
    for row in run_folder().result.contenders:
        assert row.name in out
    assert "95 % interval" in out
    assert str(folder / "report.html") in out
    assert "from_pretrained" in out
    compile(out[out.index("from peft") :], "snippet", "exec")


def test_a_search_in_which_no_trial_reached_its_end_says_so(tmp_path, capsys):
    run = run_folder()
    stopped = tuple(replace(trial, state="pruned") for trial in run.trials if trial.state == "complete")
    assert run.result is not None
    cut = replace(run, trials=stopped, result=replace(run.result, stopped="time"))
    show_result(write_run(tmp_path / "run", cut))
    out = capsys.readouterr().out
    assert "the time was over; more --time continues it" in out
    assert "No trial reached its end" in out
