"""A strict reader of our own HTML: everything closed, nothing twice, nothing inline."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Final

VOID: Final = frozenset({"meta", "link", "input", "img", "br", "hr", "path", "circle", "rect"})
_P_ENDS: Final = frozenset(
    {"ul", "dl", "div", "form", "h1", "h2", "h3", "table", "fieldset", "details", "p", "section", "blockquote"}
)


@dataclass
class Element:
    """One element with what is inside it."""

    tag: str
    attributes: dict[str, str]
    # Out of repr: a failing test would print the whole tree many times over.
    parent: Element | None = field(default=None, repr=False)
    children: list[Element] = field(default_factory=list, repr=False)
    texts: list[tuple[str, Element]] = field(default_factory=list, repr=False)
    """Every text inside, with the innermost element it stands in."""

    def all(self, *tags: str) -> list[Element]:
        """Every element inside with one of these names, in document order; all of them without a name."""
        out: list[Element] = []
        for child in self.children:
            if not tags or child.tag in tags:
                out.append(child)
            out += child.all(*tags)
        return out

    def one(self, tag: str) -> Element:
        """The only element with this name."""
        (found,) = self.all(tag)
        return found

    def get(self, name: str) -> str:
        return self.attributes.get(name, "")

    def within(self, tag: str) -> bool:
        """Whether it stands inside such an element, or is one."""
        here: Element | None = self
        while here is not None:
            if here.tag == tag:
                return True
            here = here.parent
        return False

    @property
    def text(self) -> str:
        return " ".join("".join(text for text, _ in self.texts).split())


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Element("document", {})
        self.here = self.root
        self.faults: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        if len(names) != len(set(names)):
            self.faults.append(f"<{tag}> repeats an attribute: {names}")
        if tag in _P_ENDS and self.here.within("p"):
            self.faults.append(f"<{tag}> inside <p>")
        if tag in {"a", "button"} and (self.here.within("a") or self.here.within("button")):
            self.faults.append(f"<{tag}> inside a link or button")
        if tag == "form" and self.here.within("form"):
            self.faults.append("<form> inside <form>")
        element = Element(tag, {name: value or "" for name, value in attrs}, self.here)
        self.here.children.append(element)
        if tag not in VOID:
            self.here = element

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.here.children.append(Element(tag, {name: value or "" for name, value in attrs}, self.here))

    def handle_endtag(self, tag: str) -> None:
        if self.here.tag != tag or self.here.parent is None:
            self.faults.append(f"</{tag}> closes <{self.here.tag}>")
            return
        self.here = self.here.parent

    def handle_data(self, data: str) -> None:
        inner, here = self.here, self.here
        while True:
            here.texts.append((data, inner))
            if here.parent is None:
                return
            here = here.parent


def read(html: bytes) -> tuple[Element, list[str]]:
    """The document and what is wrong with its markup."""
    reader = _Reader()
    reader.feed(html.decode())
    reader.close()
    if reader.here is not reader.root:
        reader.faults.append(f"<{reader.here.tag}> is never closed")
    return reader.root, reader.faults
