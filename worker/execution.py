"""One attempt of one job: the list of its steps, and what follows from each outcome."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import Any
from uuid import UUID

import psycopg
import structlog
from uuid_utils.compat import uuid7

from adapters._base import Adapter, Call, Misconfigured, Unknown, VendorError, adapter
from adapters._http import HttpCall
from adapters._limits import Pace
from ferryman import requests
from ferryman.policies import Policy, policy, reached
from models.group import LedgerDown, is_away
from models.walk import Claim, Claimed, Close, Park
from tasks._base import Attempt, Done, Job, NotHeld, Pending, Wait
from tasks._settle import disprove, looks, prove
from worker.breaker import Parked, Permit
from worker.disbanded import disbanded
from worker.heartbeat import Lease
from worker.journal import Journal
from worker.runtime import Runtime
from worker.verdict import (
    WAITED,
    Expired,
    Facts,
    HandedBack,
    LeaseLost,
    Verdict,
    absent,
    verdict,
)

log = structlog.get_logger()

AWAY_SECONDS = 0.5
LATE_ANSWER = "a late answer"


class Execution:
    """An attempt that holds its job: `perform()`, then `end()` if that raised."""

    def __init__(
        self, runtime: Runtime, job: Job[Any], claimed: Claimed, permit: Permit, lease: Lease
    ) -> None:
        self.claimed = claimed
        self._runtime = runtime
        self._job = job
        self._permit = permit
        self._policy: Policy = policy(claimed.vendor)
        self._journal = Journal(
            claimed,
            runtime.ledger,
            lease,
            self._policy,
            admitted=self._check,
            once=job.one_run,
        )
        self._others: dict[str, Permit] = {}
        self._started = time.monotonic()

    @classmethod
    async def begin(
        cls, runtime: Runtime, job: Job[Any], id: UUID, vendor: str
    ) -> Execution | None:
        """Admit, then claim. None: parked, or not ours to run.

        While the ledger is away the message is held: it is acknowledged, and dropping a thousand
        of them would put the oldest jobs behind all others.
        """
        # The same one each time: a claim whose commit arrived is recognised by it.
        token = uuid7()
        while True:
            try:
                return await cls._begin(runtime, job, id, vendor, token)
            except Exception as error:
                if not is_away(error):
                    raise
            await asyncio.sleep(AWAY_SECONDS)

    @classmethod
    async def _begin(
        cls, runtime: Runtime, job: Job[Any], id: UUID, vendor: str, token: UUID
    ) -> Execution | None:
        try:
            permit = await runtime.breakers.admit(vendor)
        except Parked as parked:
            await runtime.ledger.park(Park(id, vendor, parked.reason, parked.seconds))
            return None
        while not (lease := runtime.heartbeat.lease).holds():  # noqa: ASYNC110 - a thread renews it
            await asyncio.sleep(AWAY_SECONDS)
        wish = Claim(id, job.request.kind, vendor, token, lease.worker, job.deadline_seconds)
        claiming = asyncio.ensure_future(runtime.ledger.claim(wish))
        try:
            claimed = await asyncio.shield(claiming)
        except asyncio.CancelledError:
            # The claim may be committed by now: what we hold must be handed back.
            if (claimed := await claiming) is not None:
                await cls(runtime, job, claimed, permit, lease).end(HandedBack())
            raise
        except Exception:
            await runtime.breakers[vendor].release(permit)
            raise
        if claimed is None:
            await runtime.breakers[vendor].release(permit)
            return None
        return cls(runtime, job, claimed, permit, lease)

    async def perform(self) -> None:
        """Run the job's own code and close the attempt with its success. Raises what it raised."""
        try:
            async with asyncio.timeout(self._job.deadline_seconds):
                done = await self._run()
        except asyncio.CancelledError:
            raise HandedBack from None
        if done is None:
            await self._close(absent(self._facts()))
            await self._record(None)
            return
        # From here on the effect is proven: neither a shutdown nor a breaker may change that.
        closing = asyncio.ensure_future(self._succeed(done))
        try:
            await asyncio.shield(closing)
        except asyncio.CancelledError:
            await closing
        await self._record(None)

    async def end(self, error: BaseException) -> Verdict:
        """Close the attempt as the error demands, and tell how."""
        # What a job waits for may be the vendor itself.
        cause = error.__cause__ if isinstance(error, Wait) else None
        await self._record(cause if isinstance(cause, VendorError) else error)
        decided = verdict(error, self._facts())
        try:
            if self._job.one_run:
                await self._disband(error, decided)
            else:
                await self._close(decided, error.so_far if isinstance(error, Pending) else None)
        except LeaseLost:
            await self._disprove(decided)
            raise
        return decided

    async def _disband(self, error: BaseException, decided: Verdict) -> None:
        """The load is over, and what it carried waits again: in one transaction."""
        row = vars(disbanded(self.claimed.id, error, decided, self._policy))
        over = Verdict("cancelled", decided.outcome, reason=decided.reason, error=decided.error)
        await self._close(over, writes={"loads": [row]})

    def _check(self) -> None:
        try:
            self._runtime.breakers[self.claimed.vendor].check(self._permit)
        except Parked as parked:
            raise Wait(parked.reason, parked.seconds) from None

    def _facts(self) -> Facts:
        claimed = self.claimed
        return Facts(
            attempts=claimed.attempts,
            throttled_seconds=claimed.throttled_seconds,
            age_seconds=claimed.age_seconds,
            doubts=self._journal.doubts(),
            policy=self._policy,
            look_seconds=looks().get(claimed.kind, {}).get(claimed.vendor),
            looks=claimed.looks if claimed.looking else None,
            pending=claimed.pending,
            expires_in=claimed.expires_in,
        )

    async def _run(self) -> Done | None:
        """The job's own code. None: it was looked up, and nothing has had an effect."""
        looking = self.claimed.looking
        if self.claimed.expired and not self._goes_on():
            raise Expired
        if not looking and not all(self._journal.doubts()):
            raise Unknown("an earlier request may have had its effect", look_up=True)
        check = partial(requests.validate, self.claimed.kind, self.claimed.args, internal=True)
        args = await asyncio.to_thread(check) if self._job.large else check()
        vendor = self.claimed.vendor
        call = self._call(vendor, self._permit.pace)
        attempt: Attempt[Any] = Attempt(
            id=self.claimed.id,
            vendor=vendor,
            args=args,
            batch_id=self.claimed.batch_id,
            adapter=adapter(vendor),
            call=call,
            ledger=self._runtime.ledger,
            policy=self._policy,
            fence=self.claimed.fence,
            since=self._journal.since,
            pending=self.claimed.pending,
            cancel_asked=self.claimed.cancel_asked,
            # What a bank takes its time for is not late: only its own `expires_at` counts here.
            expired=(self.claimed.expires_in or 1.0) <= 0,
            reach=self._reach,
            interactions=lambda: self._journal.interactions,
        )
        try:
            return await (self._job.look_up(attempt) if looking else self._job.run(attempt))
        except NotHeld:
            raise LeaseLost from None

    def _call(self, vendor: str, pace: Pace) -> HttpCall:
        client = self._runtime.client(vendor)
        return HttpCall(vendor, client, policy(vendor), self._journal, pace)

    async def _reach(self, scheme: str) -> tuple[Adapter, Call]:
        """Another vendor, asked in the same attempt, with leave of its own."""
        vendor = reached(scheme)
        if vendor == self.claimed.vendor:
            return adapter(vendor), self._call(vendor, self._permit.pace)
        if vendor not in self._others:
            try:
                self._others[vendor] = await self._runtime.breakers.admit(vendor)
            except Parked as parked:
                raise Wait(parked.reason, parked.seconds) from None
        return adapter(vendor), self._call(vendor, self._others[vendor].pace)

    def _goes_on(self) -> bool:
        """Whether it must run although it is too late: to tell, or to stop, what was begun."""
        claimed = self.claimed
        return claimed.looking or claimed.pending or self._journal.repeats_naturally()

    async def _succeed(self, done: Done) -> None:
        """Close with a success, for as long as the ledger is away: the close names its fence, so
        that it is right at any later time as well."""
        success = Verdict("succeeded", "succeeded")
        while True:
            try:
                await self._close(success, done)
                return
            except LeaseLost:
                await self._prove(done)
                raise
            except LedgerDown:
                log.warning("attempt.not_closed", job_id=str(self.claimed.id))
            except psycopg.Error:
                # The effect is there but its rows are not: that is no proof of absence.
                self._journal.answers.clear()
                raise

    async def _prove(self, done: Done) -> None:
        """The lease was lost while the vendor's answer was on its way: its proof counts all the
        same. A load's was written down before, rider by rider."""
        if self._job.one_run:
            return
        async with self._runtime.ledger.transaction() as connection:
            await prove(connection, self.claimed.id, done, who=LATE_ANSWER)

    async def _disprove(self, decided: Verdict) -> None:
        if decided.status == "failed" and self._journal.answers and not self._job.one_run:
            async with self._runtime.ledger.transaction() as connection:
                await disprove(
                    connection,
                    self.claimed.id,
                    decided.error or {},
                    who=LATE_ANSWER,
                    answered=self._journal.answers,
                )

    async def _record(self, error: BaseException | None) -> None:
        """Tell the breakers of the calls that were made. They never decide about the job."""
        whose = getattr(error, "vendor", None) or self.claimed.vendor
        for vendor, permit in {self.claimed.vendor: self._permit, **self._others}.items():
            try:
                await self._tell_breaker(vendor, permit, error if vendor == whose else None)
            except Exception as trouble:
                log.warning("breaker.not_told", error=type(trouble).__name__)

    async def _tell_breaker(self, vendor: str, permit: Permit, error: BaseException | None) -> None:
        called = any(seen["vendor"] == vendor for seen in self._journal.interactions)
        if called or isinstance(error, Misconfigured):
            await self._runtime.breakers[vendor].record(permit, error)
        else:
            await self._runtime.breakers[vendor].release(permit)

    async def _close(
        self,
        decided: Verdict,
        done: Done | None = None,
        writes: dict[str, list[dict[str, Any]]] | None = None,
    ) -> None:
        end = Close(
            job_id=self.claimed.id,
            fence=self.claimed.fence,
            status=decided.status,
            outcome=decided.outcome,
            reason=decided.reason,
            delay_seconds=decided.delay_seconds,
            counts=decided.counts,
            throttled=decided.throttled,
            result=done.result if done else None,
            error=decided.error if decided.status not in ("waiting", "cancelled") else None,
            trace=decided.error,
            look_seconds=self._look_seconds(decided),
            absent=decided.absent,
            pending=decided.pending,
            answered=self._answered(decided),
            interactions=self._journal.interactions,
            writes=done.writes if done else writes or self._writes_of(decided),
            if_cancelled=self._job.cancelled(self.claimed.id),
            if_doubtful=self._job.in_doubt(self.claimed.id),
        )
        status = await self._runtime.ledger.close(end)
        self._tell(decided.outcome if status else "lease_lost")
        if status is None:
            raise LeaseLost

    def _answered(self, decided: Verdict) -> list[str]:
        """A look-up that tells the job's end tells it of all that was sent. What a load was told
        counts only where its riders were: else it is in doubt for each of them."""
        if self._job.one_run and decided.status != "succeeded":
            return []
        ended = decided.status in ("succeeded", "failed") or decided.pending
        return self._journal.steps() if self.claimed.looking and ended else self._journal.answers

    def _look_seconds(self, decided: Verdict) -> float | None:
        """Also for a job that goes on waiting: a cancel that was asked may make it `unknown`."""
        return decided.look_seconds if decided.status == "unknown" else self._facts().look_seconds

    def _writes_of(self, decided: Verdict) -> dict[str, list[dict[str, Any]]]:
        match decided.status:
            case "failed":
                return self._job.refused(self.claimed.id)
            case "cancelled":
                return self._job.cancelled(self.claimed.id)
            case "unknown":
                return self._job.in_doubt(self.claimed.id)
            case "waiting" if decided.outcome == WAITED:
                return self._job.waits(self.claimed.id)
        return {}

    def _tell(self, outcome: str) -> None:
        log.info(
            "attempt.ended",
            job_id=str(self.claimed.id),
            kind=self.claimed.kind,
            vendor=self.claimed.vendor,
            attempt=self.claimed.fence,
            outcome=outcome,
            duration_ms=round((time.monotonic() - self._started) * 1000),
        )
