"""Where a person may be sent back to: catalogue 99."""

from __future__ import annotations

import pytest
from doorward_verify.paths import safe_next

GOOD = [
    "/", "/who", "/t/12", "/t/12?page=2", "/wiki/Caf%C3%A9", "/a?next=https://example.org/", "/a?b=//c",
    "/a%20b", "/search?q=a+b&c=d", "/@ann", "/~ann/", "/a;b=c", "/a/b.html", "/_loginhelp", "/a?b=%0d%0a",
]  # fmt: skip

HOSTS = ["//evil.example", "///evil.example", "////evil.example", "/\\evil.example", "\\/evil.example",
         "\\\\evil.example", "/\\/evil.example", "//evil.example/%2e%2e", "//evil.example@good.example",
         "//good.example@evil.example", "/%2f/evil.example", "/%2fevil.example", "/%2Fevil.example",
         "/%5cevil.example", "/%5Cevil.example", "/%252fevil.example", "/%25252fevil.example",
         "/%255cevil.example", "%2f%2fevil.example", "%2f/evil.example", "/.//evil.example",
         "/..//evil.example", "/./\\evil.example", "/a/..//evil.example", "/a/../../evil", "/%2e%2e//evil.example",
         "/%2e//evil.example", "/..%2f/evil.example", "/a//b", "//", "///", "/\\", "/%2f", "/%5c", "/%2f%2f"]  # fmt: skip
SCHEMES = ["https:evil.example", "https:/evil.example", "https://evil.example", "https:///evil.example",
           "http://localhost.evil.example", "HTTPS://evil.example", "hTTp:evil.example", "javascript:alert(1)",
           "JavaScript:alert(1)", "java\tscript:alert(1)", "javascript://%0aalert(1)", "data:text/html,x",
           "vbscript:x", "file:///etc/passwd", "ftp://evil.example", "about:blank", "blob:https://x/y",
           "view-source:https://evil.example", "ws://evil.example", "mailto:a@b.example", "evil.example",
           "evil.example/", "www.evil.example", "@evil.example", ":80", ".evil.example", "?a=b", "#a", "a/b", "./a", "../a"]  # fmt: skip
CONTROLS = [template.replace("X", letter)
            for letter in ("\t", "\n", "\r", "\x00", "\x0b", "\x0c", "\x1f", "\x7f", " ", "%09", "%0a", "%0d", "%00", "%7f", "%0d%0aSet-Cookie:a=b")
            for template in ("/X/evil.example", "X//evil.example", "/aX")]  # fmt: skip
CONTROLS = [item for item in CONTROLS if item != "/a%7f"] + ["/a%7f"]
UNICODE = [template.replace("X", letter)
           for letter in ("\u2044", "\u2215", "\u29f8", "\uff0f", "\uff3c", "\u3002", "\u200b", "\u202e", "\ufeff", "\xa0", "\u2028", "é")
           for template in ("/Xevil.example", "XXevil.example")]  # fmt: skip
ENCODED = [
    "/%",
    "/%z",
    "/%1",
    "/a%",
    "/%ff",
    "/%c0%af",
    "/%c0%afevil.example",
    "/%e0%80%af",
    "/%u002f",
    "/%ed%a0%80",
]
OTHERS = ["", None, "/" + "a" * 1100, "/<script>", '/"onload=x', "/a#b", "/{a}", "/a|b", "/`", "/^", "/[::1]"]
OWN = ["/_login", "/_login/start", "/_login/start?next=/", "/_login/callback", "/%5flogin/start", "/_login%2fstart",
       "/_lo%67in/logout"]  # fmt: skip
BAD = [*HOSTS, *SCHEMES, *CONTROLS, *UNICODE, *ENCODED, *OTHERS, *OWN]


@pytest.mark.parametrize("wanted", GOOD)
def test_a_page_of_this_site_is_kept(wanted: str) -> None:
    assert safe_next(wanted) == wanted


@pytest.mark.parametrize("wanted", BAD, ids=ascii)
def test_everything_else_becomes_the_first_page(wanted: str | None) -> None:
    """catalogue 99"""
    assert safe_next(wanted) == "/"


def test_the_table_is_long_enough() -> None:
    assert len(set(BAD)) >= 100
