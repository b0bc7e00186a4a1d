"""An HTML document taken apart with the standard library, strictly."""

import json
from html.parser import HTMLParser
from typing import Any

VOID = {"meta", "link", "br", "hr", "img", "input", "area", "base", "col", "embed", "source", "track", "wbr"}


class Document(HTMLParser):
    """Elements, attributes and texts of a page; every element must be closed in its turn.

    Attributes:
        elements: Tag and attributes of every element, in order.
        texts: Text by the tag it stands in.
        problems: What is not balanced.
    """

    def __init__(self, html: str) -> None:
        """Parse the page."""
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.problems: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        self.problems += [f"<{tag}> never closed" for tag in self._open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        if len(dict(attrs)) < len(attrs):
            self.problems.append(f"<{tag}> has an attribute twice")
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element of SVG that closes itself."""
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        """Check the nesting."""
        if not self._open or self._open.pop() != tag:
            self.problems.append(f"</{tag}> at {self.getpos()} closes nothing that is open")

    def handle_data(self, data: str) -> None:
        """Note text with the element it stands in."""
        self.texts.append((self._open[-1] if self._open else "", data))

    def of(self, tag: str) -> list[str]:
        """Return the texts of all elements of a kind."""
        return [text for at, text in self.texts if at == tag]

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        """Return the attributes of all elements of a kind."""
        return [found for at, found in self.elements if at == tag]

    @property
    def text(self) -> str:
        """All text that is shown."""
        return " ".join(" ".join(text for at, text in self.texts if at not in ("script", "style")).split())

    def figures(self) -> Any:
        """Return the data of the charts."""
        (data,) = [text for text in self.of("script") if text.startswith("{")]
        return json.loads(data)
