"""Base models on the meta device: the real modules with the real shapes, and no weights.

A config is all that is needed: a row of the catalogue, or a local folder with nothing but a `config.json`. No code from
a model folder is run.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import AttentionInterface, AutoConfig, PreTrainedConfig, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from advisor.catalog.base_models import architecture_of, find_base_model, find_config, read_config
from advisor.catalog.positions import has_position_table, usable_positions
from advisor.catalog.tasks import Head
from advisor.errors import DataError, InputError, printable
from advisor.modeling.base import AUTO_CLASSES
from advisor.modeling.quiet import quiet_libraries
from advisor.spec import Architecture, Attention

_UNMASKED = "unmasked_sdpa"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSource:
    """A model known by its config alone.

    Attributes:
        name: Catalogue name, hub id or folder, as the user named it.
        config: transformers' config.
        architecture: Encoder-only, encoder-decoder or decoder-only.
    """

    name: str
    config: PreTrainedConfig
    architecture: Architecture

    @property
    def default_head(self) -> Head:
        """Head of the architecture's usual task."""
        if self.architecture == "encoder-only":
            return "sequence-classification"
        return "seq2seq-lm" if self.architecture == "encoder-decoder" else "causal-lm"

    @property
    def position_limit(self) -> int | None:
        """Most tokens that a table of positions allows, None where positions are computed or relative."""
        return self.max_positions if has_position_table(self.config.model_type, self.config.to_dict()) else None

    @property
    def max_positions(self) -> int | None:
        """Most tokens of one sequence, or that the model was made for; None without a limit."""
        rows = getattr(self.config, "max_position_embeddings", None)
        if not isinstance(rows, int) or rows <= 0:
            return None
        return usable_positions(self.config.model_type, rows, getattr(self.config, "pad_token_id", None))


def read_model_source(name: str) -> ModelSource:
    """Find the config of a catalogue entry or a folder; `dryrun.sources.find_source` looks on the hub as well.

    Raises:
        DataError: The folder has no usable config.json.
        UnknownNameError: Neither a catalogue entry nor a folder.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        read_config(folder / "config.json")
        return _source(name, _load_config(folder.absolute(), name))
    model_type, values = find_config(name)
    source = _source(name, AutoConfig.for_model(model_type, **values))
    # Where a native type stands for a model's own code it may be of another architecture.
    return replace(source, architecture=find_base_model(name).architecture)


def build_on_meta(
    source: ModelSource,
    head: Head,
    *,
    dtype: torch.dtype,
    attention: Attention = "sdpa",
    n_labels: int = 2,
    layers: int | None = None,
) -> PreTrainedModel:
    """Build the model with its head on the meta device.

    Args:
        source: The model's config.
        head: Head on top.
        dtype: Of the weights.
        attention: Implementation of attention; "sdpa" is eager where the model type has nothing better.
        n_labels: Classes of a classification head.
        layers: Number of layers to build instead of the config's own, of every stack.

    Raises:
        InputError: The model type has no such head or attention.
    """
    config = type(source.config).from_dict(source.config.to_dict())
    config.num_labels = n_labels
    config.use_cache = False
    if head == "sequence-classification":
        config.pad_token_id = _pad_token(config)
    if source.architecture == "encoder-decoder" and getattr(config, "decoder_start_token_id", None) is None:
        config.decoder_start_token_id = _pad_token(config)
    if layers is not None:
        _set_depth(config, layers)
    # None is transformers' own choice: fused attention where the model type has it, else eager.
    implementation = "eager" if attention == "eager" else None
    try:
        with quiet_libraries(), torch.device("meta"):
            model: PreTrainedModel = AUTO_CLASSES[head].from_config(
                config, dtype=dtype, attn_implementation=implementation, trust_remote_code=False
            )
    except (ValueError, TypeError, KeyError, AttributeError, ImportError) as error:
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise InputError(f"{printable(source.name)}: cannot be built with a {head} head ({reason})") from error
    if attention == "flash":
        _leave_out_masks(model, source.name)
    return model


def _leave_out_masks(model: PreTrainedModel, name: str) -> None:
    """Let transformers call fused attention without a mask, as it calls flash attention on unpadded sequences.

    It writes no mask for an implementation that no mask function is registered for. With "sdpa" it would read whether
    sequences are packed, which meta tensors cannot tell, and write a mask.
    """
    if not model._supports_flash_attn:
        raise InputError(f"{printable(name)}: {model.config.model_type} models have no flash attention; use sdpa")
    AttentionInterface.register(_UNMASKED, sdpa_attention_forward)
    model.set_attn_implementation(_UNMASKED)


def depth_of(config: PreTrainedConfig) -> int:
    """Return the number of layers of a stack (of the encoder, where there are two)."""
    for name in ("num_hidden_layers", "num_layers", "n_layer", "encoder_layers"):
        value = getattr(config, name, None)
        if isinstance(value, int):
            return value
    raise DataError(f"{config.model_type}: the config does not say how many layers there are")


def _set_depth(config: PreTrainedConfig, layers: int) -> None:
    for name in (
        "num_hidden_layers", "num_layers", "n_layer", "encoder_layers", "decoder_layers", "num_decoder_layers"
    ):  # fmt: skip
        if isinstance(getattr(config, name, None), int):
            setattr(config, name, layers)
    kinds = getattr(config, "layer_types", None)
    if kinds:
        config.layer_types = list(kinds[:layers])


def _source(name: str, config: PreTrainedConfig) -> ModelSource:
    config = config.get_text_config()
    if hasattr(config, "quantization_config"):  # storage is what the caller asks for
        del config.quantization_config
    architecture = architecture_of(config.model_type, config.to_dict())
    return ModelSource(name=name, config=config, architecture=architecture)


def _load_config(folder: Path, name: str) -> PreTrainedConfig:
    try:
        with quiet_libraries():
            return AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # JSON and transformers raise a dozen unrelated classes
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(f"{printable(name)}: no usable config.json ({reason})") from error


def _pad_token(config: PreTrainedConfig) -> int:
    for value in (getattr(config, "pad_token_id", None), getattr(config, "eos_token_id", None)):
        # A class's default may lie beyond the vocabulary of a config that does not say.
        if isinstance(value, int) and 0 <= value < config.vocab_size:
            return value
    return 0


def hidden_size(config: Any) -> int:
    """Return the width of the residual stream."""
    for name in ("hidden_size", "d_model", "n_embd"):
        value = getattr(config, name, None)
        if isinstance(value, int):
            return value
    raise DataError(f"{config.model_type}: the config does not say how wide the model is")
