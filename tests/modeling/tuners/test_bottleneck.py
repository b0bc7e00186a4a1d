"""Bottleneck adapters against the equations, written out by hand."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel, get_peft_model
from torch import nn
from transformers import AutoModel, AutoModelForCausalLM

from advisor.errors import InputError
from advisor.modeling.quiet import quiet_libraries
from advisor.modeling.tuners import (
    AdapterFusionConfig,
    AdapterStackConfig,
    BitFitConfig,
    BottleneckConfig,
    CompacterConfig,
    FeedForwardLoraConfig,
    MamConfig,
)
from advisor.modeling.tuners.bottleneck import BottleneckLayer
from advisor.modeling.tuners.insertion import FAMILIES, layers_of
from advisor.modeling.tuners.phm import PHMLinear, new_rule

IDS = torch.randint(5, 300, (2, 7), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def encoder(base_folder: Callable[..., Path]) -> Any:
    with quiet_libraries():
        return AutoModel.from_pretrained(base_folder("encoder-only"), add_pooling_layer=False).eval()


@pytest.fixture
def decoder(base_folder: Callable[..., Path]) -> Any:
    return AutoModelForCausalLM.from_pretrained(base_folder("decoder-only")).eval()


def shake(model: nn.Module) -> None:
    """Give every adapter weight a value that is not its first one."""
    generator = torch.Generator().manual_seed(3)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.3


def attached(base: Any, config: Any) -> Any:
    config.task_type = "CAUSAL_LM" if hasattr(base, "lm_head") else "FEATURE_EXTRACTION"
    model = get_peft_model(base, config).eval()
    shake(model)
    return model


def answer(model: Any) -> torch.Tensor:
    with torch.no_grad():
        outputs = model(input_ids=IDS)
    return outputs.logits if hasattr(outputs, "logits") else outputs.last_hidden_state


def by_hand(layer: BottleneckLayer, x: torch.Tensor) -> torch.Tensor:
    """Return A(x) from the weights alone."""
    down, up = layer.bottleneck_down["default"], layer.bottleneck_up["default"]
    inner = x @ down.weight.T + down.bias
    inner = (
        torch.relu(inner) if layer.non_linearities["default"](torch.tensor(-1.0)) == 0 else nn.functional.silu(inner)
    )
    return (inner @ up.weight.T + up.bias) * layer.bottleneck_scaling["default"]


def outputs_of(module: nn.Module, call: Callable[[], object]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the input and the output of a module while something is called."""
    seen: list[torch.Tensor] = []
    hook = module.register_forward_hook(lambda _, args, out: seen.extend((args[0], out)))
    call()
    hook.remove()
    return seen[0], seen[1]


def test_a_houlsby_adapter_adds_to_what_the_sublayer_gives(encoder: Any) -> None:
    model = attached(encoder, BottleneckConfig(placement="houlsby", reduction_factor=4))
    layer = encoder.encoder.layer[0].attention.output.dense
    with torch.no_grad():
        x, out = outputs_of(layer, lambda: model(input_ids=IDS))
        h = layer.base_layer(x)
    assert torch.allclose(out, h + by_hand(layer, h), atol=1e-6)
    wrapped = [name for name, module in encoder.named_modules() if isinstance(module, BottleneckLayer)]
    assert [name.removeprefix("encoder.layer.") for name in wrapped] == [
        "0.attention.output.dense", "0.output.dense", "1.attention.output.dense", "1.output.dense",
    ]  # fmt: skip


def test_a_pfeiffer_adapter_reads_the_normalised_sum_and_adds_before_the_norm(encoder: Any) -> None:
    model = attached(encoder, BottleneckConfig(placement="pfeiffer", reduction_factor=4, non_linearity="relu"))
    norm = encoder.encoder.layer[1].output.LayerNorm
    with torch.no_grad():
        total, out = outputs_of(norm, lambda: model(input_ids=IDS))
        wanted = norm.base_layer(total + by_hand(norm, norm.base_layer(total)))
    assert torch.allclose(out, wanted, atol=1e-6)


def test_without_a_norm_after_it_a_pfeiffer_adapter_changes_the_residual_stream(decoder: Any) -> None:
    model = attached(decoder, BottleneckConfig(placement="pfeiffer", reduction_factor=4, non_linearity="relu"))
    block = decoder.model.layers[0]
    with torch.no_grad():
        _, stream = outputs_of(block.base_layer, lambda: model(input_ids=IDS))
        _, out = outputs_of(block, lambda: model(input_ids=IDS))
    assert torch.allclose(out, stream + by_hand(block, stream), atol=1e-6)


def test_a_parallel_adapter_reads_what_the_sublayer_reads(encoder: Any) -> None:
    config = BottleneckConfig(placement="parallel", reduction_factor=2, non_linearity="relu", scaling=4.0)
    model = attached(encoder, config)
    layer = encoder.encoder.layer[0]
    with torch.no_grad():
        entered, _ = outputs_of(layer.intermediate.dense, lambda: model(input_ids=IDS))
        x, out = outputs_of(layer.output.dense, lambda: model(input_ids=IDS))
        wanted = layer.output.dense.base_layer(x) + by_hand(layer.output.dense, entered)
    assert torch.allclose(out, wanted, atol=1e-6)
    assert layer.output.dense.entered is None, "activations are kept alive"


@pytest.mark.parametrize("placement", ["houlsby", "pfeiffer", "parallel"])
def test_unloading_gives_the_base_model_back(encoder: Any, placement: Any) -> None:
    with torch.no_grad():
        before = answer(encoder)
    names = [name for name, _ in encoder.named_modules()]
    model = attached(encoder, BottleneckConfig(placement=placement, reduction_factor=4))
    assert not torch.equal(answer(model), before)
    with pytest.raises(ValueError, match="cannot be merged"):
        model.merge_and_unload()
    bare = model.unload()
    assert [name for name, _ in bare.named_modules()] == names
    assert not [module for module in bare.modules() if module._forward_pre_hooks]
    assert torch.equal(answer(bare), before)


def test_the_number_of_trained_parameters_is_that_of_the_equations(encoder: Any) -> None:
    d, layers = 32, 2

    def counted(config: Any) -> int:
        model = attached(encoder, config)
        n = sum(p.numel() for p in model.parameters() if p.requires_grad)
        model.unload()
        return n

    m = d // 4
    one = 2 * d * m + m + d
    assert counted(BottleneckConfig(placement="houlsby", reduction_factor=4)) == 2 * layers * one
    assert counted(BottleneckConfig(placement="pfeiffer", reduction_factor=4)) == layers * one
    # Compacter: for each projection n (i/n r + r o/n) and a bias, and one rule of n³ for all.
    n, phm = 4, (d + m) * 2 + m + d
    assert counted(CompacterConfig(reduction_factor=4, phm_dim=n)) == 2 * layers * phm + n**3


def test_a_hypercomplex_projection_is_a_sum_of_kronecker_products() -> None:
    torch.manual_seed(1)
    rule = new_rule(4)
    layer = PHMLinear(32, 8, rank=2, rule=rule)
    wanted = sum(torch.kron(rule[k], layer.left[k] @ layer.right[k]) for k in range(4))
    x = torch.randn(3, 5, 32)
    assert torch.allclose(layer(x), x @ wanted + layer.bias, atol=1e-6)
    with pytest.raises(ValueError, match="must divide"):
        PHMLinear(30, 8, rank=1, rule=rule)


def test_layers_of_compacter_share_one_rule_and_it_survives_saving(encoder: Any, tmp_path: Path) -> None:
    model = attached(encoder, CompacterConfig(reduction_factor=4))
    rules = {id(module.rule) for module in model.modules() if isinstance(module, PHMLinear)}
    assert len(rules) == 1
    wanted = answer(model)
    model.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(model.unload(), tmp_path).eval()
    assert torch.equal(answer(loaded), wanted)


@pytest.mark.parametrize(
    "config",
    [
        BottleneckConfig(placement="houlsby"),
        CompacterConfig(reduction_factor=4),
        MamConfig(num_prefix_tokens=3, prefix_hidden_size=6),
        FeedForwardLoraConfig(r=4),
        BitFitConfig(),
    ],
    ids=lambda one: type(one).__name__,
)
def test_a_saved_adapter_can_be_loaded_under_another_name(encoder: Any, tmp_path: Path, config: Any) -> None:
    model = attached(encoder, config)
    wanted = answer(model)
    model.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(model.unload(), tmp_path, adapter_name="java").eval()
    assert torch.equal(answer(loaded), wanted)


@pytest.mark.parametrize(
    "config",
    [MamConfig(num_prefix_tokens=3, prefix_hidden_size=6), FeedForwardLoraConfig(r=4), BottleneckConfig()],
    ids=lambda one: type(one).__name__,
)
def test_of_two_adapters_the_active_one_computes(decoder: Any, config: Any) -> None:
    model = attached(decoder, config)
    first = answer(model)
    model.add_adapter("second", config)
    model.set_adapter("second")
    shake(model)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data *= 0.7
    second = answer(model)
    assert not torch.allclose(first, second)
    model.set_adapter("default")
    assert torch.equal(answer(model), first)
    model.set_adapter("second")
    assert torch.equal(answer(model), second)


def test_mam_attention_is_attention_with_keys_and_values_before_the_text(encoder: Any) -> None:
    model = attached(encoder, MamConfig(num_prefix_tokens=3, prefix_hidden_size=6))
    wrapper = encoder.encoder.layer[0].attention.self
    attention = wrapper.base_layer
    mask = torch.ones_like(IDS)
    mask[0, 4:] = 0
    with torch.no_grad():
        hidden, (out, _) = outputs_of(attention, lambda: model(input_ids=IDS, attention_mask=mask))
        ((keys, values),) = wrapper.prefix()
        split = lambda x: x.view(*x.shape[:-1], 4, 8).transpose(-3, -2)  # noqa: E731
        query, key, value = (split(part(hidden)) for part in (attention.query, attention.key, attention.value))
        key = torch.cat([split(keys).expand(2, -1, -1, -1), key], dim=2)
        value = torch.cat([split(values).expand(2, -1, -1, -1), value], dim=2)
        scores = query @ key.transpose(-1, -2) / 8**0.5
        hidden_from = torch.cat([torch.zeros(2, 3, dtype=torch.bool), mask == 0], dim=1)
        weights = scores.masked_fill(hidden_from[:, None, None], float("-inf")).softmax(-1)
        wanted = (weights @ value).transpose(1, 2).reshape(2, 7, 32)
    assert torch.allclose(out, wanted, atol=1e-5)


def test_a_causal_model_sees_the_prefix_and_no_later_token(decoder: Any) -> None:
    model = attached(decoder, MamConfig(num_prefix_tokens=3, prefix_hidden_size=6))
    changed = IDS.clone()
    changed[:, -1] = 7
    with torch.no_grad():
        first, second = model(input_ids=IDS).logits, model(input_ids=changed).logits
        with model.disable_adapter():
            without = model(input_ids=IDS).logits
    assert torch.equal(first[:, :-1], second[:, :-1])
    assert not torch.allclose(first[:, 0], without[:, 0])


def test_taking_mam_off_leaves_attention_as_it_was(decoder: Any) -> None:
    with torch.no_grad():
        before = decoder(input_ids=IDS).logits
    model = attached(decoder, MamConfig(num_prefix_tokens=3, prefix_hidden_size=6))
    bare = model.unload()
    with torch.no_grad():
        assert torch.equal(bare(input_ids=IDS).logits, before)
    assert {layer.self_attn.config._attn_implementation for layer in bare.model.layers} == {
        decoder.config._attn_implementation
    }


def test_merged_biases_compute_the_same(encoder: Any) -> None:
    model = attached(encoder, BitFitConfig())
    wanted = answer(model)
    assert torch.allclose(answer(model.merge_and_unload()), wanted, atol=1e-5)


def test_biases_of_one_kind_of_sublayer_are_those_of_its_modules(encoder: Any) -> None:
    def biases(parts: Any) -> set[str]:
        model = attached(encoder, BitFitConfig(parts=parts))
        found = {name.split(".bitfit_bias")[0] for name, _ in model.named_parameters() if "bitfit_bias" in name}
        model.unload()
        return {name.removeprefix("base_model.model.") for name in found}

    attention, feed_forward, everything = biases("attention"), biases("feed-forward"), biases("all")
    assert "encoder.layer.0.attention.self.query" in attention
    assert feed_forward == {
        f"encoder.layer.{i}.{place}" for i in (0, 1) for place in ("intermediate.dense", "output.dense")
    }
    assert attention | feed_forward < everything
    assert not attention & feed_forward
    assert "embeddings.LayerNorm" in everything


def test_a_model_without_biases_is_refused_in_words(decoder: Any) -> None:
    with pytest.raises(ValueError, match="has no biases to train; try method beft"):
        attached(decoder, BitFitConfig())


def test_feed_forward_lora_and_adapters_take_different_sublayers(decoder: Any) -> None:
    model = attached(decoder, FeedForwardLoraConfig(r=2, reduction_factor=4))
    lora = {name.split(".lora_A")[0].split("layers.0.")[-1] for name, _ in model.named_parameters() if "lora_A" in name}
    adapters = {name for name, module in decoder.named_modules() if isinstance(module, BottleneckLayer)}
    assert {"mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"} <= lora
    assert adapters == {"model.layers.0.self_attn.o_proj", "model.layers.1.self_attn.o_proj"}


def saved_adapters(base: Any, folder: Path, placement: str) -> list[str]:
    folders = []
    for number in range(2):
        config = BottleneckConfig(placement=placement, reduction_factor=4 * (number + 1), non_linearity="relu")  # type: ignore[arg-type]
        model = attached(base, config)
        folders.append(str(folder / f"language-{number}"))
        model.save_pretrained(folders[-1])
        model.unload()
    return folders


@pytest.mark.parametrize("config_of", [AdapterStackConfig, AdapterFusionConfig])
def test_composed_adapters_take_trained_ones_in_and_need_their_folders_no_more(
    decoder: Any, tmp_path: Path, config_of: Any
) -> None:
    folders = saved_adapters(decoder, tmp_path, "pfeiffer")
    model = get_peft_model(decoder, config_of(adapters=folders, reduction_factor=4, task_type="CAUSAL_LM")).eval()
    frozen = {name for name, p in model.named_parameters() if "bottleneck_trained" in name and p.requires_grad}
    assert not frozen
    with torch.no_grad():
        wanted = model(input_ids=IDS).logits
    model.save_pretrained(tmp_path / "composed")
    model.unload()
    for folder in folders:
        Path(folder, "adapter_config.json").unlink()
    loaded = PeftModel.from_pretrained(decoder, tmp_path / "composed").eval()
    with torch.no_grad():
        assert torch.equal(loaded(input_ids=IDS).logits, wanted)
    assert str(tmp_path) not in (tmp_path / "composed" / "adapter_config.json").read_text()


def test_a_fresh_fusion_weighs_adapters_by_attention(decoder: Any, tmp_path: Path) -> None:
    folders = saved_adapters(decoder, tmp_path, "pfeiffer")
    model = attached(decoder, AdapterFusionConfig(adapters=folders))
    block = decoder.model.layers[1]
    fusion = block.bottleneck_fusion["default"]
    with torch.no_grad():
        _, x = outputs_of(block.base_layer, lambda: model(input_ids=IDS))
        _, out = outputs_of(block, lambda: model(input_ids=IDS))
        changes = [adapter(x) for adapter in block.trained_of("default")]
        scores = torch.stack([(fusion.query(x) * fusion.key(change)).sum(-1) for change in changes], -1).softmax(-1)
        wanted = x + sum(scores[..., i : i + 1] * fusion.value(change) for i, change in enumerate(changes))
    assert torch.allclose(out, wanted, atol=1e-5)


def test_adapters_of_two_placements_do_not_go_together(decoder: Any, tmp_path: Path) -> None:
    first = saved_adapters(decoder, tmp_path / "a", "pfeiffer")[0]
    second = saved_adapters(decoder, tmp_path / "b", "houlsby")[0]
    with pytest.raises(ValueError, match="different placements"):
        attached(decoder, AdapterFusionConfig(adapters=[first, second]))
    with pytest.raises(ValueError, match="no saved adapter"):
        attached(decoder, AdapterStackConfig(adapters=[str(tmp_path)]))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"placement": "nowhere"}, "placement"),
        ({"reduction_factor": 0}, "reduction_factor"),
        ({"non_linearity": "wavy"}, "non_linearity"),
        ({"bottleneck_dropout": 1.0}, "bottleneck_dropout"),
        ({"init_weights": "ones"}, "init_weights"),
    ],
)
def test_values_without_sense_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        BottleneckConfig(**settings)


def test_an_unknown_model_family_is_named(decoder: Any) -> None:
    with pytest.raises(InputError, match="where adapters go in mamba models is not known"):
        layers_of(decoder, "mamba")
    assert {"bert", "roberta", "modernbert", "t5", "bart", "plbart", "gpt2", "llama", "qwen2"} <= set(FAMILIES)
