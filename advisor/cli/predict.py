"""`peft-advisor predict`: the adapter of a finished run, asked about new rows."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from advisor.tuning.prediction import RowPrediction

_PLACE = click.Path(path_type=Path)


@click.command(name="predict")
@click.argument("folder", metavar="DIR", type=_PLACE)
@click.option(
    "--input", "rows", metavar="FILE", type=_PLACE, required=True, help="Rows to predict; labels need not be there."
)
@click.option("--output", metavar="FILE", type=_PLACE, help="Write there instead of printing; can be continued.")
@click.option(
    "--map",
    "columns",
    metavar="FIELD=COLUMN",
    multiple=True,
    help="Column that holds a field, such as code=func; may be repeated.",
)
@click.option("--codebase", metavar="FILE", type=_PLACE, help="Code that a code search searches (code_id, code).")
@click.option("--batch-size", metavar="N", type=int, default=32, show_default=True, help="Rows at once.")
@click.option("--limit", metavar="N", type=int, help="Predict the first N rows only.")
@click.option("--device", metavar="DEVICE", help="cpu, cuda, cuda:1 or mps.  [default: the best there is]")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print one JSON document: an array of the predictions, or with --output what was written.",
)
def command(
    folder: Path,
    rows: Path,
    output: Path | None,
    columns: tuple[str, ...],
    codebase: Path | None,
    batch_size: int,
    limit: int | None,
    device: str | None,
    as_json: bool,
) -> None:
    """Predict new rows with the best adapter of a finished run.

    DIR is the folder that `tune` wrote. Rows are JSON Lines, also packed (.gz, .zst), CSV or Parquet; each becomes one
    JSON line, in their order, made as the study made its answers (length, prompt, threshold). The same command with
    the same --output goes on where it was interrupted.

    \b
    Example: peft-advisor predict studies/my-run --input new.jsonl --output answers.jsonl
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # see `tune`
    from advisor import records
    from advisor.data.fields import parse_map
    from advisor.tuning.prediction import PredictionRequest, prepare_prediction

    run = prepare_prediction(
        PredictionRequest(
            folder=folder,
            input=rows,
            output=output,
            batch_size=batch_size,
            columns=parse_map(columns),
            device=device,
            limit=limit,
            codebase=codebase,
        )
    )
    from advisor.cli.predict_view import PredictView, summary_of  # not before the input is found good
    from advisor.cli.tune_live import plain_console

    console = plain_console() if as_json else None
    with PredictView(n_rows=run.rows.n_rows, n_done=run.n_done, can_go_on=output is not None, console=console) as view:
        if output is None:
            _print(run.predictions(view), as_json)
            return
        summary = run.write(view)
    click.echo(records.dumps(summary) if as_json else f"{summary_of(summary)}\n", nl=False)


def _print(predictions: "Iterator[Sequence[RowPrediction]]", as_json: bool) -> None:
    """Print predictions as they come: a line each, as JSON the elements of one array.

    Nothing is printed before the first, so that a model that cannot be loaded leaves stdout empty.
    """
    from advisor.tuning.prediction.rows import line_of

    if not as_json:
        for found in predictions:
            click.echo("".join(map(line_of, found)), nl=False)
        return
    before = "[\n"
    for found in predictions:
        for one in found:
            click.echo(before + line_of(one).rstrip("\n"), nl=False)
            before = ",\n"
    click.echo("[]" if before == "[\n" else "\n]")
