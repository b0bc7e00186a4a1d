"""All errors that a user may meet, with the exit code each ends in.

A message is one line: what is wrong, where, and what to do. The command line prints it without a
traceback. Bad input exits with 2, a budget that nothing fits with 3, any other known failure with 1.
"""

from collections.abc import Iterable


class AdvisorError(Exception):
    """A known failure; its message is one line for the user."""

    exit_code: int = 1


class InputError(AdvisorError):
    """The user asked for something that does not exist or does not make sense."""

    exit_code = 2


class DataError(InputError):
    """A dataset, model folder or record file is missing, unreadable or of the wrong form."""


class UnknownNameError(InputError):
    """A task, method, base model or GPU name that the catalogue does not hold."""

    def __init__(
        self, what: str, name: str, known: Iterable[str], hint: str = "", *, near: Iterable[str] | None = None
    ) -> None:
        """Say what was asked for and name the nearest known names.

        Args:
            what: The concept in the user's words, such as "task".
            name: What came.
            known: All names allowed.
            hint: How to see the whole list; appended as it is.
            near: Known names that may be meant; None to look for similar ones.
        """
        known = sorted(known)
        near = nearest_names(name, known) if near is None else list(near)
        said = f"unknown {what} {printable(name)}"
        if near:
            said += f"; nearest: {', '.join(near)}"
        elif 0 < len(known) <= 12:
            said += f"; known: {', '.join(known)}"
        super().__init__(f"{said}{f' ({hint})' if hint else ''}")


class InfeasibleBudgetError(AdvisorError):
    """No candidate fits the memory budget; the message names the closest that would."""

    exit_code = 3


class ReloadCheckError(AdvisorError):
    """The saved adapter, loaded in a fresh process, did not give the metric that training saw."""


def nearest_names(name: str, known: Iterable[str], n: int = 3) -> list[str]:
    """Return up to `n` known names close to `name`, best first (letter case ignored)."""
    from difflib import get_close_matches  # only on the error path: keeps start-up short

    lowered = {candidate.lower(): candidate for candidate in known}
    close = get_close_matches(name.lower(), lowered, n=n, cutoff=0.5)
    inside = [low for low in lowered if len(name) >= 3 and name.lower() in low and low not in close]
    return [lowered[low] for low in (close + inside)[:n]]


def printable(text: str, limit: int = 80) -> str:
    """Quote text from outside for a terminal: control characters escaped, long text cut."""
    quoted = ascii(text) if any(not c.isprintable() for c in text) else repr(text)
    return quoted if len(quoted) <= limit else quoted[: limit - 4] + "...'"
