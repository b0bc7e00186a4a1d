"""Options that say how data is read, the same for every command that reads some."""

from collections.abc import Callable
from typing import Any, TypeVar, get_args

import click

from advisor.spec import Repetition

Command = TypeVar("Command", bound=Callable[..., Any])


def data_options(command: Command) -> Command:
    """Add --map, --split, --group-by, --sample and --dedup; a command gets columns, shares, group_by, sample, dedup."""
    options = (
        click.option(
            "--map", "columns", metavar="FIELD=COLUMN", multiple=True,
            help="Column that holds a field, such as code=func; may be repeated.",
        ),
        click.option("--split", "shares", metavar="SHARES", help="Cut one table into splits, such as 80/10/10."),
        click.option("--group-by", metavar="COLUMN", help="Rows with equal values there belong in one split."),
        click.option("--sample", metavar="N", type=int, help="Keep N rows over all splits, by label."),
        click.option(
            "--dedup", type=click.Choice(get_args(Repetition)),
            help="Drop train rows that stand in other splits (exact), or nearly so too (near).",
        ),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command
