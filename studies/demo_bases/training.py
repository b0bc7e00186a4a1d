"""The training loop: AdamW, cosine schedule with warm-up, validation by kind of batch."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import PreTrainedModel

from studies.demo_bases.batches import IGNORED, Batch
from studies.demo_bases.pair_objective import (
    MASKED_WEIGHT,
    PairHeads,
    encoder_output,
    make_heads,
    masked_loss,
    pair_accuracy,
    pair_loss,
)

_WARM_UP_SHARE = 0.03
_FINAL_LEARNING_RATE_SHARE = 0.02
_LOG_EVERY = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOutcome:
    """What one training run gave. Losses are nats per predicted token.

    Attributes:
        n_steps: Steps taken.
        n_tokens: Input tokens seen.
        stopped_by_clock: Whether the cap on minutes shortened the run.
        train_loss: Mean of what was minimized over the last twentieth of the steps; for the encoder that is not the
            loss per token alone (see `pair_objective`).
        valid_loss: Mean over the fixed validation batches.
        valid_loss_by_kind: The same, by kind of batch.
        unigram_valid_loss: Loss of always predicting the training labels' frequencies.
        valid_pair_accuracy: Share of validation pairs told apart rightly by the pair head; None without pairs.
        duration_s: Wall time of the loop, validation included.
    """

    n_steps: int
    n_tokens: int
    stopped_by_clock: bool
    train_loss: float
    valid_loss: float
    valid_loss_by_kind: dict[str, float]
    unigram_valid_loss: float
    valid_pair_accuracy: float | None
    duration_s: float


@dataclass(slots=True)
class _Totals:
    """Sums of losses, each weighted by a count."""

    loss: float = 0.0
    count: int = 0
    by_kind: dict[str, tuple[float, int]] = field(default_factory=dict)

    def add(self, kind: str, loss: float, count: int) -> None:
        self.loss += loss * count
        self.count += count
        kind_loss, kind_count = self.by_kind.get(kind, (0.0, 0))
        self.by_kind[kind] = (kind_loss + loss * count, kind_count + count)


@dataclass(slots=True)
class _Seen:
    """What training has met so far: losses by step, tokens, and how often each label came."""

    counts: torch.Tensor
    losses: list[float] = field(default_factory=list)
    n_tokens: int = 0
    recent: _Totals = field(default_factory=_Totals)

    def add(self, batch: Batch, loss: float) -> None:
        self.losses.append(loss)
        self.recent.add(batch.kind, loss, 1)
        self.n_tokens += batch.input_ids.numel()
        self.counts += torch.bincount(batch.labels[batch.labels != IGNORED], minlength=len(self.counts))

    def progress(self, elapsed_s: float) -> str:
        losses = " ".join(f"{kind} {loss / count:.3f}" for kind, (loss, count) in sorted(self.recent.by_kind.items()))
        self.recent = _Totals()
        return f"step {len(self.losses)} loss {losses}, {elapsed_s / len(self.losses):.3f} s/step"


def train(
    model: PreTrainedModel,
    batches: Iterator[Batch],
    valid_batches: list[Batch],
    *,
    n_steps: int,
    max_minutes: float,
    learning_rate: float,
    embedding_learning_rate: float,
    device: str,
    save: Callable[[], None],
    save_every_s: float,
    log: Callable[[str], None],
) -> TrainingOutcome:
    """Train a model in place.

    Args:
        model: Base model; moved to the device.
        batches: Endless training batches.
        valid_batches: Fixed validation batches.
        n_steps: Steps of the schedule.
        max_minutes: Cap on wall time; near it the schedule runs by the clock instead, so that it still ends low.
        learning_rate: Peak learning rate.
        embedding_learning_rate: Peak learning rate of the token embedding (T5 starts it at a scale of one).
        device: "cpu" or "cuda"; on "cuda" the forward pass runs in bfloat16.
        save: Writes the model as it stands.
        save_every_s: Seconds between two calls of `save`.
        log: Receives lines of progress.

    Returns:
        Losses, counts and wall time.
    """
    model.to(device).train()
    heads = make_heads(model.config.hidden_size, device) if model.config.model_type == "roberta" else None
    parameters = [*model.parameters(), *(heads.parameters() if heads is not None else ())]
    optimizer = torch.optim.AdamW(
        _groups(parameters, model.get_input_embeddings().weight, learning_rate, embedding_learning_rate),
        betas=(0.9, 0.98),
        eps=1e-8,
    )
    seen = _Seen(counts=torch.ones(model.config.vocab_size, dtype=torch.float64))
    start = last_save = time.monotonic()
    by_clock = 0.0
    while len(seen.losses) < n_steps and by_clock < 1:
        _set_learning_rate(optimizer, _schedule(max(len(seen.losses) / n_steps, by_clock)))
        batch = next(batches)
        loss = batch_loss(model, batch, device=device, heads=heads)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seen.add(batch, loss.item())
        elapsed_s = time.monotonic() - start
        by_clock = elapsed_s / (60 * max_minutes)
        if len(seen.losses) % _LOG_EVERY == 0:
            log(seen.progress(elapsed_s))
        if time.monotonic() - last_save > save_every_s:
            save()
            last_save = time.monotonic()
    totals = evaluate(model, valid_batches, device=device)
    tail = seen.losses[-max(1, len(seen.losses) // 20) :]
    return TrainingOutcome(
        n_steps=len(seen.losses),
        n_tokens=seen.n_tokens,
        stopped_by_clock=len(seen.losses) < n_steps,
        train_loss=sum(tail) / len(tail),
        valid_loss=totals.loss / totals.count,
        valid_loss_by_kind={kind: loss / count for kind, (loss, count) in sorted(totals.by_kind.items())},
        unigram_valid_loss=_unigram_loss(seen.counts, valid_batches),
        valid_pair_accuracy=None if heads is None else pair_accuracy(model, heads, valid_batches, device=device),
        duration_s=time.monotonic() - start,
    )


def batch_loss(model: PreTrainedModel, batch: Batch, *, device: str, heads: PairHeads | None = None) -> torch.Tensor:
    """Loss of one batch.

    Args:
        model: Base model.
        batch: Tensors of the batch.
        device: Where the model is.
        heads: For the encoder in training: their loss is added, and that of masked tokens weighted.

    Returns:
        Mean cross-entropy in nats per predicted token, plus the pair loss where `heads` are given.
    """
    with torch.autocast(device, dtype=torch.bfloat16, enabled=device == "cuda"):
        if model.config.model_type == "roberta":
            hidden = encoder_output(model, batch, device=device)
            masked = masked_loss(model, batch, hidden)
            return masked if heads is None else MASKED_WEIGHT * masked + pair_loss(heads, batch, hidden)
        mask = None if batch.attention_mask is None else batch.attention_mask.to(device)
        output = model(input_ids=batch.input_ids.to(device), attention_mask=mask, labels=batch.labels.to(device))
        loss: torch.Tensor = output.loss
        return loss


@torch.no_grad()
def evaluate(model: PreTrainedModel, batches: list[Batch], *, device: str) -> _Totals:
    """Sum the losses of validation batches."""
    model.eval()
    totals = _Totals()
    for batch in batches:
        n_labels = int((batch.labels != IGNORED).sum())
        totals.add(batch.kind, batch_loss(model, batch, device=device).item(), n_labels)
    model.train()
    return totals


def _groups(
    parameters: list[torch.nn.Parameter],
    embedding: torch.nn.Parameter,
    learning_rate: float,
    embedding_learning_rate: float,
) -> list[dict[str, Any]]:
    matrices = [p for p in parameters if p.ndim > 1 and p is not embedding]
    vectors = [p for p in parameters if p.ndim <= 1]
    return [
        {"params": matrices, "peak": learning_rate, "weight_decay": 0.05},
        {"params": vectors, "peak": learning_rate, "weight_decay": 0.0},
        {"params": [embedding], "peak": embedding_learning_rate, "weight_decay": 0.0},
    ]


def _set_learning_rate(optimizer: torch.optim.Optimizer, scale: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * scale


def _schedule(progress: float) -> float:
    if progress < _WARM_UP_SHARE:
        return max(progress, 1e-3) / _WARM_UP_SHARE
    cosine = 0.5 * (1 + math.cos(math.pi * (progress - _WARM_UP_SHARE) / (1 - _WARM_UP_SHARE)))
    return _FINAL_LEARNING_RATE_SHARE + (1 - _FINAL_LEARNING_RATE_SHARE) * cosine


def _unigram_loss(counts: torch.Tensor, batches: list[Batch]) -> float:
    log_frequency = torch.log(counts / counts.sum())
    labels = torch.cat([batch.labels[batch.labels != IGNORED] for batch in batches])
    return float(-log_frequency[labels].mean())
