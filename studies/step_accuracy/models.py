"""The models and optimizers of the measured steps: real modules with random weights, built on the device.

Base models come from their configs (`knowledge/models.jsonl`), so nothing is downloaded. Only quantized models touch
the disk: they are saved once with random weights and loaded by transformers, which is what quantizes them.
"""

import shutil
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from studies.gpu.entry import Slot
from studies.step_accuracy.cases import Case
from studies.step_accuracy.instruments import release

LEARNING_RATE = 1e-4
TINY_SIZES = {
    "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "intermediate_size": 64, "vocab_size": 300, "d_model": 32, "d_ff": 64, "d_kv": 8, "num_layers": 2,
    "num_decoder_layers": 2, "num_heads": 4,
}  # fmt: skip


class NotRunError(Exception):
    """This machine or these versions cannot run the case."""


def build_model(case: Case, slot: Slot) -> Any:
    """Build the base model from its config on the device, attach the adapter, make it ready for training."""
    import torch

    weights = "fp32" if case.adapter is None and case.autocast else case.precision
    base = build_base(case, slot, dtypes()[weights])
    checkpointing = {"use_reentrant": False}
    if case.quantization is not None:
        from peft import prepare_model_for_kbit_training

        base = prepare_model_for_kbit_training(
            base, use_gradient_checkpointing=case.gradient_checkpointing, gradient_checkpointing_kwargs=checkpointing
        )
    elif case.gradient_checkpointing:
        base.enable_input_require_grads()
        base.gradient_checkpointing_enable(checkpointing)
    if case.adapter is None:
        return base.requires_grad_(True).train()
    model = attach(base, case.adapter)
    if case.autocast:
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.to(torch.float32)
    return model.train()


def build_base(case: Case, slot: Slot, dtype: Any) -> Any:
    """Return the base model with random weights, quantized by transformers' own loading where that is asked for."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoModelForSequenceClassification

    from advisor.catalog.base_models import find_config

    model_type, values = find_config(case.base_model)
    if slot.smoke:
        values = {**values, **{name: size for name, size in TINY_SIZES.items() if name in values}}
    config = AutoConfig.for_model(model_type, **values)
    config.use_cache = False
    # Ids that the loss and the classifier look for; some configs name none, or one beyond a vocabulary made tiny.
    config.pad_token_id = config.decoder_start_token_id = 0
    config.bos_token_id = config.eos_token_id = 1
    auto_class = {
        "sequence-classification": AutoModelForSequenceClassification, "causal-lm": AutoModelForCausalLM,
        "seq2seq-lm": AutoModelForSeq2SeqLM,
    }[case.head]  # fmt: skip
    attention = "eager" if case.attention == "eager" else "sdpa"
    with torch.device(slot.device):
        model = auto_class.from_config(config, dtype=dtype, attn_implementation=attention)
    if model.can_generate():
        model.generation_config.eos_token_id = None  # random weights must not end a text early
    if case.quantization is None:
        return model
    folder = slot.work / case.name
    model.save_pretrained(folder)
    del model
    release(slot.device)
    try:
        return auto_class.from_pretrained(
            folder, dtype=dtype, attn_implementation=attention, device_map={"": slot.device},
            quantization_config=quantization_config(case, dtype),
        )  # fmt: skip
    finally:
        shutil.rmtree(folder)


def quantization_config(case: Case, dtype: Any) -> Any:
    """Return what `tune` loads quantized models with: LLM.int8, or NF4 with double quantization."""
    from transformers import BitsAndBytesConfig

    skipped = ["classifier", "score"] if case.head == "sequence-classification" else None
    if case.quantization == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=skipped)
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=skipped,
    )  # fmt: skip


def attach(base: Any, settings: dict[str, Any]) -> Any:
    """Put the adapter on the base model.

    Raises:
        NotRunError: This PEFT does not have the method.
    """
    import peft
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    classes = {str(getattr(kind, "value", kind)): found for kind, found in PEFT_TYPE_TO_CONFIG_MAPPING.items()}
    options = dict(settings)
    name = options.pop("peft_type")
    if name not in classes:
        raise NotRunError(f"PEFT {peft.__version__} has no {name}")
    return peft.get_peft_model(base, classes[name](**options))


def build_optimizer(name: str, parameters: list[Any]) -> Any:
    """Return the optimizer with its own defaults, as a training script makes it."""
    import torch

    if name == "adamw-8bit":
        from bitsandbytes.optim import AdamW8bit

        return AdamW8bit(parameters, lr=LEARNING_RATE)
    return torch.optim.AdamW(parameters, lr=LEARNING_RATE, fused=True if name == "adamw-fused" else None)


def autocast(case: Case, device: str) -> AbstractContextManager[Any]:
    """Return the context of the forward pass."""
    import torch

    if case.autocast and case.precision != "fp32":
        return torch.autocast(device, dtype=dtypes()[case.precision])
    return nullcontext()


def dtypes() -> dict[str, Any]:
    """Return torch's types by the names of precisions."""
    import torch

    return {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
