"""Times as people write and read them."""

import re

from advisor.errors import InputError, printable

_UNITS_S = {"h": 3600, "m": 60, "s": 1}


def rough_duration(seconds: float) -> str:
    """Return seconds for people, no more exact than an estimate is: 240 ms, 3.5 s, 12 min, 1.5 h, 3.0 days."""
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"


def parse_duration(text: str, option: str = "--time") -> float:
    """Return the seconds of a time limit, written as 30m, 90s or 1h30m.

    Args:
        text: What was given.
        option: What it was given to, for the message.

    Raises:
        InputError: Not a duration, or zero.
    """
    found = re.fullmatch(r"(?:([0-9]{1,6})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,7})s)?", text.strip().lower())
    seconds = sum(int(n) * unit for n, unit in zip(found.groups(), _UNITS_S.values(), strict=True) if n) if found else 0
    if seconds == 0:
        raise InputError(f"{option}: {printable(text)} is not a duration; write it as 30m, 90s or 1h30m")
    return float(seconds)
