"""A form that has to be filled in again: its POST is answered with a redirect to its page, which shows what is wrong.

So neither Back nor a reload asks whether to send anything a second time. What was typed rides along sealed: it stands in no
log and no history, and opens on that page of that sign-in or session only, so nobody can have a page say what they like. Where
nobody is signed in it opens for anybody else who is not: a page that may be asked for so shows no more than what it said once, in
words of ours, and what was typed in its box.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlencode

from starlette.responses import Response

from broker.domain.values import ProviderId
from broker.errors import FormInvalid
from broker.web import views
from broker.web.call import Call, see_other
from broker.web.forms import Form

GOOD_FOR: Final = 1800
"""Seconds; after that the page is as if nothing had been typed."""
MOST: Final = 2048
"""Bytes of what was typed and what is wrong with it: sealed, it must fit into the head of an answer, as proxies take it."""
PARAM: Final = "again"
MAX_TYPED: Final = 300
"""Characters of an address: longer ones are none anyway."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """What was typed, and what is wrong with it by field."""

    form: Form = field(repr=False)
    problems: Mapping[str, str]


def ask_again(
    call: Call,
    path: str,
    problems: Mapping[str, str],
    pairs: Sequence[tuple[str, str]],
    query: Sequence[tuple[str, str]] = (),
) -> Response | None:
    """The redirect to the page at `path`, whose GET calls `asked_again`; `query`: what else belongs to its address.

    `None` for a form that is too long to ride along: it is answered where it was sent.
    """
    typed = [[name, value] for name, value in pairs if name != "csrf"]
    text = json.dumps([int(call.world.clock.now().timestamp()), typed, dict(problems)], ensure_ascii=False)
    if len(text.encode()) > MOST:
        return None
    sealed = call.world.box.seal_text(text, _purpose(call, path))
    return see_other(f"{path}?{urlencode([*query, (PARAM, sealed)])}")


def asked_again(call: Call) -> Again | None:
    """What this page is to show, if it is asked for after a form that was refused, not long ago."""
    sealed = call.request.query_params.get(PARAM)
    text = call.world.box.open_text(sealed, _purpose(call, call.path)) if sealed else None
    if text is None:
        return None
    stamp, typed, problems = json.loads(text)
    if call.world.clock.now().timestamp() - stamp > GOOD_FOR:
        return None
    call.opened.append(PARAM)
    return Again(form=Form([(name, value) for name, value in typed]), problems=problems)


def shown_again(call: Call) -> tuple[Form | None, Mapping[str, str] | None]:
    """The same in two parts, for pages that take them so."""
    again = asked_again(call)
    return (again.form, again.problems) if again is not None else (None, None)


def _purpose(call: Call, path: str) -> str:
    return f"form of {path} for {call.binding}"


def ask_with_box(
    call: Call,
    path: str,
    provider: ProviderId,
    typed: str,
    problem: FormInvalid,
    query: tuple[tuple[str, str], ...] = (),
) -> Response:
    """Back to the page with the box for an address, which has in it what was typed and says what is wrong with it."""
    back = ask_again(call, path, problem.fields, [("provider", provider), ("identifier", typed[:MAX_TYPED])], query)
    return back or see_other(path)  # never: an address is cut


def refused_box(call: Call) -> views.TypedBox | None:
    """The box of an address that was refused just now."""
    again = asked_again(call)
    if again is None:
        return None
    form = again.form
    return views.TypedBox(provider=form.get("provider", ""), typed=form.get("identifier", ""), problems=again.problems)
