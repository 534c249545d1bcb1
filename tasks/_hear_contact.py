"""What a CRM tells of its contacts, brought into the ledger: many at once, each only forward."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from adapters._news import ContactNews
from models import contacts as ledger
from tasks._base import Heard, NotNow

Row = dict[str, Any]

NOBODY = "of no contact of ferryman's"
OLD = "older than what is known"
EMAIL = "email"


async def hear_all(connection: AsyncConnection, told: Sequence[Heard]) -> list[str | NotNow]:
    """An answer for each, in the order in which they are given; the older are heard first."""
    answers: dict[int, str] = {}
    for vendor in {heard.vendor for heard in told}:
        of_one = [(place, one.news) for place, one in enumerate(told) if one.vendor == vendor]
        of_one.sort(key=lambda pair: pair[1].at)
        references = {ref for _, news in of_one for ref in (news.vendor_reference, *news.others)}
        rows = await ledger.told(connection, vendor, references)
        before = {row["id"]: row["identity"] for row in rows}
        answers |= {place: _hear(rows, news) for place, news in of_one}
        await _as_they_were_known(connection, vendor, rows, before)
        if rows:
            await ledger.tell(connection, rows)
    return [answers[place] for place in range(len(told))]


def _hear(rows: Sequence[Row], news: ContactNews) -> str:
    """Change the rows that it is about."""
    names = (news.vendor_reference, *news.others)
    about = [row for row in rows if row["vendor_reference"] in names]
    newer = [row for row in about if _moment(row["told_at"]) <= news.at]
    for row in newer:
        WHAT[news.what](row, news)
        row["told_at"] = news.at
    if not about:
        return NOBODY
    return news.what if newer else OLD


def _moment(at: datetime | None) -> datetime:
    return at or datetime.min.replace(tzinfo=UTC)


def _lives(row: Row, news: ContactNews) -> None:
    row["status"] = "active"


def _changed(row: Row, news: ContactNews) -> None:
    """Who is known by his address is known by the new one. What is empty is none."""
    if news.field == EMAIL:
        if news.value and row["identity"] == (row["email"] or "").lower():
            row["identity"] = news.value.lower()
        row["email"] = news.value or None
    elif news.field:
        fields = dict(row["fields"] or {})
        fields.pop(news.field, None)
        row["fields"] = fields | ({news.field: news.value} if news.value else {})


def _deleted(row: Row, news: ContactNews) -> None:
    row["status"] = "deleted"


def _erased(row: Row, news: ContactNews) -> None:
    """Nothing of him is kept but that there was somebody, lest he be told of again."""
    row |= {"status": "deleted", "email": None, "external_id": None, "fields": None}
    row["identity"] = f"erased {row['id']}"


def _merged(row: Row, news: ContactNews) -> None:
    """Whoever of them is saved next, it is this one."""
    row |= {"status": "active", "vendor_reference": news.vendor_reference}


WHAT: dict[str, Callable[[Row, ContactNews], None]] = {
    "made": _lives,
    "changed": _changed,
    "deleted": _deleted,
    "erased": _erased,
    "restored": _lives,
    "merged": _merged,
}


async def _as_they_were_known(
    connection: AsyncConnection, vendor: str, rows: Sequence[Row], before: dict[Any, str]
) -> None:
    """Where somebody else is known by a new address already, the old one stays."""
    changed = [row for row in rows if row["identity"] != before[row["id"]]]
    if not changed:
        return
    taken = await ledger.taken(connection, vendor, {row["identity"] for row in changed})
    for row in changed:
        if row["identity"] in taken:
            row["identity"] = before[row["id"]]
        taken.add(row["identity"])
