"""The search for the largest value that fits, with a dry run whose memory is known."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.dryrun.estimate import DryRun
from advisor.dryrun.largest import Largest, largest_that_fits
from advisor.errors import InfeasibleBudgetError
from advisor.feasibility.estimate import Estimate

MIB = 2**20


def run_of(peak_bytes: int, usable_bytes: int | None) -> DryRun:
    parts = dict.fromkeys(
        (
            "adapter_bytes", "gradients_bytes", "optimizer_bytes", "activations_bytes", "logits_bytes",
            "workspace_bytes", "fragmentation_bytes", "context_bytes",
        ),
        0,
    )  # fmt: skip
    estimate = Estimate(
        peak_memory_bytes=peak_bytes, peak_reserved_bytes=peak_bytes, peak_allocated_bytes=peak_bytes, basis="test",
        weights_bytes=peak_bytes, trainable_params=1, **parts,
    )  # fmt: skip
    return DryRun(estimate=estimate, total_params=1, tokens_per_step=1, usable_bytes=usable_bytes)


def search(
    memory: Callable[[int], int], usable: int, limit: int = 10_000, expected: Callable[[int], int] | None = None
) -> tuple[Largest, list[int]]:
    """Search with a memory, and perhaps an expectation of it; returns the values that were asked for as well."""
    asked: list[int] = []

    def dry_run(value: int) -> DryRun:
        asked.append(value)
        return run_of(memory(value), usable)

    margin = None if expected is None else lambda value: usable - expected(value)
    return largest_that_fits(dry_run, limit=limit, name="batch-size", expected=margin), asked


def by_trial(memory: Callable[[int], int], usable: int, limit: int) -> int:
    return max(value for value in range(1, limit + 1) if memory(value) <= usable)


@pytest.mark.parametrize(("base", "slope", "usable"), [(1000, 7, 9999), (0, 1, 64), (500, 300, 800), (10, 10, 10**6)])
def test_a_straight_line_is_solved_to_the_last_byte(base, slope, usable):
    found, asked = search(lambda value: base + slope * value, usable)
    assert found.value == min(10_000, (usable - base) // slope)
    assert found.run.peak_memory_bytes == base + slope * found.value
    assert found.n_runs == len(asked) == len(set(asked))


def test_few_runs_are_needed():
    found, asked = search(lambda value: 3_000_000 + 12_345 * value, 80_000_000, limit=8192)
    assert found.value == (80_000_000 - 3_000_000) // 12_345 == 6237
    assert len(asked) <= 8


@given(
    base=st.integers(0, 10**6), slope=st.integers(1, 10**5), square=st.integers(0, 100), usable=st.integers(1, 10**8),
    step=st.sampled_from([1, 2, 512, 4096]), limit=st.integers(1, 3000),
)  # fmt: skip
def test_steps_and_curves_end_at_the_same_place_as_trying_every_value(base, slope, square, usable, step, limit):
    def memory(value: int) -> int:
        return -(-(base + slope * value + square * value * value) // step) * step

    if memory(1) > usable:
        with pytest.raises(InfeasibleBudgetError):
            search(memory, usable, limit)
        return
    found, asked = search(memory, usable, limit)
    assert found.value == by_trial(memory, usable, limit)
    assert found.limited == (found.value == limit)
    assert max(asked) <= limit


@given(seed=st.integers(0, 10**6), usable=st.integers(2 * MIB, 100 * MIB))
def test_where_memory_jumps_up_and_down_the_answer_fits_and_the_next_value_does_not(seed, usable):
    def memory(value: int) -> int:
        return value * MIB + (seed * 2654435761 ^ value * 40503) % (2 * MIB)

    if memory(1) > usable:
        return
    found, _ = search(memory, usable, limit=500)
    assert memory(found.value) <= usable
    assert found.limited or memory(found.value + 1) > usable


def test_memory_that_does_not_grow_reaches_the_limit():
    found, asked = search(lambda _: 5, 10, limit=1000)
    assert (found.value, found.limited) == (1000, True)
    assert len(asked) <= 12


def test_a_limit_of_one_needs_one_run():
    found, asked = search(lambda value: value, 10, limit=1)
    assert (found.value, found.limited, found.n_runs, asked) == (1, True, 1, [1])


def test_when_nothing_fits_the_message_says_what_it_takes_and_what_to_try():
    with pytest.raises(
        InfeasibleBudgetError, match=r"not even batch-size 1 fits: it takes 5\.0 GiB of 2\.5 GiB usable$"
    ):
        search(lambda _: 5 * 2**30, 5 * 2**29)
    with pytest.raises(InfeasibleBudgetError, match=r"2\.5 GiB usable\. Try another card$"):
        largest_that_fits(
            lambda _: run_of(5 * 2**30, 5 * 2**29), limit=8, name="batch-size", advice=lambda _: "Try another card."
        )


@pytest.mark.parametrize(
    ("memory", "largest"),
    [
        (lambda value: 5_000_000 + value * value, 2236),  # the root of 5e6 is 2236.07
        (lambda value: 1_000_000 + 3 * value + value * value // 50, 21_138),  # 0.02 x^2 + 3 x = 9e6
        (lambda value: 8_000_000 if value < 77 else 20_000_000, 76),  # nothing to interpolate
    ],
)
def test_where_memory_is_no_line_halving_keeps_the_runs_few(memory, largest):
    found, asked = search(memory, 10_000_000, limit=131_072)
    assert found.value == largest
    assert len(asked) <= 24


def test_an_exact_fit_fits():
    assert search(lambda value: 100 * value, 300)[0].value == 3


def test_a_dry_run_without_a_device_is_a_mistake_of_the_program():
    with pytest.raises(ValueError, match="knows no device"):
        largest_that_fits(lambda _: run_of(1, None), limit=3, name="rank")


def real(value: int) -> int:
    """Memory in steps of 512 bytes, of a straight line and a square."""
    return -(-(3_000_000 + 12_345 * value + value * value // 9) // 512) * 512


USABLE = 40_000_000


def test_with_the_right_expectation_two_runs_are_enough():
    found, asked = search(real, USABLE, expected=real)
    assert asked == [found.value, found.value + 1]
    assert (found.n_runs, found.limited) == (2, False)
    assert found.value == search(real, USABLE)[0].value == by_trial(real, USABLE, 10_000)


@pytest.mark.parametrize(
    ("expected", "most"),
    [
        (lambda value: real(value) + 200_000, 4),  # such as an optimizer with less state
        (lambda value: 3_000_000 + (real(value) - 3_000_000) * 4 // 5, 4),  # outputs that the loop keeps
        (lambda value: 3_000_000 + (real(value) - 3_000_000) * 5 // 4, 5),
    ],
)
def test_an_expectation_that_is_off_by_a_little_costs_a_run_or_two(expected, most):
    found, asked = search(real, USABLE, expected=expected)
    assert found.value == by_trial(real, USABLE, 10_000)
    assert len(asked) <= most < len(search(real, USABLE)[1])


WRONG = [
    lambda value: 0,  # everything fits
    lambda value: 10**12,  # nothing fits
    lambda value: 10**12 - value,  # larger ones need less
    lambda value: value**3,
    lambda value: value**4 + 10**9,
    lambda value: 39_999_000 + value % 1000,
    lambda value: 17 * value,
]


@pytest.mark.parametrize("expected", WRONG)
@pytest.mark.parametrize(
    "memory",
    [real, lambda value: 5, lambda value: 4 * 10**7 - 10_000 + value, lambda value: 10**7 if value < 77 else 5 * 10**7],
)
def test_a_wrong_expectation_changes_nothing_but_the_number_of_runs(expected, memory):
    found, asked = search(memory, USABLE, expected=expected)
    assert found.value == search(memory, USABLE)[0].value == by_trial(memory, USABLE, 10_000)
    assert found.limited == (found.value == 10_000)
    assert len(asked) == len(set(asked)) <= 8 + 14  # halving 10,000 after eight guesses


@given(
    base=st.integers(0, 10**6), slope=st.integers(0, 10**5), square=st.integers(0, 100), usable=st.integers(1, 10**8),
    step=st.sampled_from([1, 512]), limit=st.integers(1, 3000), expected_base=st.integers(0, 10**6),
    expected_slope=st.integers(-10, 10**5), expected_square=st.integers(-1, 100),
)  # fmt: skip
def test_whatever_was_expected_the_answer_is_that_of_trying_every_value(
    base, slope, square, usable, step, limit, expected_base, expected_slope, expected_square
):
    def memory(value: int) -> int:
        return -(-(base + slope * value + square * value * value) // step) * step

    def expected(value: int) -> int:
        return expected_base + expected_slope * value + expected_square * value * value

    if memory(1) > usable:
        with pytest.raises(InfeasibleBudgetError, match="not even batch-size 1 fits"):
            search(memory, usable, limit, expected)
        return
    found, asked = search(memory, usable, limit, expected)
    assert found.value == by_trial(memory, usable, limit)
    assert found.limited == (found.value == limit)
    assert found.n_runs == len(asked) == len(set(asked)) <= 8 + 12
    assert 1 <= min(asked) <= max(asked) <= limit
