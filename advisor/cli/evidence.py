"""`peft-advisor evidence`: the published results behind the advice, what they cover, and the user's own beside them."""

import json
from pathlib import Path

import click

from advisor.cli.task_option import TaskName
from advisor.errors import InputError

_SHOW = "show"


class _ShowByDefault(click.Group):
    """A group whose command `show` runs when none is named: `evidence ID` is `evidence show ID`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `show` before arguments that neither name a command nor ask for help."""
        if not args or (args[0] not in self.commands and args[0] not in self.get_help_option_names(ctx)):
            args = [_SHOW, *args]
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """Say both ways to call it."""
        return ["[OPTIONS] [ID]...  |  COMMAND"]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the options of `show`, which are given without naming it, then the commands."""
        shown = self.commands[_SHOW]
        shown.format_options(ctx, formatter)
        rows = [(name, one.get_short_help_str(80)) for name, one in self.commands.items() if name != _SHOW]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


@click.group(cls=_ShowByDefault, name="evidence")
def command() -> None:
    """List published results behind the advice, with their sources.

    Give ids that `recommend` or a report cites (of rows, or of tables of base models such as evalplus-board), or a
    task, method or model. Each row says what of its source was seen: the full text, a file of its repository, the
    abstract, or somebody else's summary. Results of your own studies that you added stand behind them, marked as local.

    \b
    Example: peft-advisor evidence --task clone-detection --method lora
    """


@command.command(name=_SHOW, hidden=True)
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--task", type=TaskName("general"), metavar="TASK", help="Rows about this task, by name or in words.")
@click.option("--method", metavar="METHOD", help="Rows about this method, such as lora or adapter.")
@click.option("--model", metavar="ID", help="Rows about this base model.")
@click.option("--tasks", "list_tasks", is_flag=True, help="List the tasks with their number of rows.")
@click.option("--taxonomy", is_flag=True, help="Tasks, methods and architectures as a tree, with their rows.")
@click.option("--coverage", is_flag=True, help="Rows by task, method and architecture, or of the one --task.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(
    ids: tuple[str, ...],
    task: str | None,
    method: str | None,
    model: str | None,
    list_tasks: bool,
    taxonomy: bool,
    coverage: bool,
    as_json: bool,
) -> None:
    """Show rows, or what there is."""
    named = {"ids": ids, "--task": task, "--method": method, "--model": model}
    views = {"--tasks": list_tasks, "--taxonomy": taxonomy, "--coverage": coverage}
    chosen = [name for name, asked in views.items() if asked]
    if chosen:
        needless = [*chosen[1:], *(name for name, given in named.items() if given)]
        if needless and (chosen[0], needless) != ("--coverage", ["--task"]):
            raise InputError(f"{chosen[0]} shows all there is; leave {', '.join(needless)} out")
        return _overview(chosen[0], task, as_json)
    if not any(named.values()):
        raise InputError("give ids of evidence, --task, --method or --model; --tasks lists the tasks")
    if ids and (task or method or model):
        raise InputError("give either ids or --task, --method and --model, not both")
    if ids:
        return _by_id(ids, as_json)
    return _selected(task, method, model, as_json)


@command.command(name="add")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the study's name, the ids and the file as JSON.")
def add(folder: Path, as_json: bool) -> None:
    """Keep the results of a finished study as evidence of your own.

    DIR is the folder that `tune` wrote. The rows stay on this machine, in the folder that PEFT_ADVISOR_DATA names or
    else in the system's folder for data of programs. Adding a study again replaces its rows.
    """
    from advisor.evidence.local import add_local, local_file
    from advisor.report.own_evidence import rows_of_study

    rows = rows_of_study(folder)
    n_replaced = add_local(rows)
    if as_json:
        ids = [row.id for row in rows]
        _print_json({"study": rows[0].study, "ids": ids, "n_replaced": n_replaced, "file": str(local_file())})
        return
    instead = f" instead of {n_replaced}" if n_replaced else ""
    click.echo(f"{len(rows)} rows kept{instead} as study {rows[0].study} in {local_file()}", err=True)
    for row in rows:
        click.echo(row.id)


@command.command(name="list-local")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_local(as_json: bool) -> None:
    """List the results of your own studies that were added."""
    from advisor.evidence.local import local_file, read_local
    from advisor.evidence.text import render_rows

    rows = read_local()
    if as_json:
        _print_json(rows)
    elif rows:
        click.echo(render_rows(rows), nl=False)
    else:
        click.echo(f"no local evidence: nothing was added to {local_file()} (`peft-advisor evidence add DIR` does)")


@command.command(name="remove-local")
@click.argument("names", nargs=-1, metavar="[ID_OR_STUDY]...")
@click.option("--all", "everything", is_flag=True, help="Remove all of them.")
@click.option("--json", "as_json", is_flag=True, help="Print the number of rows removed as JSON.")
def remove_local(names: tuple[str, ...], everything: bool, as_json: bool) -> None:
    """Remove results of your own studies: single rows, whole studies, or all."""
    from advisor.evidence import local

    if everything == bool(names):
        raise InputError("give ids or studies as `peft-advisor evidence list-local` shows them, or --all")
    n_removed = local.remove_all_local() if everything else len(local.remove_local(names))
    if as_json:
        _print_json({"n_removed": n_removed})
        return
    click.echo(f"{n_removed} {'row' if n_removed == 1 else 'rows'} removed", err=True)


def _overview(view: str, task: str | None, as_json: bool) -> None:
    from advisor.evidence.coverage import count_cells, count_leaves
    from advisor.evidence.coverage_text import render_coverage, render_taxonomy
    from advisor.evidence.query import count_by_task
    from advisor.evidence.text import render_tasks

    if view == "--tasks":
        counts = count_by_task()
        click.echo(json.dumps(counts, indent=2) if as_json else render_tasks(counts), nl=as_json)
    elif view == "--taxonomy":
        leaves = count_leaves()
        _print_json(leaves) if as_json else click.echo(render_taxonomy(leaves), nl=False)
    else:
        coverage = count_cells(task)
        _print_json(coverage) if as_json else click.echo(render_coverage(coverage), nl=False)


def _by_id(ids: tuple[str, ...], as_json: bool) -> None:
    """Show rows, and tables of base models by the name of the group that a reason cites."""
    from advisor.evidence.capability_text import figures_of, groups, render_group
    from advisor.evidence.query import look_up
    from advisor.evidence.text import render_rows

    known = groups()
    tables = [id_ for id_ in dict.fromkeys(ids) if id_ in known]
    rows = look_up(id_ for id_ in ids if id_ not in tables)  # before anything is printed: an id may be unknown
    if as_json:
        _print_json([*(figure for table in tables for figure in figures_of(table)), *rows])
        return
    for table in tables:
        click.echo(render_group(table), nl=False)
    if rows:
        click.echo(render_rows(rows), nl=False)


def _selected(task: str | None, method: str | None, model: str | None, as_json: bool) -> None:
    from advisor.evidence.query import select_all
    from advisor.evidence.text import render_rows

    rows = select_all(task, method, model)
    if as_json:
        _print_json(rows)
    elif rows:
        click.echo(render_rows(rows), nl=False)
    else:
        asked = ", ".join(part for part in (task, method, model) if part)
        click.echo(f"no evidence: nothing published on {asked} has been collected")


def _print_json(value: object) -> None:
    from advisor.records import to_plain

    click.echo(json.dumps(to_plain(value), indent=2, ensure_ascii=False))
