"""Mails from enqueue to ledger, on a real worker, through a vendor that knows no key."""

from __future__ import annotations

from collections import Counter
from typing import Any
from uuid import UUID

from tests.harness import Harness, until

LETTER = {"template": "d-news"}
SEND = {"vendor": "sendgrid", "path": "/v3/mail/send"}


def people(count: int) -> list[dict[str, Any]]:
    return [{"to": f"user{n}@example.com", "data": {"name": f"N{n}"}} for n in range(count)]


def bulk(harness: Harness, recipients: list[dict[str, Any]]) -> UUID:
    return harness.enqueue("bulk_email", {**LETTER, "recipients": recipients})


def batch(harness: Harness, bulk_id: UUID) -> dict[str, Any]:
    found: dict[str, Any] = harness.row("SELECT ferryman.batch(%s) AS batch", (bulk_id,))["batch"]
    assert sum(found["counts"].values()) == found["total"]
    return found


def done(harness: Harness, bulk_id: UUID, seconds: float = 30) -> dict[str, int]:
    """The counts above zero, once the batch is done; they sum up at every look until then."""

    def look() -> dict[str, Any] | None:
        found = batch(harness, bulk_id)
        return found if found["status"] == "done" else None

    found = until(look, seconds, what="the batch is done")
    return {name: count for name, count in found["counts"].items() if count}


def reached(harness: Harness) -> Counter[str]:
    """How many mails each address got."""
    return Counter(effect["to"] for effect in harness.sandbox.effects(vendor="sendgrid"))


def test_a_bulk_of_2500_in_three_requests_and_each_recipient_once(harness: Harness) -> None:
    harness.worker()
    recipients = people(2500)
    odd = [{"to": "nobody"}, {"to": "USER1@example.com"}, recipients[2]]
    bulk_id = bulk(harness, recipients + odd)

    assert done(harness, bulk_id) == {"sent": 2500, "invalid": 1, "duplicate": 2}

    assert reached(harness) == Counter(person["to"] for person in recipients)
    statuses = [request["status"] for request in harness.sandbox.requests("sendgrid")]
    assert statuses == [202, 202, 202]
    rows = harness.rows("SELECT id::text, recipient FROM ferryman.emails WHERE status = 'sent'")
    effects = harness.sandbox.effects(vendor="sendgrid")
    told = {effect["to"]: effect["custom_args"]["ferryman_email"] for effect in effects}
    assert {row["recipient"]: row["id"] for row in rows} == told
    assert harness.ended(bulk_id)["status"] == "succeeded"


def test_a_throttled_bulk_waits_and_uses_no_attempt(harness: Harness) -> None:
    harness.sandbox.script([{**SEND, "do": "throttle", "when": {"first": 2}}])
    harness.worker()
    bulk_id = bulk(harness, people(1500))

    assert done(harness, bulk_id) == {"sent": 1500}
    assert set(reached(harness).values()) == {1}
    counted = harness.rows("SELECT DISTINCT attempts FROM ferryman.jobs")
    assert counted == [{"attempts": 1}]


def test_mail_whose_answer_was_lost_is_unknown_and_never_sent_again(harness: Harness) -> None:
    harness.sandbox.script([{**SEND, "do": "drop_after", "when": {"nth": [2]}}])
    harness.worker()
    bulk_id = bulk(harness, people(2500))

    counts = done(harness, bulk_id)

    assert sum(counts.values()) == 2500
    assert counts["unknown"] in (500, 1000)
    assert set(counts) == {"sent", "unknown"}
    assert reached(harness) == Counter(person["to"] for person in people(2500))
    assert len(harness.sandbox.requests("sendgrid")) == 3


def test_a_worker_killed_while_it_sends_leaves_its_part_unknown(harness: Harness) -> None:
    harness.sandbox.script([{**SEND, "do": "latency", "seconds": 5, "when": {"nth": [1]}}])
    first = harness.worker()
    bulk_id = bulk(harness, people(1000))
    left = "SELECT FROM ferryman.sends WHERE step <> 'plan'"
    until(lambda: harness.rows(left), what="the request may have left")

    harness.kill(first)
    harness.worker()

    assert done(harness, bulk_id) == {"unknown": 1000}
    assert set(reached(harness).values()) <= {1}
    # None, where it was killed between the mark and the first byte.
    assert len(harness.sandbox.requests("sendgrid")) <= 1


def test_one_mail(harness: Harness) -> None:
    harness.worker()
    job = harness.ended(
        harness.enqueue("send_email", {**LETTER, "to": "ada@example.com", "data": {"name": "Ada"}})
    )

    assert job["status"] == "succeeded", job["error"]
    (effect,) = harness.sandbox.effects(vendor="sendgrid")
    assert (effect["to"], effect["template_id"]) == ("ada@example.com", "d-news")
    assert effect["data"]["name"] == "Ada"
    assert effect["reference"] == job["result"]["vendor_reference"]


def test_a_mail_that_the_vendor_refuses_fails_at_once(harness: Harness) -> None:
    harness.sandbox.script([{**SEND, "do": "status", "status": 400}])
    harness.worker()
    job = harness.ended(
        harness.enqueue("send_email", {"to": "a@example.com", "subject": "x", "text": "y"})
    )

    assert (job["status"], job["attempts"], job["error"]["code"]) == ("failed", 1, "refused")
    row = harness.row("SELECT status, reason FROM ferryman.emails WHERE job_id = %s", (job["id"],))
    assert row == {"status": "failed", "reason": job["error"]["message"]}


def listen(harness: Harness) -> None:
    """What the vendor tells comes by webhook, signed."""
    harness.env |= harness.sandbox.environment()
    harness.sandbox.webhooks("sendgrid", f"{harness.api()}/webhooks/sendgrid")


def test_of_each_mail_is_known_what_became_of_it(harness: Harness) -> None:
    listen(harness)
    harness.worker()
    whims = ("ada", "bounce", "blocked", "deferred", "spam", "unsubscribe", "open", "click")
    limits = {"max_bounce_rate": 1, "max_complaint_rate": 1}
    recipients = [{"to": f"{whim}@example.com"} for whim in whims]
    bulk_id = harness.enqueue("bulk_email", {**LETTER, **limits, "recipients": recipients})
    assert done(harness, bulk_id) == {"sent": 8}

    def told() -> dict[str, int] | None:
        counts = {name: n for name, n in batch(harness, bulk_id)["delivery"].items() if n}
        return counts if sum(counts.values()) >= 13 else None

    assert until(told, what="all is told") == {
        "delivered": 6,
        "bounced": 2,
        "opened": 2,
        "clicked": 1,
        "complained": 1,
        "unsubscribed": 1,
    }
    suppressed = harness.rows("SELECT address, reason FROM ferryman.suppressions ORDER BY address")
    assert [(row["address"], row["reason"]) for row in suppressed] == [
        ("bounce@example.com", "bounce"),
        ("spam@example.com", "complaint"),
        ("unsubscribe@example.com", "unsubscribe"),
    ]
    again = harness.enqueue("bulk_email", {**LETTER, "recipients": recipients}, key="again")
    assert done(harness, again) == {"sent": 5, "suppressed": 3}


def test_one_bad_address_among_ten_thousand_fails_alone(harness: Harness) -> None:
    harness.worker()
    recipients = people(10_000)
    recipients[7_654] = {"to": "refuse@example.com"}
    bulk_id = bulk(harness, recipients)

    assert done(harness, bulk_id) == {"sent": 9_999, "failed": 1}

    tally = harness.sandbox.tally("sendgrid")
    assert (tally["effects"], tally["addresses"], tally["repeated"]) == (9_999, 9_999, 0)
    (bad,) = harness.rows("SELECT recipient, reason FROM ferryman.emails WHERE status = 'failed'")
    assert bad["recipient"] == "refuse@example.com"
    assert bad["reason"]
    # The request that named it, and the rest of it once more.
    statuses = sorted(request["status"] for request in harness.sandbox.requests("sendgrid"))
    assert statuses == [202] * 10 + [400]


def test_an_answer_that_was_lost_is_told_by_the_webhook(harness: Harness) -> None:
    listen(harness)
    harness.sandbox.script([{**SEND, "do": "drop_after", "when": {"nth": [1]}}])
    harness.worker()
    bulk_id = bulk(harness, people(1200))

    def sent() -> bool:
        return batch(harness, bulk_id)["counts"]["sent"] == 1200

    until(sent, what="what the events prove")
    assert len(harness.sandbox.requests("sendgrid")) == 2
    assert set(reached(harness).values()) == {1}
