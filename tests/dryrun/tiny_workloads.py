"""Workloads on models of the smallest size that has every kind of layer."""

from typing import Any, Literal

from peft import IA3Config, LoraConfig, PeftConfig
from transformers import LlamaConfig, PreTrainedConfig, RobertaConfig, T5Config

from advisor.dryrun.workload import Workload
from advisor.modeling.meta import ModelSource
from advisor.spec import Architecture

Family = Literal["llama", "roberta", "t5"]
FAMILIES: tuple[Family, ...] = ("llama", "roberta", "t5")
VOCAB, HIDDEN, FEED_FORWARD, HEADS, KV_HEADS, HEAD_SIZE = 320, 64, 128, 4, 2, 16
_ARCHITECTURES: dict[Family, Architecture] = {
    "llama": "decoder-only", "roberta": "encoder-only", "t5": "encoder-decoder",
}  # fmt: skip
_TASK_TYPES = {"causal-lm": "CAUSAL_LM", "sequence-classification": "SEQ_CLS", "seq2seq-lm": "SEQ_2_SEQ_LM"}
_IA3_TARGETS = {"llama": ["k_proj", "v_proj", "down_proj"], "roberta": ["key", "value"], "t5": ["k", "v", "wo"]}


def source_of(family: Family, layers: int = 2, *, decoder_layers: int | None = None, **changes: Any) -> ModelSource:
    """Return a model source with so many layers; the decoder of T5 may have another number of them."""
    return ModelSource(
        name=f"tiny-{family}", config=_config(family, layers, decoder_layers or layers, changes),
        architecture=_ARCHITECTURES[family],
    )  # fmt: skip


def adapter_of(family: Family, method: Literal["lora", "ia3", "full"], head: str, r: int = 4) -> PeftConfig | None:
    """Return an adapter; LoRA on all linear layers, without dropout."""
    task_type = _TASK_TYPES[head]
    if method == "lora":
        return LoraConfig(r=r, lora_alpha=8, target_modules="all-linear", task_type=task_type)
    if method == "ia3":
        targets = _IA3_TARGETS[family]
        return IA3Config(target_modules=targets, feedforward_modules=targets[2:], task_type=task_type)
    return None


def workload_of(
    family: Family = "llama", method: Literal["lora", "ia3", "full"] = "lora", *, layers: int = 2, **options: Any
) -> Workload:
    """Return a workload of 3 sequences of 24 tokens (targets of 10), all of which `options` may change."""
    source = options.pop("source", None) or source_of(family, layers)
    head = options.pop("head", source.default_head)
    default = {
        "batch_size": 3, "seq_length": 24, "target_length": 10 if head == "seq2seq-lm" else 0,
        "peft_config": adapter_of(family, method, head),
    }  # fmt: skip
    return Workload(source=source, head=head, **{**default, **options})


def _config(family: Family, layers: int, decoder_layers: int, changes: dict[str, Any]) -> PreTrainedConfig:
    if family == "llama":
        sizes = {
            "vocab_size": VOCAB, "hidden_size": HIDDEN, "num_hidden_layers": layers, "num_attention_heads": HEADS,
            "num_key_value_heads": KV_HEADS, "intermediate_size": FEED_FORWARD, "max_position_embeddings": 256,
            "pad_token_id": 0,
        }  # fmt: skip
        return LlamaConfig(**{**sizes, **changes})
    if family == "roberta":
        sizes = {
            "vocab_size": VOCAB, "hidden_size": HIDDEN, "num_hidden_layers": layers, "num_attention_heads": HEADS,
            "intermediate_size": FEED_FORWARD, "max_position_embeddings": 258,
        }  # fmt: skip
        return RobertaConfig(**{**sizes, **changes})
    sizes = {
        "vocab_size": VOCAB, "d_model": HIDDEN, "d_kv": HEAD_SIZE, "num_heads": HEADS, "d_ff": FEED_FORWARD,
        "num_layers": layers, "num_decoder_layers": decoder_layers, "decoder_start_token_id": 0,
    }  # fmt: skip
    return T5Config(**{**sizes, **changes})
