"""Languages: catalogues, which one a page is in, and how times read.

English is the source. Each other language is `<folder>/<tag>/LC_MESSAGES/doorward.po`, read at start without a build
step. Two pseudo-languages prove that nothing is cut off or forgotten: `qps` (longer, accented, bracketed) and `qps-rtl`
(the same from right to left); they exist only where the settings name them.
"""

from __future__ import annotations

import gettext
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import Final

from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_datetime, get_month_names
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from markupsafe import Markup

DOMAIN: Final = "doorward"
PSEUDO: Final = "qps"
PSEUDO_RTL: Final = "qps-rtl"
_RIGHT_TO_LEFT: Final = frozenset({"ar", "dv", "fa", "he", "ks", "ku", "ps", "sd", "ug", "ur", "yi"})
_KEPT: Final = re.compile(r"(%\(\w+\)[sd]|%%|<[^<>]+>|&\w+;)")
_ACCENTS: Final = str.maketrans("aceinosuyACEINOSUY", "áčéíñóšúýÁČÉÍÑÓŠÚÝ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """One language that pages can be in."""

    tag: str
    """As in settings, cookies and links: `en`, `fr`, `qps`."""
    html_lang: str
    direction: str
    """`ltr` or `rtl`."""
    name: str
    """What its speakers call it."""
    cldr: Locale
    """Whose names and dates it uses."""
    catalogue: gettext.NullTranslations
    marked: dict[tuple[str, bool], Markup] = field(default_factory=dict, repr=False, compare=False)
    """Texts of templates already translated; whether they still await values."""


class PseudoTranslations(gettext.NullTranslations):
    """English made 35 % longer, accented and bracketed; placeholders and tags stay."""

    def gettext(self, message: str) -> str:
        return pseudo(message)

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        return pseudo(msgid1 if n == 1 else msgid2)


def pseudo(message: str) -> str:
    """`Sign in` → `[Šígñ íñ ~~~]`."""
    parts = _KEPT.split(message)
    body = "".join(part if index % 2 else part.translate(_ACCENTS) for index, part in enumerate(parts))
    length = sum(len(part) for part in parts[::2])
    words = max(1, round(length * 0.35 / 6))
    return f"[{body}{' ~~~~~' * words}]"


class Languages:
    """The languages a server offers.

    `folder` holds the catalogues. Raises `FileNotFoundError` for a language without one.
    """

    def __init__(self, folder: Path, tags: Sequence[str], default: str) -> None:
        self.all: Final[Mapping[str, Language]] = {tag: _load(folder, tag) for tag in dict.fromkeys((*tags, default))}
        self.default: Final = self.all[default]

    def supported(self, tag: str) -> str:
        """The tag of the language offered for `tag` (`fr-CA` → `fr`), or nothing."""
        wanted = tag.strip().replace("_", "-").lower()
        while wanted:
            for offered in self.all:
                if offered.lower() == wanted:
                    return offered
            wanted = wanted.rpartition("-")[0]
        return ""

    def first(self, tags: Iterable[str]) -> str:
        """The first of these tags that is offered, or nothing."""
        return next((found for tag in tags if (found := self.supported(tag))), "")

    def accepted(self, header: str) -> str:
        """What `Accept-Language` prefers among what is offered, or nothing (RFC 9110 §12.5.4)."""
        ranges: list[tuple[float, int, str]] = []
        for position, part in enumerate(header[:500].split(",")[:20]):
            tag, _, parameters = part.strip().partition(";")
            weight = _weight(parameters)
            if tag and tag != "*" and weight > 0:
                ranges.append((-weight, position, tag))
        return self.first(tag for _, _, tag in sorted(ranges))


def _weight(parameters: str) -> float:
    name, _, value = parameters.strip().partition("=")
    if name.strip() != "q":
        return 1.0
    return float(value) if re.fullmatch(r"[01](\.\d{0,3})?", value.strip()) else 0.0


def _load(folder: Path, tag: str) -> Language:
    if tag in {PSEUDO, PSEUDO_RTL}:
        is_rtl = tag == PSEUDO_RTL
        return Language(
            tag=tag,
            html_lang="ar-XB" if is_rtl else "en-XA",
            direction="rtl" if is_rtl else "ltr",
            name=pseudo("Pseudo RTL" if is_rtl else "Pseudo"),
            cldr=Locale.parse("en"),
            catalogue=PseudoTranslations(),
        )
    cldr = Locale.parse(tag, sep="-")
    catalogue = gettext.NullTranslations() if cldr.language == "en" else read_catalogue(folder, tag)
    return Language(
        tag=tag,
        html_lang=tag,
        direction="rtl" if cldr.language in _RIGHT_TO_LEFT else "ltr",
        name=(cldr.get_display_name(cldr) or tag).capitalize(),
        cldr=cldr,
        catalogue=catalogue,
    )


def read_catalogue(folder: Path, tag: str) -> gettext.GNUTranslations:
    """A language's catalogue from its `.po` file. Fuzzy entries are not used."""
    path = folder / tag / "LC_MESSAGES" / f"{DOMAIN}.po"
    return _read(path, tag, path.stat().st_mtime_ns)


@cache
def _read(path: Path, tag: str, changed_at: int) -> gettext.GNUTranslations:
    """Once for each state of the file: reading one takes 50 ms."""
    with path.open("rb") as source:
        messages = read_po(source, locale=tag.replace("-", "_"), domain=DOMAIN)
    compiled = io.BytesIO()
    write_mo(compiled, messages)
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


# --- values that read differently in each language ----------------------------------------------------


def when_text(moment: datetime, language: Language) -> str:
    """`20 Nov 2026, 14:32 CET`, in the zone the moment carries."""
    text = format_datetime(moment.replace(tzinfo=None), "d MMM y, HH:mm", locale=language.cldr)
    zone = moment.tzname()
    return f"{text} {zone}" if zone else text


def time_text(moment: datetime) -> str:
    """`14:32 CET`."""
    return f"{moment:%H:%M} {moment.tzname() or ''}".rstrip()


def day_text(day: date, language: Language) -> str:
    """`20 Nov 2026`."""
    return format_date(day, "d MMM y", locale=language.cldr)


def month_name(number: int, language: Language) -> str:
    """`November`, as it stands alone in a list."""
    return str(get_month_names("wide", "stand-alone", locale=language.cldr)[number])


def language_name(tag: str, language: Language) -> str:
    """A language tag in words of `language`: `sr-Latn` → "Serbian (Latin)"; the tag itself where nobody knows it."""
    try:
        return Locale.parse(tag.replace("_", "-"), sep="-").get_display_name(language.cldr) or tag
    except (ValueError, UnknownLocaleError, TypeError):
        return tag


ZONES: Final = (
    "UTC", "Africa/Cairo", "Africa/Casablanca", "Africa/Johannesburg", "Africa/Lagos", "Africa/Nairobi",
    "America/Anchorage", "America/Argentina/Buenos_Aires", "America/Bogota", "America/Caracas", "America/Chicago",
    "America/Denver", "America/Halifax", "America/Lima", "America/Los_Angeles", "America/Mexico_City",
    "America/New_York", "America/Phoenix", "America/Santiago", "America/Sao_Paulo", "America/St_Johns",
    "America/Toronto", "America/Vancouver", "Asia/Bangkok", "Asia/Dhaka", "Asia/Dubai", "Asia/Hong_Kong",
    "Asia/Jakarta", "Asia/Jerusalem", "Asia/Karachi", "Asia/Kathmandu", "Asia/Kolkata", "Asia/Manila", "Asia/Riyadh",
    "Asia/Seoul", "Asia/Shanghai", "Asia/Singapore", "Asia/Taipei", "Asia/Tashkent", "Asia/Tehran", "Asia/Tokyo",
    "Asia/Yangon", "Atlantic/Azores", "Atlantic/Reykjavik", "Australia/Adelaide", "Australia/Brisbane",
    "Australia/Perth", "Australia/Sydney", "Europe/Athens", "Europe/Belgrade", "Europe/Berlin", "Europe/Brussels",
    "Europe/Dublin", "Europe/Helsinki", "Europe/Istanbul", "Europe/Kyiv", "Europe/Lisbon", "Europe/London",
    "Europe/Madrid", "Europe/Moscow", "Europe/Oslo", "Europe/Paris", "Europe/Prague", "Europe/Rome",
    "Europe/Stockholm", "Europe/Vienna", "Europe/Warsaw", "Europe/Zurich", "Pacific/Auckland", "Pacific/Fiji",
    "Pacific/Honolulu", "Pacific/Tongatapu",
)  # fmt: skip
"""Zones to choose from without script; a script adds the browser's own."""
