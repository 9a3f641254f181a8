"""What of the log is kept for a week: what went wrong with a provider, as clean as the line, and nothing else."""

from __future__ import annotations

import io

from tests.flows.front import FACEBOOK, Front

from broker.flows.failures import FailureTrace
from broker.telemetry import Log
from broker.traced_log import TracedLog


async def test_what_went_wrong_with_a_provider_is_kept_as_clean_as_the_line() -> None:
    """An address that got into a fact is withheld in both (catalogue 168)."""
    front, stream = Front(), io.BytesIO()
    trace = FailureTrace(durable=front.durable, clock=front.clock, entropy=front.entropy)
    log = TracedLog(Log(stream), trace)
    log.event("problem", reference="K7Q2-91XM", reason="upstream_rejected", check="ana@mail.test", provider=FACEBOOK)
    log.event("problem", reference="AAAA-AAAA", reason="bad_request", provider=None)
    log.event("provider_state", provider=FACEBOOK, reason="ok")
    log.event("provider_state", provider=FACEBOOK, reason="dns")
    log.event("provider_tried", provider=FACEBOOK, outcome="new")
    log.event("provider_tried", provider=FACEBOOK, outcome="failed", check="kid")
    log.event("sign_in_failed", provider=FACEBOOK, reason="odd")
    log.event("address_failed", provider=FACEBOOK, reason="form_invalid", check="server dns")
    log.event(
        "posting_failed", client="forum", provider=FACEBOOK, reason="upstream_rejected", check="token invalid_grant"
    )
    log.fault("fault", ValueError(), provider=FACEBOOK)
    log.access("chooser", "GET", 200, 0.1)
    await trace.flush()
    kept = await front.durable.failures.newest(FACEBOOK, 9)
    assert sorted((one.step, one.reason, one.detail, one.reference) for one in kept) == [
        ("address_failed", "form_invalid", "server dns", ""),
        ("posting_failed", "upstream_rejected", "token invalid_grant", ""),
        ("problem", "upstream_rejected", "<withheld>", "K7Q2-91XM"),
        ("provider_state", "dns", "", ""),
        ("provider_tried", "", "kid", ""),
    ]
    lines = stream.getvalue().decode().splitlines()
    assert len(lines) == 11
    assert "ana@mail.test" not in stream.getvalue().decode()
