"""The catalogue of methods, compared with what the installed PEFT offers."""

import inspect

import pytest
import torch
from peft import LoraConfig, PeftType, get_peft_model
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from peft.optimizers import create_loraplus_optimizer
from peft.utils.constants import TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING
from peft.utils.transformers_weight_conversion import _MOE_TARGET_MODULE_MAPPING
from transformers import CONFIG_MAPPING, AutoConfig, AutoModelForCausalLM
from transformers.conversion_mapping import _MODEL_TO_CONVERSION_PATTERN

from advisor.catalog.files import read_rows
from advisor.catalog.methods import (
    ADAPTED_EXPERTS,
    LORA_FAMILY,
    METHODS,
    derived_values,
    find_method,
    resolve_method,
    restrictions,
)
from advisor.errors import UnknownNameError
from advisor.evidence.papers import read_papers
from advisor.modeling.quiet import quiet_libraries

TRAINING = {"learning_rate", "num_epochs", "weight_decay", "warmup_ratio", "lr_scheduler_type"}
EVERY = pytest.mark.parametrize("method", METHODS.values(), ids=list(METHODS))


@EVERY
def test_peft_knows_the_method_and_all_its_hyperparameters(method):
    if method.peft_type is None:
        assert set(method.defaults) == TRAINING
        return
    config = PEFT_TYPE_TO_CONFIG_MAPPING[PeftType(method.peft_type)]
    of_the_optimizer = (
        set(inspect.signature(create_loraplus_optimizer).parameters) if method.peft_type == "LORA" else set()
    )
    assert set(method.defaults) - TRAINING <= set(config.__dataclass_fields__) | of_the_optimizer


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
    assert derived_values("lora-plus", {"r": 8}) == {"lora_alpha": 16}
    assert derived_values("rslora", {"r": 8}) == {}


def test_soft_prompts_are_not_offered_where_peft_cannot_place_them():
    assert not METHODS["prompt-tuning"].supports("encoder-decoder", "sequence-classification")
    assert METHODS["prompt-tuning"].supports("encoder-decoder", "seq2seq-lm")


def test_the_mixtures_whose_experts_are_adapted_are_those_of_peft_and_transformers():
    translated = {kind for kind, like in _MODEL_TO_CONVERSION_PATTERN.items() if like in _MOE_TARGET_MODULE_MAPPING}
    assert {kind for kind in translated | set(_MOE_TARGET_MODULE_MAPPING) if kind in CONFIG_MAPPING} == ADAPTED_EXPERTS


@pytest.mark.parametrize("model_type", ["qwen3_moe", "deepseek_v2", "mixtral", "gpt_oss", "llama"])
@pytest.mark.parametrize("method", sorted(LORA_FAMILY))
def test_what_a_method_must_have_on_a_type_of_model_is_what_peft_demands(method, model_type):
    sizes = {
        "vocab_size": 64, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "head_dim": 16,
        "num_attention_heads": 2, "num_key_value_heads": 2, "num_experts": 2, "num_local_experts": 2,
        "n_routed_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 16, "first_k_dense_replace": 0,
        "q_lora_rank": None, "kv_lora_rank": 8, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 16,
        "n_group": 1, "topk_group": 1, "pad_token_id": 0,
    }  # fmt: skip
    chosen = METHODS[method].hyperparameters()

    def works(**changes: object) -> bool:
        names = ("r", "lora_alpha", "lora_dropout", "use_rslora", "use_dora", "target_modules")
        config = LoraConfig(task_type="CAUSAL_LM", **{**{name: chosen[name] for name in names}, **changes})
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(AutoConfig.for_model(model_type, **sizes))
        try:
            with quiet_libraries():
                get_peft_model(model, config)
        except ValueError as error:
            if "ParamWrapper does not work with" in str(error):
                return False
            raise
        return True

    demanded = restrictions(method, model_type)
    assert works() == (demanded == {})
    assert works(lora_dropout=0.0) == (demanded is not None)
    if demanded:
        assert works(**demanded)


def test_methods_without_low_rank_changes_are_not_restricted_on_mixtures():
    assert {slug for slug in METHODS if restrictions(slug, "qwen3_moe") != {}} == LORA_FAMILY
