"""What single operators cost: hand-computed, and compared with PyTorch's own counter over whole steps."""

from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode
from transformers import LlamaConfig, LlamaForCausalLM

from advisor.dryrun.cuda_on_meta import CudaOnMeta
from advisor.dryrun.operators import OperatorCost, cost

aten: Any = torch.ops.aten
BF16 = torch.bfloat16


def meta(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


def of(func: Any, *args: Any, **kwargs: Any) -> OperatorCost:
    found = cost(func, args, kwargs, func(*args, **kwargs))
    assert found is not None
    return found


class Counter(TorchDispatchMode):
    """Collects the costs of everything that runs."""

    def __init__(self) -> None:
        super().__init__()
        self.costs: list[OperatorCost] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        found = cost(func, args, kwargs or {}, out)
        if found is not None:
            self.costs.append(found)
        return out


def test_a_product_counts_two_operations_per_pair_and_each_operand_once():
    found = of(aten.mm.default, meta(840, 3072, dtype=BF16), meta(3072, 32, dtype=BF16))
    assert found.flops == 2 * 840 * 3072 * 32
    assert found.read_bytes == 2 * (840 * 3072 + 3072 * 32)
    assert found.written_bytes == 2 * 840 * 32
    assert (found.name, found.kind, found.launches, found.synchronizes) == ("mm", "bf16", 1, False)


def test_a_transposed_weight_counts_like_the_weight_itself():
    x, weight = meta(4, 8), meta(16, 8)
    assert of(aten.mm.default, x, weight.t()).read_bytes == 4 * (32 + 128)


@pytest.mark.parametrize(
    ("func", "args", "flops"),
    [
        (aten.addmm.default, (meta(5), meta(3, 4), meta(4, 5)), 2 * 3 * 4 * 5),
        (aten.bmm.default, (meta(7, 3, 4), meta(7, 4, 5)), 7 * 2 * 3 * 4 * 5),
        (aten.baddbmm.default, (meta(7, 3, 5), meta(7, 3, 4), meta(7, 4, 5)), 7 * 2 * 3 * 4 * 5),
        (
            aten.convolution.default,  # 6 outputs x 3 inputs x 5 taps at 16 places of 2 examples
            (meta(2, 3, 16), meta(6, 3, 5), None, [1], [2], [1], False, [0], 1),
            2 * 2 * 16 * 6 * 3 * 5,
        ),
    ],
)
def test_operations_of_products_and_convolutions(func, args, flops):
    assert of(func, *args).flops == flops


def test_attention_computes_two_products_forward_and_five_backward():
    """Of the five of the backward pass one computes the scores anew."""
    query = meta(2, 4, 16, 8, dtype=BF16)
    pair = 2 * 2 * 4 * 16 * 16 * 8
    out = aten._scaled_dot_product_flash_attention.default(query, query, query, 0.0, True)
    forward = of(aten._scaled_dot_product_flash_attention.default, query, query, query, 0.0, True)
    backward = of(
        aten._scaled_dot_product_flash_attention_backward.default,
        query, query, query, query, out[0], out[1], None, None, 16, 16, 0.0, True, out[6], out[7],
    )  # fmt: skip
    assert (forward.flops, backward.flops) == (2 * pair, 5 * pair)


def test_int8_products_are_counted_though_the_registry_has_none():
    found = of(aten._int_mm.default, meta(32, 64, dtype=torch.int8), meta(64, 16, dtype=torch.int8))
    assert (found.flops, found.kind) == (2 * 32 * 64 * 16, "int8")


def grouped(left: tuple[int, ...], right: tuple[int, ...], dtype: torch.dtype) -> OperatorCost:
    func, ends = aten._grouped_mm.default, meta(5, dtype=torch.int32)
    args = (meta(*left, dtype=dtype), meta(*right, dtype=dtype), *(() if len(left) == len(right) == 3 else (ends,)))
    with CudaOnMeta():
        return of(func, *args)


@pytest.mark.parametrize(
    ("left", "right", "flops"),
    [
        ((40, 16), (5, 16, 24), 2 * 40 * 16 * 24),  # each token meets one expert
        ((16, 40), (40, 24), 2 * 16 * 40 * 24),  # gradients of experts: each token goes into one
        ((5, 16, 24), (24, 40), 2 * 16 * 24 * 40),
        ((5, 8, 16), (5, 16, 24), 5 * 2 * 8 * 16 * 24),
    ],
)
@pytest.mark.parametrize("dtype", [BF16, torch.float32])
def test_a_grouped_product_computes_what_its_groups_do_together(left, right, flops, dtype):
    assert grouped(left, right, dtype).flops == flops


def test_a_grouped_product_reads_all_experts_and_is_at_once_in_bfloat16_only():
    at_once, one_by_one = (grouped((40, 16), (5, 16, 24), dtype) for dtype in (BF16, torch.float32))
    assert at_once.read_bytes == 2 * (40 * 16 + 5 * 16 * 24) + 5 * 4
    assert (at_once.launches, at_once.synchronizes) == (2, False)
    # The host reads where the groups end, then calls one product for each.
    assert (one_by_one.launches, one_by_one.synchronizes) == (5, True)
    batched = grouped((5, 8, 16), (5, 16, 24), torch.float32)
    assert (batched.launches, batched.synchronizes) == (1, False)


def test_a_step_has_the_operations_that_pytorch_counts():
    config = LlamaConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        vocab_size=64,
    )  # fmt: skip
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
    tokens = torch.zeros(2, 9, dtype=torch.long, device="meta")
    theirs, ours = FlopCounterMode(display=False), Counter()
    with theirs, ours:
        model(input_ids=tokens, labels=tokens).loss.backward()
    assert sum(one.flops for one in ours.costs) == theirs.get_total_flops() > 0


@pytest.mark.parametrize(
    ("func", "args"),
    [
        (aten.view.default, (meta(4, 6), [24])),
        (aten._unsafe_view.default, (meta(4, 6), [24])),
        (aten.t.default, (meta(4, 6),)),
        (aten.transpose.int, (meta(4, 6), 0, 1)),
        (aten.permute.default, (meta(4, 6), [1, 0])),
        (aten.expand.default, (meta(1, 6), [4, 6])),
        (aten.unsqueeze.default, (meta(4, 6), 0)),
        (aten.slice.Tensor, (meta(4, 6), 0, 1, 2)),
        (aten.select.int, (meta(4, 6), 0, 1)),
        (aten.split.Tensor, (meta(4, 6), 2)),
        (aten.as_strided.default, (meta(4, 6), [2, 2], [6, 1])),
        (aten.detach.default, (meta(4, 6),)),
        (aten.alias.default, (meta(4, 6),)),
        (aten.empty_like.default, (meta(4, 6),)),
        (aten.new_empty.default, (meta(4, 6), [3])),
        (aten.add.Tensor, (torch.ones(3), torch.ones(3))),  # on the host
        (aten._foreach_add_.Scalar, ([torch.ones(3)], 1)),
        (aten.mul.Tensor, (meta(0), meta(0))),
    ],
)
def test_views_allocations_and_what_is_not_on_the_device_cost_nothing(func, args):
    assert cost(func, args, {}, func(*args)) is None


def test_an_elementwise_operator_reads_its_inputs_and_writes_its_output():
    found = of(aten.add.Tensor, meta(100), meta(100, dtype=BF16))
    assert (found.flops, found.read_bytes, found.written_bytes) == (0, 600, 400)


def test_an_input_given_twice_is_read_once():
    x = meta(100)
    assert of(aten.mul.Tensor, x, x).read_bytes == 400


def test_an_expanded_input_is_read_as_often_as_it_is_stored():
    assert of(aten.add.Tensor, meta(10, 100), meta(100).expand(10, 100)).read_bytes == 4000 + 400


def test_all_outputs_are_written():
    found = of(aten.native_dropout.default, meta(100), 0.5, True)
    assert found.written_bytes == 400 + 100  # a mask of one byte per number


def test_operators_in_place_write_what_they_read():
    found = of(aten.add_.Tensor, meta(100), meta(100))
    assert (found.read_bytes, found.written_bytes) == (800, 400)


@pytest.mark.parametrize(
    ("func", "args", "read"),
    [
        (aten.fill_.Scalar, (meta(100), 1.0), 0),
        (aten.zero_.default, (meta(100),), 0),
        (aten.normal_.default, (meta(100),), 0),
        (aten.copy_.default, (meta(100), meta(100, dtype=BF16)), 200),
        (aten.zeros_like.default, (meta(100),), 0),
        (aten.new_zeros.default, (meta(7), [100]), 0),
        (aten.zeros.default, ([100],), 0),
    ],
)
def test_what_is_overwritten_or_only_a_model_of_the_shape_is_not_read(func, args, read):
    device = {"device": "meta"} if func is aten.zeros.default else {}
    found = of(func, *args, **device)
    assert (found.read_bytes, found.written_bytes) == (read, 400)


@pytest.mark.parametrize(
    ("func", "args"),
    [
        (aten.embedding.default, (meta(128_256, 16), meta(10, dtype=torch.long))),
        (aten.index_select.default, (meta(128_256, 16), 0, meta(10, dtype=torch.long))),
        (aten.index.Tensor, (meta(128_256, 16), [meta(10, dtype=torch.long)])),
    ],
)
def test_a_lookup_reads_only_the_rows_that_it_selects(func, args):
    found = of(func, *args)
    assert (found.read_bytes, found.written_bytes) == (80 + 640, 640)


def test_a_loss_reads_one_number_per_target_and_its_gradient_only_writes():
    log_probs, target = meta(10, 1000), meta(10, dtype=torch.long)
    loss, weight = aten.nll_loss_forward.default(log_probs, target, None, 1, -100)
    assert of(aten.nll_loss_forward.default, log_probs, target, None, 1, -100).read_bytes < 200
    found = of(aten.nll_loss_backward.default, loss, log_probs, target, None, 1, -100, weight)
    assert (found.read_bytes, found.written_bytes) == (4 + 80 + 4, 40_000)


def test_scattering_touches_only_what_is_scattered():
    found = of(aten.index_put_.default, meta(128_256, 16), [meta(10, dtype=torch.long)], meta(10, 16), True)
    assert found.written_bytes == 640
    assert found.read_bytes == 80 + 640 + 640


def test_lists_of_tensors_are_counted_whole_and_in_chunks_of_a_kernels_size():
    """MultiTensorApply.cuh: two lists fit 64 tensors into a kernel, one list 110, four lists 36."""
    parameters, gradients = [meta(10) for _ in range(130)], [meta(10) for _ in range(130)]
    added = of(aten._foreach_add_.List, parameters, gradients)
    assert (added.read_bytes, added.written_bytes) == (2 * 130 * 40, 130 * 40)
    assert (added.launches, added.list_tensors) == (3, 130)
    assert of(aten._foreach_mul_.Scalar, parameters, 2.0).launches == 2
    moments = [[meta(10) for _ in range(130)] for _ in range(2)]
    steps = [meta() for _ in range(130)]
    fused = of(
        aten._fused_adamw_.default, parameters, gradients, *moments, [], steps,
        lr=1e-3, beta1=0.9, beta2=0.999, weight_decay=0.0, eps=1e-8, amsgrad=False, maximize=False,
    )  # fmt: skip
    assert fused.launches == 4
    assert (fused.read_bytes, fused.written_bytes) == (4 * 130 * 40 + 130 * 4, 3 * 130 * 40)


def test_a_large_tensor_takes_several_kernels():
    """320 blocks of 65,536 numbers each."""
    assert of(aten._foreach_mul_.Scalar, [meta(65_536 * 320 * 2 + 1)], 2.0).launches == 3


def test_lists_that_are_not_changed_in_place_write_new_ones():
    found = of(aten._foreach_sqrt.default, [meta(10), meta(20)])
    assert (found.read_bytes, found.written_bytes) == (120, 120)


def test_reading_a_value_makes_the_host_wait():
    found = cost(aten._local_scalar_dense.default, (meta(),), {}, 1.0)
    assert found is not None
    assert found.synchronizes
    assert cost(aten._local_scalar_dense.default, (torch.ones(()),), {}, 1.0) is None


def test_indexing_by_a_mask_makes_the_host_wait_and_by_numbers_does_not():
    mask = [meta(10, dtype=torch.bool)]
    found = cost(aten.index.Tensor, (meta(10, 4), mask), {}, meta(10, 4))
    assert found is not None
    assert found.synchronizes
    assert not of(aten.index.Tensor, meta(10, 4), [meta(3, dtype=torch.long)]).synchronizes


def test_copies_from_the_host_are_transfers_that_wait_unless_told_otherwise():
    host = torch.ones(100)
    found = of(aten._to_copy.default, host, device="meta")
    assert (found.transferred_bytes, found.synchronizes) == (400, True)
    assert not of(aten._to_copy.default, host, device="meta", non_blocking=True).synchronizes
    assert of(aten._to_copy.default, meta(100), dtype=BF16).transferred_bytes == 0


def test_a_copy_into_another_type_is_first_converted_on_the_host():
    found = of(aten._to_copy.default, torch.ones(100), device="meta", dtype=BF16)
    assert found.transferred_bytes == 200 + 400 + 200


def test_copies_to_the_host_are_transfers():
    found = cost(aten._to_copy.default, (meta(100),), {"device": "cpu"}, torch.ones(100))
    assert found is not None
    assert (found.transferred_bytes, found.synchronizes) == (400, True)


def test_counting_does_not_pass_through_a_function_mode():
    """A dry run has one on; each attribute of a tensor would take the way through it."""
    seen = []

    class Watch(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            seen.append(func)
            return func(*args, **(kwargs or {}))

    x = meta(10, 10)
    out = aten.mm.default(x, x)
    with Watch():
        cost(aten.mm.default, (x, x), {}, out)
    assert seen == []
