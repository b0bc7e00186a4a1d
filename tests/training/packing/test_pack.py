"""A trial in a pack trains as it would alone with PEFT, whoever its neighbours are."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file

from advisor.candidates import Candidate
from advisor.catalog.methods import LORA_FAMILY
from advisor.modeling.attachment import ADAPTER_WEIGHTS
from advisor.spec import Architecture
from advisor.training.loop import NonFiniteLossError
from advisor.training.packing.pack import Pack, pack_key
from tests.training.packing.trainings import alone, packed, parameters_of, training_on
from tests.training.toy import COMMENTS, MORE_SUPPORTED, SETTINGS, SUPPORTED, TASKS, base_for, candidate

pytestmark = pytest.mark.slow  # together more than the fast part can take

BaseFolder = Callable[..., Path]
N_STEPS = 6
# Attention does not change when all keys move by one vector: the gradient of these biases is zero but for rounding,
# which Adam scales up to the learning rate.
WITHOUT_GRADIENT = (".k.beft_bias", ".key.beft_bias", ".k_proj.beft_bias")
PACKED = [
    kind
    for kind in SUPPORTED
    if kind[0] != "full"
    and not (kind[0] in ("prompt-tuning", "p-tuning") and kind[1:] == ("clone-detection", "decoder-only"))
]
# Their keys stand in the attention of all rows, so packs are of one kind.
ALONE_OF_THEIR_KIND = frozenset({"mam"})
NEVER_PACKED = frozenset({"adalora", "layer-freezing", "llama-adapter", "olora", "pissa", "pvera"})
# The rest is slow in sum, not one by one.
ALL = [
    pytest.param(
        kind, marks=() if kind[0] == "lora" or kind[2] == "encoder-only" else pytest.mark.slow, id="-".join(kind)
    )
    for kind in PACKED
]
ALL_SETTINGS = [
    pytest.param(*setting, marks=() if number % 2 == 0 else pytest.mark.slow, id="-".join(setting))
    for number, setting in enumerate(SETTINGS)
]


def variants(folder: Path, architecture: Architecture, method: str) -> list[Candidate]:
    """Three trials of a method that differ in all that trials of a pack may differ in."""
    if method in LORA_FAMILY:
        return [
            candidate(folder, architecture, method, lora_dropout=0.1),
            candidate(folder, architecture, method, r=2, lora_alpha=16, lora_dropout=0.0, learning_rate=3e-3),
            candidate(folder, architecture, method, r=8, lora_dropout=0.3, warmup_ratio=0.5, weight_decay=0.1),
        ]
    return [
        candidate(folder, architecture, method),
        candidate(folder, architecture, method, learning_rate=3e-3, lr_scheduler_type="cosine"),
        candidate(folder, architecture, method, warmup_ratio=0.5, weight_decay=0.1),
    ]


def assert_same(
    solo: list[Any], pack: list[Any], solo_losses: list[list[float]], losses: list[list[float]], atol: float = 2e-5
) -> None:
    for expected, found in zip(solo_losses, losses, strict=True):
        assert found == pytest.approx(expected, rel=2e-6, abs=2e-6)
    for one, other in zip(solo, pack, strict=True):
        expected_values, values = parameters_of(one), parameters_of(other)
        assert values.keys() == expected_values.keys()
        for name, value in values.items():
            if not any(part in name for part in WITHOUT_GRADIENT):
                torch.testing.assert_close(value, expected_values[name], rtol=1e-4, atol=atol, msg=name)


@pytest.mark.parametrize("kind", ALL)
def test_every_method_trains_in_a_pack_as_it_does_alone(kind: tuple[str, str, Any], base_folder: BaseFolder) -> None:
    method, task_name, architecture = kind
    task = TASKS[task_name]
    chosen = variants(base_folder(architecture), architecture, method)
    base = base_for(chosen[0], task)
    solo, solo_losses = alone(base, chosen, task, N_STEPS)
    _, together, losses = packed(base, chosen, task, N_STEPS)
    # LoRA drifts on the encoder-decoder (`studies/packing_equality`): a hundredth of one step of Adam, where processors
    # that sum in another order leave up to 3e-5.
    atol = 1e-4 if (method, architecture) == ("lora", "encoder-decoder") else 2e-5
    assert_same(solo, together, solo_losses, losses, atol)
    assert len(set(solo_losses[0])) == N_STEPS


OURS = ("adapter-houlsby", "adapter-pfeiffer", "adapter-parallel", "compacter", "mam", "ff-lora-adapter", "ff-lora")
MORE = [
    pytest.param(kind, id="-".join(kind), marks=() if kind[0] in {*OURS, *NEVER_PACKED} else pytest.mark.heavy)
    for kind in MORE_SUPPORTED
]


@pytest.mark.parametrize("kind", MORE)
def test_the_other_methods_train_in_a_pack_too(kind: tuple[str, str, Any], base_folder: BaseFolder) -> None:
    method, task_name, architecture = kind
    task, folder = TASKS[task_name], base_folder(architecture)
    # Beside a method that changes other modules, where they may share passes at all.
    chosen = [*variants(folder, architecture, method)[:2], candidate(folder, architecture, "lora", lora_dropout=0.1)]
    if method in ALONE_OF_THEIR_KIND:
        chosen.pop()
    base = base_for(chosen[0], task)
    if method in NEVER_PACKED:
        assert (
            pack_key(training_on(base, chosen[0], task, seed=0, n_steps=1).attached, gradient_checkpointing=False)
            is None
        )
        return
    solo, solo_losses = alone(base, chosen, task, N_STEPS)
    _, together, losses = packed(base, chosen, task, N_STEPS)
    assert_same(solo, together, solo_losses, losses)


@pytest.mark.parametrize("architecture", ["decoder-only", "encoder-decoder"])
def test_sets_of_labels_are_learned_in_a_pack_as_alone_on_every_architecture(
    architecture: Architecture, base_folder: BaseFolder
) -> None:
    folder = base_folder(architecture)
    chosen = [
        candidate(folder, architecture, "lora", lora_dropout=0.1, batch_size=4),
        replace(candidate(folder, architecture, "lora", r=2, learning_rate=3e-3), micro_batch_size=3),
    ]
    base = base_for(chosen[0], COMMENTS)
    solo, solo_losses = alone(base, chosen, COMMENTS, 3)
    _, together, losses = packed(base, chosen, COMMENTS, 3)
    assert_same(solo, together, solo_losses, losses)


@pytest.mark.slow
@pytest.mark.parametrize(("task_name", "architecture"), SETTINGS, ids=map("-".join, SETTINGS))
def test_fifty_steps_leave_no_drift(task_name: str, architecture: Architecture, base_folder: BaseFolder) -> None:
    task = TASKS[task_name]
    chosen = [replace(one, batch_size=4) for one in variants(base_folder(architecture), architecture, "lora")]
    base = base_for(chosen[0], task)
    _, solo_losses = alone(base, chosen, task, 50)
    _, _, losses = packed(base, chosen, task, 50)
    for expected, found in zip(solo_losses, losses, strict=True):
        assert found == pytest.approx(expected, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize(("task_name", "architecture"), ALL_SETTINGS)
def test_methods_ranks_batch_sizes_and_accumulation_may_differ_within_a_pack(
    task_name: str, architecture: Architecture, base_folder: BaseFolder
) -> None:
    task, folder = TASKS[task_name], base_folder(architecture)
    chosen = [
        candidate(folder, architecture, "lora", lora_dropout=0.2, batch_size=4),
        replace(candidate(folder, architecture, "rslora", r=2), micro_batch_size=3),
        candidate(folder, architecture, "ia3", batch_size=2),
        candidate(folder, architecture, "layernorm-tuning"),
        candidate(folder, architecture, "dora", batch_size=5),
        candidate(folder, architecture, "lora", target_modules="all-linear", batch_size=4),
    ]
    base = base_for(chosen[0], task)
    solo, solo_losses = alone(base, chosen, task, N_STEPS)
    _, together, losses = packed(base, chosen, task, N_STEPS)
    assert_same(solo, together, solo_losses, losses)


@pytest.mark.parametrize(("task_name", "architecture"), ALL_SETTINGS)
def test_a_diverging_trial_changes_no_bit_of_its_neighbours(
    task_name: str, architecture: Architecture, base_folder: BaseFolder
) -> None:
    task, folder = TASKS[task_name], base_folder(architecture)
    calm = candidate(folder, architecture, "lora", lora_dropout=0.1)
    others = [calm, candidate(folder, architecture, "lora", r=8, learning_rate=3e-3)]
    base = base_for(calm, task)
    _, expected, expected_losses = packed(base, [*others, calm], task, N_STEPS)
    wild = replace(calm, hyperparameters={**calm.hyperparameters, "learning_rate": 1e30})
    failures, found, losses = packed(base, [*others, wild], task, N_STEPS)
    assert list(failures) == [2]
    assert isinstance(failures[2], NonFiniteLossError)
    assert len(losses[2]) < N_STEPS
    assert losses[:2] == expected_losses[:2]
    for one, other in zip(expected[:2], found[:2], strict=True):
        for name, value in parameters_of(other).items():
            assert torch.equal(value, parameters_of(one)[name]), name


def test_a_trial_does_not_depend_on_who_is_in_its_pack(base_folder: BaseFolder) -> None:
    task = TASKS["clone-detection"]
    folder = base_folder("encoder-only")
    one = candidate(folder, "encoder-only", "lora", lora_dropout=0.3, batch_size=4)
    base = base_for(one, task)
    _, _, with_two = packed(base, [one, one, one], task, N_STEPS)
    longer = candidate(folder, "encoder-only", "lora", batch_size=16)  # other rows, so other padding for all
    _, _, with_others = packed(base, [one, longer], task, N_STEPS)
    assert with_others[0] == pytest.approx(with_two[0], rel=1e-5)


def test_what_a_pack_exports_is_an_ordinary_adapter(base_folder: BaseFolder, tmp_path: Path) -> None:
    task, folder = TASKS["code-summarization"], base_folder("decoder-only")
    chosen = [candidate(folder, "decoder-only", "lora", r=rank) for rank in (2, 8)]
    base = base_for(chosen[0], task)
    _, trainings, _ = packed(base, chosen, task, N_STEPS)
    for number, (training, rank) in enumerate(zip(trainings, (2, 8), strict=True)):
        training.attached.save(tmp_path / str(number))
        saved = load_file(tmp_path / str(number) / ADAPTER_WEIGHTS)
        assert {min(tensor.shape) for tensor in saved.values()} == {rank}
        fresh = PeftModel.from_pretrained(base_for(chosen[0], task).model, str(tmp_path / str(number)))
        training.attached.model.eval()
        ids = torch.tensor([[5, 6, 7, 8]])
        with torch.no_grad():
            torch.testing.assert_close(fresh.eval()(ids).logits, training.attached.model(ids).logits)


@pytest.mark.parametrize("fits", [2, 1])
def test_a_pack_that_runs_out_of_memory_goes_on_in_smaller_passes(
    fits: int, base_folder: BaseFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = TASKS["clone-detection"]
    chosen = [candidate(base_folder("encoder-only"), "encoder-only", "lora", r=rank) for rank in (2, 4, 8)]
    base = base_for(chosen[0], task)
    solo, solo_losses = alone(base, chosen, task, N_STEPS)
    run, sizes = Pack._pass, []

    def limited(pack: Pack, numbers: Any) -> None:
        sizes.append(len(numbers))
        run(pack, numbers)
        if len(numbers) > fits:
            raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Pack, "_pass", _before_update(limited, fits))
    _, together, losses = packed(base, chosen, task, N_STEPS)
    assert_same(solo, together, solo_losses, losses)
    assert sizes[0] == 3
    assert max(sizes[1:], default=0) <= 2


def _before_update(limited: Any, fits: int) -> Any:
    """Let the memory run out after the backward pass, before anything is updated."""

    def step(pack: Pack, numbers: Any) -> None:
        if len(numbers) <= fits:
            limited(pack, numbers)
            return
        update, pack._update = pack._update, lambda numbers: None  # type: ignore[method-assign]
        try:
            limited(pack, numbers)
        finally:
            pack._update = update  # type: ignore[method-assign]

    return step


@pytest.mark.parametrize(
    ("change", "packs"),
    [({}, True), ({"method": "full"}, False), ({"gradient_checkpointing": True}, False)],
)
def test_only_what_leaves_the_base_model_alone_is_packed(
    change: dict[str, Any], packs: bool, base_folder: BaseFolder
) -> None:
    task = TASKS["clone-detection"]
    folder = base_folder("encoder-only")
    method = change.pop("method", "lora")
    chosen = replace(candidate(folder, "encoder-only", method), **change)
    training = training_on(base_for(chosen, task), chosen, task, seed=0, n_steps=1)
    key = pack_key(training.attached, gradient_checkpointing=chosen.gradient_checkpointing)
    assert (key is not None) is packs
