"""From a request to the recommendation that the search starts from."""

from pathlib import Path

import pytest

from advisor.catalog.methods import METHODS
from advisor.errors import DataError, InfeasibleBudgetError, InputError
from advisor.recommendation import Recommendation, recommend
from advisor.records import write
from advisor.search.distributions import parameters_of
from advisor.spec import Budget, CodeTask
from advisor.tuning.request import TuningRequest
from advisor.tuning.starting_point import find_starting_point

MODEL = "microsoft/codebert-base"


def request(**fields: object) -> TuningRequest:
    here = Path("x.jsonl")
    return TuningRequest(train=here, valid=here, test=here, **fields)


def recommended(**fields: object) -> Recommendation:
    return recommend(CodeTask(task="clone-detection", budget=Budget(), base_model=MODEL, **fields))


def test_a_recommendation_file_is_what_the_search_starts_from(tmp_path):
    recommendation = recommended()
    write(recommendation, tmp_path / "recommendation.json")
    start = find_starting_point(request(recommendation=tmp_path / "recommendation.json"))
    assert start.recommendation == recommendation
    assert start.recommended == start.warm_starts[0]
    assert start.recommended.method == recommendation.candidates[0].method
    assert start == find_starting_point(request(recommendation=recommendation))


def test_task_and_model_are_recommended_for_as_by_the_command_recommend():
    start = find_starting_point(request(task="clone-detection", base_model=MODEL))
    assert start.recommendation == recommended()


def test_every_warm_start_can_be_enqueued():
    start = find_starting_point(request(task="clone-detection", base_model=MODEL))
    for candidate in start.warm_starts:
        parameters_of(candidate, start.space)


@pytest.mark.parametrize(
    "methods",
    [("ia3",), ("lora", "ia3"), ("qlora",), ("lora", "adapter-houlsby", "vera"), ("loha", "lokr"), ("mam",)],
)
def test_only_the_wanted_methods_are_searched(methods):
    start = find_starting_point(request(task="clone-detection", base_model=MODEL, methods=methods))
    wanted = {"lora" if name == "qlora" else name for name in methods}
    assert {part.method for part in start.space.methods} == wanted
    assert {line.method for line in start.recommendation.candidates} == wanted
    assert [line.rank for line in start.recommendation.candidates] == list(
        range(1, len(start.recommendation.candidates) + 1)
    )


def test_a_method_that_the_recommendation_lacks_is_refused():
    with pytest.raises(InputError, match="--method: ia3 cannot be searched; the recommendation holds lora"):
        find_starting_point(request(recommendation=recommended(method="lora"), methods=("ia3",)))


def test_one_method_that_the_recommendation_lacks_is_refused_beside_one_that_it_has():
    with pytest.raises(InputError, match="--method: ia3 cannot be searched; the recommendation holds lora"):
        find_starting_point(request(recommendation=recommended(method="lora"), methods=("lora", "ia3")))
    with pytest.raises(InputError, match=r"--method: qlora cannot .* holds lora \(qlora is lora on a 4bit base\)"):
        find_starting_point(request(recommendation=recommended(method="lora"), methods=("qlora",)))


def test_beside_qlora_the_other_methods_are_searched_on_the_4_bit_base():
    start = find_starting_point(request(task="clone-detection", base_model=MODEL, methods=("qlora", "ia3")))
    assert {part.method for part in start.space.methods} == {"lora", "ia3"}
    assert {one.quantization for one in start.warm_starts} == {"4bit"}
    assert start.space.bases == ()


def test_beside_qlora_lora_itself_is_searched_on_the_unquantized_base():
    start = find_starting_point(request(task="clone-detection", base_model=MODEL, methods=("lora", "qlora")))
    assert {part.method for part in start.space.methods} == {"lora"}
    assert {one.quantization for one in start.bases} == {None, "4bit"}


def test_a_method_that_needs_an_unquantized_base_is_refused_beside_qlora_unless_both_storages_are_named():
    wanted = {"task": "clone-detection", "base_model": MODEL, "methods": ("qlora", "vera")}
    with pytest.raises(InputError, match=r"vera does not work on the 4bit base of qlora; .*--quantization none"):
        find_starting_point(request(**wanted))
    start = find_starting_point(request(**wanted, quantizations=("none", "4bit")))
    assert {(one.method, one.quantization) for one in start.bases} == {("lora", "4bit"), ("vera", None)}


def test_an_empty_recommendation_is_refused():
    empty = Recommendation(task="clone-detection", budget=Budget(), candidates=())
    with pytest.raises(InputError, match="holds no candidate"):
        find_starting_point(request(recommendation=empty))


def test_a_broken_recommendation_file_is_refused(tmp_path):
    (tmp_path / "rec.json").write_text('{"task": 3}')
    with pytest.raises(DataError, match=r"rec\.json: task: expected str, found the number 3"):
        find_starting_point(request(recommendation=tmp_path / "rec.json"))


OTHER = "Salesforce/codet5-base"


def test_several_base_models_are_searched_each_with_its_recommendation_first():
    start = find_starting_point(request(task="clone-detection", base_model=(OTHER, MODEL)))
    assert {one.base_model for one in start.bases} == {MODEL, OTHER}
    assert start.bases == start.warm_starts[:2]
    assert start.recommended == start.bases[0]
    assert start.recommendation.candidates[0].candidate == start.recommended
    for candidate in start.warm_starts:
        parameters_of(candidate, start.space)
    # In whatever order they are named: that of the recommendation counts.
    assert start == find_starting_point(request(task="clone-detection", base_model=(MODEL, OTHER)))


def test_one_base_model_in_a_tuple_or_with_its_own_storage_is_as_one_alone():
    alone = find_starting_point(request(task="clone-detection", base_model=MODEL))
    assert find_starting_point(request(task="clone-detection", base_model=(MODEL,))) == alone
    stored = find_starting_point(request(task="clone-detection", base_model=MODEL, quantizations=("none",)))
    assert (stored.space, stored.warm_starts) == (alone.space, alone.warm_starts)
    assert alone.bases == (alone.recommended,)


def test_storages_are_searched_on_every_base_model():
    start = find_starting_point(request(task="clone-detection", base_model=MODEL, quantizations=("none", "4bit")))
    assert [(one.base_model, one.quantization) for one in start.bases] == [(MODEL, None), (MODEL, "4bit")]
    four = find_starting_point(request(task="clone-detection", base_model=MODEL, quantizations=("4bit",)))
    assert four.space.bases == ()
    assert {one.quantization for one in four.warm_starts} == {"4bit"}


def test_without_a_name_the_storages_are_those_of_the_first_recommended_base_model():
    start = find_starting_point(request(task="clone-detection", quantizations=("none", "4bit")))
    first = recommend(CodeTask(task="clone-detection", budget=Budget(), quantization="none")).candidates[0]
    assert {one.base_model for one in start.bases} == {first.base_model}
    assert len(start.bases) == 2


def test_a_recommendation_file_gives_lines_and_budget_to_the_base_models_that_are_named():
    given = recommend(CodeTask(task="clone-detection", budget=Budget(vram_gib=24), base_model=MODEL, method="ia3"))
    start = find_starting_point(request(recommendation=given, base_model=(MODEL, OTHER)))
    assert start.recommendation.budget == given.budget
    lines = start.recommendation.candidates
    assert [line.method for line in lines if line.base_model == MODEL] == ["ia3"]
    other = next(line for line in lines if line.base_model == OTHER)
    assert other.precision == "bf16"  # as within 24 GiB; without a budget it would be float32
    alone = find_starting_point(request(recommendation=given, base_model=OTHER))
    assert {one.base_model for one in alone.warm_starts} == {OTHER}


def test_a_base_model_that_does_not_fit_the_budget_of_the_file_is_refused():
    given = recommend(CodeTask(task="clone-detection", budget=Budget(vram_gib=4), base_model=MODEL))
    with pytest.raises(InfeasibleBudgetError, match=rf"Coder-7B cannot be searched: .*what fits: --model {MODEL}"):
        find_starting_point(request(recommendation=given, base_model=(MODEL, "Qwen/Qwen2.5-Coder-7B")))


def test_a_method_that_is_ranked_on_request_only_is_searched_on_each_of_several_base_models():
    names = (MODEL, OTHER)
    start = find_starting_point(request(task="clone-detection", base_model=names, methods=("lora", "loha")))
    lines = [(line.base_model, line.method) for line in start.recommendation.candidates]
    # What has evidence comes first.
    assert {name for name, _ in lines[:2]} == set(names)
    assert [method for _, method in lines] == ["lora", "lora", "loha", "loha"]
    assert set(lines) == {(name, method) for name in names for method in ("lora", "loha")}
    assert [{part.method for part in base.methods} for base in start.space.bases] == [{"lora", "loha"}] * 2
    assert {(one.base_model, one.method) for one in start.warm_starts} == set(lines)
    assert len({one.batch_size for one in start.warm_starts}) == 1
    for candidate in start.warm_starts:
        parameters_of(candidate, start.space)


def test_methods_that_are_all_ranked_on_request_only_are_searched_on_several_base_models():
    start = find_starting_point(request(task="clone-detection", base_model=(MODEL, OTHER), methods=("loha", "lokr")))
    lines = [(line.base_model, line.method) for line in start.recommendation.candidates]
    assert set(lines) == {(name, method) for name in (MODEL, OTHER) for method in ("loha", "lokr")}
    assert start.recommended.method == "loha"
    alone = find_starting_point(request(task="clone-detection", base_model=OTHER, methods=("loha", "lokr")))
    values = {one.method: one.hyperparameters for one in alone.warm_starts}
    there = {one.method: one.hyperparameters for one in start.warm_starts if one.base_model == OTHER}
    assert there == values


def test_a_method_that_is_ranked_on_request_only_is_searched_in_each_storage():
    stored = find_starting_point(
        request(task="clone-detection", base_model=MODEL, methods=("lora", "loha"), quantizations=("none", "4bit"))
    )
    found = {(one.quantization, one.method) for one in stored.warm_starts}
    assert {(None, "loha"), (None, "lora"), ("4bit", "lora")} <= found
    assert (("4bit", "loha") in found) == METHODS["loha"].works_quantized


@pytest.mark.parametrize("names", [(MODEL,), (MODEL, OTHER)])
def test_however_many_methods_are_named_all_are_searched(names):
    methods = ("lora", "ia3", "dora", "adalora", "rslora", "loha", "lokr")
    start = find_starting_point(request(task="clone-detection", base_model=names, methods=methods))
    assert {part.method for part in start.space.methods} == set(methods)
    for candidate in start.warm_starts:
        parameters_of(candidate, start.space)


def test_a_requested_method_that_works_on_one_of_the_base_models_is_searched_there():
    decoder = "deepseek-ai/deepseek-coder-1.3b-base"  # of type llama
    names = {"task": "code-summarization", "base_model": (OTHER, decoder)}
    start = find_starting_point(request(**names, methods=("lora", "llama-adapter")))
    assert {(one.base_model, one.method) for one in start.warm_starts if one.method == "llama-adapter"} == {
        (decoder, "llama-adapter")
    }
    with pytest.raises(InputError, match="llama-adapter"):
        find_starting_point(
            request(task="clone-detection", base_model=(MODEL, OTHER), methods=("lora", "llama-adapter"))
        )


def test_a_method_must_work_on_every_base_model():
    names = (MODEL, OTHER)
    start = find_starting_point(request(task="clone-detection", base_model=names, methods=("lora", "ia3")))
    assert all({part.method for part in base.methods} == {"lora", "ia3"} for base in start.space.bases)
    with pytest.raises(
        InputError, match=f"prefix-tuning, p-tuning cannot be searched on {OTHER} .not quantized.; leave"
    ):
        find_starting_point(request(task="clone-detection", base_model=names, methods=("prefix-tuning", "p-tuning")))
