"""Stand-ins for values: same shape, type and layout as PyTorch gives on the CPU for the data that needs most memory."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.distributions import RelaxedBernoulli
from torch.utils._python_dispatch import TorchDispatchMode

from advisor.dryrun.value_reads import LARGEST_REAL, answer, memory_parts, stand_in_on_cpu


class Answering(TorchDispatchMode):
    """Asks `answer` before it runs an operator, as the tracker of the dry run does."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = answer(func, args, kwargs or {})
        return func(*args, **(kwargs or {})) if out is NotImplemented else out


def on_meta(run: Callable[..., Any], *tensors: torch.Tensor) -> Any:
    """Run a function on copies of tensors without values."""
    copies = [torch.empty_like(tensor, device="meta", requires_grad=tensor.requires_grad) for tensor in tensors]
    with Answering():
        return run(*copies)


def layout(out: Any) -> Any:
    """All of a result but its values."""
    if isinstance(out, (tuple, list)):
        return [layout(one) for one in out]
    return out.shape, out.dtype, out.stride() if out.layout == torch.strided else out.layout


FULL = torch.ones(3, 4, dtype=torch.bool)
NUMBERS = torch.arange(12.0).reshape(3, 4)

# Data on the CPU of which every row, entry or number counts.
SAME_AS_THE_WORST_CASE: dict[str, tuple[Callable[..., Any], tuple[torch.Tensor, ...]]] = {
    "nonzero": (lambda mask: mask.nonzero(), (FULL,)),
    "where": (torch.where, (FULL,)),
    "index by a mask": (lambda x, mask: x[mask], (NUMBERS, FULL)),
    "index by a mask of columns": (lambda x, mask: x[:, mask], (NUMBERS, FULL[0])),
    "index by a mask of rows": (lambda x, mask: x[mask], (NUMBERS, FULL[:, 0])),
    "masked_select": (lambda x, mask: x.masked_select(mask), (NUMBERS, FULL)),
    "masked_select of a broadcast mask": (lambda x, mask: x.masked_select(mask), (NUMBERS, FULL[0])),
    "unique": (lambda x: x.unique(), (NUMBERS,)),
    "unique with counts": (lambda x: x.unique(return_inverse=True, return_counts=True), (NUMBERS,)),
    "unique_consecutive": (lambda x: torch.unique_consecutive(x), (torch.ones(3, 4),)),
    "bincount": (lambda x: torch.bincount(x, minlength=9), (torch.arange(4),)),
    "bincount of weights": (lambda x, w: torch.bincount(x, w, minlength=9), (torch.arange(4), torch.ones(4))),
    "numbers set by a mask": (lambda x, mask: x.clone().index_put_((mask,), x[mask]), (NUMBERS, FULL)),
}


@pytest.mark.parametrize("name", SAME_AS_THE_WORST_CASE)
def test_a_result_without_values_looks_like_the_largest_real_one(name: str) -> None:
    run, tensors = SAME_AS_THE_WORST_CASE[name]
    assert layout(on_meta(run, *tensors)) == layout(run(*tensors))


@pytest.mark.parametrize(
    ("dtype", "expected"), [(torch.bool, False), (torch.int64, 0), (torch.bfloat16, 1.0), (torch.complex64, 1 + 0j)]
)
def test_a_single_value_is_read_as_a_number_of_its_type(dtype: torch.dtype, expected: object) -> None:
    value = on_meta(lambda x: x.item(), torch.zeros((), dtype=dtype))
    assert value == expected
    assert type(value) is type(expected)


def test_a_batch_is_taken_for_padded() -> None:
    assert on_meta(lambda mask: bool(mask.all()), FULL) is False
    assert on_meta(lambda mask: bool(mask.any()), FULL) is False
    assert on_meta(lambda x: float(x.sum()), NUMBERS) == 1.0


def test_tensors_of_one_shape_are_equal_and_others_are_not() -> None:
    assert on_meta(torch.equal, NUMBERS, NUMBERS) is True
    assert on_meta(torch.allclose, NUMBERS, NUMBERS) is True
    assert on_meta(torch.equal, NUMBERS, NUMBERS[0]) is False


def test_a_distribution_accepts_parameters_without_values() -> None:
    drawn = on_meta(lambda x: RelaxedBernoulli(temperature=1.0, logits=x).rsample(), NUMBERS)
    assert drawn.shape == (3, 4)
    assert drawn.is_meta


def test_a_copy_to_the_cpu_can_be_read_and_computed_with() -> None:
    copy = on_meta(lambda x: x.to("cpu", torch.float64), NUMBERS)
    assert (copy.device.type, copy.dtype, copy.shape) == ("cpu", torch.float64, (3, 4))
    assert on_meta(lambda x: x.tolist(), NUMBERS[0]) == [1.0, 1.0, 1.0, 1.0]
    assert on_meta(lambda x: x.cpu().numpy().sum(), NUMBERS) == 12.0
    copy[0] = 5.0
    assert float(copy.sum()) == 28.0


def test_a_large_copy_to_the_cpu_takes_no_memory_and_is_whole_again_on_the_device() -> None:
    size = (4 * LARGEST_REAL, 1024)
    copy = on_meta(lambda x: x.expand(size).cpu(), torch.ones(1))
    assert copy.shape == size
    assert copy.untyped_storage().nbytes() == 4
    back = copy.to("meta", torch.bfloat16)
    assert back.untyped_storage().nbytes() == 4 * LARGEST_REAL * 1024 * 2


def test_a_copy_into_a_cpu_tensor_leaves_its_values() -> None:
    target = torch.arange(12.0).reshape(3, 4)
    assert on_meta(lambda x: target.copy_(x), NUMBERS) is target
    assert torch.equal(target, NUMBERS)


def test_stand_ins_hold_the_values_that_are_read() -> None:
    assert stand_in_on_cpu((2, 2), torch.int64).tolist() == [[0, 0], [0, 0]]
    assert stand_in_on_cpu((2,), torch.bool).tolist() == [False, False]


def test_tensors_with_values_are_left_to_pytorch() -> None:
    with Answering():
        assert torch.tensor([0, 3]).nonzero().tolist() == [[1]]
        assert torch.tensor(7).item() == 7
        assert NUMBERS[NUMBERS > 9].tolist() == [10.0, 11.0]
        assert not torch.equal(NUMBERS, NUMBERS + 1)
        assert torch.tensor([2, 2]).unique().tolist() == [2]
        assert torch.ones(2).to("cpu", torch.float64).tolist() == [1.0, 1.0]


def test_a_size_that_nothing_bounds_is_not_guessed() -> None:
    with pytest.raises(RuntimeError, match="output_size"):
        on_meta(torch.repeat_interleave, torch.arange(3))
    with pytest.raises(NotImplementedError, match="bincount"):
        on_meta(torch.bincount, torch.arange(3))


# Sparse matrices as the layers of SHiRA and FRoD make them: indices fixed, values trained.

PLACES = torch.tensor([[0, 1, 2], [1, 2, 3]])


def added(weight: torch.Tensor, places: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    changed = weight.clone()
    changed += torch.sparse_coo_tensor(places, values * 2.0, (3, 4))
    return changed


def dense(weight: torch.Tensor, places: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    return weight @ torch.sparse_coo_tensor(places, values.to(weight.dtype), (4, 4)).coalesce().to_dense().t()


def multiplied(weight: torch.Tensor, places: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    return torch.sparse.mm(torch.sparse_coo_tensor(places, values, (4, 4)).coalesce(), weight.t())


# PyTorch's CPU multiplies no sparse matrix of bfloat16.
@pytest.mark.parametrize(
    ("run", "dtype"),
    [
        (added, torch.float32),
        (added, torch.bfloat16),
        (dense, torch.float32),
        (dense, torch.bfloat16),
        (multiplied, torch.float32),
    ],
)
def test_a_sparse_matrix_trains_without_values(run: Callable[..., torch.Tensor], dtype: torch.dtype) -> None:
    def gradients(weight: torch.Tensor, places: torch.Tensor, values: torch.Tensor) -> list[torch.Tensor]:
        out = run(weight, places, values)
        wanted = [values] if run is added else [weight, values]
        return [out, *torch.autograd.grad(out.float().sum(), wanted)]

    tensors = (torch.ones(3, 4, dtype=dtype, requires_grad=run is not added), PLACES, torch.ones(3, requires_grad=True))
    assert layout(on_meta(gradients, *tensors)) == layout(gradients(*tensors))


def test_a_sparse_matrix_owns_its_indices_and_values() -> None:
    matrix = on_meta(lambda i, v: torch.sparse_coo_tensor(i, v, (4, 4)).coalesce(), PLACES, torch.ones(3))
    assert matrix.layout == torch.sparse_coo
    assert matrix.is_coalesced()
    indices, values = memory_parts(matrix)
    assert sum(part.untyped_storage().nbytes() for part in (indices, values)) == 2 * 3 * 8 + 3 * 4
    assert memory_parts(values) == (values,)


def test_a_sum_of_dense_and_sparse_has_the_wider_type() -> None:
    def run(weight: torch.Tensor, places: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        return weight + torch.sparse_coo_tensor(places, values, (3, 4))

    tensors = (torch.ones(3, 4, dtype=torch.bfloat16), PLACES, torch.ones(3))
    assert layout(on_meta(run, *tensors)) == layout(run(*tensors))
