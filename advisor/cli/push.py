"""`peft-advisor push`: the adapter of a finished run on the Hugging Face hub."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from advisor.report.publishing import PublishSummary


@click.command(name="push")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--repo", metavar="OWNER/NAME", required=True, help="Repository on the hub; made where there is none.")
@click.option("--private/--public", default=True, show_default=True, help="Who can see a repository that is made.")
@click.option("--revision", metavar="BRANCH", help="Branch, made where there is none.  [default: main]")
@click.option("--message", metavar="TEXT", help="Of the commit.  [default: task, method and base model]")
@click.option("--base-model", metavar="OWNER/NAME", help="Base model on the hub, where the adapter names a folder.")
@click.option("--include-report", is_flag=True, help="Upload report.html and report.md, without rows of your data.")
@click.option("--dry-run", is_flag=True, help="List the files and their sizes; upload nothing, ask no network.")
@click.option("--force", is_flag=True, help="Upload even if the adapter failed its reload check.")
@click.option("--json", "as_json", is_flag=True, help="Say as JSON what was uploaded.")
def command(
    folder: Path,
    repo: str,
    private: bool,
    revision: str | None,
    message: str | None,
    base_model: str | None,
    include_report: bool,
    dry_run: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Upload the best adapter of a finished run to the Hugging Face hub.

    DIR is the folder that `tune` wrote. Uploaded are the adapter, its tokenizer and its model card in one commit; your
    data and predictions never are. Log in first with `hf auth login`, or set HF_TOKEN.

    \b
    Example: peft-advisor push studies/my-run --repo me/my-adapter --dry-run
    """
    from advisor import records
    from advisor.report.publishing import PublishRequest, prepare_publication, publish, summary_of

    prepared = prepare_publication(
        PublishRequest(
            folder=folder,
            repo=repo,
            private=private,
            revision=revision,
            message=message,
            include_report=include_report,
            base_model=base_model,
            force=force,
        )
    )
    for warning in prepared.warnings:
        click.echo(f"warning: {warning}", err=True)
    summary = summary_of(prepared, None if dry_run else publish(prepared))
    click.echo(records.dumps(summary) if as_json else text_of(summary), nl=False)


def text_of(summary: "PublishSummary") -> str:
    """Return an upload for people: where to, the files with their sizes, and the page of the commit."""
    seen_by = "private" if summary.private else "public"
    branch = f", branch {summary.revision}" if summary.revision else ""
    said = "Uploaded to" if summary.commit_url else "Would upload to"
    width = max(len(file.path) for file in summary.files)
    lines = [f"{said} {summary.repo} ({seen_by}{branch}): {summary.message}"]
    lines += [
        f"  {file.path:<{width}}  {_size(file.size_bytes):>10}{'  (changed copy)' if file.changed else ''}"
        for file in summary.files
    ]
    count = len(summary.files)
    lines.append(f"{count} {'file' if count == 1 else 'files'}, {_size(summary.size_bytes)}")
    return "".join(f"{line}\n" for line in [*lines, *([summary.commit_url] if summary.commit_url else [])])


def _size(size_bytes: int) -> str:
    """Format a file's size."""
    if size_bytes < 1024:
        return f"{size_bytes} B"
    for unit, scale in (("KiB", 1024), ("MiB", 1024**2)):
        if size_bytes < 1024 * scale:
            return f"{size_bytes / scale:.1f} {unit}"
    return f"{size_bytes / 1024**3:.1f} GiB"
