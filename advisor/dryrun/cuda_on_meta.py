"""Make operators on meta tensors take the path that they take on a CUDA device.

PyTorch chooses some implementations by the device: attention runs through a fused kernel, dropout keeps a mask of one
byte per number, and autocast inserts casts. On meta it would take the generic path, whose memory is another. This
function mode sits above autograd, so that what is saved for the backward pass is that of the real path too.

Choices follow `aten/src/ATen/native/transformers/attention.cpp` and `cuda/sdp_utils.cpp` (attention),
`aten/src/ATen/native/Dropout.cpp` (dropout), `aten/src/ATen/native/GroupedMMUtils.h` (products of a mixture's experts)
and the operator lists on PyTorch's page "Automatic Mixed Precision package" (autocast), as of PyTorch 2.13.

Not covered: the cuDNN attention kernel that PyTorch prefers on Hopper for some shapes (same allocations but for its
plan), nested tensors; experts on devices before compute capability 8.0, where transformers has a product of its own
whose backward pass writes gradients of frozen experts too; autocast's lists of operators that promote to the widest
type, recurrent cells, and the float16 softmax and sums whose kernels read 16 bits and write 32: here they take a
float32 copy.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any, Self

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

_aten = torch.ops.aten
_ALIGNMENT = 8  # numbers; attention kernels read masks and heads in such groups
_LARGEST_FLASH_HEAD = 256
_ALIGNED_BYTES = 16  # rows of a grouped product begin at multiples of it

Call = Callable[..., Any]


class CudaOnMeta(TorchFunctionMode):
    """Redirects attention and dropout to CUDA's kernels, and casts as `torch.autocast("cuda", dtype)` would.

    Grouped products, which PyTorch lets meta tensors do in bfloat16 only, take all types that CUDA takes.

    Attributes:
        autocast_dtype: Type that autocast computes in where it is on.
        flash: The device has flash attention (compute capability 8.0 and later).
    """

    def __init__(self, autocast_dtype: torch.dtype | None = None, *, flash: bool = True) -> None:
        """Take CUDA's paths; autocast is off until `autocast()` is entered."""
        super().__init__()
        self.autocast_dtype = autocast_dtype
        self.flash = flash
        self._casting = False
        self._cast_weights: dict[int, torch.Tensor] = {}
        self._shape_rules = ExitStack()

    def __enter__(self) -> Self:
        """Take CUDA's paths within the block."""
        # Below autograd, where gradients of grouped products are computed, no function mode sees the operator.
        library = self._shape_rules.enter_context(torch.library._scoped_library("aten", "IMPL", "Meta"))
        library.impl("_grouped_mm", grouped_product, allow_override=True)
        _ACTIVE.append(self)
        super().__enter__()
        return self

    def __exit__(self, *raised: Any) -> None:
        """Back to the paths of the meta device."""
        super().__exit__(*raised)
        _ACTIVE.pop()
        self._shape_rules.close()

    @contextmanager
    def autocast(self) -> Iterator[None]:
        """Cast within the block, as the forward pass under `torch.autocast` does; a no-op without a type."""
        before = self._casting, torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")
        self._casting = self.autocast_dtype is not None
        # PEFT asks whether autocast is on and then leaves casts to it; meta tensors are untouched by the switch.
        torch.set_autocast_enabled("cuda", self._casting)
        torch.set_autocast_dtype("cuda", self.autocast_dtype or before[2])
        try:
            yield
        finally:
            self._casting = before[0]
            torch.set_autocast_enabled("cuda", before[1])
            torch.set_autocast_dtype("cuda", before[2])
            self._cast_weights.clear()  # autocast's cache lives as long as its context

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call one function of PyTorch's Python interface."""
        kwargs = kwargs or {}
        if self._casting:
            if func in _LOWER:
                args, kwargs = self._lower(args), {name: self._lower_one(value) for name, value in kwargs.items()}
            elif func in _RAISE:
                args, kwargs = _raised(args), {name: _raised_one(value) for name, value in kwargs.items()}
        if func is functional.scaled_dot_product_attention:
            return attention(*args, flash=self.flash, **kwargs)
        if func in _DROPOUT:
            return _dropout(func, args, kwargs)
        return func(*args, **kwargs)

    def _lower(self, values: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(self._lower_one(value) for value in values)

    def _lower_one(self, value: Any) -> Any:
        if isinstance(value, (tuple, list)):
            return type(value)(self._lower_one(one) for one in value)
        dtype = self.autocast_dtype
        if (
            not isinstance(value, torch.Tensor)
            or not value.is_floating_point()
            or value.dtype in (dtype, torch.float64)
        ):
            return value
        if not (value.is_leaf and value.requires_grad and value.dtype == torch.float32):
            return value.to(dtype)
        cast = self._cast_weights.get(id(value))
        if cast is None:
            cast = self._cast_weights[id(value)] = value.to(dtype)
        return cast


def checkpoint_contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Return the contexts of a checkpointed layer's forward pass and of its recomputation.

    For `context_fn` of `torch.utils.checkpoint.checkpoint`: on CUDA the recomputation runs under the autocast of the
    forward pass, which on meta is this module's.
    """
    return nullcontext(), _ACTIVE[-1].autocast() if _ACTIVE else nullcontext()


def _raised(values: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(_raised_one(value) for value in values)


def _raised_one(value: Any) -> Any:
    if isinstance(value, torch.Tensor) and value.dtype in (torch.float16, torch.bfloat16):
        return value.float()
    return value


def attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
    flash: bool = True,
) -> torch.Tensor:
    """Scaled dot-product attention by the kernel that CUDA would choose.

    Flash attention takes 16-bit numbers without a mask; the memory-efficient kernel the rest, for which a mask of
    truth values is first written out in the type of the query and padded to a multiple of 8 keys.

    Args:
        query: (batch, heads, tokens, head size); key and value alike, with fewer heads where `enable_gqa`.
        key: See query.
        value: See query.
        attn_mask: Broadcasts to (batch, heads, tokens, keys).
        dropout_p: Share of attention weights dropped.
        is_causal: Tokens see only what is before them.
        scale: Of the products, None for 1 / sqrt(head size).
        enable_gqa: Key and value have fewer heads.
        flash: The device has flash attention.
    """
    half = query.dtype in (torch.float16, torch.bfloat16)
    size = query.shape[-1]
    fits = flash and half and size <= _LARGEST_FLASH_HEAD and value.shape[-1] == size
    if attn_mask is None and fits:
        padded = -size % _ALIGNMENT
        query, key, value = (functional.pad(one, (0, padded)) if padded else one for one in (query, key, value))
        out = _aten._scaled_dot_product_flash_attention(query, key, value, dropout_p, is_causal, scale=scale)[0]
        return out[..., :size]
    if enable_gqa:
        repeats = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(repeats, 1), value.repeat_interleave(repeats, 1)
    bias = None if attn_mask is None else _bias(attn_mask, query, key)
    needs_sum = torch.is_grad_enabled() and (query.requires_grad or key.requires_grad or value.requires_grad)
    return _aten._scaled_dot_product_efficient_attention(
        query, key, value, bias, needs_sum, dropout_p, is_causal, scale=scale
    )[0]


def grouped_product(
    mat_a: torch.Tensor,
    mat_b: torch.Tensor,
    offs: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    out_dtype: torch.dtype | None = None,
) -> torch.Tensor:
    """Return what CUDA's grouped product allocates: the result, its rows padded to 16 bytes.

    A matrix is cut into groups along its rows or columns, or there is one matrix per group (a third dimension in
    front): tokens by experts, gradients of tokens by experts, or tokens by tokens for the gradients of experts.

    Args:
        mat_a: (rows, inner) or (groups, rows, inner).
        mat_b: (inner, columns) or (groups, inner, columns).
        offs: Where each group ends, (groups,); None where both have three dimensions.
        bias: Not supported by PyTorch yet.
        out_dtype: Type of the result, None for that of `mat_a`.
    """
    rows, columns = mat_a.shape[-2], mat_b.shape[-1]
    dtype = out_dtype or mat_a.dtype
    group = _ALIGNED_BYTES // dtype.itemsize
    padded = -(-columns // group) * group
    if mat_a.dim() != mat_b.dim():
        return mat_a.new_empty(rows, padded, dtype=dtype)[:, :columns]
    n_groups = mat_a.shape[0] if offs is None else offs.shape[0]
    return mat_a.new_empty(n_groups, rows, padded, dtype=dtype)[..., :columns]


def _bias(mask: torch.Tensor, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    """Return the mask as the memory-efficient kernel takes it: numbers, padded in memory, one view per head."""
    if mask.dtype == torch.bool:
        mask = torch.zeros_like(mask, dtype=query.dtype).masked_fill_(mask.logical_not(), float("-inf"))
    padding = -mask.shape[-1] % _ALIGNMENT
    if padding:
        mask = functional.pad(mask, (0, padding))[..., : -padding or None]
    return mask.expand(query.shape[0], query.shape[1], query.shape[2], key.shape[2])


def _dropout(func: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    names = dict(zip(("input", "p", "train" if func is torch.dropout else "training", "inplace"), args, strict=False))
    values = {**names, **kwargs}
    share = float(values.get("p", 0.5))
    training = bool(values.get("training", values.get("train", True)))
    if not training or not 0 < share < 1 or values.get("inplace"):
        return func(*args, **kwargs)
    return torch.native_dropout(values["input"], share, True)[0]


_ACTIVE: list[CudaOnMeta] = []  # innermost last

_DROPOUT = frozenset({functional.dropout, torch.dropout})

_LOWER = frozenset({
    functional.linear, functional.scaled_dot_product_attention, torch.matmul, torch.mm, torch.bmm, torch.baddbmm,
    torch.addmm, torch.addbmm, torch.addmv, torch.addr, torch.mv, torch.einsum, torch.chain_matmul,
    torch.linalg.multi_dot, torch.linalg.vecdot, torch.linalg.matmul, functional.prelu,
    torch.conv1d, torch.conv2d, torch.conv3d,
    torch.convolution, torch.conv_tbc, torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d,
    torch.Tensor.matmul, torch.Tensor.__matmul__, torch.Tensor.__rmatmul__, torch.Tensor.mm, torch.Tensor.bmm,
    torch.Tensor.baddbmm, torch.Tensor.addmm, torch.Tensor.addbmm, torch.Tensor.addmv, torch.Tensor.addr,
    torch.Tensor.mv, torch.Tensor.prelu,
})  # fmt: skip

_RAISE = frozenset({
    functional.softmax, functional.log_softmax, functional.layer_norm, functional.rms_norm, functional.group_norm,
    functional.softplus, functional.cross_entropy, functional.nll_loss, functional.mse_loss, functional.l1_loss,
    functional.smooth_l1_loss, functional.binary_cross_entropy_with_logits, functional.normalize,
    functional.cosine_similarity, functional.kl_div, functional.cosine_embedding_loss,
    functional.hinge_embedding_loss, functional.margin_ranking_loss, functional.triplet_margin_loss,
    functional.poisson_nll_loss, functional.multilabel_margin_loss, functional.soft_margin_loss,
    functional.multi_margin_loss, functional.huber_loss,
    torch.softmax, torch.log_softmax, torch.layer_norm, torch.rms_norm, torch.group_norm, torch.logsumexp, torch.exp,
    torch.expm1, torch.log, torch.log1p, torch.log2, torch.log10, torch.pow, torch.rsqrt, torch.reciprocal, torch.sum,
    torch.prod, torch.cumsum, torch.cumprod, torch.norm, torch.renorm, torch.linalg.norm, torch.linalg.vector_norm,
    torch.linalg.matrix_norm, torch.acos, torch.asin, torch.cosh, torch.sinh, torch.tan, torch.erfinv, torch.dist,
    torch.cdist, torch.pdist, torch.cosine_similarity,
    torch.Tensor.softmax, torch.Tensor.log_softmax, torch.Tensor.logsumexp, torch.Tensor.exp, torch.Tensor.expm1,
    torch.Tensor.log, torch.Tensor.log1p, torch.Tensor.log2, torch.Tensor.log10, torch.Tensor.pow,
    torch.Tensor.__pow__, torch.Tensor.__rpow__, torch.Tensor.rsqrt, torch.Tensor.reciprocal, torch.Tensor.sum,
    torch.Tensor.prod, torch.Tensor.cumsum, torch.Tensor.cumprod, torch.Tensor.norm, torch.Tensor.renorm,
    torch.Tensor.acos, torch.Tensor.asin, torch.Tensor.cosh, torch.Tensor.sinh, torch.Tensor.tan, torch.Tensor.erfinv,
    torch.Tensor.dist, torch.Tensor.__rdiv__, torch.Tensor.__rtruediv__,
})  # fmt: skip
