"""From what flows know to what pages show: builds the contexts of `web.pages`. Reads; never changes anything."""

from broker.web.views.common import TypedBox, provider_label
from broker.web.views.device import device_code, device_done, device_question
from broker.web.views.ending import ended, sign_out, signed_out
from broker.web.views.letters import letter_link, letter_link_done, mailbox, undo_link, undo_link_done
from broker.web.views.my_account import (
    account_details,
    address,
    close,
    closed,
    devices,
    history,
    news,
    overview,
    sites,
    ways,
)
from broker.web.views.posting import posting, posting_opt_in, posting_settings
from broker.web.views.steps import (
    age,
    chooser,
    finish,
    kept_nothing,
    leaving,
    policy,
    post_back,
    preview,
    share,
    sign_in_code,
    too_young,
)
from broker.web.views.texts import accessibility, cookies, help_page, home, privacy, removal, terms
from broker.web.views.trial import trial_result, trial_start

__all__ = [
    "TypedBox",
    "accessibility",
    "account_details",
    "address",
    "age",
    "chooser",
    "close",
    "closed",
    "cookies",
    "device_code",
    "device_done",
    "device_question",
    "devices",
    "ended",
    "finish",
    "help_page",
    "history",
    "home",
    "kept_nothing",
    "leaving",
    "letter_link",
    "letter_link_done",
    "mailbox",
    "news",
    "overview",
    "policy",
    "post_back",
    "posting",
    "posting_opt_in",
    "posting_settings",
    "preview",
    "privacy",
    "provider_label",
    "removal",
    "share",
    "sign_in_code",
    "sign_out",
    "signed_out",
    "sites",
    "terms",
    "too_young",
    "trial_result",
    "trial_start",
    "undo_link",
    "undo_link_done",
    "ways",
]
