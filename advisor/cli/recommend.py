"""`peft-advisor recommend`: propose base model, PEFT method and hyperparameters from published evidence."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click

from advisor.cli.memory_size import MemorySize
from advisor.cli.task_option import TaskName
from advisor.errors import InputError
from advisor.spec import Preference, QuantizationChoice

if TYPE_CHECKING:
    from advisor.recommendation.data_sketch import DataSketch, Lengths

_WIDTH = 88
_WIDEST = 120


@click.command(name="recommend")
@click.option(
    "--task",
    type=TaskName(),
    required=True,
    metavar="TASK",
    help='What the model shall do: clone-detection, APR, or in words, such as "write commit messages".',
)
@click.option("--vram", type=MemorySize(), metavar="GIB", help="Memory of the GPU in GiB, such as 24.")
@click.option("--gpu", metavar="NAME", help='GPU of the catalogue, such as "RTX 4090"; gives memory and precision.')
@click.option("--model", metavar="ID", help="Only this base model: hub id or local folder with a config.json.")
@click.option(
    "--hub-config",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Only the base model that the config.json in this folder describes; its weights need not be there.",
)
@click.option("--method", metavar="METHOD", help="Only this method, such as lora, qlora or ia3.")
@click.option(
    "--quantization",
    type=click.Choice(get_args(QuantizationChoice)),
    help="Only this storage of the base weights.  [default: 16 bits, or what fits]",
)
@click.option(
    "--data",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Training data whose rows and lengths count (JSON Lines or CSV; a sample is read).",
)
@click.option(
    "--map", "columns", metavar="FIELD=COLUMN", multiple=True, help="Column of --data that holds a field; repeatable."
)
@click.option("--time", metavar="DURATION", help="Time that training may take, such as 2h; needs --gpu and --data.")
@click.option(
    "--prefer",
    type=click.Choice(get_args(Preference)),
    default="quality",
    show_default=True,
    help="What decides between candidates of similar evidence.",
)
@click.option("--top", type=int, default=5, show_default=True, metavar="N", help="How many candidates at most.")
@click.option("--explain", is_flag=True, help="Print the rows behind the first candidate, with sources and excerpts.")
@click.option("--json", "as_json", is_flag=True, help="Print the record that `tune` reads instead of text.")
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE", help="Write that record to a file as well.")
def command(
    task: str,
    vram: float | None,
    gpu: str | None,
    model: str | None,
    hub_config: Path | None,
    method: str | None,
    quantization: QuantizationChoice | None,
    data: Path | None,
    columns: tuple[str, ...],
    time: str | None,
    prefer: Preference,
    top: int,
    explain: bool,
    as_json: bool,
    output: Path | None,
) -> None:
    """Propose base model, PEFT method and hyperparameters for a task and GPU.

    Every choice names the published evidence behind it (`peft-advisor evidence ID` opens it) or says that there is
    none. Memory and time come from dry runs of the catalogue's models; `peft-advisor estimate` dry-runs any other.
    `peft-advisor evidence --tasks` lists the tasks.

    \b
    Example: peft-advisor recommend --task clone-detection --gpu "RTX 4090" --output rec.json
    """
    if vram is None and gpu is None:
        raise InputError('--vram or --gpu is needed: how much memory there is, such as --vram 24 or --gpu "RTX 4090"')
    if data is None and columns:
        raise InputError("--map names columns of --data, which is missing")
    if explain and as_json:
        raise InputError("--explain prints text; the records of --json hold the ids, `evidence ID --json` the rows")
    sketch = _look_at(data, task, columns) if data is not None else None
    if sketch is not None and sketch.source_tokens is None:
        found_columns = ", ".join(sketch.columns) or "none"
        raise InputError(f"--data {data}: no column for what the model reads among {found_columns}; name it with --map")
    if hub_config is not None:
        model = _model_of(hub_config, model)
    from advisor import records
    from advisor.recommendation import recommend  # what the help page has no need of
    from advisor.recommendation.text import render
    from advisor.spec import Budget, CodeTask

    found = recommend(
        CodeTask(
            task=task,
            budget=Budget(vram_gib=vram, gpu=gpu, time_s=_seconds(time)),
            base_model=model,
            method=method,
            quantization=quantization,
            prefer=prefer,
            top=top,
            n_rows=sketch.rows if sketch else None,
            source_tokens=_p95(sketch.source_tokens) if sketch else None,
            target_tokens=_p95(sketch.target_tokens) if sketch else None,
        )
    )
    if sketch is not None:
        found = replace(found, notes=(f"Data: {sketch.note}", *found.notes))
    if output is not None:
        _write(found, output)
    click.echo(records.dumps(found) if as_json else render(found, _width(), str(output) if output else None), nl=False)
    if explain:
        from advisor.recommendation.explain import explain as explained

        click.echo("\n" + explained(found.candidates[0], _width()), nl=False)


def _seconds(time: str | None) -> float | None:
    from advisor.durations import parse_duration

    return parse_duration(time) if time is not None else None


def _p95(lengths: "Lengths | None") -> int | None:
    return lengths.p95 if lengths is not None else None


def _look_at(data: Path, task: str, columns: tuple[str, ...]) -> "DataSketch":
    """Look at training data whose columns are found as `tune` finds them."""
    from advisor.catalog.tasks import find_task
    from advisor.data.fields import choose_columns, parse_map
    from advisor.recommendation.data_sketch import sketch_data

    asked, chosen = find_task(task), parse_map(columns)
    return sketch_data(data, asked, lambda found: choose_columns(asked, found, chosen, where=str(data)))


def _model_of(hub_config: Path, model: str | None) -> str:
    """Return the folder as the name of a base model."""
    if model is not None:
        raise InputError("--hub-config and --model exclude each other: both name the base model")
    if not hub_config.is_dir():
        raise InputError(f"--hub-config {hub_config}: not a folder; save the model's config.json in one and give that")
    return str(hub_config)


def _write(found: object, output: Path) -> None:
    from advisor import records

    try:
        records.write(found, output)
    except OSError as error:
        raise InputError(f"--output {output}: cannot be written ({error.strerror or error})") from error


def _width() -> int:
    """Columns of the terminal; a fixed number when the text goes elsewhere, so that it is always the same."""
    if not sys.stdout.isatty():
        return _WIDTH
    from shutil import get_terminal_size

    return max(60, min(get_terminal_size((_WIDTH, 24)).columns, _WIDEST))
