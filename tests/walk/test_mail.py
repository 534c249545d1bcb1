"""Mails from enqueue to ledger, on a real worker, through a vendor that knows no key."""

from __future__ import annotations

from collections import Counter
from typing import Any
from uuid import UUID

from tests.harness import Harness, until

LETTER = {"subject": "News for {{ name }}", "html": "<p>Dear {{ name }}</p>"}
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
    odd = [{"to": "nobody", "data": {"name": "x"}}, {"to": "USER1@example.com"}, recipients[2]]
    bulk_id = bulk(harness, recipients + odd)

    assert done(harness, bulk_id) == {"sent": 2500, "invalid": 2, "duplicate": 1}

    assert reached(harness) == Counter(person["to"] for person in recipients)
    statuses = [request["status"] for request in harness.sandbox.requests("sendgrid")]
    assert statuses == [202, 202, 202]
    rows = harness.rows("SELECT id::text, recipient FROM ferryman.emails WHERE status = 'sent'")
    told = {e["to"]: e["custom_args"]["email"] for e in harness.sandbox.effects(vendor="sendgrid")}
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
    assert (effect["to"], effect["subject"]) == ("ada@example.com", "News for Ada")
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
