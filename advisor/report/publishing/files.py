"""The files of an adapter that may be uploaded, each as it stands or in a copy that names no folder of this machine.

Only names that PEFT, transformers and their tokenizers give are taken, so that no row of data, no prediction and no
pickle gets there by mistake. Not covered: tokenizers that keep files of names of their own; subfolders.
"""

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from advisor.catalog.safetensors_header import read_header
from advisor.errors import DataError, printable
from advisor.report.public import ADAPTER_CONFIG, is_local, public_name

CARD = "README.md"
_NAMES = frozenset(
    {
        CARD, ADAPTER_CONFIG, "config.json", "generation_config.json", "model.safetensors.index.json",
        "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json",
        "vocab.txt", "merges.txt", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model",
        "chat_template.jinja", "chat_template.json",
    }
)  # fmt: skip
_WEIGHTS = re.compile(r"[\w-]+\.safetensors")
# Fields in which transformers notes where something was loaded from.
_ORIGINS = ("_name_or_path", "name_or_path")
_BASE_MODEL = "base_model_name_or_path"


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadFile:
    """One file to upload.

    Attributes:
        path: In the repository.
        size_bytes: Of what is uploaded.
        source: The file as it stands, None where a changed copy is uploaded.
        content: The changed copy, empty where the file is uploaded as it stands.
    """

    path: str
    size_bytes: int
    source: Path | None
    content: bytes = b""

    @property
    def is_binary(self) -> bool:
        """Whether it holds weights or a compiled tokenizer instead of text."""
        return self.path.endswith((".safetensors", ".model"))

    def text(self) -> str:
        """Return what is uploaded as text."""
        raw = self.content if self.source is None else self.source.read_bytes()
        return raw.decode("utf-8", errors="replace")


def made_file(path: str, text: str) -> UploadFile:
    """Return a file that stands nowhere on this machine."""
    content = text.encode("utf-8", errors="backslashreplace")
    return UploadFile(path=path, size_bytes=len(content), source=None, content=content)


def adapter_files(adapter: Path, base_model: str | None) -> tuple[UploadFile, ...]:
    """Return the files of an adapter's folder, sorted by name.

    Args:
        adapter: The folder.
        base_model: Hub id that the uploaded configuration names as base model, None for what the adapter says.

    Raises:
        DataError: A file in it is none of an adapter's, or is broken.
    """
    paths = sorted(adapter.iterdir())
    for path in paths:
        _check(path)
    if not any(path.suffix == ".safetensors" for path in paths):
        raise DataError(f"{adapter}: holds no weights (no .safetensors file); run the same `tune` again")
    return tuple(_file(path, base_model) for path in paths)


def _check(path: Path) -> None:
    is_known = path.name in _NAMES or _WEIGHTS.fullmatch(path.name) is not None
    if not is_known or path.is_symlink() or not path.is_file():
        what = "a link" if path.is_symlink() else "a folder" if path.is_dir() else "no file of an adapter"
        raise DataError(
            f"{path.parent}: {printable(path.name)} is {what}, and only weights (safetensors), configuration, "
            "tokenizer and README.md are uploaded; take it out of the folder"
        )
    if path.suffix == ".safetensors" and not _is_whole(path):
        raise DataError(f"{path}: is not a whole safetensors file; run the same `tune` again")


def _is_whole(path: Path) -> bool:
    """Hold the length of a safetensors file against the offsets in its header."""
    try:
        header = read_header(path)
        ends = [tensor["data_offsets"][1] for tensor in header.tensors.values()]
        return bool(path.stat().st_size == 8 + header.size_bytes + max(ends, default=0))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        return False


def _file(path: Path, base_model: str | None) -> UploadFile:
    if path.suffix == ".json" and (changed := _changed(path, base_model)) is not None:
        return made_file(path.name, json.dumps(changed, indent=2, ensure_ascii=False) + "\n")
    return UploadFile(path=path.name, size_bytes=path.stat().st_size, source=path)


def _changed(path: Path, base_model: str | None) -> dict[str, Any] | None:
    """Return the contents of a JSON file with what must not be uploaded as it stands replaced; None if nothing is."""
    plain = _read(path)
    changes = {key: public_name(plain[key]) for key in _ORIGINS if _is_folder(plain.get(key))}
    if path.name == ADAPTER_CONFIG and base_model is not None:
        changes[_BASE_MODEL] = base_model
    elif path.name == ADAPTER_CONFIG and _is_folder(plain.get(_BASE_MODEL)):
        # Its last name alone could be that of another model on the hub; this is a folder wherever it is read.
        changes[_BASE_MODEL] = f"./{public_name(plain[_BASE_MODEL])}"
    return {**plain, **changes} if changes else None


def _is_folder(value: object) -> bool:
    return isinstance(value, str) and value != "" and is_local(value)


def _read(path: Path) -> dict[str, Any]:
    try:
        plain = json.loads(path.read_text(encoding="utf-8"), parse_constant=lambda name: math.nan if name else None)
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
    if not isinstance(plain, dict):
        raise DataError(f"{path}: is not a JSON object; run the same `tune` again")
    return plain
