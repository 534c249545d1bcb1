"""`bulk_email`: plan a batch. Each recipient gets a row, each request to the vendor a job.

The bulk job sends nothing itself: it has succeeded when its plan is made.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast
from uuid import UUID

from uuid_utils.compat import uuid7

from adapters._base import Repeat
from adapters._mail import Letter, Mailer
from ferryman import addresses, requests
from models import mail as ledger
from models.mail import Part, Plan, Planned
from tasks._base import Attempt, Done, Job
from tasks._merge import Merge, Unfit

STEP = "plan"


class BulkEmail(Job[requests.BulkEmail]):
    request = requests.BulkEmail
    large = True
    deadline_seconds = 600.0  # a million recipients take a minute or two

    async def run(self, attempt: Attempt[requests.BulkEmail]) -> Done:
        vendor = cast(Mailer, attempt.adapter)
        shared = attempt.args.model_dump(exclude={"recipients"})
        letter = Letter.of(shared)
        vendor.check(letter)
        planner = _Planner(attempt, letter, vendor)
        await asyncio.to_thread(planner.look)
        plan = Plan(attempt.id, attempt.vendor, shared, planner.emails, planner.parts)
        # Once it is planned its parts are sent: neither a cancel nor an expiry may end it then.
        await attempt.call.act(
            STEP,
            {"method": "PLAN", "url": str(attempt.id)},
            key=attempt.call.key(STEP),
            repeat=Repeat.NATURAL,
        )
        async with attempt.held() as connection:
            batch = await ledger.plan(connection, plan)
        return Done({"batch_id": batch["id"], "total": batch["total"], "counts": batch["counts"]})

    def refused(self, id: UUID) -> dict[str, list[dict[str, Any]]]:
        return {"emails": [{"job_id": str(id), "status": "failed"}]}


class _Planner:
    """Who gets a mail, in which part, and who is set aside for what reason."""

    def __init__(
        self, attempt: Attempt[requests.BulkEmail], letter: Letter, vendor: Mailer
    ) -> None:
        self.emails: list[Planned] = []
        self.parts: list[Part] = []
        self._bulk_job = attempt.id
        self._shared = attempt.args.data or {}
        self._recipients = attempt.args.recipients
        self._size = attempt.policy.batch_size
        self._vendor = vendor
        self._merge = Merge(letter, most_fill_bytes=vendor.most_fill_bytes)
        self._known: set[str] = set()
        self._unfit: list[dict[str, Any]] = []
        self._room = 0

    def look(self) -> None:
        """At every recipient. For a thread: a million addresses take a processor some seconds."""
        for asked in self._recipients:
            email_id = uuid7()
            status, reason, address = self._look_at(asked, email_id)
            job_id = self._next_part() if status == "waiting" else self._bulk_job
            self.emails.append(Planned(email_id, job_id, address, asked.data, status, reason))
        if self._unfit and not self.parts:
            self._merge.check(self._unfit)

    def _look_at(self, asked: requests.Recipient, email_id: UUID) -> tuple[str, str | None, str]:
        try:
            address = addresses.normalised(asked.to.strip())
            if problem := self._vendor.address_problem(address):
                raise ValueError(problem)
            self._merge.recipient(email_id, address, {**self._shared, **(asked.data or {})})
        except ValueError as error:
            return "invalid", f"to: {error}", asked.to
        except Unfit as error:
            self._unfit.append({**self._shared, **(asked.data or {})})
            return "invalid", str(error), asked.to
        # Mailboxes that differ in case alone do not exist in practice; the same person twice does.
        if (known_as := address.lower()) in self._known:
            return "duplicate", "to: it stands in the list already", address
        self._known.add(known_as)
        return "waiting", None, address

    def _next_part(self) -> UUID:
        """The job that sends the next mail."""
        if self._room == 0:
            self.parts.append(Part(uuid7(), len(self.parts) + 1))
            self._room = self._size
        self._room -= 1
        return self.parts[-1].id
