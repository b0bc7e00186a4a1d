"""Everything the report says, in its order, as plain values; `html_page` and `markdown` only lay it out."""

from dataclasses import dataclass, replace

from advisor.catalog.tasks import TASKS
from advisor.recommendation import Confidence
from advisor.recommendation.text import CHOICE_TITLES
from advisor.report.cost import Cost, cost_part
from advisor.report.data_section import DataSection, data_section
from advisor.report.examples import Examples, choose_examples
from advisor.report.formatting import NONE, duration, gib, listed, method_title, metric_title, moment, number, plural
from advisor.report.intervals import metric_intervals
from advisor.report.limits import limits
from advisor.report.loading import loading_code
from advisor.report.memory import Memory, compare_memory
from advisor.report.page_charts import Chart, importance_chart, search_charts, trade_off_charts
from advisor.report.reasons import CitedReason, cite_reasons
from advisor.report.run_folder import RunFolder
from advisor.report.search_section import ImportancePart, importance_part
from advisor.report.seeds import adapter_note, finalists_table, finals_sentence, interval_note, split_table
from advisor.report.tables import (
    Fact,
    Table,
    baseline_notes,
    comparison_table,
    configuration,
    metrics_table,
    ranked_table,
    rejected_table,
    trials_table,
)
from advisor.report.trade_offs import TradeOffsPart, trade_offs_part
from advisor.report.verdict import Verdict, best_so_far, judge
from advisor.result import Difference, Plan, TuningResult
from advisor.spec import Budget


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommended:
    """The recommendation with its reasons, runners-up and what was dropped."""

    summary: str
    confidence: Confidence
    configuration: tuple[Fact, ...]
    reasons: tuple[CitedReason, ...]
    runners_up: Table | None
    rejected: Table | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Next:
    """What to run now: a command, and what is to be known before."""

    text: str
    command: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The report. Parts that an unfinished study lacks are None."""

    task: str
    verdict: Verdict
    stamp: str
    next: Next | None
    comparison: Table | None
    baselines: tuple[Fact, ...]
    metrics: Table | None
    metrics_note: str | None
    differences: tuple[Difference, ...]
    interval_note: str | None
    test_seeds: Table | None
    adapter_note: str | None
    loading: str | None
    trade_offs: TradeOffsPart | None
    trade_off_charts: tuple[Chart, ...]
    asked: tuple[Fact, ...]
    data: DataSection
    recommended: Recommended | None
    memory: Memory
    tried: str
    finals: str | None
    finalists: Table | None
    charts: tuple[Chart, ...]
    trials: Table
    importance: ImportancePart | None
    importance_chart: Chart | None
    cost: Cost | None
    best_title: str
    best: tuple[Fact, ...]
    examples: Examples | None
    reload_check: str | None
    limits: tuple[str, ...]
    reproduction: tuple[Fact, ...]
    command: str | None


def build_page(run: RunFolder) -> Page:
    """Return the page of a run, finished or not."""
    result = run.result
    metric = primary_metric(run)
    best = run.trial(result.best_trial) if result else best_so_far(run.trials)
    trade_offs = trade_offs_part(run)
    intervals = metric_intervals(run)
    kept = intervals if intervals and intervals.found else None
    importance = importance_part(run)
    verdict = judge(run)
    return Page(
        task=task_title(run),
        verdict=verdict,
        stamp=_stamp(run),
        next=next_step(run, verdict),
        comparison=comparison_table(result, kept) if result else None,
        baselines=baseline_notes(result) if result else (),
        metrics=metrics_table(result, kept) if result and kept else None,
        metrics_note=intervals.note if intervals else None,
        differences=_shown_differences(result),
        interval_note=interval_note(_shown_differences(result)),
        test_seeds=split_table(result) if result else None,
        adapter_note=adapter_note(result) if result else None,
        loading=loading_code(run),
        trade_offs=trade_offs,
        trade_off_charts=trade_off_charts(run, metric, trade_offs.costs if trade_offs else ()),
        asked=_asked(run, metric),
        data=data_section(run),
        recommended=_recommended(run),
        memory=compare_memory(run),
        tried=_tried(run),
        finals=finals_sentence(result.finals) if result else None,
        finalists=finalists_table(run),
        charts=search_charts(run, metric),
        trials=trials_table(run, metric),
        importance=importance,
        importance_chart=importance_chart(importance),
        cost=cost_part(run),
        best_title=f"Configuration of trial {best.number}, the best{'' if result else ' so far'}" if best else "",
        best=configuration(best.candidate) if best else (),
        examples=choose_examples(run),
        reload_check=_reload_check(result) if result else None,
        limits=limits(run),
        reproduction=_reproduction(result) if result else (),
        command=result.command if result else None,
    )


def primary_metric(run: RunFolder) -> str:
    """Return the metric the search maximises: from the plan, or from the task while there is no result."""
    if run.result is not None:
        return run.result.plan.primary_metric
    task = TASKS.get(run.recommendation.task)
    return task.primary_metric if task else "metric"


def task_title(run: RunFolder) -> str:
    """Return the task's name for people, its slug where the catalogue does not know it."""
    slug = run.result.task if run.result else run.recommendation.task
    return TASKS[slug].title if slug in TASKS else slug


def next_step(run: RunFolder, verdict: Verdict) -> Next | None:
    """Return how to predict with what was trained, None where there is nothing that can be used."""
    result = run.result
    if result is None or not result.reload_check.passed:
        return None
    task = TASKS.get(result.task)
    code = " --codebase code.jsonl" if task is not None and task.form == "retrieval" else ""
    where = "Run from the folder of this report; new.jsonl is a file of new rows."
    return Next(
        text=f"To see for yourself what it answers: {where[0].lower()}{where[1:]}"
        if verdict.kind == "problem"
        else where,
        command=f"peft-advisor predict . --input new.jsonl{code} --output predictions.jsonl",
    )


def _stamp(run: RunFolder) -> str:
    if run.result is None:
        last = max((trial.started_at for trial in run.trials), default="")
        begun = f", the last begun {moment(last)}" if last else ""
        return f"not finished; {plural(len(run.trials), 'trial')} on record{begun}"
    return f"finished {moment(run.result.finished_at)} · {run.result.device} · {plural(len(run.trials), 'trial')}"


def _shown_differences(result: TuningResult | None) -> tuple[Difference, ...]:
    if result is None:
        return ()
    primary = [d for d in result.differences if d.metric == result.plan.primary_metric]
    return tuple(sorted(primary, key=lambda d: d.against != "recommendation"))


def _asked(run: RunFolder, metric: str) -> tuple[Fact, ...]:
    slug = run.result.task if run.result else run.recommendation.task
    facts = [
        Fact(name="Task", value=f"{task_title(run)} ({slug})"),
        Fact(name="Primary metric", value=f"{metric_title(metric)}, higher is better"),
        Fact(name="Memory budget", value=_budget(run.recommendation.budget)),
    ]
    if run.result is None:
        return tuple(facts)
    plan = run.result.plan
    limit = f", {duration(plan.time_limit_s)} at most" if plan.time_limit_s is not None else ", no time limit"
    target = (
        f", until {metric_title(metric)} {number(plan.target)} on the validation split"
        if plan.target is not None
        else ""
    )
    if len(plan.objectives) > 1:
        costs: list[str] = [one for one in plan.objectives if one != "quality"]
        facts.insert(2, Fact(name="Weighed against", value=f"{listed(costs)} of prediction"))
    facts.append(Fact(name="Search budget", value=f"{plural(plan.n_trials, 'trial')} at most{limit}{target}"))
    return (*facts, Fact(name="Seeds of the finalists", value=str(plan.final_seeds)))


def _budget(budget: Budget) -> str:
    said = [f"{budget.vram_gib:g} GiB of device memory"] if budget.vram_gib is not None else []
    said += [budget.gpu] if budget.gpu is not None else []
    return ", ".join(said) or "not given"


def _recommended(run: RunFolder) -> Recommended | None:
    if not run.recommendation.candidates:
        return None
    first = run.recommendation.candidates[0]
    return Recommended(
        summary=(
            f"{method_title(first.method)} on {first.base_model}, in {first.precision}"
            + (f" with {first.quantization} base weights" if first.quantization else "")
            + (f", about {gib(first.estimate.peak_memory_bytes)} of memory by estimate" if first.estimate else "")
            + "."
        ),
        confidence=first.confidence,
        configuration=configuration(first.candidate),
        reasons=tuple(
            replace(reason, choice=CHOICE_TITLES.get(reason.choice, reason.choice))
            for reason in cite_reasons(first.reasons)
        ),
        runners_up=ranked_table(run.recommendation),
        rejected=rejected_table(run.recommendation),
    )


def _tried(run: RunFolder) -> str:
    states = {state: sum(t.state == state for t in run.trials) for state in ("complete", "pruned", "failed")}
    counted = listed([f"{n} {state}" for state, n in states.items() if n])
    said = f"{plural(len(run.trials), 'trial')}{f': {counted}' if counted else ''}."
    if run.result is None:
        return said
    plan = run.result.plan
    rungs = ", ".join(str(step) for step in plan.rung_steps)
    return (
        f"{said} Planned were {plan.n_trials}; the search took {duration(run.result.search_duration_s)}. Points were "
        f"proposed by {plan.sampler}, each reported at the optimizer steps {rungs}. {_stopping(plan)}"
        f"{_packed(run.result)}"
    )


def _stopping(plan: Plan) -> str:
    if len(plan.objectives) > 1:
        return "Every trial was trained to its end, since its memory and time are known only there."
    return (
        f"{plan.pruner} stopped those that lay behind the others at a step; when the time is up, trials still under "
        "way are stopped too. Both are called pruned."
    )


def _packed(result: TuningResult) -> str:
    """Say how many trials shared passes, and why."""
    if result.packing is None:
        return ""
    reason = result.packing.reason
    return f" {reason[0].upper()}{reason[1:]}."


def _reload_check(result: TuningResult) -> str:
    check = result.reload_check
    found = (
        f"{metric_title(check.metric)} {check.reloaded:.6f} when loaded by {result.loaders} in a fresh process, "
        f"against {check.expected:.6f} before (tolerance {check.tolerance:g})."
    )
    if check.passed:
        return f"Passed: the saved adapter gives its result again. {found}"
    return f"Failed: the saved adapter does not give its result again. {found} Do not use it."


def _reproduction(result: TuningResult) -> tuple[Fact, ...]:
    versions = ", ".join(f"{name} {version}" for name, version in sorted(result.versions.items()))
    counted = result.finals.counted if result.finals else ()
    return (
        Fact(name="Seed", value=str(result.seed) + (f"; finals {', '.join(map(str, counted))}" if counted[1:] else "")),
        Fact(name="Device", value=result.device),
        Fact(name="Finished", value=result.finished_at),
        Fact(name="Versions", value=versions or NONE),
        *(
            Fact(name=f"SHA-256 of {split}", value=f"{facts.sha256}  {facts.path}", code=True)
            for split, facts in result.data.items()
        ),
    )
