"""Write report.html and report.md beside the records they are made from, and the drawings of report.md in a folder."""

from collections.abc import Sequence
from pathlib import Path

from advisor import durable
from advisor.errors import DataError
from advisor.report.html_page import render_html
from advisor.report.markdown import Image, render_markdown
from advisor.report.page import build_page
from advisor.report.plots import Plot, draw_plots
from advisor.report.run_folder import read_run_folder

PLOTS = "report_files"


def write_report(folder: Path) -> tuple[Path, Path]:
    """Make both reports of a run folder anew; each file appears whole or not at all.

    A study without result.json is reported as not finished. Drawings that report.md shows no more are removed.

    Returns:
        Paths of the HTML and the Markdown report.

    Raises:
        DataError: Not a folder that `tune` wrote, or a record in it is broken, or the reports cannot be written.
    """
    run = read_run_folder(folder)
    page = build_page(run)
    plots = draw_plots(run, page)
    html, markdown = folder / "report.html", folder / "report.md"
    # Drawings come before the page that shows them, and go after it.
    texts = {folder / plot_path(plot): plot.svg for plot in plots}
    images = {plot.name: Image(path=plot_path(plot), alt=plot.alt) for plot in plots}
    texts |= {html: render_html(page), markdown: render_markdown(page, images)}
    try:
        if plots:
            (folder / PLOTS).mkdir(exist_ok=True)
        for path, text in texts.items():
            _write(path, text)
        _remove_others(folder / PLOTS, plots)
    except OSError as error:
        raise DataError(f"{folder / PLOTS}: cannot be written ({error.__class__.__name__}: {error})") from error
    return html, markdown


def plot_path(plot: Plot) -> str:
    """Return where a drawing is, as seen from report.md."""
    return f"{PLOTS}/{plot.name}.svg"


def _write(path: Path, text: str) -> None:
    try:
        durable.write_text(path, text)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.__class__.__name__}: {error})") from error


def _remove_others(folder: Path, plots: Sequence[Plot]) -> None:
    """Remove drawings of earlier reports, and the folder where none is left."""
    if not folder.is_dir():
        return
    kept = {f"{plot.name}.svg" for plot in plots}
    for path in [*folder.glob("*.svg"), *folder.glob("*.svg.part")]:
        if path.name not in kept:
            path.unlink(missing_ok=True)
    if not any(folder.iterdir()):
        folder.rmdir()
