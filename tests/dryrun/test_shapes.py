"""Remembered shapes: a whole training step is the same with and without them, and views are never remembered."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from advisor.dryrun import tracker as tracker_module
from advisor.dryrun.shapes import ShapeMemory
from advisor.dryrun.step import StepTrace, run_step
from tests.dryrun.tiny_workloads import FAMILIES, workload_of

aten: Any = torch.ops.aten
Layout = tuple[torch.Size, tuple[int, ...], torch.dtype, int, str] | None


def layouts(out: Any) -> list[Layout]:
    results = out if isinstance(out, (tuple, list)) else (out,)
    return [
        (one.shape, one.stride(), one.dtype, one.untyped_storage().nbytes(), one.device.type)
        if isinstance(one, torch.Tensor)
        else None
        for one in results
    ]


class Remembering(ShapeMemory):
    """Notes what every operator returned."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, list[Layout]]] = []
        self.asked = 0

    def run(self, func: Any, args: Any, kwargs: Any) -> Any:
        def counted(*args: Any, **kwargs: Any) -> Any:
            self.asked += 1
            return func(*args, **kwargs)

        out = self._answer(func, counted, args, kwargs)
        self.seen.append((str(func), layouts(out)))
        return out

    def _answer(self, func: Any, counted: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        return super().run(func, args, kwargs)


class Forgetful(Remembering):
    """Asks PyTorch every time."""

    def _answer(self, func: Any, counted: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        return counted(*args, **kwargs)


def step_with(
    kind: type[Remembering], monkeypatch: pytest.MonkeyPatch, **options: Any
) -> tuple[StepTrace, Remembering]:
    memory = kind()
    monkeypatch.setattr(tracker_module, "ShapeMemory", lambda: memory)
    return run_step(workload_of(**options)), memory


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("options", [{"autocast": True}, {"precision": "fp32", "gradient_checkpointing": True}])
def test_a_whole_training_step_is_the_same_without_the_memory(family, options, monkeypatch):
    remembered, one = step_with(Remembering, monkeypatch, family=family, **options)
    asked, other = step_with(Forgetful, monkeypatch, family=family, **options)
    assert one.seen == other.seen
    assert remembered.events == asked.events
    assert [block.nbytes for block in remembered.blocks] == [block.nbytes for block in asked.blocks]
    assert remembered.costs == asked.costs
    assert other.asked == len(other.seen) > 500


class Counting:
    """An operator of PyTorch that counts its calls."""

    def __init__(self, func: Any) -> None:
        self._func = func
        self._schema = func._schema
        self.calls = 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        return self._func(*args, **kwargs)


def meta(*shape: int, **options: Any) -> torch.Tensor:
    return torch.empty(shape, device="meta", **options)


def calls(func: Any, *several: tuple[Any, ...], **kwargs: Any) -> int:
    """How often PyTorch is asked for the shape when an operator runs with these arguments, one after the other."""
    memory, counting = ShapeMemory(), Counting(func)
    for args in several:
        found = layouts(memory.run(counting, args, kwargs))
        assert found == layouts(func(*args, **kwargs))
    return counting.calls


def test_equal_arguments_are_asked_about_once():
    assert calls(aten.mm.default, (meta(3, 4), meta(4, 5)), (meta(3, 4), meta(4, 5))) == 1


@pytest.mark.parametrize(
    "second",
    [
        (meta(3, 4), meta(4, 6)),  # shape
        (meta(4, 3).t(), meta(4, 5)),  # strides
        (meta(3, 4, dtype=torch.bfloat16), meta(4, 5, dtype=torch.bfloat16)),  # type
    ],
)
def test_other_shapes_strides_or_types_are_asked_about_again(second):
    assert calls(aten.mm.default, (meta(3, 4), meta(4, 5)), second) == 2


def test_one_and_true_and_one_point_zero_are_not_the_same_argument():
    x = meta(3, dtype=torch.long)
    assert calls(aten.add.Scalar, (x, 1), (x, 1.0), (x, True), (x, 1)) == 3


def test_named_arguments_count():
    memory, counting, x = ShapeMemory(), Counting(aten.sum.default), meta(3, dtype=torch.bfloat16)
    for dtype in (torch.float32, torch.float64, torch.float32):
        assert memory.run(counting, (x,), {"dtype": dtype}).dtype == dtype
    assert counting.calls == 2


def test_several_results_come_as_several_and_none_as_none():
    args = (meta(2, 4), [4], meta(4), meta(4), 1e-5)
    assert calls(aten.native_layer_norm.default, args, args) == 1
    grad = (meta(2, 4), meta(2, 4), [4], meta(2, 1), meta(2, 1), meta(4), None, [True, False, False])
    assert layouts(aten.native_layer_norm_backward.default(*grad))[1] is None
    assert calls(aten.native_layer_norm_backward.default, grad, grad) == 1


@pytest.mark.parametrize(
    ("func", "args"),
    [
        (aten._unsafe_view.default, (meta(3, 4), [12])),  # a view that the schema does not tell
        (aten.view.default, (meta(3, 4), [12])),
        (aten.t.default, (meta(3, 4),)),
        (aten.detach.default, (meta(3),)),
        (aten.add_.Tensor, (meta(3), meta(3))),
        (aten._foreach_add_.Scalar, ([meta(3)], 1.0)),
    ],
)
def test_views_and_changes_in_place_are_never_answered_from_memory(func, args):
    memory, counting = ShapeMemory(), Counting(func)
    storage = args[0].untyped_storage() if isinstance(args[0], torch.Tensor) else None
    for _ in range(3):
        out = memory.run(counting, args, {})
        if storage is not None:
            assert out.untyped_storage()._cdata == storage._cdata
    assert counting.calls == 3


def test_results_are_tensors_of_their_own():
    memory, args = ShapeMemory(), (meta(3, 4), meta(4, 5))
    first, second = memory.run(aten.mm.default, args, {}), memory.run(aten.mm.default, args, {})
    assert first.untyped_storage()._cdata != second.untyped_storage()._cdata


def test_a_part_of_a_larger_tensor_takes_the_memory_of_the_whole():
    # The gradient of a mask of 10 keys has rows of 16, the last one included.
    query, mask = meta(1, 2, 4, 8), meta(1, 2, 4, 10)
    key = meta(1, 2, 10, 8)
    out, log_sum, seed, offset = aten._scaled_dot_product_efficient_attention.default(query, key, key, mask, True)
    func = aten._scaled_dot_product_efficient_attention_backward.default
    args = (out, query, key, key, mask, out, log_sum, seed, offset, 0.0, [True, True, True, True])
    assert func(*args)[3].untyped_storage().nbytes() == 2 * 4 * 16 * 4
    assert calls(func, args, args) == 1


def test_tensors_with_values_are_left_to_pytorch():
    memory, counting = ShapeMemory(), Counting(aten.add.Tensor)
    for value in (1.0, 2.0):
        out = memory.run(counting, (torch.tensor(value), torch.tensor(1.0)), {})
        assert float(out) == value + 1
    assert counting.calls == 2
