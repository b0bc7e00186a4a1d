"""Shapes of transformer models, read from a config whatever names its model type uses.

Counts what the memory formula needs; normalisation weights, biases and position embeddings are left out of
`parameters` (below 1 % for the models of the catalogue, whose rows carry the exact number anyway).

Not covered: mixtures of experts (the shape is that of the active path), linear-attention hybrids (every layer
is taken for a full-attention one).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_GATED = {
    "deepseek_v2", "gemma", "gemma2", "gemma3_text", "gemma4_text", "gpt_oss", "granite", "iquestcoder", "llama",
    "mistral", "mixtral", "modernbert", "olmo2", "phi3", "qwen2", "qwen3", "qwen3_5_text", "qwen3_moe", "qwen3_next",
    "smollm3", "stablelm",
}  # fmt: skip
_LAYERNORM = {"bart", "bert", "codegen", "gpt2", "gpt_bigcode", "gpt_neox", "plbart", "roberta", "starcoder2", "xglm"}
# Dropout that stays on in a config by default costs masks in training.
_DROPOUT = {"bart", "bert", "gpt2", "gpt_bigcode", "plbart", "roberta", "t5", "xglm"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear:
    """One kind of linear layer of a block: its role and sizes.

    Roles: "q", "k", "v", "o" of attention, "up", "gate", "down" of the feed-forward part.
    """

    role: str
    inputs: int
    outputs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Sizes of a transformer.

    Attributes:
        hidden: Width of the residual stream.
        layers: Blocks of the only stack, or of the encoder.
        decoder_layers: Blocks of the decoder of an encoder-decoder model, else 0.
        heads: Attention heads.
        q_size: Width of all queries together.
        kv_size: Width of all keys (or values) together.
        ff: Inner width of the feed-forward part.
        gated: Feed-forward part with a gate (three matrices).
        vocab: Rows of the embedding matrix.
        tied: Output head shares the embedding matrix.
        layernorm: LayerNorm (fused) rather than RMSNorm (which transformers computes in float32 steps).
        dropout: Dropout is on in training.
        positions: Longest sequence the position embeddings allow, None when not stated.
    """

    hidden: int
    layers: int
    decoder_layers: int = 0
    heads: int
    q_size: int
    kv_size: int
    ff: int
    gated: bool
    vocab: int
    tied: bool
    layernorm: bool
    dropout: bool
    positions: int | None = None

    @property
    def attention(self) -> tuple[Linear, ...]:
        """Linear layers of one self-attention (or cross-attention) part."""
        return (
            Linear(role="q", inputs=self.hidden, outputs=self.q_size),
            Linear(role="k", inputs=self.hidden, outputs=self.kv_size),
            Linear(role="v", inputs=self.hidden, outputs=self.kv_size),
            Linear(role="o", inputs=self.q_size, outputs=self.hidden),
        )

    @property
    def feed_forward(self) -> tuple[Linear, ...]:
        """Linear layers of one feed-forward part."""
        gate = (Linear(role="gate", inputs=self.hidden, outputs=self.ff),) if self.gated else ()
        up = Linear(role="up", inputs=self.hidden, outputs=self.ff)
        return (*gate, up, Linear(role="down", inputs=self.ff, outputs=self.hidden))

    def linears(self) -> tuple[tuple[Linear, int], ...]:
        """Return every kind of linear layer with the number of times it occurs (heads excluded)."""
        attentions = self.layers + 2 * self.decoder_layers
        return (
            *((linear, attentions) for linear in self.attention),
            *((linear, self.layers + self.decoder_layers) for linear in self.feed_forward),
        )

    @property
    def parameters(self) -> int:
        """Parameters of embeddings, linear layers and output head."""
        body = sum(linear.inputs * linear.outputs * count for linear, count in self.linears())
        return body + self.vocab * self.hidden * (1 if self.tied else 2)


def read_shape(model_type: str, config: Mapping[str, Any]) -> Shape:
    """Read the sizes from a transformers config.

    Raises:
        KeyError: A size is missing; its argument names the first name looked for.
        ValueError: A size is not a positive whole number.
    """
    hidden = _size(config, "hidden_size", "d_model", "n_embd")
    heads = _size(config, "num_attention_heads", "num_heads", "n_head", "encoder_attention_heads", "attention_heads")
    head_dim = _size(config, "head_dim", "d_kv", default=hidden // heads)
    kv_heads = _size(config, "num_key_value_heads", "num_query_groups", default=heads)
    decoder = config.get("num_decoder_layers", config.get("decoder_layers", 0)) if _is_pair(model_type) else 0
    return Shape(
        hidden=hidden,
        layers=_size(config, "num_hidden_layers", "num_layers", "n_layer", "encoder_layers"),
        decoder_layers=int(decoder or 0),
        heads=heads,
        q_size=heads * head_dim,
        kv_size=(1 if config.get("multi_query") else kv_heads) * head_dim,
        ff=_size(config, "intermediate_size", "d_ff", "n_inner", "encoder_ffn_dim", "ffn_dim", default=4 * hidden),
        gated=model_type in _GATED or "gated" in str(config.get("feed_forward_proj", "")),
        vocab=_size(config, "vocab_size"),
        tied=bool(config.get("tie_word_embeddings", True)),
        layernorm=model_type in _LAYERNORM,
        dropout=model_type in _DROPOUT and _dropout_is_on(config),
        positions=_size(config, "max_position_embeddings", "n_positions", default=0) or None,
    )


def _is_pair(model_type: str) -> bool:
    return model_type in ("t5", "bart", "plbart")


def _dropout_is_on(config: Mapping[str, Any]) -> bool:
    names = ("hidden_dropout_prob", "dropout_rate", "dropout", "resid_pdrop")
    return any(float(config.get(name) or 0) > 0 for name in names if name in config) or not any(
        name in config for name in names
    )


def _size(config: Mapping[str, Any], *names: str, default: int | None = None) -> int:
    for name in names:
        value = config.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be a positive whole number, not {value!r}")
        return value
    if default is None:
        raise KeyError(names[0])
    return default
