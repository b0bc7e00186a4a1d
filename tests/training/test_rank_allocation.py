"""AdaLoRA ends with its budget of singular values, which are saved, loaded and gone on from."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from advisor.modeling.attachment import AttachedModel, attach_adapter, load_adapter
from advisor.training.loop import Training
from tests.training.toy import CLONES, base_for, candidate, tokenized

STEPS = 20


def begun(base_folder: Callable[..., Path], method: str = "adalora") -> tuple[Training, AttachedModel]:
    chosen = candidate(base_folder("encoder-only"), "encoder-only", method)
    attached = attach_adapter(base_for(chosen, CLONES), chosen, seed=3)
    rows = tokenized(attached, CLONES).rows
    return Training(attached, rows, chosen, n_steps=STEPS, seed=1, data_seed=1), attached


def singular_values(attached: AttachedModel) -> torch.Tensor:
    named = attached.model.named_parameters()
    return torch.cat([parameter.detach().flatten() for name, parameter in named if "lora_E" in name])


def test_the_budget_is_reached_and_what_is_saved_loads_with_as_few_ranks(
    base_folder: Callable[..., Path], tmp_path: Path
) -> None:
    training, attached = begun(base_folder)
    n_linears = 12  # six in each of two layers
    assert len(singular_values(attached)) == 6 * n_linears
    training.train_to(STEPS)
    left = int((singular_values(attached) != 0).sum())
    assert left == 4 * n_linears
    attached.save(tmp_path / "saved")
    ids: Any = {"input_ids": torch.arange(10, 20)[None], "attention_mask": torch.ones(1, 10, dtype=torch.long)}
    attached.model.eval()
    with torch.no_grad():
        wanted = attached.model(**ids).logits
    base, chosen = attached.base, candidate(base_folder("encoder-only"), "encoder-only", "adalora")
    attached.detach()
    loaded = load_adapter(base, chosen, tmp_path / "saved")
    with torch.no_grad():
        assert loaded.model(**ids).logits == pytest.approx(wanted, abs=1e-5)
    assert len(singular_values(loaded)) == left


def test_a_training_that_goes_on_has_the_same_singular_values(base_folder: Callable[..., Path]) -> None:
    whole, attached = begun(base_folder)
    whole.train_to(8)
    tensors = {name: value.clone() for name, value in whole.tensors().items()}
    numbers = whole.numbers()
    whole.train_to(STEPS)
    wanted = singular_values(attached).clone()

    second, other = begun(base_folder)
    second.restore(tensors, numbers)
    second.train_to(STEPS)
    assert torch.equal(singular_values(other), wanted)


def test_other_adapters_have_no_scores(base_folder: Callable[..., Path]) -> None:
    training, _ = begun(base_folder, "lora")
    training.train_to(2)
    assert training.numbers()["kept_ranks"] is None
    assert not [name for name in training.tensors() if name.startswith("ranks.")]
