"""`peft-advisor evidence`: the published results behind the advice, with their sources."""

import json

import click

from advisor.errors import InputError


@click.command(name="evidence")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--task", metavar="TASK", help="Rows about this task.")
@click.option("--method", metavar="METHOD", help="Rows about this method, such as lora or adapter.")
@click.option("--model", metavar="ID", help="Rows about this base model.")
@click.option("--tasks", "list_tasks", is_flag=True, help="List the tasks with their number of rows.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    ids: tuple[str, ...], task: str | None, method: str | None, model: str | None, list_tasks: bool, as_json: bool
) -> None:
    """List published results behind the advice, with their sources.

    Give ids that `recommend` or a report cites, or a task, method or model. Each row says what of its source was
    seen: the full text, a file of its repository, the abstract, or somebody else's summary.
    """
    from advisor.evidence.query import count_by_task, select
    from advisor.evidence.rows import find_rows
    from advisor.evidence.text import render_rows, render_tasks
    from advisor.records import to_plain

    if list_tasks:
        counts = count_by_task()
        click.echo(json.dumps(counts, indent=2) if as_json else render_tasks(counts), nl=as_json)
        return
    if not (ids or task or method or model):
        raise InputError("give ids of evidence, --task, --method or --model; --tasks lists the tasks")
    if ids and (task or method or model):
        raise InputError("give either ids or --task, --method and --model, not both")
    rows = find_rows(ids) if ids else select(task, method, model)
    if as_json:
        click.echo(json.dumps(to_plain(rows), indent=2, ensure_ascii=False))
    elif rows:
        click.echo(render_rows(rows), nl=False)
    else:
        asked = ", ".join(part for part in (task, method, model) if part)
        click.echo(f"no evidence: nothing published on {asked} has been collected")
