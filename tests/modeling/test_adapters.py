"""Candidates become the PEFT configuration that they name."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from advisor.catalog.methods import METHODS
from advisor.catalog.tasks import find_task
from advisor.modeling.adapters import BUILDERS, UnsupportedCandidateError, build_config, check_supported
from advisor.modeling.base import BaseModel, load_base_model, request_for
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


@pytest.mark.parametrize("method", sorted(set(METHODS) - {"full"}))
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
    with pytest.raises(UnsupportedCandidateError, match="no choice of modules for brand-new"):
        config(base, "ia3")
    norms = config(base, "layernorm-tuning").target_modules
    assert "model.norm" in norms
    assert len(norms) == 5


def test_layernorm_tuning_finds_the_norms_of_roberta_which_peft_has_no_list_for(base_of: BaseOf) -> None:
    targets = config(base_of("encoder-only"), "layernorm-tuning").target_modules
    assert len(targets) == 5
    assert all(name.endswith("LayerNorm") for name in targets)


def test_bitfit_takes_all_linear_layers(base_of: BaseOf) -> None:
    assert config(base_of("encoder-only"), "bitfit", target_modules="auto").target_modules == "all-linear"


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


@pytest.mark.parametrize("method", ["bitfit", "layernorm-tuning", "full"])
def test_methods_that_need_whole_weights_are_refused_on_quantized_ones(method: str, base_of: BaseOf) -> None:
    chosen = replace(candidate(Path("x"), "encoder-only", method), quantization="4bit")
    with pytest.raises(UnsupportedCandidateError, match="4bit"):
        check_supported(chosen, "sequence-classification")


def test_wrong_values_are_refused_in_one_line(base_of: BaseOf) -> None:
    with pytest.raises(UnsupportedCandidateError) as caught:
        config(base_of("encoder-only"), "prompt-tuning", prompt_tuning_init="TEXT")
    assert "\n" not in str(caught.value)
