"""Base models: those of the catalogue, and any local model folder.

Only facts that were looked up are kept: a row of `models.jsonl` names the fields that were filled from
memory (`unverified_fields`), and those are None here.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from advisor.catalog.files import read_rows
from advisor.catalog.positions import usable_positions
from advisor.catalog.safetensors_header import read_header
from advisor.catalog.shapes import Shape, read_shape
from advisor.errors import DataError, UnknownNameError, printable
from advisor.spec import Architecture

Trait = Literal["gated", "remote-code", "multimodal", "mixture-of-experts", "linear-attention", "post-trained"]

TRAIT_NOTES: dict[Trait, str] = {
    "gated": "the hub asks for an account and an agreement before the download",
    "remote-code": "its repository runs its own code when loaded, which this tool keeps off",
    "multimodal": "a text decoder inside a vision or audio checkpoint",
    "mixture-of-experts": "a mixture of experts; most PEFT methods do not reach its fused expert weights",
    "linear-attention": "layers of linear attention, which the memory estimate takes for full attention",
    "post-trained": "already instruction-tuned; no base checkpoint was published or seen",
}

_PATH_LENGTH = 300  # characters of a path in a message
_MIXTURES = {"deepseek_v2", "qwen3_moe", "qwen3_next", "gpt_oss", "mixtral"}
_ARCHITECTURES: dict[str, Architecture] = {
    "roberta": "encoder-only", "bert": "encoder-only", "modernbert": "encoder-only", "deberta-v2": "encoder-only",
    "electra": "encoder-only", "distilbert": "encoder-only", "codesage": "encoder-only",
    "t5": "encoder-decoder", "bart": "encoder-decoder", "plbart": "encoder-decoder",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseModel:
    """A pretrained model to tune.

    Attributes:
        hf_id: Hub id, or the path of a local folder.
        family: Models of one family differ in size only; the folder's name for a local model.
        architecture: Decides which tasks and heads are possible.
        model_type: transformers' `model_type`.
        params: Parameters, embeddings and head included.
        shape: Sizes.
        context_length: Longest sequence in tokens, None when not known.
        released: "YYYY-MM", None when not looked up.
        licence: None when not looked up.
        traits: What a user should know before choosing it.
        local: A folder on this machine.
        notes: Oddities.
    """

    hf_id: str
    family: str
    architecture: Architecture
    model_type: str
    params: int
    shape: Shape
    context_length: int | None
    released: str | None = None
    licence: str | None = None
    traits: tuple[Trait, ...] = ()
    local: bool = False
    notes: str = ""

    @property
    def name(self) -> str:
        """Name without the owner."""
        return self.hf_id.rsplit("/", 1)[-1]


def all_base_models() -> tuple[BaseModel, ...]:
    """Return every base model of the catalogue, in the order of the file."""
    return tuple(_catalogue().values())


def find_base_model(hf_id: str) -> BaseModel:
    """Return the base model of that hub id, or of a local folder with a config.json.

    Letter case and a missing owner are forgiven. An existing folder comes before a name of the catalogue.

    Raises:
        UnknownNameError: Neither; the message has the nearest names.
        DataError: A folder whose config.json is missing, unreadable or of an unknown kind.
    """
    folder = Path(hf_id).expanduser()
    if folder.is_dir():
        return base_model_from_folder(folder)
    catalogue = _catalogue()
    if hf_id in catalogue:
        return catalogue[hf_id]
    lowered = hf_id.lower()
    for model in catalogue.values():
        if lowered in (model.hf_id.lower(), model.name.lower()):
            return model
    if folder.exists() or hf_id.startswith((".", "/", "~")):
        raise DataError(f"{printable(hf_id)} is not a model folder; give a folder with a config.json, or a hub id")
    hint = "a local folder with a config.json works too"
    raise UnknownNameError("base model", hf_id, catalogue, hint)


def find_config(hf_id: str) -> tuple[str, dict[str, Any]]:
    """Return transformers' model type and config values of a catalogue entry.

    Model types whose code lives in their repository come as the native type with the same tensors, where there is one.

    Raises:
        UnknownNameError: Not in the catalogue.
    """
    row = _rows()[find_base_model(hf_id).hf_id]
    twin = row["instantiate_as"]
    return (twin["model_type"], twin["config"]) if twin else (row["transformers_model_type"], row["config"])


def base_model_from_folder(folder: Path) -> BaseModel:
    """Read a base model from a folder's config.json.

    The number of parameters comes from the header of model.safetensors where there is one, else from the sizes.

    Raises:
        DataError: The file is missing, not JSON, or lacks a size.
    """
    path = folder / "config.json"
    config = read_config(path)
    model_type = config.get("model_type")
    if not isinstance(model_type, str):
        raise DataError(f"{path}: no model_type; this is not the config.json of a transformers model")
    try:
        shape = read_shape(model_type, config)
    except KeyError as error:
        raise DataError(f"{path}: {error.args[0]} is missing, so the memory cannot be estimated") from error
    except (ValueError, TypeError) as error:
        raise DataError(f"{path}: {error}") from error
    return BaseModel(
        hf_id=str(folder), family=folder.name, architecture=architecture_of(model_type, config), model_type=model_type,
        params=_count_parameters(folder) or shape.parameters, shape=shape,
        context_length=usable_positions(model_type, shape.positions, config.get("pad_token_id")),
        traits=_local_traits(model_type, config), local=True,
    )  # fmt: skip


def read_config(path: Path) -> dict[str, Any]:
    """Return the values of a config.json.

    Raises:
        DataError: The file is missing, cannot be read, or does not hold a JSON object.
    """
    shown = printable(str(path), limit=_PATH_LENGTH)
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{shown}: not found; a model folder needs the config.json of a transformers model") from error
    except OSError as error:
        raise DataError(f"{shown}: cannot be read ({error.strerror or error})") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{shown}: not valid JSON ({error})") from error
    if not isinstance(config, dict):
        raise DataError(f"{shown}: is not the config.json of a transformers model, which is one JSON object")
    return config


def architecture_of(model_type: str, config: Mapping[str, Any]) -> Architecture:
    """Return the architecture of a model type, some of which come as encoders or as decoders."""
    if config.get("is_encoder_decoder"):
        return "encoder-decoder"
    usual = _ARCHITECTURES.get(model_type, "decoder-only")
    return "decoder-only" if usual == "encoder-only" and config.get("is_decoder") else usual


def _local_traits(model_type: str, config: dict[str, Any]) -> tuple[Trait, ...]:
    traits: list[Trait] = ["remote-code"] if "auto_map" in config else []
    return (*traits, "mixture-of-experts") if model_type in _MIXTURES else tuple(traits)


def _count_parameters(folder: Path) -> int | None:
    """Sum the tensor sizes in the header of model.safetensors; None without one."""
    try:
        header = read_header(folder / "model.safetensors")
        return sum(_product(tensor["shape"]) for tensor in header.tensors.values())
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _product(sizes: list[int]) -> int:
    total = 1
    for size in sizes:
        total *= size
    return total


@cache
def _rows() -> dict[str, dict[str, Any]]:
    return {row["hf_id"]: row for row in read_rows("models.jsonl")}


@cache
def _catalogue() -> dict[str, BaseModel]:
    return {hf_id: _from_row(row) for hf_id, row in _rows().items()}


def _from_row(row: dict[str, Any]) -> BaseModel:
    unverified = set(row["unverified_fields"])
    model_type: str = row["transformers_model_type"]
    return BaseModel(
        hf_id=row["hf_id"], family=row["family"], architecture=row["architecture"], model_type=model_type,
        params=row["params"], shape=read_shape(model_type, row["config"]), context_length=row["context_length"],
        released=None if "released" in unverified else row["released"],
        licence=None if "licence" in unverified else row["licence"],
        traits=tuple(row["traits"]), notes=row["notes"] or "",
    )  # fmt: skip
