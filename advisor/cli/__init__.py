"""The command line: one module per command, loaded when it is called, so that `recommend` starts at once."""

import os
import sys
from importlib import import_module

import click

from advisor.errors import AdvisorError, nearest_names

# name -> module and one-line help: the help page must not load torch.
COMMANDS: dict[str, tuple[str, str]] = {
    "recommend": ("advisor.cli.recommend", "Propose base model, PEFT method and hyperparameters for a task and GPU."),
    "estimate": ("advisor.cli.estimate", "Peak memory and step time of any PEFT method on any GPU, without a GPU."),
    "check-data": ("advisor.cli.check_data", "Read a dataset as tune would; say what is wrong or odd about it."),
    "tune": ("advisor.cli.tune", "Search around the proposal with short trials on your data; keep the best adapter."),
    "report": ("advisor.cli.report", "Rebuild report.html and report.md of a finished or running study."),
    "evidence": ("advisor.cli.evidence", "List published results behind the advice, with their sources."),
}


class LazyGroup(click.Group):
    """A group that imports a command's module only when the command runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the command names in the order of the work."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return the command, or None when there is no such command."""
        if cmd_name not in COMMANDS:
            return None
        found: click.Command = import_module(COMMANDS[cmd_name][0]).command
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Say the nearest command names when there is no such command."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            near = nearest_names(args[0], COMMANDS)
            raise click.UsageError(f"no command {args[0]!r}" + (f"; nearest: {', '.join(near)}" if near else ""), ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from the table above instead of importing each."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


def _print_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if not value or ctx.resilient_parsing:
        return
    from importlib.metadata import PackageNotFoundError, version  # a tenth of the start-up time of `recommend`

    try:
        click.echo(f"peft-advisor {version('peft-advisor')}")
    except PackageNotFoundError:
        click.echo("peft-advisor (not installed: running from the source tree)")
    ctx.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, callback=_print_version, expose_value=False, is_eager=True, help="Show the version."
)
def group() -> None:
    """Advice on parameter-efficient fine-tuning (PEFT) of code models.

    `recommend` proposes from published evidence, `tune` tries the proposal out on your data.
    """


def main(args: list[str] | None = None) -> None:
    """Run the command line; known failures end in one line on stderr and their exit code."""
    try:
        group.main(args=args, prog_name="peft-advisor", standalone_mode=False)
    except AdvisorError as error:
        _fail(str(error), error.exit_code)
    except click.Abort:
        _fail("interrupted", 130)
    except click.exceptions.Exit as exit_:
        sys.exit(exit_.exit_code)
    except click.ClickException as error:
        _fail(error.format_message(), error.exit_code)
    except BrokenPipeError:
        # The reader (`| head`) went away; keep Python from complaining when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _fail(message: str, exit_code: int) -> None:
    one_line = " ".join(message.split("\n"))
    click.echo("error: " + "".join(c if c.isprintable() else ascii(c)[1:-1] for c in one_line), err=True)
    sys.exit(exit_code)
