"""What is left of a study at its end: the record of what it found, the files made of it, and the last check."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from advisor import records
from advisor.catalog.loaders import loaders_of
from advisor.errors import ReloadCheckError
from advisor.result import Contender, Finals, Packing, Plan, Probe, TuningResult
from advisor.trial import WorkerUse
from advisor.tuning.contest import Contest
from advisor.tuning.events import StageStarted
from advisor.tuning.versions import installed_versions

if TYPE_CHECKING:
    from advisor.search import SearchOutcome
    from advisor.training.runner import DeviceRunner
    from advisor.tuning.study_run import StudyRun

RESULT = "result.json"
BEST_ADAPTER = "best_adapter"


def result_of(
    run: "StudyRun",
    runner: "DeviceRunner",
    plan: Plan,
    outcome: "SearchOutcome",
    finals: Finals | None,
    contest: Contest,
    contenders: Sequence[Contender],
    *,
    probe: Probe | None,
    packing: Packing,
    use: tuple[WorkerUse, ...],
) -> TuningResult:
    """Load the best adapter in a fresh process, and return what the study found.

    Args:
        run: The study.
        runner: Of this process.
        plan: Of the study.
        outcome: Of its search.
        finals: Of its best trials, None where nothing was complete.
        contest: Where the contenders were compared.
        contenders: Baselines first; the delivered adapter last.
        probe: The step that was measured before the search.
        packing: How it packed.
        use: How its workers spent their time.
    """
    from advisor.training.prompting import prompt_of_base
    from advisor.training.reload import reload_check

    *others, best = contenders
    assert best.candidate is not None
    assert best.trial is not None
    assert best.delivered is not None
    loaders = loaders_of(best.candidate.method)
    contest.on_event(StageStarted(text=f"loading the saved adapter in a fresh process, with {loaders}"))
    check = reload_check(
        runner,
        run.start.task,
        best.candidate,
        run.folder / BEST_ADAPTER,
        expected=best.delivered.evaluation.metrics,
        threshold=best.delivered.evaluation.threshold,
    )
    return TuningResult(
        task=run.start.task.slug,
        seed=run.request.seed,
        command=run.request.command,
        plan=plan,
        data={split: runner.data.facts(split, file, best.candidate) for split, file in run.data.files.items()},
        best_trial=best.trial,
        contenders=tuple(contenders),
        warnings=run.data.warnings,
        probe=probe,
        packing=packing,
        workers=use,
        differences=contest.differences(best, others),
        reload_check=check,
        stopped=outcome.stopped,
        search_duration_s=outcome.duration_s,
        versions=installed_versions(),
        device=runner.device,
        finished_at=datetime.fromtimestamp(run.clock(), tz=UTC).isoformat(timespec="seconds"),
        finals=finals,
        n_trials_finished=len(outcome.records),
        trade_offs=outcome.trade_offs,
        prompt=prompt_of_base(runner.data.base_model(best.candidate), run.start.task, run.data.files["train"].examples),
    )


def write_all(folder: Path, result: TuningResult) -> None:
    """Write the record of a study, its report and the model card into its folder."""
    from advisor.report import write_report
    from advisor.report.model_card import write_model_card
    from advisor.search.importance import keep_importance

    records.write(result, folder / RESULT)
    keep_importance(folder)
    write_model_card(folder)
    write_report(folder)


def refuse_unfaithful(folder: Path, result: TuningResult) -> None:
    """Stop where the saved adapter does not give what was measured.

    Raises:
        ReloadCheckError: It does not.
    """
    check = result.reload_check
    if not check.passed:
        raise ReloadCheckError(
            f"{folder / BEST_ADAPTER}: loaded by {result.loaders} it gives {check.metric} "
            f"{check.reloaded:.4f}, but {check.expected:.4f} was measured; do not use it "
            f"(see {folder / 'report.html'})"
        )
