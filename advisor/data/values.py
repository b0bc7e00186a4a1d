"""Whether a value can be a field of an example; each function returns what is wrong with it, or None."""

from advisor.data.files import kind_of
from advisor.errors import printable

# Stands for the value of a column that a row does not have.
MISSING = object()
# What a label of a search may be, and what it means.
ANSWERS = {"1": "1", "true": "1", "0": "0", "false": "0"}


def text_problem(name: str, value: object) -> str | None:
    """Check a text: any characters but half ones."""
    if not isinstance(value, str):
        return f"field {name!r}: expected text, found {kind_of(value)}"
    return _half_character(name, value)


def label_problem(label: object, *, is_answer: bool) -> str | None:
    """Check a label: an integer, a word or true/false, and for a search one that says yes or no."""
    if not isinstance(label, str | int):
        return f"field 'label': expected an integer, text or true/false, found {kind_of(label)}"
    if isinstance(label, str) and _is_blank(label):
        return f"field 'label': {printable(label)} is blank or has blanks around it"
    if is_answer and str(label).lower() not in ANSWERS:
        return f"field 'label': {printable(str(label))} is not 1 (answers the query) or 0"
    return None


def labels_problem(labels: object) -> str | None:
    """Check a list of labels, which may be empty: integers or words, all of one kind."""
    if not isinstance(labels, list):
        return f"field 'labels': expected a list, found {kind_of(labels)}"
    for label in labels:
        if isinstance(label, bool) or not isinstance(label, str | int):
            return f"field 'labels': expected a list of texts or integers, found {kind_of(label)} in it"
        if isinstance(label, str) and _is_blank(label):
            return f"field 'labels': {printable(label)} is blank or has blanks around it"
    if len({type(label) for label in labels}) > 1:
        return "field 'labels': mixes texts and integers"
    return None


def id_problem(name: str, value: object) -> str | None:
    """Check an id, which may be missing: text or an integer."""
    if value is None or value is MISSING:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int):
        return f"field {name!r}: expected text or an integer, found {kind_of(value)}"
    return _half_character(name, value) if isinstance(value, str) else None


def _half_character(name: str, text: str) -> str | None:
    return f"field {name!r}: holds half a character (a lone surrogate)" if _has_surrogate(text) else None


def _is_blank(text: str) -> bool:
    return not text.strip() or text != text.strip() or _has_surrogate(text)


def _has_surrogate(text: str) -> bool:
    return not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text)
