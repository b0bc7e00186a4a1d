"""The largest batch, length or rank that fits a device.

Memory grows almost linearly with each of the three, so a few dry runs placed by linear interpolation find the place
where it stops fitting; where it does not (eager attention over the length), halving does. What the allocator reserves
is not quite monotonic: a value above the answer may fit again by chance, which nobody should rely on.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from advisor.dryrun.estimate import DryRun
from advisor.errors import InfeasibleBudgetError
from advisor.spec import GIB

_LONGEST_STEP = 8  # times the value known to fit
_PATIENCE = 2  # interpolations that may leave more than half of the range before it is halved


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
    low, high, slow = 1, limit + 1, 0
    while high - low > 1:
        width = high - low
        guess = (low + high) // 2 if slow >= _PATIENCE else _interpolated(seen, low, high)
        guess = min(max(guess, low + 1), high - 1, low * _LONGEST_STEP)
        if margin(guess) >= 0:
            low = guess
        else:
            high = guess
        slow = slow + 1 if high in seen and high - low > width / 2 else 0
    return Largest(value=low, run=seen[low], limited=low == limit, n_runs=len(seen))


def _nothing_fits(run: DryRun, name: str, advice: str) -> str:
    usable, peak = (run.usable_bytes or 0) / GIB, run.peak_memory_bytes / GIB
    said = f"not even {name} 1 fits: it takes {peak:.1f} GiB of {usable:.1f} GiB usable"
    return f"{said}. {advice}".rstrip(". ") if advice else said


def _interpolated(seen: Mapping[int, DryRun], low: int, high: int) -> int:
    """Return where the margin becomes zero on the line through the two nearest known values."""
    others = sorted(value for value in seen if value != low)
    if not others:
        return low * 2
    near = high if high in seen else others[-1]
    slope = ((seen[near].margin_bytes or 0) - (seen[low].margin_bytes or 0)) / (near - low)
    return low + int((seen[low].margin_bytes or 0) / -slope) if slope < 0 else low * 2
