"""The base models, and the decoder's weights in a model that has biases."""

import shutil
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, Qwen2Config, Qwen2ForCausalLM

from advisor.demo import base_model_path
from advisor.modeling.quiet import quiet_libraries

_SAME = (
    "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
    "num_key_value_heads", "hidden_act", "max_position_embeddings", "rms_norm_eps", "rope_parameters",
    "tie_word_embeddings", "bos_token_id", "eos_token_id", "pad_token_id",
)  # fmt: skip


def base_folder(architecture: str, base: str, work: Path) -> Path:
    """Return the folder of a base model; that with biases is written on first use."""
    shipped = base_model_path(architecture)
    if base == "shipped":
        return shipped
    folder = work / "decoder-with-biases"
    if not folder.is_dir():
        write_with_biases(shipped, folder)
    return folder


def write_with_biases(llama: Path, folder: Path) -> None:
    """Write a Llama model as a Qwen2 model: the same layers, with biases of zero in query, key and value projections.

    Both compute the same function, so what is trained from it starts where the others start.

    Args:
        llama: Folder of the model.
        folder: To be made.
    """
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    with quiet_libraries(), torch.no_grad():
        old = AutoModelForCausalLM.from_pretrained(llama)
        new = Qwen2ForCausalLM(Qwen2Config(**{name: getattr(old.config, name) for name in _SAME}))
        for parameter in new.parameters():
            parameter.zero_()
        missing, unexpected = new.load_state_dict(old.state_dict(), strict=False)
        if unexpected or any(not name.endswith("_proj.bias") for name in missing):
            raise ValueError(f"{llama}: is no Llama model as Qwen2 knows them ({[*missing, *unexpected][0]})")
        new.save_pretrained(part)
    for path in llama.glob("*token*"):
        shutil.copy(path, part)
    part.replace(folder)
