"""What the encoder learns from pairs beside masked tokens: which tokens return, and which functions belong together.

Masked tokens alone teach so small a model to compare two texts only after far more text than it sees here. Two linear
heads, thrown away after training, ask for it directly: every token is asked whether it stands in the other function
too, and the first position is asked whether one function is a rewrite of the other.
"""

from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from studies.demo_bases.batches import IGNORED, Batch

MASKED_WEIGHT = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class PairHeads:
    """Linear heads on the encoder's output: for tokens and for the first position."""

    returning: torch.nn.Linear
    related: torch.nn.Linear

    def parameters(self) -> list[torch.nn.Parameter]:
        """Weights and biases of both heads."""
        return [*self.returning.parameters(), *self.related.parameters()]


def make_heads(hidden_size: int, device: str) -> PairHeads:
    """Heads with random weights."""
    return PairHeads(
        returning=torch.nn.Linear(hidden_size, 1).to(device), related=torch.nn.Linear(hidden_size, 1).to(device)
    )


def encoder_output(model: PreTrainedModel, batch: Batch, *, device: str) -> torch.Tensor:
    """Last hidden states, of shape (rows, length, hidden)."""
    optional = {"attention_mask": batch.attention_mask, "token_type_ids": batch.token_type_ids}
    given = {name: value.to(device) for name, value in optional.items() if value is not None}
    hidden: torch.Tensor = model.roberta(input_ids=batch.input_ids.to(device), **given).last_hidden_state
    return hidden


def masked_loss(model: PreTrainedModel, batch: Batch, hidden: torch.Tensor) -> torch.Tensor:
    """Cross-entropy in nats per masked token; the vocabulary layer would else be a third of all work."""
    labels = batch.labels.to(hidden.device)
    wanted = labels != IGNORED
    return torch.nn.functional.cross_entropy(model.lm_head(hidden[wanted]).float(), labels[wanted])


def pair_loss(heads: PairHeads, batch: Batch, hidden: torch.Tensor) -> torch.Tensor:
    """Sum of both heads' binary cross-entropies; zero for batches without pairs."""
    if batch.related is None or batch.returning is None:
        return hidden.new_zeros(())
    returning = batch.returning.to(hidden.device)
    asked = returning != IGNORED
    tokens = heads.returning(hidden[asked]).squeeze(-1).float()
    pairs = heads.related(hidden[:, 0]).squeeze(-1).float()
    entropy = torch.nn.functional.binary_cross_entropy_with_logits
    return entropy(tokens, returning[asked].float()) + entropy(pairs, batch.related.to(hidden.device).float())


@torch.no_grad()
def pair_accuracy(model: PreTrainedModel, heads: PairHeads, batches: list[Batch], *, device: str) -> float | None:
    """Share of pairs that the head on the first position tells apart; None where there are no pairs."""
    right = total = 0
    for batch in batches:
        if batch.related is not None:
            hidden = encoder_output(model, batch, device=device)
            guess = (heads.related(hidden[:, 0]).squeeze(-1) > 0).long().cpu()
            right += int((guess == batch.related).sum())
            total += len(guess)
    return right / total if total else None
