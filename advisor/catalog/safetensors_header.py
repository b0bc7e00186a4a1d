"""The header of a safetensors file, read without the library: 8 bytes of length, then JSON (its format's README)."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# The format's own limit (https://github.com/huggingface/safetensors).
LARGEST_BYTES = 100_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SafetensorsHeader:
    """What stands before the tensors.

    Attributes:
        size_bytes: Of the JSON.
        tensors: What it says of each tensor (`dtype`, `shape`, `data_offsets`), by name; unchecked.
    """

    size_bytes: int
    tensors: dict[str, Any]


def read_header(path: Path) -> SafetensorsHeader:
    """Read the header of a safetensors file.

    Raises:
        OSError: It cannot be read.
        ValueError: It has none; RecursionError where its JSON is nested without end.
    """
    with path.open("rb") as file:
        size_bytes = int.from_bytes(file.read(8), "little")
        if size_bytes > LARGEST_BYTES:
            raise ValueError(f"{path}: a header of {size_bytes} bytes")
        header = json.loads(file.read(size_bytes))
    if not isinstance(header, dict):
        raise ValueError(f"{path}: its header is not one JSON object")
    return SafetensorsHeader(
        size_bytes=size_bytes, tensors={name: said for name, said in header.items() if name != "__metadata__"}
    )
