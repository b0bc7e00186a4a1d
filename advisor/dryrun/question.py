"""A user's question about a model by name, turned into a workload and answered."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from peft import PeftConfig

from advisor.catalog.gpus import Gpu
from advisor.catalog.methods import Method
from advisor.catalog.tasks import Head
from advisor.dryrun.adapters import adapter_of_file, adapter_of_method
from advisor.dryrun.estimate import DryRun, estimate_workload
from advisor.dryrun.generation import Inference
from advisor.dryrun.largest import Largest, largest_that_fits
from advisor.dryrun.peft_methods import config_from_file
from advisor.dryrun.workload import OptimizerName, Workload
from advisor.errors import InputError
from advisor.modeling.adapters import TASK_TYPES
from advisor.modeling.meta import Attention, ModelSource, hidden_size, read_model_source
from advisor.spec import Precision, Quantization

Searched = Literal["batch-size", "seq-len", "rank"]
DEFAULT_TARGET = 128  # tokens
_LARGEST_BATCH, _LONGEST = 8192, 131_072


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What the user wants to know; names and defaults as in `Workload` where not said otherwise.

    Attributes:
        model: Catalogue or hub id, or a folder with a config.json.
        method: PEFT method of the catalogue.
        hyperparameters: Of the method, beyond its defaults.
        adapter_config: An adapter_config.json to use instead of the method.
        head: Task head, None for the architecture's usual one.
        precision: None for bf16, or fp16 on a GPU without it.
        target_length: None for a usual one where the model has a target.
        eval_batch_size: Sequences at once in evaluation, None not to look at it.
        new_tokens: Tokens that evaluation generates.
        searched: What to find the largest value of, None for nothing.
    """

    model: str
    method: Method
    hyperparameters: Mapping[str, object] = field(default_factory=dict)
    adapter_config: Path | None = None
    head: Head | None = None
    n_labels: int = 2
    batch_size: int = 1
    seq_length: int = 512
    target_length: int | None = None
    accumulation: int = 1
    pack_size: int = 1
    precision: Precision | None = None
    quantization: Quantization | None = None
    optimizer: OptimizerName = "adamw"
    gradient_checkpointing: bool = False
    attention: Attention = "sdpa"
    autocast: bool = False
    holds_outputs: bool = True
    eval_batch_size: int | None = None
    new_tokens: int = 0
    searched: Searched | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the dry run said.

    Attributes:
        question: As asked.
        workload: What was run; the largest that fits when that was asked for.
        method: Name of the method for people.
        run: Memory and time.
        largest: Result of the search, None without one.
    """

    question: Question
    workload: Workload
    method: str
    run: DryRun
    largest: Largest | None = None


def answer(question: Question, *, gpu: Gpu | None = None, usable_gib: float | None = None) -> Answer:
    """Dry-run what the question is about.

    Args:
        question: Model, method and step.
        gpu: Device to fit into and to estimate time for.
        usable_gib: Memory to fit into instead of the GPU's own.

    Raises:
        InputError: Parts of the question do not go together.
        DataError: The model folder or the adapter's file is not usable.
        UnknownNameError: No such model.
        InfeasibleBudgetError: A largest value was asked for, and nothing fits.
    """
    workload = workload_of(question, gpu)
    method = question.method.title
    if workload.peft_config is not None and question.adapter_config is not None:
        method = str(getattr(workload.peft_config.peft_type, "value", workload.peft_config.peft_type))
    inference = None
    if question.eval_batch_size is not None or question.new_tokens:
        batch = question.eval_batch_size or question.batch_size
        inference = Inference(batch_size=batch, seq_length=question.seq_length, new_tokens=question.new_tokens)

    def run(one: Workload) -> DryRun:
        return estimate_workload(one, gpu=gpu, usable_gib=usable_gib, inference=inference)

    if question.searched is None:
        return Answer(question=question, workload=workload, method=method, run=run(workload))
    make, limit = _searched(question, workload)
    found = largest_that_fits(lambda value: run(make(value)), limit=limit, name=question.searched)
    return Answer(question=question, workload=make(found.value), method=method, run=found.run, largest=found)


def workload_of(question: Question, gpu: Gpu | None = None) -> Workload:
    """Return the training step that a question is about.

    Raises:
        InputError: Parts of the question do not go together.
    """
    source = read_model_source(question.model)
    head = question.head or _head(question, source)
    _check_length(source, question)
    has_target = head == "seq2seq-lm"
    if question.target_length is not None and not has_target:
        raise InputError(f"--target-len: a {head} head has no target of its own; give the whole length as --seq-len")
    return Workload(
        source=source, head=head, peft_config=_adapter(question, source, head), precision=_precision(question, gpu),
        quantization=question.quantization, autocast=question.autocast, optimizer=question.optimizer,
        gradient_checkpointing=question.gradient_checkpointing, attention=question.attention,
        batch_size=question.batch_size, seq_length=question.seq_length,
        target_length=(question.target_length or DEFAULT_TARGET) if has_target else 0,
        accumulation=question.accumulation, pack_size=question.pack_size, n_labels=question.n_labels,
        holds_outputs=question.holds_outputs, flash_capable=_has_flash(gpu),
    )  # fmt: skip


def _head(question: Question, source: ModelSource) -> Head:
    if question.adapter_config is not None:
        task_type = config_from_file(question.adapter_config).task_type
        for head, name in TASK_TYPES.items():
            if task_type == name:
                return head
    return source.default_head


def _adapter(question: Question, source: ModelSource, head: Head) -> PeftConfig | None:
    if question.adapter_config is None:
        return adapter_of_method(source, head, question.method, question.hyperparameters)
    if question.hyperparameters:
        raise InputError("--set and --adapter-config exclude each other; change the value in the file")
    return adapter_of_file(question.adapter_config, head)


def _precision(question: Question, gpu: Gpu | None) -> Precision:
    if question.precision is not None:
        if question.precision == "bf16" and gpu is not None and gpu.supports_bf16 is False:
            raise InputError(f"--precision bf16: {gpu.name} has no bfloat16; use fp16 or fp32")
        return question.precision
    return "fp16" if gpu is not None and gpu.supports_bf16 is False else "bf16"


def _has_flash(gpu: Gpu | None) -> bool:
    if gpu is None or gpu.compute_capability is None:
        return True
    try:
        return float(gpu.compute_capability) >= 8.0
    except ValueError:
        return gpu.vendor == "amd"


def _check_length(source: ModelSource, question: Question) -> None:
    limit = source.position_limit
    if limit is not None and question.seq_length > limit:
        raise InputError(f"--seq-len: {source.name} takes at most {limit} tokens, not {question.seq_length}")


def _searched(question: Question, workload: Workload) -> tuple[Callable[[int], Workload], int]:
    if question.searched == "batch-size":
        return lambda value: replace(workload, batch_size=value), _LARGEST_BATCH
    if question.searched == "seq-len":
        positions = workload.source.position_limit or workload.source.max_positions or _LONGEST
        return lambda value: replace(workload, seq_length=value), min(positions, _LONGEST)
    config = workload.peft_config
    if config is None or not isinstance(getattr(config, "r", None), int):
        raise InputError(f"--max rank: {question.method.slug} has no rank")

    def with_rank(value: int) -> Workload:
        changed = type(config)(**{**config.to_dict(), "r": value})
        return replace(workload, peft_config=changed)

    return with_rank, hidden_size(workload.source.config)
