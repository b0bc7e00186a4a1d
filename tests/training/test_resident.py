"""Base models and rows stay in memory as long as there is room and they are sound."""

import gc
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from advisor.modeling.attachment import attach_adapter
from advisor.modeling.base import BaseModel, BaseRequest, load_base_model
from advisor.training.resident import Resident
from tests.conftest import thaw
from tests.training.toy import CLONES, candidate, splits

pytestmark = pytest.mark.slow  # together more than the fast part can take


def resident() -> Resident:
    return Resident(CLONES, splits(CLONES), torch.device("cpu"), seed=0)


def test_two_base_models_stay_and_the_one_unused_for_longest_goes(base_folder: Callable[..., Path]) -> None:
    data = resident()
    chosen = [
        candidate(base_folder(architecture), architecture)
        for architecture in ("encoder-only", "decoder-only", "encoder-decoder")
    ]
    first, second = data.base_model(chosen[0]), data.base_model(chosen[1])
    assert data.base_model(chosen[0]) is first  # now the second is the older one
    data.base_model(chosen[2])
    assert data.base_model(chosen[0]) is first
    assert data.base_model(chosen[1]) is not second


def test_a_base_model_that_was_damaged_is_loaded_anew(base_folder: Callable[..., Path]) -> None:
    data = resident()
    chosen = candidate(base_folder("encoder-only"), "encoder-only")
    base = data.base_model(chosen)
    data.give_back(attach_adapter(base, chosen, seed=0))
    assert data.base_model(chosen) is base
    attached = attach_adapter(base, chosen, seed=0)
    with torch.no_grad():
        next(base.model.parameters()).add_(1)
    data.give_back(attached)
    assert data.base_model(chosen) is not base


def test_rows_are_shorter_where_an_adapter_takes_positions(base_folder: Callable[..., Path]) -> None:
    data = resident()
    lengths = []
    for method, changes in (("lora", {}), ("prompt-tuning", {"num_virtual_tokens": 100})):
        chosen = candidate(base_folder("encoder-only"), "encoder-only", method, **changes)
        attached = attach_adapter(data.base_model(chosen), chosen, seed=0)
        lengths.append(max(len(row.input_ids) for row in data.rows("train", chosen, attached).rows))
        data.give_back(attached)
    assert lengths == [48, 28]  # the candidate's limit; 128 positions less 100


@pytest.mark.parametrize("is_damaged", [False, True])
def test_where_one_base_model_may_be_in_memory_the_old_one_is_gone_before_the_next_is_loaded(
    base_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, is_damaged: bool
) -> None:
    data = Resident(CLONES, splits(CLONES), torch.device("cpu"), seed=0, most_bases=1)
    first = candidate(base_folder("encoder-only"), "encoder-only")
    second = candidate(base_folder("decoder-only"), "decoder-only")
    attached = attach_adapter(data.lend(first), first, seed=0)
    # accelerate does so with a model that it places (a quantized one): the module refers to itself.
    data.base_model(first).model._old_forward = data.base_model(first).model.forward
    weights = [weakref.ref(parameter) for parameter in data.base_model(first).model.parameters()]
    if is_damaged:
        with torch.no_grad():
            next(attached.base.model.base_model.parameters()).add_(1)
    data.give_back(attached)
    del attached
    left: list[int] = []

    def counted(request: BaseRequest, device: torch.device) -> BaseModel:
        left.append(sum(weight() is not None for weight in weights))
        return load_base_model(request, device)

    monkeypatch.setattr("advisor.training.resident.load_base_model", counted)
    monkeypatch.setattr(gc, "unfreeze", thaw)
    gc.disable()  # nothing may depend on when Python happens to collect
    try:
        data.base_model(second)
    finally:
        gc.enable()
    assert len(weights) > 10
    assert left == [0]
