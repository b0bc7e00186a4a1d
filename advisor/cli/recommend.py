"""`peft-advisor recommend`: propose base model, PEFT method and hyperparameters from published evidence."""

import sys
from pathlib import Path
from typing import get_args

import click

from advisor import records
from advisor.errors import InputError
from advisor.recommendation import recommend
from advisor.recommendation.text import render
from advisor.spec import Budget, CodeTask, Preference

_WIDTH = 88
_WIDEST = 120


@click.command(name="recommend")
@click.option("--task", required=True, metavar="TASK", help="What the model shall do, such as clone-detection.")
@click.option("--vram", type=float, metavar="GIB", help="Memory of the GPU in GiB.")
@click.option("--gpu", metavar="NAME", help='GPU of the catalogue, such as "RTX 4090"; gives memory and precision.')
@click.option("--model", metavar="ID", help="Only this base model: hub id or local folder with a config.json.")
@click.option("--method", metavar="METHOD", help="Only this method, such as lora, qlora or ia3.")
@click.option(
    "--prefer",
    type=click.Choice(get_args(Preference)),
    default="quality",
    show_default=True,
    help="What decides between candidates of similar evidence.",
)
@click.option("--top", type=int, default=5, show_default=True, metavar="N", help="How many candidates.")
@click.option("--json", "as_json", is_flag=True, help="Print the record that `tune` reads instead of text.")
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE", help="Write that record to a file as well.")
def command(
    task: str,
    vram: float | None,
    gpu: str | None,
    model: str | None,
    method: str | None,
    prefer: Preference,
    top: int,
    as_json: bool,
    output: Path | None,
) -> None:
    """Propose base model, PEFT method and hyperparameters for a task and GPU.

    Every choice names the published evidence behind it (`peft-advisor evidence ID` opens it) or says that there is
    none. Memory and time come from dry runs of the catalogue's models; `peft-advisor estimate` dry-runs any other.
    `peft-advisor evidence --tasks` lists the tasks.
    """
    if vram is None and gpu is None:
        raise InputError('--vram or --gpu is needed: how much memory there is, such as --vram 24 or --gpu "RTX 4090"')
    found = recommend(
        CodeTask(
            task=task, budget=Budget(vram_gib=vram, gpu=gpu), base_model=model, method=method, prefer=prefer, top=top
        )
    )
    if output is not None:
        _write(found, output)
    click.echo(records.dumps(found) if as_json else render(found, _width(), str(output) if output else None), nl=False)


def _write(found: object, output: Path) -> None:
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
