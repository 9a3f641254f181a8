"""Values that mix what is valid with what nobody should send; every one made from a seed, so that it can be made again."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Final
from urllib.parse import quote_from_bytes

MARK: Final = "zq7canary"
"""In every planted text: found in a log or unescaped in a page, it tells on us."""
MARKUP: Final = f'"><svg/onload={MARK}>'

TEXTS: Final[tuple[str, ...]] = (
    "",
    " ",
    "0",
    "-1",
    "1e308",
    "NaN",
    "²",
    "٣",
    "99999999999999999999999",
    "1.5",
    "true",
    "null",
    "undefined",
    "\0",
    "a\0b",
    "\ud800",
    "\udfff\ud800",
    "\uffff",
    "x\r\nSet-Cookie: evil=1\r\n\r\n<b>",
    "\n\n",
    "\t",
    "\x1b[31mred\x1b[0m",
    "\u202egnp.exe\u2066",
    "\u200b\u200c\u200d\ufeff",
    "e" + "\u0301" * 300,
    "👩‍👩‍👧‍👦",
    "ﷺ" * 50,
    "ﬁ＠ｅｖｉｌ．ｔｅｓｔ",
    "İstanbul ẞ ǆ",
    MARKUP,
    f"<script>{MARK}</script>",
    f"' onmouseover={MARK} x='",
    f"javascript:{MARK}",
    f"JaVaScRiPt:{MARK}",
    f"data:text/html,<script>{MARK}</script>",
    "{{7*7}}",
    "${7*7}",
    "%(x)s %s %n",
    "{0.__class__}",
    "' OR '1'='1' --",
    '"; DROP TABLE accounts; --',
    "%_\\",
    "https://evil.test/",
    "//evil.test",
    "/\\evil.test",
    "/%09/evil.test",
    "\\\\evil.test",
    "https:evil.test",
    "https://forum.test@evil.test/callback",
    "https://forum.test.evil.test/callback",
    "https://forum.test:443/callback",
    "https://forum.test/callback/../evil",
    "https://forum.test/callback#x",
    "https://[::ffff:7f00:1]/",
    "https://[",
    "http://localhost:80@evil.test",
    "../../../etc/passwd",
    "..;/",
    "%2e%2e%2f",
    "%00",
    "%",
    "%zz",
    "a=b&c=d",
    "[]",
    "{}",
    '{"a":',
    "[" * 2000,
    '{"a":{"$gt":""}}',
    "=HYPERLINK(1)",
    "eyJhbGciOiJub25lIn0.e30.",
    "....",
    "a.b.c",
    "*",
    "openid openid openid",
    "none login",
    "en-GB-x-" + "a" * 300,
    "🤖" * 3000,
    "A" * 300,
    "A" * 5000,
    "A" * 70_000,
    "a " * 10_000,
)
CONTENT_TYPES: Final = (
    "application/x-www-form-urlencoded",
    "application/x-www-form-urlencoded; charset=utf-7",
    "APPLICATION/X-WWW-FORM-URLENCODED",
    "multipart/form-data; boundary=x",
    "multipart/form-data",
    "application/json",
    "text/plain",
    "text/xml",
    "",
    "application/x-www-form-urlencoded\xff",
    "a/b;" + "c" * 1000,
)
METHODS: Final = ("GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "PROPFIND")
LANGUAGES: Final = (
    "fr",
    "en;q=0.1, fr;q=0.9",
    "*",
    "x" * 3000,
    "fr;q=abc",
    ",,,;q=",
    "qps-rtl",
    "en-²",
    "\xff\xfe",
    "de, " * 500,
)


class Dice(random.Random):
    """Choices from one seed."""

    def hostile(self) -> str:
        """Something nobody should send, half the time with a mark of its own."""
        text = self.choice(TEXTS)
        return text if self.random() < 0.5 else f"{text}{MARK}{self.randrange(10**6)}"

    def twisted(self, valid: str) -> str:
        """Something valid, bent."""
        if not valid:
            return self.hostile()
        at = self.randrange(len(valid))
        match self.randrange(9):
            case 0:
                return valid[:at]
            case 1:
                return valid + self.hostile()
            case 2:
                return self.hostile() + valid
            case 3:
                return valid[:at] + self.choice("Aa0._-~ \0é") + valid[at + 1 :]
            case 4:
                return valid.swapcase()
            case 5:
                return valid * 2
            case 6:
                return f" {valid} "
            case 7:
                return valid[:at] + self.hostile()[:20] + valid[at:]
            case _:
                return valid[::-1]

    def value(self, valid: Sequence[str]) -> str:
        """Mostly valid, sometimes bent, sometimes hostile."""
        roll = self.random()
        if valid and roll < 0.55:
            return self.choice(valid)
        if valid and roll < 0.75:
            return self.twisted(self.choice(valid))
        return self.hostile()

    def encoded(self, pairs: Sequence[tuple[str, str]]) -> bytes:
        """A query or form, usually encoded as it should be."""
        parts = []
        for name, value in pairs:
            raw = value.encode("utf-8", "surrogatepass")
            text = quote_from_bytes(raw, safe="" if self.random() < 0.9 else "/:?@!$'()*,")
            if self.random() < 0.03:
                text = self.choice(
                    (text[:-1], f"{text}%", f"{text}%ff%fe", f"{text}%u0041", text.lower(), f"{text};x=1")
                )
            parts.append(f"{quote_from_bytes(name.encode('utf-8', 'surrogatepass'))}={text}".encode())
        body = self.choice((b"&", b"&", b"&", b"&&")).join(parts)
        if self.random() < 0.03:
            body += self.choice(
                (b"&", b"=", b"&=", b"&%ff=%fe", b"&\xff\xfe=\x80", b"?" * 50, b"&a" * 300, b"&a[]=1&a[b]=2")
            )
        return body

    def chunks(self, body: bytes) -> tuple[bytes, ...]:
        """A body in one piece or several."""
        if len(body) < 2 or self.random() < 0.8:
            return (body,)
        at = self.randrange(len(body))
        return body[:at], b"", body[at:]

    def json(self, members: Sequence[tuple[str, str]]) -> bytes:
        """A JSON object of them, sometimes none."""
        roll = self.random()
        if roll < 0.7:
            return json.dumps(dict(members)).encode("utf-8", "surrogatepass")
        if roll < 0.8:
            return ("{" + ",".join(f"{json.dumps(n)}:{json.dumps(v)}" for n, v in (*members, *members)) + "}").encode()
        if roll < 0.9:
            odd: tuple[object, ...] = (1, None, [], {"a": 1}, True, 1e308)
            return json.dumps({name: self.choice(odd) for name, _ in members}).encode()
        return self.choice(
            (b"[]", b"null", b"{", b'"x"', b"\xff", b"[" * 5000, b"{}" * 50, b'{"a":NaN}', b"\xef\xbb\xbf{}", b"")
        )
