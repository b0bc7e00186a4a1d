"""Loss on the test rows: where tiny models show that they learn before any answer is right."""

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from advisor.metrics.bootstrap import resamples
from advisor.modeling.attachment import AttachedModel
from advisor.modeling.quiet import quiet_libraries
from advisor.training.batches import collate
from advisor.training.tokens import IGNORED, TokenRow
from studies.review_methods.records import Measured

LOSS = "loss"
_N_RESAMPLES = 2000


def loss_on(attached: AttachedModel, rows: Sequence[TokenRow], *, seed: int) -> Measured | None:
    """Return the mean loss with its 95 % percentile interval, in nats per row or per target token.

    From the logits, since some methods add a penalty on the adapter to the model's own loss (AdaLoRA). Rows are taken
    one by one, so there is no padding.

    Args:
        attached: A classifier or a causal language model.
        rows: Of the test split.
        seed: Of the resamples.

    Returns:
        None where no row has a label that training knew; resamples without one are left out.
    """
    attached.model.eval()
    with quiet_libraries(), torch.no_grad():
        found = [_loss_and_units(attached, row) for row in rows]
    sums, units = np.array(found).T
    if not units.any():
        return None
    blocks = resamples(len(rows), _N_RESAMPLES, np.random.default_rng(seed))
    drawn = np.concatenate([np.stack([counts @ sums, counts @ units]) for counts in blocks], axis=1)
    has_units = drawn[:, drawn[1] > 0]
    low, high = np.quantile(has_units[0] / has_units[1], [0.025, 0.975])
    return Measured(value=float(sums.sum() / units.sum()), low=float(low), high=float(high))


def _loss_and_units(attached: AttachedModel, row: TokenRow) -> tuple[float, int]:
    base = attached.base
    batch = collate([row], base.tokenizer, base.request.head, side=attached.padding_side, is_multi_label=False)
    labels = batch.pop("labels")
    logits = attached.model(**batch, **attached.forward_options).logits
    if base.request.head == "causal-lm":
        # What a soft prompt adds stands before the text.
        logits, labels = logits[0, -labels.shape[1] : -1], labels[0, 1:]
    units = int((labels != IGNORED).sum())
    summed = cross_entropy(logits.float(), labels, ignore_index=IGNORED, reduction="sum") if units else 0.0
    return float(summed), units
