"""Trained parameters and activations of what is made of trained adapters: hand-counted, and those of real models."""

from collections.abc import Callable

import pytest
import torch
from peft import get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoModelForSequenceClassification

from advisor.catalog.shapes import read_shape
from advisor.feasibility.activations import FUSED, activation_bytes
from advisor.feasibility.adapter_sizes import bottleneck_params
from advisor.modeling.tuners import AdapterFusionConfig, AdapterStackConfig

SIZES = {"hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 128}
CONFIGS = {
    "roberta": AutoConfig.for_model("roberta", vocab_size=200, **SIZES),
    "llama": AutoConfig.for_model("llama", vocab_size=200, num_key_value_heads=2, **SIZES),
    "t5": AutoConfig.for_model(
        "t5", vocab_size=200, d_model=64, d_kv=16, d_ff=128, num_layers=3, num_decoder_layers=2, num_heads=4
    ),
}
CLASSES = {
    "roberta": ("SEQ_CLS", AutoModelForSequenceClassification),
    "llama": ("CAUSAL_LM", AutoModelForCausalLM),
    "t5": ("SEQ_2_SEQ_LM", AutoModelForSeq2SeqLM),
}
PART = {"reduction_factor": 4, "non_linearity": "relu", "scaling": 1.0}


def attached(family: str, method: str, n_parts: int = 2, **changes: object) -> torch.nn.Module:
    kind, model_class = CLASSES[family]
    make: Callable[..., object] = AdapterStackConfig if method == "adapter-stack" else AdapterFusionConfig
    config = make(task_type=kind, trained=[dict(PART) for _ in range(n_parts)], **changes)
    torch.manual_seed(0)
    return get_peft_model(model_class.from_config(CONFIGS[family]), config)  # type: ignore[arg-type]


@pytest.mark.parametrize("crossed", [False, True])
@pytest.mark.parametrize("placement", ["houlsby", "pfeiffer", "parallel"])
@pytest.mark.parametrize("method", ["adapter-stack", "adapter-fusion"])
@pytest.mark.parametrize("family", CONFIGS)
def test_the_count_is_that_of_a_real_model(family, method, placement, crossed):
    changes = {"placement": placement, "cross_adapter": crossed, "reduction_factor": 8}
    model = attached(family, method, **changes)
    counted = sum(p.numel() for name, p in model.named_parameters() if p.requires_grad and "classifier" not in name)
    assert bottleneck_params(method, changes, read_shape(family, CONFIGS[family].to_dict())) == counted


def test_a_fusion_trains_three_square_matrices_and_two_biases_at_every_place():
    shape = read_shape("roberta", CONFIGS["roberta"].to_dict())
    assert bottleneck_params("adapter-fusion", {"placement": "pfeiffer"}, shape) == 3 * (3 * 64 * 64 + 2 * 64)
    assert bottleneck_params("adapter-fusion", {"placement": "houlsby"}, shape) == 2 * 3 * (3 * 64 * 64 + 2 * 64)
    # 8 = 64 / 8 inner features: two matrices, two biases.
    stacked = bottleneck_params("adapter-stack", {"placement": "pfeiffer", "reduction_factor": 8}, shape)
    assert stacked == 3 * (2 * 64 * 8 + 8 + 64)


@pytest.mark.parametrize("n_parts", [2, 4])
def test_the_formula_is_near_what_a_fusion_keeps_for_the_backward_pass(n_parts):
    model = attached("llama", "adapter-fusion", n_parts, placement="pfeiffer").train()
    parameters = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor):
        if tensor.untyped_storage().data_ptr() not in parameters:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor, tensor.untyped_storage()  # held, so that no address comes twice

    tokens = torch.randint(5, 100, (2, 48))
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda held: held[0]):
        model(input_ids=tokens, attention_mask=torch.ones_like(tokens), labels=tokens, use_cache=False)
    estimated = activation_bytes(
        "adapter-fusion", {"placement": "pfeiffer", FUSED: n_parts}, read_shape("llama", CONFIGS["llama"].to_dict()),
        4, 2 * 48, autocast=False,
    )  # fmt: skip
    assert estimated == pytest.approx(sum(kept.values()), rel=0.25)
