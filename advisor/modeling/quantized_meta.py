"""bitsandbytes' 4-bit and 8-bit linear layers on the meta device: stand-ins that allocate what the real ones do.

bitsandbytes need not be installed, and its kernels know no meta device. What runs here instead:

- Storage. NF4 with double quantization: two weights a byte, one uint8 scale per 64 weights, one float32 scale per
  256 of those, two tables and an offset. LLM.int8: one byte a weight and one float32 scale per row.
- Forward and backward pass, temporary by temporary and with the same lifetimes: the 4-bit layer writes out one
  dequantized weight in each pass and keeps nothing of its input; the 8-bit layer keeps its input, and multiplies the
  columns that hold outliers once more in full precision.
- PEFT has layers of its own for bitsandbytes (`peft.tuners.lora.bnb` and its kin), which cast and copy otherwise than
  those for `torch.nn.Linear`, and goes by bitsandbytes' classes. `bitsandbytes_stand_in` puts a module of that name in
  place while a block runs, so that PEFT's real code is used, whether bitsandbytes is installed or not.

Facts are those of bitsandbytes 0.50 (`nn/modules.py`, `autograd/_functions.py`, `functional.py`,
`backends/cuda/ops.py`) and transformers 5.23 (`quantizers/`, `integrations/bitsandbytes.py`).

Not covered: bitsandbytes' fused 4-bit product, which its CUDA backend takes for few rows (never above 1536, on most
devices far fewer) and which needs no dequantized weight in the forward pass; int8 products of an input size that is no
multiple of 4; merging, OLoRA, LoftQ. How many columns hold outliers depends on the data (`OUTLIER_SHARE`).
"""

import copy
import math
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from peft.import_utils import is_bnb_4bit_available, is_bnb_available
from torch import Tensor, nn
from torch.nn import functional
from transformers import BitsAndBytesConfig, PreTrainedModel
from transformers.pytorch_utils import Conv1D
from transformers.quantizers.quantizer_bnb_4bit import Bnb4BitHfQuantizer
from transformers.quantizers.quantizer_bnb_8bit import Bnb8BitHfQuantizer
from transformers.quantizers.quantizers_utils import should_convert_module

from advisor.spec import Quantization

BLOCK, NESTED_BLOCK = 64, 256  # numbers that share one scale: weights, and scales of weights
CODE_SIZE, NESTED_CODE_SIZE = 16, 256  # entries of the tables: a 4-bit and an 8-bit number
OUTLIER_THRESHOLD = 6.0  # transformers' default of `llm_int8_threshold`
# Columns with at least one outlier. LLM.int8 (arXiv 2208.07339, abstract) multiplies more than 99.9 % of the values in
# 8 bits; the branch for outliers, which allocates the output once more, is always taken here.
OUTLIER_SHARE = 0.001

_aten = torch.ops.aten
# As operators of their own the kernels are seen by dispatch modes, one call each, with all that they read and write.
_ops = torch.ops.advisor
_LIBRARY = torch.library.Library("advisor", "FRAGMENT")
_LIBRARY.define("dequantize_blockwise(Tensor quantized, Tensor absmax, Tensor code) -> Tensor")
_LIBRARY.define("dequantize_4bit(Tensor packed, Tensor absmax, int[] shape, ScalarType dtype) -> Tensor")
_LIBRARY.define("quantize_rows(Tensor rows) -> (Tensor, Tensor)")


def quantize_meta(
    model: PreTrainedModel, quantization: Quantization, compute_dtype: torch.dtype, skip: Sequence[str] = ()
) -> None:
    """Replace the linear layers that transformers would quantize while loading, and mark the model as it would.

    Args:
        model: On the meta device, in the type that its weights would be loaded in; changed in place.
        quantization: "4bit" is NF4 with double quantization, "8bit" LLM.int8.
        compute_dtype: Of the 4-bit layers' products; 8-bit layers follow their input.
        skip: Modules to leave out, as `llm_int8_skip_modules`; when empty, those that transformers leaves out by
            itself: the output layer, tied weights and the last module.

    Raises:
        RuntimeError: Called outside `bitsandbytes_stand_in`, where PEFT would not know the layers.
    """
    if sys.modules.get("bitsandbytes") is not _STAND_INS["bitsandbytes"]:
        raise RuntimeError("quantize_meta and all that follows must run within bitsandbytes_stand_in()")
    quantizer = _quantizer(quantization, compute_dtype, list(skip) or None)
    skipped = quantizer.quantization_config.llm_int8_skip_modules
    kept = quantizer.get_modules_to_not_convert(model, skipped, list(model._keep_in_fp32_modules or ()))
    for name, module in list(model.named_modules()):
        if (isinstance(module, Conv1D) or type(module) is nn.Linear) and should_convert_module(name, kept):
            model.set_submodule(name, _layer(module, quantization, compute_dtype))
    marked: Any = model
    marked.is_quantized, marked.hf_quantizer = True, quantizer
    marked.quantization_method = quantizer.quantization_config.quant_method
    quantizer.postprocess_model(model)


@contextmanager
def bitsandbytes_stand_in() -> Iterator[None]:
    """Within the block `import bitsandbytes` gives the stand-ins, to PEFT too, installed or not.

    Building the model, attaching the adapter and running steps belong inside; leaving and entering again in between
    is fine. Real quantized models must not be loaded meanwhile. Not for several threads.
    """
    if sys.modules.get("bitsandbytes") is _STAND_INS["bitsandbytes"]:
        yield
        return
    real = _swap(_STAND_INS)
    try:
        yield
    finally:
        # PEFT's modules that were imported meanwhile are kept, so that a model's classes stay the same.
        _STAND_INS.update(_swap(real))


@dataclass(slots=True, kw_only=True)
class NestedState:
    """Scales of the scales, float32, and the table of 8-bit numbers."""

    absmax: Tensor
    code: Tensor


@dataclass(slots=True, kw_only=True)
class QuantState:
    """Scales of a 4-bit weight, under bitsandbytes' names, with the shape and type that it is written out in."""

    absmax: Tensor
    code: Tensor
    offset: Tensor
    state2: NestedState
    shape: tuple[int, int]
    dtype: torch.dtype


# PEFT and transformers tell these classes by their names.
class Params4bit(nn.Parameter):
    """A packed NF4 weight, uint8 of shape (weights / 2, 1)."""

    blocksize = BLOCK
    compress_statistics = True
    quant_type = "nf4"
    quant_storage = torch.uint8
    bnb_quantized = True
    quant_state: QuantState

    def __new__(cls, shape: tuple[int, int], dtype: torch.dtype) -> "Params4bit":
        """Pack a weight of this shape (outputs, inputs) that was loaded in `dtype`."""
        size = math.prod(shape)
        self = super().__new__(cls, _empty((size + 1) // 2, 1, dtype=torch.uint8), requires_grad=False)
        n_blocks = -(-size // BLOCK)
        self.quant_state = QuantState(
            absmax=_empty(n_blocks, dtype=torch.uint8), code=_empty(CODE_SIZE), offset=_empty(),
            state2=NestedState(absmax=_empty(-(-n_blocks // NESTED_BLOCK)), code=_empty(NESTED_CODE_SIZE)),
            shape=shape, dtype=dtype,
        )  # fmt: skip
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> "Params4bit":
        """Copy data and scales (DoRA copies a layer while it is attached)."""
        if id(self) not in memo:
            duplicate: Any = nn.Parameter.__new__(type(self), copy.deepcopy(self.data, memo), requires_grad=False)
            duplicate.quant_state = copy.deepcopy(self.quant_state, memo)
            memo[id(self)] = duplicate
        return memo[id(self)]


class Int8Params(nn.Parameter):
    """An int8 weight of shape (outputs, inputs); its scales are with the layer, as after the first real forward."""

    has_fp16_weights = False
    CB: Tensor | None = None
    SCB: Tensor | None = None


class Linear4bit(nn.Linear):
    """Linear layer over a packed NF4 weight."""

    weight: Params4bit

    def __init__(
        self, size: tuple[int, int], bias: nn.Parameter | None, dtype: torch.dtype, compute_dtype: torch.dtype
    ) -> None:
        """Stand in for a layer with a weight of this size (outputs, inputs) that was loaded in `dtype`."""
        super().__init__(size[1], size[0], bias=False, device="meta")
        self.weight = Params4bit(size, dtype)
        self.register_parameter("bias", bias)
        self.compute_dtype = compute_dtype
        state = self.weight.quant_state
        # In bitsandbytes these are not buffers; here they are, so that who counts tensors finds them.
        for name, tensor in (
            ("absmax", state.absmax), ("code", state.code), ("offset", state.offset),
            ("nested_absmax", state.state2.absmax), ("nested_code", state.state2.code),
        ):  # fmt: skip
            self.register_buffer(name, tensor, persistent=False)

    def forward(self, input: Tensor) -> Tensor:
        """Multiply in `compute_dtype` and return the type of the input; (..., inputs) to (..., outputs)."""
        dtype = input.dtype
        input = input.to(self.compute_dtype)
        bias = _cast_bias(self, input.dtype)
        if torch.is_grad_enabled() and (input.requires_grad or (bias is not None and bias.requires_grad)):
            output: Tensor = _MatMul4bit.apply(input, self.weight, bias)
        else:
            output = _matmul_4bit(input, self.weight, bias)
        return output.to(dtype)


@dataclass(slots=True, kw_only=True)
class MatmulLtState:
    """What an 8-bit layer keeps, under bitsandbytes' names: weight, scale per row, columns of the last outliers."""

    CB: Tensor
    SCB: Tensor
    idx: Tensor | None = None
    threshold: float = OUTLIER_THRESHOLD
    has_fp16_weights: bool = False


class Linear8bitLt(nn.Linear):
    """Linear layer over an int8 weight, LLM.int8."""

    def __init__(self, size: tuple[int, int], bias: nn.Parameter | None) -> None:
        """Stand in for a layer with a weight of this size (outputs, inputs)."""
        super().__init__(size[1], size[0], bias=False, device="meta")
        self.weight = Int8Params(_empty(*size, dtype=torch.int8), requires_grad=False)
        self.register_parameter("bias", bias)
        self.register_buffer("SCB", _empty(size[0]), persistent=False)
        self.state = MatmulLtState(CB=self.weight.data, SCB=self.get_buffer("SCB"))
        self.index = None

    def forward(self, input: Tensor) -> Tensor:
        """Multiply in 8 bits and return the type of the input; (..., inputs) to (..., outputs)."""
        output: Tensor = _MatMul8bit.apply(input, self.weight, _cast_bias(self, input.dtype), self.state)
        return output


def dequantize_4bit(packed: Tensor, quant_state: QuantState) -> Tensor:
    """Write out a packed weight in the type that it was loaded in, (outputs, inputs)."""
    absmax = _ops.dequantize_blockwise(quant_state.absmax, quant_state.state2.absmax, quant_state.state2.code)
    absmax += quant_state.offset
    return _ops.dequantize_4bit(packed, absmax, quant_state.shape, quant_state.dtype)


def int8_vectorwise_dequant(rows: Tensor, stats: Tensor) -> Tensor:
    """Write out int8 rows in float32, given one scale per row."""
    return rows * stats.view(-1, 1) * (1 / 127)


class _MatMul4bit(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Params4bit, bias: Tensor | None) -> Tensor:
        ctx.weight, ctx.bias_dtype = weight, None if bias is None else bias.dtype
        return _matmul_4bit(input, weight, bias)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        grad_bias = grad_output.sum(0, dtype=ctx.bias_dtype) if ctx.needs_input_grad[2] else None
        if not ctx.needs_input_grad[0]:
            return None, None, grad_bias
        weight = dequantize_4bit(ctx.weight, ctx.weight.quant_state).to(grad_output.dtype)
        # The operator and not the function: autocast is off in a backward pass, also where it is emulated.
        return _aten.matmul(grad_output, weight), None, grad_bias


def _matmul_4bit(input: Tensor, weight: Params4bit, bias: Tensor | None) -> Tensor:
    state = weight.quant_state
    scales = _ops.dequantize_blockwise(state.absmax, state.state2.absmax, state.state2.code)
    absmax = scales + state.offset  # a copy here, in place in the backward pass
    return functional.linear(input, _ops.dequantize_4bit(weight, absmax, state.shape, input.dtype), bias)


class _MatMul8bit(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Int8Params, bias: Tensor | None, state: MatmulLtState) -> Tensor:
        shape = input.shape
        rows = input.reshape(-1, shape[-1]) if input.dim() == 3 else input
        quantized, _row_stats, state.idx = _quantize_rows(rows.to(torch.float16))
        output, outliers = _mixed_matmul(rows, quantized, state, bias)
        ctx.state, ctx.shape, ctx.dtype, ctx.bias_dtype = state, shape, rows.dtype, None if bias is None else bias.dtype
        if ctx.needs_input_grad[0]:
            # Attributes, not `save_for_backward`: checkpointing without re-entry cannot drop them.
            ctx.tensors = (outliers, rows)
        return output.reshape(*shape[:-1], -1) if input.dim() == 3 else output

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        grad_bias = grad_output.sum(0, dtype=ctx.bias_dtype) if ctx.needs_input_grad[2] else None
        if grad_output.dim() == 3:
            grad_output = grad_output.reshape(-1, grad_output.shape[-1]).contiguous()
        if not ctx.needs_input_grad[0]:
            return None, None, grad_bias, None
        weight = ctx.state.CB.to(ctx.dtype, copy=True).mul_(ctx.state.SCB.unsqueeze(1).mul(1 / 127))
        return _aten.matmul(grad_output.to(ctx.dtype), weight).view(ctx.shape), None, grad_bias, None


def _quantize_rows(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return float16 rows in int8 without their outliers, one scale per row, and the columns with outliers."""
    quantized, row_stats = _ops.quantize_rows(rows)
    is_outlier = rows.abs() >= OUTLIER_THRESHOLD
    is_outlier.any()
    is_outlier.any(dim=0)
    columns = rows.new_empty(math.ceil(OUTLIER_SHARE * rows.shape[1]), dtype=torch.int64)
    quantized[:, columns] = 0
    return quantized, row_stats, columns


def _mixed_matmul(rows: Tensor, quantized: Tensor, state: MatmulLtState, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the product and the columns of the input that were multiplied in full precision."""
    outliers = rows[:, state.idx].contiguous()
    weights = int8_vectorwise_dequant(state.CB[:, state.idx].contiguous(), state.SCB).to(rows.dtype).t()
    output = _int8_matmul(quantized, state, bias, rows.dtype)
    # A method: under autocast this product, alone in the layer, runs in autocast's type.
    output = output.addmm(outliers, weights)
    return output, outliers


def _int8_matmul(quantized: Tensor, state: MatmulLtState, bias: Tensor | None, dtype: torch.dtype) -> Tensor:
    products = torch._int_mm(quantized, state.CB.t())
    output = products.to(torch.float16)  # the kernel writes this type only
    if bias is not None and bias.dtype != torch.float16:
        output.add_(bias)
    return output.to(dtype)


def _cast_bias(layer: nn.Linear, dtype: torch.dtype) -> nn.Parameter | None:
    """Cast the bias to the type of the input, for good."""
    if layer.bias is not None and layer.bias.dtype != dtype:
        layer.bias.data = layer.bias.data.to(dtype)
    return layer.bias


def _quantizer(
    quantization: Quantization, compute_dtype: torch.dtype, skipped: list[str] | None
) -> Bnb4BitHfQuantizer | Bnb8BitHfQuantizer:
    """Return transformers' own quantizer; none of the methods used needs bitsandbytes."""
    if quantization == "8bit":
        config = BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=skipped)
        return Bnb8BitHfQuantizer(config, pre_quantized=False)
    config = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute_dtype, llm_int8_skip_modules=skipped,
    )  # fmt: skip
    return Bnb4BitHfQuantizer(config, pre_quantized=False)


def _layer(module: nn.Linear | Conv1D, quantization: Quantization, compute_dtype: torch.dtype) -> nn.Linear:
    inputs, outputs = module.weight.shape if isinstance(module, Conv1D) else module.weight.shape[::-1]
    bias = None if module.bias is None else nn.Parameter(module.bias.data, requires_grad=False)
    if quantization == "8bit":
        return Linear8bitLt((outputs, inputs), bias)
    return Linear4bit((outputs, inputs), bias, module.weight.dtype, compute_dtype)


def _empty(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


def _dequantize_blockwise(quantized: Tensor, absmax: Tensor, code: Tensor) -> Tensor:
    return torch.empty_like(quantized, dtype=torch.float32)


def _dequantize_4bit(packed: Tensor, absmax: Tensor, shape: list[int], dtype: torch.dtype) -> Tensor:
    return packed.new_empty(shape, dtype=dtype)


def _quantize_rows_kernel(rows: Tensor) -> tuple[Tensor, Tensor]:
    row_stats = rows.new_empty(rows.shape[0], dtype=torch.float32)
    return torch.empty_like(rows, dtype=torch.int8), row_stats


_LIBRARY.impl("dequantize_blockwise", _dequantize_blockwise, "Meta")
_LIBRARY.impl("dequantize_4bit", _dequantize_4bit, "Meta")
_LIBRARY.impl("quantize_rows", _quantize_rows_kernel, "Meta")


def _stand_in() -> ModuleType:
    """Return a module `bitsandbytes` with what PEFT and transformers use of it while they train."""
    module = ModuleType("bitsandbytes")
    module.__spec__ = ModuleSpec("bitsandbytes", None)
    layers = (Linear4bit, Linear8bitLt, Params4bit, Int8Params)
    vars(module).update(
        nn=SimpleNamespace(**{layer.__name__: layer for layer in layers}),
        functional=SimpleNamespace(dequantize_4bit=dequantize_4bit, int8_vectorwise_dequant=int8_vectorwise_dequant),
    )
    return module


# The stand-in, and PEFT's modules that were imported while it was in place: they are bound to it.
_STAND_INS: dict[str, ModuleType] = {"bitsandbytes": _stand_in()}
_BOUND = re.compile(r"bitsandbytes(\..+)?|peft\.tuners\.\w+\.bnb")


def _swap(incoming: dict[str, ModuleType]) -> dict[str, ModuleType]:
    """Put in place what `import` finds for bitsandbytes and for PEFT's modules on top of it; return what was there."""
    outgoing = {name: module for name, module in sys.modules.items() if _BOUND.fullmatch(name)}
    for name in outgoing:
        del sys.modules[name]
    sys.modules.update(incoming)
    for name in {*outgoing, *incoming}:
        package, _, attribute = name.rpartition(".")
        if package.startswith("peft."):
            vars(sys.modules[package]).pop(attribute, None)
            vars(sys.modules[package]).update({attribute: incoming[name]} if name in incoming else {})
    is_bnb_available.cache_clear()
    is_bnb_4bit_available.cache_clear()
    return outgoing
