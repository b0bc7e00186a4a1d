"""The loop trains exactly as a plain loop over PEFT would, in any micro-batch, undisturbed by its neighbours."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from advisor.candidates import Candidate
from advisor.catalog.tasks import Task
from advisor.modeling.attachment import AttachedModel, attach_adapter
from advisor.spec import Architecture
from advisor.training.batches import collate, training_batches
from advisor.training.loop import NonFiniteLossError, Training
from tests.training.toy import SETTINGS, TASKS, base_for, candidate, tokenized

pytestmark = pytest.mark.slow

BaseFolder = Callable[..., Path]
N_STEPS = 6


def attached_for(chosen: Candidate, task: Task, *, seed: int = 5) -> AttachedModel:
    return attach_adapter(base_for(chosen, task), chosen, seed=seed)


def training_for(chosen: Candidate, task: Task, attached: AttachedModel | None = None, *, seed: int = 5) -> Training:
    attached = attached or attached_for(chosen, task, seed=seed)
    return Training(attached, tokenized(attached, task).rows, chosen, n_steps=N_STEPS, seed=seed, data_seed=9)


def losses(training: Training) -> list[float]:
    return [training.advance_to(step) for step in range(1, N_STEPS + 1)]


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated")  # inside PEFT
@pytest.mark.parametrize(
    ("task_name", "architecture"),
    [
        ("clone-detection", "encoder-only"),
        ("code-summarization", "decoder-only"),
        ("code-comment-classification", "encoder-only"),
        ("code-comment-classification", "decoder-only"),
    ],
)
def test_lora_takes_the_steps_of_a_hand_written_peft_loop(
    task_name: str, architecture: Architecture, base_folder: BaseFolder
) -> None:
    task, folder = TASKS[task_name], base_folder(architecture)
    chosen = candidate(folder, architecture, lora_dropout=0.0, warmup_ratio=0.5, weight_decay=0.1)
    attached = attached_for(chosen, task)
    attached.model.apply(_without_dropout)
    ours = losses(training_for(chosen, task, attached))

    # The same by hand: plain transformers, plain PEFT, plain AdamW, one schedule written out.
    start = attached_for(chosen, task)
    is_classifier, is_multi_label = task.form != "generation", task.form == "multi-label"
    auto_class = AutoModelForSequenceClassification if is_classifier else AutoModelForCausalLM
    problem = {"problem_type": "multi_label_classification"} if is_multi_label else {}
    plain_base = auto_class.from_pretrained(folder, **problem)
    plain_base.config.pad_token_id = start.base.tokenizer.pad_token_id
    task_type = "SEQ_CLS" if is_classifier else "CAUSAL_LM"
    settings = LoraConfig(
        task_type=task_type, r=4, lora_alpha=8, lora_dropout=0.0, target_modules="all-linear", use_rslora=False
    )
    plain = get_peft_model(plain_base, settings)
    plain.load_state_dict(start.model.state_dict())
    plain.train().apply(_without_dropout)
    trained = [(name, parameter) for name, parameter in plain.named_parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(
        [
            {"params": [value for name, value in trained if "bias" not in name], "weight_decay": 0.1},
            {"params": [value for name, value in trained if "bias" in name], "weight_decay": 0.0},
        ],
        lr=1e-2,
    )
    rows = tokenized(start, task).rows
    order = training_batches([len(row.input_ids) for row in rows], 8, 9)
    by_hand = []
    for step in range(N_STEPS):
        for group in optimizer.param_groups:
            group["lr"] = 1e-2 * (step / 3 if step < 3 else (N_STEPS - step) / 3)
        picked = [rows[number] for number in next(order)]
        batch = collate(
            picked, start.base.tokenizer, start.base.request.head, side="right", is_multi_label=is_multi_label
        )
        loss = plain(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_([value for _, value in trained], 1.0)
        optimizer.step()
        optimizer.zero_grad()
        by_hand.append(loss.item())
    assert ours == pytest.approx(by_hand, rel=1e-5)
    assert ours[0] != pytest.approx(ours[-1], rel=1e-3)


def test_loss_falls_on_data_that_can_be_learned(base_folder: BaseFolder) -> None:
    chosen = candidate(base_folder("encoder-only"), "encoder-only", "full", learning_rate=3e-3)
    attached = attached_for(chosen, TASKS["clone-detection"])
    rows = tokenized(attached, TASKS["clone-detection"]).rows
    training = Training(attached, rows, chosen, n_steps=60, seed=0, data_seed=0)
    first = training.advance_to(5)
    training.advance_to(55)
    assert training.advance_to(60) < 0.5 * first


@pytest.mark.parametrize(("task_name", "architecture"), SETTINGS, ids=map("-".join, SETTINGS))
@pytest.mark.parametrize("micro_batch_size", [1, 3, 5])
def test_micro_batches_add_up_to_the_gradient_of_the_whole_batch(
    task_name: str, architecture: Architecture, micro_batch_size: int, base_folder: BaseFolder
) -> None:
    task = TASKS[task_name]
    chosen = candidate(base_folder(architecture), architecture, lora_dropout=0.0)
    attached = attached_for(chosen, task)
    attached.model.eval()  # no dropout
    rows = sorted(tokenized(attached, task).rows, key=lambda row: row.units)[-8:] + tokenized(attached, task).rows[:3]
    found = []
    for size in (len(rows), micro_batch_size):
        training = training_for(chosen, task, attached)
        training.micro_batch_size = size
        training._divide(rows)
        training._add_gradients()
        gradients = [parameter.grad for parameter in attached.trainable_parameters if parameter.grad is not None]
        found.append((training._step_loss, torch.cat([gradient.flatten() for gradient in gradients])))
        for parameter in attached.trainable_parameters:
            parameter.grad = None
    (whole_loss, whole), (parts_loss, parts) = found
    assert parts_loss == pytest.approx(whole_loss, rel=1e-5)
    assert whole.norm() > 0
    torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("task_name", "architecture"), SETTINGS, ids=map("-".join, SETTINGS))
def test_checkpointing_changes_no_loss_of_a_training_with_dropout_and_accumulation(
    task_name: str, architecture: Architecture, base_folder: BaseFolder
) -> None:
    task = TASKS[task_name]
    chosen = replace(candidate(base_folder(architecture), architecture, lora_dropout=0.3), micro_batch_size=3)
    assert losses(training_for(replace(chosen, gradient_checkpointing=True), task)) == losses(
        training_for(chosen, task)
    )


@contextmanager
def memory_for(rows: int, monkeypatch: pytest.MonkeyPatch, attached: AttachedModel) -> Iterator[list[int]]:
    """A device that holds so many rows: larger batches raise what CUDA raises."""
    seen: list[int] = []
    forward = attached.model.forward

    def limited(*args: Any, **inputs: Any) -> Any:
        seen.append(len(inputs["input_ids"]))
        if seen[-1] > rows:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(*args, **inputs)

    monkeypatch.setattr(attached.model, "forward", limited)
    yield seen
    monkeypatch.undo()


def test_running_out_of_memory_once_halves_the_micro_batch_and_changes_nothing_else(
    base_folder: BaseFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = TASKS["clone-detection"]
    chosen = candidate(base_folder("encoder-only"), "encoder-only", lora_dropout=0.0)
    reference = attached_for(chosen, task)
    reference.model.apply(_without_dropout)
    expected = losses(training_for(chosen, task, reference))
    attached = attached_for(chosen, task)
    attached.model.apply(_without_dropout)
    training = training_for(chosen, task, attached)
    with memory_for(4, monkeypatch, attached) as seen:
        found = losses(training)
    assert seen[:3] == [8, 4, 4]
    assert max(seen[1:]) == 4
    assert training.micro_batch_size == 4
    assert found == pytest.approx(expected, rel=1e-4)


def test_running_out_of_memory_twice_is_an_error(base_folder: BaseFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    task = TASKS["clone-detection"]
    chosen = candidate(base_folder("encoder-only"), "encoder-only")
    attached = attached_for(chosen, task)
    training = training_for(chosen, task, attached)
    with memory_for(3, monkeypatch, attached) as seen, pytest.raises(torch.OutOfMemoryError):
        training.advance_to(1)
    assert seen == [8, 4]


def test_trainings_that_take_turns_do_not_disturb_one_another(base_folder: BaseFolder) -> None:
    task = TASKS["clone-detection"]
    chosen = candidate(base_folder("encoder-only"), "encoder-only", lora_dropout=0.5)
    alone = losses(training_for(chosen, task))
    first, second = training_for(chosen, task), training_for(chosen, task, seed=6)
    turns = []
    for step in range(1, N_STEPS + 1):
        torch.rand(5)
        turns.append(first.advance_to(step))
        second.advance_to(step)
    assert turns == alone


def test_training_does_not_move_the_callers_random_numbers(base_folder: BaseFolder) -> None:
    training = training_for(
        candidate(base_folder("encoder-only"), "encoder-only", lora_dropout=0.5), TASKS["clone-detection"]
    )
    before = torch.get_rng_state()
    training.advance_to(2)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_ends_training(
    value: float, base_folder: BaseFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = candidate(base_folder("encoder-only"), "encoder-only")
    attached = attached_for(chosen, TASKS["clone-detection"])
    training = training_for(chosen, TASKS["clone-detection"], attached)
    forward = attached.model.forward

    def spoiled(*args: Any, **inputs: Any) -> Any:
        outputs = forward(*args, **inputs)
        outputs.loss = outputs.loss * value
        return outputs

    monkeypatch.setattr(attached.model, "forward", spoiled)
    with pytest.raises(NonFiniteLossError, match="step 1"):
        training.advance_to(3)


def test_a_gradient_that_is_no_number_ends_training(base_folder: BaseFolder) -> None:
    chosen = candidate(base_folder("encoder-only"), "encoder-only")
    attached = attached_for(chosen, TASKS["clone-detection"])
    training = training_for(chosen, TASKS["clone-detection"], attached)
    attached.trainable_parameters[0].register_hook(lambda gradient: gradient * float("nan"))
    with pytest.raises(NonFiniteLossError, match="gradient"):
        training.advance_to(1)


def _without_dropout(module: torch.nn.Module) -> None:
    if isinstance(module, torch.nn.Dropout):
        module.p = 0.0
