"""The model card of the saved adapter: `best_adapter/README.md` in the format of the Hugging Face hub.

The card may be published with the adapter, so folders of the user's machine are left out of it (see `public`), and so
are rows of the data. The fields of the front matter are those of the hub's template (huggingface/hub-docs,
modelcard.md); "code" as a language is one of its special values (huggingface_hub, `ModelCardData`). Not covered: a
licence, which is for the maker to choose; intervals in the front matter, which has no place for them.
"""

import math
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from huggingface_hub import EvalResult, ModelCardData

from advisor import durable
from advisor.candidates import Candidate
from advisor.catalog.base_models import find_base_model
from advisor.catalog.loaders import loaders_of, needs_own_tuners
from advisor.catalog.safetensors_header import read_header
from advisor.catalog.tasks import Head, find_task, head_of
from advisor.errors import AdvisorError, DataError
from advisor.report.data_section import data_section
from advisor.report.formatting import gib, method_title, metric_title, visible
from advisor.report.intervals import metric_intervals
from advisor.report.limits import data_warnings, limits
from advisor.report.loading import decision_rule, loading_code
from advisor.report.markdown import code_block, code_span, escaped, fact_list, markdown_table
from advisor.report.public import found_base_model, is_local, public_name, public_run
from advisor.report.run_folder import RunFolder, read_run_folder
from advisor.report.seeds import adapter_note, interval_note, split_table
from advisor.report.tables import Fact, baseline_notes, comparison_table, configuration, data_table, metrics_table
from advisor.report.verdict import judge
from advisor.result import Contender, TuningResult

PIPELINE_TAGS: dict[Head, str] = {
    "sequence-classification": "text-classification",
    "causal-lm": "text-generation",
    "seq2seq-lm": "text2text-generation",
}
# Ids of the hub's metrics where they differ from ours.
METRIC_IDS = {"mcc": "matthews_correlation", "rouge-l": "rouge", "exact-match": "exact_match"}
_MOST_LANGUAGES = 8  # as tags


def write_model_card(folder: Path) -> Path:
    """Write the card of a finished run's adapter, in place of the one that PEFT left there.

    Args:
        folder: The run folder.

    Returns:
        Path of the card.

    Raises:
        DataError: Not the folder of a finished run, or it holds no adapter.
    """
    run = read_run_folder(folder)
    best = run.contender("best trial")
    if run.result is None or best is None or best.candidate is None:
        raise DataError(f"{folder}: the study is not finished, so there is no adapter to describe; run `tune` again")
    adapter = folder / "best_adapter"
    if not adapter.is_dir():
        raise DataError(f"{folder}: no best_adapter folder in it; run `tune` again")
    path = adapter / "README.md"
    durable.write_text(path, render_model_card(run, best.candidate, adapter))
    return path


def render_model_card(run: RunFolder, candidate: Candidate, adapter: Path) -> str:
    """Return the card: YAML front matter and Markdown.

    Args:
        run: A finished run.
        candidate: What its adapter was made with.
        adapter: Folder of the adapter, for the sizes of its files.
    """
    shown = public_run(run, adapter)
    candidate = replace(candidate, base_model=found_base_model(candidate.base_model, adapter))
    result, best = shown.result, shown.contender("best trial")
    if result is None or best is None or best.candidate is None:
        raise ValueError("the run is not finished")
    verdict = judge(shown)
    blocks = [
        f"---\n{_metadata(shown, result, best, candidate).to_yaml()}\n---",
        f"# {escaped(_title(result, candidate))}",
        f"**{escaped(verdict.headline)}.** {escaped(verdict.sentence)}",
        "## Load it",
        code_block(loading_code(shown, folder="path/to/this/folder") or "", "python"),
        *_paragraphs(
            _tuner_note(candidate),
            _parts_note(candidate),
            base_note(candidate),
            decision_rule(find_task(result.task), result.threshold),
        ),
        "## Result",
        *_result(shown, result),
        "## Size",
        fact_list(_sizes(run, candidate, adapter)),
        "## Training",
        fact_list((*configuration(best.candidate), *_prompt(result), _seeds(result, best))),
        f"Made with {', '.join(code_span(f'{name} {version}') for name, version in sorted(result.versions.items()))}.",
        "## Data",
        *_data(shown, result),
        "## What this does not show",
        _bullets((*data_warnings(result.data), *limits(shown))),
    ]
    return "\n\n".join(blocks) + "\n"


def _paragraphs(*texts: str | None) -> list[str]:
    return [escaped(text) for text in texts if text]


def _bullets(texts: Iterable[str]) -> str:
    return "\n".join(f"- {escaped(text)}" for text in texts)


def _tuner_note(candidate: Candidate) -> str | None:
    """Say what is needed beside PEFT, whose own loading line is what model pages offer to copy."""
    if not needs_own_tuners(candidate.method):
        return None
    return f"PEFT does not ship {method_title(candidate.method)}: it is loaded by {loaders_of(candidate.method)}."


def _parts_note(candidate: Candidate) -> str | None:
    """Name the trained adapters that this one is made of; None where it is made of none."""
    if not candidate.adapters:
        return None
    names = ", ".join(f"{one.name} (SHA-256 {one.sha256[:12]})" for one in candidate.adapters)
    how = "It fuses" if candidate.method == "adapter-fusion" else "It stands, from below, on"
    return f"{how} adapters that were trained before: {names}. They stayed as they were, and their weights are in it."


def base_note(candidate: Candidate) -> str | None:
    """Say that the base model is where others have none; None for one of the hub, and for a whole model."""
    if not is_local(candidate.base_model) or candidate.method == "full":
        return None
    return (
        f"The base model {public_name(candidate.base_model)} was a folder on the machine where this was trained: "
        "whoever loads the adapter elsewhere has to name theirs in adapter_config.json (base_model_name_or_path)."
    )


def _result(run: RunFolder, result: TuningResult) -> list[str]:
    """Return the comparison with the intervals of all metrics, how baselines come to their answers, and the seeds."""
    intervals = metric_intervals(run)
    kept = intervals if intervals and intervals.found else None
    primary = [d for d in result.differences if d.metric == result.plan.primary_metric]
    tables = (comparison_table(result, kept), metrics_table(result, kept) if kept else None, split_table(result))
    comparison, *others = [markdown_table(table) for table in tables if table]
    notes = baseline_notes(result)
    return [
        *_paragraphs(adapter_note(result)),
        comparison,
        *([fact_list(notes)] if notes else []),
        *others,
        *_paragraphs(interval_note(primary), intervals.note if intervals else None),
    ]


def _sizes(run: RunFolder, candidate: Candidate, adapter: Path) -> list[Fact]:
    """Return what the saved files hold and which share of the base model's parameters was trained."""
    files = sorted(adapter.glob("*.safetensors"))
    if not files:
        return [Fact(name="Weights", value="none are in this folder")]
    what = "model" if candidate.method == "full" else "adapter"
    facts = [Fact(name=f"Size of the {what}", value=gib(sum(file.stat().st_size for file in files)))]
    counted = [count for file in files if (count := _count_values(file)) is not None]
    if len(counted) == len(files):
        facts.append(Fact(name=f"Parameters in the {what}", value=f"{sum(counted):,}"))
    trial = run.trial(run.result.best_trial) if run.result else None
    trained = max((r.trainable_params for r in trial.reports if r.trainable_params), default=0) if trial else 0
    if trained:
        facts.append(Fact(name="Trained parameters, head included", value=f"{trained:,}{_share(trained, candidate)}"))
    return facts


def _share(trained: int, candidate: Candidate) -> str:
    """Return the share of a base model's parameters; nothing where their number is not known."""
    with suppress(AdvisorError):
        of = find_base_model(candidate.base_model).params
        return f" ({100 * trained / of:.3g} % of the base model's {of:,})"
    return ""


def _count_values(file: Path) -> int | None:
    """Sum the sizes of tensors in the header of a safetensors file; None if broken."""
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        return int(sum(math.prod(tensor["shape"]) for tensor in read_header(file).tensors.values()))
    return None


def _prompt(result: TuningResult) -> list[Fact]:
    return [Fact(name="Prompt", value=f"{result.prompt.name} template")] if result.prompt else []


def _seeds(result: TuningResult, best: Contender) -> Fact:
    seeds = [str(one.seed) for one in best.seeds] or [str(result.seed)]
    return Fact(name="Seed" if len(seeds) == 1 else "Seeds", value=", ".join(seeds), code=True)


def _data(run: RunFolder, result: TuningResult) -> list[str]:
    """Return the splits and what the check before the study found; the rows that it names are the user's own."""
    section = data_section(run)
    blocks = [markdown_table(data_table(result.data))]
    blocks += [escaped(section.summary)] if run.data_report else []
    blocks += [_bullets(f"{one.severity}: {one.message}" for one in section.findings)] if section.findings else []
    return blocks + (["Done to the rows before:", _bullets(section.changes)] if section.changes else [])


def _metadata(run: RunFolder, result: TuningResult, best: Contender, candidate: Candidate) -> ModelCardData:
    task = find_task(result.task)
    full = candidate.method == "full"
    is_search = task.form == "retrieval"
    pipeline_tag = "feature-extraction" if is_search else PIPELINE_TAGS[head_of(task, candidate.architecture)]
    evaluated = _evaluated(result, best, pipeline_tag)
    hub_id = None if is_local(candidate.base_model) else _line(candidate.base_model)
    return ModelCardData(
        model_name=_line(_title(result, candidate)),
        base_model=hub_id,
        base_model_relation=None if hub_id is None else "finetune" if full else "adapter",
        language="code",
        library_name="transformers" if full else "peft",
        pipeline_tag=pipeline_tag,
        tags=["code", _line(result.task), _line(candidate.method), "peft-advisor", *_languages(run)],
        metrics=list(dict.fromkeys(one.metric_type for one in evaluated)),
        eval_results=evaluated,
    )


def _evaluated(result: TuningResult, best: Contender, pipeline_tag: str) -> list[EvalResult]:
    """Return every metric of the test split, the primary one first: of this adapter, not the mean over seeds."""
    primary, test = result.plan.primary_metric, result.data.get("test")
    values = (best.delivered or best).evaluation.metrics
    task = find_task(result.task)
    return [
        EvalResult(
            task_type=pipeline_tag,
            task_name=task.title,
            dataset_type="custom",
            dataset_name=f"{task.title}, own data" + (f" (SHA-256 {test.sha256[:12]})" if test else ""),
            dataset_split="test",
            metric_type=_line(METRIC_IDS.get(name, name)),
            metric_name=_line(metric_title(name)),
            metric_value=values[name],
        )
        for name in sorted(values, key=lambda name: (name != primary, name))
    ]


def _languages(run: RunFolder) -> list[str]:
    """Return the commonest programming languages of the training rows as tags, where a column told them."""
    splits = run.data_report.splits if run.data_report else {}
    counts = splits["train"].languages if "train" in splits else {}
    names = sorted(counts, key=lambda name: (-counts[name], name))
    return [name.lower() for name in names if re.fullmatch(r"[\w+#.-]{1,20}", name)][:_MOST_LANGUAGES]


def _line(text: str) -> str:
    """Return text from outside on one line, which can end neither a value of the front matter nor the front matter."""
    return " ".join(visible(text).split())


def _title(result: TuningResult, candidate: Candidate) -> str:
    base = public_name(candidate.base_model)
    return f"{find_task(result.task).title}: {method_title(candidate.method)} on {base}"
