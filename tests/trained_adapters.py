"""Bottleneck adapters on tiny base models whose weights are all drawn, as those of a trained one are."""

from pathlib import Path

import torch

from advisor.candidates import Candidate
from advisor.catalog.tasks import find_task
from advisor.modeling.attachment import attach_adapter
from advisor.modeling.base import load_base_model, request_for
from advisor.spec import Architecture

CPU = torch.device("cpu")


def train_adapter(
    base_folder: Path, architecture: Architecture, folder: Path, *, method: str = "adapter-pfeiffer", seed: int = 0
) -> Path:
    """Save an adapter whose weights are all drawn, as those of a trained one are: far from the identity."""
    task = find_task("clone-detection")
    chosen = Candidate(
        base_model=str(base_folder), architecture=architecture, method=method,
        hyperparameters={"learning_rate": 1e-3, "reduction_factor": 4 * (seed + 1)}, max_seq_length=48,
    )  # fmt: skip
    base = load_base_model(request_for(chosen, task, ("0", "1"), CPU), CPU)
    attached = attach_adapter(base, chosen, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in attached.trainable_parameters:
            parameter.normal_(std=0.2, generator=generator)
    attached.save(folder)
    attached.detach()
    return folder
