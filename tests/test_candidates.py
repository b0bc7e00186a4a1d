"""Candidates and proposals."""

import pytest

from advisor.candidates import LARGE_MODEL_LEARNING_RATE, Candidate, choose_hyperparameters, possible, propose
from advisor.catalog.base_models import all_base_models, find_base_model
from advisor.catalog.methods import METHODS
from advisor.catalog.tasks import TASKS, find_task
from advisor.evidence.digest import Setting, read_digests


def setting(value: float) -> Setting:
    return Setting(value=value, low=value, high=value, papers=1, on_task=1, evidence=("hu2021lora-001",))


def test_an_encoder_is_never_asked_to_generate_and_only_encoders_search():
    for task in TASKS.values():
        for model in all_base_models():
            allowed = any(possible(task, model, method) for method in METHODS.values())
            if task.kind == "generative" and model.architecture == "encoder-only":
                assert not allowed
            if task.form == "retrieval" and model.architecture != "encoder-only":
                assert not allowed


def test_ia3_is_offered_only_where_peft_knows_the_modules():
    task = find_task("clone-detection")
    assert possible(task, find_base_model("microsoft/unixcoder-base"), METHODS["ia3"])
    assert not possible(task, find_base_model("answerdotai/ModernBERT-base"), METHODS["ia3"])


@pytest.mark.parametrize("task", TASKS)
def test_every_proposal_lies_inside_the_ranges_of_its_method(task):
    digests = read_digests(task)
    models = ("microsoft/unixcoder-base", "Salesforce/codet5-base", "Qwen/Qwen2.5-Coder-32B")
    for model in map(find_base_model, models):
        for method in METHODS.values():
            if not possible(find_task(task), model, method):
                continue
            proposal = propose(find_task(task), model, method, digests[model.architecture])
            for dimension in method.dimensions:
                value = proposal.hyperparameters[dimension.name]
                inside = value in dimension.choices if dimension.choices else dimension.low <= value <= dimension.high
                assert inside, (method.slug, dimension.name, value)
            assert proposal.max_seq_length <= find_task(task).max_seq_length


def test_lora_alpha_follows_the_rank_of_the_evidence():
    chosen = choose_hyperparameters(METHODS["lora"], find_base_model("microsoft/unixcoder-base"), {"r": setting(9)})
    assert (chosen["r"], chosen["lora_alpha"]) == (8, 16)


def test_above_thirteen_billion_parameters_the_learning_rate_is_capped():
    large, small = find_base_model("Qwen/Qwen2.5-Coder-14B"), find_base_model("Qwen/Qwen2.5-Coder-7B")
    given = {"learning_rate": setting(3e-4)}
    assert choose_hyperparameters(METHODS["lora"], large, given)["learning_rate"] == LARGE_MODEL_LEARNING_RATE
    assert choose_hyperparameters(METHODS["lora"], small, given)["learning_rate"] == 3e-4


@pytest.mark.parametrize(
    "change",
    [{"batch_size": 0}, {"micro_batch_size": 0}, {"micro_batch_size": 17}, {"hyperparameters": {}},
     {"hyperparameters": {"learning_rate": "fast"}}],
)  # fmt: skip
def test_an_impossible_candidate_is_refused(change):
    fields = {"base_model": "m", "architecture": "encoder-only", "method": "lora",
              "hyperparameters": {"learning_rate": 1e-4}}  # fmt: skip
    assert Candidate(**fields).batch_size == 16
    with pytest.raises(ValueError, match=r"must|positive"):
        Candidate(**{**fields, **change})
