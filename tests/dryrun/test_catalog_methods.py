"""Every method of the catalogue is dry-run as it is built: parameters, gradients and memory of a real adapter."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from peft import get_peft_model
from transformers import PreTrainedModel

from advisor.candidates import Candidate
from advisor.catalog.methods import METHODS
from advisor.catalog.tasks import Head
from advisor.catalog.trained_adapters import TrainedAdapter
from advisor.dryrun.peft_methods import attach_on_meta
from advisor.modeling.adapters import build_config
from advisor.modeling.base import BaseModel, BaseRequest
from advisor.modeling.quiet import quiet_libraries
from advisor.spec import Architecture
from tests.dryrun.test_peft_methods import compare, llama, roberta, step_of, t5
from tests.training.methods import SMALL

pytestmark = pytest.mark.slow

Build = Callable[[], PreTrainedModel]
KINDS: dict[str, tuple[Build, Architecture, Head]] = {
    "roberta": (roberta, "encoder-only", "sequence-classification"),
    "t5": (t5, "encoder-decoder", "seq2seq-lm"),
    "llama": (llama, "decoder-only", "causal-lm"),
}
CASES = [
    # A method that nobody is recommended is tried on one family in a quick run.
    pytest.param(
        family,
        slug,
        id=f"{family}-{slug}",
        marks=(pytest.mark.heavy,) if method.on_request and family != "llama" else (),
    )
    for family, (_, architecture, head) in KINDS.items()
    for slug, method in METHODS.items()
    if slug != "full" and method.supports(architecture, head) and method.works_on(family)
]
# Two of them are fused; a stack stands on one.
PART = TrainedAdapter(folder="", sha256="", reduction_factor=8, non_linearity="relu", scaling=2.0)
# Copies are made of what is on the CPU here already; see the tests of PEFT's methods.
KEEPS_COPIES = {"frod"}


def attached(family: str, slug: str, device: str) -> Any:
    build, architecture, head = KINDS[family]
    with torch.device(device):
        torch.manual_seed(0)
        model = build()
    request = BaseRequest(
        base_model=family, architecture=architecture, head=head, label_names=(), weights="bf16", quantization=None
    )
    parts = (PART,) * METHODS[slug].least_adapters
    # Without weights to read, what is made of trained adapters is built from their shapes, here as in a dry run.
    place = torch.device("meta" if parts else device)
    base = BaseModel(
        request=request, source=family, model=model, tokenizer=None, device=place, max_positions=None  # type: ignore[arg-type]
    )  # fmt: skip
    hyperparameters = {**METHODS[slug].hyperparameters(architecture), **SMALL.get(slug, {})}
    chosen = Candidate(
        base_model=family, architecture=architecture, method=slug, hyperparameters=hyperparameters, adapters=parts
    )
    config = build_config(chosen, base)
    assert config is not None
    if device == "meta":
        return attach_on_meta(model, config)
    with quiet_libraries():
        real = get_peft_model(model, config)
    for name, parameter in real.named_parameters():
        if "mam_prefix" in name:  # PEFT casts layers, not what belongs to the tuner; `attach_adapter` casts all
            parameter.data = parameter.data.float()
    return real


@pytest.mark.parametrize(("family", "slug"), CASES)
def test_a_step_is_that_of_a_real_adapter(family: str, slug: str) -> None:
    real, dry = (
        step_of(attached(family, slug, device), device=device, classifies=family == "roberta")
        for device in ("cpu", "meta")
    )
    compare(slug, real.parameters, dry.parameters)
    compare(slug, real.buffers, dry.buffers)
    compare(slug, real.gradients, dry.gradients)
    assert dry.states == real.states
    if slug not in KEEPS_COPIES:
        assert dry.saved_bytes == pytest.approx(real.saved_bytes, rel=0.01)
