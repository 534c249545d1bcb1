"""What the tests of mail jobs have in common: letters, answers, and looks into the ledger."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from adapters._base import Request, Response
from tests.adapters.doubles import Answer
from tests.tasks.driver import Driver

HELLO = {"template": "d-hello"}
PLAIN = {"to": "a@example.com", "subject": "Hello", "text": "Good day"}
ACCEPTED = Response(202, {"x-message-id": "message-1"}, b"")
REFUSED = Response(400, {}, json.dumps({"errors": [{"field": "from", "message": "no"}]}).encode())


class Script:
    """What the vendor answers: `next` in turn, then acceptance."""

    def __init__(self) -> None:
        self.next: list[Answer] = []

    def __call__(self, _: Request) -> Answer:
        return self.next.pop(0) if self.next else ACCEPTED


def many(count: int, **changes: Any) -> dict[str, Any]:
    people = [{"to": f"user{n}@example.com", "data": {"name": f"N{n}"}} for n in range(count)]
    return {**HELLO, "recipients": people} | changes


async def batch(driver: Driver, id: UUID) -> dict[str, Any]:
    """The batch as the API shows it; its rows and its counts must agree."""
    (row,) = await driver.rows("SELECT ferryman.batch(:id) AS batch", id=id)
    shown: dict[str, Any] = row["batch"]
    rows = await driver.rows(
        "SELECT status, count(*) FROM ferryman.emails WHERE batch_id = :id GROUP BY status", id=id
    )
    counts = {name: count for name, count in shown["counts"].items() if count}
    assert counts == {row["status"]: row["count"] for row in rows}
    assert sum(counts.values()) == shown["total"]
    return {"status": shown["status"], "total": shown["total"], **counts}


async def parts(driver: Driver, id: UUID) -> list[dict[str, Any]]:
    return await driver.rows(
        "SELECT * FROM ferryman.jobs WHERE batch_id = :id AND kind = 'bulk_email_part'"
        " ORDER BY args -> 'part'",
        id=id,
    )


def addressed(request: Request) -> list[str]:
    """Whom a request was sent to."""
    return [p["to"][0]["email"] for p in json.loads(request.body)["personalizations"]]


async def email(driver: Driver, job_id: UUID) -> dict[str, Any]:
    (row,) = await driver.rows("SELECT * FROM ferryman.emails WHERE job_id = :id", id=job_id)
    return row
