"""The catalogue of methods, compared with what the installed PEFT offers."""

import pytest
from peft import PeftType
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from peft.utils.constants import TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING

from advisor.catalog.files import read_rows
from advisor.catalog.methods import METHODS, derived_values, find_method, resolve_method
from advisor.errors import UnknownNameError
from advisor.evidence.papers import read_papers

TRAINING = {"learning_rate", "num_epochs", "weight_decay", "warmup_ratio", "lr_scheduler_type"}
EVERY = pytest.mark.parametrize("method", METHODS.values(), ids=list(METHODS))


@EVERY
def test_peft_knows_the_method_and_all_its_hyperparameters(method):
    if method.peft_type is None:
        assert set(method.defaults) == TRAINING
        return
    config = PEFT_TYPE_TO_CONFIG_MAPPING[PeftType(method.peft_type)]
    assert set(method.defaults) - TRAINING <= set(config.__dataclass_fields__)


@EVERY
def test_defaults_lie_inside_the_ranges_for_every_architecture(method):
    for architecture in method.architectures:
        defaults = method.hyperparameters(architecture)
        for dimension in method.dimensions:
            value = defaults[dimension.name]
            if dimension.kind == "categorical":
                assert value in dimension.choices
            else:
                assert dimension.low <= value <= dimension.high


@EVERY
def test_every_cited_row_and_paper_exists(method):
    known = {row["id"] for row in read_rows("evidence.jsonl")}
    assert {id_ for dimension in method.dimensions for id_ in dimension.evidence} <= known
    assert method.paper is None or method.paper in read_papers()


@EVERY
def test_the_learning_rate_is_searched_on_a_logarithmic_scale(method):
    (rate,) = [dimension for dimension in method.dimensions if dimension.name == "learning_rate"]
    assert rate.log


def test_the_model_types_of_ia3_are_those_of_peft():
    assert METHODS["ia3"].model_types == set(TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING)


def test_qlora_means_lora_on_a_four_bit_base():
    method, quantization = resolve_method("qlora")
    assert (method.slug, quantization) == ("lora", "4bit")
    assert resolve_method("lora") == (METHODS["lora"], None)


def test_qlora_is_not_a_method_of_a_candidate_and_the_error_says_what_is_meant():
    with pytest.raises(UnknownNameError, match="lora on a base model with quantization 4bit"):
        find_method("qlora")


def test_asking_for_a_bottleneck_adapter_is_told_that_peft_has_none():
    with pytest.raises(UnknownNameError, match="PEFT has none"):
        resolve_method("adapter")


def test_lora_alpha_follows_the_rank_unless_it_was_chosen():
    assert derived_values("lora", {"r": 8}) == {"lora_alpha": 16}
    assert derived_values("lora", {"r": 8, "lora_alpha": 8}) == {}
    assert derived_values("rslora", {"r": 8}) == {}


def test_soft_prompts_are_not_offered_where_peft_cannot_place_them():
    assert not METHODS["prompt-tuning"].supports("encoder-decoder", "sequence-classification")
    assert METHODS["prompt-tuning"].supports("encoder-decoder", "seq2seq-lm")
