"""Pages from their contexts: one environment, compiled once; static files under names that change with their content."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from contextvars import ContextVar
from datetime import UTC, date, datetime
from pathlib import Path
from types import CodeType
from typing import Any, Final
from urllib.parse import quote

from jinja2 import (
    BaseLoader,
    BytecodeCache,
    ChoiceLoader,
    Environment,
    FileSystemLoader,
    StrictUndefined,
    TemplateNotFound,
)
from jinja2.bccache import Bucket
from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import Response

from broker.domain.claims import LABELS, LOCALE, UPDATED_AT, ZONEINFO, words_of
from broker.domain.values import ClaimName
from broker.errors import NotFound
from broker.web import i18n
from broker.web.i18n import Language, Languages
from broker.web.pages import Page, Sentence, words

TEMPLATE_API: Final = 1
"""Raised when a template override written for an older version may not fit any more."""
SHOWN: Final = 300
"""Characters of one value that a page shows; people's data can be as long as somebody likes."""
_MEDIA: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", ".png": "image/png"}
_AUTOCOMPLETE: Final = {
    "name": "name",
    "given_name": "given-name",
    "family_name": "family-name",
    "middle_name": "additional-name",
    "nickname": "nickname",
    "preferred_username": "username",
    "email": "email",
    "website": "url",
    "profile": "url",
    "picture": "photo",
    "birthdate": "bday",
    "gender": "sex",
    "phone_number": "tel",
    "address": "street-address",
    "locale": "language",
}
_LANGUAGE: ContextVar[Language] = ContextVar("page_language")


class Renderer:
    """Shows pages.

    `templates` is the folder of ours; `overrides` are folders searched before it, whose templates can build on ours by
    `{% extends "!layout.html" %}`. `locales` are the languages offered; each but English has a catalogue under
    `templates/locales`. `locale_cookie` names the cookie that remembers a chosen language; nothing: any cookie of ours
    that ends in `_lang`.
    """

    def __init__(
        self,
        *,
        brand: str,
        locales: Sequence[str],
        default_locale: str,
        templates: Path,
        overrides: Sequence[Path] = (),
        locale_cookie: str = "",
    ) -> None:
        self.languages: Final = Languages(templates / "locales", locales, default_locale)
        self._locale_cookie = locale_cookie
        self.files, self._hashed = _read_static((templates / "static", *(path / "static" for path in overrides)))
        self._environment = _environment(templates, overrides)
        self._environment.globals |= {
            "brand": brand,
            "initials": "".join(word[0] for word in brand.split()[:2]).upper() or "D",
            "static_url": self.static_url,
            "languages": self.languages.all,
        }

    # --- pages ----------------------------------------------------------------------------------------

    def page(self, page: Page, *, locale: str, csrf_token: str, request_path: str) -> bytes:
        """The page as UTF-8 HTML. `csrf_token` goes into every form; `request_path` is where language links lead back."""
        language = self.languages.all.get(locale, self.languages.default)
        token = _LANGUAGE.set(language)
        try:
            text = self._environment.get_template(page.template).render(
                page=page,
                csrf=Markup('<input type="hidden" name="csrf" value="{}">').format(csrf_token),
                language=language,
                other_languages=tuple(other for other in self.languages.all.values() if other is not language),
                back=quote(request_path, safe="/"),
            )
        finally:
            _LANGUAGE.reset(token)
        return text.encode("utf-8", "replace")

    def plain(self, text: str, locale: str, values: Mapping[str, str]) -> str:
        """A sentence of the catalogue with its values, without markup: for letters."""
        language = self.languages.all.get(locale, self.languages.default)
        return language.catalogue.gettext(text) % values

    async def warm(self, pause: float = 0.0) -> None:
        """Compile every template, one after another with `pause` seconds between, so that no visitor waits for it."""
        for name in self._environment.list_templates(extensions=["html"]):
            self._environment.get_template(name)
            await asyncio.sleep(pause)

    # --- languages ------------------------------------------------------------------------------------

    def supported(self, tag: str) -> str:
        """The language offered for a tag (`fr-CA` → `fr`), or nothing."""
        return self.languages.supported(tag)

    def locale_for(self, ui_locales: Sequence[str], otherwise: str) -> str:
        """The first of a site's `ui_locales` that is offered (OpenID Connect Core §3.1.2.1), else `otherwise`."""
        return self.languages.first(ui_locales) or otherwise

    def choose_locale(self, request: Request, account_locale: str | None = None, *, begun_in: str = "") -> str:
        """`?lang`, the account's choice, the cookie, the language this sign-in began in, `Accept-Language`, the default:
        the first that is offered.
        """
        return (
            self.supported(_asked(request))
            or self.supported(account_locale or "")
            or self.supported(self._cookie(request))
            or self.supported(begun_in)
            or self.languages.accepted(request.headers.get("accept-language", ""))
            or self.languages.default.tag
        )

    def _cookie(self, request: Request) -> str:
        if self._locale_cookie:
            return request.cookies.get(self._locale_cookie, "")
        names = (name for name in request.cookies if name.endswith("_lang") and "doorward" in name)
        return next((request.cookies[name] for name in names), "")

    # --- static files ---------------------------------------------------------------------------------

    def static_url(self, name: str) -> str:
        """Where a static file is, by its plain name."""
        return f"/static/{self._hashed[name]}"

    def static(self, name: str) -> Response:
        """A static file by its hashed name. Raises `NotFound`."""
        if name not in self.files:
            raise NotFound(detail="static file")
        body, media = self.files[name]
        return Response(body, headers={"Cache-Control": "public, max-age=31536000, immutable"}, media_type=media)


def _asked(request: Request) -> str:
    """The language that the address names; most addresses name none, and are not taken apart for it."""
    return request.query_params.get("lang", "") if b"lang=" in request.scope["query_string"] else ""


def _read_static(folders: Sequence[Path]) -> tuple[dict[str, tuple[bytes, str]], dict[str, str]]:
    """Files by hashed name, and hashed names by plain name. Later folders win."""
    files: dict[str, tuple[bytes, str]] = {}
    hashed: dict[str, str] = {}
    for folder in folders:
        for path in sorted(folder.glob("*")):
            if path.suffix in _MEDIA:
                body = path.read_bytes()
                name = f"{path.stem}.{hashlib.sha256(body).hexdigest()[:12]}{path.suffix}"
                files[name] = (body, _MEDIA[path.suffix])
                hashed[path.name] = name
    return files, hashed


class _OursLoader(BaseLoader):
    """`!name` is always our own template, also where an override stands in front of it."""

    def __init__(self, ours: FileSystemLoader) -> None:
        self._ours = ours

    def get_source(self, environment: Environment, template: str) -> tuple[str, str | None, Callable[[], bool] | None]:
        if not template.startswith("!"):
            raise TemplateNotFound(template)
        return self._ours.get_source(environment, template[1:])

    def list_templates(self) -> list[str]:
        return []


class _PlainGlobals(Environment):
    """Every template shares the environment's globals as they are: a chained mapping per template is slow to copy."""

    def make_globals(self, d: MutableMapping[str, Any] | None) -> MutableMapping[str, Any]:
        return self.globals if not d else super().make_globals(d)


class _Compiled(BytecodeCache):
    """What this process compiled once, for each environment it makes: one template takes 10 ms.

    The key holds the template's name and file, the checksum its text, so that an override never meets ours.
    """

    def __init__(self) -> None:
        self._codes: dict[tuple[str, str], CodeType] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        bucket.code = self._codes.get((bucket.key, bucket.checksum))

    def dump_bytecode(self, bucket: Bucket) -> None:
        if bucket.code is not None:
            self._codes[bucket.key, bucket.checksum] = bucket.code


_COMPILED: Final = _Compiled()


def _environment(templates: Path, overrides: Sequence[Path]) -> Environment:
    ours = FileSystemLoader(templates)
    environment = _PlainGlobals(
        loader=ChoiceLoader([*(FileSystemLoader(path) for path in overrides), _OursLoader(ours), ours]),
        autoescape=True,
        undefined=StrictUndefined,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
        bytecode_cache=_COMPILED,
    )
    environment.policies["ext.i18n.trimmed"] = True
    environment.install_gettext_callables(_gettext, _ngettext, newstyle=True)  # type: ignore[attr-defined]
    environment.globals |= {
        "_": _translate,
        "gettext": _translate,
        "bdi": bdi,
        "label": label,
        "shown": shown,
        "say": say,
        "say_plain": say_plain,
        "when": when,
        "day": day,
        "words": words,
        "autocomplete": lambda claim: _AUTOCOMPLETE.get(claim, "off"),
        "zones": i18n.ZONES,
        "month_name": lambda number: i18n.month_name(number, _LANGUAGE.get()),
        "language_name": lambda tag: i18n.language_name(tag, _LANGUAGE.get()),
    }
    environment.filters["clip"] = clip
    return environment


# --- what templates may call --------------------------------------------------------------------------


def _gettext(message: str) -> str:
    return _LANGUAGE.get().catalogue.gettext(message) if message else ""


def _ngettext(one: str, many: str, n: int) -> str:
    return _LANGUAGE.get().catalogue.ngettext(one, many, n)


def _translate(message: str, /, **values: Any) -> Markup | str:
    """What `_()` and `{% trans %}` call: Jinja's new-style gettext, remembering what needs no values."""
    if not message:
        return ""
    marked = _LANGUAGE.get().marked
    if values:
        awaiting = marked.get((message, True)) or marked.setdefault((message, True), Markup(_gettext(message)))  # noqa: S704
        return Markup(str(awaiting) % {name: _escaped(value) for name, value in values.items()})  # noqa: S704
    return marked.get((message, False)) or marked.setdefault((message, False), Markup(_gettext(message)) % {})  # noqa: S704


def _escaped(value: Any) -> Any:
    return value if isinstance(value, int) else escape(value)


def clip(value: object, limit: int = SHOWN) -> str:
    """A value short enough to show, with an ellipsis where something is missing."""
    text = str(value)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def bdi(value: object, limit: int = SHOWN, lang: str = "") -> Markup:
    """Somebody's text, kept from reordering what stands around it; `lang` where it is not the page's language."""
    if lang:
        return Markup('<bdi lang="{}">{}</bdi>').format(lang, clip(value, limit))
    return Markup(f"<bdi>{escape(clip(value, limit))}</bdi>")  # noqa: S704 - escaped here; `format` is slow


def label(claim: str) -> str:
    """A claim in words."""
    known = LABELS.get(ClaimName(claim))
    return _gettext(known) if known else clip(claim, 60)


def shown(claim: str, value: str) -> str:
    """A claim's value as people read it: languages by name, zones without underscores, addresses on one line."""
    if claim == LOCALE:
        return i18n.language_name(value[:35], _LANGUAGE.get())
    if claim == UPDATED_AT:
        return i18n.day_text(datetime.fromtimestamp(int(value), UTC).date(), _LANGUAGE.get())
    return value.replace("_", " ") if claim == ZONEINFO else words_of(ClaimName(claim), value)


def say(sentence: Sentence) -> Markup:
    """A sentence with its values set apart."""
    values = {name: _part(value) for name, value in sentence.values}
    return Markup(_gettext(sentence.text)) % values  # noqa: S704 - the catalogue is ours; values are escaped


def say_plain(sentence: Sentence) -> str:
    """The same without markup, for titles."""
    values = {name: Markup(escape(_part(value))).striptags() for name, value in sentence.values}  # noqa: S704
    return _gettext(sentence.text) % values


def _part(value: str | int | datetime) -> Markup | str:
    if isinstance(value, datetime):
        return _time(value, i18n.time_text(value), "time")
    if isinstance(value, int):
        return minutes(value)
    return bdi(_gettext(value) if value in _TRANSLATED else value, 120)


_TRANSLATED: Final = frozenset({"the provider", "A site"})


def minutes(count: int) -> str:
    """`9 minutes`."""
    return _ngettext("%(num)s minute", "%(num)s minutes", count) % {"num": count}


def when(moment: datetime) -> Markup:
    """A moment, in words and for machines."""
    return _time(moment, i18n.when_text(moment, _LANGUAGE.get()), "full")


def day(value: date) -> Markup:
    """A day, in words and for machines."""
    return Markup('<time datetime="{}">{}</time>').format(value.isoformat(), i18n.day_text(value, _LANGUAGE.get()))


def _time(moment: datetime, text: str, form: str) -> Markup:
    return Markup('<time datetime="{}" data-local="{}">{}</time>').format(moment.isoformat(), form, text)
