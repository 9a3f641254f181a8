"""Reads one table after another by its list of options, and writes down everything that is wrong."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable, Mapping
from datetime import date, datetime
from difflib import get_close_matches
from typing import Any, Final

from broker.domain.client import is_redirect_uri
from broker.domain.values import Secret
from broker.locator import Path as Key
from broker.settings_schema import Kind, Option
from broker.settings_sources import Draft

WRONG: Final = object()
"""A value that a problem was written down for."""


class Reader:
    """Turns given values into checked ones, by kind."""

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        self._kinds: Mapping[Kind, Callable[[Key, Option, object], object]] = {
            Kind.TEXT: self._text,
            Kind.FILE: self._text,
            Kind.JSON: self._json,
            Kind.CHOICE: self._choice,
            Kind.ADDRESS: self._address,
            Kind.FLAG: self._flag,
            Kind.NUMBER: self._number,
            Kind.TEXTS: self._texts,
            Kind.ADDRESSES: self._addresses,
            Kind.FETCHED: self._fetched,
            Kind.NETWORKS: self._networks,
            Kind.DATE: self._date,
            Kind.WORDS: self._words,
            Kind.SECRET: self._secret,
            Kind.SECRETS: self._secrets,
        }

    def table(self, key: Key, given: object, options: tuple[Option, ...]) -> dict[str, Any]:
        """Checked values of every option, defaults included.

        For what is wrong a harmless value stands in, so that the checks that follow find all there is to find.
        """
        if not isinstance(given, Mapping):
            self.draft.problem(key, "is not a table.", f"Write [{'.'.join(key)}].")
            given = {option.name: _stand_in(option) for option in options if option.needed}
            return {option.name: given.get(option.name, option.default) for option in options}
        self.unknown(key, given, tuple(option.name for option in options))
        values: dict[str, Any] = {}
        for option in options:
            at = (*key, option.name)
            if option.name not in given:
                if option.needed:
                    self.draft.problem(at, "is missing.", f"{option.doc} Write {option.name} = …")
                values[option.name] = _stand_in(option) if option.needed else option.default
            elif option.kind is Kind.TABLE:
                values[option.name] = self.tables(at, given[option.name], option)
            else:
                value = self._kinds[option.kind](at, option, given[option.name])
                values[option.name] = _stand_in(option) if value is WRONG else value
        return values

    def tables(self, key: Key, given: object, option: Option) -> dict[str, dict[str, Any]]:
        """The tables that the admin named."""
        if not isinstance(given, Mapping):
            self.draft.problem(key, "is not a table of tables.", f"Write [{'.'.join((*key, 'NAME'))}].")
            return {}
        if option.by_name:
            self.unknown(key, given, option.by_name)
        known = option.by_name or tuple(given)
        return {name: self.table((*key, name), table, option.inside) for name, table in given.items() if name in known}

    def unknown(self, key: Key, given: Mapping[str, object], known: tuple[str, ...]) -> None:
        """Write down every key that does not exist, with the one that was probably meant."""
        for name in given:
            if name not in known:
                close = get_close_matches(name, known, n=1)
                fix = f"Did you mean {close[0]}?" if close else f"Known here: {', '.join(known)}."
                if not key and not close and isinstance(given[name], Mapping):
                    fix = f"For a site write [sites.{name}], for a provider [providers.{name}]. {fix}"
                self.draft.problem((*key, name), "is not a known option.", fix)

    def _wrong(self, key: Key, what: str, fix: str) -> object:
        self.draft.problem(key, what, fix)
        return WRONG

    def _text(self, key: Key, option: Option, given: object) -> object:
        if not isinstance(given, str) or (option.needed and not given.strip()):
            return self._wrong(key, "is empty." if given == "" else "is not text.", f'Write {option.name} = "…".')
        if not given.isprintable():
            return self._wrong(key, "holds a control character.", "Remove it.")
        return given.strip()

    def _json(self, key: Key, option: Option, given: object) -> object:
        if given == "":
            return given
        try:
            found = json.loads(given) if isinstance(given, str) else None
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            return self._wrong(key, "is not a JSON object.", f"Write {option.name} = '{{…}}'.")
        return given

    def _choice(self, key: Key, option: Option, given: object) -> object:
        if given not in option.choices:
            close = get_close_matches(str(given), option.choices, n=1)
            hint = f"Did you mean {close[0]}? " if close else ""
            return self._wrong(key, "is not one of the choices.", f"{hint}Choose one of: {', '.join(option.choices)}.")
        return given

    def _address(self, key: Key, option: Option, given: object) -> object:
        if given == "" and not option.needed:
            return given
        if not isinstance(given, str) or not is_redirect_uri(given):
            fix = "Write scheme and host, such as https://www.example.org; no blank, user name or #fragment."
            return self._wrong(key, "is not a whole web address.", fix)
        return given

    def _flag(self, key: Key, option: Option, given: object) -> object:
        if not isinstance(given, bool):
            return self._wrong(
                key, "is neither true nor false.", f"Write {option.name} = true or {option.name} = false."
            )
        return given

    def _number(self, key: Key, option: Option, given: object) -> object:
        least, most = option.least or 0, option.most or 0
        if isinstance(given, bool) or not isinstance(given, int) or not least <= given <= most:
            return self._wrong(
                key, "is not a number that can be used.", f"Choose a whole number from {least} to {most}."
            )
        return given

    def _texts(self, key: Key, option: Option, given: object) -> object:
        if not isinstance(given, list) or not all(isinstance(item, str) and item.strip() for item in given):
            return self._wrong(key, "is not a list of texts.", f'Write {option.name} = ["…", "…"].')
        return tuple(dict.fromkeys(item.strip() for item in given))

    def _addresses(self, key: Key, option: Option, given: object) -> object:
        texts = self._texts(key, option, given)
        if not isinstance(texts, tuple):
            return texts
        # A star would match nothing but itself; whoever writes one expects more of it.
        wrong = [number for number, text in enumerate(texts) if not is_redirect_uri(text) or "*" in text]
        for number in wrong:
            self._wrong(
                (*key, str(number)),
                "cannot be an address to come back to.",
                "Write scheme, host and path; no *, blank, user name, #fragment, dot segment, or parameter named code or state.",
            )
        return WRONG if wrong else texts

    def _fetched(self, key: Key, option: Option, given: object) -> object:
        """A `#` and what follows it say which edition lies there (OpenID Connect Registration §2), and not where."""
        if isinstance(given, list):
            given = [item.partition("#")[0] if isinstance(item, str) else item for item in given]
        return self._addresses(key, option, given)

    def _networks(self, key: Key, option: Option, given: object) -> object:
        texts = self._texts(key, option, given)
        if not isinstance(texts, tuple):
            return texts
        networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
        for number, text in enumerate(texts):
            try:
                networks.append(ipaddress.ip_network(text))
            except ValueError:
                self._wrong((*key, str(number)), "is not a network.", "Write 10.0.0.0/8, 192.0.2.7 or ::1/128.")
        return tuple(networks) if len(networks) == len(texts) else WRONG

    def _date(self, key: Key, option: Option, given: object) -> object:
        if not isinstance(given, date) or isinstance(given, datetime):
            return self._wrong(key, "is not a day.", f"Write {option.name} = 2026-12-01, without quotes.")
        return given

    def _words(self, key: Key, option: Option, given: object) -> object:
        if isinstance(given, str):
            given = {"en": given}
        if not isinstance(given, Mapping) or not all(isinstance(text, str) and text.strip() for text in given.values()):
            return self._wrong(
                key, "is not text.", f'Write {option.name} = "…" or {option.name} = {{ en = "…", fr = "…" }}.'
            )
        if "en" not in given:
            return self._wrong(key, "has no English text.", 'Add en = "…"; it is shown where a language is missing.')
        return {tag: text.strip() for tag, text in given.items()}

    def _secret(self, key: Key, option: Option, given: object) -> object:
        found = self.draft.secret(key, given)
        return WRONG if found is None else found

    def _secrets(self, key: Key, option: Option, given: object) -> object:
        sources = given if isinstance(given, list) else [given]
        if not 1 <= len(sources) <= 2:
            return self._wrong(
                key, "holds more than two secrets, or none.", "Keep the new one and the one it replaces."
            )
        found = [self._secret(key, option, source) for source in sources]
        return WRONG if WRONG in found else tuple(found)


def _stand_in(option: Option) -> object:
    """What takes the place of a value that is wrong or missing: the default, or something empty of the same kind."""
    if option.kind is Kind.SECRET:
        return Secret("")
    if option.kind is Kind.SECRETS:
        return (Secret(""),)
    if option.default is not None:
        return option.default
    return option.choices[0] if option.choices else _EMPTY[option.kind]


_EMPTY: Final[Mapping[Kind, object]] = {
    Kind.TEXT: "",
    Kind.ADDRESS: "",
    Kind.ADDRESSES: (),
    Kind.WORDS: {"en": ""},
    Kind.DATE: date.min,
}
