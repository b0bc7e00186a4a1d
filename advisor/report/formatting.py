"""Numbers and foreign text as the report shows them, the same in HTML and Markdown."""

import json
import math
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime

from advisor.candidates import Candidate
from advisor.catalog.methods import METHODS
from advisor.metrics.registry import METRICS
from advisor.spec import GIB

NONE = "–"
NBSP = "\u00a0"  # keeps a number and its unit on one line
_KEPT = "\n\t\u200c\u200d"  # line ends, tabs, and the joiners that emoji and some scripts need


def visible(text: str) -> str:
    r"""Return text with every character that hides or reorders other text written out as `\\uXXXX`.

    Control characters, bidirectional overrides, zero-width spaces, lone surrogates and non-characters come
    from data and paths; raw, they break a terminal, mirror code on the page or cannot be written as UTF-8.
    """
    text = text.replace("\r\n", "\n")
    if text.isascii() and text.replace("\n", "").replace("\t", "").isprintable():
        return text
    return "".join(_written_out(c) for c in text)


def _written_out(character: str) -> str:
    hidden = unicodedata.category(character) in {"Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp"}
    if character in _KEPT or not hidden:
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def shortened(text: str, limit: int) -> str:
    """Cut text to `limit` characters and say how many were left out."""
    return text if len(text) <= limit else f"{text[:limit]} … [{len(text) - limit:,} more characters]"


def number(value: float | None) -> str:
    """Format a metric: three decimals on a scale up to 1, two above; a dash when there is none."""
    if value is None or not math.isfinite(value):
        return NONE
    digits = 3 if abs(value) <= 1 else 2
    return f"{value:.{digits}f}".replace("-", "−")


def metric_title(name: str) -> str:
    """Return a metric's usual spelling, F1 for `f1`; its name where it is unknown."""
    return next((record.title for known, record in METRICS.items() if known == name), name)


def method_title(slug: str) -> str:
    """Return a method's name for people, its slug where the catalogue does not know it."""
    return METHODS[slug].title if slug in METHODS else slug


def base_title(candidate: Candidate) -> str:
    """Return base model and how its weights are stored, for people."""
    return candidate.base_model + (f" ({candidate.quantization} weights)" if candidate.quantization else "")


def signed(value: float) -> str:
    """Format a difference in a metric with its sign."""
    shown = number(value)
    return f"+{shown}" if value > 0 else shown


def interval(low: float, high: float) -> str:
    """Format a 95 % interval of a difference."""
    return f"{signed(low)} to {signed(high)}"


def span(low: float, high: float) -> str:
    """Format a 95 % interval of a metric."""
    return f"{number(low)} to {number(high)}"


def gib(memory_bytes: int | None) -> str:
    """Format memory in GiB, small amounts in MiB."""
    if memory_bytes is None:
        return NONE
    if memory_bytes < GIB // 10:
        return f"{memory_bytes / 1024**2:.1f}{NBSP}MiB"
    return f"{memory_bytes / GIB:.2f}{NBSP}GiB"


def duration(seconds: float | None) -> str:
    """Format seconds for people: 8.4 s, 12 min 5 s, 3 h 2 min."""
    if seconds is None or not math.isfinite(seconds):
        return NONE
    if seconds < 59.95:
        return f"{seconds:.1f}{NBSP}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [(hours, "h"), (minutes, "min")] if hours else [(minutes, "min"), (rest, "s")]
    return " ".join(f"{count}{NBSP}{unit}" for count, unit in parts if count)


def short_duration(seconds: float) -> str:
    """Format a time that may be a few milliseconds, such as that of one step or one example."""
    return duration(seconds) if seconds >= 1 else f"{1000 * seconds:.3g}{NBSP}ms"


def moment(iso_time: str) -> str:
    """Format an ISO 8601 time to the minute, in UTC; what is not one stays as it is."""
    try:
        time = datetime.fromisoformat(iso_time)
    except ValueError:
        return iso_time
    return f"{time.astimezone(UTC) if time.tzinfo else time:%Y-%m-%d %H:%M}{' UTC' if time.tzinfo else ''}"


def share(part: float, whole: float) -> str:
    """Format a share in percent; nothing of nothing is a dash."""
    return f"{100 * part / whole:.0f}{NBSP}%" if whole else NONE


def value_text(value: object) -> str:
    """Format one hyperparameter value of any JSON type, short: numbers to four figures."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, str):
        return value
    if isinstance(value, (list, tuple)) and all(isinstance(item, (str, int, float)) for item in value):
        return ", ".join(value_text(item) for item in value)
    return json.dumps(value, ensure_ascii=False, default=str)


def settings(values: Mapping[str, object]) -> str:
    """Format hyperparameters on one line: `r=8, lora_alpha=16`."""
    return ", ".join(
        f"{name}=[{value_text(value)}]" if isinstance(value, (list, tuple)) else f"{name}={value_text(value)}"
        for name, value in values.items()
    )


def plural(n: int, one: str, many: str = "") -> str:
    """Return `1 trial`, `1,200 trials`."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def listed(items: list[str]) -> str:
    """Join with commas and a last "and"."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else ""
