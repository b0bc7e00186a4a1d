"""What a model says: classes and generated texts, in batches of similar length, without gradients."""

import copy
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from transformers import GenerationConfig

from advisor.modeling.attachment import AttachedModel
from advisor.modeling.devices import DTYPES, is_out_of_memory, precision_on, release_memory
from advisor.modeling.quiet import quiet_libraries
from advisor.spec import Precision
from advisor.training.answers import Scores, label_set_text
from advisor.training.batches import Batch, collate_inputs, evaluation_batches
from advisor.training.thresholds import Predicted, scores_of
from advisor.training.tokens import TokenRow

EVALUATION_BATCH_SIZE = 32
# An example has a label when its probability is at least one half: the logistic function of 0.
LABEL_LOGIT = 0.0
ResultT = TypeVar("ResultT")
# Answer to one row, and its scores as in `Predicted`, None for a generated text.
Answer = tuple[str, Scores | None]


def predict(
    attached: AttachedModel,
    rows: Sequence[TokenRow],
    *,
    precision: Precision,
    max_target_length: int,
    batch_size: int = EVALUATION_BATCH_SIZE,
) -> Predicted:
    """Return what the model predicts for each row: a class, a set of them (`answers`) or what was generated; classes
    with their scores.

    Args:
        attached: The model.
        rows: Rows of one split.
        precision: As in the candidate.
        max_target_length: Most tokens to generate; unused for classification.
        batch_size: Rows per batch; halved as often as needed when memory runs out.

    Raises:
        torch.OutOfMemoryError: Not even one row fits.
    """
    attached.model.eval()
    with quiet_libraries(), torch.no_grad(), autocast(attached, precision):
        predict_batch = predictor(attached, max_target_length)
        batches = [numbers for numbers, _ in prediction_batches(attached, rows, batch_size)]

        def of(numbers: list[int]) -> list[Answer]:
            return predict_batch(prediction_inputs(attached, [rows[number] for number in numbers]))

        found = in_memory(batches, of, attached.base.device)
    return together([found[number] for number in range(len(rows))])


def together(answers: Sequence[Answer]) -> Predicted:
    """Put the answers to all rows together."""
    scores = [score for _, score in answers if score is not None]
    return Predicted(texts=[text for text, _ in answers], scores=np.stack(scores) if scores else None)


def in_memory(
    batches: Sequence[list[int]], run: Callable[[list[int]], Sequence[ResultT]], device: torch.device
) -> dict[int, ResultT]:
    """Run batches of rows, in halves where memory runs out.

    Args:
        batches: Row numbers.
        run: Returns one result for each row of a batch.
        device: Whose memory is freed before the halves.

    Returns:
        Results by row number.

    Raises:
        torch.OutOfMemoryError: Not even one row fits.
    """
    results: dict[int, ResultT] = {}
    waiting = list(batches)
    while waiting:
        numbers = waiting.pop(0)
        try:
            found = run(numbers)
        except Exception as error:
            if not is_out_of_memory(error) or len(numbers) == 1:
                raise
            found = None
        if found is None:
            release_memory(device)
            half = len(numbers) // 2
            waiting[:0] = [numbers[:half], numbers[half:]]
            continue
        results.update(zip(numbers, found, strict=True))
    return results


def prediction_batches(
    attached: AttachedModel, rows: Sequence[TokenRow], batch_size: int = EVALUATION_BATCH_SIZE
) -> list[tuple[list[int], list[TokenRow]]]:
    """Return row numbers and rows of each batch."""
    lengths = [row.prompt_length for row in rows]
    batches = evaluation_batches(lengths, batch_size, same_length=attached.padding_matters)
    return [(numbers, [rows[number] for number in numbers]) for numbers in batches]


def prediction_inputs(attached: AttachedModel, rows: Sequence[TokenRow]) -> Batch:
    """Return the padded input of a batch, on the host; a decoder that is to generate gets it padded on the left."""
    generates = attached.base.request.head == "causal-lm"
    side = "left" if generates else attached.padding_side
    return collate_inputs(rows, attached.base.tokenizer, side=side, prompts=generates)


def mean_over_tokens(states: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    """Return the mean of hidden states over the tokens of each text, of shape (rows, features), in float32.

    Args:
        states: Shape (rows, positions, features); a soft prompt may stand before the text.
        attention_mask: Shape (rows, tokens), 0 for padding.
    """
    mask = attention_mask.unsqueeze(-1).to(states.device)
    own = states[:, -mask.shape[1] :].float()
    # Where it is masked a half-precision state may be anything, NaN included.
    return own.masked_fill(mask == 0, 0).sum(dim=1) / mask.sum(dim=1).clamp(min=1)


def generation_settings(attached: AttachedModel, max_target_length: int) -> GenerationConfig:
    """Return settings for greedy decoding: the model's own tokens, but none of its sampling or penalties."""
    model, tokenizer = attached.base.model, attached.base.tokenizer
    settings: GenerationConfig = copy.deepcopy(model.generation_config)
    ends = settings.eos_token_id if settings.eos_token_id is not None else []
    ends = {*(ends if isinstance(ends, list) else [ends]), tokenizer.eos_token_id} - {None}
    settings.update(
        do_sample=False, num_beams=1, temperature=1.0, top_p=1.0, top_k=50, repetition_penalty=1.0,
        no_repeat_ngram_size=0, max_length=None, max_new_tokens=max_target_length, min_new_tokens=None,
        pad_token_id=tokenizer.pad_token_id, eos_token_id=sorted(ends), use_cache=True,
    )  # fmt: skip
    return settings


def predictor(attached: AttachedModel, max_target_length: int) -> Callable[[Batch], list[Answer]]:
    """Return what turns a batch into one answer per row: see `predict`."""
    if attached.base.request.head == "sequence-classification":
        return lambda batch: _classes(attached, batch)
    settings = generation_settings(attached, max_target_length)
    return lambda batch: [(text, None) for text in _texts(attached, batch, settings)]


def _classes(attached: AttachedModel, batch: Batch) -> list[Answer]:
    logits: Any = attached.model(**_on_device(attached, batch)).logits
    names, is_multi_label = attached.base.request.label_names, attached.base.request.is_multi_label
    if is_multi_label:
        chosen = (logits >= LABEL_LOGIT).tolist()
        texts = [label_set_text(name for name, has in zip(names, row, strict=True) if has) for row in chosen]
    else:
        texts = [names[number] for number in logits.argmax(dim=-1).tolist()]
    return list(zip(texts, scores_of(logits.float().cpu().numpy(), is_multi_label=is_multi_label), strict=True))


def _texts(attached: AttachedModel, batch: Batch, settings: GenerationConfig) -> list[str]:
    inputs = _on_device(attached, batch)
    inputs.pop("token_type_ids", None)
    model: Any = attached.model  # PEFT's and transformers' signatures of `generate` differ
    generated = model.generate(**inputs, generation_config=settings)
    if attached.base.request.head == "causal-lm":
        generated = generated[:, inputs["input_ids"].shape[1] :]
    texts = attached.base.tokenizer.batch_decode(generated, skip_special_tokens=True)
    return [text.strip() for text in texts]


def _on_device(attached: AttachedModel, batch: Batch) -> Batch:
    return {name: tensor.to(attached.base.device) for name, tensor in batch.items()}


def autocast(attached: AttachedModel, precision: Precision) -> torch.autocast:
    """Return the arithmetic of a candidate's precision on the model's device."""
    device = attached.base.device
    used = precision_on(device, precision)
    return torch.autocast(device.type, dtype=DTYPES[used], enabled=used != "fp32")
