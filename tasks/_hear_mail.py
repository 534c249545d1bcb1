"""What a mail vendor tells of mails, brought into the ledger: many at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from adapters._news import MailNews
from ferryman import requests
from models import batches, mail_events, suppressions
from tasks import _settle
from tasks._base import Heard, NotNow

Row = dict[str, Any]


async def hear_all(connection: AsyncConnection, told: Sequence[Heard]) -> list[str | NotNow]:
    """An answer for each. What names none of our mails is nothing to us."""
    ours = [heard for heard in told if heard.news.email is not None]
    open_jobs = await _open_jobs(connection, ours)
    early = {known for known, (job, heard) in open_jobs.items() if _runs(job, heard)}
    now = [heard for heard in ours if heard.news.job not in early]
    # First, since jobs are locked before mails and batches.
    for settled in sorted(open_jobs.keys() - early):
        await _prove(connection, *open_jobs[settled])
    if now:
        touched = await mail_events.hear(connection, [_row(heard) for heard in now])
        await _suppress(connection, now)
        if touched:
            await batches.pause_the_bad(connection, touched)
    return [_answer(heard, early) for heard in told]


def _answer(heard: Heard, early: set[UUID]) -> str | NotNow:
    news: MailNews = heard.news
    if news.email is None:
        return "of no mail of ferryman's"
    return NotNow() if news.job in early else news.what


def _row(heard: Heard) -> Row:
    news: MailNews = heard.news
    told = {"what": news.what, "at": news.at, "reason": news.reason}
    return {"email": news.email, "vendor": heard.vendor, **told}


async def _open_jobs(
    connection: AsyncConnection, told: Sequence[Heard]
) -> dict[UUID, tuple[Row, Heard]]:
    """The jobs of these mails that have not succeeded, each with one who tells of it."""
    by_job = {heard.news.job: heard for heard in told if heard.news.job is not None}
    rows = await mail_events.unsettled(connection, sorted(by_job))
    found = {row["id"]: (row, by_job[row["id"]]) for row in rows}
    return {one: pair for one, pair in found.items() if pair[0]["vendor"] == pair[1].vendor}


def _runs(job: Row, heard: Heard) -> bool:
    """It is left to find out by itself first."""
    return job["status"] == "running" and heard.patient


async def _prove(connection: AsyncConnection, job: Row, heard: Heard) -> None:
    """Whatever is told of a mail proves that its request was accepted, as a whole."""
    args = requests.validate(job["kind"], job["args"], internal=True)
    done = _settle.kinds()[job["kind"]].resolved(job["id"], job["vendor"], args)
    await _settle.prove(connection, job["id"], done, who=heard.who)


async def _suppress(connection: AsyncConnection, told: Sequence[Heard]) -> None:
    rows = [
        {"email": heard.news.email, "reason": heard.news.suppress, "source": heard.vendor}
        for heard in told
        if heard.news.suppress
    ]
    if rows and (found := await mail_events.to_suppress(connection, rows)):
        await suppressions.add(connection, found)
