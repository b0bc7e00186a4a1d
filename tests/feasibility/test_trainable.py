"""Trained parameters are those that PEFT counts."""

from dataclasses import replace

import pytest
import torch
from peft import (
    BeftConfig,
    IA3Config,
    LNTuningConfig,
    LoraConfig,
    PrefixTuningConfig,
    PromptEncoderConfig,
    PromptTuningConfig,
    get_peft_model,
)
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoModelForSequenceClassification

from advisor.catalog.base_models import find_base_model
from advisor.catalog.files import read_rows
from advisor.catalog.shapes import read_shape
from advisor.feasibility.trainable import trainable_params
from advisor.modeling.tuners import BitFitConfig

LORA = {"r": 4, "target_modules": "all-linear"}
CASES = {
    "lora": (LORA, lambda kind: LoraConfig(task_type=kind, **LORA)),
    "lora-auto": ({"r": 4, "target_modules": "auto"}, lambda kind: LoraConfig(task_type=kind, r=4)),
    "dora": (LORA, lambda kind: LoraConfig(task_type=kind, use_dora=True, **LORA)),
    "ia3": ({"target_modules": "auto"}, lambda kind: IA3Config(task_type=kind)),
    "beft": ({"target_modules": "all-linear"}, lambda kind: BeftConfig(task_type=kind, target_modules="all-linear")),
    "bitfit": ({}, lambda kind: BitFitConfig(task_type=kind)),
    "prompt-tuning": ({"num_virtual_tokens": 7}, lambda kind: PromptTuningConfig(task_type=kind, num_virtual_tokens=7)),
    "prefix-tuning": ({"num_virtual_tokens": 7}, lambda kind: PrefixTuningConfig(task_type=kind, num_virtual_tokens=7)),
    "p-tuning": (
        {"num_virtual_tokens": 7, "encoder_hidden_size": 16},
        lambda kind: PromptEncoderConfig(task_type=kind, num_virtual_tokens=7, encoder_hidden_size=16),
    ),
    "layernorm-tuning": ({}, lambda kind: LNTuningConfig(task_type=kind)),
}
MODELS = {
    "microsoft/codebert-base": ("sequence-classification", "SEQ_CLS", AutoModelForSequenceClassification),
    "Salesforce/codet5-small": ("seq2seq-lm", "SEQ_2_SEQ_LM", AutoModelForSeq2SeqLM),
    "codellama/CodeLlama-7b-hf": ("causal-lm", "CAUSAL_LM", AutoModelForCausalLM),
    "Qwen/Qwen2.5-Coder-0.5B": ("causal-lm", "CAUSAL_LM", AutoModelForCausalLM),
}
# PEFT's tables differ here: no entry (LayerNorm tuning of RoBERTa), half of the norms (of Qwen2), queries in place of
# keys ((IA)3 of Qwen2), the attention output as well ((IA)3 of RoBERTa).
DIFFERENT = {
    ("microsoft/codebert-base", "layernorm-tuning"), ("Qwen/Qwen2.5-Coder-0.5B", "layernorm-tuning"),
    ("Qwen/Qwen2.5-Coder-0.5B", "ia3"), ("microsoft/codebert-base", "ia3"),
    # These have no biases.
    ("Salesforce/codet5-small", "bitfit"), ("codellama/CodeLlama-7b-hf", "bitfit"),
}  # fmt: skip


def shallow_config(hf_id: str):
    """Two layers and a small vocabulary are enough: everything per layer is counted per layer."""
    row = next(row for row in read_rows("models.jsonl") if row["hf_id"] == hf_id)
    sizes = {name: 2 for name in ("num_hidden_layers", "num_layers", "num_decoder_layers") if name in row["config"]}
    return AutoConfig.for_model(row["transformers_model_type"], **{**row["config"], **sizes}, num_labels=2)


def shallow_model(hf_id: str):
    model = find_base_model(hf_id)
    return replace(model, shape=read_shape(model.model_type, shallow_config(hf_id).to_dict()))


@pytest.mark.parametrize("hf_id", MODELS)
@pytest.mark.parametrize("case", CASES)
def test_the_count_is_that_of_peft(hf_id, case):
    if (hf_id, case) in DIFFERENT:
        pytest.skip("other modules are adapted on this model type, or none")
    head, kind, model_class = MODELS[hf_id]
    hyperparameters, config = CASES[case]
    with torch.device("meta"):
        model = get_peft_model(model_class.from_config(shallow_config(hf_id)), config(kind))
    counted = sum(p.numel() for p in model.parameters() if p.requires_grad)
    estimated = trainable_params(case.removesuffix("-auto"), hyperparameters, shallow_model(hf_id), head)
    assert estimated == pytest.approx(counted, rel=0.005)
