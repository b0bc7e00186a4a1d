"""The live part of what `tune` shows on a terminal: what is being trained, how far it is, and how long it will take."""
# ruff: noqa: TID253

from dataclasses import dataclass

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from advisor.report.formatting import NBSP, NONE, visible


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveRow:
    """Something that is being trained.

    Attributes:
        name: Such as "trial 4" or "trial 4, seed 8".
        method: Method and what tells it apart.
        rung: How far it is, such as "step 5 of 20".
        value: Primary metric at the last rung.
        memory: Peak so far.
    """

    name: str
    method: str
    rung: str
    value: str = NONE
    memory: str = NONE


class LiveTable:
    """A table of live trials below the lines that were printed; on anything but a terminal it shows nothing."""

    def __init__(self, console: Console) -> None:
        """Draw on `console`, from `start` to `stop`."""
        self._console = console
        self._rows: dict[int, LiveRow] = {}
        self._headline = ""
        self._metric = "metric"
        self._spinner = Spinner("dots")
        self._live = Live(
            console=console,
            get_renderable=self._rendered,
            refresh_per_second=4,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def start(self) -> None:
        """Begin to draw, if the console is a terminal."""
        if self._console.is_terminal:
            self._live.start()

    def stop(self) -> None:
        """Draw no more and leave no trace."""
        self._live.stop()

    def name_metric(self, title: str) -> None:
        """Say what the column of values holds."""
        self._metric = title

    def say(self, headline: str) -> None:
        """Show a line above the table: the stage, or progress, best value and time left."""
        self._headline = headline
        self._draw()

    def show(self, number: int, row: LiveRow) -> None:
        """Show a row under this number, in place of the one that it had."""
        self._rows[number] = row
        self._draw()

    def remove(self, number: int) -> None:
        """Take a row away, if it is there."""
        self._rows.pop(number, None)
        self._draw()

    def _draw(self) -> None:
        # Not left to the timer: a line that is printed meanwhile would put the table of before below it.
        if self._live.is_started:
            self._live.refresh()

    def _rendered(self) -> RenderableType:
        self._spinner.update(text=plain(self._headline, one_line=True))
        return Group(self._spinner, self._table()) if self._rows else self._spinner

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
        table.add_column("  trial", no_wrap=True)
        table.add_column("method", overflow="ellipsis", no_wrap=True, ratio=1)
        table.add_column("rung", no_wrap=True)
        table.add_column(plain(self._metric), justify="right", no_wrap=True)
        table.add_column("memory", justify="right", no_wrap=True)
        for row in self._rows.values():
            cells = (f"  {row.name}", row.method, row.rung, row.value, row.memory)
            table.add_row(*(plain(cell, one_line=True) for cell in cells))
        return table


def plain_console() -> Console:
    """Return stderr as a console that takes plain lines, whatever it is: for programs that read stdout."""
    return Console(stderr=True, highlight=False, force_terminal=False, color_system=None)


def plain(text: str, *, one_line: bool = False) -> Text:
    """Return text as it is: nothing in it is markup or commands the terminal."""
    return Text(visible(text).replace(NBSP, " "), no_wrap=one_line, overflow="ellipsis" if one_line else None)
