"""Exceptions of a runner on their way from the process of a worker to the study, in kind."""

from collections.abc import Mapping

from advisor.errors import AdvisorError, DataError

# What a runner raises on purpose; anything else is a bug or a lost device and comes back as an AdvisorError.
_KINDS: Mapping[str, type[Exception]] = {"DataError": DataError, "RuntimeError": RuntimeError, "OSError": OSError}


def told(error: Exception) -> tuple[str, str]:
    """Return the kind of an exception and its text, as they are sent."""
    kind = next((name for name, known in _KINDS.items() if isinstance(error, known)), AdvisorError.__name__)
    return kind, str(error) or type(error).__name__


def raised(kind: str, text: str) -> Exception:
    """Return the exception that was sent as this kind and text."""
    return _KINDS.get(kind, AdvisorError)(text)
