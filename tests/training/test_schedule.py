"""Every parameter gets the rate and the weight decay that its method wants, LoRA+ those of PEFT's own optimizer."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft.optimizers import create_loraplus_optimizer

from advisor.candidates import Candidate
from advisor.modeling.adapters import UnsupportedCandidateError
from advisor.modeling.attachment import AttachedModel, attach_adapter
from advisor.spec import Architecture
from advisor.training.batches import collate, training_batches
from advisor.training.loop import CLIP_NORM, Training
from advisor.training.schedule import Schedule, parameter_groups
from tests.training.packing.trainings import DATA_SEED, alone, packed, parameters_of, training_on
from tests.training.toy import TASKS, base_for, candidate, tokenized

pytestmark = pytest.mark.slow

BaseFolder = Callable[..., Path]
N_STEPS = 8
RATE, RATIO = 1e-3, 8.0


def attached_for(chosen: Candidate, task_name: str, seed: int = 0) -> AttachedModel:
    return attach_adapter(base_for(chosen, TASKS[task_name]), chosen, seed=seed)


def rates_of(attached: AttachedModel, schedule: Schedule) -> dict[str, float]:
    """Return the learning rate of every trained parameter by its name."""
    names = {id(value): name for name, value in attached.model.named_parameters()}
    groups: Any = parameter_groups(attached, schedule)
    return {names[id(value)]: group["lr"] for group in groups for value in group["params"]}


def without_dropout(module: torch.nn.Module) -> None:
    if isinstance(module, torch.nn.Dropout):
        module.p = 0.0
    elif isinstance(getattr(module, "dropout", None), float):  # T5's attention has a number of its own
        module.dropout = 0.0


def by_peft(chosen: Candidate, task_name: str, decay: float) -> dict[str, torch.Tensor]:
    """Train by a loop written out, with PEFT's LoRA+ optimizer around PyTorch's AdamW and a constant rate."""
    task = TASKS[task_name]
    attached = attached_for(chosen, task_name)
    attached.model.train().apply(without_dropout)
    optimizer = create_loraplus_optimizer(
        attached.model, torch.optim.AdamW, lr=RATE, loraplus_lr_ratio=RATIO, loraplus_weight_decay=decay
    )  # type: ignore[arg-type]
    rows = tokenized(attached, task).rows
    order = training_batches([len(row.input_ids) for row in rows], chosen.batch_size, DATA_SEED)
    for _ in range(N_STEPS):
        picked = [rows[number] for number in next(order)]
        batch = collate(picked, attached.base.tokenizer, attached.base.request.head, side="right")
        attached.model(**batch, **attached.forward_options).loss.backward()
        torch.nn.utils.clip_grad_norm_(attached.trainable_parameters, CLIP_NORM)
        optimizer.step()
        optimizer.zero_grad()
    return {name: value.detach() for name, value in attached.model.named_parameters() if value.requires_grad}


def assert_equal(found: Any, expected: dict[str, torch.Tensor], atol: float) -> None:
    assert found.keys() == expected.keys()
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name], rtol=1e-6, atol=atol, msg=name)


@pytest.mark.parametrize(
    ("method", "task_name", "architecture", "decay"),
    [
        ("lora-plus", "clone-detection", "encoder-only", 0.1),
        ("lora-plus", "clone-detection", "decoder-only", 0.1),
        ("lora-plus", "code-summarization", "encoder-decoder", 0.1),
        ("rslora", "code-summarization", "decoder-only", 0.1),
        # PEFT decays DoRA's magnitudes; here no vector is.
        ("dora", "clone-detection", "encoder-only", 0.0),
    ],
)
def test_lora_plus_trains_alone_and_in_a_pack_as_with_the_optimizer_of_peft(
    method: str, task_name: str, architecture: Architecture, decay: float, base_folder: BaseFolder
) -> None:
    folder = base_folder(architecture)
    settled: dict[str, object] = {"lr_scheduler_type": "constant", "warmup_ratio": 0.0, "lora_dropout": 0.0}
    chosen = candidate(
        folder, architecture, method, learning_rate=RATE, loraplus_lr_ratio=RATIO, weight_decay=decay, **settled
    )
    base, task = base_for(chosen, TASKS[task_name]), TASKS[task_name]
    base.model.apply(without_dropout)
    (solo,), _ = alone(base, [chosen], task, N_STEPS)
    neighbour = candidate(folder, architecture, "lora", r=8, learning_rate=1e-2, **settled)
    _, (together, _), _ = packed(base, [chosen, neighbour], task, N_STEPS)
    expected = by_peft(chosen, task_name, decay)
    # LoRA drifts on the encoder-decoder (`studies/packing_equality`): processors that sum in another order leave 2e-6.
    # Without its weight decay a parameter of 0.1 would be off by 8e-5.
    drift = 1e-5 if architecture == "encoder-decoder" else 0.0
    assert_equal(parameters_of(solo), expected, 1e-6 + drift)
    # A pack sums in another order, and Adam makes steps of the whole rate (8e-3) out of gradients next to nothing.
    assert_equal(parameters_of(together), expected, 2e-6 + drift)


def test_only_matrices_b_and_vectors_learn_faster(base_folder: BaseFolder) -> None:
    chosen = candidate(base_folder("encoder-only"), "encoder-only", "lora-plus", learning_rate=RATE)
    attached = attached_for(chosen, "clone-detection")
    rates = rates_of(attached, Schedule(learning_rate=RATE, loraplus_lr_ratio=RATIO))
    assert {rate for name, rate in rates.items() if "lora_B" in name} == {RATE * RATIO}
    assert {rate for name, rate in rates.items() if "lora_A" in name} == {RATE}
    assert {rate for name, rate in rates.items() if name.endswith("bias")} == {RATE * RATIO}
    assert {rate for name, rate in rates.items() if "classifier" in name and name.endswith("weight")} == {RATE}
    assert set(rates_of(attached, Schedule(learning_rate=RATE)).values()) == {RATE}


def test_low_rank_changes_of_embeddings_learn_at_the_rate_of_peft(base_folder: BaseFolder) -> None:
    chosen = candidate(
        base_folder("decoder-only"), "decoder-only", "lora-plus", target_modules=["q_proj", "embed_tokens"]
    )
    attached = attached_for(chosen, "code-summarization")
    rates = rates_of(attached, Schedule(learning_rate=RATE, loraplus_lr_ratio=RATIO))
    optimizer = create_loraplus_optimizer(attached.model, torch.optim.AdamW, lr=RATE, loraplus_lr_ratio=RATIO)  # type: ignore[arg-type]
    names = {id(value): name for name, value in attached.model.named_parameters()}
    expected = {names[id(value)]: group["lr"] for group in optimizer.param_groups for value in group["params"]}
    assert rates == expected
    assert 1e-6 in rates.values()


def test_the_schedule_scales_all_rates_alike(base_folder: BaseFolder) -> None:
    chosen = candidate(
        base_folder("encoder-only"), "encoder-only", "lora-plus", learning_rate=RATE, loraplus_lr_ratio=RATIO,
        warmup_ratio=0.0,
    )  # fmt: skip
    attached = attached_for(chosen, "clone-detection")
    rows = tokenized(attached, TASKS["clone-detection"]).rows
    training = Training(attached, rows, chosen, n_steps=4, seed=0, data_seed=0)
    training.advance_to(3)
    rates = sorted({group["lr"] for group in training._optimizer.param_groups})
    assert rates == pytest.approx([RATE / 4, RATE * RATIO / 4])


def test_a_training_with_several_rates_goes_on_from_where_it_stood_bit_for_bit(base_folder: BaseFolder) -> None:
    chosen = candidate(base_folder("encoder-only"), "encoder-only", "lora-plus", weight_decay=0.1, lora_dropout=0.2)
    base, task = base_for(chosen, TASKS["clone-detection"]), TASKS["clone-detection"]
    whole, first, second = (training_on(base, chosen, task, seed=0, n_steps=N_STEPS) for _ in range(3))
    first.advance_to(3)
    second.restore({name: value.clone() for name, value in first.tensors().items()}, first.numbers())
    for one in (whole, second):
        one.advance_to(N_STEPS)
    for name, value in parameters_of(second).items():
        assert torch.equal(value, parameters_of(whole)[name]), name


@pytest.mark.parametrize("ratio", [0.5, float("nan"), "fast", True])
def test_a_ratio_that_is_none_is_refused(ratio: object, base_folder: BaseFolder) -> None:
    chosen = candidate(base_folder("encoder-only"), "encoder-only", "lora-plus", loraplus_lr_ratio=ratio)
    with pytest.raises(UnsupportedCandidateError, match="loraplus_lr_ratio must be"):
        Schedule.of(chosen)


def test_a_method_without_low_rank_matrices_has_no_ratio(base_folder: BaseFolder) -> None:
    chosen = candidate(base_folder("encoder-only"), "encoder-only", "bitfit", loraplus_lr_ratio=2.0)
    with pytest.raises(UnsupportedCandidateError, match="bitfit has no hyperparameter 'loraplus_lr_ratio'"):
        attached_for(chosen, "clone-detection")


@pytest.mark.parametrize("kind", ["linear", "cosine", "constant", "constant_with_warmup"])
def test_schedules_of_transformers_are_known_by_name(kind: str, base_folder: BaseFolder) -> None:
    chosen = candidate(base_folder("encoder-only"), "encoder-only", lr_scheduler_type=kind)
    assert Schedule.of(chosen).lr_scheduler_type == kind


def test_vectors_and_scales_are_not_decayed(base_folder: BaseFolder) -> None:
    for method in ("ia3", "beft", "layernorm-tuning"):
        attached = attached_for(candidate(base_folder("decoder-only"), "decoder-only", method), "code-summarization")
        groups = parameter_groups(attached, Schedule(learning_rate=RATE, weight_decay=0.1))
        assert [group["weight_decay"] for group in groups] == [0.0]
