"""Checkpoints of a live training: tensors in safetensors, all else in JSON, whole or not at all."""

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from advisor import durable
from advisor.errors import DataError
from advisor.training.loop import Training

TENSORS = "training.safetensors"
NUMBERS = "training.json"
SCHEMA_VERSION = 1


def write_checkpoint(training: Training, folder: Path, **extra: float) -> None:
    """Write all that a training needs to go on from a complete step.

    Args:
        training: At the end of a step.
        folder: The checkpoint; an older one is replaced.
        extra: Numbers of the caller, which `read_checkpoint` returns.

    Raises:
        OSError: The disk refused it; nothing of it is left.
    """
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir(parents=True)
        _write(training, part, extra)
        durable.sync_tree(part)
        shutil.rmtree(folder, ignore_errors=True)
        durable.put_in_place(part, folder)
    except OSError:
        shutil.rmtree(part, ignore_errors=True)
        raise


def read_checkpoint(training: Training, folder: Path) -> dict[str, Any]:
    """Let a training that was just made go on from a checkpoint; one that cannot is not to be used any more.

    Returns:
        The caller's numbers.

    Raises:
        DataError: The folder is not a checkpoint of a training like this one, or it is damaged.
    """
    try:
        numbers = json.loads((folder / NUMBERS).read_text(encoding="utf-8"))
        if numbers["schema_version"] != SCHEMA_VERSION:
            raise ValueError(f"schema version {numbers['schema_version']}")
        if numbers["sha256"] != _digest(folder / TENSORS):
            raise ValueError(f"{TENSORS} has changed since it was written")
        training.restore(load_file(folder / TENSORS), numbers["training"])
        return dict(numbers["extra"])
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{folder}: not a checkpoint of this trial ({type(error).__name__}: {reason})") from error


def _write(training: Training, folder: Path, extra: Mapping[str, float]) -> None:
    try:
        save_file(_on_host(training.tensors()), folder / TENSORS)
    except SafetensorError as error:  # its writer has no other word for a full disk
        raise OSError(None, " ".join(str(error).split()), str(folder / TENSORS)) from error
    numbers = {
        "schema_version": SCHEMA_VERSION,
        "sha256": _digest(folder / TENSORS),
        "training": training.numbers(),
        "extra": extra,
    }
    (folder / NUMBERS).write_text(json.dumps(numbers, allow_nan=False), encoding="utf-8")


def _on_host(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors as safetensors takes them: contiguous, no two with the same memory."""
    taken: set[int] = set()
    found = {}
    for name, tensor in tensors.items():
        own = tensor.detach().cpu().contiguous()
        storage = own.untyped_storage()
        if storage.data_ptr() in taken or storage.nbytes() != own.nbytes:
            own = own.clone()
        taken.add(storage.data_ptr())
        found[name] = own
    return found


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
