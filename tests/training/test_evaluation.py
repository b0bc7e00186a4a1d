"""Predictions do not depend on batches, on memory, or on what the base model's makers set for sampling."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from advisor.modeling.attachment import AttachedModel, attach_adapter, untuned
from advisor.spec import Architecture
from advisor.training.evaluation import (
    generation_settings,
    mean_over_tokens,
    predict,
    prediction_batches,
    prediction_inputs,
)
from advisor.training.tokens import TokenRow
from tests.training.toy import SETTINGS, TASKS, UNSUPPORTED, base_for, candidate, tokenized

pytestmark = pytest.mark.slow

BaseFolder = Callable[..., Path]


@pytest.fixture
def model_for(base_folder: BaseFolder) -> Callable[..., tuple[AttachedModel, list[TokenRow]]]:
    """A model whose weights are large enough to have opinions, and the rows of a test split."""

    def model(
        task_name: str, architecture: Architecture, family: str | None = None, method: str | None = None
    ) -> tuple[AttachedModel, list[TokenRow]]:
        task = TASKS[task_name]
        chosen = candidate(base_folder(architecture, family), architecture, method or "lora")
        base = base_for(chosen, task)
        with torch.no_grad():
            for name, parameter in base.model.named_parameters():
                if parameter.ndim > 1 and not ("embed" in name or "shared" in name):
                    parameter.mul_(15)
        attached = attach_adapter(base, chosen, seed=0) if method else untuned(base, seed=0)
        return attached, tokenized(attached, task, "test").rows

    return model


def texts(attached: AttachedModel, rows: list[TokenRow], **options: Any) -> list[str]:
    return list(predict(attached, rows, precision="fp32", max_target_length=8, **options).texts)


@pytest.mark.parametrize(("task_name", "architecture"), SETTINGS, ids=map("-".join, SETTINGS))
@pytest.mark.parametrize("method", [None, "prompt-tuning", "prefix-tuning"])
def test_a_row_is_predicted_the_same_alone_and_in_company(
    method: str | None, task_name: str, architecture: Architecture, model_for: Callable[..., Any]
) -> None:
    if (method, task_name, architecture) in UNSUPPORTED:
        method = "lora"
    attached, rows = model_for(task_name, architecture, None, method)
    together = texts(attached, rows)
    assert together == texts(attached, rows, batch_size=1)
    if task_name == "code-summarization":
        assert len(set(together)) > 1
        return
    torch.testing.assert_close(logits(attached, rows, 32), logits(attached, rows, 1), rtol=1e-4, atol=1e-5)


def logits(attached: AttachedModel, rows: list[TokenRow], batch_size: int) -> torch.Tensor:
    found = {}
    with torch.no_grad():
        for numbers, part in prediction_batches(attached, rows, batch_size):
            outputs: Any = attached.model(**prediction_inputs(attached, part))
            found.update(zip(numbers, outputs.logits, strict=True))
    assert torch.stack(list(found.values())).std(dim=0).min() > 1e-3  # rows differ
    return torch.stack([found[number] for number in range(len(rows))])


def test_an_example_has_the_labels_whose_probability_is_at_least_one_half(model_for: Callable[..., Any]) -> None:
    attached, rows = model_for("code-comment-classification", "encoder-only")
    outputs = logits(attached, rows, 1)
    middle = outputs.median(dim=0).values
    with torch.no_grad():  # so that each label is said of some rows and not of others
        attached.base.model.classifier.out_proj.bias.sub_(middle)
    names = ("long, or not", "summary")
    expected = [
        [name for name, p in zip(names, torch.sigmoid(row - middle).tolist(), strict=True) if p >= 0.5]
        for row in outputs
    ]
    found = [json.loads(text) for text in texts(attached, rows, batch_size=1)]
    differ = sum(one != other for one, other in zip(found, expected, strict=True))
    assert differ <= 2  # the two rows in the very middle may fall on either side
    assert len({tuple(labels) for labels in found}) > 1


@pytest.mark.parametrize("method", ["lora", "prompt-tuning", "prefix-tuning", "p-tuning"])
@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_generation_with_left_padding_is_greedy_decoding_step_by_step(
    family: str, method: str, model_for: Callable[..., Any]
) -> None:
    attached, rows = model_for("code-summarization", "decoder-only", family, method)
    attached.model.eval()
    for row, text in list(zip(rows, texts(attached, rows), strict=True))[:3]:
        ids = torch.tensor([row.input_ids[: row.prompt_length].tolist()])
        start = ids.shape[1]
        with torch.no_grad():
            for _ in range(8):
                outputs = attached.model(input_ids=ids, attention_mask=torch.ones_like(ids))
                ids = torch.cat([ids, outputs.logits[:, -1].argmax(-1, keepdim=True)], dim=1)
                if ids[0, -1] == attached.base.tokenizer.eos_token_id:
                    break
        assert text == attached.base.tokenizer.decode(ids[0, start:], skip_special_tokens=True).strip()


def test_memory_that_does_not_suffice_halves_the_batch_as_often_as_needed(
    model_for: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    attached, rows = model_for("clone-detection", "encoder-only")
    expected = texts(attached, rows)
    forward = attached.model.forward
    seen = []

    def limited(*args: Any, **inputs: Any) -> Any:
        seen.append(len(inputs["input_ids"]))
        if seen[-1] > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(*args, **inputs)

    monkeypatch.setattr(attached.model, "forward", limited)
    assert texts(attached, rows) == expected
    assert seen[:3] == [12, 6, 3]


def test_not_even_one_row_fitting_is_an_error(model_for: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    attached, rows = model_for("clone-detection", "encoder-only")

    def never(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(attached.model, "forward", never)
    with pytest.raises(torch.OutOfMemoryError):
        texts(attached, rows)


def test_sampling_and_penalties_of_the_base_model_are_not_used(model_for: Callable[..., Any]) -> None:
    attached, rows = model_for("code-summarization", "decoder-only")
    expected = texts(attached, rows)
    settings = attached.base.model.generation_config
    settings.update(do_sample=True, temperature=5.0, repetition_penalty=3.0, no_repeat_ngram_size=1, max_length=3)
    assert texts(attached, rows) == expected
    assert generation_settings(attached, 8).eos_token_id == [attached.base.tokenizer.eos_token_id]
    assert settings.temperature == 5.0  # the model's own settings are left alone


def test_a_decoder_is_shown_the_prompt_without_the_answer(model_for: Callable[..., Any]) -> None:
    attached, rows = model_for("code-summarization", "decoder-only")
    inputs = prediction_inputs(attached, rows[:2])
    shown = [
        [number for number, kept in zip(ids, mask, strict=True) if kept]
        for ids, mask in zip(inputs["input_ids"].tolist(), inputs["attention_mask"].tolist(), strict=True)
    ]
    assert shown == [row.input_ids[: row.prompt_length].tolist() for row in rows[:2]]
    assert inputs["attention_mask"][:, -1].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("method", "side"),
    [("lora", "right"), ("prefix-tuning", "right"), ("prompt-tuning", "left"), ("p-tuning", "left")],
)
def test_decoder_classifiers_with_a_soft_prompt_are_padded_on_the_left(
    method: str, side: str, model_for: Callable[..., Any]
) -> None:
    attached, _ = model_for("clone-detection", "decoder-only", None, method)
    assert attached.padding_side == side
    encoder, _ = model_for("clone-detection", "encoder-only", None, method)
    assert encoder.padding_side == "right"


def test_the_mean_over_tokens_leaves_out_padding_and_what_stands_before_the_text() -> None:
    states = torch.tensor([[[9.0, 9.0], [1.0, 2.0], [3.0, 6.0]], [[9.0, 9.0], [5.0, 7.0], [float("nan"), 0.0]]])
    found = mean_over_tokens(states.half(), torch.tensor([[1, 1], [1, 0]]))
    assert found.dtype == torch.float32
    assert found.tolist() == [[2.0, 4.0], [5.0, 7.0]]
    assert mean_over_tokens(states[:1], torch.tensor([[0, 0]])).tolist() == [[0.0, 0.0]]
