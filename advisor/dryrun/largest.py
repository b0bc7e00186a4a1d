"""The largest batch, length or rank that fits a device.

Memory grows almost linearly with each of the three, so a few dry runs placed by linear interpolation find the place
where it stops fitting. What the allocator reserves is not quite monotonic: a value above the answer may fit again by
chance, which nobody should rely on.
"""

from collections.abc import Callable
from dataclasses import dataclass

from advisor.dryrun.estimate import DryRun
from advisor.errors import InfeasibleBudgetError

_LONGEST_STEP = 8  # times the value known to fit


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


def largest_that_fits(dry_run: Callable[[int], DryRun], *, limit: int, name: str) -> Largest:
    """Return the largest value from 1 to `limit` whose dry run fits.

    Args:
        dry_run: Runs one value; the result must know the device.
        limit: Largest value to try.
        name: Of what is searched, for the message.

    Raises:
        InfeasibleBudgetError: Not even 1 fits.
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
        short = -margin(1) / 2**30
        raise InfeasibleBudgetError(f"not even {name} 1 fits: {short:.1f} GiB are missing; quantize or checkpoint")
    low, high = 1, None
    while high is None or high - low > 1:
        ceiling = min(limit, low * _LONGEST_STEP) if high is None else high - 1
        if ceiling <= low:
            break
        guess = _interpolated({value: run.margin_bytes or 0 for value, run in seen.items()}, low, high)
        guess = min(max(guess, low + 1), ceiling)
        if margin(guess) >= 0:
            low = guess
            if low == limit:
                break
        else:
            high = guess
    return Largest(value=low, run=seen[low], limited=low == limit, n_runs=len(seen))


def _interpolated(margins: dict[int, int], low: int, high: int | None) -> int:
    """Return where the margin becomes zero on the line through the two nearest known values."""
    others = sorted(value for value in margins if value != low)
    if not others:
        return low * 2
    near = high if high is not None else others[-1] if others[-1] < low else others[0]
    slope = (margins[near] - margins[low]) / (near - low)
    return low + int(margins[low] / -slope) if slope < 0 else low * 2
