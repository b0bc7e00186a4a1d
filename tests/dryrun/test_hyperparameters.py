"""Values against the types that PEFT declares."""

from dataclasses import MISSING, fields

import pytest
from peft import AdaLoraConfig, LoraConfig, OFTConfig, PrefixTuningConfig, PromptTuningConfig
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

from advisor.dryrun.hyperparameters import check_values
from advisor.errors import InputError


@pytest.mark.parametrize("config_class", PEFT_TYPE_TO_CONFIG_MAPPING.values(), ids=lambda one: one.__name__)
def test_no_method_is_refused_its_own_defaults(config_class):
    defaults = {}
    for field in fields(config_class):
        if field.default is not MISSING:
            defaults[field.name] = field.default
        elif field.default_factory is not MISSING:
            defaults[field.name] = field.default_factory()
    check_values(config_class, defaults, "--set")


@pytest.mark.parametrize(
    ("config_class", "values"),
    [
        (LoraConfig, {"r": 1, "lora_alpha": 0.5, "lora_dropout": 0, "bias": "all", "target_modules": ["q_proj"]}),
        (LoraConfig, {"target_modules": {"q_proj"}, "rank_pattern": {"q_proj": 4}, "layers_to_transform": [0]}),
        (LoraConfig, {"init_lora_weights": "pissa_niter_4"}),
        (LoraConfig, {"init_lora_weights": False, "target_modules": None}),
        (OFTConfig, {"r": 0, "oft_block_size": 32}),
        (AdaLoraConfig, {"init_r": 12}),
        (PromptTuningConfig, {"num_virtual_tokens": 20}),
        (LoraConfig, {"a name that PEFT does not have": object()}),
    ],
)
def test_right_values_pass(config_class, values):
    check_values(config_class, values, "--set")


@pytest.mark.parametrize(
    ("config_class", "values", "said"),
    [
        (LoraConfig, {"r": "abc"}, "--set r='abc': must be a whole number"),
        (LoraConfig, {"r": 1.5}, "r=1.5: must be a whole number"),
        (LoraConfig, {"r": True}, "must be a whole number"),
        (LoraConfig, {"r": None}, "must be a whole number"),
        (LoraConfig, {"r": -3}, "r=-3: must be from 1 to"),
        (LoraConfig, {"r": 0}, "must be from 1 to"),
        (LoraConfig, {"r": 10**9}, "must be from 1 to"),
        (LoraConfig, {"lora_dropout": "high"}, "must be a number"),
        (LoraConfig, {"use_dora": "maybe"}, "must be true or false"),
        (LoraConfig, {"use_dora": 1}, "must be true or false"),
        (LoraConfig, {"bias": "some"}, "must be one of none, all, lora_only"),
        (LoraConfig, {"init_lora_weights": "magic"}, "one of gaussian"),
        (LoraConfig, {"target_modules": 5}, "must be a list or text or null"),
        (LoraConfig, {"rank_pattern": [1]}, "must be a mapping or null"),
        (PrefixTuningConfig, {"num_virtual_tokens": "ten"}, "must be a whole number"),
        (PrefixTuningConfig, {"num_virtual_tokens": 10**9}, "must be from 1 to"),
    ],
)
def test_wrong_values_are_named(config_class, values, said):
    with pytest.raises(InputError) as caught:
        check_values(config_class, values, "--set")
    assert said in str(caught.value)


def test_a_long_value_with_control_characters_is_one_short_line():
    with pytest.raises(InputError) as caught:
        check_values(LoraConfig, {"r": "\x1b[31m\n" * 100}, "--set")
    assert len(str(caught.value)) < 150
    assert str(caught.value).isprintable()
