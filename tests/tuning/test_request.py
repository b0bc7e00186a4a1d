"""What is asked of `tune`: limits that belong together, and values that make no sense."""

import pytest

from advisor.errors import InputError
from advisor.tuning.request import TuningRequest


def asked(tmp_path, **changes: object) -> TuningRequest:
    files = {split: tmp_path / f"{split}.jsonl" for split in ("train", "valid", "test")}
    return TuningRequest(task="clone-detection", **files, **changes)


@pytest.mark.parametrize(
    ("limits", "limit_s"),
    [
        ({}, None),
        ({"time_limit_s": 600.0}, 600),
        ({"gpu_hours": 0.5}, 1800),
        ({"time_limit_s": 600.0, "gpu_hours": 0.5}, 600),
        ({"time_limit_s": 7200.0, "gpu_hours": 0.5}, 1800),
    ],
)
def test_of_two_limits_the_smaller_counts(tmp_path, limits, limit_s):
    assert asked(tmp_path, **limits).limit_s == limit_s


def test_finalists_are_trained_with_three_seeds_unless_another_number_is_asked_for(tmp_path):
    assert asked(tmp_path).final_seeds == 3
    assert asked(tmp_path, final_seeds=1).final_seeds == 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"gpu_hours": 0.0}, "--gpu-hours: 0 is not a time limit"),
        ({"gpu_hours": float("inf")}, "--gpu-hours: inf is not a time limit"),
        ({"target": float("nan")}, "--target: nan is not a value"),
        ({"final_seeds": 0}, "--final-seeds: 0 is less than 1"),
        ({"n_trials": 0}, "--trials: 0 is less than 1"),
        ({"quantizations": ("4bit", "2bit")}, "--quantization: 2bit is not one of none, 4bit, 8bit"),
        ({"objectives": ("quality", "speed")}, "--objective: speed is not one of quality, memory, latency"),
        ({"objectives": ("memory",)}, "--objective: memory given; name quality and, each once"),
        ({"objectives": ("quality", "memory", "memory")}, "--objective: quality, memory, memory given"),
        ({"objectives": ()}, "--objective: none given"),
        ({"recommendation": "rec.json"}, "--task and a recommendation file exclude each other"),
    ],
)
def test_values_without_sense_are_one_line(tmp_path, changes, said):
    with pytest.raises(InputError, match=said):
        asked(tmp_path, **changes)


def test_a_target_may_be_any_value_of_any_metric(tmp_path):
    for target in (-0.5, 0.0, 0.93, 27.4):
        assert asked(tmp_path, target=target).target == target


def test_base_models_may_be_none_one_or_several(tmp_path):
    assert asked(tmp_path).base_models == ()
    assert asked(tmp_path, base_model="a").base_models == ("a",)
    assert asked(tmp_path, base_model=("a", "b")).base_models == ("a", "b")
