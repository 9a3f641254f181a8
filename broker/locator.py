"""Finds the line on which a TOML key stands: `tomllib` gives values without positions (decision 28).

Works on text that `tomllib` has already accepted, so it need not judge syntax. Standard library only.
"""

from __future__ import annotations

from typing import Final

Path = tuple[str, ...]
"""A key's way from the top: `("forum", "asks", "email", "use")`. Elements of lists are their number as text."""

_BLANK: Final = " \t"
_END_OF_BARE: Final = " \t\r\n,]}#"
_ESCAPES: Final = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", '"': '"', "\\": "\\"}


def locate(text: str) -> dict[Path, int]:
    """The line (from 1) of every table, key and list element in a valid TOML text."""
    return _Scanner(text).scan()


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text, self.at, self.line = text, 0, 1
        self.found: dict[Path, int] = {}
        self.lists: dict[Path, int] = {}

    def scan(self) -> dict[Path, int]:
        table: Path = ()
        while True:
            self.skip(newlines=True)
            if self.at >= len(self.text):
                return self.found
            if self.peek() == "[":
                table = self.header()
            else:
                self.pair(table)

    def peek(self, length: int = 1) -> str:
        return self.text[self.at : self.at + length]

    def step(self, length: int = 1) -> str:
        """Move on; lines are counted here and nowhere else."""
        passed = self.text[self.at : self.at + length]
        self.at += length
        self.line += passed.count("\n")
        return passed

    def skip(self, *, newlines: bool) -> None:
        """Over blanks, and with `newlines` over line ends and comments too."""
        while self.at < len(self.text):
            ch = self.peek()
            if ch in _BLANK or (newlines and ch in "\r\n"):
                self.step()
            elif newlines and ch == "#":
                end = self.text.find("\n", self.at)
                self.at = len(self.text) if end < 0 else end
            else:
                return

    def note(self, path: Path, line: int) -> None:
        for length in range(1, len(path) + 1):
            self.found.setdefault(path[:length], line)

    def header(self) -> Path:
        line, is_list = self.line, self.peek(2) == "[["
        self.step(2 if is_list else 1)
        path = self.resolved(self.key(), whole=not is_list)
        self.skip(newlines=False)
        self.step(2 if is_list else 1)
        if is_list:
            number = self.lists.get(path, -1) + 1
            self.lists[path] = number
            path = (*path, str(number))
        self.note(path, line)
        self.found[path] = line  # a table's own header counts more than one of its sub-tables
        return path

    def resolved(self, key: Path, *, whole: bool) -> Path:
        """The key with the number of the newest element put in behind every list of tables it passes through."""
        path: Path = ()
        for position, part in enumerate(key):
            path = (*path, part)
            is_last = position == len(key) - 1
            if path in self.lists and (whole or not is_last):
                path = (*path, str(self.lists[path]))
        return path

    def key(self) -> Path:
        parts: list[str] = []
        while True:
            self.skip(newlines=False)
            if self.peek() in {'"', "'"}:
                parts.append(self.string())
            else:
                start = self.at
                while self.peek() not in {*"=.] \t", ""}:
                    self.step()
                parts.append(self.text[start : self.at])
            self.skip(newlines=False)
            if self.peek() != ".":
                return tuple(parts)
            self.step()

    def pair(self, table: Path) -> None:
        line = self.line
        path = (*table, *self.key())
        self.note(path, line)
        self.skip(newlines=False)
        self.step()  # the equals sign
        self.value(path)

    def value(self, path: Path) -> None:
        self.skip(newlines=True)
        ch = self.peek()
        if ch in {'"', "'"}:
            self.string()
        elif ch == "[":
            self.members(path, "]")
        elif ch == "{":
            self.members(path, "}")
        else:
            while self.peek() and self.peek() not in _END_OF_BARE:
                self.step()
            if (
                self.peek() == " " and self.text[self.at + 1 : self.at + 2].isdigit()
            ):  # a date with a blank before the time
                self.step()
                while self.peek() and self.peek() not in _END_OF_BARE:
                    self.step()

    def members(self, path: Path, closing: str) -> None:
        """A list or an inline table."""
        self.step()
        number = 0
        while True:
            self.skip(newlines=True)
            if self.peek() in {closing, ""}:
                self.step()
                return
            if self.peek() == ",":
                self.step()
            elif closing == "}":
                self.pair(path)
            else:
                self.note((*path, str(number)), self.line)
                self.value((*path, str(number)))
                number += 1

    def string(self) -> str:
        """Over one string of any of the four kinds; its text, as far as keys need it."""
        quote = self.peek()
        if self.peek(3) == quote * 3:
            return self.long_string(quote)
        self.step()
        out: list[str] = []
        while self.peek() not in {quote, ""}:
            ch = self.step()
            out.append(self.escape() if ch == "\\" and quote == '"' else ch)
        self.step()
        return "".join(out)

    def long_string(self, quote: str) -> str:
        self.step(3)
        start = self.at
        while self.at < len(self.text):
            if quote == '"' and self.peek() == "\\":
                self.step(2)
            elif self.peek(3) == quote * 3:
                break
            else:
                self.step()
        text = self.text[start : self.at]
        self.step(3)
        while self.peek() == quote:  # up to two quotes may stand before the closing three
            self.step()
        return text

    def escape(self) -> str:
        ch = self.step()
        if ch in "uU":
            return chr(int(self.step(4 if ch == "u" else 8), 16))
        return _ESCAPES.get(ch, ch)
