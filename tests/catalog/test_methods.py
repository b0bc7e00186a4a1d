"""The catalogue of methods, compared with what the installed PEFT offers."""

import csv
import inspect

import pytest
import torch
from peft import LoraConfig, PeftType, get_peft_model
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from peft.optimizers import create_loraplus_optimizer
from peft.utils.constants import TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING
from peft.utils.transformers_weight_conversion import _MOE_TARGET_MODULE_MAPPING
from transformers import CONFIG_MAPPING, AutoConfig, AutoModel, AutoModelForCausalLM
from transformers.conversion_mapping import _MODEL_TO_CONVERSION_PATTERN
from transformers.pytorch_utils import Conv1D

from advisor.catalog.files import knowledge_folder, read_rows
from advisor.catalog.methods import (
    ADAPTED_EXPERTS,
    LORA_FAMILY,
    METHODS,
    WITHOUT_STEP_PROFILES,
    derived_values,
    find_method,
    resolve_method,
    restrictions,
)
from advisor.catalog.not_offered import NOT_OFFERED
from advisor.catalog.places import FAMILIES_WITH_PLACES, LINEAR_BIASES, WITHOUT_BIASES
from advisor.catalog.taxonomy import read_taxonomy
from advisor.errors import UnknownNameError
from advisor.evidence.papers import read_papers
from advisor.evidence.rows import read_evidence
from advisor.modeling.builders import BUILDERS
from advisor.modeling.quiet import quiet_libraries
from advisor.modeling.tuners.insertion import FAMILIES, layers_of
from tests.dryrun.method_configs import FURTHER

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
    named = set(BUILDERS[method.slug].named.__dataclass_fields__)
    assert BUILDERS[method.slug].config is config
    assert set(method.defaults) - TRAINING <= named | of_the_optimizer


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


def test_asking_for_an_adapter_is_told_which_there_are():
    with pytest.raises(UnknownNameError, match="adapter-houlsby, adapter-pfeiffer, adapter-parallel"):
        resolve_method("adapter")


@pytest.mark.parametrize("slug", NOT_OFFERED)
def test_a_method_that_is_not_offered_is_refused_with_the_reason(slug):
    assert slug not in METHODS
    with pytest.raises(UnknownNameError, match=f"{slug} is not offered: "):
        find_method(slug)


def test_every_method_of_peft_is_offered_or_has_a_reason_not_to_be():
    places = {one.peft_type: one.slug for one in read_taxonomy().methods if one.peft_type}
    offered = {method.peft_type for method in METHODS.values()}
    left_out = {places[one.value] for one in PeftType if one.value not in offered}
    assert left_out <= NOT_OFFERED.keys()


# Ranked from the first version on: variants of LoRA and the norms, with rows of general tasks.
ALWAYS_RANKED = {"dora", "lora-plus", "layernorm-tuning", "full"}


def test_methods_without_a_row_on_a_task_with_code_are_built_on_request_only():
    names = {one.slug: {one.slug, *one.evidence} for one in read_taxonomy().methods}
    on_code = {name for row in read_evidence() if row.task != "general" for name in (row.method, *row.methods) if name}
    for slug, method in METHODS.items():
        if slug not in ALWAYS_RANKED | WITHOUT_STEP_PROFILES and not method.least_adapters:
            assert method.on_request == (not names[slug] & on_code), slug


# As their result files have them (`method_comparison/MetaMathQA/results` of github.com/huggingface/peft).
RATES_OF_FURTHER = {
    "randlora/llama-3.2-3B-default": 1e-4,
    "supertuning/llama-3.2-3B-s974-topk": 1e-4,
    "tinylora/llama-3.2-3B-default": 1e-3,
    "waveft/llama-3.2-3B-n_frequency-5000": 1e-4,
}


@pytest.mark.parametrize(
    "method", [one for one in METHODS.values() if "/llama-3.2-3B" in one.basis], ids=lambda one: one.slug
)
def test_a_rate_that_a_published_run_is_named_for_is_the_rate_of_that_run_or_has_a_row_of_its_own(method):
    with (knowledge_folder() / "peft_method_comparison.csv").open(newline="", encoding="utf-8") as file:
        runs = {row["experiment"]: float(row["lr"]) for row in csv.DictReader(file)}
    runs |= RATES_OF_FURTHER
    run = method.basis.split(",")[0]
    (rate,) = [dimension for dimension in method.dimensions if dimension.name == "learning_rate"]
    if run in runs and not rate.evidence:
        assert method.defaults["learning_rate"] == runs[run]
    assert run in runs or run in FURTHER


# By its authors' scripts: BEFT by task on BERT, RoBERTa and OPT; FourierFT's heads and coefficients on RoBERTa and
# Llama 2; HRA on DeBERTa and Llama 2.
@pytest.mark.parametrize(
    ("slug", "published"),
    [
        ("beft", (1e-4, 4e-4, 7e-4, 1e-3, 1e-2)),
        ("fourierft", (0.001, 0.006, 0.011, 0.043, 0.05, 0.09, 0.12)),
        ("hra", (1e-5, 1e-4, 4e-3, 5.5e-3, 6e-3, 1e-2)),
        ("randlora", (1e-4, 2e-4)),
    ],
)
def test_the_range_holds_every_rate_that_the_authors_of_a_method_train_with(slug, published):
    method = METHODS[slug]
    (rate,) = [dimension for dimension in method.dimensions if dimension.name == "learning_rate"]
    assert rate.low <= min(published)
    assert rate.high >= max(published)
    for architecture in method.architectures:
        assert min(published) <= method.hyperparameters(architecture)["learning_rate"] <= max(published)


def test_families_of_layers_are_those_that_the_tuners_know():
    assert set(FAMILIES) == FAMILIES_WITH_PLACES


@pytest.mark.parametrize("model_type", sorted(WITHOUT_BIASES | LINEAR_BIASES.keys()))
def test_biases_of_a_type_of_model_are_those_that_transformers_builds(model_type):
    sizes = {
        "vocab_size": 64, "hidden_size": 32, "d_model": 32, "d_kv": 8, "intermediate_size": 32, "num_hidden_layers": 2,
        "num_layers": 2, "n_layer": 2, "n_embd": 32, "num_attention_heads": 2, "num_heads": 2, "n_head": 2,
        "n_inner": 32,
        "num_key_value_heads": 2, "head_dim": 16, "rotary_dim": 8, "pad_token_id": 0, "encoder_layers": 2,
        "encoder_attention_heads": 2, "decoder_attention_heads": 2,
        "decoder_layers": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "attention_types": [[["global"], 2]],
        "num_experts": 2, "num_local_experts": 2, "n_routed_experts": 2, "num_experts_per_tok": 1,
        "moe_intermediate_size": 16, "first_k_dense_replace": 0, "q_lora_rank": None, "kv_lora_rank": 8,
        "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 16, "n_group": 1, "topk_group": 1, "d_ff": 32,
    }  # fmt: skip
    if model_type == "electra":
        sizes["embedding_size"] = 32
    with torch.device("meta"):
        model = AutoModel.from_config(AutoConfig.for_model(model_type, **sizes))
    biases = [
        name for name, _ in model.named_parameters() if name.endswith(".bias") and "relative_attention" not in name
    ]
    assert (not biases) == (model_type in WITHOUT_BIASES), biases[:3]
    if model_type in FAMILIES:
        linear = {
            f"{name}.bias" for name, module in model.named_modules() if isinstance(module, torch.nn.Linear | Conv1D)
        }
        in_layers = [
            name
            for name in biases
            if name in linear and name.startswith(tuple(one.name for one in layers_of(model, model_type)))
        ]
        assert bool(in_layers) == bool(LINEAR_BIASES[model_type])


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
@pytest.mark.parametrize("method", sorted(LORA_FAMILY - {"pissa", "olora"}))
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
