"""`bulk_contacts`: plan an import. Each contact gets an `upsert_contact` job, which rides with all
others to its vendor.

The bulk job sends nothing itself: it has succeeded when its plan is made.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable
from functools import partial
from typing import Any, cast
from uuid import UUID

import orjson
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters._crm import Contact, Crm
from adapters._records import RefusedRecord
from ferryman import requests
from ferryman.errors import InvalidArguments
from models import contact_plan as ledger
from models.contact_plan import Planned
from tasks import _bulk, _recipients
from tasks._base import Attempt, Done, Job
from tasks._recipients import Recipient

Row = dict[str, Any]

EXTERNAL = "external_id"


class BulkContacts(Job[requests.BulkContacts]):
    request = requests.BulkContacts
    large = True
    deadline_seconds = 1800.0  # a million contacts take some minutes

    async def run(self, attempt: Attempt[requests.BulkContacts]) -> Done:
        return await _bulk.planned(attempt, partial(_plan, attempt))


async def _plan(attempt: Attempt[requests.BulkContacts], connection: AsyncConnection) -> Row | None:
    vendor = cast(Crm, attempt.adapter)
    given = ((one.email, _data(one)) for one in attempt.args.contacts or ())
    await ledger.begin(connection)
    async for chunk in _recipients.chunks(attempt.ledger, given, attempt.args.upload):
        rows = await asyncio.to_thread(
            _planned, vendor, attempt.id, chunk, attempt.args.upload is not None
        )
        await ledger.add(connection, rows)
    return await ledger.plan(connection, attempt.id)


def _data(one: requests.ContactRecord) -> Row:
    """As a line of a file has it."""
    named = {} if one.external_id is None else {EXTERNAL: one.external_id}
    return (one.fields or {}) | named


def _planned(
    vendor: Crm, batch: UUID, recipients: Iterable[Recipient], listed: bool
) -> list[Planned]:
    """For a thread: to read some thousand contacts takes a processor a while. `listed`: in a file,
    whose empty cells say nothing."""
    return [
        _look_at(vendor, ledger.id_of(batch, place), place, _args(email, data or {}, listed))
        for place, email, data in recipients
    ]


def _args(email: str, data: Row, listed: bool) -> Row:
    fields = {
        name: value
        for name, value in data.items()
        if name != EXTERNAL and not (listed and value == "")
    }
    external = data.get(EXTERNAL)
    args: Row = {"email": email.strip()} | ({"fields": fields} if fields else {})
    return args | ({} if external in (None, "") else {EXTERNAL: external})


def _look_at(vendor: Crm, job_id: UUID, place: int, args: Row) -> Planned:
    try:
        asked = requests.UpsertContact(**args)
        contact = Contact(str(job_id), asked.email, asked.fields or {}, asked.external_id)
        record = vendor.contact(contact)
    except InvalidArguments as error:
        return Planned(job_id, place, args, field=error.field, reason=str(error))
    except RefusedRecord as error:
        return Planned(job_id, place, args, field=error.trouble.field, reason=error.message)
    return Planned(job_id, place, args, record.name, _content(args))


def _content(args: Row) -> str:
    """Equal for equal records, however they are written."""
    said = orjson.dumps({**args, "email": args["email"].lower()}, option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(said).hexdigest()
