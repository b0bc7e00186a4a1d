"""Time limits as people write them: 30m, 90s, 1h30m."""

import re

from advisor.errors import InputError, printable

_UNITS_S = {"h": 3600, "m": 60, "s": 1}


def parse_duration(text: str) -> float:
    """Return seconds.

    Raises:
        InputError: Not a duration, or zero.
    """
    found = re.fullmatch(r"(?:([0-9]{1,6})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,7})s)?", text.strip().lower())
    seconds = sum(int(n) * unit for n, unit in zip(found.groups(), _UNITS_S.values(), strict=True) if n) if found else 0
    if seconds == 0:
        raise InputError(f"--time: {printable(text)} is not a duration; write it as 30m, 90s or 1h30m")
    return float(seconds)
