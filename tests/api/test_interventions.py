"""A person's steps over HTTP: what each answers, what it writes down, and what it refuses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import httpx
import psycopg
import pytest
from psycopg.types.json import Jsonb

from api import body
from tests.api.conftest import serving
from tests.api.test_bad_input import CANARY, JSON, MALFORMED, problem

Ledger = psycopg.Connection[Any]
ENDS = {"failed": True, "succeeded": True, "cancelled": True}
STEPS: dict[str, dict[str, Any]] = {
    "retry": {},
    "cancel": {},
    "resolve": {"outcome": "failed", "note": "not in their log"},
}


def store(
    ledger: Ledger,
    args: dict[str, Any],
    status: str = "waiting",
    *,
    code: str | None = None,
    ended: str = "0 s",
    kind: str = "charge",
) -> UUID:
    """A job that stands at a status already."""
    row = ledger.execute("SELECT ferryman.enqueue(%s, %s) AS id", (kind, Jsonb(args))).fetchone()
    assert row
    error = {"code": code or "card_declined", "message": "no", "type": "Refused"}
    ledger.execute(
        "UPDATE ferryman.jobs SET status = %s, error = %s, finished_at ="
        " CASE WHEN %s THEN now() - %s::interval END WHERE id = %s",
        (
            status,
            Jsonb(error) if status == "failed" else None,
            status in ENDS,
            ended,
            row["id"],
        ),
    )
    return UUID(str(row["id"]))


def sent(ledger: Ledger, job_id: UUID, repeat: str = "never") -> None:
    """A request of the job that may have had its effect."""
    ledger.execute(
        "INSERT INTO ferryman.sends (job_id, step, attempt, vendor_key, repeat, request)"
        " VALUES (%s, 'charge', 1, 'key', %s, '{}')",
        (job_id, repeat),
    )


async def step(client: httpx.AsyncClient, id: UUID, name: str, **changes: Any) -> httpx.Response:
    return await client.post(f"/v1/jobs/{id}/{name}", json=STEPS[name] | changes)


async def test_a_failed_job_runs_again(
    client: httpx.AsyncClient, ledger: Ledger, charge: Any
) -> None:
    job_id = store(ledger, charge["args"], "failed")
    answer = await step(client, job_id, "retry", note="their card is mended")
    assert answer.status_code == 200
    job = answer.json()
    assert (job["id"], job["status"], job["error"]) == (str(job_id), "waiting", None)
    assert job["warning"] is None
    (told,) = (await client.get(f"/v1/jobs/{job_id}/attempts")).json()["interventions"]
    assert told.pop("at").endswith("Z")
    assert told == {
        "who": "the API",
        "action": "retry",
        "was": "failed",
        "became": "waiting",
        "note": "their card is mended",
    }


async def test_an_unknown_job_is_sent_again_with_a_warning(
    client: httpx.AsyncClient, ledger: Ledger, charge: Any
) -> None:
    job_id = store(ledger, charge["args"], "unknown")
    sent(ledger, job_id)
    job = (await step(client, job_id, "retry")).json()
    assert job["status"] == "waiting"
    assert "twice" in job["warning"]


async def test_a_waiting_job_is_cancelled_at_once(
    client: httpx.AsyncClient, ledger: Ledger, charge: Any
) -> None:
    job_id = store(ledger, charge["args"])
    answer = await client.post(f"/v1/jobs/{job_id}/cancel")
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    # The same wish once more is no error.
    assert (await client.post(f"/v1/jobs/{job_id}/cancel")).status_code == 200


async def test_a_running_job_is_asked_to_stop(
    client: httpx.AsyncClient, ledger: Ledger, charge: Any
) -> None:
    job_id = store(ledger, charge["args"], "running")
    answer = await step(client, job_id, "cancel")
    assert (answer.status_code, answer.json()["status"]) == (202, "running")
    row = ledger.execute("SELECT cancel_at FROM ferryman.jobs WHERE id = %s", (job_id,)).fetchone()
    assert row
    assert row["cancel_at"] is not None


@pytest.mark.parametrize("outcome", ["succeeded", "failed"])
async def test_an_unknown_job_is_resolved(
    client: httpx.AsyncClient, ledger: Ledger, outcome: str
) -> None:
    mail = {"to": "ada@example.com", "subject": "Hi", "text": "Hello"}
    job_id = store(ledger, mail, "unknown", kind="send_email")
    answer = await step(client, job_id, "resolve", outcome=outcome)
    assert (answer.status_code, answer.json()["status"]) == (200, outcome)
    assert answer.json()["finished_at"]
    (told,) = (await client.get(f"/v1/jobs/{job_id}/attempts")).json()["interventions"]
    assert (told["action"], told["was"], told["became"]) == ("resolve", "unknown", outcome)
    assert told["note"] == "not in their log"


@pytest.mark.parametrize(
    ("name", "status"),
    [
        *(("retry", status) for status in ("waiting", "running", "succeeded", "cancelled")),
        *(("cancel", status) for status in ("failed", "succeeded")),
        *(("resolve", status) for status in ("waiting", "running", "succeeded", "failed")),
        ("resolve", "cancelled"),
    ],
)
async def test_a_state_that_forbids_it(
    client: httpx.AsyncClient, ledger: Ledger, charge: Any, name: str, status: str
) -> None:
    job_id = store(ledger, charge["args"], status)
    document = problem(await step(client, job_id, name), 409, "not-possible")
    assert status in document["detail"]
    assert (await client.get(f"/v1/jobs/{job_id}")).json()["status"] == status
    assert (await client.get(f"/v1/jobs/{job_id}/attempts")).json()["interventions"] == []


async def test_a_replay_counts_what_it_would_take_and_then_takes_it(
    client: httpx.AsyncClient, ledger: Ledger, charge: Any
) -> None:
    args = charge["args"]
    mail = {"to": "ada@example.com", "subject": "Hi", "text": "Hello"}
    new = store(ledger, args, "failed", code="vendor_unavailable")
    old = store(ledger, args, "failed", code="vendor_unavailable", ended="3 hours")
    declined = store(ledger, args, "failed")
    letter = store(ledger, mail, "failed", code="vendor_unavailable", kind="send_email")
    done = store(ledger, args, "succeeded")

    async def count(dry_run: bool = True, **filters: Any) -> int:
        answer = await client.post("/v1/jobs/retry", json={"dry_run": dry_run, **filters})
        assert answer.status_code == 200, answer.text
        found: int = answer.json()["count"]
        return found

    async def waiting() -> set[UUID]:
        jobs = (await client.get("/v1/jobs?status=waiting")).json()["jobs"]
        return {UUID(job["id"]) for job in jobs}

    row = ledger.execute("SELECT now() - interval '1 hour' AS at").fetchone()
    assert row
    since = row["at"].isoformat()
    assert await count() == 4
    assert await count(kind="charge") == 3
    assert await count(vendor="sendgrid") == 1
    assert await count(code="vendor_unavailable") == 3
    assert await count(kind="charge", code="vendor_unavailable", since=since) == 1
    assert await count(code="expired") == 0
    assert await waiting() == set()
    assert await count(dry_run=False, kind="charge", code="vendor_unavailable", since=since) == 1
    assert await waiting() == {new}
    assert await count(dry_run=False, note="it is over") == 3
    assert await waiting() == {new, old, declined, letter}
    (told,) = (await client.get(f"/v1/jobs/{old}/attempts")).json()["interventions"]
    assert (told["action"], told["was"], told["note"]) == ("retry", "failed", "it is over")
    assert (await client.get(f"/v1/jobs/{done}")).json()["status"] == "succeeded"


async def test_jobs_by_the_code_of_their_error(
    client: httpx.AsyncClient, ledger: Ledger, charge: Any
) -> None:
    expired = store(ledger, charge["args"], "failed", code="expired")
    store(ledger, charge["args"], "failed")
    store(ledger, charge["args"])
    for query in ("code=expired", "code=expired&status=failed"):
        found = (await client.get(f"/v1/jobs?{query}")).json()["jobs"]
        assert [job["id"] for job in found] == [str(expired)]
    assert (await client.get("/v1/jobs?code=expired&status=waiting")).json()["jobs"] == []


NOBODY = "019ab3f0-6d7e-7c2a-9f43-0d5be2a1c901"


@pytest.fixture
async def idle(database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """Over the ledger of the whole run: nothing is changed there."""
    async with serving(database_url) as (_, made):
        yield made


@pytest.mark.parametrize("name", STEPS)
async def test_no_such_job(idle: httpx.AsyncClient, name: str) -> None:
    assert problem(await step(idle, UUID(NOBODY), name), 404, "not-found")["field"] == "id"
    bad = await idle.post(f"/v1/jobs/{CANARY}/{name}", json=STEPS[name])
    assert problem(bad, 422, "invalid-arguments")["field"] == "id"
    problem(await idle.get(f"/v1/jobs/{NOBODY}/{name}"), 405, "method-not-allowed")


@pytest.mark.parametrize(
    ("path", "given", "field"),
    [
        *((f"{NOBODY}/{name}", {"note": 7}, "note") for name in ("retry", "cancel")),
        *((f"{NOBODY}/{name}", {"note": ""}, "note") for name in ("retry", "cancel")),
        *((f"{NOBODY}/{name}", {CANARY[:6]: 1}, CANARY[:6]) for name in ("retry", "cancel")),
        (f"{NOBODY}/resolve", {"outcome": "failed"}, "note"),
        (f"{NOBODY}/resolve", {"note": "seen"}, "outcome"),
        (f"{NOBODY}/resolve", {"outcome": CANARY, "note": "seen"}, "outcome"),
        (f"{NOBODY}/resolve", {"outcome": "failed", "note": "x" * 501}, "note"),
        ("retry", {}, "dry_run"),
        ("retry", {"dry_run": "yes"}, "dry_run"),
        ("retry", {"dry_run": True, "since": "yesterday"}, "since"),
        ("retry", {"dry_run": True, "kind": ""}, "kind"),
        ("retry", {"dry_run": True, "code": 7}, "code"),
        ("retry", {"dry_run": True, "status": "failed"}, "status"),
    ],
)
async def test_a_bad_field(
    idle: httpx.AsyncClient, path: str, given: dict[str, Any], field: str
) -> None:
    answer = await idle.post(f"/v1/jobs/{path}", json=given)
    assert problem(answer, 422, "invalid-arguments")["field"] == field


async def test_a_body_without_its_length_is_read_all_the_same(idle: httpx.AsyncClient) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b'{"note": 7}'

    answer = await idle.post(f"/v1/jobs/{NOBODY}/cancel", content=chunks(), headers=JSON)
    assert problem(answer, 422, "invalid-arguments")["field"] == "note"


@pytest.mark.parametrize("path", ["retry", *(f"{NOBODY}/{name}" for name in STEPS)])
async def test_a_bad_body(idle: httpx.AsyncClient, path: str) -> None:
    for case in MALFORMED.values():
        if case:
            answer = await idle.post(f"/v1/jobs/{path}", content=case, headers=JSON)
            problem(answer, 400, "malformed-json")
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = await idle.post(f"/v1/jobs/{path}", content=b"a=b", headers=form)
    problem(answer, 415, "unsupported-media-type")
    large = b" " * (body.MOST_BYTES + 1)
    problem(await idle.post(f"/v1/jobs/{path}", content=large, headers=JSON), 413, "too-large")
