"""The command line: one module per command, loaded when it is called, so that `recommend` starts at once."""

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING

import click

from advisor.errors import AdvisorError, nearest_names

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

# name -> module and one-line help: the help page must not load torch.
COMMANDS: dict[str, tuple[str, str]] = {
    "recommend": ("advisor.cli.recommend", "Propose base model, PEFT method and hyperparameters for a task and GPU."),
    "estimate": ("advisor.cli.estimate", "Peak memory and step time of any PEFT method on any GPU, without a GPU."),
    "check-data": ("advisor.cli.check_data", "Read a dataset as tune would; say what is wrong or odd about it."),
    "tune": ("advisor.cli.tune", "Search around the proposal with short trials on your data; keep the best adapter."),
    "worker": ("advisor.cli.worker", "Join a study that is in a database and train its trials, from any machine."),
    "predict": ("advisor.cli.predict", "Predict new rows with the best adapter of a finished run."),
    "report": ("advisor.cli.report", "Rebuild report.html and report.md of a finished or running study."),
    "dashboard": ("advisor.cli.dashboard", "Show Optuna's dashboard of a finished or running study, for reading only."),
    "push": ("advisor.cli.push", "Upload the best adapter of a finished run to the Hugging Face hub."),
    "export": ("advisor.cli.export", "Write a script for another training program, or merged weights."),
    "doctor": ("advisor.cli.doctor", "Say what this machine has and what follows from it."),
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
        is_unknown = bool(args) and args[0] not in COMMANDS and not args[0].startswith("-")
        if is_unknown and not ctx.resilient_parsing:  # a shell that completes a line is told nothing
            near = nearest_names(args[0], COMMANDS)
            raise click.UsageError(f"no command {args[0]!r}" + (f"; nearest: {', '.join(near)}" if near else ""), ctx)
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list["CompletionItem"]:
        """Complete names of commands from the table above, for the same reason; options as usual."""
        from click.shell_completion import CompletionItem

        names = [CompletionItem(name, help=text) for name, (_, text) in COMMANDS.items() if name.startswith(incomplete)]
        return [*names, *click.Command.shell_complete(self, ctx, incomplete)]

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
@click.option("--quiet", is_flag=True, help="Log errors only.")
@click.option("--verbose", is_flag=True, help="Log what happens inside too, not warnings and errors alone.")
def group(quiet: bool, verbose: bool) -> None:
    """Advice on parameter-efficient fine-tuning (PEFT) of code models.

    `recommend` proposes from published evidence, `tune` tries the proposal out on your data.
    """
    if quiet and verbose:
        raise click.UsageError("--quiet and --verbose exclude each other")
    if quiet or verbose:
        from advisor.cli.log_lines import show_log  # what `recommend` needs no time for

        show_log("ERROR" if quiet else "INFO")


def main(args: list[str] | None = None) -> None:
    """Run the command line; known failures end in one line on stderr and their exit code."""
    # click does not read NO_COLOR (https://no-color.org), as rich does; None lets it look for a terminal.
    color = False if os.environ.get("NO_COLOR") else None
    try:
        group.main(args=args, prog_name="peft-advisor", standalone_mode=False, color=color)
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
    click.echo(f"error: {one_line(message)}", err=True)
    sys.exit(exit_code)


def one_line(message: str) -> str:
    """Return a message for a terminal: line ends become blanks, control characters their escapes."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in message.replace("\n", " "))
