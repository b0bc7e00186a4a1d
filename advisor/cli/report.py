"""`peft-advisor report`: rebuild the pages of a study from its records."""

from pathlib import Path

import click


@click.command(name="report")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print verdict, metrics with intervals and paths as JSON.")
def command(folder: Path, as_json: bool) -> None:
    """Rebuild report.html and report.md of a finished or running study.

    DIR is the folder that `tune` wrote. Only its records are read; no model is loaded. Prints the two paths.

    \b
    Example: peft-advisor report studies/my-run
    """
    from advisor.importance import is_wanted
    from advisor.report import write_report

    if is_wanted(folder):
        from advisor.search.importance import keep_importance  # Optuna takes a second to import

        keep_importance(folder)
    paths = write_report(folder)
    if as_json:
        from advisor import records
        from advisor.cli.run_record import run_record

        click.echo(records.dumps(run_record(folder)), nl=False)
        return
    for path in paths:
        click.echo(path)
