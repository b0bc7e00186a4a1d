"""A snapshot undoes whatever was done to a model, and notices what it cannot undo."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForMaskedLM, PreTrainedModel

from advisor.modeling.snapshot import Snapshot


@pytest.fixture
def model(base_folder: Callable[..., Path]) -> PreTrainedModel:
    return AutoModelForMaskedLM.from_pretrained(base_folder("encoder-only"))


def logits(model: PreTrainedModel) -> torch.Tensor:
    model.eval()
    with torch.no_grad():
        return model(input_ids=torch.arange(10, 20).unsqueeze(0)).logits


def test_replaced_layers_hooks_flags_and_settings_are_undone(model: PreTrainedModel) -> None:
    expected, names = logits(model), [name for name, _ in model.named_modules()]
    model.requires_grad_(False)
    snapshot = Snapshot(model, values=[])
    layer = model.base_model.encoder.layer[0].attention.self
    layer.query = torch.nn.Linear(32, 32)
    layer.extra = torch.nn.Linear(1, 1)
    layer.note = "left behind"
    layer.register_forward_hook(lambda module, inputs, output: output)
    model.base_model.encoder.layer.append(torch.nn.Identity())
    model.requires_grad_(True)
    model.config.problem_type = "regression"
    model.train()
    assert snapshot.restore()
    assert [name for name, _ in model.named_modules()] == names
    assert not hasattr(layer, "note")
    assert not layer._forward_hooks
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert model.config.problem_type is None
    assert torch.equal(logits(model), expected)


def test_values_that_were_named_are_brought_back(model: PreTrainedModel) -> None:
    expected = logits(model)
    snapshot = Snapshot(model, values=list(model.parameters()))
    loss = model(input_ids=torch.arange(10, 20).unsqueeze(0)).logits.sum()
    loss.backward()
    torch.optim.SGD(model.parameters(), lr=1.0).step()
    assert not torch.equal(logits(model), expected)
    assert snapshot.restore()
    assert torch.equal(logits(model), expected)
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("write", ["in place", "new data"])
def test_values_that_were_not_named_and_changed_are_noticed(write: str, model: PreTrainedModel) -> None:
    snapshot = Snapshot(model, values=[])
    weight = model.get_input_embeddings().weight
    with torch.no_grad():
        if write == "in place":
            weight.mul_(2)
        else:
            weight.data = weight.data.clone()
    assert not snapshot.restore()


def test_it_can_be_restored_more_than_once(model: PreTrainedModel) -> None:
    snapshot = Snapshot(model, values=[])
    layer = model.base_model.encoder.layer[0].attention.self
    for _ in range(2):
        layer.query = torch.nn.Identity()
        assert snapshot.restore()
        assert isinstance(layer.query, torch.nn.Linear)
