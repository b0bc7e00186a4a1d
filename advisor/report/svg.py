"""Small matplotlib figures as SVG text: the same figure gives the same bytes, and text from outside stays text.

The drawing is a white card, which reads in a light and in a dark page alike; an image in a page cannot follow it.
Letters are text in the file, not outlines, so that they can be searched and read aloud, and so that scripts that
matplotlib's own font lacks are shown with the reader's.
"""

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from advisor.report.formatting import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH_IN, DPI = 7.5, 72  # 540 points: a column of a page without scaling
INK, SOFT, GRID, LINE = "#1c2024", "#545d66", "#e9ebec", "#d9dcdf"
_LONGEST_LABEL = 40  # characters
# On top of matplotlib's defaults, never of what the user has set for other drawings.
_SETTINGS: dict[str, object] = {
    "svg.fonttype": "none", "svg.hashsalt": "peft-advisor", "text.parse_math": False, "text.usetex": False,
    "font.family": ["DejaVu Sans", "sans-serif"], "font.sans-serif": ["DejaVu Sans"], "font.size": 10,
    "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": LINE, "axes.facecolor": "white",
    "figure.facecolor": "white", "savefig.facecolor": "white", "xtick.color": LINE, "ytick.color": LINE,
    "xtick.labelcolor": SOFT, "ytick.labelcolor": SOFT, "axes.grid": True, "grid.color": GRID, "axes.axisbelow": True,
    "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False, "legend.fontsize": 9,
}  # fmt: skip


@contextmanager
def drawing() -> Iterator[None]:
    """Make and save figures inside of this: it sets what they look like, and puts everything back."""
    with _without_advice():
        import matplotlib.style

        with matplotlib.style.context(["default", _SETTINGS]), warnings.catch_warnings():
            # Text is measured with matplotlib's font, and shown with one that has the letter.
            warnings.filterwarnings("ignore", message="Glyph .* missing", category=UserWarning)
            yield


@contextmanager
def _without_advice() -> Iterator[None]:
    """Keep matplotlib from telling the user about its caches, such as a home folder that it may not write."""
    logger = logging.getLogger("matplotlib")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def new_axes(height_in: float) -> "Axes":
    """Return empty axes on a figure of their own, which belongs to no window; to be called inside of `drawing`."""
    from matplotlib.figure import Figure

    return Figure(figsize=(WIDTH_IN, height_in), dpi=DPI, layout="constrained").add_subplot()


def svg_text(figure: "Figure", title: str) -> str:
    """Return a figure as SVG without dates and versions; to be called inside of `drawing`.

    Args:
        figure: What to save.
        title: What programs that read aloud say of it.
    """
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Title": label(title, 1000), **nothing})
    return file.getvalue()


def label(text: str, longest: int = _LONGEST_LABEL) -> str:
    """Return text from outside for a drawing: on one line, nothing hidden in it, not too long."""
    line = " ".join(visible(text).split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"
