"""Folders that look like trained bottleneck adapters: enough wherever no model is loaded, and made in a millisecond."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from advisor.catalog.trained_adapters import TrainedAdapter, read_parts


def write_adapter(folder: Path, base_model: str, *, seed: int = 0, weights: bool = True, **changes: object) -> Path:
    """Write a folder that looks like a saved bottleneck adapter; `changes` go into its configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "peft_type": "BOTTLENECK", "base_model_name_or_path": base_model, "placement": "pfeiffer",
        "cross_adapter": False, "reduction_factor": 16, "non_linearity": "silu", "scaling": 1.0, **changes,
    }  # fmt: skip
    kept = {name: value for name, value in config.items() if value is not None}
    (folder / "adapter_config.json").write_text(json.dumps(kept))
    if weights:
        tensor = np.full((2, 2), seed, dtype=np.float32)
        save_file({"base_model.model.layer.0.bottleneck_down.weight": tensor}, folder / "adapter_model.safetensors")
    return folder


def parts_of(*folders: Path) -> tuple[TrainedAdapter, ...]:
    """Return trained adapters as candidates name them."""
    return read_parts(folders, "--fuse").adapters
