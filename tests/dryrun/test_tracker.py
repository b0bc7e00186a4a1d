"""The tracker against allocations counted by hand, as the caching allocator of a CUDA device would be called."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from advisor.dryrun.allocator import replay
from advisor.dryrun.tracker import Tracker

KIB = 1024
ON_CPU = torch.zeros(3)


def meta(*shape: int, **options: Any) -> torch.Tensor:
    return torch.empty(shape, device="meta", **options)


def changes(tracker: Tracker) -> list[int]:
    """Signed bytes of the events so far."""
    return [nbytes or -tracker.blocks[number].nbytes for number, nbytes in tracker.events]


def watched(run: Callable[[], Any]) -> list[int]:
    with Tracker() as tracker:
        held = run()
    seen = changes(tracker)
    del held
    return seen


def test_a_storage_is_counted_once_however_many_tensors_share_it():
    def run() -> Any:
        x = meta(4, 10)
        return x.view(40), x[1:], x.t(), x.unflatten(1, (2, 5)), x.detach(), torch.split(x, 2), x.expand(3, 4, 10)

    assert watched(run) == [160]


def test_a_storage_is_freed_when_its_last_view_is_gone():
    with Tracker() as tracker:
        x = meta(10)
        view = x[3:]
        del x
        assert changes(tracker) == [40]
        del view
        assert changes(tracker) == [40, -40]


def test_a_storage_is_freed_before_what_is_computed_next():
    def run() -> torch.Tensor:
        x = meta(10)
        x = x + 1  # both are alive until the name is given away
        return x.to(torch.float64)

    assert watched(run)[:3] == [40, 40, -40]


def test_the_caller_s_temporaries_go_at_once():
    # (x + 1) dies when its double is there, not at the end of the expression.
    x = meta(10)
    assert watched(lambda: ((x + 1) * 2).exp()) == [40, 40, -40, 40, -40]


def test_what_existed_before_is_not_counted_until_it_is_registered():
    x = meta(10)
    tracker = Tracker()
    tracker.register([x, x.view(2, 5)], "weights")
    with tracker:
        x.add_(1)
    assert changes(tracker) == [40]
    assert [block.category for block in tracker.blocks] == ["weights"]
    assert watched(lambda: x.add_(1)) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda x, y: x.add_(1), lambda x, y: x.mul_(y), lambda x, y: x.zero_(), lambda x, y: x.copy_(y),
        lambda x, y: x.masked_fill_(y > 0, 1.0), lambda x, y: torch.nn.functional.relu_(x),
        lambda x, y: torch._foreach_add_([x, y], 1.0), lambda x, y: torch.add(x, 1, out=y), lambda x, y: x.clamp_(0, 1),
    ],
)  # fmt: skip
def test_an_operator_in_place_allocates_nothing_that_stays(change):
    x, y = meta(10), meta(10)
    seen = watched(lambda: change(x, y))
    assert sum(seen) == 0
    assert max(seen, default=0) <= 10  # at most the ten truth values of the mask


def test_what_autograd_saves_stays_until_the_backward_pass_has_used_it():
    x = meta(10, requires_grad=True)
    with Tracker() as tracker:
        loss = x.exp().sum()  # exp saves its result
        assert changes(tracker) == [40, 4]
        loss.backward()
        del loss
        *_, exp_freed = (index for index, change in enumerate(changes(tracker)) if change == -40)
        assert exp_freed > 2
    x.grad = None
    assert sum(changes(tracker)) == 0


def test_a_tensor_on_the_cpu_takes_no_device_memory():
    assert watched(lambda: (torch.ones(10) * 2, torch.tensor(1.0))) == []


def test_a_list_of_results_counts_each_of_them():
    xs = [meta(10), meta(20)]
    assert watched(lambda: torch._foreach_mul(xs, 2.0)) == [40, 80]


@pytest.mark.filterwarnings("ignore:Sparse invariant checks")
def test_a_sparse_matrix_is_its_indices_and_values():
    def run() -> torch.Tensor:
        return torch.sparse_coo_tensor(meta(2, 6, dtype=torch.long), meta(6), (5000, 6000)).coalesce()

    # Given: two rows of six int64 indices, six float32 values. Coalesced: as many anew, since no two fall together.
    seen = watched(run)
    assert [change for change in seen if change > 0] == [96, 24, 96, 24]
    assert sum(seen) == 96 + 24


def test_peaks_round_as_torch_cuda_max_memory_allocated_does():
    """1000 bytes take 1024 and 2000 take 2048 of a device; 1000 * 4 bytes + 1 byte take 4096 and 512."""
    with Tracker() as tracker:
        a = meta(250)  # 1000 bytes
        b = meta(500)  # 2000 bytes
        del a
        c = meta(1000)  # 4000 bytes
        d = meta(1, dtype=torch.int8)
        del b, c, d
    peaks = replay(tracker.events)
    assert peaks.requested_bytes == 2000 + 4000 + 1
    assert peaks.allocated_bytes == 2048 + 4096 + 512
    assert peaks.reserved_bytes == 2 * KIB * KIB  # one small segment


def test_a_fresh_large_tensor_takes_the_room_of_a_freed_one():
    with Tracker() as tracker:
        a = meta(3 * KIB * KIB)  # 12 MiB: a segment of its own
        del a
        b = meta(3 * KIB * KIB - 100)
        del b
    peaks = replay(tracker.events)
    assert (peaks.allocated_bytes, peaks.reserved_bytes) == (12 * KIB * KIB, 12 * KIB * KIB)


class TwoLayers(torch.nn.Module):
    """A frozen and a trained layer, then a head."""

    def __init__(self) -> None:
        super().__init__()
        self.body = torch.nn.Linear(8, 16, bias=False, device="meta")
        self.head = torch.nn.Linear(16, 32, bias=False, device="meta")


def trained(tracker: Tracker, model: TwoLayers) -> dict[str, list[int]]:
    """Bytes of each category after a forward and a backward pass of 5 rows."""
    with tracker:
        x = meta(5, 8)
        tracker.mark([x], "inputs")
        tracker.begin_forward()
        hidden = model.body(x).tanh()
        tracker.enter_head()
        loss = model.head(hidden).square().sum()
        tracker.begin_backward()
        loss.backward()
        tracker.mark([parameter.grad for parameter in model.parameters()], "gradients")
    found: dict[str, list[int]] = {}
    for block in tracker.blocks:
        found.setdefault(block.category, []).append(block.nbytes)
    return found


def test_bytes_are_told_apart_by_what_they_are_for():
    found = trained(Tracker(), TwoLayers())
    assert found["inputs"] == [5 * 8 * 4]
    assert found["activations"] == [5 * 16 * 4, 5 * 16 * 4]  # linear and tanh
    assert found["gradients"] == [16 * 32 * 4, 8 * 16 * 4]
    # Forward: logits, squares, sum. Backward: gradients of the sum, the squares and the logits, the latter by way of
    # 2 * logits; then that of the head's input.
    assert found["logits"][:3] == [5 * 32 * 4, 5 * 32 * 4, 4]
    assert set(found["logits"][3:]) <= {5 * 32 * 4, 5 * 16 * 4, 4}
    assert 5 * 16 * 4 in found["logits"][3:]
    # What is left belongs to the backward pass of tanh alone.
    assert set(found["workspace"]) <= {5 * 16 * 4, 4}


def test_without_a_head_nothing_counts_as_logits():
    model = TwoLayers()
    tracker = Tracker()
    tracker.enter_head = lambda: None  # type: ignore[method-assign]
    assert "logits" not in trained(tracker, model)


def test_a_second_forward_pass_begins_outside_the_head():
    tracker, model = Tracker(), TwoLayers()
    trained(tracker, model)
    first = len(tracker.blocks)
    with tracker:
        tracker.begin_forward()
        held = model.body(meta(5, 8))
    assert {block.category for block in tracker.blocks[first:]} == {"activations"}
    del held


def test_clipping_and_optimizer_have_temporaries_and_state():
    parameter = meta(10, requires_grad=True)
    parameter.grad = meta(10)
    tracker = Tracker()
    with tracker:
        tracker.phase = "clip"
        held = parameter.grad * 2
        tracker.phase = "optimizer"
        state = torch.zeros_like(parameter)
        tracker.mark([state, None, ON_CPU], "optimizer")
    assert [block.category for block in tracker.blocks] == ["workspace", "optimizer"]
    del held


def test_the_end_of_the_forward_pass_is_known():
    tracker, model = Tracker(), TwoLayers()
    trained(tracker, model)
    before = [tracker.blocks[number].category for number, nbytes in tracker.events[: tracker.forward_ends] if nbytes]
    assert "gradients" not in before
    assert before.count("activations") == 2


def test_memory_of_a_kernel_comes_and_goes_at_once():
    query = meta(2, 4, 128, 32, dtype=torch.bfloat16, requires_grad=True)
    tracker = Tracker()
    with tracker:
        out = torch.ops.aten._scaled_dot_product_flash_attention(query, query, query, 0.0, True)[0]
        tracker.begin_backward()
        out.sum().backward()
    # A float32 accumulator of the query's gradient and a sum per query: 2 * 4 * 128 * (32 + 1) * 4.
    scratch = next(block for block in tracker.blocks if block.nbytes == 2 * 4 * 128 * 33 * 4)
    assert scratch.category == "workspace"
    place = tracker.events.index((scratch.number, scratch.nbytes))
    assert tracker.events[place + 1] == (scratch.number, 0)


def test_costs_are_noted_with_their_phase_unless_they_are_not_wanted():
    tracker, silent = Tracker(), Tracker(with_costs=False)
    for one in (tracker, silent):
        trained(one, TwoLayers())
    names = [(phase, cost.name) for phase, cost in tracker.costs]
    assert names.count(("forward", "mm")) == 2
    # Of the body only its weight's gradient is wanted, of the head that of its input too.
    assert names.count(("backward", "mm")) == 3
    assert silent.costs == []
