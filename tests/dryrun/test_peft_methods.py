"""Every method of PEFT on the meta device: tensors, gradients and saved memory are those of a real adapter."""

import csv
import json
import logging
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftConfig, PeftModel, get_peft_model
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from peft.optimizers import create_lorafa_optimizer
from peft.tuners.lora.config import ArrowConfig
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    PreTrainedModel,
    RobertaConfig,
    RobertaForSequenceClassification,
    T5Config,
    T5ForConditionalGeneration,
)

from advisor.dryrun.peft_methods import CANNOT_DRY_RUN, attach_on_meta, config_from_dict, config_from_file, held_tensors
from advisor.dryrun.value_reads import answer, memory_parts
from advisor.errors import DataError, InputError, UnknownNameError
from advisor.modeling.quiet import quiet_libraries
from tests.dryrun.method_configs import FURTHER, PUBLISHED, TINY, Settings

pytestmark = pytest.mark.slow

KNOWLEDGE = Path(__file__).parents[2] / "knowledge"
BATCH, LENGTH, HIDDEN = 2, 12, 64


class Answering(TorchDispatchMode):
    """Asks `answer` before it runs an operator, as the tracker of the dry run does."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = answer(func, args, kwargs or {})
        return func(*args, **(kwargs or {})) if out is NotImplemented else out


def llama(**changes: Any) -> PreTrainedModel:
    shape = {
        "vocab_size": 128, "hidden_size": HIDDEN, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "intermediate_size": 128, "max_position_embeddings": 64, "tie_word_embeddings": True,
    }  # fmt: skip
    # Written-out attention, which is the same on every device.
    config = LlamaConfig(**{**shape, **changes})
    return LlamaForCausalLM._from_config(config, dtype=torch.bfloat16, attn_implementation="eager")


def t5() -> PreTrainedModel:
    config = T5Config(
        vocab_size=128, d_model=HIDDEN, d_kv=16, num_heads=4, num_layers=2, d_ff=128, decoder_start_token_id=0
    )
    return T5ForConditionalGeneration._from_config(config, dtype=torch.bfloat16, attn_implementation="eager")


def roberta() -> PreTrainedModel:
    config = RobertaConfig(
        vocab_size=128, hidden_size=HIDDEN, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128,
        max_position_embeddings=66, type_vocab_size=1, num_labels=2,
    )  # fmt: skip
    return RobertaForSequenceClassification._from_config(config, dtype=torch.bfloat16, attn_implementation="eager")


def gpt2() -> PreTrainedModel:
    config = GPT2Config(vocab_size=128, n_embd=HIDDEN, n_layer=2, n_head=4, n_positions=64)
    return GPT2LMHeadModel._from_config(config, dtype=torch.bfloat16, attn_implementation="eager")


Build = Callable[[], PreTrainedModel]
FAMILIES: dict[str, tuple[Build, str, list[str]]] = {
    "llama": (llama, "CAUSAL_LM", ["q_proj", "v_proj"]),
    "t5": (t5, "SEQ_2_SEQ_LM", ["q", "v"]),
    "roberta": (roberta, "SEQ_CLS", ["query", "value"]),
    "gpt2": (gpt2, "CAUSAL_LM", ["c_attn"]),
}


def on_meta(build: Build) -> PreTrainedModel:
    with torch.device("meta"):
        return build()


def adapted(build: Build, settings: Settings, *, device: str, **options: Any) -> PeftModel:
    """Return a base model with an adapter: a real one on the CPU, or one of the dry run on meta."""
    config = config_from_dict({"task_type": "CAUSAL_LM", **settings})
    if device == "meta":
        return attach_on_meta(on_meta(build), config, **options)
    torch.manual_seed(0)
    with quiet_libraries():
        return get_peft_model(build(), config, **options)


def trainable(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


@dataclass(frozen=True, kw_only=True)
class Step:
    """What is compared of one training step.

    Attributes:
        parameters: Shape, type and trainability by name.
        buffers: Shape and type by name.
        gradients: Shape and type of each gradient by the name of its parameter.
        saved_bytes: Memory that the forward pass leaves for the backward pass, without parameters and buffers.
        states: Number of tensors in the optimizer's state.
    """

    parameters: dict[str, tuple[Any, ...]]
    buffers: dict[str, tuple[Any, ...]]
    gradients: dict[str, tuple[Any, ...]]
    saved_bytes: int
    states: int


def step_of(model: PeftModel, *, device: str, classifies: bool = False) -> Step:
    """Run forward with labels, backward, clipping and optimizer on a padded batch."""
    # The storages are kept alive: they are told by address.
    resident = [tensor.untyped_storage() for tensor in (*model.parameters(), *model.buffers())]
    seen = {storage._cdata: 0 for storage in resident}
    kept: list[torch.Tensor] = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        for part in memory_parts(tensor):
            kept.append(part)
            seen.setdefault(part.untyped_storage()._cdata, part.untyped_storage().nbytes())
        return tensor

    parameters = {n: (tuple(p.shape), p.dtype, p.requires_grad) for n, p in model.named_parameters()}
    buffers = {name: (tuple(buffer.shape), buffer.dtype) for name, buffer in model.named_buffers()}
    model.train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained)
    with Answering() if device == "meta" else nullcontext(), quiet_libraries():
        with saved_tensors_hooks(pack, lambda tensor: tensor):
            loss = model(**batch_for(model, device, classifies)).loss
        loss.backward()
        gradients = {n: (tuple(p.grad.shape), p.grad.dtype) for n, p in model.named_parameters() if p.grad is not None}
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
    states = sum(len(state) for state in optimizer.state.values())
    return Step(
        parameters=parameters, buffers=buffers, gradients=gradients, saved_bytes=sum(seen.values()), states=states
    )


def batch_for(model: PeftModel, device: str, classifies: bool) -> dict[str, torch.Tensor]:
    ids = torch.full((BATCH, LENGTH), 3, device=device)
    mask = torch.ones_like(ids)
    if device != "meta":
        mask[0, LENGTH // 2 :] = 0
    batch = {"input_ids": ids, "attention_mask": mask, "labels": ids}
    if classifies:
        batch["labels"] = torch.zeros(BATCH, dtype=torch.long, device=device)
    if model.active_peft_config.peft_type in ("POLY", "MULTITASK_PROMPT_TUNING"):
        batch["task_ids"] = torch.zeros(BATCH, dtype=torch.long, device=device)
    return batch


@cache
def steps(family: str, name: str) -> tuple[Step, Step]:
    """Return the step of a real adapter and that of the dry run."""
    build, task_type, targets = FAMILIES[family]
    settings = {**TINY[name], "task_type": task_type}
    if settings.get("target_modules") == FAMILIES["llama"][2]:
        settings["target_modules"] = targets
    pair = [
        step_of(adapted(build, settings, device=device), device=device, classifies=family == "roberta")
        for device in ("cpu", "meta")
    ]
    return pair[0], pair[1]


# AdaMSS cuts a weight into clusters whose sizes its values tell; together they have all rows.
CLUSTERED = {"adamss", "adamss of dynamic rank"}


def merged(tensors: dict[str, tuple[Any, ...]]) -> dict[str, Any]:
    """Sum the numbers of the tensors that belong to one layer's clusters."""
    out: dict[str, Any] = {}
    for name, (shape, *rest) in tensors.items():
        stem = name.rpartition(".")[0] if ".adamss_" in name else name
        count, _ = out.get(stem, (0, rest))
        out[stem] = (count + torch.Size(shape).numel(), rest)
    return out


def compare(name: str, real: dict[str, tuple[Any, ...]], dry: dict[str, tuple[Any, ...]]) -> None:
    assert set(dry) == set(real)
    if name in CLUSTERED:
        assert merged(dry) == merged(real)
    else:
        assert dry == real


@pytest.mark.parametrize("name", TINY)
def test_parameters_and_buffers_are_those_of_a_real_adapter(name: str) -> None:
    real, dry = steps("llama", name)
    compare(name, real.parameters, dry.parameters)
    compare(name, real.buffers, dry.buffers)


@pytest.mark.parametrize("name", TINY)
def test_the_same_parameters_get_gradients_as_in_a_real_step(name: str) -> None:
    real, dry = steps("llama", name)
    assert real.gradients
    compare(name, real.gradients, dry.gradients)
    assert dry.states == real.states


# Where more is kept on a GPU than in a real step on the CPU, as tests below say in bytes.
KEEPS_COPIES = {"frod", "frod with dropout"}
# Its recurrent network is one fused operator on every device, each with a memory of its own.
KEEPS_ITS_OWN = {"p-tuning by lstm"}


@pytest.mark.parametrize("name", [name for name in TINY if name not in KEEPS_COPIES | KEEPS_ITS_OWN])
def test_a_forward_pass_keeps_as_much_as_a_real_one(name: str) -> None:
    real, dry = steps("llama", name)
    assert dry.saved_bytes == pytest.approx(real.saved_bytes, rel=0.01)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "name"),
    [
        (family, name)
        for family, refused in {
            "t5": {"adaption prompt", "cpt", "bd-lora", "lora on repeated layers", "shadow", "shadow, narrow"},
            "roberta": {
                "adaption prompt", "cpt", "bd-lora", "lora on repeated layers", "shadow", "shadow, narrow",
                "ln tuning", "lora on embeddings", "mica on embeddings",
            },
        }.items()
        for name in TINY
        if name not in refused  # by PEFT
    ]
    + [("gpt2", name) for name in ("lora", "dora", "ia3", "vera", "frod", "fourierft", "deft", "prefix tuning", "cpt")],
)  # fmt: skip
def test_a_step_on_other_families_is_that_of_a_real_adapter(family: str, name: str) -> None:
    real, dry = steps(family, name)
    compare(name, real.parameters, dry.parameters)
    compare(name, real.buffers, dry.buffers)
    compare(name, real.gradients, dry.gradients)


@pytest.mark.parametrize("name", ["lora, pissa", "lora, mica", "dora", "vblora", "frod", "tinylora", "delora", "boft"])
def test_adapters_may_keep_the_precision_of_the_base_model(name: str) -> None:
    def tensors(device: str) -> dict[str, Any]:
        model = adapted(llama, TINY[name], device=device, autocast_adapter_dtype=False)
        return {n: (tuple(t.shape), t.dtype) for n, t in (*model.named_parameters(), *model.named_buffers())}

    assert tensors("meta") == tensors("cpu")


def test_every_method_of_this_peft_is_tried() -> None:
    tried = {settings["peft_type"] for settings in TINY.values()} | {"XLORA"}
    known = PEFT_TYPE_TO_CONFIG_MAPPING.items()
    assert tried == {method.value for method, config in known if config.__module__.startswith("peft.")}


# Methods that need more than a configuration, or do on a GPU what they do not on a CPU.


def test_experts_of_xlora_are_read_from_their_configurations(tmp_path: Path) -> None:
    for number in "01":
        adapted(llama, TINY["lora"], device="cpu").save_pretrained(str(tmp_path / number))

    def build() -> PreTrainedModel:
        model = llama()
        model.config.use_cache = False
        return model

    experts = {number: str(tmp_path / number) for number in "01"}
    settings = {"peft_type": "XLORA", "hidden_size": HIDDEN, "adapters": experts, "use_trainable_adapters": True}
    real, dry = (step_of(adapted(build, settings, device=device), device=device) for device in ("cpu", "meta"))
    assert dry == real


def test_an_expert_of_xlora_that_is_not_there_is_named() -> None:
    config = config_from_dict({"peft_type": "XLORA", "hidden_size": HIDDEN, "adapters": {"law": "nobody/law"}})
    with pytest.raises(InputError, match=r"expert 'law' must be a local folder"):
        attach_on_meta(on_meta(llama), config)


def test_lora_on_the_weights_of_experts_trains_as_a_real_one() -> None:
    def build() -> PreTrainedModel:
        config = MixtralConfig(
            vocab_size=128, hidden_size=HIDDEN, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
            intermediate_size=HIDDEN, num_local_experts=4, num_experts_per_tok=2,
        )  # fmt: skip
        return MixtralForCausalLM._from_config(config, dtype=torch.bfloat16, attn_implementation="eager")

    experts = ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]
    settings = {"peft_type": "LORA", "target_modules": ["q_proj"], "target_parameters": experts}
    real, dry = (step_of(adapted(build, settings, device=device), device=device) for device in ("cpu", "meta"))
    assert any("experts" in name for name in real.gradients)
    assert dry == real


def test_an_activated_adapter_is_taken_to_act_on_the_whole_row() -> None:
    always, activated = (
        step_of(adapted(llama, settings, device="meta"), device="meta")
        for settings in (TINY["lora"], {**TINY["lora"], "alora_invocation_tokens": [3, 3]})
    )
    assert activated.gradients == always.gradients
    assert activated.saved_bytes >= always.saved_bytes


def test_permutations_of_boft_stay_on_the_cpu_and_take_no_memory() -> None:
    model = adapted(llama, TINY["boft"], device="meta")
    permutations = [buffer for name, buffer in model.named_buffers() if name.endswith("boft_P")]
    assert [tuple(one.shape) for one in permutations] == [(1, HIDDEN, HIDDEN)] * 4
    assert {one.device.type for one in permutations} == {"cpu"}
    large = attach_on_meta(on_meta(lambda: llama(hidden_size=2048)), config_from_dict(TINY["boft"]))
    matrices = [buffer for name, buffer in large.named_buffers() if name.endswith("boft_P")]
    assert {matrix.untyped_storage().nbytes() for matrix in matrices} == {4}


def test_frod_copies_its_projections_to_the_device_in_every_layer() -> None:
    real, dry = steps("llama", "frod")
    # The input of the first layer needs no gradient, so only the second layer keeps its two bfloat16 projections;
    # all four layers keep the int64 places of 1 % of the entries.
    projections = 2 * HIDDEN * HIDDEN * 2
    places = 4 * 2 * int(HIDDEN * HIDDEN * 0.01) * 8
    assert dry.saved_bytes - real.saved_bytes == projections + places


@pytest.mark.parametrize(("dropout", "expected"), [(0.0, {"cpu"}), (0.1, {"meta"})])
def test_frod_moves_base_weights_off_the_device_where_no_dropout_needs_them(dropout: float, expected: set[str]) -> None:
    settings = {**TINY["frod"], "runtime_offload_base_weight": True, "frod_dropout": dropout}
    model = adapted(llama, settings, device="meta")
    targeted = [p for n, p in model.named_parameters() if n.endswith(("q_proj.base_layer.weight",))]
    assert {weight.device.type for weight in targeted} == expected
    assert all(weight.device.type == "meta" for name, weight in model.named_parameters() if "mlp" in name)
    step_of(model, device="meta")


def test_the_places_of_shira_are_held_on_the_device() -> None:
    model = adapted(llama, TINY["shira"], device="meta")
    places = [tensor for tensor in held_tensors(model) if tensor.dtype == torch.int32]
    # As many entries as LoRA of the rank has: 4 * (64 + 64) in queries, 4 * (64 + 32) in values, in two layers.
    assert sorted(tuple(one.shape) for one in places) == [(2, 384), (2, 384), (2, 512), (2, 512)]


def test_samples_drawn_ahead_by_montelora_are_held_on_the_device() -> None:
    model = adapted(llama, TINY["montelora"], device="meta")
    registered = {id(tensor) for tensor in (*model.parameters(), *model.buffers())}
    drawn = [tensor for tensor in held_tensors(model) if id(tensor) not in registered]
    shapes = {tuple(tensor.shape) for tensor in drawn}
    assert {(3, HIDDEN, 8), (3,), (8, 8)} <= shapes  # samples x in x rank, samples, rank x rank


def test_what_is_held_counts_each_tensor_once() -> None:
    model = adapted(llama, TINY["vera"], device="meta")
    held = held_tensors(model)
    assert len({id(tensor) for tensor in held}) == len(held)
    assert {id(parameter) for parameter in model.parameters()} <= {id(tensor) for tensor in held}


def test_a_method_of_two_small_clusters_keeps_the_rank_it_was_given() -> None:
    settings = {**TINY["adamss"], "num_subspaces": 2, "subspace_rank": 3}
    model = adapted(llama, settings, device="meta")
    # Two clusters of rank 3 over 8 columns, and 3 numbers for each of the 64 rows (queries) and 32 rows (values).
    assert trainable(model) == 2 * (2 * 2 * 3 * 8 + 3 * (64 + 32))


# What is left as it was, and what is refused.


def test_the_configuration_is_left_as_it_was() -> None:
    config = config_from_dict({**TINY["shira"], "task_type": "CAUSAL_LM"})
    before = (config.target_modules, config.mask_fn, config.base_model_name_or_path)
    attach_on_meta(on_meta(llama), config)
    assert (config.target_modules, config.mask_fn, config.base_model_name_or_path) == before
    assert before[0] is None


def test_real_adapters_are_initialised_as_ever_after_a_dry_run() -> None:
    attach_on_meta(on_meta(llama), config_from_dict(TINY["lora, pissa"]))
    attach_on_meta(on_meta(llama), config_from_dict(TINY["boft"]))
    model = adapted(llama, TINY["lora, pissa"], device="cpu")
    changed = [p for n, p in model.named_parameters() if "lora_B" in n]
    assert all(bool(parameter.any()) for parameter in changed)  # plain LoRA begins with zeros
    rotated = adapted(llama, {**TINY["boft"], "boft_n_butterfly_factor": 2}, device="cpu")
    matrix = next(buffer for name, buffer in rotated.named_buffers() if name.endswith("boft_P"))
    assert torch.equal(matrix.sum(-1), torch.ones(matrix.shape[:2]))  # permutations


IMPOSSIBLE: dict[str, PeftConfig] = {
    "LORA.use_qalora": LoraConfig(use_qalora=True),
    "LORA.arrow_config": LoraConfig(arrow_config=ArrowConfig()),
}


@pytest.mark.parametrize("key", CANNOT_DRY_RUN)
def test_what_cannot_be_dry_run_is_refused_with_its_reason(key: str) -> None:
    with pytest.raises(InputError) as caught:
        attach_on_meta(on_meta(llama), IMPOSSIBLE[key])
    assert str(caught.value) == f"{key}: no estimate is possible; {CANNOT_DRY_RUN[key]}"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"peft_type": "LORA", "target_modules": ["qq"]}, "LORA: PEFT cannot put this adapter on the model"),
        ({"peft_type": "VBLORA", "vector_length": 7}, "VBLORA: PEFT cannot put"),
        ({"peft_type": "SHIRA", "mask_type": "mine"}, "SHIRA: mask_type 'mine' needs a function"),
    ],
)
def test_what_peft_refuses_is_one_line_for_the_user(settings: Settings, message: str) -> None:
    with pytest.raises(InputError) as caught:
        attach_on_meta(on_meta(llama), config_from_dict(settings))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


# Configurations.


def test_a_saved_adapter_is_read_for_training(tmp_path: Path) -> None:
    adapted(llama, {**TINY["lora"], "r": 3}, device="cpu").save_pretrained(str(tmp_path))
    assert json.loads((tmp_path / "adapter_config.json").read_text())["inference_mode"] is True
    for path in (tmp_path, tmp_path / "adapter_config.json"):
        config = config_from_file(path)
        assert (type(config), config.r, config.inference_mode) == (LoraConfig, 3, False)
    model = attach_on_meta(on_meta(llama), config)
    assert trainable(model) == 2 * 3 * (2 * HIDDEN + HIDDEN + HIDDEN // 2)


def test_settings_of_another_version_are_left_out_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        config = config_from_dict({"peft_type": "LORA", "r": 2, "use_magic": True, "a_knob": 1}, source="mine.json")
    assert config.r == 2
    assert "mine.json" in caplog.text
    assert "a_knob, use_magic" in caplog.text


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"peft_type": 3}', '"LORA"'])
def test_a_file_that_is_no_configuration_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "adapter_config.json"
    file.write_text(content)
    with pytest.raises(DataError, match=r"adapter_config\.json: (is not readable as JSON|has no peft_type)"):
        config_from_file(tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"adapter_config\.json: no such file"):
        config_from_file(tmp_path)
    with pytest.raises(DataError, match="nowhere: no such file"):
        config_from_file(tmp_path / "nowhere")


def test_an_unknown_method_is_answered_with_near_names() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown PEFT method 'LORAA'; nearest: .*LORA"):
        config_from_dict({"peft_type": "LORAA"})


@pytest.mark.parametrize(
    "settings",
    [
        {"peft_type": "LORA", "task_type": "SINGING"},
        {"peft_type": "LORA", "layers_pattern": "h"},
        {"peft_type": "ADALORA"},
    ],
)
def test_settings_that_peft_refuses_are_one_line(settings: Settings) -> None:
    with pytest.raises(DataError, match="PEFT refuses these") as caught:
        config_from_dict(settings)
    assert "\n" not in str(caught.value)


# Full size.


def llama_3b(n_layers: int = 28) -> PreTrainedModel:
    return llama(
        vocab_size=128256, hidden_size=3072, num_hidden_layers=n_layers, num_attention_heads=24, num_key_value_heads=8,
        head_dim=128, intermediate_size=8192,
    )  # fmt: skip


def published_counts() -> dict[str, int]:
    with (KNOWLEDGE / "peft_method_comparison.csv").open(newline="", encoding="utf-8") as file:
        return {row["experiment"]: int(row["trainable_params"]) for row in csv.DictReader(file)}


def test_every_published_run_has_its_configuration_here() -> None:
    assert set(published_counts()) - set(PUBLISHED) == {"full-finetuning/llama-3.2-3B-lr_0.00001"}
    assert set(PUBLISHED) <= set(published_counts())


@pytest.mark.slow
@pytest.mark.parametrize("experiment", PUBLISHED)
def test_as_many_parameters_are_trained_as_in_the_published_run(experiment: str) -> None:
    model = attach_on_meta(on_meta(llama_3b), config_from_dict(PUBLISHED[experiment]))
    if experiment.endswith("lorafa"):
        create_lorafa_optimizer(model, r=32, lora_alpha=64, lr=1e-4)  # freezes half of the adapter
    expected = published_counts()[experiment]
    if experiment.startswith("adalora"):
        # PEFT 0.21 makes one more number of each of 56 layers trainable, its current rank, when it moves or casts it.
        expected += 56
    assert trainable(model) == expected


@pytest.mark.slow
@pytest.mark.parametrize("experiment", [name for name, (_, count) in FURTHER.items() if count is not None])
def test_as_many_parameters_are_trained_as_the_method_says(experiment: str) -> None:
    settings, expected = FURTHER[experiment]
    assert trainable(attach_on_meta(on_meta(llama_3b), config_from_dict(settings))) == expected


@pytest.mark.slow
@pytest.mark.parametrize("experiment", [*PUBLISHED, *FURTHER])
def test_a_layer_of_full_size_trains(experiment: str) -> None:
    settings = PUBLISHED[experiment] if experiment in PUBLISHED else FURTHER[experiment][0]
    if settings["peft_type"] == "ADAPTION_PROMPT":
        settings = {**settings, "adapter_layers": 1}
    model = adapted(lambda: llama_3b(n_layers=1), {**settings, "task_type": "CAUSAL_LM"}, device="meta")
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert set(step_of(model, device="meta").gradients) <= trained
