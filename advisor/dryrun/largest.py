"""The largest batch, length or rank that fits a device.

Memory grows almost linearly with each of the three, so a few dry runs placed by linear interpolation find the place
where it stops fitting; where it does not (eager attention over the length), halving does. What the allocator reserves
is not quite monotonic: a value above the answer may fit again by chance, which nobody should rely on.
"""

from collections.abc import Callable
from dataclasses import dataclass

from advisor.dryrun.estimate import DryRun
from advisor.errors import InfeasibleBudgetError
from advisor.spec import GIB

_LONGEST_STEP = 8  # times the value known to fit
_PATIENCE = 2  # interpolations that may end on the same side before the rest is halved


@dataclass(frozen=True, slots=True, kw_only=True)
class Largest:
    """The answer of a search.

    Attributes:
        value: Largest value that fits.
        run: Its dry run.
        limited: The value is the limit of the search, not of the memory.
        n_runs: Dry runs that were needed.
    """

    value: int
    run: DryRun
    limited: bool
    n_runs: int


def largest_that_fits(
    dry_run: Callable[[int], DryRun], *, limit: int, name: str, advice: Callable[[DryRun], str] = lambda _: ""
) -> Largest:
    """Return the largest value from 1 to `limit` whose dry run fits.

    Args:
        dry_run: Runs one value; the result must know the device.
        limit: Largest value to try.
        name: Of what is searched, for the message.
        advice: What the message says to try when nothing fits.

    Raises:
        InfeasibleBudgetError: Not even 1 fits; the message says what it takes.
    """
    seen: dict[int, DryRun] = {}

    def margin(value: int) -> int:
        if value not in seen:
            seen[value] = dry_run(value)
        found = seen[value].margin_bytes
        if found is None:
            raise ValueError("the dry run knows no device")
        return found

    if margin(1) < 0:
        raise InfeasibleBudgetError(_nothing_fits(seen[1], name, advice(seen[1])))
    low, high, stuck = 1, None, 0
    while low < limit and (high is None or high - low > 1):
        if stuck > _PATIENCE and high is not None:
            guess = (low + high) // 2
        else:
            guess = _interpolated({value: run.margin_bytes or 0 for value, run in seen.items()}, low, high)
        guess = min(max(guess, low + 1), limit if high is None else high - 1, low * _LONGEST_STEP)
        if margin(guess) >= 0:
            low, stuck = guess, stuck + 1
        else:
            high, stuck = guess, 0 if high is None else stuck + 1
    return Largest(value=low, run=seen[low], limited=low == limit, n_runs=len(seen))


def _nothing_fits(run: DryRun, name: str, advice: str) -> str:
    usable, peak = (run.usable_bytes or 0) / GIB, run.peak_memory_bytes / GIB
    said = f"not even {name} 1 fits: it takes {peak:.1f} GiB of {usable:.1f} GiB usable"
    return f"{said}. {advice}".rstrip(". ") if advice else said


def _interpolated(margins: dict[int, int], low: int, high: int | None) -> int:
    """Return where the margin becomes zero on the line through the two nearest known values."""
    others = sorted(value for value in margins if value != low)
    if not others:
        return low * 2
    near = high if high is not None else others[-1] if others[-1] < low else others[0]
    slope = (margins[near] - margins[low]) / (near - low)
    return low + int(margins[low] / -slope) if slope < 0 else low * 2
