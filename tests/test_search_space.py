"""The space around a recommendation, and the points the search starts from."""

import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from advisor.candidates import Candidate
from advisor.catalog.methods import METHODS
from advisor.catalog.tasks import TASKS
from advisor.errors import InputError
from advisor.recommendation import Recommendation, recommend
from advisor.recommendation.several import WantedBase, recommend_each
from advisor.search_space import (
    MOST_METHODS,
    BaseSpace,
    SearchSpace,
    candidate_from_choice,
    joint_search_space,
    search_space,
    warm_starts,
)
from advisor.spec import Budget, CodeTask

DEMO = Path(__file__).parents[1] / "advisor" / "demo" / "bases" / "encoder"


def holds(space, candidate) -> bool:
    part = next((part for part in space.methods if part.method == candidate.method), None)
    if part is None:
        return False
    for dimension in part.dimensions:
        value = candidate.hyperparameters[dimension.name]
        if dimension.kind == "categorical":
            if value not in dimension.choices:
                return False
        elif not dimension.low <= value <= dimension.high:
            return False
    return True


def asked(task: str, vram: float | None = 24, **more: object):
    return recommend(CodeTask(task=task, budget=Budget(vram_gib=vram), **more))


@pytest.mark.parametrize("task", TASKS)
def test_every_warm_start_lies_in_the_space_and_the_first_is_the_recommendation(task):
    found = asked(task)
    space = search_space(found)
    points = warm_starts(found, space)
    assert all(holds(space, point) for point in points)
    assert points[0].method == found.candidates[0].method
    assert points[0].base_model == found.candidates[0].base_model
    assert len(space.methods) <= MOST_METHODS


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(data=st.data(), task=st.sampled_from(sorted(TASKS)), vram=st.sampled_from([4, 16, 80, None]))
def test_every_choice_in_the_space_is_a_valid_candidate(data, task, vram):
    found = asked(task, vram, top=8)
    space = search_space(found)
    part = data.draw(st.sampled_from(space.methods))
    values = {}
    for dimension in part.dimensions:
        if dimension.kind == "categorical":
            values[dimension.name] = data.draw(st.sampled_from(dimension.choices))
        elif dimension.kind == "int":
            values[dimension.name] = data.draw(st.integers(math.ceil(dimension.low), math.floor(dimension.high)))
        else:
            values[dimension.name] = data.draw(st.floats(dimension.low, dimension.high))
    candidate = candidate_from_choice(found.candidates[0], part.method, values)
    assert isinstance(candidate, Candidate)
    assert holds(space, candidate)
    assert set(candidate.hyperparameters) == set(METHODS[part.method].defaults)
    assert candidate.quantization is None or METHODS[part.method].works_quantized


def test_a_choice_of_the_recommended_method_keeps_what_is_not_searched():
    found = asked("clone-detection").candidates[0]
    chosen = candidate_from_choice(found, found.method, {"learning_rate": 2e-3, "r": 32})
    assert chosen.hyperparameters["num_epochs"] == found.hyperparameters["num_epochs"]
    assert chosen.hyperparameters["learning_rate"] == 2e-3
    assert chosen.hyperparameters["lora_alpha"] == 64
    assert chosen.micro_batch_size == found.micro_batch_size


def test_a_choice_of_another_method_takes_that_methods_defaults():
    found = asked("clone-detection").candidates[0]
    chosen = candidate_from_choice(found, "ia3", {"learning_rate": 1e-3})
    assert chosen.hyperparameters == {**METHODS["ia3"].hyperparameters("encoder-only"), "learning_rate": 1e-3}
    assert chosen.batch_size == found.batch_size


def test_the_published_rate_and_a_decade_around_it_stay_in_reach():
    found = asked("clone-detection")
    rate = next(one for one in search_space(found).methods[0].dimensions if one.name == "learning_rate")
    centre = found.candidates[0].hyperparameters["learning_rate"]
    assert rate.low <= centre / 2
    assert rate.high >= centre * 5


def test_one_method_asked_for_is_one_method_searched():
    found = asked("clone-detection", method="ia3")
    assert [part.method for part in search_space(found).methods] == ["ia3"]


def test_methods_recommended_for_another_base_model_are_searched_when_they_work_on_this_one():
    found = asked("clone-detection", base_model="microsoft/unixcoder-base", top=9)
    assert len(search_space(found).methods) == MOST_METHODS


def test_a_base_model_that_was_not_recommended_is_refused_with_those_that_were():
    with pytest.raises(InputError, match=r"it holds .*graphcodebert"):
        search_space(asked("clone-detection"), "nobody/model")


@pytest.mark.skipif(not DEMO.is_dir(), reason="the demo base models are not in this checkout")
def test_a_local_base_model_without_a_budget_gives_a_space_in_float32():
    found = asked("clone-detection", None, base_model=str(DEMO), top=100)
    points = warm_starts(found, search_space(found))
    assert {(point.base_model, point.precision, point.quantization) for point in points} == {(str(DEMO), "fp32", None)}
    assert len({point.method for point in points}) == len(points) == MOST_METHODS


ENCODER, T5, DECODER = "microsoft/codebert-base", "Salesforce/codet5-base", "Qwen/Qwen2.5-Coder-0.5B"


def several(*wanted: WantedBase, vram: float | None = 24, **more: object) -> Recommendation:
    spec = CodeTask(task="clone-detection", budget=Budget(vram_gib=vram), **more)
    return recommend_each(spec, wanted or [WantedBase(base_model=name) for name in (ENCODER, T5, DECODER)])


def test_every_base_model_has_the_methods_that_work_on_it_and_the_ranges_for_its_architecture():
    space = joint_search_space(several())
    bases = {base.label: base for base in space.bases}
    assert [base.recommended.base_model for base in space.bases] == list(bases)
    assert set(bases) == {ENCODER, T5, DECODER}
    for base in space.bases:
        # What the space for this base model alone has for a method is what it has for it here.
        alone = recommend(CodeTask(task="clone-detection", budget=Budget(vram_gib=24), base_model=base.label, top=100))
        own = {part.method: part for part in search_space(alone, base.label).methods}
        assert all(own[part.method] == part for part in base.methods if part.method in own)
        assert {part.method for part in base.methods} <= {line.method for line in alone.candidates}
    methods = {label: {part.method for part in base.methods} for label, base in bases.items()}
    assert "bitfit" in methods[ENCODER]
    assert "bitfit" not in methods[T5]  # it has no biases
    assert {part.method for part in space.methods} == set().union(*methods.values())
    assert len(space.methods) <= MOST_METHODS


def test_the_recommendation_of_every_base_model_comes_first_then_the_runners_up_in_their_order():
    found = several()
    space = joint_search_space(found)
    points = warm_starts(found, space)
    assert points[:3] == tuple(base.recommended for base in space.bases)
    assert (points[0].base_model, points[0].method) == (found.candidates[0].base_model, found.candidates[0].method)
    assert len(set(map(repr, points))) == len(points)
    ranks = {(line.base_model, line.method): line.rank for line in found.candidates}
    rest = [ranks[point.base_model, point.method] for point in points[3:]]
    assert rest == sorted(rest)
    assert all(holds(space.base_of(point), point) for point in points)


def test_every_base_model_keeps_its_own_way_of_training_but_for_the_examples_of_a_step():
    space = joint_search_space(several())
    by_name = {base.label: base.recommended for base in space.bases}
    assert {one.architecture for one in by_name.values()} == {"encoder-only", "encoder-decoder", "decoder-only"}
    assert {one.batch_size for one in by_name.values()} == {by_name[ENCODER].batch_size}
    for name, one in by_name.items():
        alone = recommend(CodeTask(task="clone-detection", budget=Budget(vram_gib=24), base_model=name)).candidates[0]
        assert (one.precision, one.quantization, one.max_seq_length, one.gradient_checkpointing) == (
            alone.precision, alone.quantization, alone.max_seq_length, alone.gradient_checkpointing,
        )  # fmt: skip


def test_a_base_model_in_two_storages_is_told_apart_by_them():
    wanted = [WantedBase(base_model=DECODER, quantization=one) for one in ("none", "4bit")]
    space = joint_search_space(several(*wanted, WantedBase(base_model=ENCODER)))
    labels = {base.label: base.recommended.quantization for base in space.bases}
    assert labels == {f"{DECODER} (not quantized)": None, f"{DECODER} (4bit)": "4bit", ENCODER: None}
    for base in space.bases:
        assert base.recommended.quantization is None or all(METHODS[one.method].works_quantized for one in base.methods)


def test_one_base_model_is_a_space_without_base_models():
    found = several(WantedBase(base_model=ENCODER))
    assert joint_search_space(found) == search_space(found)
    assert joint_search_space(found).bases == ()


def test_base_models_that_cannot_be_told_apart_are_a_mistake_of_the_caller():
    base = joint_search_space(several()).bases[0]
    methods = base.methods
    with pytest.raises(ValueError, match="two or more, all different"):
        SearchSpace(methods=methods, bases=(base,))
    with pytest.raises(ValueError, match="two or more, all different"):
        SearchSpace(methods=methods, bases=(base, base))
    with pytest.raises(ValueError, match="lora is recommended but not searched"):
        BaseSpace(label="x", recommended=base.recommended, methods=methods[1:])
