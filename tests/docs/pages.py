"""README and docs as tests see them: blocks of text with their place, and the command lines in them."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = tuple(sorted((ROOT / "README.md", *ROOT.glob("docs/*.md"))))
# A comment before a block, which readers do not see, says what a test shall do with it.
_BLOCK = re.compile(
    r"(?:^<!-- (?P<marker>[^\n]*) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)
_ELISION = "[...]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block of a page.

    Attributes:
        page: Path of the page.
        line: Where it begins.
        language: "sh", "text", "python", "diff", "json" or empty.
        text: What stands between the fences.
        marker: Comment before it, empty without one.
        answer: Text of a block "text" that follows with nothing but blank lines between, else None.
    """

    page: Path
    line: int
    language: str
    text: str
    marker: str = ""
    answer: str | None = None

    @property
    def place(self) -> str:
        """Page and line for messages."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    def commands(self) -> list[list[str]]:
        """Return the words of each command of a shell block."""
        lines = self.text.replace("\\\n", " ").splitlines()
        found = [shlex.split(part) for line in lines for part in line.split("&&")]
        return [words for words in found if words]


def blocks(page: Path) -> list[Block]:
    """Return all blocks of a page in their order."""
    text = page.read_text(encoding="utf-8")
    found = list(_BLOCK.finditer(text))
    made = []
    for number, one in enumerate(found):
        later = found[number + 1] if number + 1 < len(found) else None
        answers = later is not None and later["language"] == "text" and not text[one.end() : later.start()].strip()
        made.append(
            Block(
                page=page,
                line=text.count("\n", 0, one.start()) + 1,
                language=one["language"],
                text=one["text"],
                marker=one["marker"] or "",
                answer=later["text"] if later is not None and answers else None,
            )
        )
    return made


def shell_blocks(*pages: Path) -> Iterator[Block]:
    """Yield the blocks of pages that a reader is meant to run."""
    yield from (block for page in pages for block in blocks(page) if block.language == "sh")


def says(shown: str, printed: str) -> bool:
    """Return whether a page shows what a command printed; "[...]" on a line of its own stands for any lines."""
    parts = re.split(rf"^[ ]*{re.escape(_ELISION)}[ ]*$\n?", _plain(shown), flags=re.MULTILINE)
    return re.fullmatch(".*?".join(map(re.escape, parts)), _plain(printed), re.DOTALL) is not None


def _plain(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip("\n").splitlines()) + "\n"
