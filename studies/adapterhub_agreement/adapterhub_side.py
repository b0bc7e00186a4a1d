"""Runs in AdapterHub's own environment: tiny models with its adapters on them, and what they answer.

Usage: python adapterhub_side.py FOLDER. Writes, for each model, the base model, and for each method the weights of the
adapter under AdapterHub's names and the logits (safetensors). Needs `adapters` and the transformers that it pins.
"""

import json
import sys
from importlib.metadata import version
from pathlib import Path

import adapters
import torch
from adapters import (
    AdapterFusionConfig,
    CompacterConfig,
    DoubleSeqBnConfig,
    MAMConfig,
    ParBnConfig,
    PrefixTuningConfig,
    SeqBnConfig,
)
from adapters.composition import Fuse, Stack
from safetensors.torch import save_file
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    RobertaConfig,
    RobertaForSequenceClassification,
    T5Config,
    T5ForConditionalGeneration,
)

SIZE, HEADS, INNER, VOCABULARY, POSITIONS = 32, 4, 64, 100, 64
ENCODER = {"hidden_size": SIZE, "num_attention_heads": HEADS, "intermediate_size": INNER, "num_hidden_layers": 3}
MODELS = {
    "bert": (
        BertForSequenceClassification,
        BertConfig(vocab_size=VOCABULARY, max_position_embeddings=POSITIONS, **ENCODER),
    ),
    "roberta": (
        RobertaForSequenceClassification,
        RobertaConfig(vocab_size=VOCABULARY, max_position_embeddings=POSITIONS, **ENCODER),
    ),
    "bart": (
        BartForConditionalGeneration,
        BartConfig(
            vocab_size=VOCABULARY, d_model=SIZE, encoder_layers=2, decoder_layers=2, encoder_attention_heads=HEADS,
            decoder_attention_heads=HEADS, encoder_ffn_dim=INNER, decoder_ffn_dim=INNER,
            max_position_embeddings=POSITIONS, pad_token_id=1, bos_token_id=0, eos_token_id=2,
            decoder_start_token_id=2, forced_eos_token_id=None,
        ),
    ),
    "t5": (
        T5ForConditionalGeneration,
        T5Config(
            vocab_size=VOCABULARY, d_model=SIZE, d_kv=SIZE // HEADS, num_heads=HEADS, d_ff=INNER, num_layers=2,
            num_decoder_layers=2, decoder_start_token_id=0,
        ),
    ),
    "gpt2": (
        GPT2LMHeadModel,
        GPT2Config(vocab_size=VOCABULARY, n_embd=SIZE, n_layer=3, n_head=HEADS, n_positions=POSITIONS),
    ),
    "llama": (
        LlamaForCausalLM,
        LlamaConfig(
            vocab_size=VOCABULARY, hidden_size=SIZE, num_hidden_layers=3, num_attention_heads=HEADS,
            num_key_value_heads=HEADS, intermediate_size=INNER, max_position_embeddings=POSITIONS,
        ),
    ),
}  # fmt: skip
METHODS = {
    "houlsby": lambda: DoubleSeqBnConfig(reduction_factor=4),
    "pfeiffer": lambda: SeqBnConfig(reduction_factor=4),
    "parallel": lambda: ParBnConfig(reduction_factor=2),
    "compacter": lambda: CompacterConfig(reduction_factor=4),
    "stack": lambda: SeqBnConfig(reduction_factor=4),
    "fusion": lambda: SeqBnConfig(reduction_factor=4),
    "mam": lambda: MAMConfig(PrefixTuningConfig(prefix_length=6, bottleneck_size=16), ParBnConfig(reduction_factor=2)),
}


def main(folder: Path) -> None:
    """Write models, adapters and logits."""
    ids = torch.randint(5, VOCABULARY, (3, 10), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[0, 7:] = 0
    save_file({"input_ids": ids, "attention_mask": mask}, folder / "inputs.safetensors")
    for name, (kind, config) in {**MODELS, "t5-unbiased": MODELS["t5"]}.items():
        torch.manual_seed(0)
        base = kind(config)
        if name == "t5-unbiased":
            # With a prefix AdapterHub counts relative positions from the prefix on.
            for key, value in base.named_parameters():
                if "relative_attention_bias" in key:
                    value.data.zero_()
        base.save_pretrained(folder / name)
        for method, make in METHODS.items():
            model = kind.from_pretrained(folder / name, attn_implementation="eager")
            adapters.init(model)
            before = {key for key, _ in model.named_parameters()}
            names = ["x", "y"] if method in ("stack", "fusion") else ["x"]
            for adapter in names:
                model.add_adapter(adapter, config=make())
            if method == "fusion":
                model.add_adapter_fusion(Fuse(*names), config=AdapterFusionConfig.load("dynamic", dropout_prob=0.0))
            model.set_active_adapters({"stack": Stack, "fusion": Fuse}[method](*names) if names[1:] else "x")
            model.eval()
            own = {key: value for key, value in model.named_parameters() if key not in before}
            generator = torch.Generator().manual_seed(2)
            for value in own.values():
                value.data = torch.randn(value.shape, generator=generator) * 0.2
            with torch.no_grad():
                inputs = {"input_ids": ids, "attention_mask": mask}
                if name in ("bart", "t5", "t5-unbiased"):
                    inputs["decoder_input_ids"] = ids
                logits = model(**inputs).logits
            tensors = {key: value.detach().clone().contiguous() for key, value in own.items()}
            save_file({**tensors, "logits": logits.contiguous()}, folder / f"{name}.{method}.safetensors")
    versions = {package: version(package) for package in ("adapters", "transformers", "torch")}
    (folder / "versions.json").write_text(json.dumps(versions))


main(Path(sys.argv[1]))
