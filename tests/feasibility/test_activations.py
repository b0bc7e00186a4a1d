"""The activation formula against what autograd really keeps, on small models on the CPU.

Dropout is off: the CPU keeps float masks, the GPU bytes. Without autocast, as PEFT's comparison ran.
"""

import pytest
import torch
from peft import BeftConfig, IA3Config, LNTuningConfig, LoraConfig, PromptTuningConfig, get_peft_model
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    LlamaConfig,
    RobertaConfig,
    Starcoder2Config,
    T5Config,
)

from advisor.catalog.shapes import read_shape
from advisor.feasibility.activations import activation_bytes

BATCH, LENGTH, TARGET = 2, 96, 48
SIZES = {"hidden_size": 128, "num_hidden_layers": 3, "num_attention_heads": 4}
CONFIGS = {
    "roberta": RobertaConfig(
        vocab_size=100, max_position_embeddings=140, intermediate_size=512, num_labels=2, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0, **SIZES,
    ),
    "llama": LlamaConfig(
        vocab_size=100, intermediate_size=384, num_key_value_heads=2, max_position_embeddings=140, pad_token_id=0,
        **SIZES,
    ),
    "starcoder2": Starcoder2Config(
        vocab_size=100, intermediate_size=512, num_key_value_heads=2, max_position_embeddings=140, pad_token_id=0,
        residual_dropout=0.0, embedding_dropout=0.0, attention_dropout=0.0, **SIZES,
    ),
    "t5": T5Config(
        vocab_size=100, d_model=128, d_kv=32, d_ff=512, num_layers=2, num_decoder_layers=2, num_heads=4,
        decoder_start_token_id=0, pad_token_id=0, eos_token_id=2, dropout_rate=0.0,
    ),
}  # fmt: skip
KINDS = {
    "roberta": ("SEQ_CLS", AutoModelForSequenceClassification), "llama": ("CAUSAL_LM", AutoModelForCausalLM),
    "starcoder2": ("CAUSAL_LM", AutoModelForCausalLM), "t5": ("SEQ_2_SEQ_LM", AutoModelForSeq2SeqLM),
}  # fmt: skip
NORMS = {"roberta": ["LayerNorm"], "t5": ["layer_norm", "final_layer_norm"]}
LLAMA_NORMS = ["input_layernorm", "post_attention_layernorm", "norm"]
# T5 keeps its feed-forward output layer in float32 whatever the precision, which the formula leaves out.
TOLERANCE = {"t5": 0.25}


@pytest.fixture(autouse=True)
def _one_thread():
    """Models this small lose more time to threads than they gain."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def adapter(method: str, name: str, kind: str):
    if method == "ia3":
        known = name != "starcoder2"
        return (
            IA3Config(task_type=kind)
            if known
            else IA3Config(
                task_type=kind, target_modules=["k_proj", "v_proj", "c_proj"], feedforward_modules=["c_proj"]
            )
        )
    return {
        "lora": lambda: LoraConfig(task_type=kind, r=8, target_modules="all-linear"),
        "dora": lambda: LoraConfig(task_type=kind, r=8, target_modules="all-linear", use_dora=True),
        "prompt-tuning": lambda: PromptTuningConfig(task_type=kind, num_virtual_tokens=8),
        "beft": lambda: BeftConfig(task_type=kind, target_modules="all-linear"),
        "layernorm-tuning": lambda: LNTuningConfig(task_type=kind, target_modules=NORMS.get(name, LLAMA_NORMS)),
    }[method]()


def kept_bytes(name: str, method: str, dtype: torch.dtype) -> int:
    """Run a forward pass and add up the storages that autograd keeps, parameters left out."""
    kind, model_class = KINDS[name]
    torch.manual_seed(0)
    model = model_class.from_config(CONFIGS[name], dtype=dtype)
    if method != "full":
        model = get_peft_model(model, adapter(method, name, kind))
    model.train()
    parameters = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in parameters:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    tokens = torch.randint(5, 100, (BATCH, LENGTH))
    tokens[:, -1] = 2
    mask = torch.ones_like(tokens)
    mask[0, :5] = 0  # a padded row, so that attention really gets a mask
    labels = {"SEQ_CLS": torch.tensor([0, 1]), "CAUSAL_LM": tokens}.get(kind, tokens[:, :TARGET].contiguous())
    more = {"use_cache": False} if kind == "CAUSAL_LM" else {}
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model(input_ids=tokens, attention_mask=mask, labels=labels, **more)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


METHODS = ("lora", "dora", "ia3", "prompt-tuning", "beft", "layernorm-tuning", "full")
CASES = [
    *((name, method, torch.float32) for name in CONFIGS for method in METHODS),
    *(("llama", method, torch.bfloat16) for method in METHODS),
]


@pytest.mark.parametrize(("name", "method", "dtype"), CASES, ids=lambda part: str(part).removeprefix("torch."))
def test_the_formula_is_near_what_autograd_keeps(name, method, dtype):
    virtual = 8 if method == "prompt-tuning" else 0
    target = BATCH * (TARGET + virtual) if name == "t5" else 0
    estimated = activation_bytes(
        method, {"r": 8, "lora_dropout": 0.0, "target_modules": "auto" if method == "ia3" else "all-linear"},
        read_shape(name, CONFIGS[name].to_dict()), 4 if dtype == torch.float32 else 2, BATCH * (LENGTH + virtual),
        target, autocast=False,
    )  # fmt: skip
    tolerance = TOLERANCE.get(name, 0.2)
    assert 1 - tolerance < estimated / kept_bytes(name, method, dtype) < 1 + tolerance
