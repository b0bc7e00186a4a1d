"""A question answered as a whole."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from advisor.catalog.gpus import find_gpu
from advisor.catalog.methods import METHODS
from advisor.dryrun import answers
from advisor.dryrun.answers import Answer, answer
from advisor.dryrun.question import Question
from advisor.errors import AdvisorError, InfeasibleBudgetError, InputError
from advisor.feasibility.estimate import Estimate
from advisor.feasibility.stored import estimate_step
from tests.model_folders import adapter_file, config_folder

pytestmark = pytest.mark.slow


@pytest.fixture
def ask(tmp_path):
    """Answer a question about a tiny model."""

    def asked(
        name: str = "llama", method: str | None = "lora", gpu: str | None = None, usable_gib: float | None = None,
        **values: object,
    ) -> Answer:  # fmt: skip
        question = Question(
            model=str(config_folder(tmp_path, name)), method=METHODS[method] if method else None,
            **values,  # type: ignore[arg-type]
        )  # fmt: skip
        return answer(question, gpu=find_gpu(gpu) if gpu else None, usable_gib=usable_gib)

    return asked


def test_an_answer_names_what_was_run_and_its_verdict(ask):
    found = ask(gpu="RTX 3090", seq_length=64)
    assert (found.method, found.workload.seq_length, found.fits, found.largest) == ("LoRA", 64, True, None)
    assert found.peak_memory_bytes == found.estimate.peak_memory_bytes
    assert found.step_time_s == found.estimate.step_time_s
    assert found.margin_bytes is not None
    assert found.tokens_per_s is not None


@pytest.mark.parametrize("searched", ["batch-size", "seq-len"])
def test_the_largest_value_fits_and_the_next_does_not(ask, searched):
    usable_gib = 0.6  # 0.1 GiB beside the context
    found = ask(
        searched=searched, usable_gib=usable_gib, seq_length=None if searched == "seq-len" else 64, attention="eager"
    )
    assert found.largest is not None
    assert found.fits is True
    name = {"batch-size": "batch_size", "seq-len": "seq_length"}[searched]
    assert getattr(found.workload, name) == found.largest.value
    if not found.largest.limited:
        given = {"seq_length": 64, "attention": "eager", name: found.largest.value + 1}
        assert ask(usable_gib=usable_gib, **given).fits is False


def test_the_largest_rank_is_found(ask):
    found = ask(searched="rank", usable_gib=0.53, seq_length=8)
    assert found.largest is not None
    assert found.workload.peft_config is not None
    assert found.workload.peft_config.r == found.largest.value
    assert found.largest.limited or not ask(
        usable_gib=0.53, seq_length=8, hyperparameters={"r": found.largest.value + 1}
    ).fits  # fmt: skip


def test_a_search_needs_a_device(ask):
    with pytest.raises(InputError, match="--max needs --gpu or --vram"):
        ask(searched="batch-size")


def test_a_search_in_which_nothing_fits_is_infeasible(ask):
    with pytest.raises(InfeasibleBudgetError, match=r"not even batch-size 1 fits: it takes 0\.5 GiB of 0\.1"):
        ask(searched="batch-size", usable_gib=0.1)


@pytest.mark.parametrize(
    "settings",
    [
        {"peft_type": "BOFT", "boft_block_size": 4, "target_modules": ["q_proj"]},
        {"peft_type": "ADALORA", "init_r": 4, "target_r": 2, "total_step": 10, "target_modules": ["q_proj"]},
    ],
    ids=["BOFT", "ADALORA"],
)
def test_a_rank_that_memory_does_not_follow_is_not_searched(ask, tmp_path, settings):
    path = adapter_file(tmp_path, task_type="CAUSAL_LM", **settings)
    with pytest.raises(InputError, match=f"--max rank: {settings['peft_type']} has no rank"):
        ask(method=None, adapter_config=path, searched="rank", usable_gib=1)


def test_an_adapters_file_names_the_method(ask, tmp_path):
    path = adapter_file(
        tmp_path, peft_type="BOFT", task_type="CAUSAL_LM", boft_block_size=4, target_modules=["q_proj"]
    )  # fmt: skip
    assert ask(method=None, adapter_config=path).method == "BOFT"


def test_a_length_beyond_what_the_model_was_made_for_is_noted(ask):
    assert ask(seq_length=256).notes == ()
    assert ask(seq_length=257).notes == ("The model was made for sequences of at most 256 tokens.",)


def test_a_close_call_is_noted(ask):
    peak_gib = ask().peak_memory_bytes / 2**30
    assert ask(usable_gib=peak_gib * 1.01).notes == ("A close call: the estimate may be off by a few per cent.",)
    assert ask(usable_gib=peak_gib * 1.1).notes == ()


def test_what_does_not_fit_comes_with_a_hint(ask):
    found = ask(usable_gib=0.5)
    assert found.fits is False
    assert found.notes[-1].startswith(("Try ", "Hardly enough"))


def test_a_gpu_whose_rates_are_not_known_is_noted(ask):
    found = ask(gpu="M1")
    assert found.fits is True
    assert found.step_time_s is None
    assert "time cannot be estimated" in found.notes[0]


def test_what_libraries_raise_in_a_dry_run_is_one_line(ask, monkeypatch):
    def broken(*args: object, **kwargs: object) -> None:
        raise RuntimeError("expected BF16\nbut got \x1b[31mfloat32")

    monkeypatch.setattr(answers, "estimate_workload", broken)
    with pytest.raises(AdvisorError) as caught:
        ask()
    assert caught.value.exit_code == 1
    assert str(caught.value).isprintable()
    assert "the dry run of this combination fails" in str(caught.value)


def mixture_folder(folder: Path) -> str:
    sizes = {"hidden_size": 32, "intermediate_size": 32, "moe_intermediate_size": 16, "num_hidden_layers": 1}
    heads = {
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "num_experts": 2,
        "num_experts_per_tok": 1,
    }
    config = {"model_type": "qwen3_moe", "vocab_size": 100, **sizes, **heads}
    (folder / "config.json").write_text(json.dumps(config))
    return str(folder)


def test_fused_experts_are_adapted_without_dropout_and_say_so_when_it_is_asked_for(tmp_path):
    asked = {"model": mixture_folder(tmp_path), "method": METHODS["lora"]}
    assert answer(Question(**asked)).estimate.trainable_params > 0
    with pytest.raises(InputError, match="--set lora_dropout=0"):
        answer(Question(hyperparameters={"lora_dropout": 0.1}, **asked))


def test_quantization_that_makes_experts_larger_is_noted(ask, tmp_path):
    asked = {"method": METHODS["lora"], "hyperparameters": {"lora_dropout": 0}, "model": mixture_folder(tmp_path)}
    quantized, whole = (answer(Question(quantization=storage, **asked)) for storage in ("4bit", None))
    assert quantized.estimate.weights_bytes > whole.estimate.weights_bytes
    assert quantized.notes[0].startswith("Quantization makes this model no smaller")
    assert whole.notes == ()


def in_catalogue(**values: object) -> Question:
    return Question(model="microsoft/unixcoder-base", method=METHODS["lora"], searched="batch-size", **values)  # type: ignore[arg-type]


def without_profiles(*args: object, **kwargs: object) -> None:
    return None


def with_wrong_profiles(*args: Any, **kwargs: Any) -> Estimate | None:
    found = estimate_step(*args, **kwargs)
    return None if found is None else replace(found, peak_memory_bytes=found.peak_memory_bytes // 3)


@pytest.mark.slow
def test_a_stored_profile_saves_runs_and_changes_no_answer(monkeypatch):
    asked = in_catalogue(seq_length=256)
    guided = answer(asked, usable_gib=4.0).largest
    monkeypatch.setattr(answers, "estimate_step", without_profiles)
    alone = answer(asked, usable_gib=4.0).largest
    monkeypatch.setattr(answers, "estimate_step", with_wrong_profiles)
    misled = answer(asked, usable_gib=4.0).largest
    assert guided is not None
    assert alone is not None
    assert misled is not None
    assert guided.value == alone.value == misled.value > 1
    assert guided.run == alone.run == misled.run
    assert guided.n_runs <= 3 < alone.n_runs


def test_only_a_step_like_the_stored_ones_is_looked_up(ask, monkeypatch):
    given: list[object] = []
    monkeypatch.setattr(answers, "largest_that_fits", lambda *_, expected, **__: given.append(expected) or stop())

    def stop() -> None:
        raise InputError("enough seen")

    for question in (
        in_catalogue(), in_catalogue(attention="eager"), in_catalogue(eval_batch_size=4),
        in_catalogue(hyperparameters={"target_modules": ["query"]}),
    ):  # fmt: skip
        with pytest.raises(InputError, match="enough seen"):
            answer(question, usable_gib=4.0)
    with pytest.raises(InputError, match="enough seen"):
        ask(searched="batch-size", usable_gib=4.0)  # a folder
    assert [one is not None for one in given] == [True, False, False, False, False]
    # Profiles are of the step that `tune` runs, with the largest fragmentation seen at any size.
    expected = cast(Callable[[int], int], given[0])
    step = in_catalogue(batch_size=8, autocast=True, optimizer="adamw-fused", holds_outputs=False)
    peak_bytes = answer(replace(step, searched=None), usable_gib=4.0).peak_memory_bytes
    assert 4 * 2**30 - expected(8) == pytest.approx(peak_bytes, rel=0.15)
