"""Adapters that are made of trained ones, as candidates become them: what they start from, change, and leave behind."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file

from advisor.candidates import Candidate
from advisor.catalog.tasks import find_task
from advisor.catalog.trained_adapters import TrainedAdapter
from advisor.modeling.adapters import UnsupportedCandidateError, build_config
from advisor.modeling.attachment import ADAPTER_WEIGHTS, attach_adapter, load_adapter
from advisor.modeling.base import BaseModel, load_base_model, request_for
from advisor.spec import Architecture
from tests.adapter_folders import parts_of
from tests.trained_adapters import CPU, train_adapter

ARCHITECTURES: tuple[Architecture, ...] = ("encoder-only", "decoder-only", "encoder-decoder")
PLACEMENTS = ("adapter-pfeiffer", "adapter-houlsby", "adapter-parallel")
INPUTS = {"input_ids": torch.tensor([[0, 20, 31, 42, 2]]), "attention_mask": torch.ones(1, 5, dtype=torch.long)}
TASK = find_task("clone-detection")
# A fresh process with PEFT and the tuners alone; prints the logits.
LOAD = """
import sys, json, torch
import advisor.modeling.tuners
from peft import AutoPeftModelForSequenceClassification as Auto
model = Auto.from_pretrained(sys.argv[1], num_labels=2).eval()
with torch.no_grad():
    print(json.dumps(model(input_ids=torch.tensor([[0, 20, 31, 42, 2]])).logits.tolist()))
"""


@pytest.fixture(scope="module")
def below(base_folder: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """Return base model and trained adapters: `below(architecture, method="adapter-pfeiffer")`."""
    root = tmp_path_factory.mktemp("trained")
    made: dict[tuple[str, str], tuple[TrainedAdapter, ...]] = {}

    def parts(architecture: Architecture, method: str = "adapter-pfeiffer") -> tuple[Path, tuple[TrainedAdapter, ...]]:
        base, key = base_folder(architecture), (architecture, method)
        if key not in made:
            folders = [
                train_adapter(base, architecture, root / f"{architecture}-{method}-{n}", method=method, seed=n)
                for n in range(2)
            ]
            made[key] = parts_of(*folders)
        return base, made[key]

    return parts


def composed(
    base: Path, architecture: Architecture, parts: tuple[TrainedAdapter, ...], method: str, **changes: object
) -> Candidate:
    hyperparameters: dict[str, object] = {"learning_rate": 1e-2, **changes}
    return Candidate(
        base_model=str(base), architecture=architecture, method=method, hyperparameters=hyperparameters,
        max_seq_length=48, adapters=parts,
    )  # fmt: skip


def loaded(chosen: Candidate) -> BaseModel:
    return load_base_model(request_for(chosen, TASK, ("0", "1"), CPU), CPU)


def hidden_of(model: Any) -> torch.Tensor:
    """Return what the layers give; heads are of other weights in each adapter."""
    model.eval()
    with torch.no_grad():
        out = model(**INPUTS, output_hidden_states=True)
    return (out.decoder_hidden_states if hasattr(out, "decoder_hidden_states") else out.hidden_states)[-1]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_stack_begins_with_what_the_adapter_below_gives(below: Any, architecture: Architecture) -> None:
    base_folder, (one, _) = below(architecture)
    plain = replace(composed(base_folder, architecture, (), "adapter-pfeiffer"), adapters=())
    base = loaded(plain)
    attached = load_adapter(base, plain, Path(one.folder))
    wanted = hidden_of(attached.model)
    attached.detach()
    untouched = hidden_of(base.model)
    exact = composed(base_folder, architecture, (one,), "adapter-stack", init_weights="zero-up")
    attached = attach_adapter(base, exact, seed=0)
    assert torch.equal(hidden_of(attached.model), wanted)
    assert not torch.allclose(untouched, wanted, atol=0.1)
    attached.detach()
    near = attach_adapter(base, composed(base_folder, architecture, (one,), "adapter-stack"), seed=0)
    found = hidden_of(near.model)
    assert not torch.equal(found, wanted)
    assert torch.allclose(found, wanted, atol=0.02)


@pytest.mark.parametrize("method", ["adapter-stack", "adapter-fusion"])
@pytest.mark.parametrize("placement", PLACEMENTS)
def test_training_changes_neither_the_base_model_nor_the_adapters_below(
    below: Any, placement: str, method: str
) -> None:
    base_folder, parts = below("decoder-only", placement)
    chosen = composed(base_folder, "decoder-only", parts, method, placement=placement.removeprefix("adapter-"))
    base = loaded(chosen)
    before = {name: value.clone() for name, value in base.model.state_dict().items()}
    heads = tuple(base.head_modules)
    attached = attach_adapter(base, chosen, seed=0)
    state = attached.model.state_dict()
    trained = {name: value.clone() for name, value in state.items() if "bottleneck_trained" in name}
    assert trained
    optimizer = torch.optim.AdamW(attached.trainable_parameters, lr=0.1, weight_decay=0.1)
    first = {
        name: parameter.detach().clone()
        for name, parameter in attached.model.named_parameters()
        # A bias of the keys moves the scores of all adapters alike, so softmax takes it out again.
        if parameter.requires_grad and not name.endswith("key.bias")
    }
    attached.model.train()
    for _ in range(2):
        loss = attached.model(**INPUTS, labels=torch.tensor([1])).loss
        loss.backward()
        optimizer.step()
    changed = dict(attached.model.named_parameters())
    assert not [name for name, value in first.items() if torch.equal(changed[name], value)]
    after = attached.model.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in trained.items())
    attached.detach()
    found = base.model.state_dict()
    assert found.keys() == before.keys()
    assert all(torch.equal(found[name], value) for name, value in before.items() if not name.startswith(heads))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_weights_below_are_those_of_the_folders_at_every_place(below: Any, architecture: Architecture) -> None:
    base_folder, parts = below(architecture)
    chosen = composed(base_folder, architecture, parts, "adapter-fusion")
    attached = attach_adapter(loaded(chosen), chosen, seed=0)
    state = {name: value for name, value in attached.model.state_dict().items() if "bottleneck_trained" in name}
    for number, one in enumerate(parts):
        saved = load_file(Path(one.folder) / ADAPTER_WEIGHTS)
        mine = {name: value for name, value in state.items() if f"bottleneck_trained.default.{number}." in name}
        assert len(mine) == sum(".bottleneck_" in name for name in saved)
        for name, value in mine.items():
            place, _, part = name.partition(f".bottleneck_trained.default.{number}.")
            side, _, kind = part.partition(".")
            ending = f"{place.removeprefix('base_model.model.')}.bottleneck_{side}.{kind}"
            (wanted,) = [tensor for key, tensor in saved.items() if key.endswith(ending)]
            assert torch.equal(value, wanted)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["adapter-stack", "adapter-fusion"])
def test_a_fresh_process_loads_it_without_the_folders_it_was_made_of(
    base_folder: Callable[..., Path], tmp_path: Path, method: str
) -> None:
    folder = base_folder("encoder-only")
    trained = [train_adapter(folder, "encoder-only", tmp_path / f"part-{n}", seed=n) for n in range(2)]
    chosen = composed(folder, "encoder-only", parts_of(*trained), method)
    attached = attach_adapter(loaded(chosen), chosen, seed=3)
    attached.model.eval()
    with torch.no_grad():
        wanted = attached.model(input_ids=INPUTS["input_ids"]).logits
    attached.save(tmp_path / "composed")
    for one in trained:
        (one / ADAPTER_WEIGHTS).unlink()
        (one / "adapter_config.json").unlink()
    said = subprocess.run(
        [sys.executable, "-c", LOAD, str(tmp_path / "composed")],
        capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2],
    ).stdout  # fmt: skip
    assert torch.allclose(torch.tensor(json.loads(said)), wanted, atol=1e-6)
    config = json.loads((tmp_path / "composed" / "adapter_config.json").read_text())
    assert config["adapters"] == ["part-0", "part-1"]
    assert str(tmp_path / "part-0") not in (tmp_path / "composed" / "adapter_config.json").read_text()


@pytest.mark.parametrize("method", ["adapter-stack", "adapter-fusion"])
def test_it_can_be_loaded_under_another_name_and_saved_again(below: Any, tmp_path: Path, method: str) -> None:
    folder, parts = below("decoder-only")
    chosen = composed(folder, "decoder-only", parts, method)
    base = loaded(chosen)
    attached = attach_adapter(base, chosen, seed=4)
    wanted = hidden_of(attached.model)
    attached.save(tmp_path / "first")
    attached.detach()
    names = set(load_file(tmp_path / "first" / ADAPTER_WEIGHTS))
    assert not [name for name in names if "default" in name]
    named: Any = PeftModel.from_pretrained(base.model, str(tmp_path / "first"), adapter_name="java")
    assert torch.equal(hidden_of(named), wanted)
    named.save_pretrained(str(tmp_path / "again"))
    assert set(load_file(tmp_path / "again" / "java" / ADAPTER_WEIGHTS)) == names


def test_what_a_composed_adapter_needs_is_named_when_it_lacks(below: Any) -> None:
    folder, parts = below("encoder-only")
    base = loaded(composed(folder, "encoder-only", (), "lora"))
    for method, given, said in (
        ("adapter-stack", (), "adapter-stack is made of trained adapters, 1 or more, and none are named"),
        ("adapter-fusion", parts[:1], "adapter-fusion is made of trained adapters, 2 or more, and 1 are named"),
        ("lora", parts, "lora is not made of trained adapters, and 2 are named"),
    ):
        with pytest.raises(UnsupportedCandidateError, match=said):
            build_config(composed(folder, "encoder-only", given, method), base)
    for name in ("adapters", "trained"):
        with pytest.raises(UnsupportedCandidateError, match=f"has no hyperparameter '{name}'"):
            build_config(composed(folder, "encoder-only", parts, "adapter-stack", **{name: []}), base)


def test_adapters_that_were_trained_anew_are_not_built_on(base_folder: Callable[..., Path], tmp_path: Path) -> None:
    folder = base_folder("encoder-only")
    trained = train_adapter(folder, "encoder-only", tmp_path / "part")
    chosen = composed(folder, "encoder-only", parts_of(trained), "adapter-stack")
    base = loaded(chosen)
    train_adapter(folder, "encoder-only", trained, seed=1)
    with pytest.raises(UnsupportedCandidateError, match=r"is another one than when the study began"):
        attach_adapter(base, chosen, seed=0)
