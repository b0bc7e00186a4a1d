"""The model card of merged weights: what was merged into what, and code that loads them without PEFT.

The card may be published with the weights, so folders of the user's machine become their last names.
"""
# ruff: noqa: TID253 - imported when a merge is written

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from advisor.exports.merged import MergeSource
from advisor.exports.plan import ExportHead
from advisor.report.formatting import method_title, visible
from advisor.report.loading import code_for, decision_rule
from advisor.report.markdown import code_block, escaped, fact_list
from advisor.report.public import is_local, public_name
from advisor.report.tables import Fact
from advisor.tuning.prediction.finished_run import FinishedRun
from advisor.tuning.versions import installed_versions

if TYPE_CHECKING:
    from advisor.tuning.merging import MergeSummary

_HERE = "path/to/this/folder"
_PIPELINES: Mapping[ExportHead, str] = {
    "sequence-classification": "text-classification",
    "causal-lm": "text-generation",
    "seq2seq-lm": "text2text-generation",
    "embedding": "feature-extraction",
}
_DTYPES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}


def merged_card(source: MergeSource, summary: "MergeSummary", run: FinishedRun | None) -> str:
    """Return the card: YAML front matter and Markdown.

    Args:
        source: What was merged.
        summary: How that went; names of files are not used.
        run: The finished run that it is of, for how its answers are made.
    """
    title = f"{method_title(source.method)} merged into {public_name(source.base_model)}"
    if source.peft_type is None:
        title = f"{public_name(source.base_model)} after full fine-tuning"
    rule = None if run is None else decision_rule(run.task, run.result.threshold)
    blocks = [
        "---\n" + "\n".join(_front_matter(source)) + "\n---",
        f"# {escaped(title)}",
        "Whole weights: transformers loads them by itself, without PEFT and without peft-advisor.",
        code_block(_loading(source, summary, run), "python"),
        *([escaped(rule)] if rule else []),
        *map(escaped, summary.notes),
        "## What was merged",
        fact_list(_facts(source, summary, run)),
    ]
    return "\n\n".join(blocks) + "\n"


def _front_matter(source: MergeSource) -> Iterator[str]:
    """Yield lines of YAML; JSON's texts are YAML's."""
    if not is_local(source.base_model):
        yield f"base_model: {json.dumps(_line(source.base_model))}"
        yield "base_model_relation: finetune"
    yield "library_name: transformers"
    yield f"pipeline_tag: {_PIPELINES[source.head]}"
    yield f"tags: {json.dumps(['code', _line(source.method), 'peft-advisor'])}"


def _loading(source: MergeSource, summary: "MergeSummary", run: FinishedRun | None) -> str:
    """Return the code: with an example where the run says how one is read."""
    if run is not None:
        whole = replace(run.candidate, method="full", quantization=None, precision=summary.dtype)
        return code_for(
            run.task, whole, n_labels=len(run.label_names), folder=_HERE, prompt=run.result.prompt,
            threshold=run.result.threshold,
        )  # fmt: skip
    return "\n".join(
        (
            f"from transformers import {', '.join(sorted((summary.model_class, 'AutoTokenizer')))}",
            "",
            f'model = {summary.model_class}.from_pretrained("{_HERE}", dtype="{_DTYPES[summary.dtype]}").eval()',
            f'tokenizer = AutoTokenizer.from_pretrained("{_HERE}")',
        )
    )


def _facts(source: MergeSource, summary: "MergeSummary", run: FinishedRun | None) -> Iterator[Fact]:
    if run is not None:
        yield Fact(name="task", value=run.task.title)
    yield Fact(name="method", value=method_title(source.method))
    yield Fact(name="base model", value=public_name(source.base_model), code=True)
    at = summary.revision or ("a folder, without one" if is_local(source.base_model) else "not recorded")
    yield Fact(name="revision of the base model", value=at)
    if source.quantization is not None:
        yield Fact(name="base model in training", value=source.quantization)
    yield Fact(name="type of the weights", value=_DTYPES[summary.dtype])
    if source.peft_type is not None:
        yield Fact(
            name="check",
            value=f"loaded again, it answers as the adapter does: off by {summary.distance:.2g} of the size of the "
            f"answers on three short texts (allowed: {summary.tolerance:g})",
        )
    yield Fact(name="made with", value=", ".join(f"{name} {at}" for name, at in sorted(installed_versions().items())))


def _line(text: str) -> str:
    return " ".join(visible(text).split())
