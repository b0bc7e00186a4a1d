"""One recommendation for several base models: every one fits, the best comes first, and all can be compared."""

import pytest

from advisor.catalog.methods import METHODS
from advisor.errors import InfeasibleBudgetError, InputError, UnknownNameError
from advisor.recommendation import recommend
from advisor.recommendation.several import WantedBase, recommend_each
from advisor.spec import Budget, CodeTask, QuantizationChoice

SMALL, MIDDLE, LARGE = "Qwen/Qwen2.5-Coder-0.5B", "Qwen/Qwen2.5-Coder-3B", "Qwen/Qwen2.5-Coder-7B"


def asked(task: str = "code-summarization", vram: float | None = 24, **more: object) -> CodeTask:
    return CodeTask(task=task, budget=Budget(vram_gib=vram), **more)  # type: ignore[arg-type]


def wanted(*names: str, quantization: QuantizationChoice | None = None) -> list[WantedBase]:
    return [WantedBase(base_model=name, quantization=quantization) for name in names]


def test_every_base_model_has_the_lines_that_it_would_have_alone():
    found = recommend_each(asked(), wanted(SMALL, MIDDLE))
    assert [line.rank for line in found.candidates] == list(range(1, len(found.candidates) + 1))
    for name in (SMALL, MIDDLE):
        alone = recommend(asked(base_model=name)).candidates
        own = [line for line in found.candidates if line.base_model == name]
        assert {(line.method, line.estimate) for line in own} == {(line.method, line.estimate) for line in alone}


def test_the_order_is_that_of_a_recommendation_that_may_choose_between_them():
    # Without a word about base models, `recommend` ranks the same pairs by the same score.
    free = [
        line.base_model for line in recommend(asked("clone-detection", top=100)).candidates if line.method == "lora"
    ]
    first, second = dict.fromkeys(free[:2])
    found = recommend_each(asked("clone-detection", method="lora"), wanted(second, first))
    assert [line.base_model for line in found.candidates] == [first, second]


def test_all_see_the_same_examples_in_a_step_and_no_more_at_once_than_fit():
    found = recommend_each(asked("clone-detection"), wanted("microsoft/codebert-base", SMALL))
    assert found.candidates[0].base_model == "microsoft/codebert-base"
    assert {line.batch_size for line in found.candidates} == {32}
    # A decoder is recommended 16 examples a step; more than that were not checked to fit at once.
    own = [line for line in found.candidates if line.base_model == SMALL]
    alone = recommend(asked("clone-detection", base_model=SMALL)).candidates
    assert {line.batch_size for line in alone} == {16}
    for line in own:
        before = next(one for one in alone if one.method == line.method)
        assert line.micro_batch_size == (before.micro_batch_size or before.batch_size)


@pytest.mark.parametrize("quantization", ["none", "4bit", "8bit"])
def test_the_storage_that_is_asked_for_is_the_one_that_is_recommended(quantization):
    found = recommend_each(asked(), wanted(SMALL, MIDDLE, quantization=quantization))
    assert {line.base_model for line in found.candidates} == {SMALL, MIDDLE}
    assert {line.quantization or "none" for line in found.candidates} == {quantization}


def test_one_base_model_in_two_storages_is_two():
    both = [WantedBase(base_model=SMALL, quantization=one) for one in ("none", "4bit")]
    found = recommend_each(asked(), both)
    assert {line.quantization for line in found.candidates} == {None, "4bit"}
    assert recommend_each(asked(), [*both, *both]) == found
    short = recommend_each(asked(), [WantedBase(base_model="qwen2.5-coder-0.5b", quantization="none"), both[1]])
    assert short == found


def test_lines_that_are_given_are_taken_as_they_stand():
    given = recommend(asked(base_model=SMALL, method="ia3")).candidates
    found = recommend_each(asked(), wanted(SMALL, MIDDLE), given)
    assert [line.method for line in found.candidates if line.base_model == SMALL] == ["ia3"]
    assert len([line for line in found.candidates if line.base_model == MIDDLE]) > 1
    # Not as they stand in another storage.
    other = recommend_each(asked(), wanted(SMALL, quantization="4bit"), given)
    assert len(other.candidates) > 1


def test_a_base_model_that_does_not_fit_is_refused_with_what_does():
    with pytest.raises(InfeasibleBudgetError) as refused:
        recommend_each(asked(vram=8), wanted(SMALL, LARGE))
    said = str(refused.value)
    assert said.startswith(f"--model {LARGE} cannot be searched: nothing fits in ")
    assert said.endswith(f"what fits: --model {SMALL}")
    assert "\n" not in said


def test_a_storage_that_does_not_fit_is_refused_with_the_one_that_does():
    with pytest.raises(InfeasibleBudgetError) as refused:
        recommend_each(asked(vram=16), [WantedBase(base_model=LARGE, quantization="none")])
    said = str(refused.value)
    assert said.startswith(f"--model {LARGE} --quantization none cannot be searched: ")
    assert said.endswith(f"what fits: --model {LARGE} --quantization 4bit")
    assert recommend(asked(vram=16, base_model=LARGE)).candidates[0].quantization == "4bit"


def test_where_nothing_fits_all_are_named():
    with pytest.raises(InfeasibleBudgetError) as refused:
        recommend_each(asked(vram=3), wanted(MIDDLE, LARGE))
    assert str(refused.value).startswith(f"--model {MIDDLE} cannot be searched (nor --model {LARGE}): ")
    assert str(refused.value).endswith("name a smaller base model")


@pytest.mark.parametrize(
    ("names", "more", "kind", "said"),
    [
        (("microsoft/codebert-base", SMALL), {}, InputError, r"codebert-base' \(encoder-only\) cannot do"),
        ((SMALL, "nobody/model"), {}, UnknownNameError, "unknown base model 'nobody/model'"),
        ((), {}, InputError, "no base model was named"),
    ],
)
def test_a_base_model_that_cannot_be_searched_at_all_is_one_line(names, more, kind, said):
    with pytest.raises(kind, match=said):
        recommend_each(asked(**more), wanted(*names))


@pytest.mark.parametrize(
    ("method", "quantization", "said"),
    [
        ("qlora", "none", "'qlora' is lora on a 4bit base; leave --quantization out, or give --method lora"),
        ("vera", "4bit", "--quantization 4bit: 'vera' does not work on a quantized base; name another method"),
    ],
)
def test_a_method_that_does_not_go_with_the_storage_is_refused(method, quantization, said):
    with pytest.raises(InputError, match=said):
        recommend(asked(base_model=SMALL, method=method, quantization=quantization))


def test_a_quantized_base_is_not_offered_methods_that_do_not_work_on_it():
    alone = recommend(asked(base_model=SMALL, quantization="none", top=100)).candidates
    quantized = recommend(asked(base_model=SMALL, quantization="4bit", top=100)).candidates
    left_out = {line.method for line in alone} - {line.method for line in quantized}
    assert left_out == {line.method for line in alone if not METHODS[line.method].works_quantized}
    assert "layernorm-tuning" in left_out
