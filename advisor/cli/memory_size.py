"""The value of `--vram`, the same for every command that takes one: a number of GiB."""

import re

import click

_NUMBER_AND_UNIT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(?:g|gb|gib)\s*", re.IGNORECASE)


class MemorySize(click.ParamType[float]):
    """A number of GiB without its unit, which the option's name on the help page says."""

    name = "GIB"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number.

        Raises:
            click.BadParameter: It is none; with a unit the message has the number alone.
        """
        try:
            return float(str(value))
        except ValueError:
            found = _NUMBER_AND_UNIT.fullmatch(str(value))
            number = found.group(1) if found else "24"
            self.fail(f"{value!r} is not a number of GiB; give it without a unit, such as --vram {number}", param, ctx)
