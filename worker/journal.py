"""What one attempt writes down of its calls: the marks before they leave, and the exchanges."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

from adapters._base import CANCEL, Repeat, Request, Unknown
from ferryman.policies import Policy
from models.ledger import Ledger
from models.walk import Claimed, Leaving, Left, NoEffect
from worker.heartbeat import Lease
from worker.verdict import Cancelled, LeaseLost

Row = dict[str, Any]

# What is never sent again is kept up to here, to be looked at; of a longer one what it was made of
# is in the ledger, and to write a thousand mails down took longer than to send them.
LONGEST_KEPT = 8192
SENT_AGAIN = (Repeat.KEY, Repeat.NATURAL)


class Journal:
    """The ledger as the transport of one attempt sees it (`adapters._http.Journal`)."""

    def __init__(
        self,
        claimed: Claimed,
        ledger: Ledger,
        lease: Lease,
        policy: Policy,
        *,
        admitted: Callable[[], None],
        once: bool = False,
    ) -> None:
        """`once`: no request of this job is ever sent again, so that none needs to be kept."""
        self.job_id = claimed.id
        self.interactions: list[Row] = []
        self.answers: list[str] = []
        self.since = min((_moment(send["sent_at"]) for send in claimed.sends), default=None)
        self._fence = claimed.fence
        self._round = claimed.round
        self._ledger = ledger
        self._lease = lease
        self._policy = policy
        self._admitted = admitted
        self._once = once
        self._sends: dict[tuple[str, int], Row] = {
            (send["step"], send["attempt"]): send for send in claimed.sends
        }

    def key(self, step: str) -> str:
        """Later rounds have keys of their own: under the first the vendor would repeat its stored
        answer."""
        return f"{self.job_id}:{step}:{self._round}" if self._round else f"{self.job_id}:{step}"

    async def leaving(self, step: str, key: str, repeat: Repeat, request: Request) -> Request:
        """Commit that the request may leave. A step that was sent before sends its stored bytes."""
        self._admitted()
        first = self._first(step, key, repeat)
        if self._doubts_of(step) and not all(self._doubts_of(step)):
            raise Unknown("an earlier request may have had its effect", look_up=True)
        if not self._lease.holds():
            raise LeaseLost
        seconds = self._policy.repeats_for(step) if repeat is Repeat.KEY else None
        mark = Leaving(
            self.job_id,
            self._fence,
            step,
            key,
            repeat.value,
            seconds,
            {} if first else _stored(request, Repeat.NEVER if self._once else repeat),
            stops=step == CANCEL,
        )
        if (left := await self._marked(mark)) is Left.CANCELLED:
            raise Cancelled
        if left is Left.LEASE_LOST:
            raise LeaseLost
        if not self._lease.holds():
            # Nothing has left and nothing will: that must not look like doubt to a rescuer.
            await self._ledger.no_effect(NoEffect(self.job_id, step, self._fence))
            raise LeaseLost
        # An answer to an earlier request of this attempt says nothing of this one.
        self.answers = [answered for answered in self.answers if answered != step]
        self._sends[step, self._fence] = {
            "step": step,
            "attempt": self._fence,
            "vendor_key": key,
            "repeat": repeat.value,
            "repeatable": seconds is not None,
            "request": mark.request,
            "answered_at": None,
        }
        return _restored(first, request) if first else request

    async def _marked(self, mark: Leaving) -> Left:
        """An attempt that is ended meanwhile has sent nothing, though its mark may be committed."""
        marking = asyncio.ensure_future(self._ledger.leave(mark))
        try:
            return await asyncio.shield(marking)
        except asyncio.CancelledError:
            if await marking is Left.YES:
                await self._ledger.no_effect(NoEffect(self.job_id, mark.step, self._fence))
            raise

    async def no_effect(self, step: str) -> None:
        """The request just sent did nothing; an earlier one of this step stays in doubt."""
        await self._ledger.no_effect(NoEffect(self.job_id, step, self._fence))
        self._sends.pop((step, self._fence), None)

    def doubtful(self, step: str) -> bool:
        """Whether an earlier attempt's request of this step is in doubt."""
        return any(
            send["answered_at"] is None
            for (named, attempt), send in self._sends.items()
            if named == step and attempt != self._fence
        )

    def answered(self, step: str) -> None:
        self.answers.append(step)

    def saw(self, interaction: Row) -> None:
        self.interactions.append({**interaction, "job_id": self.job_id, "attempt": self._fence})

    def steps(self) -> list[str]:
        """Every step of which a request may have left."""
        return sorted({step for step, _ in self._sends})

    def doubts(self) -> list[bool]:
        """One entry a request whose effect is in doubt: whether repeating it is harmless."""
        return [
            harmless
            for step in {step for step, _ in self._sends} - set(self.answers)
            for harmless in self._doubts_of(step)
        ]

    def _doubts_of(self, step: str) -> list[bool]:
        return [
            send["repeat"] == Repeat.NATURAL
            or (send["repeat"] == Repeat.KEY and send["repeatable"])
            for (named, _), send in self._sends.items()
            if named == step and send["answered_at"] is None
        ]

    def repeats_naturally(self) -> bool:
        """Whether all that is in doubt may be done again at any time."""
        doubts = [s["repeat"] for s in self._sends.values() if s["answered_at"] is None]
        return bool(doubts) and set(doubts) == {Repeat.NATURAL.value}

    def _first(self, step: str, key: str, repeat: Repeat) -> Row | None:
        """What a repeat has to send again. A request that is known to have done nothing binds no
        later one, unless the vendor knows its key."""
        if repeat is not Repeat.KEY and not self._doubts_of(step):
            return None
        return next(
            (
                send["request"]
                for send in reversed(self._sends.values())
                if (send["step"], send["vendor_key"]) == (step, key)
                and send["repeat"] in SENT_AGAIN
                and send["request"]
            ),
            None,
        )


def _moment(given: str) -> datetime:
    return datetime.fromisoformat(given)


def _stored(request: Request, repeat: Repeat) -> Row:
    """The request as the ledger keeps it; it holds no credentials."""
    kept: Row = {"method": request.method, "headers": dict(request.headers)}
    if repeat not in SENT_AGAIN and len(request.body) > LONGEST_KEPT:
        digest = hashlib.sha256(request.body).hexdigest()
        return kept | {"sha256": digest, "bytes": len(request.body)}
    try:
        body = request.body.decode()
    except UnicodeDecodeError:
        body = "\0"
    if "\0" in body:  # PostgreSQL's JSON takes no NUL
        return kept | {"base64": base64.b64encode(request.body).decode()}
    return kept | {"body": body}


def _restored(stored: Row, built: Request) -> Request:
    """The stored bytes, at the address of today: a base URL may have moved in between."""
    body = base64.b64decode(stored["base64"]) if "base64" in stored else stored["body"].encode()
    return replace(built, method=stored["method"], headers=stored["headers"], body=body)
