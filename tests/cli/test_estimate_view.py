"""How an answer is shown, with dry runs made by hand."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from peft import LoraConfig

from advisor.catalog.gpus import find_gpu
from advisor.catalog.methods import METHODS
from advisor.cli.estimate_view import as_json, render
from advisor.dryrun.answers import Answer
from advisor.dryrun.estimate import DryRun
from advisor.dryrun.largest import Largest
from advisor.dryrun.question import Question
from advisor.dryrun.workload import Workload
from advisor.feasibility.estimate import Estimate
from advisor.modeling.meta import read_model_source
from advisor.spec import GIB
from tests.model_folders import config_folder


@pytest.fixture
def answer(tmp_path, monkeypatch) -> Answer:
    """4 x 128 tokens in 0.5 s on a card of 22.32 GiB, of which 10.5 are taken."""
    monkeypatch.chdir(tmp_path)
    config_folder(tmp_path, "llama")
    estimate = Estimate(
        peak_memory_bytes=int(10.5 * GIB), peak_reserved_bytes=10 * GIB, peak_allocated_bytes=9 * GIB, basis="dry run",
        weights_bytes=6 * GIB, adapter_bytes=1024, gradients_bytes=0, optimizer_bytes=0,
        activations_bytes=3 * GIB - 1024, logits_bytes=0,
        workspace_bytes=0, fragmentation_bytes=GIB,
        context_bytes=GIB // 2, trainable_params=1_000, step_time_s=0.5,
    )  # fmt: skip
    workload = Workload(
        source=read_model_source("llama"), head="causal-lm", peft_config=LoraConfig(task_type="CAUSAL_LM"),
        batch_size=4, seq_length=128,
    )  # fmt: skip
    run = DryRun(
        estimate=estimate, total_params=3_000_000, tokens_per_step=512, usable_bytes=int(22.32 * GIB)
    )  # fmt: skip
    question = Question(model="llama", method=METHODS["lora"], batch_size=4, seq_length=128)
    return Answer(question=question, workload=workload, method="LoRA", gpu=find_gpu("RTX 3090"), run=run)


def changed(answer: Answer, **values: object) -> Answer:
    """Return the answer with other values of its estimate or its run."""
    fields = Estimate.__dataclass_fields__
    of_estimate = {name: value for name, value in values.items() if name in fields}
    rest = {name: value for name, value in values.items() if name not in fields}
    return replace(answer, run=replace(answer.run, estimate=replace(answer.run.estimate, **of_estimate), **rest))


def test_the_whole_text(answer):
    assert render(answer, examples=10_000, price_per_hour=0.5).splitlines() == [
        "llama, LoRA, bf16, adamw, sdpa attention",
        "4 x 128 tokens; 1,000 of 3,000,000 parameters trained (0.033 %)",
        "",
        "Peak memory of a training step",
        "  weights              6.00 GiB  base model as stored",
        "  adapter             <0.01 GiB  what is trained",
        "  activations          3.00 GiB  kept for the backward pass",
        "  fragmentation        1.00 GiB  reserved by the allocator, not in use",
        "  context              0.50 GiB  CUDA itself, assumed",
        "  peak                10.50 GiB  of the device; PyTorch reserves 10.00, of which 9.00 allocated",
        "",
        "Fits: 11.82 GiB left of 22.32 GiB usable of the GeForce RTX 3090.",
        "Time on GeForce RTX 3090: 500 ms a step, 1,024 tokens/s with padding.",
        # 2500 steps of half a second; 350 W for 1250 s are 121.5 Wh; a third of an hour at 0.5.
        "An epoch of 10,000 examples: 21 min, at most 122 Wh, 0.17 at 0.5 an hour.",
    ]


def test_what_does_not_fit_says_by_how_much_and_notes_come_last(answer):
    small = replace(changed(answer, usable_bytes=8 * GIB), notes=("Try something.",))
    lines = render(small).splitlines()
    assert "Does not fit: 2.50 GiB more than 8.00 GiB usable of the GeForce RTX 3090." in lines
    assert lines[-1] == "Try something."


def test_without_a_device_there_is_a_question_instead_of_a_verdict(answer):
    text = render(replace(changed(answer, usable_bytes=None, step_time_s=None), gpu=None))
    assert text.endswith("Name a GPU (--gpu) or its memory (--vram) to learn whether it fits.")


def test_memory_given_by_hand_is_explained(answer):
    text = render(replace(changed(answer, usable_bytes=int(14.88 * GIB), step_time_s=None), gpu=None))
    assert text.endswith("Fits: 4.38 GiB left of 14.88 GiB usable (93 % of --vram).")


def test_a_search_says_its_result_and_whether_that_is_the_models_limit(answer):
    largest = Largest(value=4, run=answer.run, limited=False, n_runs=3)
    found = replace(answer, largest=largest, question=replace(answer.question, searched="batch-size"))
    assert "Largest batch-size that fits: 4." in render(found)
    limited = replace(
        found, largest=replace(largest, limited=True), question=replace(answer.question, searched="seq-len")
    )  # fmt: skip
    assert "Largest seq-len that fits: 4, the most that the model takes." in render(limited)
    shown = json.loads(as_json(found))
    assert (shown["searched"], shown["largest"], shown["limited"]) == ("batch-size", 4, False)


def test_evaluation_and_paged_state_have_lines_of_their_own(answer):
    asked = replace(answer.question, eval_batch_size=32, new_tokens=64)
    text = render(replace(changed(answer, inference_peak_bytes=5 * GIB, paged_bytes=2 * GIB), question=asked))
    assert "  evaluation           5.00 GiB  peak of evaluation, generating 64 tokens, 32 sequences at once" in text
    assert "  paged                2.00 GiB  optimizer state in pageable memory, not counted" in text


def test_accumulation_packs_and_targets_are_in_the_title(answer):
    workload = replace(
        answer.workload, accumulation=8, pack_size=3, target_length=16, gradient_checkpointing=True, autocast=True,
        quantization="4bit",
    )  # fmt: skip
    lines = render(replace(answer, workload=workload), examples=320).splitlines()
    assert lines[0] == (
        "llama, LoRA, bf16, base in 4 bits, adamw, sdpa attention, gradient checkpointing, autocast"
    )  # fmt: skip
    assert lines[1].startswith("4 x 128 + 16 tokens x 8 accumulated x 3 packed adapters; ")
    assert lines[-1].startswith("An epoch of 320 examples for all 3 adapters: 5.0 s")  # 10 steps


@pytest.mark.parametrize(
    ("trained", "share"), [(3_000_000, "100 %"), (450_000, "15 %"), (30_000, "1 %"), (1, "3.3e-05 %")]
)
def test_shares_are_short(answer, trained, share):
    assert f"parameters trained ({share})" in render(changed(answer, trainable_params=trained))


@pytest.mark.parametrize(
    ("step_time_s", "said"),
    [(0.0314, "31 ms a step"), (1.26, "1.3 s a step"), (90, "90.0 s a step"), (600, "10 min a step"), (9000, "2.5 h")],
)
def test_durations_are_in_the_unit_that_suits_them(answer, step_time_s, said):
    assert said in render(changed(answer, step_time_s=step_time_s))


def test_no_line_is_wider_than_a_hundred_columns(answer):
    name = "a-folder/" * 12
    long = replace(answer, workload=replace(answer.workload, source=replace(answer.workload.source, name=name)))
    huge = changed(long, trainable_params=10**12, total_params=10**13, peak_memory_bytes=10**15)
    noted = replace(huge, notes=("A sentence that goes on and on, " * 8,))
    assert max(len(line) for line in render(noted).splitlines()) <= 100


def test_names_from_outside_cannot_reach_the_terminal_as_they_are(answer):
    source = replace(answer.workload.source, name="mod\x1b[31mèle")
    text = render(replace(answer, workload=replace(answer.workload, source=source)))
    assert text.isascii()
    assert all(line.isprintable() for line in text.splitlines())


def test_json_has_an_epoch_only_when_asked_for(answer):
    assert "epoch_s" not in json.loads(as_json(answer))
    shown = json.loads(as_json(answer, examples=10_000, price_per_hour=0.5))
    assert shown["epoch_s"] == 1250
    assert shown["price"] == pytest.approx(1250 / 3600 * 0.5)
    assert shown["breakdown"]["weights"] == 6 * GIB


def test_an_adapters_file_has_no_method(answer):
    asked = replace(answer.question, method=None, adapter_config=Path("adapter_config.json"))
    shown = json.loads(as_json(replace(answer, question=asked)))
    assert (shown["method"], shown["peft_type"]) == (None, "LORA")
