"""The largest batch, length or rank that fits a device.

The answer rests on dry runs alone: its own fits, and that of the next value does not. Where to run is guessed. With a
closed form of the memory, such as a stored profile, the first run is where the form says that the device is full, and
what the runs differ from it by corrects it for the next, so two or three do. Without one, memory is taken to grow
linearly, as it almost does with each of the three, and a few runs placed by interpolation find the place. Where both
mislead (eager attention over the length, a form of something else), halving does.

What the allocator reserves is not quite monotonic: a value above the answer may fit again by chance, which nobody
should rely on, and which of several such places is found may depend on where the search began.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from advisor.dryrun.estimate import DryRun
from advisor.errors import InfeasibleBudgetError
from advisor.spec import GIB

_LONGEST_STEP = 8  # times the value known to fit
_PATIENCE = 2  # interpolations that may leave more than half of the range before it is halved
_TRUSTED_FOR = 8  # runs; a closed form that has not led to the answer by then is left alone, and halving does


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
    dry_run: Callable[[int], DryRun],
    *,
    limit: int,
    name: str,
    advice: Callable[[DryRun], str] = lambda _: "",
    expected: Callable[[int], int] | None = None,
) -> Largest:
    """Return the largest value from 1 to `limit` whose dry run fits.

    Args:
        dry_run: Runs one value; the result must know the device.
        limit: Largest value to try.
        name: Of what is searched, for the message.
        advice: What the message says to try when nothing fits.
        expected: Bytes that a value is expected to leave of the device (negative when it is too small), at once and
            without a dry run; None when nothing is known. It may be wrong: then the search takes longer.

    Raises:
        InfeasibleBudgetError: Not even 1 fits; the message says what it takes.
    """
    seen: dict[int, DryRun] = {}
    margins: dict[int, int] = {}

    def fits(value: int) -> bool:
        seen[value] = dry_run(value)
        margin = seen[value].margin_bytes
        if margin is None:
            raise ValueError("the dry run knows no device")
        margins[value] = margin
        return margin >= 0

    low, high, slow, same = 0, limit + 1, 0, 0
    while high - low > 1:
        width = high - low
        if expected is not None:
            guess = _expected_guess(margins, expected, low, high, same)
        elif low:
            guess = (low + high) // 2 if slow >= _PATIENCE else _interpolated(margins, low, high)
            guess = min(guess, low * _LONGEST_STEP)
        else:
            guess = 1
        guess = min(max(guess, low + 1), high - 1)
        if fits(guess):
            low, same = guess, max(0, same) + 1
        else:
            high, same = guess, min(0, same) - 1
        slow = slow + 1 if high in seen and high - low > width / 2 else 0
    if not low:
        raise InfeasibleBudgetError(_nothing_fits(seen[1], name, advice(seen[1])))
    return Largest(value=low, run=seen[low], limited=low == limit, n_runs=len(seen))


def _nothing_fits(run: DryRun, name: str, advice: str) -> str:
    usable, peak = (run.usable_bytes or 0) / GIB, run.peak_memory_bytes / GIB
    said = f"not even {name} 1 fits: it takes {peak:.1f} GiB of {usable:.1f} GiB usable"
    return f"{said}. {advice}".rstrip(". ") if advice else said


def _interpolated(margins: Mapping[int, int], low: int, high: int) -> int:
    """Return where the margin becomes zero on the line through the two nearest known values."""
    others = sorted(value for value in margins if value != low)
    if not others:
        return low * 2
    near = high if high in margins else others[-1]
    slope = (margins[near] - margins[low]) / (near - low)
    return low + int(margins[low] / -slope) if slope < 0 else low * 2


def _expected_guess(margins: Mapping[int, int], expected: Callable[[int], int], low: int, high: int, same: int) -> int:
    """Return where to run next.

    Memory grows in steps, so the form leads close to the answer and then says little. As long as runs end on one side
    of it (`same` times in a row it fitted, or did not, where negative), the next is further away each time.
    """
    middle = (low + high) // 2
    if len(margins) >= _TRUSTED_FOR:
        return middle
    corrected = _corrected(margins, expected, low, high)
    adjacent = corrected in (low, high - 1)  # one more run may end the search
    reach = 2 ** max(0, abs(same) - (2 if adjacent else 1))
    bracketed = reach > 1 and low in margins and high in margins
    if same > 0:
        further = low + reach * max(1, corrected - low)
        return min(further, max(middle, corrected)) if bracketed else further
    further = high - reach * max(1, high - corrected)
    return max(further, min(middle, corrected)) if bracketed else further


def _corrected(margins: Mapping[int, int], expected: Callable[[int], int], low: int, high: int) -> int:
    """Return the largest value between `low` and `high` that is expected to fit, by what is known of the error.

    The error of the closed form is taken to grow linearly: through the errors at the two values nearest to the
    answer, or from none at 0 (where only weights are left) through the only one.
    """
    errors = {value: margin - expected(value) for value, margin in margins.items()}
    nearest = sorted(errors, key=lambda value: abs(margins[value]))[:2]
    if low in errors and high in errors:
        nearest = [low, high]
    points = [(value, errors[value]) for value in nearest]
    (x0, y0), (x1, y1) = [*points, (0, 0), (-1, 0)][:2]
    slope = (y1 - y0) / (x1 - x0)
    below, above = low, high
    while above - below > 1:
        middle = (below + above) // 2
        if expected(middle) + y0 + slope * (middle - x0) >= 0:
            below = middle
        else:
            above = middle
    return below
