"""LLaMA-Factory's and ms-swift's files say to the `Trainer` what the candidate says."""

import json
from pathlib import Path

import pytest

from advisor.errors import InputError
from advisor.exports import llama_factory, ms_swift
from advisor.exports.trainer_arguments import trainer_arguments
from tests.exports.plans import plan

HYPERPARAMETERS = {
    "learning_rate": 3e-4, "num_epochs": 7, "lr_scheduler_type": "cosine", "warmup_ratio": 0.03, "weight_decay": 0.1,
}  # fmt: skip


@pytest.mark.parametrize("program", ["llama-factory", "ms-swift"])
def test_every_name_is_one_that_the_program_publishes(program):
    published = json.loads(Path(__file__).with_name("published_fields.json").read_text(encoding="utf-8"))
    assert set(trainer_arguments(plan())) <= set(published[program]["fields"])


def test_the_values_are_those_of_the_candidate():
    said = trainer_arguments(plan(hyperparameters=HYPERPARAMETERS, candidate={"precision": "fp16"}))
    assert (said["learning_rate"], said["num_train_epochs"], said["lr_scheduler_type"]) == (3e-4, 7.0, "cosine")
    assert (said["warmup_ratio"], said["weight_decay"]) == (0.03, 0.1)
    assert (said["bf16"], said["fp16"]) == (False, True)
    assert (said["per_device_train_batch_size"], said["gradient_accumulation_steps"]) == (4, 4)  # 16 in portions of 4


def test_float32_is_neither_of_the_short_types():
    said = trainer_arguments(plan(candidate={"precision": "fp32"}))
    assert (said["bf16"], said["fp16"]) == (False, False)


@pytest.mark.parametrize("render", [llama_factory.render, ms_swift.render])
def test_both_files_say_the_same_to_the_trainer(render):
    lines = render(plan(hyperparameters=HYPERPARAMETERS)).splitlines()
    for line in ("learning_rate: 0.0003", "num_train_epochs: 7.0", 'lr_scheduler_type: "cosine"', "warmup_ratio: 0.03"):
        assert line in lines


def test_a_number_of_epochs_that_is_no_number_is_refused():
    with pytest.raises(InputError, match="num_epochs"):
        trainer_arguments(plan(hyperparameters={"num_epochs": "many"}))
