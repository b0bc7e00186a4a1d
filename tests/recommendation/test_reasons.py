"""The sentences of the reasons hold what the cited rows and the stored strengths hold, and read as sentences."""

import json
import re

import pytest

from advisor.catalog.files import knowledge_folder
from advisor.catalog.tasks import TASKS
from advisor.recommendation import recommend
from advisor.recommendation.reasons import in_a_sentence
from advisor.spec import Budget, CodeTask


def reasons(task: str, vram: float = 24, **more: object):
    (first, *_) = recommend(CodeTask(task=task, budget=Budget(vram_gib=vram), **more)).candidates
    return {reason.choice: reason for reason in first.reasons}


@pytest.mark.parametrize("task", TASKS)
def test_no_row_is_cited_for_and_against_the_same_choice_and_numbers_agree_with_their_nouns(task):
    for line in recommend(CodeTask(task=task, budget=Budget(vram_gib=24))).candidates:
        for reason in line.reasons:
            assert not set(reason.evidence) & set(reason.contrary)
            assert not re.search(r"\b1 (papers|set-ups|examples)\b|\b1 of \d+ papers are\b", reason.text)


def test_set_ups_won_and_lost_add_up_to_the_number_told():
    text = reasons("program-repair")["method"].text
    told = re.findall(r"in (\d+) set-ups? of \d+ papers? \((.*?)\)", text)
    assert told
    for setups, counts in told:
        assert int(setups) == sum(int(number) for number in re.findall(r"in (\d+)", counts))


def test_a_place_says_how_many_models_have_figures_for_the_very_ability():
    stored = json.loads((knowledge_folder() / "base_model_strengths.json").read_text())["test"]
    text = reasons("unit-test-generation")["base_model"].text
    place, among, on_it = map(int, re.findall(r"\d+", text)[:3])
    assert place <= among <= sum(row["figures"] for row in stored.values())
    assert 0 < on_it <= sum(row["figures"] and row["own"] for row in stored.values())
    assert on_it < among


def test_a_model_with_figures_for_other_abilities_only_says_so():
    assert "those of this one are for other abilities" in reasons("program-repair")["base_model"].text


def test_full_fine_tuning_is_not_compared_with_itself():
    text = reasons("defect-detection", 12, method="full")["forecast"].text
    assert text == "full fine-tuning is what the other methods are measured against"


def test_four_bits_are_explained_by_the_size_of_the_weights_where_they_do_not_fit():
    # Qwen2.5-Coder-14B: 14.77e9 parameters of 2 bytes are 27.5 GiB.
    assert "in 16 bits its weights alone take about 28 GiB" in reasons("program-repair")["quantization"].text


def test_alpha_is_told_in_ranks():
    assert re.match(
        r"32, 2 times r: centre of \d+ papers, mostly [\d.]+ to \d+ times r",
        reasons("code-generation")["lora_alpha"].text,
    )


def cautions(model: str, gpu: str, task: str = "code-generation") -> str:
    asked = CodeTask(task=task, budget=Budget(gpu=gpu), base_model=model, method="lora")
    return " ".join(one.text for one in recommend(asked).candidates[0].reasons if one.choice == "caution")


def test_a_decoder_on_a_gpu_without_bfloat16_is_warned_of_overflow_and_that_nothing_is_known():
    said = cautions("Qwen/Qwen2.5-Coder-7B", "T4")
    assert "float16 ends at 65504" in said  # torch.finfo(torch.float16).max
    assert "no evidence" in said
    assert "65504" not in cautions("Qwen/Qwen2.5-Coder-7B", "L4")
    assert "65504" not in cautions("microsoft/unixcoder-base", "T4", "clone-detection")


def test_rows_cited_for_a_rate_are_of_the_size_of_the_base_model():
    """QLoRA's authors name 2e-4 for 7B and 1e-4 for 65B; the first is cited for a model of 8B parameters."""
    cited = reasons("code-generation", base_model="Qwen/Qwen2.5-Coder-7B", method="lora")["learning_rate"]
    assert dict(zip(cited.evidence, cited.figures, strict=True))["dettmers2023qlora-001"] == 2e-4
    assert "dettmers2023qlora-002" not in cited.evidence


@pytest.mark.parametrize(
    ("title", "inside"),
    [
        ("Prompt tuning", "prompt tuning"), ("Full fine-tuning", "full fine-tuning"), ("LoRA", "LoRA"),
        ("P-tuning", "P-tuning"), ("(IA)3", "(IA)3"), ("BitFit (bias-only tuning)", "BitFit (bias-only tuning)"),
        ("LayerNorm tuning", "LayerNorm tuning"),
    ],
)  # fmt: skip
def test_names_of_methods_inside_a_sentence(title, inside):
    assert in_a_sentence(title) == inside
