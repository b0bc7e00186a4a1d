"""The search for the largest value that fits, on memory curves known in closed form."""

from collections.abc import Callable

import pytest

from advisor.dryrun.estimate import DryRun
from advisor.dryrun.largest import largest_that_fits
from advisor.errors import InfeasibleBudgetError
from advisor.feasibility.estimate import Estimate

USABLE = 10_000_000


def runs_of(memory: Callable[[int], int]) -> Callable[[int], DryRun]:
    """Return dry runs whose peak is a function of the value."""

    def run(value: int) -> DryRun:
        parts = dict.fromkeys(
            (
                "weights_bytes", "adapter_bytes", "gradients_bytes", "optimizer_bytes", "activations_bytes",
                "logits_bytes", "workspace_bytes", "fragmentation_bytes", "context_bytes",
            ),
            0,
        )  # fmt: skip
        peak = memory(value)
        return DryRun(
            estimate=Estimate(
                peak_memory_bytes=peak, peak_reserved_bytes=peak, peak_allocated_bytes=peak, basis="test",
                trainable_params=1, **parts,
            ),
            total_params=1, tokens_per_step=value, usable_bytes=USABLE,
        )  # fmt: skip

    return run


@pytest.mark.parametrize(
    ("memory", "limit", "largest"),
    [
        (lambda value: 1_000_000 + 100_000 * value, 8192, 90),
        (lambda value: 1_000_000 + 100_001 * value, 8192, 89),
        (lambda value: 9_999_999 + value, 8192, 1),
        (lambda value: 5_000_000 + value * value, 131_072, 2236),  # sqrt(5e6) = 2236.07
        (lambda value: 1_000_000 + 3 * value + value * value // 50, 131_072, 21_138),  # 0.02 x^2 + 3 x = 9e6
        (lambda value: 1_000_000 + 2_000_000 * (value // 100), 8192, 499),  # steps, as an allocator makes them
        (lambda value: 8_000_000 if value < 77 else 20_000_000, 8192, 76),  # nothing to interpolate
    ],
)
def test_it_is_found_exactly(memory, limit, largest):
    found = largest_that_fits(runs_of(memory), limit=limit, name="batch-size")
    assert found.value == largest
    assert memory(largest) <= USABLE < memory(largest + 1)
    assert found.run.estimate.peak_memory_bytes == memory(largest)
    assert not found.limited


@pytest.mark.parametrize(
    ("memory", "most"),
    [
        (lambda value: 1_000_000 + 100_000 * value, 6),
        (lambda value: 1_000_000 + 3 * value + value * value // 50, 24),
        (lambda value: 8_000_000 if value < 77 else 20_000_000, 24),
    ],
)
def test_it_takes_few_runs(memory, most):
    assert largest_that_fits(runs_of(memory), limit=131_072, name="seq-len").n_runs <= most


def test_the_limit_is_said_to_be_one():
    found = largest_that_fits(runs_of(lambda value: value), limit=512, name="seq-len")
    assert (found.value, found.limited) == (512, True)


def test_a_limit_of_one_needs_one_run():
    found = largest_that_fits(runs_of(lambda value: value), limit=1, name="rank")
    assert (found.value, found.limited, found.n_runs) == (1, True, 1)


def test_what_never_fits_says_what_it_takes_and_what_to_try():
    with pytest.raises(InfeasibleBudgetError, match=r"not even batch-size 1 fits: .*Try another card$"):
        largest_that_fits(
            runs_of(lambda value: 20_000_000), limit=8, name="batch-size", advice=lambda run: "Try another card."
        )
