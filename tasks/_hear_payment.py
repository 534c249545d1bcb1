"""What an event about a payment or a dispute means for the charge that it is about.

States move forward only, and by proof: what an event says is believed where its signature covers
it, and is read again at the vendor where it does not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from adapters._base import CANCEL
from adapters._news import DisputeNews, PaymentNews
from adapters._payments import OPEN, ChargeOrder, Payment
from ferryman import requests
from models import jobs, settle
from models import payments as ledger
from models.engine import dumps
from models.walk import write
from tasks._base import Heard, NotNow
from tasks._money import charge_done, charge_row, ending_done, fits, order_of
from tasks._settle import LATE, SECOND, disprove, prove

Row = dict[str, Any]
Stands = Mapping[UUID, tuple[str, str | None, str | None]]

KNOWN = "known already"
NOT_OURS = "not of ferryman"
LOOKED_AT = "the job looks at once"
READ_AGAIN = "read again at the vendor"
TAKEN = ("authorized", "succeeded")
ENDED = ("succeeded", "failed", "cancelled")
# The steps that end a hold, whose jobs these are, and what a payment is after them.
ENDINGS = {"capture": "capture_charge", CANCEL: "cancel_charge"}
STATUS_AFTER = {"capture_charge": "succeeded", "cancel_charge": "cancelled"}
# What of the ledger's states says the same as the vendor's, or more.
SAYS = {
    "requires_action": ("requires_action", "processing", "authorized", "succeeded"),
    "processing": ("processing", "authorized", "succeeded"),
    "authorized": ("authorized", "succeeded", "cancelled"),
    "succeeded": ("succeeded",),
    "cancelled": ("cancelled",),
    "failed": ("failed",),
}
AFTER_SUCCESS = ("partially_refunded", "refunded", "disputed")
OTHER_AMOUNT = "the vendor tells of another amount than was asked for: a person should look"


async def known(connection: AsyncConnection, vendor: str, news: Sequence[Any]) -> list[bool]:
    """Whether the ledger says the same already, without locks."""
    ids = {one.job for one in news if isinstance(one, PaymentNews) and one.job}
    stands = await ledger.stand(connection, vendor, sorted(ids)) if ids else {}
    return [isinstance(one, PaymentNews) and _is_known(one, stands) for one in news]


def _is_known(news: PaymentNews, stands: Stands) -> bool:
    if news.job is None or (stand := stands.get(news.job)) is None:
        return False
    if _ending(news) is not None:
        return False  # it may tell of a capture or a cancel that is in doubt
    job_status, status, reference = stand
    same = news.told.vendor_reference in (None, reference)
    return job_status == "succeeded" and same and says(status, news.told.status)


def says(status: str | None, told: str) -> bool:
    """Whether the ledger's status of a charge is as far as the one that is told."""
    return status in SAYS[told] or (status in AFTER_SUCCESS and told not in ("cancelled", "failed"))


async def hear(connection: AsyncConnection, heard: Heard) -> str:
    """Follow one piece of news. Raises NotNow."""
    if isinstance(heard.news, DisputeNews):
        return await _dispute(connection, heard, heard.news)
    news: PaymentNews = heard.news
    job_id = await _job_of(connection, heard.vendor, news)
    row = await settle.lock(connection, job_id) if job_id else None
    if row is None or row["kind"] != "charge" or row["vendor"] != heard.vendor:
        return NOT_OURS
    if row["status"] == "running" and heard.patient:
        raise NotNow
    # Before anything is written: jobs are locked first, everywhere.
    ending = await _ending_of(connection, heard, news)
    charge = await ledger.charge(connection, row["id"])
    if charge and ending and news.bound:
        return await _ended(connection, heard, charge, ending, news.told)
    if not _is_nameless(charge, news.told) and _says_so(row, charge, news.told):
        return KNOWN
    return await _follow(connection, heard, row, charge, news)


async def _follow(
    connection: AsyncConnection, heard: Heard, row: Row, charge: Row | None, news: PaymentNews
) -> str:
    if not news.bound:
        return await _read_again(connection, heard, row, news.told)
    if news.told.status in TAKEN:
        return await _taken(connection, heard, row, charge, news.told)
    return await _came_to_nothing(connection, heard, row, charge, news)


def _ending(news: PaymentNews) -> UUID | None:
    """The job that asked for the end of a hold, by the key of its request."""
    job_id, *step = (news.vendor_key or "").split(":")
    return UUID(job_id) if step and step[0] in ENDINGS else None


async def _ending_of(connection: AsyncConnection, heard: Heard, news: PaymentNews) -> Row | None:
    """That job's row, while its effect may need this proof. Raises NotNow."""
    if (job_id := _ending(news)) is None:
        return None
    row = await settle.lock(connection, job_id)
    if row and row["status"] == "running" and heard.patient:
        raise NotNow
    theirs = row and row["vendor"] == heard.vendor and row["kind"] in ENDINGS.values()
    return row if row and theirs and row["status"] not in ("succeeded", "failed") else None


async def _ended(
    connection: AsyncConnection, heard: Heard, charge: Row, job: Row, told: Payment
) -> str:
    asked = job["args"].get("amount") or charge["amount"]
    if told.status == "succeeded" and told.amount != asked:
        await settle.flag(connection, job["id"], OTHER_AMOUNT)
        return OTHER_AMOUNT
    if told.status != STATUS_AFTER[job["kind"]]:
        return KNOWN
    done = ending_done(job["id"], charge, told)
    settled = await prove(connection, job["id"], done, who=heard.who)
    return "settled: succeeded" if settled else "recorded"


def _is_nameless(charge: Row | None, told: Payment) -> bool:
    """A person said that it was taken, and the vendor tells how it is called."""
    nameless = charge is not None and charge["vendor_reference"] is None
    return nameless and told.vendor_reference is not None and told.status in TAKEN


def _says_so(row: Row, charge: Row | None, told: Payment) -> bool:
    if charge is None or row["status"] != "succeeded":
        return False
    return _same(charge, told) and says(charge["status"], told.status)


async def _job_of(connection: AsyncConnection, vendor: str, news: PaymentNews) -> UUID | None:
    if news.job is not None:
        return news.job
    told = news.told
    charge = await ledger.by_reference(connection, vendor, told.vendor_reference, told.session)
    return charge["id"] if charge else None


def _same(charge: Row, told: Payment) -> bool:
    return told.vendor_reference in (None, charge["vendor_reference"]) or (
        told.session is not None and told.session == charge["vendor_session"]
    )


async def _taken(
    connection: AsyncConnection, heard: Heard, row: Row, charge: Row | None, told: Payment
) -> str:
    """Money was taken, or is held: the proof of the job's effect, whenever it comes."""
    gone = row["status"] in ("failed", "cancelled") and told.status == "authorized"
    if gone and not heard.read:
        return await _held_no_more(connection, heard, row, charge, told)
    order, args = _asked(row)
    if not fits(order, told):
        await settle.flag(connection, row["id"], OTHER_AMOUNT)
        return OTHER_AMOUNT
    if (
        charge
        and row["status"] in ENDED
        and (outcome := await _moved(connection, heard, row, charge, told))
    ):
        return outcome
    done = charge_done(charge_row(row["id"], heard.vendor, args.customer, order, told))
    if charge and row["status"] == "succeeded" and charge["status"] in ("cancelled", "failed"):
        await write(connection, [done.writes])
        await settle.flag(connection, row["id"], LATE.format(charge["status"]))
        return "recorded"
    settled = await prove(connection, row["id"], done, who=heard.who)
    return "settled: succeeded" if settled else "recorded"


async def _moved(
    connection: AsyncConnection, heard: Heard, row: Row, charge: Row, told: Payment
) -> str | None:
    """What follows for a charge whose job has ended: by the same payment, or by a second one."""
    one = _is_nameless(charge, told) or _same(charge, told)
    if charge["status"] == "authorized" and told.status == "succeeded" and one:
        await write(connection, [{"charge_moves": [_move(charge, told)]}])
        return "taken at the vendor"
    if charge["status"] not in (*TAKEN, *AFTER_SUCCESS):
        return None
    if _is_nameless(charge, told):
        name = {"vendor_reference": told.vendor_reference, "vendor_session": told.session}
        await write(connection, [{"charge_names": [{**name, "id": str(charge["id"])}]}])
        return "its name at the vendor is known now"
    if _same(charge, told):
        return KNOWN
    if await settle.flag(connection, row["id"], SECOND):
        seen = {"note": told.vendor_reference, "was": row["status"], "became": row["status"]}
        who = {"job_id": row["id"], "who": heard.who, "action": "second effect"}
        await settle.tell(connection, [who | seen])
    return "a second payment: a person should look"


async def _held_no_more(
    connection: AsyncConnection, heard: Heard, row: Row, charge: Row | None, told: Payment
) -> str:
    """A hold ends by itself, or was let go of since: it proves nothing before it is seen again."""
    if charge and charge["status"] == "cancelled" and _same(charge, told):
        return KNOWN
    await refresh(connection, heard, row["id"], told.vendor_reference, told.session)
    return READ_AGAIN


async def _came_to_nothing(
    connection: AsyncConnection, heard: Heard, row: Row, charge: Row | None, news: PaymentNews
) -> str:
    """The payment failed or was cancelled: proof of absence, if it is the one the job waits for."""
    told = news.told
    if told.status in OPEN:
        return KNOWN
    if charge and charge["status"] == "authorized" and _same(charge, told):
        if told.status == "failed":
            return KNOWN  # an earlier try of the same payment
        await write(connection, [{"charge_moves": [_move(charge, told)]}])
        return "cancelled at the vendor"
    current = f"{row['id']}:charge" + (f":{row['round']}" if row["round"] else "")
    waits = row["pending"] and charge is not None and _same(charge, told)
    if not waits and news.vendor_key != current:
        return KNOWN
    code = told.code or ("payment_cancelled" if told.status == "cancelled" else "refused")
    error = {
        "code": code,
        "message": f"the vendor refused: {code.replace('_', ' ')}",
        "type": "Refused",
    }
    ended = await disprove(connection, row["id"], error, who=heard.who, answered=["charge"])
    return "settled: failed" if ended else KNOWN


def _move(charge: Row, told: Payment) -> Row:
    """What is written of a hold that was taken, or let go."""
    move: Row = {"id": str(charge["id"]), "status": told.status}
    if told.status != "succeeded":
        return move
    return {**move, "amount": told.amount, "vendor_reference": told.vendor_reference}


def _asked(row: Row) -> tuple[ChargeOrder, requests.Charge]:
    args = requests.validate(row["kind"], row["args"])
    assert isinstance(args, requests.Charge)
    return order_of(row["id"], args), args


async def _read_again(connection: AsyncConnection, heard: Heard, row: Row, told: Payment) -> str:
    """The event is only a hint. A job that waits for its payment looks for itself; one in doubt
    has its own time for that, since an early look might find nothing yet."""
    if row["status"] == "waiting" and row["pending"]:
        await settle.wake(connection, row["id"])
        return LOOKED_AT
    if row["status"] in ("waiting", "running") or (row["status"] == "unknown" and row["look_at"]):
        return "the job finds out by itself"
    await refresh(connection, heard, row["id"], told.vendor_reference, told.session)
    return READ_AGAIN


async def refresh(
    connection: AsyncConnection,
    heard: Heard,
    charge: UUID,
    payment: str | None = None,
    session: str | None = None,
    event: str | None = None,
) -> None:
    """Have a charge read at the vendor by a job of its own, once an event."""
    args = {"charge": str(charge), "payment": payment, "session": session, "event": event}
    wish: Row = dict.fromkeys(("run_at", "expires_at"))
    wish |= {"kind": "refresh_charge", "vendor": heard.vendor, "priority": "normal"}
    key = f"{heard.vendor}:{heard.event_id}:{heard.news.kind}:{charge}"
    wish |= {"key": key, "id": heard.new_id}
    given = {name: value for name, value in args.items() if value is not None}
    await jobs.enqueue(connection, {**wish, "args": dumps(given)})


async def _dispute(connection: AsyncConnection, heard: Heard, news: DisputeNews) -> str:
    charge = await ledger.by_reference(connection, heard.vendor, news.payment)
    if charge is None:
        heard.wait_for_its_charge()
        return NOT_OURS
    if not news.bound:
        await refresh(connection, heard, charge["id"], event=heard.event_id)
        return READ_AGAIN
    new = await ledger.dispute(connection, charge["id"], disputed=news.disputed, at=news.at)
    return ("disputed" if news.disputed else "no longer disputed") if new else KNOWN
