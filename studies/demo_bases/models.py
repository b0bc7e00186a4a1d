"""Configurations of the three base models, and how they are written to a folder."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForMaskedLM,
    T5Config,
    T5ForConditionalGeneration,
)

from studies.demo_bases.tokenizer import MAX_LENGTH

# The usual 0.02 is for widths near 1000; narrow layers need larger weights to pass signals on.
_INITIALIZER_RANGE = 0.05
# Size of the position embeddings next to the token embeddings.
_POSITION_SHARE = 0.4
_N_MATCHING_LAYERS = 2


def build_model(architecture: str, *, size: dict[str, int], tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    """Make a base model with random weights.

    Args:
        architecture: "encoder", "decoder" or "encoder-decoder".
        size: `hidden`, `heads`, `feed_forward`, `layers` and, for the encoder-decoder, `decoder_layers`.
        tokenizer: Gives the vocabulary size and the ids of the special tokens.

    Returns:
        The model in float32.
    """
    ids = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    hidden, heads = size["hidden"], size["heads"]
    if architecture == "encoder":
        encoder = RobertaForMaskedLM(
            RobertaConfig(
                vocab_size=len(tokenizer),
                hidden_size=hidden,
                num_attention_heads=heads,
                num_hidden_layers=size["layers"],
                intermediate_size=size["feed_forward"],
                # RoBERTa numbers positions from pad_token_id + 1.
                max_position_embeddings=MAX_LENGTH + 2,
                type_vocab_size=2,
                hidden_dropout_prob=0.0,
                attention_probs_dropout_prob=0.0,
                classifier_dropout=0.0,
                layer_norm_eps=1e-5,
                initializer_range=_INITIALIZER_RANGE,
                **ids,
            )
        )
        _start_from_matching(encoder)
        return encoder
    if architecture == "decoder":
        return LlamaForCausalLM(
            LlamaConfig(
                vocab_size=len(tokenizer),
                hidden_size=hidden,
                num_attention_heads=heads,
                num_key_value_heads=heads,
                num_hidden_layers=size["layers"],
                intermediate_size=size["feed_forward"],
                max_position_embeddings=MAX_LENGTH,
                initializer_range=_INITIALIZER_RANGE,
                tie_word_embeddings=True,
                **ids,
            )
        )
    return T5ForConditionalGeneration(
        T5Config(
            vocab_size=len(tokenizer),
            d_model=hidden,
            d_kv=hidden // heads,
            num_heads=heads,
            num_layers=size["layers"],
            num_decoder_layers=size["decoder_layers"],
            d_ff=size["feed_forward"],
            feed_forward_proj="gated-gelu",
            dropout_rate=0.0,
            tie_word_embeddings=True,
            decoder_start_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


@torch.no_grad()
def _start_from_matching(model: RobertaForMaskedLM) -> None:
    """Start the lower layers from attention between equal tokens, and positions from slow waves.

    Equal query and key matrices make a token attend to its like from the first step (a plain form of "mimetic
    initialization", Trockman and Kolter 2023); comparing two texts is then a short way to go.
    """
    hidden = model.config.hidden_size
    positions = model.roberta.embeddings.position_embeddings.weight
    angle = torch.arange(len(positions))[:, None] * torch.logspace(-2.2, -0.3, hidden // 2)[None, :]
    waves = torch.cat([angle.sin(), angle.cos()], dim=1) @ _rotation(hidden)
    positions.copy_(waves * 2**0.5 * _POSITION_SHARE * _INITIALIZER_RANGE)
    for layer in model.roberta.encoder.layer[:_N_MATCHING_LAYERS]:
        rotation = _rotation(hidden)
        layer.attention.self.query.weight.copy_(rotation)
        layer.attention.self.key.weight.copy_(rotation)


def _rotation(size: int) -> torch.Tensor:
    return torch.linalg.qr(torch.randn(size, size))[0]


def save_base_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write a base model that `from_pretrained` loads; weights are stored as float16, loaded as float32.

    Args:
        model: Trained model in float32.
        tokenizer: Tokenizer framed for the architecture.
        folder: Created where missing; files of the same name are replaced.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    tied = set(getattr(model, "_tied_weights_keys", None) or ())
    halved = {
        name: value.detach().to("cpu", torch.float16).contiguous().clone()
        for name, value in model.state_dict().items()
        if name not in tied
    }
    weights_file = folder / "model.safetensors"
    save_file(halved, weights_file, metadata={"format": "pt"})
    weights_file.chmod(0o644)
    config_file = folder / "config.json"
    config = json.loads(config_file.read_text(encoding="utf-8"))
    config["dtype"] = "float32"
    config_file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
