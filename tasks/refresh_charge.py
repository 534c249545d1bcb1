"""`refresh_charge`: read a charge again at the vendor, since an event said that it has changed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

from uuid_utils.compat import uuid7

from adapters._base import NotSent, Unavailable
from adapters._news import DisputeNews, PaymentNews, RefundNews
from adapters._payments import Known, Payment, Payments
from ferryman import requests
from models import payments as ledger
from tasks import _hear_payment, _hear_refund
from tasks._base import Attempt, Done, Heard, Job, Wait
from tasks._money import known

News = PaymentNews | RefundNews | DisputeNews

READ_AGAIN_SECONDS = 10.0
CLOCKS = timedelta(seconds=10)


class RefreshCharge(Job[requests.RefreshCharge]):
    request = requests.RefreshCharge

    async def run(self, attempt: Attempt[requests.RefreshCharge]) -> Done:
        charge = UUID(attempt.args.charge)
        try:
            news = await _news(attempt, charge)
        except (NotSent, Unavailable) as error:
            # It changes nothing at the vendor, and nobody else would read this again.
            raise Wait(error.message, READ_AGAIN_SECONDS) from error
        outcomes = [await _hear(attempt, one) for one in news]
        return Done({"id": str(attempt.id), "charge": str(charge), "outcomes": outcomes})


async def _news(attempt: Attempt[requests.RefreshCharge], charge: UUID) -> list[News]:
    event = attempt.args.event
    return await (_of_event(attempt, event) if event else _of_charge(attempt, charge))


async def _of_charge(attempt: Attempt[requests.RefreshCharge], id: UUID) -> list[News]:
    """By what the ledger knows of the charge; where it knows nothing, by what the event named,
    which may be anybody's: that has to carry our job's name."""
    args = attempt.args
    async with attempt.ledger.transaction() as connection:
        charge = await ledger.charge(connection, id)
    ours = known(charge)
    sure = ours.payment is not None or ours.session is not None
    whose = ours if sure else Known(payment=args.payment, session=args.session)
    # What happens while it is read, or in the time that two clocks differ by, comes after this.
    at = datetime.now(UTC) - CLOCKS
    payment = await cast(Payments, attempt.adapter).read_payment(attempt.call, whose)
    if not sure and payment.job != id:
        return []
    return list(_told(id, payment, at))


def _told(id: UUID, payment: Payment, at: datetime) -> Iterator[News]:
    yield PaymentNews(at=at, told=payment, job=id)
    for refund in payment.refunds:
        yield RefundNews(at=at, payment=payment.vendor_reference, told=refund)
    if payment.disputed and payment.vendor_reference:
        yield DisputeNews(at=at, payment=payment.vendor_reference, disputed=True)


async def _of_event(attempt: Attempt[requests.RefreshCharge], id: str) -> list[News]:
    """The event as the vendor itself tells it, over a connection of ours."""
    event = await attempt.adapter.read_event(attempt.call, id)
    return [_bound(cast(News, one)) for one in attempt.adapter.news(event)] if event else []


def _bound(news: News) -> News:
    return type(news)(**{**vars(news), "bound": True})


async def _hear(attempt: Attempt[requests.RefreshCharge], news: Any) -> str:
    of = _hear_refund.hear if isinstance(news, RefundNews) else _hear_payment.hear
    heard = Heard(attempt.vendor, news, f"read by job {attempt.id}", uuid7(), read=True)
    async with attempt.ledger.transaction() as connection:
        return await of(connection, heard)
