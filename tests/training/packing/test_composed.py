"""Adapters that are made of trained ones share passes with others, and train as they do alone."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from advisor.spec import Architecture
from tests.adapter_folders import parts_of
from tests.trained_adapters import train_adapter
from tests.training.packing.trainings import alone, packed, parameters_of
from tests.training.toy import TASKS, base_for, candidate

pytestmark = pytest.mark.slow

N_STEPS = 3


@pytest.mark.parametrize("architecture", ["encoder-only", "decoder-only"])
@pytest.mark.parametrize("placement", ["pfeiffer", "houlsby", "parallel"])
def test_stacks_and_fusions_train_in_a_pack_as_alone(
    placement: str, architecture: Architecture, base_folder: Callable[..., Path], tmp_path: Path
) -> None:
    folder, task = base_folder(architecture), TASKS["clone-detection"]
    method = f"adapter-{placement}"
    parts = parts_of(*(train_adapter(folder, architecture, tmp_path / str(n), method=method, seed=n) for n in range(2)))
    chosen = [
        replace(candidate(folder, architecture, "adapter-stack", placement=placement), adapters=parts),
        replace(candidate(folder, architecture, "adapter-fusion", placement=placement), adapters=parts),
        replace(candidate(folder, architecture, "adapter-stack", placement=placement), adapters=parts[:1]),
        candidate(folder, architecture, "lora", lora_dropout=0.1),
    ]
    base = base_for(chosen[0], task)
    solo, solo_losses = alone(base, chosen, task, N_STEPS)
    failures, together, losses = packed(base, chosen, task, N_STEPS)
    assert not failures
    for expected, found in zip(solo_losses, losses, strict=True):
        assert found == pytest.approx(expected, rel=2e-6, abs=2e-6)
    for one, other in zip(solo, together, strict=True):
        values, wanted = parameters_of(other), parameters_of(one)
        assert values.keys() == wanted.keys()
        assert not any("bottleneck_trained" in name for name in values)
        for name, value in values.items():
            if not name.endswith("key.bias"):  # its gradient is zero but for rounding, which Adam makes large
                torch.testing.assert_close(value, wanted[name], rtol=1e-4, atol=2e-5, msg=name)
