"""Trained bottleneck adapters in folders: what a stack of adapters, or a fusion of them, is made of.

A folder is what PEFT's `save_pretrained` wrote of a bottleneck adapter, or that of a finished study of `tune` with one
in its `best_adapter/`. What can be said without loading a model is said here: whether the adapter is one, of which base
model, and whether it goes with the others. Not covered: whether its tensors have the sizes of that base model.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from advisor.catalog.base_models import find_base_model
from advisor.catalog.safetensors_header import read_header
from advisor.errors import AdvisorError, DataError, InputError, printable

# What names the trained adapters of a method that is made of such.
PART_OPTIONS: Mapping[str, str] = {"adapter-stack": "--on-adapter", "adapter-fusion": "--fuse"}
BEST_ADAPTER = "best_adapter"
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_PEFT_TYPE = "BOTTLENECK"
# Of `BottleneckConfig`, which leaves out of its file nothing.
_NUMBERS = ("reduction_factor", "scaling")
_PLACEMENTS = ("houlsby", "pfeiffer", "parallel")
# Longer than any path that people type.
_PATH_LENGTH = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedAdapter:
    """A trained adapter that another one is made of: where it is, what is in it, and its shape.

    Attributes:
        folder: Of the adapter itself, as the user named it.
        sha256: Of its weights, so that one that was trained anew is not taken for it.
        reduction_factor: Hidden size over bottleneck size.
        non_linearity: Of the bottleneck, by transformers' name.
        scaling: What its output is multiplied by.
    """

    folder: str
    sha256: str
    reduction_factor: float
    non_linearity: str
    scaling: float

    @property
    def name(self) -> str:
        """Name for people: that of the folder, or of the study that it is the best adapter of."""
        return adapter_name(self.folder)

    @property
    def shape(self) -> dict[str, Any]:
        """The values that its tensors and its equation follow from, as PEFT saves them with what is made of it."""
        return {
            "reduction_factor": self.reduction_factor, "non_linearity": self.non_linearity, "scaling": self.scaling,
        }  # fmt: skip

    def check_unchanged(self) -> None:
        """Make sure that the weights are those that the user named.

        Raises:
            ValueError: They are gone or others.
        """
        try:
            found = _sha256(Path(self.folder) / WEIGHTS)
        except OSError as error:
            raise ValueError(f"{self.folder}: its {WEIGHTS} cannot be read any more ({error.strerror})") from error
        if found != self.sha256:
            raise ValueError(f"{self.folder}: its {WEIGHTS} is another one than when the study began")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Trained adapters that go together.

    Attributes:
        adapters: In the order in which they were named; of a stack the lowest first.
        base_model: Hub id or folder that they were trained on.
        placement: Where in a layer they are, as in `BottleneckConfig`.
        cross_adapter: As there.
    """

    adapters: tuple[TrainedAdapter, ...]
    base_model: str
    placement: str
    cross_adapter: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Saved:
    adapter: TrainedAdapter
    base_model: str
    placement: str
    cross_adapter: bool


def options_example(method: str, least: int) -> str:
    """Return how the trained adapters of a method are given, such as "--fuse DIR --fuse DIR" for two at least."""
    return " ".join([f"{PART_OPTIONS[method]} DIR"] * least)


def adapter_name(folder: str) -> str:
    """Return the last name of a folder, or of the study whose best adapter it is."""
    path = Path(folder).absolute()
    return path.parent.name if path.name == BEST_ADAPTER and path.parent.name else path.name


def read_parts(folders: Sequence[Path], option: str) -> Parts:
    """Read trained adapters and make sure that they go together.

    Args:
        folders: Of adapters or of finished studies, at least one.
        option: What an error calls the place that they come from, such as "--fuse".

    Raises:
        InputError: One is named twice, or two do not go together.
        DataError: One is no trained bottleneck adapter.
    """
    saved = [_read(folder, option) for folder in folders]
    first = saved[0]
    for number, one in enumerate(saved):
        name = _shown(one.adapter.folder)
        if any(one.adapter.sha256 == other.adapter.sha256 for other in saved[:number]):
            raise InputError(f"{option} {name}: is there twice; name different adapters")
        if not same_base_model(one.base_model, first.base_model):
            raise InputError(
                f"{option} {name}: was trained on {printable(one.base_model)}, but {_shown(first.adapter.folder)} on "
                f"{printable(first.base_model)}; name adapters of one base model"
            )
        if (one.placement, one.cross_adapter) != (first.placement, first.cross_adapter):
            raise InputError(
                f"{option} {name}: has {_where(one)}, but {_shown(first.adapter.folder)} {_where(first)}; "
                "name adapters of one placement"
            )
    return Parts(
        adapters=tuple(one.adapter for one in saved),
        base_model=first.base_model,
        placement=first.placement,
        cross_adapter=first.cross_adapter,
    )


def same_base_model(one: str, other: str) -> bool:
    """Do two names stand for the same base model: the same folder, or the same model of the hub?"""
    folders = [Path(name).expanduser() for name in (one, other)]
    if all(folder.is_dir() for folder in folders):
        return folders[0].resolve() == folders[1].resolve()
    return one == other or _full_name(one) == _full_name(other)


def _full_name(name: str) -> str:
    try:
        return find_base_model(name).hf_id
    except AdvisorError:  # not of the catalogue, or a folder that is no model
        return name


def _read(folder: Path, option: str) -> _Saved:
    found = _adapter_folder(folder, option)
    where = f"{option} {_shown(str(found))}"
    config = _config(found, where)
    peft_type = config.get("peft_type")
    if peft_type != _PEFT_TYPE:
        raise DataError(
            f"{where}: is a {_kind(peft_type)} adapter; name one that was trained with adapter-houlsby, "
            "adapter-pfeiffer or adapter-parallel"
        )
    base_model = config.get("base_model_name_or_path")
    if not isinstance(base_model, str) or not base_model:
        raise DataError(f"{where}: its {CONFIG} names no base_model_name_or_path; write there what it was trained on")
    placement, cross = config.get("placement"), config.get("cross_adapter", False)
    if placement not in _PLACEMENTS or not isinstance(cross, bool):
        raise DataError(f"{where}: its {CONFIG} has placement {_kind(placement)}, not one of {', '.join(_PLACEMENTS)}")
    return _Saved(
        adapter=_trained(found, config, where), base_model=base_model, placement=placement, cross_adapter=cross
    )


def _adapter_folder(folder: Path, option: str) -> Path:
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "does not exist"
        raise InputError(f"{option} {_shown(str(folder))}: {what}; name the folder of a trained adapter, or of a study")
    if (folder / CONFIG).is_file():
        return folder
    if (folder / BEST_ADAPTER / CONFIG).is_file():
        return folder / BEST_ADAPTER
    is_study = any((folder / name).exists() for name in ("study.db", "storage.json", "trials.jsonl", BEST_ADAPTER))
    said = f"the study has no {BEST_ADAPTER}/ with an adapter yet; finish it" if is_study else f"has no {CONFIG}"
    raise DataError(f"{option} {_shown(str(folder))}: {said}; name the folder of a trained adapter, or of a study")


def _config(folder: Path, where: str) -> Mapping[str, Any]:
    try:
        found = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{where}: its {CONFIG} cannot be read ({error.strerror or error})") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: its {CONFIG} is not valid JSON; save the adapter anew") from error
    if not isinstance(found, dict):
        raise DataError(f"{where}: its {CONFIG} is not the configuration of an adapter, which is one JSON object")
    return found


def _trained(folder: Path, config: Mapping[str, Any], where: str) -> TrainedAdapter:
    for name in _NUMBERS:
        value = config.get(name)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or (name == _NUMBERS[0] and not value > 0):
            raise DataError(f"{where}: its {CONFIG} has {name} {_kind(value)}, which is no such number")
    if not isinstance(config.get("non_linearity"), str):
        raise DataError(f"{where}: its {CONFIG} has no non_linearity")
    try:
        names, digest = _tensor_names(folder / WEIGHTS), _sha256(folder / WEIGHTS)
    except FileNotFoundError as error:
        raise DataError(f"{where}: has no {WEIGHTS}; save the adapter anew") from error
    except OSError as error:
        raise DataError(f"{where}: its {WEIGHTS} cannot be read ({error.strerror or error})") from error
    if not any(".bottleneck_down." in name for name in names):
        raise DataError(f"{where}: its {WEIGHTS} holds no bottleneck adapter, or is damaged; save the adapter anew")
    return TrainedAdapter(
        folder=str(folder), sha256=digest, reduction_factor=float(config["reduction_factor"]),
        non_linearity=config["non_linearity"], scaling=float(config["scaling"]),
    )  # fmt: skip


def _tensor_names(path: Path) -> tuple[str, ...]:
    """Return the names in the header of a safetensors file; none where it is broken."""
    try:
        return tuple(read_header(path).tensors)
    except (ValueError, RecursionError):
        return ()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _where(one: _Saved) -> str:
    crossed = " with cross_adapter" if one.cross_adapter else ""
    return f"the placement {one.placement}{crossed}"


def _shown(folder: str) -> str:
    return printable(folder, limit=_PATH_LENGTH)


def _kind(value: object) -> str:
    return printable(str(value)) if value is not None else "none"
