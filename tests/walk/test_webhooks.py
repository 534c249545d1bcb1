"""Webhooks from a vendor to the end of a job: signed and sent for real, to an API and a worker that
are processes of their own."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import httpx
import pytest

from tests.harness import Harness, until

VENDORS = {
    "stripe": {"payment_method": "pm_card_visa"},
    "paypal": {"payment_method": "vault_ok"},
}
ASKS = {"stripe": "pm_card_threeDSecure2Required", "paypal": "paypal"}
# Nobody looks at a payment or at a doubt so soon: what happens, happens by a webhook.
HOUR = "3600"
EVENTS = "SELECT event_id, via, handled_at FROM ferryman.events"


@pytest.fixture
def town(harness: Harness) -> Harness:
    """Credentials and secrets of both vendors, and a worker that never looks by itself."""
    harness.env |= harness.sandbox.environment()
    harness.env |= {"FERRYMAN_LOOK_UP_SECONDS": HOUR, "FERRYMAN_BACKOFF_SECONDS": "1"}
    return harness


def listen(harness: Harness, url: str, **options: Any) -> None:
    for vendor in VENDORS:
        harness.sandbox.webhooks(vendor, f"{url}/webhooks/{vendor}", **options)


def charge(harness: Harness, vendor: str, n: int = 0, **changes: Any) -> UUID:
    args = {"customer": f"user-{n}", "amount": 1000 + n, "currency": "usd"}
    return harness.enqueue("charge", {**args, **VENDORS[vendor], **changes}, vendor=vendor)


def balance(harness: Harness, vendor: str) -> int:
    found = harness.sandbox.dashboard(vendor, "balance")
    return int(found.get("usd", found.get("USD", 0)))


def test_a_charge_whose_answer_was_lost_is_settled_by_the_webhook(town: Harness) -> None:
    """Its key is too old to be trusted, and it would not be looked up for an hour."""
    listen(town, town.api(), hold=True)
    place = {"vendor": "stripe", "method": "POST", "path": "/v1/payment_intents"}
    town.sandbox.script([{**place, "do": "drop_after", "times": 1}])
    town.worker()
    job_id = charge(town, "stripe")
    marked = "UPDATE ferryman.sends SET repeat_until = now() WHERE step = 'charge' RETURNING job_id"
    until(lambda: town.sandbox.effects(kind="charge"), what="the vendor has acted")
    until(lambda: town.job(job_id)["status"] == "waiting", what="the answer was lost")
    assert town.rows(marked)
    until(lambda: town.job(job_id)["status"] == "unknown", what="it is in doubt")

    town.sandbox.release("stripe")

    until(lambda: town.job(job_id)["status"] == "succeeded", what="an event told")
    assert [attempt["outcome"] for attempt in town.attempts(job_id)] == ["retry", "unknown"]
    assert len(town.sandbox.effects(kind="charge")) == 1


def requires_action(harness: Harness, vendor: str, n: int) -> tuple[UUID, dict[str, Any]]:
    """A charge that waits for its payer, and would not be looked at for an hour; its row."""
    job_id = charge(harness, vendor, n, payment_method=ASKS[vendor])

    def asks() -> dict[str, Any] | None:
        job = harness.job(job_id)
        return job if job["pending"] and job["status"] == "waiting" else None

    result = until(asks, what="it waits for its payer")["result"]
    assert result["action_url"].startswith(harness.sandbox.url)
    harness.rows(
        "UPDATE ferryman.jobs SET run_at = now() + interval '1 hour', published_at = NULL"
        " WHERE id = %s RETURNING id",
        (job_id,),
    )
    return job_id, harness.row("SELECT * FROM ferryman.charges WHERE id = %s", (job_id,))


def test_a_payer_s_agreement_wakes_the_job(town: Harness) -> None:
    """At PayPal the signature is checked by its certificate, which is fetched and chained."""
    listen(town, town.api(), duplicates=3, shuffle=True)
    town.worker()
    stripes, row = requires_action(town, "stripe", 1)
    paypals, other = requires_action(town, "paypal", 2)

    town.sandbox.dashboard("stripe", "authenticate", payment_intent=row["vendor_reference"])
    town.sandbox.dashboard("paypal", "approve", order=other["vendor_session"])

    for job_id, vendor, amount in ((stripes, "stripe", 1001), (paypals, "paypal", 1002)):
        until(lambda job=job_id: town.job(job)["status"] == "succeeded", what=f"{vendor} told")
        assert town.job(job_id)["result"]["status"] == "succeeded"
        assert balance(town, vendor) == amount
    fetched = [r for r in town.sandbox.requests("paypal") if "/certs/" in r["path"]]
    assert len(fetched) == 1


def test_killed_among_duplicates_in_any_order(town: Harness) -> None:
    """The API dies by kill -9 with deliveries in its hands; what it has said yes to is stored."""
    town.worker()
    url = town.api()
    listen(town, url, duplicates=4, shuffle=True)
    first = town.processes[-1]
    jobs = [charge(town, vendor, n) for n in range(15) for vendor in VENDORS]
    until(lambda: len(taken(town)) > 10, what="some were taken")

    town.kill(first)
    assert taken(town) <= {row["event_id"] for row in town.rows(EVENTS)}
    assert town.all_ended(jobs) == {"succeeded": 30}
    listen(town, town.api(), duplicates=4, shuffle=True)

    until(lambda: all(one["delivered"] for one in town.sandbox.deliveries()), what="all taken")
    sent = {one["id"] for one in town.sandbox.deliveries()}
    assert len(sent) * 4 == len(town.sandbox.deliveries())
    until(lambda: all(row["handled_at"] for row in town.rows(EVENTS)), what="all are read")
    stored = [row["event_id"] for row in town.rows(EVENTS)]
    assert sorted(stored) == sorted(sent)
    for vendor in VENDORS:
        assert len(town.sandbox.effects(vendor, "charge")) == 15
        assert balance(town, vendor) == sum(1000 + n for n in range(15))
    amounts = town.row("SELECT sum(amount) AS n, count(*) AS rows FROM ferryman.charges")
    assert (amounts["n"], amounts["rows"]) == (sum(2000 + 2 * n for n in range(15)), 30)


def taken(harness: Harness) -> set[str]:
    """Events of which the vendor was told that they are stored."""
    return {one["id"] for one in harness.sandbox.deliveries() if one["delivered"]}


def test_what_no_webhook_brought_is_asked_for(town: Harness) -> None:
    """The API was away for longer than any vendor tries; and a door without a secret is closed."""
    town.worker()
    closed = town.api(STRIPE_WEBHOOK_SECRET="", PAYPAL_WEBHOOK_ID="")
    listen(town, closed)
    waiting = {vendor: requires_action(town, vendor, n) for n, vendor in enumerate(VENDORS)}
    reference = waiting["stripe"][1]["vendor_reference"]
    town.sandbox.dashboard("stripe", "authenticate", payment_intent=reference)
    town.sandbox.dashboard("paypal", "approve", order=waiting["paypal"][1]["vendor_session"])
    for vendor in VENDORS:
        until(lambda vendor=vendor: refused(town, vendor), what=f"{vendor} was refused")
        town.sandbox.webhooks(vendor, None)
    assert town.rows(EVENTS) == []

    for vendor, (job_id, _) in waiting.items():
        asked = httpx.post(f"{closed}/v1/vendors/{vendor}/poll-events")
        assert asked.status_code == 202
        until(lambda job=job_id: town.job(job)["status"] == "succeeded", what=f"{vendor} told")

    assert {row["via"] for row in town.rows(EVENTS)} == {"poll"}
    degraded = httpx.get(f"{closed}/readyz").text
    assert "stripe" in degraded
    assert "paypal" in degraded


def refused(harness: Harness, vendor: str) -> bool:
    tries = [status for one in harness.sandbox.deliveries(vendor) for status in one["tries"]]
    assert set(tries) <= {404}
    return bool(tries)
