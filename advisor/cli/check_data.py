"""`peft-advisor check-data`: read a dataset as `tune` would and say what is wrong or odd about it."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from advisor.cli.data_options import data_options
from advisor.cli.task_option import TaskName
from advisor.spec import Repetition

if TYPE_CHECKING:
    from advisor.trial import Split

_ERRORS_FOUND = 1
_PLACE = click.Path(path_type=Path)


@click.command(name="check-data")
@click.option("--task", type=TaskName(), metavar="TASK", required=True, help="Task that the rows are examples of.")
@click.option("--train", metavar="PLACE", type=_PLACE, help="File, folder with all splits, or dataset of the hub.")
@click.option("--valid", metavar="PLACE", type=_PLACE, help="The same of the validation split.")
@click.option("--test", metavar="PLACE", type=_PLACE, help="The same of the test split.")
@data_options
@click.option("--model", metavar="PATH_OR_ID", help="Measure lengths with the tokenizer of this base model.")
@click.option("--seed", metavar="N", type=int, default=0, show_default=True, help="Seed of splits and sample.")
@click.option("--output", metavar="FILE", type=_PLACE, help="Also write the report there, as JSON.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    task: str,
    train: Path | None,
    valid: Path | None,
    test: Path | None,
    columns: tuple[str, ...],
    shares: str | None,
    group_by: str | None,
    sample: int | None,
    dedup: Repetition | None,
    model: str | None,
    seed: int,
    output: Path | None,
    as_json: bool,
) -> None:
    """Read a dataset as `tune` would and say what is wrong or odd about it.

    PLACE is a JSON Lines, CSV or Parquet file, a folder with one file per split, or a dataset of the Hugging Face hub.
    Exits with 1 when the data has errors, with 2 when the command itself is wrong.

    \b
    Example: peft-advisor check-data --task clone-detection --train pairs.csv --split 80/10/10
    """
    from advisor import records
    from advisor.catalog.tasks import find_task
    from advisor.cli.check_data_view import show_report
    from advisor.data.dataset import DataRequest, read_dataset, report_on
    from advisor.data.fields import parse_map
    from advisor.data.findings import unreadable
    from advisor.data.splitting import parse_shares
    from advisor.errors import DataError

    found = find_task(task)
    named: dict[Split, Path | None] = {"train": train, "valid": valid, "test": test}
    request = DataRequest(
        places={split: place for split, place in named.items() if place is not None},
        columns=parse_map(columns),
        split=parse_shares(shares) if shares is not None else None,
        sample=sample,
        dedup=dedup,
        group_by=group_by,
        seed=seed,
    )
    counter = None
    if model is not None:
        from advisor.modeling.token_counter import token_counter  # takes seconds to import

        counter = token_counter(model)
    try:
        report = report_on(read_dataset(request, found), found, counter=counter)
    except DataError as error:
        report = unreadable(task, str(error))
    if output is not None:
        records.write(report, output)
    if as_json:
        click.echo(records.dumps(report), nl=False)
    else:
        show_report(report)
    if report.messages("error"):
        sys.exit(_ERRORS_FOUND)
