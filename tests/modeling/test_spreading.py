"""A base model over several devices: where its modules go, and that it computes the same."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accelerate import dispatch_model
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    PreTrainedModel,
)

from advisor.candidates import Candidate
from advisor.errors import InputError
from advisor.modeling.adapters import UnsupportedCandidateError
from advisor.modeling.attachment import attach_adapter
from advisor.modeling.base import BaseModel, load_base_model, request_for
from advisor.modeling.quiet import quiet_libraries
from advisor.modeling.sharing import shared_base
from advisor.modeling.spreading import choose_devices, describe_devices, device_map, devices_of, layers_in, settle
from advisor.spec import Architecture
from tests.modeling.fake_devices import FIRST, SECOND, fake_devices, put_on_devices
from tests.training.toy import SUPPORTED, TASKS, candidate

BaseFolder = Callable[..., Path]
CPU = torch.device("cpu")
GPUS = tuple(torch.device("cuda", number) for number in range(3))
LABELS = {"clone-detection": ("0", "1"), "code-summarization": (), "code-comment-classification": ("a", "b", "c")}


def loaded(chosen: Candidate, task: str, *devices: torch.device) -> BaseModel:
    return load_base_model(request_for(chosen, TASKS[task], LABELS[task], CPU), *devices)


def on_meta(name: str, **sizes: object) -> PreTrainedModel:
    config = AutoConfig.for_model(name, **sizes)
    auto = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    if name in ("roberta", "modernbert"):
        auto = AutoModelForSequenceClassification
    with torch.device("meta"):
        return auto.from_config(config)  # type: ignore[no-any-return]


def llama(**changes: object) -> PreTrainedModel:
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "num_hidden_layers": 5}
    return on_meta("llama", **{**sizes, "vocab_size": 64, "tie_word_embeddings": False, **changes})


@pytest.mark.parametrize(
    ("text", "names"), [("cpu", ("cpu",)), ("cuda", ("cuda",)), ("cuda:0, cuda:3", ("cuda:0", "cuda:3"))]
)
def test_a_list_of_devices_is_parted_at_its_commas(text: str, names: tuple[str, ...]) -> None:
    assert devices_of(text) == names


@pytest.mark.parametrize("text", ["cuda:0,", "cuda:0,cuda:0", "cuda,cuda:1", "cuda:0,cpu", "mps,mps", "cuda:0,gpu:1"])
def test_devices_that_do_not_go_together_are_refused_in_one_line(text: str) -> None:
    with pytest.raises(InputError, match="--device") as refused:
        devices_of(text)
    assert "\n" not in str(refused.value)


def test_devices_are_described_together() -> None:
    assert describe_devices(choose_devices("cpu")) == "cpu"
    assert describe_devices(choose_devices("cpu,cpu")) == "cpu, cpu"


def test_whole_layers_follow_each_other_and_the_ends_go_with_them() -> None:
    places = device_map(llama(), GPUS, (2, 2, 1))
    assert [places[f"model.layers.{number}"] for number in range(5)] == [*[GPUS[0]] * 2, *[GPUS[1]] * 2, GPUS[2]]
    assert places["model.embed_tokens"] == places["model.rotary_emb"] == GPUS[0]
    assert places["model.norm"] == places["lm_head"] == GPUS[2]


def test_an_output_head_that_shares_the_table_stays_with_it() -> None:
    assert device_map(llama(tie_word_embeddings=True), GPUS, (2, 2, 1))["lm_head"] == GPUS[0]


def test_weights_are_balanced_where_nobody_says_how_many_layers_go_where() -> None:
    # The two tables of 2000 x 32 numbers are larger than a layer of 4 x 32 x 32 + 3 x 32 x 64.
    for layers in ((), (1, 1, 1)):
        places = device_map(llama(num_hidden_layers=9, vocab_size=2000), GPUS, layers)
        held = [sum(place == gpu for name, place in places.items() if ".layers." in name) for gpu in GPUS]
        assert held[1] > max(held[0], held[2])


def test_a_model_with_too_few_layers_is_refused() -> None:
    with pytest.raises(InputError, match="5 layers cannot be spread over 6 devices"):
        device_map(llama(), [torch.device("cuda", number) for number in range(6)])


@pytest.mark.parametrize("name", ["llama", "gpt2", "t5", "bart", "roberta", "modernbert", "starcoder2", "gemma3_text"])
def test_every_tensor_has_one_place_and_layers_are_not_split(name: str) -> None:
    sizes = {"num_hidden_layers": 3, "num_layers": 3, "n_layer": 3, "encoder_layers": 3, "decoder_layers": 3}
    model = on_meta(name, **{key: value for key, value in sizes.items() if hasattr(AutoConfig.for_model(name), key)})
    places = device_map(model, GPUS)
    for tensor, _ in (*model.named_parameters(), *model.named_buffers()):
        assert [place for place in places if tensor == place or tensor.startswith(f"{place}.")], tensor
    layers = [layer for layer, _ in layers_in(model)]
    order = [places[layer].index for layer in layers]
    assert order == sorted(order)
    assert set(order) == {0, 1, 2}
    assert not [place for place in places if any(place.startswith(f"{layer}.") for layer in layers)]


@pytest.mark.parametrize("architecture", ["decoder-only", "encoder-decoder"])
def test_losses_are_those_of_accelerates_own_hooks_and_of_the_model_alone(
    architecture: Architecture, base_folder: BaseFolder
) -> None:
    chosen = candidate(base_folder(architecture), architecture)
    ids = torch.arange(5, 29).view(2, 12)
    losses = []
    for spread in (False, True, "accelerate"):
        base = loaded(chosen, "code-summarization", *((CPU, CPU) if spread is True else (CPU,)))
        if spread == "accelerate":
            dispatch_model(base.model, {"": "cpu"}, main_device="cpu", force_hooks=True)
        base.model.train()
        torch.manual_seed(0)
        losses.append(base.model(input_ids=ids, labels=ids).loss)
    assert torch.equal(losses[0], losses[1])
    assert torch.equal(losses[0], losses[2])


def test_nothing_of_accelerates_hooks_is_left_and_copies_keep_the_hooks_set_instead(base_folder: BaseFolder) -> None:
    base = loaded(candidate(base_folder("decoder-only"), "decoder-only"), "code-summarization", CPU, CPU)
    copied = shared_base(base)
    for model in (base.model, copied.model):
        assert not any(hasattr(module, "_hf_hook") for module in model.modules())
        assert "to" not in vars(model)
        hooked = {name for name, module in model.named_modules() if module._forward_pre_hooks}
        assert hooked == set(base.model.hf_device_map)
    assert copied.devices == (CPU, CPU)


# The loss of T5's classifier counts end tokens, which fake tensors have not.
KINDS = [kind for kind in SUPPORTED if kind[1:] != ("clone-detection", "encoder-decoder")]
# Adapters of this package: some stand around whole layers, or have a part that all layers share.
KINDS += [(name, "code-summarization", "decoder-only") for name in ("adapter-pfeiffer", "adapter-parallel")]
KINDS += [(name, "code-summarization", "encoder-decoder") for name in ("compacter", "mam")]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_a_training_step_never_mixes_two_devices(
    kind: tuple[str, str, Architecture], base_folder: BaseFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    method, task, architecture = kind
    base = on_two_devices(candidate(base_folder(architecture), architecture, method), task)
    attached = attach_adapter(base, candidate(base_folder(architecture), architecture, method), seed=0)
    put_on_devices(attached.model, base.model.hf_device_map)
    attached.model.train()
    with fake_devices(monkeypatch), quiet_libraries():
        loss = attached.model(**batch_for(base), **attached.forward_options).loss
        loss.backward()
        parameters = attached.trainable_parameters
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        torch.optim.AdamW(parameters, fused=True).step()
    assert all(one.grad is not None and one.grad.device == one.device for one in parameters)
    if method not in ("prompt-tuning", "p-tuning", "prefix-tuning"):
        assert {one.device for one in parameters} == {FIRST, SECOND}


def test_a_layer_that_is_computed_anew_finds_its_input_on_its_own_device(
    base_folder: BaseFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    # PyTorch remembers the random numbers of that device alone, so dropout would be drawn twice.
    chosen = replace(candidate(base_folder("decoder-only"), "decoder-only"), gradient_checkpointing=True)
    base = on_two_devices(chosen, "code-summarization")
    attached = attach_adapter(base, chosen, seed=0)
    put_on_devices(attached.model, base.model.hf_device_map)
    seen = []
    for _, layer in layers_in(base.model):
        original = layer._gradient_checkpointing_func

        def noted(run: object, *args: torch.Tensor, original: Callable[..., object] = original) -> object:
            seen.append(args[0].device)
            return original(run, *args)

        layer._gradient_checkpointing_func = noted
    attached.model.train()
    with fake_devices(monkeypatch), quiet_libraries():
        attached.model(**batch_for(base), **attached.forward_options).loss.backward()
    assert seen == [FIRST, SECOND]


def test_a_mask_is_copied_to_a_device_once_however_many_layers_read_it(
    base_folder: BaseFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = torch.nn.Module()
    module.layers = torch.nn.ModuleList([Reads(), Reads(), Reads()])
    settle(module, {"layers.0": FIRST, "layers.1": SECOND, "layers.2": SECOND})  # type: ignore[arg-type]
    with fake_devices(monkeypatch):
        mask = torch.ones(2, 2)
        for layer in module.layers:
            layer(torch.ones(2, 2, requires_grad=True), mask=mask)
        first, second, third = (layer.mask for layer in module.layers)
        assert (first is mask, second.device, third is second) == (True, SECOND, True)
        mask += 1  # another mask in the same tensor
        module.layers[1](torch.ones(2, 2), mask=mask)
        assert module.layers[1].mask is not second


def test_a_method_whose_parts_meet_across_layers_is_refused(base_folder: BaseFolder) -> None:
    chosen = candidate(base_folder("encoder-only"), "encoder-only", "adalora")
    base = loaded(chosen, "clone-detection", CPU, CPU)
    with pytest.raises(UnsupportedCandidateError, match="several GPUs"):
        attach_adapter(base, chosen, seed=0)


class Reads(torch.nn.Module):
    """A layer that keeps the mask it was given."""

    def forward(self, states: torch.Tensor, *, mask: torch.Tensor) -> torch.Tensor:
        self.mask = mask
        return states * 2


def on_two_devices(chosen: Candidate, task: str) -> BaseModel:
    """Load a base model and let it run on two fake devices; its weights follow with those of the adapter."""
    base = loaded(chosen, task, CPU)
    settle(base.model, device_map(base.model, (FIRST, SECOND)))
    base.more_devices = (SECOND,)
    return base


def batch_for(base: BaseModel) -> dict[str, torch.Tensor]:
    """Return three rows of nine tokens where the training loop puts them."""
    ids, head = torch.ones(3, 9, dtype=torch.long), base.request.head
    labels = torch.ones(3, 9 if head == "causal-lm" else 5, dtype=torch.long)
    if head == "sequence-classification":
        labels = torch.zeros(3, 3) if base.request.is_multi_label else torch.zeros(3, dtype=torch.long)
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}
    return {name: tensor.to(base.device_for(name)) for name, tensor in batch.items()}
