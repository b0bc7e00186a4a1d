"""Values of hyperparameters against the types that PEFT's configuration classes declare.

PEFT itself checks few of them: a rank of "abc" fails deep inside, with a message that names neither rank nor value.
"""

import types
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from peft import PeftConfig

from advisor.errors import InputError, printable

# Numbers that sizes of tensors come from: (smallest, largest). Ranks beyond any matrix cost time and tell nothing.
_RANGES: dict[str, tuple[int, int]] = {
    "r": (1, 100_000), "init_r": (1, 100_000), "target_r": (1, 100_000), "num_virtual_tokens": (1, 1_000_000),
    "encoder_hidden_size": (1, 1_000_000), "encoder_num_layers": (1, 1000),
}  # fmt: skip
_WORDS: dict[Any, str] = {
    int: "a whole number", float: "a number", bool: "true or false", str: "text", list: "a list", dict: "a mapping",
    type(None): "null",
}  # fmt: skip


def check_values(config_class: type[PeftConfig], values: Mapping[str, object], source: str) -> None:
    """Refuse values of a wrong type or out of range; names that the class does not have are left alone.

    Args:
        config_class: PEFT's configuration of the method.
        values: By the names of its fields.
        source: What an error calls the place the values come from.

    Raises:
        InputError: The first wrong value.
    """
    hints = get_type_hints(config_class)
    defaults = {field.name: field.default for field in fields(config_class)}
    for name, value in values.items():
        if name not in hints or (value is None and defaults.get(name) is None) or value == 0 == defaults.get(name):
            continue  # the class's own "not given", whatever the declared type says
        if not _matches(value, hints[name], scales="alpha" in name):
            raise InputError(f"{source} {name}={shown(value)}: must be {_described(hints[name])}")
        least, most = _RANGES.get(name, (None, None))
        if least is not None and most is not None and isinstance(value, int) and not least <= value <= most:
            raise InputError(f"{source} {name}={value}: must be from {least} to {most}")


def shown(value: object, limit: int = 80) -> str:
    """Return a value as a message names it: texts quoted, whatever it is on one line and not too long."""
    return printable(value, limit) if isinstance(value, str) else printable(str(value), limit)[1:-1]


def _matches(value: object, hint: Any, *, scales: bool) -> bool:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return any(_matches(value, one, scales=scales) for one in get_args(hint))
    if origin is Literal:
        return any(_is_choice(value, choice) for choice in get_args(hint))
    kind = origin or hint
    if kind is bool:
        return isinstance(value, bool)
    if kind is float or (kind is int and scales):  # scales such as lora_alpha are declared whole, but need not be
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if kind is list:
        return isinstance(value, (list, tuple, set))
    if kind in (str, dict, type(None)):
        return isinstance(value, kind)
    return True  # configurations within configurations, enumerations: PEFT's own check must do


def _is_choice(value: object, choice: object) -> bool:
    if isinstance(choice, str) and isinstance(value, str) and "[" in choice:  # "pissa_niter_[number of iters]"
        return value.startswith(choice.partition("[")[0])
    return type(value) is type(choice) and value == choice


def _described(hint: Any) -> str:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        # Python remembers equal unions in the order first written anywhere, so the order says nothing.
        return " or ".join(sorted({_described(one) for one in get_args(hint)}, key=lambda word: (word == "null", word)))
    if origin is Literal:
        return "one of " + ", ".join(str(choice) for choice in get_args(hint))
    kind = origin or hint
    return _WORDS.get(kind, str(getattr(kind, "__name__", kind)))
