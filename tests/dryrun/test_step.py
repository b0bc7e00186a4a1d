"""One training step against bytes counted by hand, and parameters against PEFT's own count of a real model.

The model counted by hand: 2 layers of width 64, 4 query heads and 2 key heads of 16 numbers, a feed-forward part of
128, 320 words, output not tied to the embedding; LoRA of rank 4 on the query and value projections.
"""

from collections import Counter
from typing import Any

import pytest
import torch
from peft import (
    IA3Config,
    LoraConfig,
    PeftConfig,
    PeftModel,
    PrefixTuningConfig,
    PromptTuningConfig,
    get_peft_model,
)
from transformers import AutoConfig

from advisor.dryrun.peaks import peaks_of
from advisor.dryrun.step import StepTrace, build_model, inputs_of, run_model_step, run_step
from advisor.dryrun.workload import Workload
from advisor.errors import InputError
from advisor.modeling.base import AUTO_CLASSES
from advisor.modeling.meta import ModelSource
from advisor.modeling.quiet import quiet_libraries
from advisor.spec import Architecture
from tests.dryrun.tiny_workloads import FAMILIES, source_of, workload_of

pytestmark = pytest.mark.slow

LAYERS, RANK, BATCH, LENGTH, VOCAB = 2, 4, 3, 24, 320
# Embedding and output; queries and outputs, keys and values, feed-forward part, two norms; the last norm.
LAYER = 2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 128 + 2 * 64
MODEL = 2 * VOCAB * 64 + LAYERS * LAYER + 64
# Rotary frequencies: 16 / 2 float32 numbers, and a copy that transformers keeps of them.
ROTARY_BYTES = 2 * 8 * 4
# A: rank x inputs, B: outputs x rank; queries have 64 outputs, values 2 * 16.
LORA = LAYERS * (RANK * (64 + 64) + RANK * (64 + 32))
LOGITS = BATCH * LENGTH * VOCAB


def lora(**changes: Any) -> LoraConfig:
    settings = {"r": RANK, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"], "task_type": "CAUSAL_LM"}
    return LoraConfig(**{**settings, **changes})


def by_hand(**options: Any) -> Workload:
    return workload_of("llama", **{"peft_config": lora(), **options})


def bytes_of(trace: StepTrace, category: str) -> list[int]:
    return [block.nbytes for block in trace.blocks if block.category == category]


def test_weights_are_two_bytes_a_number_and_the_adapter_four():
    trace = run_step(by_hand())
    assert sum(bytes_of(trace, "weights")) == 2 * MODEL + ROTARY_BYTES == 230_016 + 64
    assert sum(bytes_of(trace, "adapter")) == 4 * LORA == 7168
    assert (trace.trainable_params, trace.total_params) == (LORA, MODEL + LORA)


def test_gradients_are_as_large_as_the_adapter_and_adamw_has_two_moments():
    trace = run_step(by_hand())
    assert sorted(bytes_of(trace, "gradients")) == sorted(bytes_of(trace, "adapter"))
    assert sum(bytes_of(trace, "optimizer")) == 2 * 4 * LORA
    # The fused kernel counts its steps on the device, in float32, once for each of the 8 matrices.
    fused = run_step(by_hand(optimizer="adamw-fused"))
    assert sum(bytes_of(fused, "optimizer")) == 2 * 4 * LORA + 8 * 4


def test_full_fine_tuning_has_weights_gradients_and_moments_of_all_parameters():
    trace = run_step(by_hand(peft_config=None, precision="fp32"))
    assert sum(bytes_of(trace, "weights")) == 4 * MODEL + ROTARY_BYTES
    assert sum(bytes_of(trace, "gradients")) == 4 * MODEL
    assert sum(bytes_of(trace, "optimizer")) == 2 * 4 * MODEL
    assert "adapter" not in {block.category for block in trace.blocks}


def test_full_fine_tuning_in_16_bits_keeps_float32_weights_under_autocast_alone():
    assert sum(bytes_of(run_step(by_hand(peft_config=None)), "weights")) == 2 * MODEL + ROTARY_BYTES
    assert sum(bytes_of(run_step(by_hand(peft_config=None, autocast=True)), "weights")) == 4 * MODEL + ROTARY_BYTES


@pytest.mark.parametrize("autocast", [False, True])
def test_logits_exist_once_in_16_bits_and_four_times_in_float32(autocast):
    trace = run_step(by_hand(autocast=autocast))
    before, after = Counter[int](), Counter[int]()
    for index, (number, nbytes) in enumerate(trace.events[: trace.step_ends]):
        block = trace.blocks[number]
        if nbytes and block.category == "logits" and index >= trace.step_begins:
            (before if index < trace.forward_ends else after)[block.nbytes] += 1
    # Forward: the head's output, its float32 copy, log-softmax. Backward: gradients of the two, and in 16 bits.
    assert (before[2 * LOGITS], before[4 * LOGITS]) == (1, 2)
    assert (after[2 * LOGITS], after[4 * LOGITS]) == (1, 2)


@pytest.mark.parametrize(("holds", "bytes_each"), [(True, 2 + 4 + 4 + 4), (False, 4 + 4 + 4)])
def test_the_peak_is_at_the_logits_with_what_is_alive_there(holds, bytes_each):
    """Log-softmax, gradient of the loss and gradient of the logits in float32; the output itself if the loop has it."""
    peaks = peaks_of(run_step(by_hand(holds_outputs=holds)))
    loss_bytes = 4  # one number
    assert 0 <= peaks.breakdown["logits"] - bytes_each * LOGITS <= 2 * loss_bytes
    assert peaks.breakdown["weights"] == 2 * MODEL + ROTARY_BYTES
    assert peaks.breakdown["adapter"] == 4 * LORA
    assert peaks.breakdown["optimizer"] == 2 * 4 * LORA  # there from the second step on
    assert "gradients" not in peaks.breakdown  # the head comes before the first adapter
    # Token ids, mask and labels, eight bytes each.
    assert peaks.breakdown["inputs"] == 3 * BATCH * LENGTH * 8


def test_without_a_language_model_head_nothing_is_logits():
    trace = run_step(workload_of("roberta"))
    assert bytes_of(trace, "logits") == []


@pytest.mark.parametrize(
    ("config", "family"),
    [
        (lora(), "llama"),
        (lora(target_modules="all-linear", use_dora=True), "llama"),
        (IA3Config(task_type="CAUSAL_LM", target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"]),
         "llama"),
        (PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=5), "llama"),
        (PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=5), "llama"),
        (lora(target_modules=["query", "value"], task_type="SEQ_CLS"), "roberta"),
        (lora(target_modules=["q", "v"], task_type="SEQ_2_SEQ_LM"), "t5"),
        (PromptTuningConfig(task_type="SEQ_2_SEQ_LM", num_virtual_tokens=5), "t5"),
    ],
)  # fmt: skip
def test_parameters_are_those_that_peft_counts_in_a_real_model(config: PeftConfig, family: Any):
    source = source_of(family)
    trace = run_step(workload_of(family, source=source, peft_config=config), with_costs=False)
    with quiet_libraries():
        model = get_peft_model(AUTO_CLASSES[source.default_head].from_config(source.config), config)
    assert (trace.trainable_params, trace.total_params) == model.get_nb_trainable_parameters()


def test_a_model_in_full_counts_all_its_parameters():
    source = source_of("t5")
    trace = run_step(workload_of("t5", "full", source=source), with_costs=False)
    parameters = [*AUTO_CLASSES["seq2seq-lm"].from_config(source.config).parameters()]
    assert trace.trainable_params == trace.total_params == sum(parameter.numel() for parameter in parameters)


@pytest.mark.parametrize("family", FAMILIES)
def test_everything_is_on_meta_and_only_the_adapter_is_trained(family):
    model = build_model(workload_of(family))
    assert all(parameter.is_meta for parameter in model.parameters())
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained
    assert all("lora_" in name or "modules_to_save" in name for name in trained)
    assert model.training


def test_under_autocast_every_trained_parameter_is_float32():
    model = build_model(workload_of("roberta", autocast=True))
    assert {parameter.dtype for parameter in model.parameters() if parameter.requires_grad} == {torch.float32}


@pytest.mark.parametrize(
    ("family", "options", "shapes"),
    [
        ("llama", {}, {"input_ids": (3, 24), "attention_mask": (3, 24), "labels": (3, 24)}),
        ("llama", {"attention": "flash"}, {"input_ids": (3, 24), "labels": (3, 24)}),
        ("roberta", {}, {"input_ids": (3, 24), "attention_mask": (3, 24), "labels": (3,)}),
        ("t5", {}, {"input_ids": (3, 24), "attention_mask": (3, 24), "labels": (3, 10)}),
        ("t5", {"target_length": 0}, {"input_ids": (3, 24), "attention_mask": (3, 24), "labels": (3, 24)}),
    ],
)
def test_a_batch_has_ids_mask_and_labels_of_eight_bytes(family, options, shapes):
    asked = workload_of(family, **options)
    batch = inputs_of(asked, asked.batch_size, asked.seq_length)
    assert {name: tuple(tensor.shape) for name, tensor in batch.items()} == shapes
    assert {tensor.dtype for tensor in batch.values()} == {torch.long}


def test_a_pack_has_the_batches_of_all_its_adapters():
    trace = run_step(by_hand(pack_size=2), with_costs=False)
    assert sum(bytes_of(trace, "inputs")) == 2 * 3 * BATCH * LENGTH * 8


def test_flash_attention_needs_no_mask_and_no_square_of_the_tokens():
    traces = {kind: run_step(by_hand(attention=kind)) for kind in ("sdpa", "flash")}
    # A mask of one byte for each pair of tokens.
    squares = {kind: BATCH * LENGTH * LENGTH in bytes_of(trace, "activations") for kind, trace in traces.items()}
    assert squares == {"sdpa": True, "flash": False}
    kernels = {kind: {cost.name for _, cost in trace.costs} for kind, trace in traces.items()}
    assert "_scaled_dot_product_efficient_attention" in kernels["sdpa"]
    assert "_scaled_dot_product_flash_attention" in kernels["flash"]
    assert "_scaled_dot_product_efficient_attention" not in kernels["flash"]


def test_flash_attention_is_refused_where_the_model_type_has_none():
    with pytest.raises(InputError, match="'tiny-t5': t5 models have no flash attention; use sdpa"):
        run_step(workload_of("t5", attention="flash"))


def test_gradients_wait_while_a_second_batch_is_run():
    one, two = (run_step(by_hand(accumulation=count)) for count in (1, 2))
    assert sum(bytes_of(two, "gradients")) == sum(bytes_of(one, "gradients"))
    passes = [sum(phase == "backward" and cost.name == "mm" for phase, cost in trace.costs) for trace in (one, two)]
    assert passes[1] == 2 * passes[0] > 0


def test_the_parts_of_a_step_come_in_order():
    trace = run_step(by_hand())
    assert 0 < trace.step_begins < trace.forward_ends < trace.step_ends <= len(trace.events)
    assert trace.resident == trace.step_begins  # one allocation for each block that is there before
    phases = [phase for phase, _ in trace.costs]
    assert [*dict.fromkeys(phases)] == ["forward", "backward", "clip", "optimizer"]
    assert run_step(by_hand(), with_costs=False).costs == ()


def test_all_that_a_step_allocates_is_freed_but_for_the_optimizer_s_state():
    trace = run_step(by_hand())
    alive = {number for number, nbytes in trace.events if nbytes} - {
        number for number, nbytes in trace.events if not nbytes
    }
    assert {trace.blocks[number].category for number in alive} == {"weights", "adapter", "optimizer"}


def test_a_head_that_the_model_does_not_have_is_refused():
    with pytest.raises(InputError, match="'tiny-llama': cannot be built with a seq2seq-lm head"):
        run_step(workload_of("llama", head="seq2seq-lm"))


CLASSIFIERS: dict[str, dict[str, Any]] = {
    "roberta": {}, "bert": {}, "modernbert": {}, "electra": {"embedding_size": 64}, "deberta-v2": {},
    "distilbert": {"dim": 64, "n_layers": 2, "n_heads": 4, "hidden_dim": 128},
    "gpt2": {"n_embd": 64, "n_layer": 2, "n_head": 4}, "gpt_bigcode": {"n_embd": 64, "n_layer": 2, "n_head": 4},
    "t5": {"d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 2, "num_heads": 4},
    "plbart": {
        "d_model": 64, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
        "decoder_attention_heads": 4, "encoder_ffn_dim": 128, "decoder_ffn_dim": 128,
    },
    "llama": {}, "qwen2": {}, "qwen3": {"head_dim": 16}, "gemma": {"head_dim": 16}, "gemma3_text": {"head_dim": 16},
    "mistral": {"head_dim": 16}, "phi": {}, "phi3": {}, "stablelm": {}, "smollm3": {}, "starcoder2": {},
    "qwen3_moe": {"head_dim": 16, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32},
    "gpt_oss": {"head_dim": 16, "num_local_experts": 4, "num_experts_per_tok": 2},
}  # fmt: skip
_ENCODER_DECODERS = frozenset({"t5", "plbart"})
# Heads that PEFT does not train by itself.
OWN_HEADS = {"modernbert": ["head"], "distilbert": ["pre_classifier"]}


def classifier_of(model_type: str) -> Workload:
    usual = {
        "vocab_size": VOCAB, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "intermediate_size": 128, "max_position_embeddings": 128,
    }  # fmt: skip
    changes = CLASSIFIERS[model_type]
    sizes = {"vocab_size": VOCAB} if set(changes) & {"dim", "d_model", "n_embd"} else usual
    tokens = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 0}
    config = AutoConfig.for_model(model_type, **{**sizes, **tokens, **changes})
    architecture: Architecture = "encoder-decoder" if model_type in _ENCODER_DECODERS else "decoder-only"
    return Workload(
        source=ModelSource(name=model_type, config=config, architecture=architecture),
        head="sequence-classification", quantization="4bit", batch_size=2, seq_length=16, n_labels=3,
        # Experts are adapted as whole parameters, which allows no dropout.
        peft_config=LoraConfig(
            task_type="SEQ_CLS", target_modules="all-linear", r=2, lora_dropout=0.0,
            modules_to_save=OWN_HEADS.get(model_type),
        ),
    )  # fmt: skip


@pytest.mark.parametrize("model_type", CLASSIFIERS)
def test_a_classifier_on_4_bits_trains_with_a_head_that_is_not_quantized(model_type):
    workload = classifier_of(model_type)
    model = build_model(workload)
    assert isinstance(model, PeftModel)
    base = model.get_base_model()
    packed = {name for name, one in base.named_parameters() if type(one).__name__ == "Params4bit"}
    assert packed
    assert {name.split(".")[0] for name in packed} == {base.base_model_prefix}
    trace = run_model_step(model, workload, with_costs=False)
    assert trace.step_begins < trace.forward_ends < len(trace.events)


EXPERTS, EXPERT_WIDTH = 4, 32


def mixture(**options: Any) -> Workload:
    sizes = {
        "vocab_size": VOCAB, "hidden_size": 64, "num_hidden_layers": LAYERS, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 16, "intermediate_size": 128, "max_position_embeddings": 128,
        "num_experts": EXPERTS, "num_experts_per_tok": 2, "moe_intermediate_size": EXPERT_WIDTH, "pad_token_id": 0,
    }  # fmt: skip
    config = AutoConfig.for_model("qwen3_moe", **sizes)
    source = ModelSource(name="tiny-mixture", config=config, architecture="decoder-only")
    return workload_of("llama", **{"source": source, "peft_config": lora(), **options})


def test_experts_are_float32_where_the_linear_layers_are_stored_in_4_bits():
    """bitsandbytes quantizes linear layers, which fused experts are not, and PEFT casts all the rest to float32."""
    model = build_model(mixture(quantization="4bit"))
    experts = {name: one for name, one in model.named_parameters() if ".experts." in name}
    # One matrix for gate and up, one for down; for each expert and layer.
    numbers = LAYERS * EXPERTS * (64 * 2 * EXPERT_WIDTH + EXPERT_WIDTH * 64)
    assert sum(one.numel() for one in experts.values()) == numbers == 49_152
    assert {one.dtype for one in experts.values()} == {torch.float32}
    assert all("weight" in name for name, one in model.named_parameters() if type(one).__name__ == "Params4bit")
    trace = run_step(mixture(quantization="4bit"))
    # Queries and outputs, keys and values: half a byte a number, a scale for 64, a scale of the scales for 256.
    attention = LAYERS * (2 * 64 * 64 + 2 * 64 * 32)
    # Embedding, output, router, two norms of the layer and two of the heads, and the last norm.
    others = 2 * VOCAB * 64 + LAYERS * (EXPERTS * 64 + 2 * 64 + 2 * 16) + 64
    scales = sum(bytes_of(trace, "weights")) - attention // 2 - 4 * (numbers + others) - ROTARY_BYTES
    assert 0 < scales < LAYERS * 4 * (4096 // 64 + 4 + 4 * (16 + 256) + 4 + 8)


@pytest.mark.parametrize("quantization", [None, "4bit"])
def test_every_token_meets_as_many_experts_as_the_router_picks(quantization):
    trace = run_step(mixture(quantization=quantization))
    forward = [cost for phase, cost in trace.costs if phase == "forward" and cost.name == "_grouped_mm"]
    pairs = 2 * BATCH * LENGTH  # of token and expert
    gate_and_up, down = 2 * pairs * 64 * 2 * EXPERT_WIDTH, 2 * pairs * EXPERT_WIDTH * 64
    assert [cost.flops for cost in forward] == [gate_and_up, down] * LAYERS
    assert {cost.kind for cost in forward} == {"bf16" if quantization is None else "fp32"}
