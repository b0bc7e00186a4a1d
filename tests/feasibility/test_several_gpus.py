"""How many GPUs a candidate needs, and how its layers go to them."""

import pytest

from advisor.candidates import Candidate, propose
from advisor.catalog.base_models import find_base_model
from advisor.catalog.methods import METHODS
from advisor.catalog.tasks import find_task
from advisor.evidence.digest import read_digests
from advisor.feasibility.fit import device_of, fit
from advisor.feasibility.several_gpus import layers_per_gpu, spread_that_fits, told
from advisor.spec import Budget

GENERATION = find_task("code-generation")


def spread_on(hf_id: str, budget: Budget):
    model, device = find_base_model(hf_id), device_of(budget)
    digests = read_digests(GENERATION.slug)
    proposal = propose(GENERATION, model, METHODS["lora"], digests[model.architecture])
    found = fit(proposal, GENERATION, device)
    assert found is not None
    return spread_that_fits(proposal, GENERATION, found, device), device


@pytest.mark.parametrize("n", [1, 2, 3])
def test_all_layers_of_a_candidate_are_placed(n: int) -> None:
    chosen = Candidate(
        base_model="Qwen/Qwen2.5-Coder-14B", architecture="decoder-only", method="lora",
        hyperparameters={"learning_rate": 1e-4, "r": 8}, precision="bf16", batch_size=4,
    )  # fmt: skip
    layers = layers_per_gpu(chosen, GENERATION, n)
    assert (len(layers), sum(layers)) == (n, find_base_model(chosen.base_model).shape.layers)


def test_nothing_is_said_of_a_model_that_is_not_known() -> None:
    chosen = Candidate(
        base_model="nobody/nothing", architecture="decoder-only", method="lora", hyperparameters={"learning_rate": 1e-4}
    )
    assert layers_per_gpu(chosen, GENERATION, 2) == ()


def test_each_gpu_has_room_for_its_part() -> None:
    found, device = spread_on("Qwen/Qwen2.5-Coder-32B", Budget(gpu="T4"))
    assert found is not None
    assert device.usable_bytes is not None
    assert 1 < len(found.gpus) <= 4
    assert found.peak_memory_bytes <= device.usable_bytes
    assert told(found, device).startswith(f"; {len(found.gpus)} x Tesla T4 would do (")


def test_what_fits_on_one_gpu_needs_no_others() -> None:
    found, device = spread_on("Qwen/Qwen2.5-Coder-0.5B", Budget(gpu="T4"))
    assert found is None
    assert told(found, device) == ""


def test_without_a_named_gpu_the_memory_is_what_counts() -> None:
    found, device = spread_on("Qwen/Qwen2.5-Coder-32B", Budget(vram_gib=16))
    assert " such GPUs would do" in told(found, device)
