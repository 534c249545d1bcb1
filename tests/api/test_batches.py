"""A batch over HTTP: its counts, its recipients as pages and as CSV, and a person's steps."""

from __future__ import annotations

import csv
import io
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
from psycopg.types.json import Jsonb
from sqlalchemy.exc import OperationalError
from uuid_utils.compat import uuid7

from api import recipients
from models import batch_recipients

Ledger = psycopg.Connection[Any]
Row = dict[str, Any]

MAILS = {"recipients": [{"to": "ada@example.com"}], "subject": "News", "text": "Hello"}
TEXTS = {"recipients": [{"to": "+441632960961"}], "body": "Hello"}
SENT, WAITING = ["a@x.test", "b@x.test"], ["c@x.test", "d@x.test", "e@x.test"]


async def bulk(client: httpx.AsyncClient, kind: str = "bulk_email") -> UUID:
    args = MAILS if kind == "bulk_email" else TEXTS
    answer = await client.post("/v1/jobs", json={"kind": kind, "args": args})
    assert answer.status_code == 201, answer.text
    return UUID(answer.json()["batch_id"])


def planned(ledger: Ledger, batch: UUID, total: int, **counts: int) -> None:
    """As the planner leaves it, but for its recipients."""
    ledger.execute(
        "UPDATE ferryman.jobs SET status = 'succeeded', finished_at = now() WHERE id = %s", (batch,)
    )
    given = {"total": total, **counts}
    written = ", ".join(f"{name} = {number}" for name, number in given.items())
    ledger.execute(
        f"UPDATE ferryman.batches SET planned_at = now(), {written} WHERE id = %s",
        (batch,),
    )


def part(ledger: Ledger, batch: UUID, addresses: list[str], status: str, job: str) -> UUID:
    """A request of the batch, and its mails, which have their status from it."""
    job_id = uuid7()
    ledger.execute(
        "INSERT INTO ferryman.jobs (id, kind, vendor, args, priority, batch_id, status, error)"
        " VALUES (%s, 'bulk_email_part', 'sendgrid', '{}', 'low', %s, %s, %s)",
        (job_id, batch, job, Jsonb({"code": "refused"}) if job == "failed" else None),
    )
    ledger.execute(
        "INSERT INTO ferryman.parts (job_id, batch_id, part, status, size) VALUES (%s, %s, 1, %s,"
        " %s)",
        (job_id, batch, status, len(addresses)),
    )
    for address in addresses:
        mail(ledger, batch, address, job=job_id)
    return job_id


def mail(
    ledger: Ledger, batch: UUID, address: str, *, job: UUID | None = None, **more: Any
) -> None:
    row = {"id": uuid7(), "job_id": job or batch, "batch_id": batch, "recipient": address}
    insert(ledger, "mails", row | {"vendor": "sendgrid"} | more)


def insert(ledger: Ledger, table: str, row: Row) -> None:
    names, values = ", ".join(row), ", ".join(f"%({name})s" for name in row)
    ledger.execute(
        f"INSERT INTO ferryman.{table} ({names}) VALUES ({values})",
        row,
    )


@pytest.fixture
async def batch(client: httpx.AsyncClient, ledger: Ledger) -> UUID:
    """Two mails are sent, three wait, and one of each kind is set aside."""
    made = await bulk(client)
    planned(ledger, made, 8, invalid=1, duplicate=1, failed=1, delivered=2, opened=1, per_minute=60)
    part(ledger, made, SENT, "sent", "succeeded")
    part(ledger, made, WAITING, "waiting", "waiting")
    mail(ledger, made, "nobody", status="invalid", reason="no address", place=6)
    mail(ledger, made, "A@x.test", status="duplicate", place=7)
    mail(ledger, made, "f@x.test", status="failed", reason="refused", data=Jsonb({"n": 1}), place=8)
    return made


async def get(client: httpx.AsyncClient, batch: UUID, query: str = "") -> Row:
    answer = await client.get(f"/v1/batches/{batch}{query}")
    assert answer.status_code == 200, answer.text
    found: Row = answer.json()
    return found


async def test_the_counts_sum_to_the_total(client: httpx.AsyncClient, batch: UUID) -> None:
    found = await get(client, batch)
    assert (found["id"], found["kind"], found["status"]) == (str(batch), "bulk_email", "running")
    assert found["total"] == sum(found["counts"].values()) == 8
    counts = {name: n for name, n in found["counts"].items() if n}
    assert counts == {"waiting": 3, "sent": 2, "failed": 1, "invalid": 1, "duplicate": 1}
    told = {name: n for name, n in found["delivery"].items() if n}
    assert told == {"delivered": 2, "opened": 1}
    assert (found["per_minute"], found["reason"], found["finished_at"]) == (60, None, None)
    assert found["created_at"].endswith("Z")
    assert found["planned_at"].endswith("Z")


@pytest.mark.parametrize("kind", ["bulk_email", "bulk_sms"])
async def test_before_the_plan_nothing_is_counted(client: httpx.AsyncClient, kind: str) -> None:
    batch = await bulk(client, kind)
    found = await get(client, batch)
    assert (found["kind"], found["status"], found["planned_at"]) == (kind, "running", None)
    assert found["total"] == sum(found["counts"].values()) == 0
    assert await get(client, batch, "/recipients") == {"recipients": [], "next": None}


async def test_recipients_in_pages(client: httpx.AsyncClient, batch: UUID) -> None:
    query, seen = "?limit=3", []
    while True:
        page = await get(client, batch, f"/recipients{query}")
        seen.append([(one["to"], one["status"]) for one in page["recipients"]])
        if page["next"] is None:
            break
        query = f"?limit=3&cursor={page['next']}"
    assert [len(page) for page in seen] == [3, 3, 2]
    aside = [("nobody", "invalid"), ("A@x.test", "duplicate"), ("f@x.test", "failed")]
    sent, waiting = ([(to, "sent") for to in SENT], [(to, "waiting") for to in WAITING])
    assert [one for page in seen for one in page] == sent + waiting + aside


async def test_recipients_of_some_statuses(client: httpx.AsyncClient, batch: UUID) -> None:
    """Those of a request as well as those set aside."""
    for query, found in (
        ("status=invalid&status=failed", ["nobody", "f@x.test"]),
        ("status=sent", SENT),
        ("status=unknown", []),
    ):
        page = await get(client, batch, f"/recipients?{query}")
        assert [one["to"] for one in page["recipients"]] == found
    (one,) = (await get(client, batch, "/recipients?status=failed"))["recipients"]
    assert (one["place"], one["reason"], one["data"]) == (8, "refused", {"n": 1})


async def test_the_recipients_of_messages(client: httpx.AsyncClient, ledger: Ledger) -> None:
    batch = await bulk(client, "bulk_sms")
    planned(ledger, batch, 1)
    row = {"id": uuid7(), "job_id": batch, "batch_id": batch, "vendor": "twilio", "body": "Hello"}
    more = {"recipient": "+441632960961", "segments": 1, "status": "sent", "delivery": "delivered"}
    insert(ledger, "messages", row | more | {"place": 1})
    (one,) = (await get(client, batch, "/recipients"))["recipients"]
    assert (one["to"], one["status"], one["delivery"]) == ("+441632960961", "sent", "delivered")
    answer = await client.get(f"/v1/batches/{batch}/recipients?format=csv")
    (found,) = csv.DictReader(io.StringIO(answer.text))
    assert (found["line"], found["to"], found["data"]) == ("1", "+441632960961", "")


async def test_all_of_them_as_csv(
    client: httpx.AsyncClient, batch: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In more pages than one, of which the last is full."""
    for rows_at_once in (3, 4):
        monkeypatch.setattr(recipients, "ROWS_AT_ONCE", rows_at_once)
        answer = await client.get(f"/v1/batches/{batch}/recipients?format=csv")
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        saved = f'attachment; filename="recipients-{batch}.csv"'
        assert answer.headers["content-disposition"] == saved
        found = list(csv.DictReader(io.StringIO(answer.text, newline="")))
        aside = ["nobody", "A@x.test", "f@x.test"]
        assert [one["to"] for one in found] == SENT + WAITING + aside
    last = found[-1]
    assert (last["line"], last["status"], last["reason"]) == ("8", "failed", "refused")
    assert (last["data"], last["sent_at"], last["delivery"]) == ('{"n":1}', "", "")
    answer = await client.get(f"/v1/batches/{batch}/recipients?format=csv&status=invalid")
    assert [one["to"] for one in csv.DictReader(io.StringIO(answer.text))] == ["nobody"]


async def test_a_csv_that_cannot_be_completed_breaks_off(
    client: httpx.AsyncClient, batch: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that nobody takes a part of it for the whole."""
    monkeypatch.setattr(recipients, "ROWS_AT_ONCE", 3)
    read = batch_recipients.recipients

    async def once(connection: Any, id: UUID, *, after: UUID | None, **how: Any) -> list[Row]:
        if after is not None:
            raise OperationalError("", None, psycopg.OperationalError())
        return await read(connection, id, after=after, **how)

    monkeypatch.setattr(batch_recipients, "recipients", once)
    with pytest.raises(RuntimeError, match="broke off"):
        await client.get(f"/v1/batches/{batch}/recipients?format=csv")


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("ada@example.com", "ada@example.com"),
        ("=HYPERLINK(1)@example.com", "'=HYPERLINK(1)@example.com"),
        ("+1+cmd@example.com", "'+1+cmd@example.com"),
        *((f"{sign}1=", f"'{sign}1=") for sign in "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"),
        # A number is found again as it was.
        ("+441632960961", "+441632960961"),
        ("+44 1632", "'+44 1632"),
        ({"name": "=1"}, '{"name":"=1"}'),
        (None, ""),
        (17, "17"),
    ],
)
def test_no_cell_is_a_formula(value: Any, written: str) -> None:
    assert recipients.cell(value) == written


async def test_pause_and_resume(client: httpx.AsyncClient, ledger: Ledger, batch: UUID) -> None:
    answer = await client.post(f"/v1/batches/{batch}/pause", json={"note": "wrong subject"})
    assert answer.status_code == 200, answer.text
    assert (answer.json()["status"], answer.json()["reason"]) == ("paused", "wrong subject")
    due = "SELECT FROM ferryman.jobs WHERE batch_id = %s AND status = 'waiting' AND run_at <= now()"
    assert ledger.execute(due, (batch,)).fetchall() == []
    answer = await client.post(f"/v1/batches/{batch}/resume")
    assert (answer.json()["status"], answer.json()["reason"]) == ("running", None)
    assert len(ledger.execute(due, (batch,)).fetchall()) == 1
    told = (await client.get(f"/v1/jobs/{batch}/attempts")).json()["interventions"]
    assert [one["who"] for one in told] == ["the API"] * 2
    assert told[0]["note"] == "wrong subject"


async def test_cancel(client: httpx.AsyncClient, batch: UUID) -> None:
    answer = await client.post(f"/v1/batches/{batch}/cancel", json={})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found["status"] == "cancelled"
    assert (found["counts"]["cancelled"], found["counts"]["waiting"]) == (3, 0)
    assert found["total"] == sum(found["counts"].values())


async def test_retry_those_that_failed(
    client: httpx.AsyncClient, ledger: Ledger, batch: UUID
) -> None:
    """A whole request, and a mail that failed alone."""
    ledger.execute("UPDATE ferryman.batches SET total = 9 WHERE id = %s", (batch,))
    part(ledger, batch, ["g@x.test"], "failed", "failed")
    assert (await get(client, batch))["counts"]["failed"] == 2
    answer = await client.post(f"/v1/batches/{batch}/retry")
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["counts"]["failed"], found["counts"]["waiting"]) == (0, 5)
    assert found["total"] == sum(found["counts"].values()) == 9
    page = await get(client, batch, "/recipients?status=waiting")
    assert {"f@x.test", "g@x.test"} <= {one["to"] for one in page["recipients"]}


@pytest.mark.parametrize("step", ["pause", "resume", "cancel", "retry"])
async def test_what_is_done_takes_no_step(
    client: httpx.AsyncClient, ledger: Ledger, step: str
) -> None:
    batch = await bulk(client)
    planned(ledger, batch, 1)
    part(ledger, batch, ["a@x.test"], "sent", "succeeded")
    answer = await client.post(f"/v1/batches/{batch}/{step}")
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/not-possible")
    assert (await get(client, batch))["status"] == "done"
    answer = await client.post(f"/v1/batches/{batch}/{step}", json={"why": "so"})
    assert (answer.status_code, answer.json()["field"]) == (422, "why")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("GET", "/recipients"),
        ("GET", "/recipients?format=csv"),
        *(("POST", f"/{step}") for step in ("pause", "resume", "cancel", "retry")),
    ],
)
async def test_a_batch_that_is_not_there(client: httpx.AsyncClient, method: str, path: str) -> None:
    answer = await client.request(method, f"/v1/batches/{uuid4()}{path}")
    assert (answer.status_code, answer.json()["field"]) == (404, "id")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("status=gone", "status.0"),
        ("format=xls", "format"),
        ("cursor=7", "cursor"),
        ("limit=1001", "limit"),
        ("statuses=sent", "statuses"),
    ],
)
async def test_a_query_that_means_nothing(
    client: httpx.AsyncClient, batch: UUID, query: str, field: str
) -> None:
    answer = await client.get(f"/v1/batches/{batch}/recipients?{query}")
    assert (answer.status_code, answer.json()["field"]) == (422, field)
