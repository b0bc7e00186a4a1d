"""Copies of a model's structure share its weights and nothing else."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from accelerate.hooks import AlignDevicesHook, add_hook_to_module
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from advisor.catalog.tasks import find_task
from advisor.modeling.base import load_base_model, request_for
from advisor.modeling.sharing import shared_base, shared_copy
from advisor.spec import Architecture
from tests.training.toy import ARCHITECTURES, candidate

BaseFolder = Callable[..., Path]
IDS = torch.tensor([[5, 6, 7, 8, 9, 2]])


def classifier(folder: Path) -> PreTrainedModel:
    model: PreTrainedModel = AutoModelForSequenceClassification.from_pretrained(folder)
    return model.eval()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_copy_gives_the_same_numbers_with_the_same_tensors(
    architecture: Architecture, base_folder: BaseFolder
) -> None:
    model = classifier(base_folder(architecture))
    copied = shared_copy(model)
    assert torch.equal(copied(IDS).logits, model(IDS).logits)
    pairs = list(zip(model.named_parameters(), copied.named_parameters(), strict=True))
    assert all(name == other and value is copy for (name, value), (other, copy) in pairs)
    assert all(one is not other for one, other in zip(model.modules(), copied.modules(), strict=True))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_adapters_on_copies_know_nothing_of_each_other_or_of_the_model(
    architecture: Architecture, base_folder: BaseFolder
) -> None:
    model = classifier(base_folder(architecture))
    before, names = model(IDS).logits, [name for name, _ in model.named_modules()]
    config = model.config.to_dict()
    adapted = []
    for seed in range(2):
        torch.manual_seed(seed)
        settings = LoraConfig(task_type="SEQ_CLS", target_modules="all-linear", init_lora_weights=False)
        adapted.append(get_peft_model(shared_copy(model), settings).eval())
    first, second = (one(IDS).logits for one in adapted)
    assert not torch.equal(first, second)
    torch.testing.assert_close(model(IDS).logits, before, rtol=1e-6, atol=1e-6)
    assert [name for name, _ in model.named_modules()] == names
    assert model.config.to_dict() == config
    held = {value.data_ptr() for value in model.parameters()}
    own = {name for name, value in adapted[0].named_parameters() if value.data_ptr() not in held}
    assert own == {name for name, value in adapted[0].named_parameters() if value.requires_grad}


def test_each_copy_of_a_base_model_has_a_head_of_its_own(base_folder: BaseFolder) -> None:
    chosen = candidate(base_folder("encoder-only"), "encoder-only")
    request = request_for(chosen, find_task("clone-detection"), ("0", "1"), torch.device("cpu"))
    base = load_base_model(request, torch.device("cpu"))
    one, other = shared_base(base), shared_base(base)
    for head in one.head_modules.values():
        for parameter in head.parameters():
            parameter.data.fill_(3.0)
    for head in (*base.head_modules.values(), *other.head_modules.values()):
        assert all(not torch.any(parameter == 3.0) for parameter in head.parameters())


def test_tied_weights_stay_tied(base_folder: BaseFolder) -> None:
    chosen = candidate(base_folder("encoder-decoder"), "encoder-decoder")
    request = request_for(chosen, find_task("code-summarization"), (), torch.device("cpu"))
    model = load_base_model(request, torch.device("cpu")).model
    copied = shared_copy(model)
    embedding = copied.get_input_embeddings()
    assert embedding is not model.get_input_embeddings()
    assert embedding.weight is copied.get_encoder().get_input_embeddings().weight
    assert embedding.weight is model.get_input_embeddings().weight


def test_a_copy_of_a_model_with_the_hooks_of_accelerate_runs_its_own_modules(base_folder: BaseFolder) -> None:
    model = classifier(base_folder("encoder-only"))
    expected = model(IDS).logits
    for module in model.modules():
        add_hook_to_module(module, AlignDevicesHook(execution_device="cpu"))
    copied = shared_copy(model)
    for module in copied.modules():
        if isinstance(module, torch.nn.Linear):
            module.weight = torch.nn.Parameter(torch.zeros_like(module.weight))
    assert not torch.equal(copied(IDS).logits, expected)
    assert torch.equal(model(IDS).logits, expected)
