"""The dry run as one function with ordinary arguments: `advisor.estimate`."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from advisor.catalog.gpus import Gpu, find_gpu
from advisor.catalog.gpus import usable_gib as usable_gib_of
from advisor.catalog.methods import resolve_method
from advisor.catalog.tasks import Head
from advisor.dryrun.hub import config_from_hub
from advisor.dryrun.question import Question, is_on_hub, known_model
from advisor.errors import InputError
from advisor.spec import Attention, Budget, OptimizerName, Precision, Quantization, Searched

if TYPE_CHECKING:
    from advisor.dryrun.answers import Answer

_DEFAULT_METHOD = "lora"


def estimate(
    model: str | Path,
    method: str = _DEFAULT_METHOD,
    hyperparameters: Mapping[str, object] | None = None,
    adapter_config: str | Path | None = None,
    *,
    gpu: str | None = None,
    vram_gib: float | None = None,
    batch_size: int = 1,
    seq_length: int | None = None,
    target_length: int | None = None,
    head: Head | None = None,
    n_labels: int = 2,
    precision: Precision | None = None,
    quantization: Quantization | None = None,
    optimizer: OptimizerName = "adamw",
    gradient_checkpointing: bool = False,
    attention: Attention = "sdpa",
    accumulation: int = 1,
    pack_size: int = 1,
    autocast: bool = False,
    holds_outputs: bool = True,
    eval_batch_size: int | None = None,
    new_tokens: int = 0,
    largest: Searched | None = None,
) -> "Answer":
    """Estimate peak memory and time of a training step, without a GPU and without weights.

    The real transformers and PEFT code is run on PyTorch's meta device. What can be refused without loading torch is
    refused before that.

    Args:
        model: Base model: catalogue or hub id, or a folder with a config.json.
        method: PEFT method of the catalogue; "qlora" and "qdora" imply 4 bits.
        hyperparameters: Of the method, under PEFT's names, such as `{"r": 64}`.
        adapter_config: An adapter_config.json (or the folder of a saved adapter) of any PEFT method, instead of the
            method and its hyperparameters.
        gpu: GPU of the catalogue, to fit into and to estimate time for.
        vram_gib: Memory of the device in GiB, instead of the GPU's own.
        batch_size: Sequences in memory at once.
        seq_length: Tokens of the longest sequence (source), to which all are padded; None for 512, or what the model
            takes where that is less.
        target_length: Tokens of the target of an encoder-decoder model; None for 128.
        head: Task head, None for the usual one of the architecture.
        n_labels: Classes of a classification head.
        precision: Arithmetic; None for bf16, or fp16 on a GPU without it.
        quantization: Storage of the frozen base model, None when not quantized.
        optimizer: Which optimizer.
        gradient_checkpointing: Layers are computed anew in the backward pass.
        attention: Implementation of attention.
        accumulation: Forward and backward passes per optimizer step.
        pack_size: Adapters trained side by side on one base model, each with a batch of its own.
        autocast: The forward pass runs under `torch.autocast`, as in `tune` and in the Trainer with `bf16=True`.
        holds_outputs: The loop keeps the model's outputs while the backward pass runs.
        eval_batch_size: Sequences at once in evaluation, None not to look at it.
        new_tokens: Tokens that evaluation generates with a cache of keys and values.
        largest: Find the largest value of this that fits the device.

    Returns:
        Memory, time and verdict.

    Raises:
        InputError: Something does not exist, is out of range, or does not go together.
        InfeasibleBudgetError: `largest` was asked for, and not even 1 fits.
    """
    Budget(vram_gib=vram_gib)  # checks the size
    device = find_gpu(gpu) if gpu is not None else None
    if largest is not None and device is None and vram_gib is None:
        raise InputError('--max needs --gpu or --vram: how much memory there is, such as --vram 24 or --gpu "RTX 4090"')
    chosen, implied = resolve_method(method)
    if adapter_config is not None and method != _DEFAULT_METHOD:
        raise InputError("--method and --adapter-config exclude each other; for 4 bits give --quantization 4bit")
    question = Question(
        model=known_model(str(model)), method=None if adapter_config is not None else chosen,
        hyperparameters=dict(hyperparameters or {}),
        adapter_config=None if adapter_config is None else Path(adapter_config), head=head, n_labels=n_labels,
        batch_size=batch_size, seq_length=seq_length, target_length=target_length, accumulation=accumulation,
        pack_size=pack_size, precision=precision, quantization=_quantization(method, quantization, implied),
        optimizer=optimizer, gradient_checkpointing=gradient_checkpointing, attention=attention, autocast=autocast,
        holds_outputs=holds_outputs, eval_batch_size=eval_batch_size, new_tokens=new_tokens, searched=largest,
    )  # fmt: skip
    if is_on_hub(question.model):
        config_from_hub(question.model)  # before torch is loaded, since it may not be there
    return _answer(question, device, vram_gib)


def _answer(question: Question, gpu: Gpu | None, vram_gib: float | None) -> "Answer":
    from advisor.dryrun.answers import answer  # torch and transformers: seconds

    return answer(question, gpu=gpu, usable_gib=None if vram_gib is None else usable_gib_of(vram_gib))


def _quantization(method: str, given: Quantization | None, implied: Quantization | None) -> Quantization | None:
    if given is not None and implied is not None and given != implied:
        raise InputError(f"--quantization {given}: {method} means {implied}; give --method lora or dora instead")
    return given or implied
