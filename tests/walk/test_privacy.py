"""Nothing of a payload is seen in the broker, in Flower or in a log."""

from __future__ import annotations

import json
from typing import Any

import httpx
import redis

from tests.harness import SENDGRID_KEY, STRIPE_KEY, Harness, free_port, until

CANARIES = {
    "address": "canary.person@example.org",
    "payment method": "pm_card_chargeDeclinedInsufficientFunds",
    "amount": "77123",
    "customer": "canary-customer",
    "stripe key": STRIPE_KEY,
    "sendgrid key": SENDGRID_KEY,
    "subject": "canary-subject",
}


def dump(broker: redis.Redis) -> str:
    """All that the broker holds."""
    readers: dict[bytes, Any] = {
        b"string": broker.get,
        b"list": lambda key: broker.lrange(key, 0, -1),
        b"set": broker.smembers,
        b"zset": lambda key: broker.zrange(key, 0, -1),
        b"hash": broker.hgetall,
    }
    return repr([(key, readers[broker.type(key)](key)) for key in broker.scan_iter()])


def test_canaries(harness: Harness) -> None:
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
    places = {
        "broker before": before,
        "broker": dump(harness.redis()),
        "Flower": seen + workers,
        "logs": harness.logs(),
    }
    found = [
        (place, name)
        for place, text in places.items()
        for name in CANARIES
        if CANARIES[name] in text
    ]
    assert found == []
    assert all(str(last) in places[place] for place in ("Flower", "logs"))


def dump_when_published(harness: Harness) -> str:
    """The broker's content while the jobs stand in its queues."""
    from worker.relay import Relay

    relay = Relay(harness.database, harness.broker)
    relay.start()
    try:
        with harness.redis() as broker:
            until(lambda: broker.llen("ferryman.stripe") == 3)
            return dump(broker)
    finally:
        relay.stop()


def _get(url: str) -> str | None:
    try:
        answer = httpx.get(url)
    except httpx.TransportError:
        return None
    return answer.text if answer.status_code == 200 else None
