"""Trials of a pack predict together what each predicts alone, to the last token."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from advisor.modeling.attachment import AttachedModel, attach_adapter
from advisor.modeling.sharing import shared_base
from advisor.spec import Architecture
from advisor.training.answers import Scores
from advisor.training.evaluation import predict
from advisor.training.packing.evaluation import predict_packed
from advisor.training.packing.pack import pack_key
from advisor.training.packing.trunk import Trunk
from tests.training.toy import SUPPORTED, TASKS, base_for, candidate, tokenized

pytestmark = pytest.mark.slow

BaseFolder = Callable[..., Path]
PROMPTS = ("prompt-tuning", "prefix-tuning", "p-tuning")
PACKED = [
    kind
    for kind in SUPPORTED
    if kind[0] in ("lora", "dora", "ia3", *PROMPTS)
    # Rows that must be padded on the left share no pass.
    and not (kind[0] in ("prompt-tuning", "p-tuning") and kind[1:] == ("clone-detection", "decoder-only"))
]
# The rest is slow in sum, not one by one.
ALL = [
    pytest.param(
        kind,
        marks=() if kind[0] in PROMPTS or kind[2] == "encoder-decoder" else pytest.mark.slow,
        id="-".join(kind),
    )
    for kind in PACKED
]


def opinionated(attached: AttachedModel, scale: float) -> AttachedModel:
    """Move an adapter away from its beginning, so that trials say different things."""
    numbers = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in attached.trainable_parameters:
            parameter.add_(scale * torch.randn(parameter.shape, generator=numbers))
    return attached


@pytest.mark.parametrize("kind", ALL)
def test_trials_predict_in_one_pass_what_each_predicts_alone(
    kind: tuple[str, str, Architecture], base_folder: BaseFolder
) -> None:
    method, task_name, architecture = kind
    task, chosen = TASKS[task_name], candidate(base_folder(architecture), architecture, method)
    base = base_for(chosen, task)
    with torch.no_grad():
        for name, parameter in base.model.named_parameters():
            if parameter.ndim > 1 and not ("embed" in name or "shared" in name):
                parameter.mul_(15)
    attached = {
        number: opinionated(attach_adapter(shared_base(base), chosen, seed=number), 0.2 * (number - 2))
        for number in (3, 5, 9)
    }
    assert len({pack_key(one, gradient_checkpointing=False) for one in attached.values()}) == 1
    rows = tokenized(attached[3], task, "test").rows
    alone = {number: predict(one, rows, precision="fp32", max_target_length=8) for number, one in attached.items()}
    trunk = Trunk(base, attached)
    # Not all of a pack reach their rung at once.
    for numbers in ([3, 5, 9], [9, 3]):
        found = predict_packed(base, trunk, numbers, rows, precision="fp32", max_target_length=8)
        assert {number: one.texts for number, one in found.items()} == {
            number: alone[number].texts for number in numbers
        }
        for number in numbers:
            same_scores(found[number].scores, alone[number].scores)
    if task_name == "code-summarization":
        assert len({tuple(said.texts) for said in alone.values()}) > 1
    else:
        assert max(np.ptp(said.scores, axis=0).max() for said in alone.values() if said.scores is not None) > 0.01


def same_scores(found: Scores | None, expected: Scores | None) -> None:
    """Fail unless both are there and equal but for rounding, or neither is."""
    assert (found is None) == (expected is None)
    if found is not None and expected is not None:
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
