"""What an event about a refund means: a job's, or one that a person made at the vendor's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from adapters._news import RefundNews
from models import payments, refunds, settle
from models.walk import write
from tasks._base import Heard, NotNow, timestamp
from tasks._hear_payment import KNOWN, NOT_OURS, OTHER_AMOUNT, READ_AGAIN, refresh
from tasks._money import refund_done
from tasks._settle import SECOND, disprove, prove

Row = dict[str, Any]

ORDER = ("reserved", "pending", "succeeded", "failed")
FAILED_LATER = "the refund failed at the vendor after it had succeeded: its amount is there again"
FAILED: Row = {
    "code": "refund_failed",
    "message": "the vendor could not give the money back",
    "type": "Refused",
}


async def known(connection: AsyncConnection, vendor: str, news: Sequence[Any]) -> list[bool]:
    """Whether the ledger says the same already, without locks."""
    heard = [one.told.vendor_reference for one in news if isinstance(one, RefundNews)]
    stands = await refunds.stand(connection, vendor, heard) if heard else {}
    return [
        isinstance(one, RefundNews) and stands.get(one.told.vendor_reference) == one.told.status
        for one in news
    ]


async def hear(connection: AsyncConnection, heard: Heard) -> str:
    """Follow one piece of news. Raises NotNow."""
    news: RefundNews = heard.news
    job = await settle.lock(connection, news.told.job) if news.told.job else None
    known = await refunds.by_reference(connection, heard.vendor, news.told.vendor_reference)
    theirs = job is not None and job["kind"] == "refund" and job["vendor"] == heard.vendor
    if job is not None and theirs and (known is None or known["id"] == job["id"]):
        return await _of_job(connection, heard, news, job)
    return await _of_person(connection, heard, news, known)


async def _of_job(connection: AsyncConnection, heard: Heard, news: RefundNews, job: Row) -> str:
    if job["status"] == "running" and heard.patient:
        raise NotNow
    reserved = await refunds.reservation(connection, job["id"])
    if reserved is None:
        return "nothing was set aside for it: a person should look"
    if reserved.vendor_reference not in (None, news.told.vendor_reference):
        return await _another(connection, heard, news, job)
    if _is_old(reserved, news, job):
        return KNOWN
    if not news.bound:
        return await _read_again(connection, heard, reserved, job)
    if news.told.status == "failed":
        return await _failed(connection, heard, news, job)
    return await _given(connection, heard, news, job, reserved)


def _is_old(reserved: refunds.Reservation, news: RefundNews, job: Row) -> bool:
    """Whether the ledger says so already, or knows of something later."""
    if reserved.told_at is None or not news.bound:
        return reserved.status == news.told.status and job["status"] == "succeeded"
    further = ORDER.index(news.told.status) > ORDER.index(reserved.status)
    return (news.at, further) <= (reserved.told_at, False)


async def _another(connection: AsyncConnection, heard: Heard, news: RefundNews, job: Row) -> str:
    """A job that was sent again has two at the vendor. The other one has a row of its own."""
    outcome = await _of_person(connection, heard, news, None)
    if news.bound and news.told.status != "failed":
        await settle.flag(connection, job["id"], SECOND)
        await _tell(connection, heard, job, "late proof")
    return outcome


async def _read_again(
    connection: AsyncConnection, heard: Heard, reserved: refunds.Reservation, job: Row
) -> str:
    if job["status"] in ("waiting", "running") or (job["status"] == "unknown" and job["look_at"]):
        return "the job finds out by itself"
    await refresh(connection, heard, reserved.charge_id)
    return READ_AGAIN


async def _given(
    connection: AsyncConnection,
    heard: Heard,
    news: RefundNews,
    job: Row,
    reserved: refunds.Reservation,
) -> str:
    if (news.told.amount, news.told.currency.lower()) != (reserved.amount, reserved.currency):
        await settle.flag(connection, job["id"], OTHER_AMOUNT)
        return OTHER_AMOUNT
    told = refund_done(job["id"], heard.vendor, reserved, news.told, timestamp(news.at))
    if job["status"] == "succeeded":
        await write(connection, [told.writes])
        return "recorded"
    settled = await prove(connection, job["id"], told, who=heard.who)
    return "settled: succeeded" if settled else "recorded"


async def _failed(connection: AsyncConnection, heard: Heard, news: RefundNews, job: Row) -> str:
    """It gives the balance back, also when it had succeeded before."""
    row = _row(news, str(job["id"]))
    if job["status"] in ("succeeded", "failed", "cancelled"):
        await write(connection, [{"refunds": [row]}])
        if job["status"] == "succeeded":
            await settle.flag(connection, job["id"], FAILED_LATER)
        await _tell(connection, heard, job, "refund failed")
        return "its amount is there again"
    if job["round"]:
        # By a name of its own, so that no other news of it is taken for one of the next try.
        return await _of_person(connection, heard, news, None)
    ended = await disprove(connection, job["id"], FAILED, who=heard.who, answered=["refund"])
    await write(connection, [{"refunds": [row]}] if ended else [])
    return "settled: failed" if ended else KNOWN


async def _tell(connection: AsyncConnection, heard: Heard, job: Row, action: str) -> None:
    told = {"job_id": job["id"], "who": heard.who, "action": action, "note": None}
    await settle.tell(connection, [{**told, "was": job["status"], "became": job["status"]}])


async def _of_person(
    connection: AsyncConnection, heard: Heard, news: RefundNews, row: Row | None
) -> str:
    """Made in the vendor's own pages: it counts like any other."""
    told = news.told
    charge = await payments.by_reference(connection, heard.vendor, news.payment)
    if row is None and charge is None:
        heard.wait_for_its_charge()
        return NOT_OURS
    if row is not None and row["status"] == told.status:
        return KNOWN
    about = row["charge_id"] if row else charge["id"] if charge else None
    assert about is not None
    if not news.bound:
        await refresh(connection, heard, about)
        return READ_AGAIN
    refund_id = row["id"] if row else await _new(connection, heard, news, about)
    await write(connection, [{"refunds": [_row(news, str(refund_id))]}])
    return "a refund made at the vendor's is recorded"


async def _new(connection: AsyncConnection, heard: Heard, news: RefundNews, charge: UUID) -> UUID:
    told = {
        "reference": news.told.vendor_reference,
        "amount": news.told.amount,
        "currency": news.told.currency.lower(),
        "created_at": news.told.created_at,
    }
    return await refunds.made_elsewhere(connection, heard.vendor, charge, heard.new_id, told)


def _row(news: RefundNews, id: str) -> Row:
    return {
        "id": id,
        "status": news.told.status,
        "vendor_reference": news.told.vendor_reference,
        "at": timestamp(news.at),
    }
