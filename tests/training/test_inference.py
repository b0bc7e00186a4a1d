"""What prediction takes is measured on the model as it will be used, and leaves base model and training alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from advisor.modeling.attachment import AttachedModel
from advisor.spec import Architecture
from advisor.training.inference import N_EXAMPLES, as_used, is_mergeable, measure_inference
from advisor.training.runner import DeviceRunner
from advisor.training.tokens import TokenRow
from advisor.trial import Inference, TrialSpec
from tests.training.test_loop import attached_for, training_for
from tests.training.toy import METHODS, TASKS, candidate, splits, tokenized

pytestmark = pytest.mark.slow

BaseFolder = Callable[..., Path]
CLONES, SUMMARIES = TASKS["clone-detection"], TASKS["code-summarization"]
MODELS: list[tuple[str, str, Architecture]] = [
    *((method, "clone-detection", "encoder-only") for method in METHODS),
    ("lora", "code-summarization", "encoder-decoder"),
    ("prompt-tuning", "code-summarization", "decoder-only"),
]  # fmt: skip


def model(base_folder: BaseFolder, method: str = "lora", **changes: object) -> AttachedModel:
    return attached_for(candidate(base_folder("encoder-only"), "encoder-only", method, **changes), CLONES)


def rows_of(attached: AttachedModel, task_name: str = "clone-detection") -> list[TokenRow]:
    return tokenized(attached, TASKS[task_name], "test").rows


def measured(attached: AttachedModel, task_name: str = "clone-detection", **options: Any) -> Inference:
    return measure_inference(attached, rows_of(attached, task_name), precision="fp32", **options)


def shapes(of: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in of.state_dict().items()}


@pytest.mark.parametrize(("method", "task_name", "architecture"), MODELS, ids=map("-".join, MODELS))
def test_a_model_that_peft_can_merge_is_measured_as_the_base_model_that_merging_leaves(
    method: str, task_name: str, architecture: Architecture, base_folder: BaseFolder
) -> None:
    folder, task = base_folder(architecture), TASKS[task_name]
    attached = attached_for(candidate(folder, architecture, method), task)
    bare = attached_for(candidate(folder, architecture, "full"), task).model  # to which nothing is attached
    used, form = as_used(attached)
    try:
        attached.model.merge_adapter(safe_merge=True)
    except (AttributeError, ValueError):  # a whole model and a prompt have no such method
        assert form == ("model" if method == "full" else "adapter")
        assert used is attached
    else:
        assert form == "merged"
        assert shapes(used.model) == shapes(bare)
        assert [type(one) for one in used.model.modules()] == [type(one) for one in bare.modules()]


def test_measuring_touches_neither_weights_nor_random_numbers_nor_the_training_that_goes_on(
    base_folder: BaseFolder,
) -> None:
    chosen = candidate(base_folder("encoder-only"), "encoder-only", lora_dropout=0.2)
    attached, alone = attached_for(chosen, CLONES), training_for(chosen, CLONES)
    training = training_for(chosen, CLONES, attached)
    assert training.advance_to(2) == alone.advance_to(2)
    before = {name: (id(one), one.clone()) for name, one in attached.model.named_parameters()}
    state = torch.get_rng_state()
    measured(attached)
    assert torch.equal(state, torch.get_rng_state())
    for name, one in attached.model.named_parameters():
        identity, value = before[name]
        assert identity == id(one), name
        assert torch.equal(value, one), name
    assert training.advance_to(4) == alone.advance_to(4)


def test_adapters_that_can_be_merged_share_one_computation_whatever_their_rank(base_folder: BaseFolder) -> None:
    found = [measured(model(base_folder, "lora", r=rank)) for rank in (2, 8)]
    found += [measured(model(base_folder, method)) for method in ("ia3", "full")]
    assert len({one.computation for one in found}) == 1
    assert len({one.memory_bytes for one in found}) == 1


def test_a_longer_prompt_is_another_computation_and_takes_more_memory(base_folder: BaseFolder) -> None:
    short, long = (measured(model(base_folder, "prompt-tuning", num_virtual_tokens=n)) for n in (2, 20))
    merged = measured(model(base_folder))
    assert len({one.computation for one in (short, long, merged)}) == 3
    assert long.memory_bytes > short.memory_bytes > merged.memory_bytes


def test_weights_that_are_not_stored_as_they_are_computed_with_are_not_merged_into(base_folder: BaseFolder) -> None:
    attached = model(base_folder)
    assert is_mergeable(attached)
    layer = next(one for one in attached.base.model.modules() if hasattr(one, "base_layer"))
    packed = torch.zeros_like(layer.base_layer.weight, dtype=torch.uint8)
    layer.base_layer.weight = torch.nn.Parameter(packed, requires_grad=False)
    assert not is_mergeable(attached)


def test_memory_is_that_of_all_weights_and_of_more_than_the_logits(base_folder: BaseFolder) -> None:
    attached = model(base_folder, "full")
    weights = {one.data_ptr(): one.nbytes for one in (*attached.model.parameters(), *attached.model.buffers())}
    beyond = measured(attached).memory_bytes - sum(weights.values())
    hidden = 8 * max(len(row.input_ids) for row in rows_of(attached)) * attached.base.model.config.hidden_size * 4
    assert 2 * hidden < beyond < 40 * hidden  # a layer has several tensors of this size alive, not those of all layers


def test_latency_is_the_fastest_pass_of_each_batch_per_example(base_folder: BaseFolder) -> None:
    attached = model(base_folder)
    ticks = iter([0.0, 100.0, 0.0, 9.0, 0.0, 4.0, 0.0, 7.0, 0.0, 8.0] * 2)  # two batches; the first pass warms up
    found = measured(attached, clock=lambda: next(ticks))
    assert found.n_examples == 12
    assert found.batch_size == 8
    assert found.latency_s == (4.0 + 4.0) / 12


def test_rows_come_from_all_over_the_split_and_are_the_same_for_all(base_folder: BaseFolder) -> None:
    attached = model(base_folder)
    rows = rows_of(attached)
    found = measure_inference(attached, rows * 10, precision="fp32")
    again = measure_inference(attached, rows * 10, precision="fp32")
    assert found.n_examples == N_EXAMPLES
    assert found.computation == again.computation != measured(attached).computation
    with pytest.raises(ValueError, match="no rows"):
        measure_inference(attached, [], precision="fp32")


@pytest.mark.parametrize("architecture", ["decoder-only", "encoder-decoder"])
def test_a_generating_model_gives_as_many_tokens_as_the_median_reference(
    architecture: Architecture, base_folder: BaseFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    attached = attached_for(candidate(base_folder(architecture), architecture), SUMMARIES)
    rows = rows_of(attached, "code-summarization")
    lengths = sorted(sum(label != -100 for label in row.labels) for row in rows)
    made: list[int] = []
    generate = type(attached.base.model).generate

    def counted(self: Any, **inputs: Any) -> torch.Tensor:
        given = inputs["input_ids"].shape[1] if architecture == "decoder-only" else 1
        out: torch.Tensor = generate(self, **inputs)
        made.append(out.shape[1] - given)
        return out

    monkeypatch.setattr(type(attached.base.model), "generate", counted)
    found = measured(attached, "code-summarization")
    assert found.new_tokens == lengths[len(lengths) // 2]
    assert set(made) == {found.new_tokens}


def spec(base_folder: BaseFolder, number: int, **changes: object) -> TrialSpec:
    chosen = candidate(base_folder("encoder-only"), "encoder-only", **changes)
    return TrialSpec(number=number, candidate=chosen, seed=number, rung_steps=(2, 4))


def test_the_runner_measures_a_live_trial_and_its_pack_goes_on_as_if_nothing_had_happened(
    base_folder: BaseFolder,
) -> None:
    def run(*, measuring: bool) -> list[tuple[int, float | None, dict[str, float]]]:
        runner = DeviceRunner(CLONES, splits(CLONES), seed=7, device="cpu", slots=2)
        for number in (0, 1):
            runner.start(spec(base_folder, number, lora_dropout=0.2))
        shown = []
        for _ in (0, 1):
            shown += [(one.number, one.train_loss, dict(one.metrics)) for one in runner.advance()]
            found = [runner.measure_inference(number) for number in (0, 1)] if measuring else []
            assert len({one.computation for one in found if one is not None}) == measuring
            assert None not in found
        return shown

    assert run(measuring=True) == run(measuring=False)


def test_a_trial_without_a_model_cannot_be_measured(base_folder: BaseFolder) -> None:
    runner = DeviceRunner(CLONES, splits(CLONES), seed=7, device="cpu")
    with pytest.raises(RuntimeError, match="trial 3 has no model to measure"):
        runner.measure_inference(3)


def test_memory_that_runs_out_leaves_a_trial_unmeasured_and_alive(
    base_folder: BaseFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = DeviceRunner(CLONES, splits(CLONES), seed=7, device="cpu")
    runner.start(spec(base_folder, 0))
    runner.advance()

    def out_of_memory(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patched:
        patched.setattr("advisor.training.inference.prediction_inputs", out_of_memory)
        assert runner.measure_inference(0) is None
    assert runner.measure_inference(0) is not None
    assert runner.advance()[0].failure is None
