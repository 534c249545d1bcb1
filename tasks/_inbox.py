"""What vendors told by themselves, brought into the ledger: in batches, each event once.

Most of it says what the ledger knows already, and is done with in one look at many.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection
from uuid_utils.compat import uuid7

from adapters._base import Event, News, adapter
from ferryman.policies import policies
from models import inbox
from models.group import is_away
from models.inbox import Taken
from tasks._base import Heard, NotNow, Transactions
from tasks._hear_payment import KNOWN
from tasks._settle import kinds

log = structlog.get_logger()

MOST = 500
# Those for which it was too early count as well.
MOST_TRIES = 60
LONGEST_DELAY_SECONDS = 300.0
NOT_NOW_SECONDS = 3.0
NOTHING = "nothing of ferryman's"
SEPARATOR = "; "

Read = tuple[Taken, list[News]]


async def drain(ledger: Transactions) -> int:
    """Read the events that are due; how many there were."""
    async with ledger.transaction() as connection:
        taken = await inbox.take(connection, sorted(policies()), MOST)
    read: list[Read] = []
    for one in taken:
        try:
            read.append((one, _news(one)))
        except Exception as error:  # one that cannot be read must not hold up the others
            await _failed(ledger, one, type(error).__name__)
    done = {one.id: NOTHING for one, news in read if not news}
    for vendor in {one.vendor for one in taken}:
        told = [(one, news) for one, news in read if one.vendor == vendor and news]
        done |= dict.fromkeys(await _known(ledger, vendor, told), KNOWN)
    if done:
        async with ledger.transaction() as connection:
            await inbox.handled(connection, done)
    left = [(one, news) for one, news in read if one.id not in done]
    done |= await _hear_many(ledger, left)
    for one, news in left:
        if one.id not in done:
            await _hear(ledger, one, news)
    return len(taken)


async def _hear_many(ledger: Transactions, read: Sequence[Read]) -> dict[UUID, str]:
    """Those that are heard many at a time, a transaction a kind; what came of each. The others, and
    all where one of them fails, are heard one by one."""
    done: dict[UUID, str] = {}
    for name, kind in kinds().items():
        told = [_heard(one, news[0]) for one, news in read if _only(news, name)]
        if not kind.hears_many or not told:
            continue
        events = [one for one, news in read if _only(news, name)]
        try:
            async with ledger.transaction() as connection:
                answers = await kind.hear_all(connection, told)
                done |= await _noted(connection, events, answers)
        except Exception as error:
            if is_away(error):
                raise
            log.warning("events.not_heard_together", kind=name, error=type(error).__name__)
    return done


async def _noted(
    connection: AsyncConnection, events: Sequence[Taken], answers: Sequence[str | NotNow]
) -> dict[UUID, str]:
    pairs = list(zip(events, answers, strict=True))
    done = {one.id: answer for one, answer in pairs if isinstance(answer, str)}
    early = {one.id: answer for one, answer in pairs if isinstance(answer, NotNow)}
    if done:
        await inbox.handled(connection, done)
    for event, answer in early.items():
        await inbox.later(connection, event, max(NOT_NOW_SECONDS, answer.seconds), answer.why)
    return done | {event: answer.why for event, answer in early.items()}


def _only(news: Sequence[News], kind: str) -> bool:
    return len(news) == 1 and news[0].kind == kind


def _heard(one: Taken, news: News) -> Heard:
    return Heard(one.vendor, news, one.event_id, uuid7(), one.age_seconds)


def _news(one: Taken) -> list[News]:
    if one.vendor not in policies():
        return []
    event = Event(one.event_id, one.type, one.at, one.payload)
    return [news for news in adapter(one.vendor).news(event) if news.kind in kinds()]


async def _known(ledger: Transactions, vendor: str, told: Sequence[Read]) -> list[UUID]:
    """The events of which the ledger says all already."""
    try:
        return await _of_known(ledger, vendor, told)
    except Exception as error:
        if is_away(error):
            raise
        log.warning("events.not_compared", vendor=vendor, error=type(error).__name__)
        return []  # they are heard one by one


async def _of_known(ledger: Transactions, vendor: str, told: Sequence[Read]) -> list[UUID]:
    new: set[UUID] = set()
    for kind in {news.kind for _, of_one in told for news in of_one}:
        pairs = [(one.id, news) for one, of_one in told for news in of_one if news.kind == kind]
        async with ledger.transaction() as connection:
            same = await kinds()[kind].known(connection, vendor, [news for _, news in pairs])
        new |= {event for (event, _), known in zip(pairs, same, strict=True) if not known}
    return [one.id for one, _ in told if one.id not in new]


async def _hear(ledger: Transactions, one: Taken, news: Sequence[Any]) -> None:
    """One event in one transaction. What fails is tried again, and at last left to a person; what
    comes too early for one effect takes its course for the others."""
    early: NotNow | None = None
    outcomes: list[str] = []
    try:
        async with ledger.transaction() as connection:
            for each in news:
                (answer,) = await kinds()[each.kind].hear_all(connection, [_heard(one, each)])
                if isinstance(answer, NotNow):
                    early = answer
                else:
                    outcomes.append(answer)
            if early is None:
                await inbox.handled(connection, {one.id: SEPARATOR.join(outcomes)})
            else:
                seconds = max(NOT_NOW_SECONDS, early.seconds)
                await inbox.later(connection, one.id, seconds, early.why)
    except Exception as error:
        if is_away(error):
            raise
        log.warning("event.failed", event_id=one.event_id, error=type(error).__name__)
        await _failed(ledger, one, type(error).__name__)


async def _failed(ledger: Transactions, one: Taken, what: str) -> None:
    if one.tries < MOST_TRIES:
        delay = min(2.0**one.tries, LONGEST_DELAY_SECONDS)
        await _later(ledger, one, delay, f"failed: {what}")
        return
    log.error("event.given_up", event_id=one.event_id, vendor=one.vendor, error=what)
    async with ledger.transaction() as connection:
        await inbox.handled(connection, {one.id: f"failed: {what}: a person should look"})


async def _later(ledger: Transactions, one: Taken, seconds: float, outcome: str) -> None:
    async with ledger.transaction() as connection:
        await inbox.later(connection, one.id, seconds, outcome)
