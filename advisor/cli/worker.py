"""`peft-advisor worker`: join a study that is in a database."""

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from advisor.cli.tune import Count

if TYPE_CHECKING:
    from advisor.tuning.joining import Joined

_FILE = click.Path(path_type=Path)


@click.command(name="worker")
@click.option(
    "--storage",
    metavar="URL",
    envvar="PEFT_ADVISOR_STORAGE",
    required=True,
    show_envvar=True,
    help="PostgreSQL database that the study is in, such as postgresql+psycopg://user@host/database.",
)
@click.option("--study", metavar="NAME", required=True, help="Name of the study in that database.")
@click.option(
    "--output", metavar="DIR", type=_FILE, help="Run folder as this machine sees it.  [default: the path tune had]"
)
@click.option("--device", metavar="DEVICE", help="cpu, cuda, cuda:1 or mps.  [default: the best there is]")
@click.option(
    "--workers",
    type=Count("workers"),
    metavar="N",
    default=1,
    show_default=True,
    help="Processes that train trials here, each on a GPU of its own; auto for as many as there is room for.",
)
@click.option(
    "--pack",
    metavar="N",
    type=Count("trials", off=True),
    help="Trials in one forward and backward pass: a number, off, or auto to measure how many pay.  [default: auto]",
)
@click.option(
    "--time", "time_limit", metavar="DURATION", help="Leave after this time, such as 2h; trials are handed on."
)
@click.option(
    "--wait", metavar="DURATION", default="10m", show_default=True, help="Wait this long for a study that is not there."
)
@click.option("--json", "as_json", is_flag=True, help="Print what it did as one JSON object; progress stays on stderr.")
def command(
    storage: str,
    study: str,
    output: Path | None,
    device: str | None,
    workers: int | None,
    pack: int | None,
    time_limit: str | None,
    wait: str,
    as_json: bool,
) -> None:
    """Train trials of a study that `tune --storage` leads, until it is over.

    Any number of workers may join and leave at any time. Ctrl-C, SIGTERM or SIGUSR1 makes this one leave at the next
    rung; its trials go on elsewhere from their last rung. The run folder and the data must be at the same paths as for
    tune. A password belongs into PGPASSWORD, a file named by PGPASSFILE, or the environment variable of --storage.

    \b
    Example: peft-advisor worker --storage postgresql+psycopg://me@db/studies --study clones
    """
    # See `tune`.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from advisor.durations import parse_duration
    from advisor.search.sharing import Address
    from advisor.tuning.joining import JoinRequest, join
    from advisor.tuning.shared_study import checked_storage

    request = JoinRequest(
        address=Address(url=checked_storage(storage) or "", study=study),
        output=output,
        device=device,
        workers=workers,
        pack=pack,
        time_limit_s=None if time_limit is None else parse_duration(time_limit),
        wait_s=parse_duration(wait, "--wait"),
    )

    from advisor import records
    from advisor.cli.tune_live import plain_console
    from advisor.cli.tune_view import TuneView

    with TuneView(plain_console() if as_json else None) as view:
        joined = join(request, view)
    if as_json:
        click.echo(records.dumps(joined), nl=False)
    else:
        _show(joined)
    if joined.left == "asked":  # a scheduler starts another one, which it would not after 0
        sys.exit(128 + (view.left_by or signal.SIGINT))


def _show(joined: "Joined") -> None:
    """Say in one line what a worker did and why it left."""
    from advisor.report.formatting import plural

    why = {"over": "The study is over", "time": "The time is up", "asked": "Asked to leave"}[joined.left]
    handed = "" if joined.left == "over" else "; what it trained goes on elsewhere from the last rung"
    click.echo(
        f"{why}: this worker finished {plural(joined.n_finished, 'trial')}, the study has {joined.n_in_all} of "
        f"{joined.n_trials}{handed}.",
        err=True,
    )
