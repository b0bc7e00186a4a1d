"""`peft-advisor report`: rebuild the pages of a study from its records."""

from pathlib import Path

import click


@click.command(name="report")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
def command(folder: Path) -> None:
    """Rebuild report.html and report.md of a finished or running study.

    DIR is the folder that `tune` wrote. Only its records are read; no model is loaded.
    """
    from advisor.report import write_report

    for path in write_report(folder):
        click.echo(path)
