"""A sample of every page in every state; run it to look at them: `python -m tests.web.pages.gallery FOLDER`."""

from __future__ import annotations

import base64
import sys
from dataclasses import replace
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Final

from broker import paths
from broker.web import pages
from broker.web.pages import Page
from broker.web.pages.problems import ALIASES, WORDS
from broker.web.pages.words import DONE, FAILURES, LEFT_OUT, MERGE_PROBLEMS, PASSKEY_PROBLEMS, POST_STATES, PROBLEMS
from broker.web.render import Renderer
from providers.sandbox.avatar import portrait

LOCALES: Final = ("en", "fr", "qps", "qps-rtl")
CET: Final = timezone(timedelta(hours=1), "CET")
NOW: Final = datetime(2026, 11, 20, 14, 32, tzinfo=CET)
LATER: Final = NOW + timedelta(minutes=9)
NASTY: Final = "<script>alert(1)</script>\u202e\"'&amp; עברית 👩‍👩‍👧 " + "x" * 10_000

PORTRAIT: Final = "data:image/png;base64," + base64.b64encode(portrait("ana", 64, 64)).decode()
LOGO: Final = "data:image/png;base64," + base64.b64encode(portrait("forum", 4, 4)).decode()

FORUM: Final = pages.SiteCard(
    name="Sailing Forum", host="forum.sailing.example", url="https://forum.sailing.example/", run_by="Sailing Club",
    is_first_time=True, logo_url=LOGO, policy_url="https://forum.sailing.example/privacy",
    terms_url="https://forum.sailing.example/terms",
)  # fmt: skip
FACEBOOK: Final = pages.ProviderButton(
    id="facebook", label="Facebook (sandbox)", host="facebook.example", brand="facebook", is_sandbox=True,
    privacy_policy_url="https://facebook.example/privacy", tells=("name", "email", "picture"),
)  # fmt: skip
OPENID: Final = pages.ProviderButton(
    id="openid", label="OpenID", host="id.example", brand="openid", is_sandbox=True, tells=("name", "locale"),
)  # fmt: skip
GOOGLE: Final = pages.ProviderButton(
    id="google", label="Google", host="accounts.google.com", brand="google", state="failing", tells=("name", "email"),
    privacy_policy_url="https://policies.google.com/privacy",
)  # fmt: skip
STEAM: Final = pages.ProviderButton(id="steam", label="Steam", host="steamcommunity.com", brand="steam")
MORE: Final = (
    replace(OPENID, id="club", label="Club account", brand="", logo_url=LOGO, is_sandbox=False, state="unavailable"),
    replace(STEAM, id="github", label="GitHub", brand="github", host="github.com"),
    replace(STEAM, id="apple", label="Apple", brand="apple", host="appleid.apple.com"),
    replace(STEAM, id="microsoft", label="Microsoft", brand="microsoft", host="login.microsoftonline.com"),
)
SERVER: Final = pages.TypedWay(
    provider=replace(OPENID, id="fediverse", label="Mastodon", host="", brand="mastodon", asks="server")
)
HANDLE: Final = pages.TypedWay(
    provider=replace(OPENID, id="bluesky", label="Bluesky", host="", brand="bluesky", asks="handle")
)
ADDRESS: Final = pages.TypedWay(
    provider=replace(OPENID, id="own", label="OpenID Connect", host="", brand="openid", asks="address")
)
TYPED: Final = pages.TypedWay(provider=replace(OPENID, id="address", label="OpenID 2.0", host=""))
PROVIDERS: Final = (FACEBOOK, OPENID, GOOGLE, STEAM)
ROWS: Final = (
    pages.PreviewRow(
        claim="name", value="Ana Marković", is_needed=True, purpose="Shown next to your posts.", audience="everyone"
    ),
    pages.PreviewRow(
        claim="email", value="ana@example.com", is_needed=True, purpose="So that we can reach you about your account.",
        audience="admins", is_checked_by_provider=True,
    ),
    pages.PreviewRow(
        claim="picture", value=PORTRAIT,
        purpose="Shown next to your posts.", purpose_lang="en", audience="everyone",
    ),
    pages.PreviewRow(
        claim="zoneinfo", value="Europe/Belgrade", purpose="So that times are right for you.", audience="only_you",
        source="browser",
    ),
    pages.PreviewRow(claim="locale", value="sr-Latn", purpose="So that pages start in your language.", audience="only_you"),
    pages.PreviewRow(claim="family_name", status="absent", purpose="So that members can find you."),
)  # fmt: skip
DECLINED: Final = (
    replace(ROWS[1], status="declined", value=""),
    pages.PreviewRow(claim="given_name", status="declined", purpose="So that members can greet you."),
    pages.PreviewRow(claim="picture", status="absent", is_failed=True, purpose="Shown next to your posts."),
)
SHARES: Final = (
    pages.ShareRow(claim="preferred_username", value="ana", is_needed=True, why="Your posts are signed with it.", audience="everyone"),
    pages.ShareRow(claim="email", value="ana@example.com", why="To tell you when somebody answers.", audience="admins", why_lang="en", is_essential=True),
    pages.ShareRow(claim="picture", value=PORTRAIT, why="Shown beside your posts."),
    pages.ShareRow(claim="family_name", why="Shown beside your posts."),
    pages.ShareRow(claim="given_name", why="To greet you.", is_needed=True),
)  # fmt: skip
LISTS: Final = (pages.NewsletterTick(id="club", label="Club news", rhythm="once a month", sender="Sailing Club"),)
TERMS: Final = pages.PolicyRef(version="3", effective_from=date(2026, 11, 2))
F: Final = "/f/abc123"


def _differing(claim: str, ours: str, theirs: str, **more: bool) -> pages.MergeField:
    values = (pages.MergeValue(side="this", value=ours), pages.MergeValue(side="other", value=theirs, **more))
    return pages.MergeField(claim=claim, values=values)


def _sign_in() -> dict[str, Page]:
    chooser = pages.Chooser(
        action=f"{F}/sign-in", providers=PROVIDERS, site=FORUM, cancel_action=f"{F}/cancel", works_until=LATER
    )
    passkey = pages.PasskeyRow(action=f"{F}/passkey", challenge="challenge", party="login.example.org")
    code = pages.SignInCode(
        send_action=f"{F}/code", check_action=f"{F}/code/check", chooser_url=f"{F}/sign-in", other_url=f"{F}/code?other",
        site=FORUM, works_until=LATER,
    )  # fmt: skip
    age = pages.AgeQuestion(action=f"{F}/age", site=FORUM, cancel_action=f"{F}/cancel", works_until=LATER)
    preview = pages.Preview(
        action=f"{F}/details", provider="Facebook (sandbox)", rows=ROWS, site=FORUM, works_until=LATER,
        not_asked=("friends", "posts", "messages", "birthday", "phone", "address", "contacts"),
    )  # fmt: skip
    finish = pages.Finish(
        action=f"{F}/finish", provider="Facebook", suggestions=("ana", "ana.m", "ana-markovic"), newsletters=LISTS,
        kept=(
            pages.KeptRow(claim="name", value="Ana Marković"),
            pages.KeptRow(claim="picture", value=PORTRAIT),
        ),
        terms=TERMS, privacy=TERMS, posting_off=("Facebook",), asks_zone=True, asks_locale=True, locale="en",
        cancel_action=f"{F}/cancel", user_name="ana", works_until=LATER, site=FORUM,
    )  # fmt: skip
    share = pages.Share(
        action=f"{F}/site", site=FORUM, rows=SHARES, shown="0123abcd", signed_in_as="Ana Marković", works_until=LATER
    )
    known = pages.AlreadyKnown(
        action=f"{F}/known", provider="Facebook (sandbox)", address="ana@example.com", site=FORUM,
        cancel_action=f"{F}/cancel", works_until=LATER,
    )  # fmt: skip
    confirm = pages.Confirm(
        action=f"{F}/confirm", provider="Facebook (sandbox)", name="Ana Marković", site=FORUM, shown="0123abcd",
        cancel_action=f"{F}/cancel", works_until=LATER,
    )  # fmt: skip
    way = pages.MergeWay(id="w1", label="Facebook", hint="ana@example.com", added_at=NOW, is_proved=True)
    this = pages.MergeHalf(
        side="this",
        name="Ana Marković",
        user_name="ana",
        since=NOW,
        ways=(way, replace(way, id="w2", label="A code by e-mail", hint="", is_proved=False, is_by_mail=True)),
        sites=("Sailing Forum",),
        is_known=True,
    )
    other = replace(
        this,
        side="other",
        name="Ana M.",
        user_name="ana-2",
        ways=(
            replace(way, id="w3", label="OpenID", hint="", is_by_mail=True),
            replace(way, id="w4", label="Mastodon", hint="ana", place="social.example", is_proved=False),
        ),
        sites=("Club Map", "Map"),
    )
    merge = pages.MergeAccounts(
        action=f"{F}/merge",
        halves=(this, other),
        seen="0123abcd",
        numbers=(pages.MergeNumber(sector="wiki.example.org", sites=("Club Wiki",)),),
        fields=(
            _differing("name", "Ana Marković", "Ana M."),
            _differing("email", "ana@example.com", "ana.m@example.org", is_verified=True),
            _differing("picture", "/me/picture", ""),
            pages.MergeField(claim="nickname", values=(pages.MergeValue(side="other", value="an"),)),
            pages.MergeField(
                claim="website",
                values=(
                    pages.MergeValue(side="this", is_there=False),
                    pages.MergeValue(side="other", value="Club Map"),
                ),
            ),
        ),
    )
    asked = pages.AskedRow(claim="email", purpose="So that we can reach you.", audience="admins")
    return {
        "chooser": chooser,
        "chooser-last": replace(chooser, last_used="facebook", providers=PROVIDERS + MORE),
        "chooser-early": replace(
            chooser,
            providers=(
                replace(GOOGLE, only_for="admins"),
                *(replace(one, only_for="testers") for one in (STEAM, MORE[1])),
                FACEBOOK,
            ),
            typed=(replace(TYPED, provider=replace(TYPED.provider, only_for="testers")),),
        ),
        "chooser-empty": replace(chooser, providers=(), site=None, cancel_action=""),
        "chooser-typed": replace(chooser, typed=(TYPED,)),
        "chooser-typed-server": replace(
            chooser, providers=(), typed=(replace(SERVER, typed="@ana@sociall.example", problem="server_none"),)
        ),
        "chooser-typed-handle": replace(
            chooser, providers=(), typed=(replace(HANDLE, typed="@ana", problem="handle_bad"),)
        ),
        "chooser-typed-address": replace(
            chooser, providers=(), typed=(replace(ADDRESS, typed="ana@example.orq", problem="address_none"),)
        ),
        "chooser-typed-address-refused": replace(
            chooser, typed=(replace(ADDRESS, typed="ana@example.org", problem="address_refused"),)
        ),
        "chooser-typed-only": replace(chooser, providers=(), typed=(TYPED,)),
        "chooser-typed-error": replace(
            chooser, typed=(replace(TYPED, typed="ana@people.example", problem="identifier_bad"),)
        ),
        "chooser-passkeys": replace(chooser, passkey=passkey, code_url=f"{F}/code"),
        "chooser-passkeys-again": replace(chooser, passkey=replace(passkey, problem="over"), is_step_up=True, site=None),
        "chooser-passkeys-only": replace(chooser, passkey=passkey, providers=()),
        "chooser-codes": replace(chooser, code_url=f"{F}/code"),
        "chooser-codes-only": replace(chooser, code_url=f"{F}/code", providers=(), is_step_up=True, site=None),
        "chooser-connects": replace(
            chooser, connects="Facebook (sandbox)", connects_to="ana@example.com", code_url=f"{F}/code"
        ),
        "chooser-merges": replace(chooser, merges=True, site=None, sent_by="", code_url=f"{F}/code"),
        "merge": merge,
        "merge-bare": replace(
            merge,
            halves=tuple(replace(half, sites=(), is_known=False, ways=half.ways[:1]) for half in merge.halves),
            fields=(),
            numbers=(),
        ),
        **{
            f"merge-{problem}": replace(
                merge,
                problem=problem,
                stays="" if problem == "stays" else "other",
                fields=(replace(merge.fields[0], chosen="other"), *merge.fields[1:]),
                numbers=(replace(merge.numbers[0], chosen="other"), *merge.numbers[1:]),
            )
            for problem in MERGE_PROBLEMS
        },
        "confirm": confirm,
        "confirm-other": replace(confirm, replaces="Bo Lund"),
        "confirm-changed": replace(confirm, replaces="Bo Lund", is_changed=True),
        "confirm-new": replace(confirm, is_known=False, replaces=NASTY, name=NASTY, provider=NASTY),
        "confirm-nameless": replace(confirm, name="", replaces="Bo Lund", site=None),
        "known": known,
        "known-codes": replace(known, has_codes=True, site=None, provider=NASTY, address=NASTY),
        "code": code,
        "code-bad": replace(code, typed="ana", problem="bad_value", site=None),
        "code-missing": replace(code, problem="missing"),
        "code-own": replace(code, own="ana@example.com", other_url="", site=None),
        "code-sent": replace(code, sent_to="ana@example.com"),
        "code-wrong": replace(code, sent_to="ana@example.com", problem="wrong", other_url=""),
        "code-over": replace(code, sent_to="ana@example.com", problem="over"),
        "chooser-direct": replace(chooser, site=None, notice="kept_nothing", works_until=None),
        "chooser-step-up": replace(chooser, step_up="close", is_step_up=True, site=None, providers=(FACEBOOK,)),
        "chooser-step-up-site": replace(chooser, is_step_up=True),
        "chooser-create": replace(chooser, makes_account=True),
        "chooser-signed-in": replace(chooser, signed_in_as="Ana Marković"),
        "chooser-sent": replace(
            chooser, site=None, cancel_action="", sent_by=OPENID.label, providers=(OPENID, FACEBOOK), signed_in_as="Ana Marković"
        ),
        "age": age,
        "age-unknown": replace(age, unknown_at="Facebook", site=None, cancel_action=""),
        "age-error": replace(age, month_problem=True, year_problem=True, year="19"),
        "too-young": pages.TooYoung(site=FORUM),
        "too-young-again": pages.TooYoung(action=f"{F}/age"),
        "leaving": pages.Leaving(to="Facebook", url="https://facebook.example/x?a=1&b=2", host="facebook.example"),
        "post-back": pages.PostBack(
            to="Sailing Forum",
            action="https://forum.example/cb?a=1&b=2",
            fields=(("code", "dwc_1"), ("state", '"><b>x</b>'), ("iss", "https://login.example")),
            host="forum.example",
        ),
        "preview": preview,
        "preview-declined": replace(preview, rows=(ROWS[0], *DECLINED), can_ask_again=True),
        "preview-nothing": replace(preview, rows=(replace(ROWS[0], status="absent", value=""),), provider="Steam"),
        "preview-left-out": replace(
            preview, rows=(ROWS[0], replace(ROWS[1], status="absent", value="", is_left_out=True))
        ),
        "preview-error": replace(
            preview,
            rows=(replace(ROWS[1], typed="ana@", problem="bad_value"), replace(ROWS[3], is_ticked=True, source="made")),
        ),
        "kept-nothing": pages.KeptNothing(provider="Facebook", continue_url=f"{F}/sign-in", site=FORUM),
        "finish": finish,
        "finish-bare": replace(
            finish, kept=(), asks=(asked,), newsletters=(), suggestions=(), zone="Europe/Busingen", posting_off=()
        ),
        "finish-error": replace(
            finish, user_name_problem="taken", asks=(replace(asked, value="ana@", problem="bad_value"),),
            newsletters=(replace(LISTS[0], is_ticked=True, lang="en"),), change_url=f"{F}/details", kept=finish.kept,
        ),
        "share": share,
        "share-unreviewed": replace(share, site=replace(share.site, is_unreviewed=True)),
        "share-document": replace(share, site=replace(share.site, is_unreviewed=True, introduces_itself=True)),
        "share-one-number": replace(share, same_number_at=("Sailing Wiki", "Sailing Shop")),
        "share-public-number": replace(share, has_private_number=False),
        "share-more": replace(
            share, asks_for_more=True, rows=(replace(SHARES[0], is_shared_already=True), *SHARES[1:3]), wants_offline_access=True,
        ),
        "share-error": replace(share, is_changed=True, rows=(*SHARES[:4], replace(SHARES[4], problem="missing", typed=""))),
        "policy": pages.PolicyChanged(
            action=f"{F}/policy",
            changes=(
                pages.PolicyChange(kind="terms", version="4", effective_from=date(2026, 11, 2), changes=("A <new> rule.",)),
                pages.PolicyChange(kind="privacy", version="3", effective_from=date(2026, 11, 2)),
            ),
        ),
    }  # fmt: skip


def _account() -> dict[str, Page]:
    ana = "Ana Marković"
    overview = pages.Overview(
        name=ana, user_name="ana", ways=1, sites=2, devices=3, has_email=True, last_sign_in=NOW,
        last_sign_in_with="Facebook", failing_way="Facebook",
    )  # fmt: skip
    field = pages.AccountField(
        claim="email", value="ana@example.com", source="provider", source_name="Facebook", audience="admins",
        purpose="So that we can reach you about your account.", sites=("Sailing Forum", "Sailing Wiki"), is_needed=True,
    )  # fmt: skip
    details = pages.AccountDetails(
        name=ana,
        fields=(
            field,
            replace(field, claim="preferred_username", value="ana", source="person", is_verified=True),
            replace(field, claim="picture", value=PORTRAIT, is_needed=False),
            replace(field, claim="zoneinfo", value="", sites=(), is_needed=False),
            replace(field, claim="locale", value="fr", source="browser", is_editable=False, purpose_lang="en"),
            replace(field, claim="family_name", value="M", source="made"),
        ),
    )  # fmt: skip
    address = pages.CheckAddress(name=ana, address="ana@example.com")
    way = pages.LinkedWay(
        id="l1", provider="Facebook", brand="facebook", hint="ana@example.com", linked_at=NOW, last_used_at=NOW
    )
    add_passkey = pages.AddPasskey(
        name=ana, challenge="challenge", party="login.example.org", owner="b3duZXI", owner_name="ana",
        owner_label="Ana Marković", others=("aWQx", "aWQy"), typed="Firefox on Linux",
    )  # fmt: skip
    ways = pages.Ways(
        name=ana, ways=(way, replace(way, id="l2", provider="OpenID", brand="openid", is_this_session=True)), addable=(GOOGLE,)
    )  # fmt: skip
    fedi = replace(way, provider="Mastodon", brand="mastodon", hint="ana", place="social.example")
    elsewhere = replace(fedi, id="l2", hint="", place="people.hobby-sailors-of-the-north.example")
    typed = replace(way, id="l3", provider="OpenID", brand="openid", hint="", place="ana.example/openid")
    site = pages.ConnectedSite(
        client="forum", name="Sailing Forum", logo_url=LOGO, host="forum.sailing.example", url="https://forum.sailing.example/", since=NOW,
        last_used_at=NOW, shared=("preferred_username", "email"), needed=("preferred_username",), has_offline_access=True,
        open_url="/me/sites/open?site=forum",
    )  # fmt: skip
    history = pages.History(
        name=ana, claims=("email", "name"), sites=(("forum", "Sailing Forum"),),
        rows=(
            pages.HistoryRow(at=NOW, site="Sailing Forum", claims=("email", "name"), via="id_token", also=("userinfo",), why=("To reach you.",)),
            pages.HistoryRow(at=NOW, site="Sailing Forum", claims=(), via="id_token"),
        ),
        summaries=(pages.HistorySummary(site="Sailing Forum", fields=3, times=41, last_at=NOW),), site="forum",
        newer_url="/me/history?page=1", older_url="/me/history?page=3",
    )  # fmt: skip
    device = pages.Device(
        sid="s1", name="Firefox on Linux", first_seen_at=NOW, last_seen_at=NOW, is_this=True, provider="Facebook"
    )
    devices = pages.Devices(
        name=ana,
        devices=(
            device,
            replace(device, sid="s2", name="", is_this=False, provider="Mastodon (social.example)"),
            replace(device, sid="s3", is_this=False, ended_at=NOW),
        ),
    )
    switch = pages.PostingSwitch(
        provider="mastodon", provider_label="Mastodon", client="forum", site="Sailing Forum", since=NOW
    )
    post = pages.PastPost(
        id="p1",
        provider_label="Mastodon",
        site="Sailing Forum",
        at=NOW,
        text="I wrote this",
        remote_url="https://m.example/1",
        undo_action="/posting/p1/undo",
    )
    posting = pages.PostingSettings(
        name=ana,
        switches=(
            replace(switch, has_key=True),
            replace(switch, provider="x", provider_label="X", has_key=True, lasts=True),
        ),
        posts=tuple(
            replace(
                post,
                state=state,
                text=f"I wrote\nwhat is {state}",
                remote_url=post.remote_url if state == "posted" else "",
                undo_action=post.undo_action if state == "posted" else "",
                ask_url="/posting/p1" if state == "asked" else "",
            )
            for state in POST_STATES
        ),
    )
    removal = pages.RemovalStatus(
        code="K7Q291XMK7Q291XMK7Q291XM",
        state="waiting",
        provider="Facebook",
        asked_on=NOW.date(),
        decided_on=NOW.date(),
        reason="Another way to sign in was used since.",
        operator="The Club",
        contact="help@club.example",
    )
    close = pages.CloseAccount(
        name=ana, user_name="ana", ways=2, devices=1, sites=("Sailing Forum",), untold=("Old Gallery",)
    )
    out: dict[str, Page] = {
        "me": overview,
        "me-good": replace(
            overview,
            ways=2,
            is_email_checked=True,
            failing_way="",
            is_posting_on=True,
            last_sign_in_with="",
        ),
        "me-unchecked": replace(overview, can_check_email=True),
        "me-no-email": replace(overview, has_email=False, last_sign_in=None),
        "details": details,
        "details-empty": replace(details, fields=()),
        "details-error": replace(details, fields=(replace(field, typed="ana@", problem="bad_value"),)),
        "details-unchecked": replace(details, fields=(replace(field, can_check=True),)),
        "address": address,
        "address-sent": replace(address, is_sent=True),
        "address-wrong": replace(address, problem="wrong"),
        "address-anothers": replace(address, problem="anothers"),
        "address-none": replace(address, address=""),
        "device-code": pages.DeviceCode(typed="WDJB-MJHT"),
        "device-code-wrong": pages.DeviceCode(typed="WDJB-MJHT", problem="unknown_device_code"),
        "device-code-none": pages.DeviceCode(typed="12", problem="no_device_code"),
        "device-question": pages.DeviceQuestion(user_code="WDJB-MJHT", site=FORUM),
        **{f"device-{one}": pages.DeviceDone(outcome=one, site=FORUM) for one in ("done", "refused", "failed", "late")},
        "letter-check": pages.LetterLink(what="check", token="t"),
        "letter-check-done": pages.LetterLink(what="check", is_done=True, is_signed_in=True),
        "letter-check-anothers": pages.LetterLink(what="check", token="t", problem="anothers"),
        "letter-undo": pages.LetterLink(what="undo", token="t"),
        "letter-undo-done": pages.LetterLink(what="undo", is_done=True),
        **{f"removal-{state}": replace(removal, state=state) for state in ("waiting", "erased", "kept")},
        "removal-nothing": replace(removal, state="erased", had_account=False),
        "removal-closed": replace(removal, state="erased", decided_on=None),
        "mailbox": pages.Mailbox(
            letters=(pages.KeptLetter(to="ana@example.com", subject="482 913", at="1", text="11 <b>"),)
        ),
        "mailbox-empty": pages.Mailbox(letters=()),
        "ways": ways,
        "ways-typed": replace(ways, typed=(TYPED,)),
        "ways-told-apart": replace(ways, ways=(fedi, elsewhere, typed), addable=()),
        "ways-typed-error": replace(ways, addable=(), typed=(replace(TYPED, typed="=ana", problem="identifier_xri"),)),
        "ways-codes": replace(
            ways, ways=(*ways.ways, replace(way, id="l3", is_by_mail=True)), codes_to="ana@example.com"
        ),
        "ways-codes-can": replace(ways, codes="can", codes_to="ana@example.com"),
        "ways-codes-unchecked": replace(ways, codes="unchecked", codes_to="ana@example.com", addable=()),
        "ways-codes-no-address": replace(ways, codes="no_address"),
        "ways-passkeys": replace(
            ways, ways=(*ways.ways, replace(way, id="l4", is_passkey=True, hint="My phone")), passkeys="can"
        ),
        "ways-passkeys-full": replace(ways, passkeys="full", addable=()),
        "passkey": add_passkey,
        **{f"passkey-{problem}": replace(add_passkey, problem=problem) for problem in PASSKEY_PROBLEMS},
        "merge-start": pages.MergeStart(name=ana),
        "merge-start-with": pages.MergeStart(name=ana, with_="google", with_label="Google", is_fresh=True),
        "ways-off": replace(
            ways,
            ways=(replace(way, is_only=True), replace(way, id="l2", provider="OpenID", brand="openid", is_off=True)),
        ),
        "ways-one": replace(ways, ways=(replace(way, hint=""),), is_fresh=True),
        "sites": pages.Sites(
            name=ana,
            sites=(site, replace(site, client="old", name="Old Map", is_gone=True, url="", shared=(), needed=())),
        ),
        "sites-empty": pages.Sites(name=ana, sites=()),
        "sites-merged": pages.Sites(name=ana, sites=(site,), merged=("Club Wiki", "Sailing Forum")),
        "history": history,
        "history-empty": replace(history, rows=(), summaries=(), sites=(), claims=(), site=""),
        "history-filtered": replace(history, rows=(), summaries=()),
        "devices": devices,
        "devices-one": replace(devices, devices=(device,)),
        "posting": posting,
        "posting-off": pages.PostingSettings(name=ana),
        "posting-none": pages.PostingSettings(name=ana, is_available=False),
        "news": pages.News(name=ana, lists=LISTS),
        "news-empty": pages.News(name=ana),
        "close": close,
        "close-bare": replace(close, sites=(), user_name="", is_fresh=True),
        "closed": pages.AccountClosed(sites=("Sailing Forum",)),
    }
    return out | {f"done-{code}": replace(overview, done=code) for code in DONE}


def _posting_and_out() -> dict[str, Page]:
    opt_in = pages.PostingOptIn(
        action="/posting/opt-in", provider="Mastodon", site=FORUM, hidden=(("client", "forum"),)
    )
    preview = pages.PostPreview(
        action="/posting/p1",
        provider="Mastodon",
        site=FORUM,
        text="I wrote this",
        url="https://forum.sailing.example/t/1",
        who="@ana",
    )
    out: dict[str, Page] = {
        "opt-in": opt_in,
        "opt-in-lasting": replace(opt_in, provider="X", lasts=True),
        "opt-in-person": replace(opt_in, provider="Facebook", needs_person=True),
        "post": preview,
        "post-person": replace(preview, provider="Facebook", needs_person=True, who="", where="Your page"),
        "sign-out": pages.SignOut(name="Ana", sites=(("forum", "Sailing Forum"), ("wiki", "Sailing Wiki"))),
        "sign-out-asked": pages.SignOut(name="Ana", sites=(("forum", "Sailing Forum"),), request="sealed", asked_by=FORUM),
        "sign-out-more": pages.SignOut(name="Ana", sites=(("wiki", "Sailing Wiki"),), request="sealed", asked_by=FORUM),
        "sign-out-alone": pages.SignOut(),
        "signed-out": pages.SignedOut(
            sites=(
                *(pages.ToldSite(name=f"Site {state}", state=state) for state in ("done", "waiting", "failed", "frame", "cannot")),
                pages.ToldSite(name="Site late", state="late", at=LATER),
            ),
            again="/signed-out?seen=x",
            provider="Facebook", back=FORUM,
        ),
        "signed-out-offer": pages.SignedOut(provider="Club OpenID", provider_host="id.club.example", seen="sealed", there="away", back=FORUM),
        "signed-out-there": pages.SignedOut(provider="Club OpenID", provider_host="id.club.example", there="done", back=FORUM),
        "signed-out-site": pages.SignedOut(is_everything=False, sites=(pages.ToldSite(name="Sailing Forum", state="done"),)),
    }  # fmt: skip
    for state in POST_STATES:
        out[f"outcome-{state}"] = pages.PostOutcome(
            state=state, provider="Mastodon", site=FORUM, return_url="https://forum.sailing.example/",
            remote_url="https://m.example/1" if state == "posted" else "",
            undo_action="/posting/p1/undo" if state == "posted" else "", share_url="https://facebook.example/share", is_turned_off=state == "failed",
        )  # fmt: skip
    return out


def _documents() -> dict[str, Page]:
    field = pages.NoticeField(claim="email", purpose="So that we can reach you.", audience="admins", is_needed=True)
    privacy = pages.PrivacyNotice(
        fields=(field, replace(field, claim="locale", is_needed=False, purpose_lang="en", retention="90")), providers=PROVIDERS,
        sites=(pages.NoticeSite(site=FORUM, asks=(field, replace(field, claim="name", is_needed=False))), pages.NoticeSite(site=FORUM)),
        version=TERMS, changes=("A <b>bold</b> change.",), operator="Sailing Club", contact="help@sailing.example",
    )  # fmt: skip
    terms = pages.Terms(version=TERMS, changes=("One.",), operator="Sailing Club", contact="help@sailing.example")
    cookies = (
        pages.CookieRow(name="doorward_session", purpose="keeps you signed in", lifetime="until you close the browser"),
        pages.CookieRow(name="doorward_last", purpose="remembers the language you chose", lifetime="180 days"),
    )
    return {
        "home": pages.Home(sites=(FORUM,), providers=PROVIDERS),
        "home-signed-in": pages.Home(sites=(FORUM,), name="Ana"),
        "privacy": privacy,
        "privacy-bare": pages.PrivacyNotice(fields=(), is_posting_possible=True),
        "privacy-posting": replace(
            privacy,
            is_posting_possible=True,
            posting_keys=("Mastodon", "X"),
            lasting_keys=("X",),
            kept_words=("OpenID",),
        ),
        "terms": terms,
        "help": pages.Help(providers=("Facebook", "OpenID"), operator="Sailing Club", contact="help@sailing.example"),
        "help-codes": pages.Help(providers=("Facebook",), has_codes=True),
        "cookies": pages.CookieList(cookies=cookies),
        "accessibility": pages.Accessibility(operator="Sailing Club", contact="help@sailing.example"),
    }


def _problems() -> dict[str, Page]:
    out: dict[str, Page] = {
        f"error-{code}": pages.error_page(
            code, reference="K7Q2-91", at=NOW, provider="Facebook", site=FORUM, retry_at=LATER, contact="help@sailing.example",
            details=(pages.Detail(label="Reason", value="state <mismatch>"),),
        )
        for code in (*WORDS, *ALIASES)
    }  # fmt: skip
    out["error-bare"] = pages.error_page("invalid_redirect_uri", reference="K7Q2-91", at=NOW)
    out["error-unknown-code"] = pages.error_page("no_such_code", reference="K7Q2-91", at=NOW)
    out |= {
        f"problem-{code}": pages.Finish(action=f"{F}/finish", provider="Facebook", user_name_problem=code)
        for code in PROBLEMS
    }
    return out


def _nasty() -> dict[str, Page]:
    """Names may hold markup, overrides, emoji and 10 000 characters."""
    site = pages.SiteCard(name=NASTY, host=NASTY, url="https://x.example/", run_by=NASTY)
    share = tuple(replace(row, value=NASTY, why=NASTY, typed=NASTY) for row in SHARES)
    return {
        "nasty-share": pages.Share(action=f"{F}/site", site=site, rows=share, shown="x", signed_in_as=NASTY),
        "nasty-code": pages.SignInCode(
            send_action=f"{F}/code",
            check_action=f"{F}/code/check",
            chooser_url=f"{F}/sign-in",
            sent_to=NASTY,
            site=site,
        ),
        "nasty-chooser": pages.Chooser(
            action=f"{F}/sign-in", providers=PROVIDERS, site=site, signed_in_as=NASTY, sent_by=NASTY
        ),
        "nasty-preview": pages.Preview(
            action=f"{F}/details",
            provider="Facebook",
            rows=tuple(replace(row, value=NASTY, purpose=NASTY) for row in ROWS),
        ),
        "nasty-error": pages.error_page("invalid_redirect_uri", reference="K7Q2-91", at=NOW, site=site, provider=NASTY),
        "nasty-post": pages.PostPreview(action="/posting/p1", provider="Mastodon", site=site, text=NASTY, who=NASTY),
        "nasty-trial": pages.TrialStart(
            provider=replace(OPENID, label=NASTY, host=NASTY), link=NASTY, scopes=(NASTY,), redirect=NASTY
        ),
        "nasty-trial-result": pages.TrialResult(
            provider=NASTY,
            verdict="new",
            redirect=NASTY,
            came_back=(NASTY,),
            steps=(pages.TrialStep(method="GET", place=NASTY, milliseconds=1, failure=NASTY),),
            answers=(pages.TrialAnswer(place=NASTY, names=(NASTY,), text=NASTY),),
            fields=(
                pages.TrialField(claim="name", value=NASTY, is_checked=True, is_needed=False, audience="everyone"),
            ),
        ),
        "nasty-me": pages.Overview(name=NASTY, user_name=NASTY),
    }


OUR_KEYS = "https://login.sailing.example/client-jwks"


def _trials() -> dict[str, Page]:
    start = pages.TrialStart(
        provider=FACEBOOK,
        link="token",
        scopes=("public_profile", "email"),
        redirect="https://login.sailing.example/callback/facebook",
    )
    field = pages.TrialField(claim="name", value="Ana Marković", is_checked=False, is_needed=True, audience="everyone")
    good = pages.TrialResult(
        provider="Facebook",
        verdict="new",
        redirect=start.redirect,
        away=14,
        came_back=("code", "state"),
        steps=(
            pages.TrialStep(
                method="POST", place="graph.facebook.com/v26.0/oauth/access_token", milliseconds=212, status=200
            ),
            pages.TrialStep(method="GET", place="graph.facebook.com/v26.0/me", milliseconds=87, status=200),
        ),
        answers=(
            pages.TrialAnswer(
                place="graph.facebook.com/v26.0/me",
                names=("id", "name", "email"),
                text='{\n  "id": "10150000000000001",\n  "name": "Ana Marković",\n  "email": "ana@example.com"\n}',
            ),
            pages.TrialAnswer(place="idp.example/openid", names=(), text="is_valid:true"),
        ),
        fields=(
            field,
            replace(field, claim="email", value="ana@example.com", is_checked=True, is_needed=False, audience="admins"),
        ),
        left_out=tuple(zip(("given_name", "family_name", "picture", "birthdate"), LEFT_OUT, strict=True)),
        is_disbelieved=True,
        is_revoked=True,
    )
    failed = replace(
        good, verdict="failed", fields=(), left_out=(), is_disbelieved=False, is_revoked=False, failure="secret",
        detail="graph 1/0 token", answers=(),
        steps=(pages.TrialStep(method="POST", place="graph.facebook.com/oauth/access_token", milliseconds=5000, failure="timeout"),),
    )  # fmt: skip
    return {
        "trial": start,
        "trial-on": replace(start, is_on=True, scopes=()),
        "trial-typed": replace(start, way=TYPED),
        "trial-typed-error": replace(start, way=replace(TYPED, typed="=ana", problem="identifier_xri")),
        "trial-signed": replace(
            start, provider=OPENID, our_keys=OUR_KEYS, requests_signed="RS256", proofs_signed="ES256"
        ),
        "trial-good": good,
        "trial-known": replace(good, verdict="known", is_on=True, left_out=(), is_disbelieved=False, answers=()),
        "trial-held": replace(good, verdict="held", fields=()),
        **{f"trial-failed-{name}": replace(failed, failure=name) for name in FAILURES},
        "trial-failed-our_keys": replace(failed, failure="our_keys", our_keys=OUR_KEYS, signed="ES256"),
        "trial-failed-request_object": replace(failed, failure="request_object", our_keys=OUR_KEYS, signed="RS256"),
        "trial-not-begun": replace(failed, failure="issuer", detail="discovery_issuer", came_back=()),
    }


def gallery() -> dict[str, Page]:
    """Every page in every state, by a name for people."""
    return _trials() | _sign_in() | _account() | _posting_and_out() | _documents() | _problems() | _nasty()


def renderer() -> Renderer:
    """The product's renderer with the pseudo-languages switched on."""
    return Renderer(brand="Sailing Club Login", locales=LOCALES, default_locale="en", templates=paths.templates())


def main(folder: Path) -> None:
    """Write every page to a folder, with the static files beside them."""
    show = renderer()
    for locale in LOCALES:
        (folder / locale).mkdir(parents=True, exist_ok=True)
        for name, page in gallery().items():
            html = show.page(page, locale=locale, csrf_token="token", request_path="/me")
            (folder / locale / f"{name}.html").write_bytes(html.replace(b'"/static/', b'"../static/'))
    (folder / "static").mkdir(exist_ok=True)
    for name, (body, _) in show.files.items():
        (folder / "static" / name).write_bytes(body)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
