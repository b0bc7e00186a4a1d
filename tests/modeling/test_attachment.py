"""One behaviour suite for all methods on all heads: attach, change, save, load, detach."""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file

from advisor.candidates import WITHOUT_CHECKPOINTING, Candidate
from advisor.catalog.base_models import find_base_model
from advisor.catalog.methods import find_method
from advisor.catalog.tasks import Head, find_task
from advisor.errors import DataError
from advisor.feasibility.trainable import trainable_params
from advisor.modeling.adapters import UnsupportedCandidateError
from advisor.modeling.attachment import AttachedModel, attach_adapter, load_adapter, untuned
from advisor.modeling.base import BaseModel, load_base_model, request_for
from advisor.spec import Architecture
from tests.training.methods import NEAR_THE_BASE_MODEL, NOT_AT_THE_BASE_MODEL
from tests.training.toy import MORE_SUPPORTED, SETTINGS, SUPPORTED, UNSUPPORTED, candidate

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
# A head whose formula has no classifier of its own.
# A method that nobody is recommended is tried on one architecture in a quick run.
MORE = [
    (kind, (pytest.mark.slow,) if find_method(kind[0]).on_request and kind[2] != "encoder-only" else ())
    for kind in MORE_SUPPORTED
]
UNHEADED: dict[Architecture, Head] = {
    "encoder-only": "causal-lm", "encoder-decoder": "seq2seq-lm", "decoder-only": "causal-lm",
}  # fmt: skip
RATES: dict[str, float] = {}
LABELS = ("no", "perhaps", "yes")
HEADS = {"encoder-only": "classifier", "decoder-only": "score", "encoder-decoder": "classification_head"}


@pytest.fixture(scope="module")
def base_of(base_folder: Callable[..., Path]) -> Callable[[str, Architecture], BaseModel]:
    loaded: dict[tuple[str, Architecture], BaseModel] = {}

    def base(task: str, architecture: Architecture) -> BaseModel:
        key = task, architecture
        if key not in loaded:
            request = request_for(candidate(base_folder(architecture), architecture), find_task(task), LABELS, CPU)
            loaded[key] = load_base_model(request, CPU)
        return loaded[key]

    return base


def fingerprint(base: BaseModel) -> str:
    """Hash everything that a trial could leave behind on a base model."""
    digest = hashlib.sha256()
    for name, tensor in base.model.state_dict().items():
        digest.update(name.encode() + tensor.numpy().tobytes())
    for name, module in base.model.named_modules():
        hooks = len(module._forward_hooks) + len(module._forward_pre_hooks) + len(module._backward_hooks)
        digest.update(f"{name} {type(module)} {hooks} {module.training} {sorted(vars(module))}".encode())
    for name, parameter in base.model.named_parameters():
        digest.update(f"{name} {parameter.requires_grad} {parameter.grad is None}".encode())
    digest.update(json.dumps(base.model.config.to_dict(), sort_keys=True, default=str).encode())
    return digest.hexdigest()


def batch(base: BaseModel) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(10, 300, (4, 12), generator=generator)
    if base.request.architecture == "encoder-decoder":
        ids[:, -1] = base.tokenizer.eos_token_id or 0
    classes = torch.tensor([0, 1, 2, 1])
    labels = classes if base.request.label_names else ids.clone()
    if base.request.is_multi_label:
        labels = torch.eye(3)[classes]
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}


def logits(attached: AttachedModel) -> torch.Tensor:
    attached.model.eval()
    with torch.no_grad():
        outputs: Any = attached.model(**batch(attached.base))
    return outputs.logits


def train_three_steps(attached: AttachedModel) -> None:
    optimizer = torch.optim.AdamW(attached.trainable_parameters, lr=1e-2)
    attached.model.train()
    for _ in range(3):
        outputs: Any = attached.model(**batch(attached.base))
        outputs.loss.backward()
        optimizer.step()
        optimizer.zero_grad()


@pytest.fixture(params=[*SUPPORTED, *(pytest.param(kind, marks=marks) for kind, marks in MORE)], ids="-".join)
def trained(
    request: pytest.FixtureRequest, base_of: Callable[..., BaseModel], base_folder: Callable[..., Path]
) -> Iterator[tuple[AttachedModel, str]]:
    """A trained adapter of every kind, and the fingerprint of its base model before."""
    method, task, architecture = request.param
    base = base_of(task, architecture)
    before = fingerprint(base)
    attached = attach_adapter(base, candidate(base_folder(architecture), architecture, method), seed=5)
    start = [parameter.detach().clone() for parameter in attached.trainable_parameters]
    train_three_steps(attached)
    changed = [not torch.equal(old, new) for old, new in zip(start, attached.trainable_parameters, strict=True)]
    assert any(changed), "nothing was trained"
    yield attached, before
    if attached.model is not base.model or fingerprint(base) != before:
        attached.detach()


def test_an_adapter_survives_saving_and_the_base_model_survives_the_adapter(
    trained: tuple[AttachedModel, str], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    attached, before = trained
    base = attached.base
    method, _, architecture = request.node.callspec.params["trained"]
    wanted = logits(attached)
    attached.save(tmp_path / "saved")
    assert attached.detach()
    assert fingerprint(base) == before

    loaded = load_adapter(base, candidate(Path(base.source), architecture, method), tmp_path / "saved")
    assert torch.equal(logits(loaded), wanted)
    assert loaded.detach()
    assert fingerprint(base) == before

    names = {path.name for path in (tmp_path / "saved").iterdir()}
    assert {"tokenizer.json", "tokenizer_config.json"} <= names
    assert not [name for name in names if name.endswith((".bin", ".pt", ".pth", ".pkl"))]
    if method != "full":
        settings = json.loads((tmp_path / "saved" / "adapter_config.json").read_text())
        assert settings["base_model_name_or_path"] == base.source


@pytest.mark.parametrize(("method", "task", "architecture"), SUPPORTED, ids=map("-".join, SUPPORTED))
def test_only_adapter_and_head_are_trainable(
    method: str,
    task: str,
    architecture: Architecture,
    base_of: Callable[..., BaseModel],
    base_folder: Callable[..., Path],
) -> None:
    base = base_of(task, architecture)
    attached = attach_adapter(base, candidate(base_folder(architecture), architecture, method), seed=5)
    names = [name for name, parameter in attached.model.named_parameters() if parameter.requires_grad]
    n_parameters = len(list(attached.model.parameters()))
    attached.detach()
    if method == "full":
        assert len(names) == n_parameters
        return
    marks = {
        "ia3": "ia3_", "bitfit": "bitfit_", "layernorm-tuning": "ln_tuning_", "prompt-tuning": "prompt_encoder",
        "prefix-tuning": "prompt_encoder", "p-tuning": "prompt_encoder",
    }  # fmt: skip
    mark = marks.get(method, "lora_")
    in_head = [name for name in names if f"{HEADS[architecture]}.modules_to_save" in name]
    assert bool(in_head) == bool(base.head_modules)
    assert len(names) > len(in_head)
    assert all(mark in name for name in names if name not in in_head)
    assert not [name for name in in_head if mark in name], "the head itself was adapted"


def loss(attached: AttachedModel) -> float:
    attached.model.eval()
    with torch.no_grad():
        outputs: Any = attached.model(**batch(attached.base))
    return float(outputs.loss)


@pytest.mark.parametrize(
    ("method", "task", "architecture"),
    [pytest.param(*kind, id="-".join(kind), marks=marks) for kind, marks in MORE],
)
def test_a_method_starts_where_it_should_trains_what_the_formula_counts_and_learns(
    method: str,
    task: str,
    architecture: Architecture,
    base_of: Callable[..., BaseModel],
    base_folder: Callable[..., Path],
) -> None:
    base = base_of(task, architecture)
    chosen = candidate(base_folder(architecture), architecture, method)
    plain = untuned(base, seed=5)
    before = logits(plain)
    plain.detach()
    attached = attach_adapter(base, chosen, seed=5)
    try:
        if method not in NOT_AT_THE_BASE_MODEL:
            near = 0.05 if method in NEAR_THE_BASE_MODEL else 1e-5
            assert logits(attached) == pytest.approx(before, abs=near)
        in_head = [p for n, p in attached.model.named_parameters() if p.requires_grad and HEADS[architecture] in n]
        counted = sum(parameter.numel() for parameter in attached.trainable_parameters)
        model = find_base_model(base.source)
        estimated = trainable_params(method, chosen.hyperparameters, model, UNHEADED[architecture])
        assert counted - sum(parameter.numel() for parameter in in_head) == estimated

        first = loss(attached)
        optimizer = torch.optim.AdamW(attached.trainable_parameters, lr=RATES.get(method, 1e-2))
        attached.model.train()
        torch.manual_seed(5)  # of dropout
        for _ in range(6):
            outputs: Any = attached.model(**batch(base))
            outputs.loss.backward()
            without = [n for n, p in attached.model.named_parameters() if p.requires_grad and p.grad is None]
            assert not without
            optimizer.step()
            optimizer.zero_grad()
        assert loss(attached) < first
    finally:
        intact = attached.detach()
    assert intact


@pytest.mark.parametrize(("method", "task", "architecture"), UNSUPPORTED, ids=map("-".join, UNSUPPORTED))
def test_what_cannot_be_trained_is_refused_and_leaves_no_trace(
    method: str,
    task: str,
    architecture: Architecture,
    base_of: Callable[..., BaseModel],
    base_folder: Callable[..., Path],
) -> None:
    base = base_of(task, architecture)
    before = fingerprint(base)
    with pytest.raises(UnsupportedCandidateError, match=UNSUPPORTED[method, task, architecture]):
        attach_adapter(base, candidate(base_folder(architecture), architecture, method), seed=0)
    assert fingerprint(base) == before


def test_a_failure_inside_peft_is_refused_and_leaves_no_trace(
    base_of: Callable[..., BaseModel], base_folder: Callable[..., Path]
) -> None:
    base = base_of("clone-detection", "encoder-only")
    before = fingerprint(base)
    wrong = candidate(base_folder("encoder-only"), "encoder-only", "lora", target_modules=["no_such_layer"])
    with pytest.raises(UnsupportedCandidateError, match="target_modules"):
        attach_adapter(base, wrong, seed=0)
    assert fingerprint(base) == before


@pytest.mark.parametrize("architecture", ["encoder-only", "decoder-only", "encoder-decoder"])
def test_a_saved_classifier_has_its_head_and_the_names_of_its_classes(
    architecture: Architecture, base_of: Callable[..., BaseModel], base_folder: Callable[..., Path], tmp_path: Path
) -> None:
    base = base_of("clone-detection", architecture)
    attached = attach_adapter(base, candidate(base_folder(architecture), architecture), seed=0)
    attached.save(tmp_path / "saved")
    attached.detach()
    assert any(HEADS[architecture] in name for name in load_file(tmp_path / "saved" / "adapter_model.safetensors"))
    config = json.loads((tmp_path / "saved" / "config.json").read_text())
    assert config["id2label"] == {"0": "no", "1": "perhaps", "2": "yes"}


@pytest.mark.parametrize(("task", "architecture"), SETTINGS, ids=map("-".join, SETTINGS))
def test_the_seed_alone_decides_the_first_weights(
    task: str, architecture: Architecture, base_of: Callable[..., BaseModel], base_folder: Callable[..., Path]
) -> None:
    base = base_of(task, architecture)
    first = []
    for seed in (1, 1, 2):
        torch.rand(3)  # the caller's random numbers do not matter, and are not moved:
        before = torch.get_rng_state()
        attached = attach_adapter(base, candidate(base_folder(architecture), architecture), seed=seed)
        assert torch.equal(torch.get_rng_state(), before)
        first.append(torch.cat([parameter.detach().flatten() for parameter in attached.trainable_parameters]))
        attached.detach()
    assert torch.equal(first[0], first[1])
    assert not torch.equal(first[0], first[2])


def test_an_untuned_classifier_has_a_head_by_seed_and_goes_back(base_of: Callable[..., BaseModel]) -> None:
    base = base_of("clone-detection", "encoder-only")
    before = fingerprint(base)
    found = []
    for seed in (1, 1, 2):
        attached = untuned(base, seed=seed)
        found.append(logits(attached))
        assert attached.detach()
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    assert fingerprint(base) == before


def test_a_base_model_whose_frozen_weights_were_written_is_reported(
    base_folder: Callable[..., Path],
) -> None:
    request = request_for(
        candidate(base_folder("encoder-only"), "encoder-only"), find_task("clone-detection"), LABELS, CPU
    )
    base = load_base_model(request, CPU)
    attached = attach_adapter(base, candidate(base_folder("encoder-only"), "encoder-only"), seed=0)
    with torch.no_grad():
        base.model.get_input_embeddings().weight.add_(1)
    assert not attached.detach()


def test_a_saved_folder_replaces_an_older_one(
    base_of: Callable[..., BaseModel], base_folder: Callable[..., Path], tmp_path: Path
) -> None:
    base = base_of("clone-detection", "encoder-only")
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "old.txt").write_text("old")
    attached = attach_adapter(base, candidate(base_folder("encoder-only"), "encoder-only"), seed=0)
    attached.save(tmp_path / "saved")
    attached.detach()
    assert not (tmp_path / "saved" / "old.txt").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]


@pytest.mark.parametrize("damage", ["missing", "truncated", "weights left out"])
def test_a_damaged_adapter_is_refused_in_one_line_and_leaves_no_trace(
    damage: str, base_of: Callable[..., BaseModel], base_folder: Callable[..., Path], tmp_path: Path
) -> None:
    base = base_of("clone-detection", "encoder-only")
    chosen = candidate(base_folder("encoder-only"), "encoder-only")
    attached = attach_adapter(base, chosen, seed=0)
    attached.save(tmp_path / "saved")
    attached.detach()
    before = fingerprint(base)
    weights = tmp_path / "saved" / "adapter_model.safetensors"
    if damage == "missing":
        weights.unlink()
    elif damage == "truncated":
        weights.write_bytes(weights.read_bytes()[:1000])
    else:
        from safetensors.torch import save_file

        save_file({name: value for name, value in load_file(weights).items() if "layer.1" not in name}, weights)
    with pytest.raises(DataError) as caught:
        load_adapter(base, chosen, tmp_path / "saved")
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "saved") in str(caught.value)
    assert fingerprint(base) == before


def test_trainable_weights_are_float32_on_a_half_precision_base(
    base_folder: Callable[..., Path],
) -> None:
    request = request_for(
        candidate(base_folder("decoder-only"), "decoder-only"), find_task("clone-detection"), LABELS, CPU
    )
    base = load_base_model(request, CPU)
    base.model.to(torch.bfloat16)
    attached = attach_adapter(base, candidate(base_folder("decoder-only"), "decoder-only"), seed=0)
    assert isinstance(attached.model, PeftModel)
    assert {parameter.dtype for parameter in attached.trainable_parameters} == {torch.float32}
    frozen = {parameter.dtype for parameter in attached.model.parameters() if not parameter.requires_grad}
    assert frozen == {torch.bfloat16}


def gradients(
    base: BaseModel, chosen: Candidate, *, steps: int = 1
) -> tuple[list[float], list[torch.Tensor], torch.Tensor, int]:
    """Train a fresh adapter; return losses, last gradients, random state afterwards and bytes kept in the last step."""
    attached = attach_adapter(base, chosen, seed=5)
    optimizer = torch.optim.AdamW(attached.trainable_parameters, lr=1e-2)
    attached.model.train()
    kept: dict[int, int] = {}
    losses: list[float] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.layout is torch.strided:  # SHiRA keeps a sparse one
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        for _ in range(steps):
            optimizer.zero_grad()
            kept.clear()
            with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
                loss: Any = attached.model(**batch(base), **attached.forward_options).loss
            loss.backward()
            losses.append(loss.item())
            optimizer.step()
        random_state = torch.get_rng_state()
    found = [parameter.grad for parameter in attached.trainable_parameters if parameter.grad is not None]
    assert attached.detach()
    return losses, found, random_state, sum(kept.values())


CHECKPOINTED = tuple(kind for kind in SUPPORTED if kind[0] not in WITHOUT_CHECKPOINTING)
MORE_CHECKPOINTED = tuple(kind for kind in MORE_SUPPORTED if kind[0] not in WITHOUT_CHECKPOINTING)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize(("task", "architecture"), SETTINGS, ids=map("-".join, SETTINGS))
def test_checkpointing_changes_memory_but_neither_losses_nor_gradients_nor_random_numbers_of_lora(
    task: str, architecture: Architecture, dropout: float, base_of: Callable[..., BaseModel]
) -> None:
    base = base_of(task, architecture)
    chosen = candidate(Path(base.source), architecture, "lora", lora_dropout=dropout)
    losses, plain, random_state, n_bytes = gradients(base, chosen, steps=3)
    again, checkpointed, random_state_again, fewer_bytes = gradients(
        base, replace(chosen, gradient_checkpointing=True), steps=3
    )
    assert again == losses
    assert len(plain) == len(checkpointed) > 0
    assert all(torch.equal(one, other) for one, other in zip(plain, checkpointed, strict=True))
    assert torch.equal(random_state, random_state_again)
    # Two layers and the head on top of them: of the layers only the inputs are left.
    assert fewer_bytes < n_bytes / 2


@pytest.mark.parametrize(
    ("method", "task", "architecture"),
    [
        *(pytest.param(*kind, id="-".join(kind)) for kind in CHECKPOINTED),
        *(pytest.param(*kind, id="-".join(kind), marks=pytest.mark.heavy) for kind in MORE_CHECKPOINTED),
    ],
)
def test_every_method_has_the_same_gradients_with_checkpointing_and_leaves_no_trace(
    method: str, task: str, architecture: Architecture, base_of: Callable[..., BaseModel]
) -> None:
    base = base_of(task, architecture)
    before = fingerprint(base)
    chosen = candidate(Path(base.source), architecture, method)
    losses, checkpointed, _, fewer_bytes = gradients(base, replace(chosen, gradient_checkpointing=True))
    assert fingerprint(base) == before
    again, plain, _, n_bytes = gradients(base, chosen)
    assert again == losses
    assert all(torch.equal(one, other) for one, other in zip(plain, checkpointed, strict=True))
    assert fewer_bytes < n_bytes


@pytest.mark.parametrize("architecture", ["encoder-only", "decoder-only", "encoder-decoder"])
def test_a_candidate_after_a_checkpointed_one_trains_as_on_a_fresh_base_model(
    architecture: Architecture, base_folder: Callable[..., Path]
) -> None:
    chosen = candidate(base_folder(architecture), architecture, "lora", lora_dropout=0.2)
    request = request_for(chosen, find_task("clone-detection"), LABELS, CPU)
    fresh, used = load_base_model(request, CPU), load_base_model(request, CPU)
    gradients(used, replace(chosen, gradient_checkpointing=True), steps=3)
    gradients(used, replace(candidate(base_folder(architecture), architecture, "full"), gradient_checkpointing=True))
    assert not used.model.is_activation_checkpointing
    on_used, on_fresh = gradients(used, chosen, steps=3), gradients(fresh, chosen, steps=3)
    assert on_used[0] == on_fresh[0]
    assert all(torch.equal(one, other) for one, other in zip(on_used[1], on_fresh[1], strict=True))
    assert on_used[3] == on_fresh[3], "other tensors are kept than on a fresh base model"
    assert fingerprint(used) == fingerprint(fresh)


@pytest.mark.parametrize("architecture", ["decoder-only", "encoder-decoder"])
def test_generation_keeps_its_cache_while_a_checkpointed_adapter_is_attached(
    architecture: Architecture, base_of: Callable[..., BaseModel]
) -> None:
    base = base_of("code-summarization", architecture)
    chosen = candidate(Path(base.source), architecture, "lora")
    said = []
    for checkpointing in (False, True):
        attached = attach_adapter(base, replace(chosen, gradient_checkpointing=checkpointing), seed=5)
        train_three_steps(attached)
        attached.model.eval()
        inputs = {name: tensor for name, tensor in batch(base).items() if name != "labels"}
        model: Any = attached.model
        with torch.no_grad():
            said.append(model.generate(**inputs, max_new_tokens=5, do_sample=False))
            assert model(**batch(base), use_cache=True).past_key_values.get_seq_length() > 0
        attached.detach()
    assert torch.equal(said[0], said[1])


@pytest.mark.parametrize("task", ["clone-detection", "code-summarization"])
def test_prefixes_with_checkpointing_are_refused_in_one_line(task: str, base_of: Callable[..., BaseModel]) -> None:
    base = base_of(task, "decoder-only")
    before = fingerprint(base)
    chosen = candidate(Path(base.source), "decoder-only", "prefix-tuning")
    with pytest.raises(UnsupportedCandidateError, match=r"^prefix-tuning does not work with gradient checkpointing"):
        attach_adapter(base, replace(chosen, gradient_checkpointing=True), seed=0)
    assert fingerprint(base) == before


def test_a_model_without_checkpointing_is_refused_in_one_line(
    base_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = replace(candidate(base_folder("encoder-only"), "encoder-only"), gradient_checkpointing=True)
    base = load_base_model(request_for(chosen, find_task("clone-detection"), LABELS, CPU), CPU)
    before = fingerprint(base)
    with monkeypatch.context() as patched:
        patched.setattr(type(base.model), "supports_gradient_checkpointing", False)
        with pytest.raises(UnsupportedCandidateError, match="has no gradient checkpointing") as caught:
            attach_adapter(base, chosen, seed=0)
    assert "\n" not in str(caught.value)
    assert fingerprint(base) == before


def test_a_failure_after_checkpointing_was_switched_on_leaves_no_trace(base_of: Callable[..., BaseModel]) -> None:
    base = base_of("clone-detection", "encoder-only")
    before = fingerprint(base)
    wrong = candidate(Path(base.source), "encoder-only", "lora", target_modules=["no_such_layer"])
    with pytest.raises(UnsupportedCandidateError, match="target_modules"):
        attach_adapter(base, replace(wrong, gradient_checkpointing=True), seed=0)
    assert fingerprint(base) == before
    assert not base.model.is_activation_checkpointing
