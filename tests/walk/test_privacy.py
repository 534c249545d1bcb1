"""Nothing of a payload is seen in the broker, in Flower or in a log; no secret in the ledger."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import httpx
import redis

from ferryman.policies import policies
from tests.harness import Harness, free_port, until
from tests.walk import planted

CANARIES = {
    "address": "canary.person@example.org",
    "payment method": "pm_card_chargeDeclinedInsufficientFunds",
    "amount": "77123",
    "customer": "canary-customer",
    "subject": "canary-subject",
    "user": "canary-user",
    "event": "canary event",
    "trait": "canary-trait",
    "contact": "canary.contact@example.org",
}


def dump(broker: redis.Redis) -> str:
    """All that the broker holds."""
    readers: dict[Any, Any] = {
        b"string": broker.get,
        b"list": lambda key: broker.lrange(key, 0, -1),
        b"set": broker.smembers,
        b"zset": lambda key: broker.zrange(key, 0, -1),
        b"hash": broker.hgetall,
    }
    return repr([(key, readers[broker.type(key)](key)) for key in broker.scan_iter()])


def test_canaries(harness: Harness, s3_server: str, gcs_server: str) -> None:
    secrets = planted.plant(harness, s3_server, gcs_server)
    used = planted.use(harness, s3_server, gcs_server)
    jobs = [
        harness.charge(customer=CANARIES["customer"], amount=77123),
        harness.charge(customer=CANARIES["customer"], amount=77123, payment_method="pm_nonsense"),
        harness.charge(
            customer=CANARIES["customer"], payment_method=CANARIES["payment method"], amount=77123
        ),
        harness.enqueue(
            "send_email",
            {"to": CANARIES["address"], "subject": CANARIES["subject"], "text": "hello"},
        ),
        harness.enqueue(
            "send_email", {"to": CANARIES["address"] + "\n", "subject": "x", "text": "hello"}
        ),
        harness.enqueue("track_event", {"user": CANARIES["user"], "event": CANARIES["event"]}),
        harness.enqueue(
            "identify_user", {"user": CANARIES["user"], "traits": {"t": CANARIES["trait"]}}
        ),
        harness.enqueue("upsert_contact", {"email": CANARIES["contact"], "fields": {"city": "x"}}),
    ]
    before = dump_when_published(harness)
    harness.worker()
    port = free_port()
    flower = ["celery", "-A", "worker", "flower", "--read-only", f"--port={port}"]
    harness.start(*flower, FLOWER_UNAUTHENTICATED_API="true", PYTHONSAFEPATH="")
    tasks = f"http://127.0.0.1:{port}/api/tasks"
    until(lambda: _get(tasks) is not None, what="Flower answers")

    def shown() -> str | None:
        # Flower answers before it listens: what ran until then is missing there for ever.
        jobs.append(harness.charge(customer=CANARIES["customer"], amount=77123))
        harness.ended(jobs[-1])
        known = _get(tasks)
        return known if known and f'"{jobs[-2]}"' in known else None

    seen = until(shown, 60, what="Flower shows the last job but one")
    last = jobs[-2]

    workers = _get(f"http://127.0.0.1:{port}/api/workers?refresh=1")
    assert workers is not None
    assert len(json.loads(workers)) == 1
    assert json.loads(seen)[str(last)]["state"] == "SUCCESS"
    each_vendor_was_asked(harness, used)
    places = {
        "broker before": before,
        "broker": dump(harness.redis()),
        "Flower": seen + workers,
        "logs": harness.logs(),
    }
    assert found(CANARIES, places) == []
    assert found(secrets, places | {"ledger": planted.ledger(harness)}) == []
    assert all(str(last) in places[place] for place in ("Flower", "logs"))


def found(canaries: dict[str, str], places: dict[str, str]) -> list[tuple[str, str]]:
    return [
        (place, name)
        for place, text in places.items()
        for name, canary in canaries.items()
        if canary in text
    ]


def each_vendor_was_asked(harness: Harness, jobs: list[UUID]) -> None:
    harness.all_ended(jobs)
    query = "SELECT DISTINCT vendor FROM ferryman.jobs WHERE id = ANY(%s) AND status = 'succeeded'"
    assert {row["vendor"] for row in harness.rows(query, (jobs,))} == policies().keys() - {"s3"}


def dump_when_published(harness: Harness) -> str:
    """The broker's content while the jobs stand in its queues."""
    from worker.relay import Relay

    relay = Relay(harness.database, harness.broker)
    relay.start()
    try:
        with harness.redis() as broker:
            until(lambda: broker.llen("ferryman.stripe") == 5)
            return dump(broker)
    finally:
        relay.stop()


def _get(url: str) -> str | None:
    try:
        answer = httpx.get(url)
    except httpx.TransportError:
        return None
    return answer.text if answer.status_code == 200 else None
