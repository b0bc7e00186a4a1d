"""Write report.html and report.md beside the records they are made from."""

from pathlib import Path

from advisor import durable
from advisor.errors import DataError
from advisor.report.html_page import render_html
from advisor.report.markdown import render_markdown
from advisor.report.page import build_page
from advisor.report.run_folder import read_run_folder


def write_report(folder: Path) -> tuple[Path, Path]:
    """Make both reports of a run folder anew; each appears whole or not at all.

    A study without result.json is reported as not finished.

    Returns:
        Paths of the HTML and the Markdown report.

    Raises:
        DataError: Not a folder that `tune` wrote, or a record in it is broken, or the reports cannot be written.
    """
    page = build_page(read_run_folder(folder))
    html, markdown = folder / "report.html", folder / "report.md"
    texts = {html: render_html(page), markdown: render_markdown(page)}
    for path, text in texts.items():
        try:
            durable.write_text(path, text)
        except OSError as error:
            raise DataError(f"{path}: cannot be written ({error.__class__.__name__}: {error})") from error
    return html, markdown
