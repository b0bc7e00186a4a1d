"""The score and the pick of a varied few."""

from dataclasses import replace

import pytest

from advisor.catalog.base_models import find_base_model
from advisor.catalog.methods import METHODS
from advisor.catalog.tasks import find_task
from advisor.evidence.base_model_strength import strengths
from advisor.evidence.digest import read_digests
from advisor.evidence.rows import read_evidence
from advisor.recommendation.ranking import leader, pair_of, pick
from tests.recommendation.test_choices import one


def score(hf_id: str, method: str, task: str = "code-generation", ability: str = "generate", prefer: str = "quality"):
    return scored(find_base_model(hf_id), method, task, ability, prefer)


def scored(model, method: str, task: str = "code-generation", ability: str = "generate", prefer: str = "quality"):
    known = strengths(ability)
    return pair_of(find_task(task), model, METHODS[method], read_digests(task), known, prefer).score


def test_a_stronger_base_model_scores_higher_at_equal_size():
    assert score("Qwen/Qwen2.5-Coder-7B", "lora") > score("codellama/CodeLlama-7b-hf", "lora")


def test_a_method_with_evidence_scores_above_one_without():
    assert score("Qwen/Qwen2.5-Coder-7B", "lora") > score("Qwen/Qwen2.5-Coder-7B", "bitfit")


@pytest.mark.parametrize("trait", ["gated", "multimodal", "linear-attention", "post-trained"])
def test_what_a_base_model_costs_the_user_costs_score(trait):
    model = replace(find_base_model("bigcode/starcoder2-3b"), traits=())
    free, costly = (scored(one, "lora") for one in (model, replace(model, traits=(trait,))))
    assert costly < free


@pytest.mark.parametrize("prefer", ["memory", "speed"])
def test_other_preferences_shift_the_score_towards_small_models(prefer):
    large, small = "Qwen/Qwen2.5-Coder-14B", "Qwen/Qwen2.5-Coder-0.5B"
    gap = score(large, "lora") - score(small, "lora")
    assert score(large, "lora", prefer=prefer) - score(small, "lora", prefer=prefer) < gap


def test_preferring_speed_costs_methods_that_slow_a_step_down():
    quick, slow = (score("Qwen/Qwen2.5-Coder-7B", method, prefer="speed") for method in ("lora", "dora"))
    same_costs = (score("Qwen/Qwen2.5-Coder-7B", method, prefer="memory") for method in ("lora", "dora"))
    assert quick - slow > next(same_costs) - next(same_costs)


@pytest.mark.parametrize("prefer", ["memory", "speed"])
def test_saving_alone_brings_nothing_untried_to_the_first_place(prefer):
    untried, tried = one(60, 5, tried=False), one(58, 10)
    assert leader([untried, tried], prefer) is tried
    assert pick([untried, tried], 2, prefer) == [tried, untried]


def test_what_is_expected_to_be_much_worse_does_not_come_first_for_having_been_tried():
    untried, tried = one(60, 5, tried=False), one(56, 10)  # four points of 100 are lost
    assert leader([untried, tried], "memory") is untried


def test_the_best_score_comes_first_where_quality_is_preferred_or_nothing_was_tried():
    untried, tried, other = one(60, 5, tried=False), one(59, 10), one(58, 5, tried=False)
    assert leader([tried, untried], "quality") is untried
    assert leader([other, untried], "memory") is untried


def test_a_method_counts_as_tried_on_a_task_where_any_paper_used_it_there():
    task, model = find_task("defect-detection"), find_base_model("microsoft/unixcoder-base")
    known, digests = strengths("classify"), read_digests("defect-detection")
    lora, bitfit = (pair_of(task, model, METHODS[slug], digests, known, "quality") for slug in ("lora", "bitfit"))
    rows = read_evidence(("defect-detection",))
    assert (lora.tried, bitfit.tried) == (
        any(row.method in ("lora", "qlora") for row in rows),
        any(row.method == "bitfit" for row in rows),
    )
    assert lora.tried != bitfit.tried
