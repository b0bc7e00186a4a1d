"""From a request to the recommendation that the search starts from."""

from pathlib import Path

import pytest

from advisor.errors import DataError, InputError
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


@pytest.mark.parametrize("methods", [("ia3",), ("lora", "ia3"), ("qlora",)])
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


def test_an_empty_recommendation_is_refused():
    empty = Recommendation(task="clone-detection", budget=Budget(), candidates=())
    with pytest.raises(InputError, match="holds no candidate"):
        find_starting_point(request(recommendation=empty))


def test_a_broken_recommendation_file_is_refused(tmp_path):
    (tmp_path / "rec.json").write_text('{"task": 3}')
    with pytest.raises(DataError, match=r"rec\.json: task: expected str, found the number 3"):
        find_starting_point(request(recommendation=tmp_path / "rec.json"))
