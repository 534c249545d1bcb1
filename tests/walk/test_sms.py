"""Text messages from enqueue to ledger, on a real worker, through a vendor that knows no key."""

from __future__ import annotations

from collections import Counter
from typing import Any
from uuid import UUID

import httpx
import pytest

from tests.harness import Harness, free_port, until

BODY = "We open at nine"
SEND = {"vendor": "twilio", "method": "POST", "path": "*/Messages.json"}


@pytest.fixture
def town(harness: Harness) -> Harness:
    """With an account at Twilio."""
    harness.env |= harness.sandbox.environment()
    return harness


def number(n: int) -> str:
    return f"+44770090{n:04}"


def send(harness: Harness, n: int) -> UUID:
    return harness.enqueue("send_sms", {"to": number(n), "body": BODY})


def message(harness: Harness, id: UUID) -> dict[str, Any]:
    return harness.row("SELECT * FROM ferryman.messages WHERE id = %s", (id,))


def reached(harness: Harness) -> Counter[str]:
    """How many messages each number got."""
    return Counter(effect["to"] for effect in harness.sandbox.effects(vendor="twilio"))


def asked(harness: Harness) -> int:
    """How often the vendor was asked to send."""
    return sum(one["method"] == "POST" for one in harness.sandbox.requests("twilio"))


def batch(harness: Harness, id: UUID) -> dict[str, Any]:
    found: dict[str, Any] = harness.row("SELECT ferryman.batch(%s) AS batch", (id,))["batch"]
    assert sum(found["counts"].values()) == found["total"]
    return found


def public(harness: Harness) -> str:
    """An API where vendors find it; its address."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    harness.env["FERRYMAN_PUBLIC_URL"] = url
    api = harness.start("api", "--port", str(port))

    def answers() -> bool:
        assert api.poll() is None, harness.logs()
        try:
            return httpx.get(f"{url}/healthz").status_code == 200
        except httpx.TransportError:
            return False

    until(answers, what="the API answers")
    return url


def test_a_message_is_delivered_until_its_number_wants_no_more(town: Harness) -> None:
    url = public(town)
    town.sandbox.webhooks("twilio", f"{url}/webhooks/twilio")
    town.worker(FERRYMAN_LOOK_UP_SECONDS="3600")
    # In doubt, and it would not be looked up for an hour: its status callback tells.
    town.sandbox.script([{**SEND, "do": "drop_after", "when": {"nth": [1]}}])
    job_id = send(town, 1)
    job = until(
        lambda: (found := town.job(job_id))["status"] == "succeeded" and found,
        what="a callback told",
    )
    row = until(
        lambda: (found := message(town, job_id))["delivery"] == "delivered" and found,
        what="it is delivered",
    )
    (effect,) = town.sandbox.effects(vendor="twilio")
    assert effect["reference"] == row["vendor_reference"] == job["result"]["vendor_reference"]
    assert (row["status"], row["recipient"], effect["body"]) == ("sent", number(1), BODY)

    town.sandbox.dashboard("twilio", "receive", number=number(1), body="Stop")
    stopped = "SELECT FROM ferryman.suppressions WHERE channel = 'sms' AND address = %s"
    until(lambda: town.rows(stopped, (number(1),)), what="it is known that he wants no more")
    # Another one has told the vendor alone.
    town.sandbox.dashboard("twilio", "opt_out", number=number(2))
    jobs = [send(town, 1), send(town, 2)]

    assert town.all_ended(jobs) == {"failed": 2}
    assert {message(town, one)["status"] for one in jobs} == {"suppressed"}
    assert town.rows(stopped, (number(2),))
    assert reached(town) == Counter([number(1)])
    assert asked(town) == 2


def test_a_bulk_of_50_in_which_everything_goes_wrong(town: Harness) -> None:
    lost = {**SEND, "do": "drop_after", "when": {"nth": [3, 20]}}
    unheard = {**SEND, "do": "drop_before", "when": {"nth": [7]}}
    town.sandbox.script([lost, unheard, {**SEND, "do": "throttle", "when": {"nth": [11]}}])
    town.rows(
        "INSERT INTO ferryman.suppressions (channel, address, reason, source)"
        " VALUES ('sms', %s, 'manual', 'a test') RETURNING at",
        (number(5),),
    )
    listed = [number(n) for n in range(47)] + [number(3).replace("+44", "+44 "), "no number"]
    # Of this one Twilio says that it is none.
    listed.append("+15005550001")
    town.worker()
    recipients = [{"to": one} for one in listed]
    bulk_id = town.enqueue("bulk_sms", {"body": BODY, "recipients": recipients})

    def over() -> dict[str, Any] | None:
        found = batch(town, bulk_id)
        counts = found["counts"]
        open_ = counts["waiting"] + counts["sending"] + counts["unknown"]
        return found if found["planned_at"] and not open_ else None

    found = until(over, 30, what="nothing of the batch is open")

    assert {name: count for name, count in found["counts"].items() if count} == {
        "sent": 46,
        "failed": 1,
        "invalid": 1,
        "duplicate": 1,
        "suppressed": 1,
    }
    assert (found["status"], found["total"]) == ("done", 50)
    assert reached(town) == Counter(number(n) for n in range(47) if n != 5)
    known = town.rows("SELECT vendor_reference FROM ferryman.messages WHERE status = 'sent'")
    effects = town.sandbox.effects(vendor="twilio")
    assert {row["vendor_reference"] for row in known} == {one["reference"] for one in effects}


def test_a_worker_killed_while_it_sends_sends_nothing_twice(town: Harness) -> None:
    town.sandbox.script([{**SEND, "do": "late", "seconds": 10, "when": {"first": 5}}])
    first = town.worker()
    jobs = [send(town, n) for n in range(5)]
    until(lambda: len(reached(town)) == 5, what="the vendor has sent all")

    town.kill(first)
    town.worker()

    def found() -> bool:
        return {town.job(one)["status"] for one in jobs} == {"succeeded"}

    until(found, 30, what="all are found")
    assert reached(town) == Counter(number(n) for n in range(5))
    assert asked(town) == 5
    assert {message(town, one)["status"] for one in jobs} == {"sent"}
