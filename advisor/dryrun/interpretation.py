"""From a user's question to the workload that is dry-run, with what can only be checked against the model's config."""

from peft import PeftConfig, PromptLearningConfig

from advisor.catalog.gpus import Gpu
from advisor.catalog.tasks import Head
from advisor.dryrun.adapters import adapter_of_file, adapter_of_method, head_of_adapter
from advisor.dryrun.question import Question
from advisor.dryrun.sources import find_source
from advisor.dryrun.workload import Workload
from advisor.errors import InputError
from advisor.modeling.meta import ModelSource
from advisor.spec import Architecture, Precision

DEFAULT_LENGTH, DEFAULT_TARGET = 512, 128  # tokens
_HEADS: dict[Architecture, tuple[Head, ...]] = {
    "encoder-only": ("sequence-classification", "causal-lm"),
    "decoder-only": ("causal-lm", "sequence-classification"),
    "encoder-decoder": ("seq2seq-lm", "sequence-classification"),
}


def workload_of(question: Question, gpu: Gpu | None = None) -> Workload:
    """Return the training step that a question is about.

    Raises:
        InputError: Parts of the question do not go together.
    """
    source = find_source(question.model)
    head, adapter = _head_and_adapter(question, source)
    has_target = head == "seq2seq-lm"
    if question.target_length is not None and not has_target:
        raise InputError(f"--target-len: a {head} head has no target of its own; give the whole length as --seq-len")
    if head == "sequence-classification" and question.new_tokens:
        raise InputError("--new-tokens: a classifier does not generate")
    _check_flash(question, gpu)
    return Workload(
        source=source, head=head, peft_config=adapter, precision=_precision(question, gpu),
        quantization=question.quantization, autocast=question.autocast, optimizer=question.optimizer,
        gradient_checkpointing=question.gradient_checkpointing, attention=question.attention,
        batch_size=question.batch_size, seq_length=_length(question, source, head, adapter),
        target_length=_target_length(question, source) if has_target else 0,
        accumulation=question.accumulation, pack_size=question.pack_size, n_labels=question.n_labels,
        holds_outputs=question.holds_outputs, flash_capable=has_flash(gpu),
    )  # fmt: skip


def _head_and_adapter(question: Question, source: ModelSource) -> tuple[Head, PeftConfig | None]:
    if question.adapter_config is not None:
        adapter = adapter_of_file(question.adapter_config)
        head = head_of_adapter(adapter, question.adapter_config, question.head, source.default_head)
        _check_head(head, source)
        return head, adapter
    if question.method is None:
        raise InputError("give either a method or an adapter_config.json")
    head = question.head or source.default_head
    _check_head(head, source)
    return head, adapter_of_method(source, head, question.method, question.hyperparameters)


def _check_head(head: Head, source: ModelSource) -> None:
    possible = _HEADS[source.architecture]
    if head not in possible:
        kind = source.config.model_type
        raise InputError(f"{kind} models are {source.architecture}: they have no {head} head; {', '.join(possible)}")


def _precision(question: Question, gpu: Gpu | None) -> Precision:
    if question.precision is not None:
        if question.precision == "bf16" and gpu is not None and gpu.supports_bf16 is False:
            raise InputError(f"--precision bf16: {gpu.name} has no bfloat16; use fp16 or fp32")
        return question.precision
    return "fp16" if gpu is not None and gpu.supports_bf16 is False else "bf16"


def _check_flash(question: Question, gpu: Gpu | None) -> None:
    if question.attention == "flash" and gpu is not None and (gpu.vendor == "apple" or not has_flash(gpu)):
        raise InputError(f"--attention flash: {gpu.name} has no flash attention; use --attention sdpa")


def has_flash(gpu: Gpu | None) -> bool:
    """Has a device flash attention: NVIDIA from compute capability 8.0 on, AMD; also where nothing is known of it?"""
    if gpu is None or gpu.compute_capability is None:
        return True
    try:
        return float(gpu.compute_capability) >= 8.0
    except ValueError:
        return gpu.vendor == "amd"


def _length(question: Question, source: ModelSource, head: Head, adapter: PeftConfig | None) -> int:
    """Return the tokens of a sequence, checked against a table of positions: virtual and new tokens need some too."""
    room = room_for_tokens(question, source, head, adapter)
    if room is not None and room < 1:
        raise InputError(f"{source.name} takes {source.position_limit} tokens, which virtual and new tokens use up")
    if question.seq_length is None:
        return min(DEFAULT_LENGTH, room or source.max_positions or DEFAULT_LENGTH)
    if room is not None and question.seq_length > room:
        beside = f" beside {(source.position_limit or 0) - room} others" if room != source.position_limit else ""
        raise InputError(f"--seq-len: {source.name} takes at most {room} tokens{beside}, not {question.seq_length}")
    return question.seq_length


def room_for_tokens(question: Question, source: ModelSource, head: Head, adapter: PeftConfig | None) -> int | None:
    """Return how many tokens a table of positions leaves for a sequence, None without such a table."""
    if source.position_limit is None:
        return None
    virtual = adapter.num_virtual_tokens if isinstance(adapter, PromptLearningConfig) else 0
    return int(source.position_limit - virtual - (question.new_tokens if head == "causal-lm" else 0))


def _target_length(question: Question, source: ModelSource) -> int:
    limit = source.position_limit
    for option, length in (("--target-len", question.target_length), ("--new-tokens", question.new_tokens)):
        if limit is not None and length is not None and length > limit:
            raise InputError(f"{option}: {source.name} takes at most {limit} tokens, not {length}")
    return question.target_length or DEFAULT_TARGET
