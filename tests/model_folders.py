"""Folders with nothing but the config.json of a tiny model: all that a dry run needs."""

import json
from pathlib import Path
from typing import Any

_ROTARY = {
    "vocab_size": 400, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "intermediate_size": 128, "max_position_embeddings": 256,
}  # fmt: skip
CONFIGS: dict[str, dict[str, Any]] = {
    "llama": {"model_type": "llama", **_ROTARY},
    "qwen2": {"model_type": "qwen2", **_ROTARY, "tie_word_embeddings": True},
    # A checkpoint that is published quantized says so in its config.
    "llama-gptq": {
        "model_type": "llama", **_ROTARY, "quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 128}
    },
    "roberta": {
        "model_type": "roberta", "vocab_size": 400, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
        "intermediate_size": 128, "max_position_embeddings": 130,
    },
    "gpt2": {"model_type": "gpt2", "vocab_size": 400, "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 128},
    "t5": {
        "model_type": "t5", "vocab_size": 400, "d_model": 64, "d_kv": 16, "num_heads": 4, "num_layers": 2, "d_ff": 128,
        "pad_token_id": 0, "decoder_start_token_id": 0, "is_encoder_decoder": True,
    },
}  # fmt: skip


def config_folder(root: Path, name: str, **changes: object) -> Path:
    """Write the config.json of a model of `CONFIGS` into a folder of its own and return the folder.

    Args:
        root: Where the folder shall be.
        name: Key of `CONFIGS`, and the folder's name.
        changes: Other values than those of the table.
    """
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({**CONFIGS[name], **changes}), encoding="utf-8")
    return folder


def adapter_file(root: Path, **settings: object) -> Path:
    """Write an adapter_config.json and return it."""
    path = root / "adapter_config.json"
    path.write_text(json.dumps(settings), encoding="utf-8")
    return path
