"""Stand-ins for bitsandbytes' layers: against sums done by hand, and against bitsandbytes where it is installed.

Where it is not, the last class is skipped; a folder with an unpacked wheel of bitsandbytes on PYTHONPATH is enough.
"""

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import (
    IA3Config,
    LoraConfig,
    PeftConfig,
    PeftModel,
    PrefixTuningConfig,
    PromptTuningConfig,
    get_peft_model,
    prepare_model_for_kbit_training,
)
from peft.import_utils import is_bnb_4bit_available, is_bnb_available
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    RobertaConfig,
    RobertaForSequenceClassification,
    T5Config,
    T5ForConditionalGeneration,
)

from advisor.modeling.quantized_meta import Linear4bit, Linear8bitLt, bitsandbytes_stand_in, quantize_meta
from advisor.modeling.quiet import quiet_libraries
from advisor.spec import Quantization
from tests.storages import StorageWatch

HAS_BITSANDBYTES = importlib.util.find_spec("bitsandbytes") is not None
INPUTS, OUTPUTS, ROWS = 128, 192, (2, 8)
N_ROWS = 16
LLAMA = LlamaConfig(
    vocab_size=400, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    intermediate_size=128, max_position_embeddings=128, attn_implementation="eager",
)  # fmt: skip


Passes = tuple[list[int], list[int]]  # events of the forward and of the backward pass


def tensors_of(module: torch.nn.Module) -> list[torch.Tensor]:
    return [*module.parameters(), *module.buffers()]


def build(model_class: type[PreTrainedModel], config: Any, dtype: torch.dtype = torch.bfloat16) -> PreTrainedModel:
    with torch.device("meta"), quiet_libraries():
        model: PreTrainedModel = model_class._from_config(config, dtype=dtype)
    return model


def llama() -> PreTrainedModel:
    return build(LlamaForCausalLM, LLAMA)


def quantized_names(model: torch.nn.Module) -> set[str]:
    return {name for name, module in model.named_modules() if isinstance(module, (Linear4bit, Linear8bitLt))}


def watched_pass(module: Callable[[torch.Tensor], torch.Tensor], rows: torch.Tensor, known: list[Any]) -> Passes:
    """Run a layer forward and backward; return the events of each pass."""
    with StorageWatch([rows, *known]) as watch:
        output = module(rows)
        forward = list(watch.events)
        output.backward(torch.empty_like(output))
        return forward, watch.events[len(forward) :]


def passes_on_meta(layer: torch.nn.Module, dtype: torch.dtype) -> Passes:
    rows = torch.empty(*ROWS, INPUTS, dtype=dtype, device="meta", requires_grad=True)
    return watched_pass(layer, rows, tensors_of(layer))


@pytest.fixture
def stand_in() -> Iterator[None]:
    with bitsandbytes_stand_in():
        yield


class TestStorage:
    """Bytes of the weights."""

    def test_of_a_4096_square_in_nf4_is_the_sum_of_its_parts(self) -> None:
        layer = Linear4bit((4096, 4096), None, torch.bfloat16, torch.bfloat16)
        packed, scales, scales_of_scales = 4096 * 4096 // 2, 4096 * 4096 // 64, 4 * 4096 * 4096 // 64 // 256
        tables_and_offset = 4 * 16 + 4 * 256 + 4
        total = sum(tensor.nbytes for tensor in tensors_of(layer))
        assert total == packed + scales + scales_of_scales + tables_and_offset
        # QLoRA, section 3: double quantization brings the scales to 0.127 bits a weight.
        assert 8 * (total - tables_and_offset) / 4096**2 == pytest.approx(4.127, abs=1e-3)

    def test_of_sizes_that_fill_no_block_is_rounded_up(self) -> None:
        layer = Linear4bit((3, 43), None, torch.bfloat16, torch.bfloat16)
        # 129 weights: 65 bytes, 3 scales, 1 scale of scales, tables and offset.
        assert sum(tensor.nbytes for tensor in tensors_of(layer)) == 65 + 3 + 4 + 64 + 1024 + 4

    def test_of_8_bits_is_a_byte_a_weight_and_a_scale_a_row(self) -> None:
        layer = Linear8bitLt((OUTPUTS, INPUTS), None)
        assert sum(tensor.nbytes for tensor in tensors_of(layer)) == OUTPUTS * INPUTS + 4 * OUTPUTS
        assert layer.state.CB.data_ptr() == layer.weight.data_ptr()


class TestLayers:
    """What a pass through one layer allocates."""

    def test_4_bits_keep_nothing_of_the_input_and_write_out_one_weight_in_each_pass(self) -> None:
        layer = Linear4bit((OUTPUTS, INPUTS), None, torch.bfloat16, torch.bfloat16)
        forward, backward = passes_on_meta(layer, torch.bfloat16)
        weight, scales, output = 2 * OUTPUTS * INPUTS, 4 * OUTPUTS * INPUTS // 64, 2 * N_ROWS * OUTPUTS
        assert forward[:4] == [scales, scales, weight, output]
        assert sorted(forward[4:]) == [-weight, -scales, -scales]
        gradient = 2 * N_ROWS * INPUTS
        assert backward == [output, scales, weight, -scales, gradient, -weight, -output]

    def test_4_bits_in_a_float32_model_cast_the_input_and_the_output(self) -> None:
        layer = Linear4bit((OUTPUTS, INPUTS), None, torch.bfloat16, torch.bfloat16)
        forward, _ = passes_on_meta(layer, torch.float32)
        assert forward[0] == 2 * N_ROWS * INPUTS
        assert sum(forward) == 4 * N_ROWS * OUTPUTS

    def test_4_bits_loaded_in_float32_are_written_out_in_float32_in_the_backward_pass_only(self) -> None:
        layer = Linear4bit((OUTPUTS, INPUTS), None, torch.float32, torch.bfloat16)
        forward, backward = passes_on_meta(layer, torch.bfloat16)
        assert 4 * OUTPUTS * INPUTS not in forward
        assert {4 * OUTPUTS * INPUTS, 2 * OUTPUTS * INPUTS} <= set(backward)

    def test_4_bits_cast_their_bias_once_and_for_all(self) -> None:
        bias = torch.nn.Parameter(torch.empty(OUTPUTS, device="meta"), requires_grad=False)
        layer = Linear4bit((OUTPUTS, INPUTS), bias, torch.bfloat16, torch.bfloat16)
        assert 2 * OUTPUTS in passes_on_meta(layer, torch.float32)[0]
        assert layer.bias.dtype == torch.bfloat16
        assert 2 * OUTPUTS not in passes_on_meta(layer, torch.float32)[0]

    def test_8_bits_keep_the_input_and_write_out_one_weight_in_the_backward_pass(self) -> None:
        layer = Linear8bitLt((OUTPUTS, INPUTS), None)
        rows = torch.empty(*ROWS, INPUTS, dtype=torch.float16, device="meta", requires_grad=True)
        forward, backward = watched_pass(lambda rows: layer(rows * 2), rows, tensors_of(layer))
        # One column of 128 with outliers: its index, and its values.
        kept = 2 * N_ROWS * INPUTS + 8 + 2 * N_ROWS
        assert sum(forward) == kept + 2 * N_ROWS * OUTPUTS
        assert 2 * OUTPUTS * INPUTS in backward

    def test_8_bits_multiply_into_32_bits_and_add_the_outliers_to_a_second_output(self) -> None:
        forward, _ = passes_on_meta(Linear8bitLt((OUTPUTS, INPUTS), None), torch.bfloat16)
        int8_rows, scales, half_rows, one_column = N_ROWS * INPUTS, 4 * N_ROWS, 2 * N_ROWS * INPUTS, 2 * N_ROWS
        assert sorted(forward[:3]) == [scales, int8_rows, half_rows]
        product, half = 4 * N_ROWS * OUTPUTS, 2 * N_ROWS * OUTPUTS
        start = forward.index(product)
        # The product in int32, float16 and bfloat16, and once more with the outliers.
        assert [event for event in forward[start:] if event > 0] == [product, half, half, half]
        outliers = one_column + 8 + 2 * OUTPUTS
        assert sum(forward[: start + 3]) == int8_rows + scales + outliers + product + 2 * half

    def test_without_gradients_nothing_but_the_output_stays(self) -> None:
        rows = torch.empty(*ROWS, INPUTS, dtype=torch.bfloat16, device="meta")
        layer = Linear4bit((OUTPUTS, INPUTS), None, torch.bfloat16, torch.bfloat16)
        with torch.no_grad(), StorageWatch([rows, *tensors_of(layer)]) as watch:
            output = layer(rows)
            assert sum(watch.events) == output.nbytes

    def test_a_trainable_bias_gets_its_gradient(self) -> None:
        for layer in (
            Linear4bit((OUTPUTS, INPUTS), _bias(), torch.bfloat16, torch.bfloat16),
            Linear8bitLt((OUTPUTS, INPUTS), _bias()),
        ):
            layer(torch.empty(*ROWS, INPUTS, dtype=torch.bfloat16, device="meta")).sum().backward()
            assert layer.bias.grad is not None
            assert layer.bias.grad.shape == (OUTPUTS,)


def _bias() -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.empty(OUTPUTS, dtype=torch.bfloat16, device="meta"))


@pytest.mark.usefixtures("stand_in")
class TestQuantizeMeta:
    """Which layers are replaced, and what the model says of itself."""

    @pytest.mark.parametrize("quantization", ["4bit", "8bit"])
    def test_every_linear_layer_of_a_decoder_but_the_output(self, quantization: Quantization) -> None:
        model = llama()
        linear = {name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
        quantize_meta(model, quantization, torch.bfloat16)
        assert quantized_names(model) == linear - {"lm_head"}
        assert not any(model.get_submodule(name).weight.requires_grad for name in quantized_names(model))

    def test_conv1d_of_gpt2_with_its_sizes_the_right_way_round(self) -> None:
        model = build(GPT2LMHeadModel, GPT2Config(vocab_size=400, n_embd=64, n_layer=1, n_head=4, n_positions=64))
        quantize_meta(model, "8bit", torch.bfloat16)
        assert quantized_names(model) == {
            f"transformer.h.0.{name}" for name in ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
        }
        assert model.get_submodule("transformer.h.0.mlp.c_fc").weight.shape == (256, 64)

    def test_layers_that_t5_keeps_in_float32_are_left(self) -> None:
        model = build(T5ForConditionalGeneration, T5Config(vocab_size=400, d_model=64, d_kv=16, num_heads=4,
                                                           num_layers=1, d_ff=128))  # fmt: skip
        quantize_meta(model, "4bit", torch.bfloat16)
        assert quantized_names(model)
        assert not any(name.endswith(("wo", "lm_head")) for name in quantized_names(model))

    def test_modules_to_skip_replace_the_default(self) -> None:
        config = RobertaConfig(vocab_size=400, hidden_size=64, num_hidden_layers=1, num_attention_heads=4,
                               intermediate_size=128)  # fmt: skip
        model = build(RobertaForSequenceClassification, config)
        quantize_meta(model, "4bit", torch.bfloat16, ("classifier",))
        assert len(quantized_names(model)) == 6
        assert not any(name.startswith("classifier") for name in quantized_names(model))

    def test_the_model_says_what_it_is(self) -> None:
        model: Any = llama()
        n_params = model.num_parameters()
        quantize_meta(model, "4bit", torch.bfloat16)
        assert model.is_loaded_in_4bit
        assert model.is_quantized
        assert model.quantization_method == "bitsandbytes"
        assert model.config.quantization_config.bnb_4bit_quant_type == "nf4"
        assert model.num_parameters() == n_params

    @pytest.mark.parametrize("quantization", ["4bit", "8bit"])
    @pytest.mark.parametrize(
        ("config", "checkpointing"),
        [
            (LoraConfig(task_type="CAUSAL_LM", target_modules="all-linear", lora_dropout=0.1), False),
            (LoraConfig(task_type="CAUSAL_LM", target_modules="all-linear", lora_dropout=0.1), True),
            (LoraConfig(task_type="CAUSAL_LM", target_modules="all-linear", use_dora=True), False),
            (IA3Config(task_type="CAUSAL_LM"), False),
            (PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4), False),
            (PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4), False),
        ],
        ids=["lora", "lora-checkpointing", "dora", "ia3", "prefix-tuning", "prompt-tuning"],
    )
    def test_peft_trains_on_it_and_counts_its_parameters(
        self, config: PeftConfig, quantization: Quantization, checkpointing: bool
    ) -> None:
        base = llama()
        n_params = base.num_parameters()
        model = attach(base, quantization, config, checkpointing)
        trained, total = model.get_nb_trainable_parameters()
        assert total - trained == n_params
        run(model)
        assert all(parameter.grad is not None for parameter in model.parameters() if parameter.requires_grad)
        if isinstance(config, LoraConfig | IA3Config):
            layer = model.get_submodule("base_model.model.model.layers.0.self_attn.k_proj")
            assert type(layer).__module__ == f"peft.tuners.{config.peft_type.value.lower()}.bnb"


def attach(base: PreTrainedModel, quantization: Quantization, config: PeftConfig, checkpointing: bool) -> PeftModel:
    quantize_meta(base, quantization, torch.bfloat16)
    with quiet_libraries():
        prepare_model_for_kbit_training(base, use_gradient_checkpointing=checkpointing)
        model: PeftModel = get_peft_model(base, config)
    return model.train()


def run(model: torch.nn.Module, device: str = "meta", known: Sequence[torch.Tensor] = ()) -> Passes:
    """Run one step; return the events of each pass."""
    ids = torch.ones((2, 16), dtype=torch.long, device=device)
    with quiet_libraries(), StorageWatch([ids, *tensors_of(model), *known]) as watch:
        loss = model(input_ids=ids, labels=ids, use_cache=False).loss
        forward = list(watch.events)
        loss.backward()
        return forward, watch.events[len(forward) :]


class TestStandIn:
    """The module `bitsandbytes` that PEFT sees."""

    def test_outside_of_it_the_model_is_refused(self) -> None:
        with pytest.raises(RuntimeError, match="bitsandbytes_stand_in"):
            quantize_meta(llama(), "4bit", torch.bfloat16)

    def test_nothing_of_it_is_left(self) -> None:
        before = (is_bnb_available(), is_bnb_4bit_available(), importlib.util.find_spec("bitsandbytes"))
        modules = {name: module for name, module in sys.modules.items() if "bnb" in name or "bitsandbytes" in name}
        with bitsandbytes_stand_in(), bitsandbytes_stand_in():
            attach(llama(), "4bit", LoraConfig(task_type="CAUSAL_LM"), False)
            assert is_bnb_available()
        assert before == (is_bnb_available(), is_bnb_4bit_available(), importlib.util.find_spec("bitsandbytes"))
        after = {name: module for name, module in sys.modules.items() if "bnb" in name or "bitsandbytes" in name}
        assert after == modules

    def test_a_model_can_be_run_after_entering_again(self) -> None:
        config = LoraConfig(task_type="CAUSAL_LM", target_modules="all-linear", use_dora=True)
        with bitsandbytes_stand_in():
            first = attach(llama(), "4bit", config, False)
        with bitsandbytes_stand_in():
            second = attach(llama(), "4bit", config, False)
            assert run(first) == run(second)
        name = "base_model.model.model.layers.0.self_attn.v_proj"
        assert type(first.get_submodule(name)) is type(second.get_submodule(name))

    @pytest.mark.skipif(HAS_BITSANDBYTES, reason="the real one is there and tested below")
    def test_the_result_is_the_same_with_bitsandbytes_installed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        config = LoraConfig(task_type="CAUSAL_LM", target_modules="all-linear")
        with bitsandbytes_stand_in():
            expected = run(attach(llama(), "4bit", config, False))
        (tmp_path / "bitsandbytes").mkdir()
        (tmp_path / "bitsandbytes" / "__init__.py").write_text(
            "import torch\nclass nn:\n    class Linear4bit(torch.nn.Linear): pass\n"
            "    class Linear8bitLt(torch.nn.Linear): pass\n"
        )
        monkeypatch.syspath_prepend(tmp_path)
        is_bnb_available.cache_clear()
        is_bnb_4bit_available.cache_clear()
        try:
            installed = importlib.import_module("bitsandbytes")
            real_layers = importlib.import_module("peft.tuners.lora.bnb")
            with bitsandbytes_stand_in():
                assert run(attach(llama(), "4bit", config, False)) == expected
            assert importlib.import_module("bitsandbytes") is installed
            assert importlib.import_module("peft.tuners.lora.bnb") is real_layers
            assert sys.modules["peft.tuners.lora"].bnb is real_layers
        finally:
            for name in ("bitsandbytes", "peft.tuners.lora.bnb"):
                sys.modules.pop(name, None)
            del sys.modules["peft.tuners.lora"].bnb
            is_bnb_available.cache_clear()
            is_bnb_4bit_available.cache_clear()


@pytest.mark.skipif(not HAS_BITSANDBYTES, reason="bitsandbytes is not installed")
class TestAgainstBitsandbytes:
    """The real layers on the CPU. Inside a forward pass their kernels are one operator each; all else is seen."""

    @pytest.mark.parametrize(
        ("loaded", "compute", "dtype", "has_bias"),
        [
            (torch.bfloat16, torch.bfloat16, torch.float32, False),
            (torch.float32, torch.bfloat16, torch.bfloat16, True),
            (torch.float32, torch.float32, torch.float32, True),
        ],
    )
    def test_4_bits_store_keep_and_go_back_alike(
        self, loaded: torch.dtype, compute: torch.dtype, dtype: torch.dtype, has_bias: bool
    ) -> None:
        plain = torch.nn.Linear(INPUTS, OUTPUTS, bias=has_bias, dtype=loaded).requires_grad_(False)
        real = real_4bit(plain, compute)
        bias = torch.nn.Parameter(plain.bias.to("meta"), requires_grad=False) if has_bias else None
        stand_in = Linear4bit((OUTPUTS, INPUTS), bias, loaded, compute)
        parts = state_tensors(real)
        assert sum(tensor.nbytes for tensor in parts) == sum(
            tensor.nbytes for tensor in (stand_in.weight, *stand_in.buffers())
        )
        rows = torch.ones(*ROWS, INPUTS, dtype=dtype, requires_grad=True)
        forward, backward = passes_on_meta(stand_in, dtype)
        real_forward, real_backward = watched_pass(real, rows, [*real.parameters(), *parts])
        assert sum(forward) == sum(real_forward)
        assert backward == real_backward

    @pytest.mark.parametrize(
        ("dtype", "has_bias"), [(torch.float16, True), (torch.bfloat16, False), (torch.float32, True)]
    )
    def test_8_bits_keep_and_go_back_alike(self, dtype: torch.dtype, has_bias: bool) -> None:
        import bitsandbytes
        from bitsandbytes.autograd._functions import MatMul8bitLt, MatmulLtState

        state = MatmulLtState()
        state.threshold, state.has_fp16_weights = 6.0, False
        state.CB, state.SCB, _ = bitsandbytes.functional.int8_vectorwise_quant(torch.randn(OUTPUTS, INPUTS).half())
        bias = torch.ones(OUTPUTS, dtype=dtype) if has_bias else None
        rows = torch.ones(*ROWS, INPUTS, dtype=dtype)
        rows[0, 0, 5] = 9  # one column with an outlier
        rows.requires_grad_()
        meta_bias = None if bias is None else torch.nn.Parameter(bias.to("meta"), requires_grad=False)
        forward, backward = passes_on_meta(Linear8bitLt((OUTPUTS, INPUTS), meta_bias), dtype)
        real_forward, real_backward = watched_pass(
            lambda rows: MatMul8bitLt.apply(rows, state.CB, None, bias, state), rows, [state.CB, state.SCB, bias]
        )
        assert sum(forward) == sum(real_forward)
        assert backward == real_backward

    @pytest.mark.parametrize(
        "config",
        [
            LoraConfig(task_type="CAUSAL_LM", target_modules="all-linear"),
            LoraConfig(task_type="CAUSAL_LM", target_modules="all-linear", use_dora=True),
            IA3Config(task_type="CAUSAL_LM"),
        ],
        ids=["lora", "dora", "ia3"],
    )
    def test_peft_keeps_and_goes_back_alike(self, config: PeftConfig) -> None:
        with quiet_libraries():
            base: Any = LlamaForCausalLM._from_config(LLAMA, dtype=torch.bfloat16)
        for name, module in list(base.named_modules()):
            if type(module) is torch.nn.Linear and name != "lm_head":
                base.set_submodule(name, real_4bit(module, torch.bfloat16))
        base.is_loaded_in_4bit = base.is_quantized = True
        with quiet_libraries():
            prepare_model_for_kbit_training(base, use_gradient_checkpointing=False)
            real = get_peft_model(base, config).train()
        known = [tensor for module in base.modules() if is_real_4bit(module) for tensor in state_tensors(module)]
        real_forward, real_backward = run(real, "cpu", known)
        with bitsandbytes_stand_in():
            forward, backward = run(attach(llama(), "4bit", config, False))
        assert sum(forward) == sum(real_forward)
        assert backward == real_backward


def is_real_4bit(module: torch.nn.Module) -> bool:
    import bitsandbytes

    return isinstance(module, bitsandbytes.nn.Linear4bit)


def real_4bit(plain: torch.nn.Linear, compute: torch.dtype) -> torch.nn.Module:
    import bitsandbytes

    real = bitsandbytes.nn.Linear4bit(plain.in_features, plain.out_features, plain.bias is not None, compute)
    real.weight = bitsandbytes.nn.Params4bit(plain.weight.data, compress_statistics=True, quant_type="nf4", module=real)
    real.bias = None if plain.bias is None else torch.nn.Parameter(plain.bias.data.clone(), requires_grad=False)
    return real.to("cpu")


def state_tensors(real: Any) -> list[torch.Tensor]:
    state = real.weight.quant_state
    return [real.weight, state.absmax, state.code, state.offset, state.state2.absmax, state.state2.code]
