"""Does an excerpt hold a number? What is cited with a figure must show that figure to whoever opens the source.

Numbers are read as papers write them: `1e-4`, `10^-4`, `3 x 10^{-4}`, `356,712,448`, `.05`, `97 %`. A percentage also
counts as its fraction, and a fraction as its percentage, since papers and evidence differ in that. Not covered: numbers
in words, and numbers with decimal commas.
"""

import math
import re
from functools import cache

_MINUS = str.maketrans({"\u2212": "-", "\u2013": "-", "\u2011": "-", "{": " ", "}": " ", "$": " ", "\\": " "})
_NUMBER = re.compile(r"(?<![\w.])(\d[\d,]*(?:\.\d+)?|\.\d+)(?:[eE]([-+]?\d+))?")
_POWER = re.compile(r"(?:(\d+(?:\.\d+)?)\s*(?:[x*\u00d7\u00b7]|times|cdot)\s*)?10\s*\^\s*([-+]?\s*\d+)")
_SAME = 1e-6


def holds(excerpt: str, number: float, *, as_percentage: bool = True) -> bool:
    """Return whether this number stands in the excerpt, sign left out of account.

    Args:
        excerpt: Where to look.
        number: What is looked for.
        as_percentage: A hundred times or a hundredth of it counts too; a learning rate is never told so, and 3e-4
            would be found in every table with a 0.03.
    """
    wanted = abs(number)
    forms = (wanted, wanted * 100, wanted / 100) if as_percentage else (wanted,)
    return any(
        math.isclose(found, other, rel_tol=_SAME, abs_tol=1e-12) for found in _numbers(excerpt) for other in forms
    )


@cache
def _numbers(excerpt: str) -> tuple[float, ...]:
    text = excerpt.translate(_MINUS)
    found = [float(power[1] or 1) * 10.0 ** int(power[2].replace(" ", "")) for power in _POWER.finditer(text)]
    for one in _NUMBER.finditer(text):
        found.append(float(one[1].replace(",", "").rstrip(".")) * 10.0 ** int(one[2] or 0))
        if "," in one[1]:  # a list without blanks, not thousands
            found += [float(part) for part in one[1].split(",") if part]
    return tuple(found)
