"""The paths of a CUDA device on meta: against the real autocast on the CPU, PyTorch's own lists, and sums by hand."""

import ast
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import CheckpointError, checkpoint
from transformers import AutoModelForCausalLM

from advisor.dryrun.cuda_on_meta import CudaOnMeta, checkpoint_contexts, grouped_product
from advisor.modeling.quiet import quiet_libraries
from tests.dryrun.tiny_workloads import source_of

BF16, FP16, FP32 = torch.bfloat16, torch.float16, torch.float32
BATCH, HEADS, TOKENS, SIZE = 2, 4, 13, 16


class Operators(TorchDispatchMode):
    """Names of the operators that run, and the types of what they return."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, torch.dtype | None]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        first = out[0] if isinstance(out, (tuple, list)) and out else out
        self.seen.append((func._opname, first.dtype if isinstance(first, torch.Tensor) else None))
        return out

    def named(self, *names: str) -> list[tuple[str, torch.dtype | None]]:
        return [one for one in self.seen if one[0] in names]


def meta(*shape: int, dtype: torch.dtype = FP32, grad: bool = False) -> torch.Tensor:
    return torch.empty(shape, dtype=dtype, device="meta", requires_grad=grad)


def kernels(run: Callable[[], Any], **options: Any) -> list[str]:
    with CudaOnMeta(**options), Operators() as operators:
        run()
    return [name for name, _ in operators.seen]


def attend(
    dtype: torch.dtype = BF16, mask: torch.Tensor | None = None, size: int = SIZE, **options: Any
) -> torch.Tensor:
    query, key, value = (meta(BATCH, HEADS, TOKENS, size, dtype=dtype, grad=True) for _ in range(3))
    return functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, **options)


def saved_by(run: Callable[[], Any]) -> list[tuple[tuple[int, ...], torch.dtype]]:
    """Shape and type of everything that is kept for the backward pass."""
    found: list[tuple[tuple[int, ...], torch.dtype]] = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        found.append((tuple(tensor.shape), tensor.dtype))
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        run()
    return found


# Attention


def test_attention_without_a_mask_in_16_bits_is_flash_attention():
    assert "_scaled_dot_product_flash_attention" in kernels(attend)
    with CudaOnMeta():
        assert "FlashAttention" in ancestor_names(attend())


def test_attention_with_a_mask_is_the_memory_efficient_kernel():
    mask = meta(BATCH, 1, TOKENS, TOKENS, dtype=torch.bool)
    assert "_scaled_dot_product_efficient_attention" in kernels(lambda: attend(mask=mask))
    with CudaOnMeta():
        assert "EfficientAttention" in ancestor_names(attend(mask=mask))


def ancestor_names(out: torch.Tensor) -> str:
    """Names of the autograd nodes on the way to the first argument."""
    node, names = out.grad_fn, ""
    while node is not None:
        names += node.name()
        node = node.next_functions[0][0] if node.next_functions else None
    return names


@pytest.mark.parametrize(
    ("run", "options"),
    [
        (lambda: attend(FP32), {}),  # flash attention takes 16 bits only,
        (lambda: attend(size=264), {}),  # heads of at most 256 numbers,
        (attend, {"flash": False}),  # and devices of compute capability 8.0 and later
    ],
)
def test_what_flash_attention_does_not_take_goes_to_the_memory_efficient_kernel(run, options):
    found = kernels(run, **options)
    assert "_scaled_dot_product_efficient_attention" in found
    assert "_scaled_dot_product_flash_attention" not in found


def test_on_meta_itself_attention_would_be_written_out():
    with Operators() as operators:
        attend()
    names = [name for name, _ in operators.seen]
    assert any("softmax" in name for name in names)
    assert not any("flash" in name or "efficient" in name for name in names)


@pytest.mark.parametrize("size", [12, 16])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("kv_heads", [HEADS, 2])
def test_the_result_has_the_shape_and_type_that_attention_has_on_the_cpu(size, masked, kv_heads):
    def run(device: str) -> torch.Tensor:
        query = torch.zeros(BATCH, HEADS, TOKENS, size, dtype=BF16, device=device)
        key = torch.zeros(BATCH, kv_heads, 9, size, dtype=BF16, device=device)
        mask = torch.ones(TOKENS, 9, dtype=torch.bool, device=device) if masked else None
        return functional.scaled_dot_product_attention(query, key, key, mask, enable_gqa=kv_heads != HEADS)

    with CudaOnMeta():
        found = run("meta")
    expected = run("cpu")
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)


def test_heads_are_padded_to_a_multiple_of_eight_numbers_for_flash_attention():
    shapes = {shape for shape, _ in saved_by_on_cuda(lambda: attend(size=12)) if len(shape) == 4}
    assert shapes == {(BATCH, HEADS, TOKENS, 16)}


def saved_by_on_cuda(run: Callable[[], Any], dtype: torch.dtype | None = None) -> list[Any]:
    def under() -> None:
        with CudaOnMeta(dtype) as cuda, cuda.autocast():
            run()

    return saved_by(under)


def test_a_mask_of_truth_values_is_written_out_in_the_query_s_type_and_padded_to_eight_keys():
    mask = meta(BATCH, 1, TOKENS, TOKENS, dtype=torch.bool)
    kept: list[torch.Tensor] = []
    with CudaOnMeta(), Operators() as operators, saved_tensors_hooks(lambda x: kept.append(x) or x, lambda x: x):
        attend(mask=mask)
    assert operators.named("constant_pad_nd") == [("constant_pad_nd", BF16)]
    bias = next(tensor for tensor in kept if tensor.shape == (BATCH, HEADS, TOKENS, TOKENS))
    # 13 keys take the memory of 16, two bytes each, once for all heads.
    assert bias.untyped_storage().nbytes() == BATCH * TOKENS * 16 * 2


def test_flash_attention_keeps_no_square_of_the_tokens():
    kept = saved_by_on_cuda(attend)
    assert not any(shape[-2:] == (TOKENS, TOKENS) for shape, _ in kept)
    # Query, key, value, output, and a float32 sum per query.
    assert Counter(shape for shape, _ in kept)[(BATCH, HEADS, TOKENS, SIZE)] == 4
    assert ((BATCH, HEADS, TOKENS), FP32) in kept


# Dropout


@pytest.mark.parametrize("drop", [functional.dropout, torch.nn.Dropout(0.5), lambda x: torch.dropout(x, 0.5, True)])
def test_dropout_keeps_a_mask_of_one_byte_a_number(drop):
    assert saved_by_on_cuda(lambda: drop(meta(5, 7, grad=True))) == [((5, 7), torch.bool)]
    # The same on meta without the mode: a mask of four bytes a number.
    assert saved_by(lambda: drop(meta(5, 7, grad=True)))[0][1] == FP32


@pytest.mark.parametrize("options", [{"training": False}, {"p": 0.0}])
def test_dropout_that_drops_nothing_keeps_nothing(options):
    assert saved_by_on_cuda(lambda: functional.dropout(meta(5, 7, grad=True) * 1, **options)) == []


def test_dropout_in_place_stays_in_place():
    x = meta(5, 7)
    with CudaOnMeta():
        assert functional.dropout(x, 0.5, True, True) is x


# Autocast: PyTorch's own lists of operators, those that its tests of CUDA's autocast are made of


def pytorch_lists() -> Any:
    """The class `AutocastTestLists`; the rest of its module needs packages of PyTorch's developers."""
    path = Path(torch.__file__).parent / "testing" / "_internal" / "autocast_test_lists.py"
    if not path.is_file():
        pytest.skip("this PyTorch comes without torch.testing._internal.autocast_test_lists")
    tree = ast.parse(path.read_text(encoding="utf-8"))
    tree.body = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "AutocastTestLists"]
    names: dict[str, Any] = {"torch": torch, "TEST_WITH_ROCM": False}
    exec(compile(tree, str(path), "exec"), names)
    return names["AutocastTestLists"](torch.device("meta"))


# Entry points that models do not call, and one entry of the list that is no call.
NOT_CALLED = {
    "_convolution", "cudnn_convolution", "cudnn_convolution_transpose", "lstm_cell", "gru_cell", "rnn_tanh_cell",
    "rnn_relu_cell", "nll_loss2d", "einsum",
}  # fmt: skip
# Under `torch` some losses have a second name, which `torch.nn.functional` calls once it was cast.
INTERNAL = {
    (name, getattr(torch, name))
    for name in (
        "binary_cross_entropy_with_logits", "cosine_embedding_loss", "hinge_embedding_loss", "kl_div",
        "margin_ranking_loss", "poisson_nll_loss", "triplet_margin_loss",
    )
}  # fmt: skip


def ways_to_call(name: str) -> set[Any]:
    return {getattr(place, name) for place in (functional, torch, torch.Tensor, torch.linalg) if hasattr(place, name)}


@pytest.mark.filterwarnings("ignore::UserWarning")  # some of the operators are deprecated
@pytest.mark.parametrize(("kinds", "dtype"), [("torch nn linalg methods", FP16), ("torch nn methods", FP32)])
def test_every_operator_on_pytorch_s_list_of_cuda_s_autocast_is_cast(kinds, dtype):
    known, right, wrong = pytorch_lists(), set(), set()
    lists = [f"{kind}_{'fp16' if dtype == FP16 else 'fp32'}" for kind in kinds.split()]
    for name, args, *more in (entry for one in lists for entry in getattr(known, one)):
        options = more[0] if more and isinstance(more[0], dict) else {}
        name = name.removeprefix("linalg_")
        for func in ways_to_call(name) if name not in NOT_CALLED else ():
            with CudaOnMeta(FP16) as cuda, cuda.autocast():
                try:
                    out = func(*args, **options)
                except (TypeError, RuntimeError):  # the list has arguments of PyTorch's internal functions
                    continue
            (right if out.dtype == dtype else wrong).add((name, func))
    assert wrong - INTERNAL == set()
    assert len(right) > 20


# Autocast: against the real one on the CPU, for what CPU and CUDA treat alike


@contextmanager
def real() -> Iterator[None]:
    with torch.autocast("cpu", BF16):
        yield


@contextmanager
def emulated() -> Iterator[None]:
    with CudaOnMeta(BF16) as cuda, cuda.autocast():
        yield


SETTINGS: tuple[tuple[str, Callable[[], AbstractContextManager[None]]], ...] = (("cpu", real), ("meta", emulated))


def on(device: str, *shape: int, dtype: torch.dtype = FP32, grad: bool = True) -> torch.Tensor:
    return torch.zeros(shape, dtype=dtype, device=device, requires_grad=grad)


def linear_twice(device: str) -> Any:
    weight = on(device, 8, 8)
    return functional.linear(functional.linear(on(device, 5, 8), weight), weight, on(device, 8))


CASES: dict[str, Callable[[str], Any]] = {
    "linear": lambda d: functional.linear(on(d, 5, 8), on(d, 6, 8), on(d, 6)),
    "linear of three dimensions": lambda d: functional.linear(on(d, 2, 5, 8), on(d, 6, 8)),
    "linear of a 16-bit input": lambda d: functional.linear(on(d, 5, 8, dtype=BF16), on(d, 6, 8)),
    "linear by a frozen weight": lambda d: functional.linear(on(d, 5, 8), on(d, 6, 8, grad=False)),
    "linear by a frozen 16-bit weight": lambda d: functional.linear(on(d, 5, 8), on(d, 6, 8, dtype=BF16, grad=False)),
    "the same weight twice": linear_twice,
    "a module": lambda d: torch.nn.Linear(8, 6, device=d)(on(d, 5, 8)),
    "@": lambda d: on(d, 5, 8) @ on(d, 8, 6),
    "matmul method": lambda d: on(d, 5, 8).matmul(on(d, 8, 6)),
    "mm": lambda d: torch.mm(on(d, 5, 8), on(d, 8, 6)),
    "bmm": lambda d: torch.bmm(on(d, 2, 5, 8), on(d, 2, 8, 6)),
    "baddbmm": lambda d: torch.baddbmm(on(d, 2, 5, 6), on(d, 2, 5, 8), on(d, 2, 8, 6)),
    "addmm": lambda d: torch.addmm(on(d, 6), on(d, 5, 8), on(d, 8, 6)),
    "of a result": lambda d: (on(d, 5, 8) * 2) @ on(d, 8, 6),
    "float64 is left alone": lambda d: on(d, 5, 8, dtype=torch.float64) * 2,
    "mse_loss": lambda d: functional.mse_loss(on(d, 5, dtype=BF16), on(d, 5, dtype=BF16)),
    "sums promote": lambda d: functional.linear(on(d, 5, 8), on(d, 6, 8)) + on(d, 5, 6),
    "pointwise is left alone": lambda d: functional.silu(functional.linear(on(d, 5, 8), on(d, 6, 8))),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_types_and_saved_tensors_are_those_of_the_real_autocast(case):
    found = []
    for device, autocast in SETTINGS:
        outs = []

        def run(device: str = device, autocast: Any = autocast, outs: list[Any] = outs) -> None:
            with autocast():
                outs.append(CASES[case](device))

        kept = saved_by(run)
        found.append((outs[0].shape, outs[0].dtype, outs[0].grad_fn.name(), Counter(kept)))
    assert found[0] == found[1]


def casts(device: str, autocast: Callable[[], AbstractContextManager[None]], run: Callable[[str], Any]) -> int:
    with Operators() as operators, autocast():
        run(device)
    return len(operators.named("_to_copy"))


# Twice: the input, the weight once, the bias; the second input is a result in bf16.
@pytest.mark.parametrize(("case", "expected"), [("the same weight twice", 3), ("linear by a frozen 16-bit weight", 1)])
def test_a_weight_is_cast_once(case, expected):
    assert [casts(device, autocast, CASES[case]) for device, autocast in SETTINGS] == [expected, expected]


@pytest.mark.parametrize("grad", [True, False])
def test_a_weight_is_cast_anew_in_each_forward_pass_and_only_trained_ones_are_kept(grad):
    for device, autocast in SETTINGS:
        weight, x = on(device, 6, 8, grad=grad), on(device, 5, 8, dtype=BF16)
        with Operators() as operators:
            for _ in range(2):
                with autocast():
                    functional.linear(x, weight)
                    functional.linear(x, weight)
        assert len(operators.named("_to_copy")) == (2 if grad else 4)


def test_outside_the_context_and_without_a_type_nothing_is_cast():
    with CudaOnMeta(BF16) as cuda:
        assert CASES["linear"]("meta").dtype == FP32
        with cuda.autocast():
            assert torch.is_autocast_enabled("cuda")
            assert CASES["linear"]("meta").dtype == BF16
        assert not torch.is_autocast_enabled("cuda")
        assert CASES["linear"]("meta").dtype == FP32
    with CudaOnMeta() as cuda, cuda.autocast():
        assert CASES["linear"]("meta").dtype == FP32


def llama_with_lora(device: str, dtype: torch.dtype) -> torch.nn.Module:
    torch.manual_seed(0)
    with torch.device(device), quiet_libraries():
        model = AutoModelForCausalLM.from_config(source_of("llama").config, dtype=dtype, attn_implementation="eager")
        config = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM", lora_dropout=0.0)
        return get_peft_model(model, config).train()


@pytest.mark.parametrize("dtype", [BF16, FP32])
def test_peft_s_lora_keeps_under_it_what_it_keeps_under_the_real_autocast(dtype):
    found = []
    for device, autocast in SETTINGS:
        model = llama_with_lora(device, dtype)
        layer = model.base_model.model.model.layers[0].mlp
        x, outs = on(device, 2, 5, 64, dtype=dtype), []

        def run(layer: Any = layer, x: torch.Tensor = x, autocast: Any = autocast, outs: list[Any] = outs) -> None:
            with autocast():
                outs.append(layer(x))

        kept = saved_by(run)
        found.append((outs[0].shape, outs[0].dtype, Counter(kept)))
    assert found[0] == found[1]


def twice(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return functional.linear(functional.linear(x, weight).tanh(), weight)


def recomputed(device: str, begin: Callable[[], AbstractContextManager[Any]], **options: Any) -> list[Any]:
    """Operators, with their types, of the backward pass of a checkpointed function."""
    x, weight = on(device, 5, 8), on(device, 8, 8)
    with Operators() as operators:
        with begin():
            out = checkpoint(twice, x, weight, use_reentrant=False, **options)
        operators.seen.clear()
        # As the dry run does: `backward` is subject to function modes itself, which are off while it is handled.
        torch.autograd.graph._engine_run_backward(
            (out,), (torch.ones_like(out),), False, False, (), allow_unreachable=True, accumulate_grad=True
        )
        return operators.named("mm", "addmm", "tanh", "tanh_backward", "_to_copy")


def test_what_is_computed_anew_in_the_backward_pass_is_cast_too():
    with CudaOnMeta(BF16) as cuda:
        found = recomputed("meta", cuda.autocast, context_fn=checkpoint_contexts)
    assert found == recomputed("cpu", real)
    # Two products computed anew, and two gradients of each; input and weight cast once more, and gradients cast back.
    assert found.count(("mm", BF16)) >= 4
    assert ("mm", FP32) not in found
    # Without the contexts PyTorch itself finds that float32 was recomputed where bf16 was saved.
    with CudaOnMeta(BF16) as cuda, pytest.raises(CheckpointError, match=r"torch\.bfloat16"):
        recomputed("meta", cuda.autocast)


def test_outside_the_mode_checkpointing_is_as_usual():
    with checkpoint_contexts()[1]:
        assert CASES["linear"]("meta").dtype == FP32


# Grouped products


def grouped(device: str, dtype: torch.dtype) -> list[torch.Tensor]:
    """Result and both gradients of tokens by experts: 12 tokens of 32 numbers, 3 experts with 16 outputs each."""
    ends = torch.tensor([4, 6, 12], dtype=torch.int32, device=device)
    tokens = torch.zeros(12, 32, dtype=dtype, device=device, requires_grad=True)
    experts = torch.zeros(3, 16, 32, dtype=dtype, device=device, requires_grad=True)
    out = functional.grouped_mm(tokens, experts.transpose(-2, -1), offs=ends)
    out.backward(torch.ones_like(out))
    return [out, *(one.grad for one in (tokens, experts) if one.grad is not None)]


@pytest.mark.parametrize("dtype", [FP32, FP16, BF16])
def test_grouped_products_and_their_gradients_are_those_of_a_device(dtype):
    with CudaOnMeta():
        found = grouped("meta", dtype)
    real = grouped("cpu", dtype)
    assert len(found) == len(real) == 3
    assert [(one.shape, one.dtype) for one in found] == [(one.shape, one.dtype) for one in real]


def test_outside_of_the_mode_meta_refuses_grouped_products_in_float32_as_ever():
    with CudaOnMeta():
        grouped("meta", FP32)
    with pytest.raises(RuntimeError, match="Expected inputs of BF16 type"):
        grouped("meta", FP32)


@pytest.mark.parametrize(
    ("left", "right", "shape", "strides"),
    [
        ((12, 32), (3, 32, 6), (12, 6), (8, 1)),  # rows of 6 * 4 bytes, which end at 32
        ((32, 12), (12, 6), (3, 32, 6), (256, 8, 1)),
        ((3, 5, 32), (32, 12), (5, 12), (12, 1)),
        ((3, 5, 32), (3, 32, 6), (3, 5, 6), (40, 8, 1)),
    ],
)
def test_rows_of_a_grouped_product_begin_at_multiples_of_16_bytes(left, right, shape, strides):
    ends = None if len(left) == len(right) == 3 else meta(3, dtype=torch.int32)
    found = grouped_product(meta(*left), meta(*right), offs=ends)
    assert (tuple(found.shape), found.stride()) == (shape, strides)
