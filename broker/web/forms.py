"""Requests read safely: bodies bounded before they are parsed, every field at most as often as it may occur."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import parse_qsl

from starlette.requests import Request

from broker.errors import BadRequest, TooLarge

MAX_BODY: Final = 64 * 1024
MAX_FIELDS: Final = 200
FORM: Final = "application/x-www-form-urlencoded"


class Form(Mapping[str, str]):
    """A posted form: one value per name, or all of them where several are meant."""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self.pairs = pairs
        self._first: dict[str, str] = {}
        for name, value in pairs:
            self._first.setdefault(name, value)

    def __getitem__(self, name: str) -> str:
        return self._first[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._first)

    def __len__(self) -> int:
        return len(self._first)

    def all(self, name: str) -> tuple[str, ...]:
        """Every value of a repeated field."""
        return tuple(value for found, value in self.pairs if found == name)

    def prefixed(self, prefix: str) -> dict[str, str]:
        """Fields whose name starts with `prefix`, without it."""
        return {name.removeprefix(prefix): value for name, value in self._first.items() if name.startswith(prefix)}


async def read_body(request: Request, limit: int = MAX_BODY) -> bytes:
    """The body. Raises `TooLarge` as soon as it is known to be, before anything is parsed (catalogue 181)."""
    stated = request.headers.get("content-length")
    if stated is not None and stated.isdigit() and int(stated) > limit:
        raise TooLarge(detail="content-length")
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise TooLarge(detail="body")
        chunks.append(chunk)
    return b"".join(chunks)


async def read_form(request: Request) -> Form:
    """An urlencoded form. Raises `TooLarge` or `BadRequest`; files are never uploaded here, so multipart is refused."""
    kind = request.headers.get("content-type", FORM).partition(";")[0].strip().lower()
    if kind != FORM:
        raise BadRequest(detail="content type is not a form")
    return Form(parse_pairs(await read_body(request)))


def parse_pairs(raw: bytes | str) -> list[tuple[str, str]]:
    """Names and values of a query or form. Raises `BadRequest` on more than `MAX_FIELDS` or text that is no UTF-8."""
    try:
        text = raw.decode("ascii") if isinstance(raw, bytes) else raw
        return parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict")
    except (ValueError, UnicodeError) as error:
        raise BadRequest(detail="not a readable form") from error


def is_local_path(target: str) -> bool:
    """Whether this is a path of ours to go to, and nothing that a browser would read as another host (catalogue 99)."""
    return (
        target.startswith("/")
        and not target.startswith("//")
        and len(target) < 1000
        and target.isascii()
        and all("!" <= ch <= "~" and ch not in "\\@\"'<>`{}^|" for ch in target)
        and "%2f%2f" not in target.lower()
        and "%5c" not in target.lower()
        and not target.lower().startswith(("/%2f", "/%5c", "/%09", "/%0"))
    )
