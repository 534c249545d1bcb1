"""What a vendor tells of text messages, brought into the ledger: many at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from adapters._messages import MessageAnswer
from adapters._news import MessageNews
from models import messages as ledger
from models import suppressions
from tasks._base import Heard, NotNow
from tasks._messages import sent
from tasks._settle import prove

Row = dict[str, Any]

# An event may overtake the answer that tells us the vendor's id of its message.
YOUNG_SECONDS = 5.0
# What is final is followed by nothing that is not.
RANK = {"processed": 1, "deferred": 2, "delivered": 3, "bounced": 3, "dropped": 3}

KNOWN = "known already"
NOT_OURS = "of no message of ferryman's"
STOPPED = "nothing more is sent to this number"
SECOND = "a second message: a person should look"


@dataclass(frozen=True)
class _Messages:
    """The messages that news is about, by both their names."""

    by_reference: Mapping[tuple[str, str], Row]
    by_id: Mapping[UUID, Row]

    def of(self, heard: Heard) -> Row | None:
        """By the vendor's own id first: of two equal messages that were both in doubt each has
        taken one, and it need not be its own."""
        news: MessageNews = heard.news
        row = self.by_reference.get((heard.vendor, news.vendor_reference or ""))
        if row is None and news.message is not None:
            row = self.by_id.get(news.message)
        return row if row and row["vendor"] == heard.vendor else None


async def hear_all(connection: AsyncConnection, told: Sequence[Heard]) -> list[str | NotNow]:
    """Bring what the vendor tells of many messages into the ledger; an answer for each."""
    known = await _known(connection, told)
    early = [_early(heard, known.of(heard)) for heard in told]
    now = [heard for heard, not_now in zip(told, early, strict=True) if not_now is None]
    pairs = [(heard, row) for heard in now if (row := known.of(heard)) is not None]
    proven = await _prove(connection, pairs)
    moved = await _move(connection, [(h, row) for h, row in pairs if not _is_other(h, row)])
    await _suppress(connection, [(heard, known.of(heard)) for heard in now])
    return [
        not_now or _answer(heard, known.of(heard), proven, moved)
        for heard, not_now in zip(told, early, strict=True)
    ]


async def _known(connection: AsyncConnection, told: Sequence[Heard]) -> _Messages:
    news: list[MessageNews] = [heard.news for heard in told]
    rows = await ledger.heard_of(
        connection,
        vendors=sorted({heard.vendor for heard in told}),
        references=sorted({one.vendor_reference for one in news if one.vendor_reference}),
        ids=sorted({one.message for one in news if one.message}),
    )
    return _Messages(
        {(row["vendor"], row["vendor_reference"]): row for row in rows if row["vendor_reference"]},
        {row["id"]: row for row in rows},
    )


def _early(heard: Heard, row: Row | None) -> NotNow | None:
    news: MessageNews = heard.news
    if row is not None:
        return NotNow() if row["job"] == "running" and heard.patient else None
    nameless = news.message is None and news.suppress is None
    if nameless and not heard.read and heard.age_seconds < YOUNG_SECONDS:
        return NotNow("its message is not known yet", YOUNG_SECONDS)
    return None


def _is_other(heard: Heard, row: Row) -> bool:
    """Whether it tells of another message of the same job than the one that we know of."""
    reference = heard.news.vendor_reference
    return reference is not None and row["vendor_reference"] not in (None, reference)


async def _prove(
    connection: AsyncConnection, pairs: Sequence[tuple[Heard, Row]]
) -> dict[UUID, bool]:
    """Whatever is told of a message proves that the vendor took it over. The jobs to which that was
    new, and whether they have succeeded by it."""
    news = {
        row["id"]: (heard, row)
        for heard, row in pairs
        if row["job"] not in (None, "succeeded") or _is_other(heard, row)
    }
    return {job: await _prove_one(connection, *news[job]) for job in sorted(news)}


async def _prove_one(connection: AsyncConnection, heard: Heard, row: Row) -> bool:
    news: MessageNews = heard.news
    reference = news.vendor_reference or row["vendor_reference"]
    done = sent(row["id"], heard.vendor, MessageAnswer(reference, news.at), row["segments"])
    return await prove(connection, row["id"], done, who=heard.who)


async def _move(connection: AsyncConnection, pairs: Sequence[tuple[Heard, Row]]) -> set[UUID]:
    """The latest of what was told of each message; those to which it is new."""
    latest: dict[UUID, MessageNews] = {}
    for heard, row in pairs:
        before = latest.get(row["id"])
        if before is None or _order(heard.news) > _order(before):
            latest[row["id"]] = heard.news
    rows = [_row(message, news) for message, news in latest.items() if news.what in RANK]
    return await ledger.told(connection, rows) if rows else set()


def _order(news: MessageNews) -> tuple[int, datetime]:
    return RANK.get(news.what, 0), news.at


def _row(id: UUID, news: MessageNews) -> Row:
    told = {"delivery": news.what, "at": news.at, "reason": news.reason}
    return {"id": id, "vendor_reference": news.vendor_reference, **told}


async def _suppress(connection: AsyncConnection, pairs: Sequence[tuple[Heard, Row | None]]) -> None:
    rows = []
    for heard, row in pairs:
        address = heard.news.address or (row and row["recipient"])
        if heard.news.suppress and address:
            why = {"reason": heard.news.suppress, "source": heard.vendor}
            rows.append({"channel": "sms", "address": address, **why})
    await suppressions.add(connection, rows)


def _answer(heard: Heard, row: Row | None, proven: Mapping[UUID, bool], moved: set[UUID]) -> str:
    if row is None:
        return STOPPED if heard.news.suppress and heard.news.address else NOT_OURS
    if _is_other(heard, row):
        return SECOND
    if proven.get(row["id"]):
        return "settled: succeeded"
    return f"{heard.news.what}: recorded" if row["id"] in moved else KNOWN
