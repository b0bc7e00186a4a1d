"""Candidates become the PEFT configuration that they name."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig

from advisor.catalog.methods import METHODS
from advisor.catalog.tasks import find_task
from advisor.modeling.adapters import UnsupportedCandidateError, build_config, check_supported
from advisor.modeling.base import BaseModel, load_base_model, request_for
from advisor.modeling.builders import BUILDERS
from advisor.spec import Architecture
from tests.training.toy import candidate

CPU = torch.device("cpu")
BaseOf = Callable[..., BaseModel]


@pytest.fixture(scope="module")
def base_of(base_folder: Callable[..., Path]) -> BaseOf:
    loaded: dict[tuple[str, str | None], BaseModel] = {}

    def base(architecture: Architecture, family: str | None = None) -> BaseModel:
        key = architecture, family
        if key not in loaded:
            folder = base_folder(architecture, family)
            request = request_for(candidate(folder, architecture), find_task("clone-detection"), ("0", "1"), CPU)
            loaded[key] = load_base_model(request, CPU)
        return loaded[key]

    return base


def config(base: BaseModel, method: str, **changes: object) -> Any:
    return build_config(candidate(Path(base.source), base.request.architecture, method, **changes), base)


def test_every_method_of_the_catalogue_has_a_builder() -> None:
    assert set(BUILDERS) | {"full"} == set(METHODS)


# LLaMA-Adapter has no classifiers; what is made of trained adapters has tests of its own.
ALONE = sorted(
    slug for slug, one in METHODS.items() if not one.least_adapters and slug not in ("full", "llama-adapter")
)


@pytest.mark.parametrize("method", ALONE)
def test_the_peft_type_is_the_one_of_the_catalogue(method: str, base_of: BaseOf) -> None:
    built = config(base_of("encoder-only"), method)
    assert built.peft_type == METHODS[method].peft_type
    assert built.task_type == "SEQ_CLS"


def test_hyperparameters_pass_through_unchanged(base_of: BaseOf) -> None:
    built = config(base_of("encoder-only"), "lora", r=12, lora_alpha=7, lora_dropout=0.2, target_modules=["query"])
    assert (built.r, built.lora_alpha, built.lora_dropout, built.target_modules) == (12, 7, 0.2, {"query"})


@pytest.mark.parametrize(
    ("method", "rslora", "dora"),
    [("lora", False, False), ("lora-plus", False, False), ("rslora", True, False), ("dora", False, True)],
)
def test_members_of_the_lora_family_differ_by_their_switch(
    method: str, rslora: bool, dora: bool, base_of: BaseOf
) -> None:
    built = config(base_of("encoder-only"), method)
    assert (built.use_rslora, built.use_dora) == (rslora, dora)


def test_a_name_that_the_method_does_not_have_is_refused_with_the_nearest(base_of: BaseOf) -> None:
    with pytest.raises(UnsupportedCandidateError, match="lora has no hyperparameter 'lora_alhpa'; nearest: lora_alpha"):
        config(base_of("encoder-only"), "lora", lora_alhpa=3)
    with pytest.raises(UnsupportedCandidateError, match="full has no hyperparameter 'r'"):
        config(base_of("encoder-only"), "full", r=3)
    with pytest.raises(UnsupportedCandidateError, match="task_type"):
        config(base_of("encoder-only"), "lora", task_type="CAUSAL_LM")


@pytest.mark.parametrize("method", ["lora", "ia3"])
def test_auto_is_pefts_own_choice_where_it_has_one(method: str, base_of: BaseOf) -> None:
    assert config(base_of("encoder-only"), method, target_modules="auto").target_modules is None


def test_auto_on_a_model_type_that_peft_does_not_know(base_of: BaseOf, monkeypatch: pytest.MonkeyPatch) -> None:
    base = base_of("decoder-only")
    monkeypatch.setattr(base.model.config, "model_type", "brand-new")
    assert config(base, "lora", target_modules="auto").target_modules == "all-linear"
    with pytest.raises(UnsupportedCandidateError, match="ia3 does not work on brand-new models without a list"):
        config(base, "ia3")
    norms = config(base, "layernorm-tuning").target_modules
    assert "model.norm" in norms
    assert len(norms) == 5


def test_layernorm_tuning_finds_the_norms_of_roberta_which_peft_has_no_list_for(base_of: BaseOf) -> None:
    targets = config(base_of("encoder-only"), "layernorm-tuning").target_modules
    assert len(targets) == 5
    assert all(name.endswith("LayerNorm") for name in targets)


def test_bitfit_is_refused_on_models_without_biases_and_told_what_works(base_of: BaseOf) -> None:
    with pytest.raises(
        UnsupportedCandidateError, match="bitfit does not work on llama models: they have no biases; beft"
    ):
        config(base_of("decoder-only"), "bitfit")
    assert config(base_of("encoder-only"), "bitfit").parts == "all"


@pytest.mark.parametrize(("architecture", "head"), [("encoder-only", "roberta"), ("encoder-decoder", "transformer")])
def test_layer_freezing_trains_copies_of_the_top_layers_of_each_stack_and_of_nothing_else(
    architecture: Architecture, head: str, base_of: BaseOf
) -> None:
    base = base_of(architecture)
    saved = config(base, "layer-freezing", trained_layers=1).modules_to_save
    stacks = {"encoder-only": ["encoder.layer"], "encoder-decoder": ["encoder.block", "decoder.block"]}[architecture]
    tops = [f"{head}.{stack}.1" for stack in stacks]
    assert saved[: len(tops)] == tops
    assert set(saved[len(tops) :]) <= {"classification_head"}
    # PEFT takes every module whose name ends so.
    for top in tops:
        assert [name for name, _ in base.model.named_modules() if name.endswith(top)] == [top]
    everything = config(base, "layer-freezing", trained_layers=99).modules_to_save
    assert len([name for name in everything if "classification" not in name]) == 2 * len(stacks)


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "all"])
def test_a_number_of_trained_layers_that_is_none_is_refused(value: object, base_of: BaseOf) -> None:
    with pytest.raises(UnsupportedCandidateError, match="trained_layers"):
        config(base_of("encoder-only"), "layer-freezing", trained_layers=value)


def test_what_is_saved_of_layer_freezing_has_no_name_that_peft_does_not_know(base_of: BaseOf) -> None:
    built = config(base_of("encoder-only"), "layer-freezing", trained_layers=1)
    assert type(built) is LoraConfig


def test_lora_in_the_feed_forward_sublayers_has_no_other_module(base_of: BaseOf) -> None:
    targets = config(base_of("decoder-only"), "ff-lora").target_modules
    assert sorted(targets) == sorted(
        f"model.layers.{number}.mlp.{name}_proj" for number in (0, 1) for name in ("gate", "up", "down")
    )
    with pytest.raises(UnsupportedCandidateError, match="feed-forward"):
        config(base_of("decoder-only"), "ff-lora", target_modules="all-linear")


@pytest.mark.parametrize("method", sorted(slug for slug, one in METHODS.items() if "gpt2" in one.not_model_types))
def test_methods_that_do_not_know_conv1d_are_refused_on_gpt2_before_anything_is_built(
    method: str, base_of: BaseOf
) -> None:
    with pytest.raises(UnsupportedCandidateError, match=f"^{method} does not work on gpt2 models$"):
        config(base_of("decoder-only", "gpt2"), method)


@pytest.mark.parametrize(
    ("architecture", "modules"),
    [("encoder-only", None), ("decoder-only", None), ("encoder-decoder", ["classification_head"])],
)
def test_heads_that_peft_does_not_know_are_named(
    architecture: Architecture, modules: list[str] | None, base_of: BaseOf
) -> None:
    assert config(base_of(architecture), "lora").modules_to_save == modules


def test_the_base_model_is_named_by_an_absolute_path(base_of: BaseOf) -> None:
    built = config(base_of("encoder-only"), "lora")
    assert Path(built.base_model_name_or_path).is_absolute()


@pytest.mark.parametrize("method", ["vera", "layernorm-tuning", "full"])
def test_methods_that_need_whole_weights_are_refused_on_quantized_ones(method: str, base_of: BaseOf) -> None:
    chosen = replace(candidate(Path("x"), "encoder-only", method), quantization="4bit")
    with pytest.raises(UnsupportedCandidateError, match="4bit"):
        check_supported(chosen, "sequence-classification")


def test_wrong_values_are_refused_in_one_line(base_of: BaseOf) -> None:
    with pytest.raises(UnsupportedCandidateError) as caught:
        config(base_of("encoder-only"), "prompt-tuning", prompt_tuning_init="TEXT")
    assert "\n" not in str(caught.value)
