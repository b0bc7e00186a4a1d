"""Our tuners on a base model that bitsandbytes has quantized: they train, are saved, and the dry run knows their bytes.

Skipped where bitsandbytes is not installed; a folder with an unpacked wheel of it on PYTHONPATH is enough.
"""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftConfig, PeftModel, get_peft_model, prepare_model_for_kbit_training
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from advisor.catalog.method import OWN_PEFT_TYPES
from advisor.catalog.methods import METHODS
from advisor.dryrun.peft_methods import attach_on_meta
from advisor.modeling.quantized_meta import bitsandbytes_stand_in, quantize_meta
from advisor.modeling.quiet import quiet_libraries
from advisor.modeling.tuners import (
    AdapterFusionConfig,
    AdapterStackConfig,
    BitFitConfig,
    BottleneckConfig,
    CompacterConfig,
    FeedForwardLoraConfig,
    MamConfig,
)
from tests.modeling.test_quantized_meta import (
    LLAMA,
    build,
    is_real_4bit,
    real_4bit,
    run,
    state_tensors,
)

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed"
)

IDS = torch.randint(10, 300, (2, 12), generator=torch.Generator().manual_seed(0))
TRAINED = {"reduction_factor": 4, "non_linearity": "relu", "scaling": 1.0}
CONFIGS: dict[str, Callable[[], PeftConfig]] = {
    "adapter-houlsby": lambda: BottleneckConfig(placement="houlsby", reduction_factor=4),
    "adapter-pfeiffer": lambda: BottleneckConfig(placement="pfeiffer", reduction_factor=4),
    "adapter-parallel": lambda: BottleneckConfig(placement="parallel", reduction_factor=2, init_weights="zero-up"),
    "compacter": lambda: CompacterConfig(reduction_factor=4),
    "mam": lambda: MamConfig(reduction_factor=4, num_prefix_tokens=4, prefix_hidden_size=16),
    "ff-lora-adapter": lambda: FeedForwardLoraConfig(r=4, reduction_factor=4),
    # Trained before, so that only their shapes are known here.
    "adapter-stack": lambda: AdapterStackConfig(
        placement="pfeiffer", reduction_factor=4, adapters=["below"], trained=[TRAINED]
    ),
    "adapter-fusion": lambda: AdapterFusionConfig(
        placement="pfeiffer", adapters=["one", "other"], trained=[TRAINED, TRAINED]
    ),
}

# Llama has no biases to train; here query, key and value have.
QWEN = Qwen2Config(
    vocab_size=400, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    intermediate_size=128, max_position_embeddings=128, attn_implementation="eager",
)  # fmt: skip


def config_of(method: str) -> PeftConfig:
    config = BitFitConfig() if method == "bitfit" else CONFIGS[method]()
    config.task_type = "CAUSAL_LM"
    return config


def quantized(folder: Path) -> Any:
    """Load a decoder in 4 bits, as transformers does."""
    storage = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float32,
    )  # fmt: skip
    with quiet_libraries():
        model = AutoModelForCausalLM.from_pretrained(
            folder, quantization_config=storage, device_map={"": "cpu"}, dtype=torch.float32
        )
        return prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model.eval()(input_ids=IDS).logits
    return found


@pytest.mark.parametrize("method", [*CONFIGS, "bitfit"])
def test_it_learns_on_packed_weights_that_stay_as_they_are_and_is_saved(
    method: str, base_folder: Callable[..., Path], tmp_path: Path
) -> None:
    folder = base_folder("decoder-only", "qwen2" if method == "bitfit" else None)
    base = quantized(folder)
    packed = [one.clone() for one in base.parameters() if one.dtype == torch.uint8]
    assert packed
    model: Any = get_peft_model(base, config_of(method))
    trained = [one for one in model.parameters() if one.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-2)
    losses = []
    model.train()
    for _ in range(4):
        loss = model(input_ids=IDS, labels=IDS).loss
        loss.backward()
        assert all(one.grad is not None for one in trained)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    after = [one for one in base.parameters() if one.dtype == torch.uint8]
    assert all(torch.equal(*pair) for pair in zip(packed, after, strict=True))
    wanted = logits(model)
    model.save_pretrained(str(tmp_path))
    loaded = PeftModel.from_pretrained(quantized(folder), str(tmp_path))
    assert torch.equal(logits(loaded), wanted)


@pytest.mark.parametrize("method", [*CONFIGS, "bitfit"])
def test_the_dry_run_keeps_and_goes_back_alike(method: str) -> None:
    model_class, config = (Qwen2ForCausalLM, QWEN) if method == "bitfit" else (LlamaForCausalLM, LLAMA)
    with quiet_libraries():
        base: Any = model_class._from_config(config, dtype=torch.bfloat16)
    for name, module in list(base.named_modules()):
        if type(module) is torch.nn.Linear and name != "lm_head":
            base.set_submodule(name, real_4bit(module, torch.bfloat16))
    base.is_loaded_in_4bit = base.is_quantized = True
    with quiet_libraries():
        prepare_model_for_kbit_training(base, use_gradient_checkpointing=False)
        real = get_peft_model(base, config_of(method)).train()
    known = [tensor for module in base.modules() if is_real_4bit(module) for tensor in state_tensors(module)]
    real_forward, real_backward = run(real, "cpu", known)
    with bitsandbytes_stand_in():
        built = build(model_class, config)
        quantize_meta(built, "4bit", torch.bfloat16)
        with quiet_libraries():
            prepare_model_for_kbit_training(built, use_gradient_checkpointing=False)
        forward, backward = run(attach_on_meta(built, config_of(method)).train())
    assert sum(forward) == sum(real_forward)
    assert backward == real_backward


def test_the_catalogue_says_of_each_of_our_methods_what_was_tried_here() -> None:
    ours = {slug for slug, method in METHODS.items() if method.peft_type in OWN_PEFT_TYPES and method.works_quantized}
    tried = {*CONFIGS, "bitfit"}
    assert tried - {"adapter-stack", "adapter-fusion"} <= ours <= tried
