"""What becomes of a job after an error: the table of consequences, as one pure function."""

from __future__ import annotations

import random
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from adapters._base import (
    Misconfigured,
    NotSent,
    Refused,
    Throttled,
    Unavailable,
    Unknown,
    VendorError,
)
from adapters._limits import DailyLimit
from adapters._redact import text
from ferryman.errors import InvalidArguments
from ferryman.policies import Policy
from models.group import is_away
from tasks._base import Pending, Refusal, Stopped, Wait

THROTTLED_SECONDS = 2.0
MISCONFIGURED_SECONDS = 5.0
LEDGER_SECONDS = 1.0
PENDING_SECONDS = 2.0
LONGEST_WAIT_SECONDS = 300.0
# Between two look-ups of one job, and how many are made before it is left to a person: with the
# delays doubling, they reach over a day.
LONGEST_LOOK_SECONDS = 7200.0
MOST_LOOKS = 20
WAITED = "waited"
"""The outcome of an attempt that has found out that the job must wait for something else."""


class LeaseLost(Exception):
    """The job may be another worker's by now: nothing may leave, nothing may be written."""


class HandedBack(Exception):
    """The worker stops before the job has ended."""


class Cancelled(Exception):
    """A cancel was asked, and this request has not left."""


class Expired(Exception):
    """The job waited past its `expires_at`, or longer than any job may wait."""


@dataclass(frozen=True)
class Facts:
    """What is known when an attempt ends. `doubts`: for each request without an answer about its
    effect, whether repeating it is harmless now. `look_seconds`: how long after a doubt arises it
    can be looked up (None: it cannot). `looks`: how often that was done, if this was a look-up.
    `pending`: the effect was under way at the vendor before this attempt. `expires_in`: seconds
    until the job expires."""

    attempts: int
    throttled_seconds: float
    age_seconds: float
    doubts: Sequence[bool]
    policy: Policy
    look_seconds: float | None = None
    looks: int | None = None
    pending: bool = False
    expires_in: float | None = None

    @property
    def stuck(self) -> bool:
        return not all(self.doubts)


@dataclass(frozen=True)
class Verdict:
    """The job's next state. `counts`: whether the attempt counts against the maximum."""

    status: str
    outcome: str
    reason: str | None = None
    delay_seconds: float = 0.0
    counts: bool = True
    throttled: bool = False
    look_seconds: float | None = None
    absent: bool = False
    pending: bool = False
    error: dict[str, Any] | None = None


def verdict(  # noqa: PLR0911, PLR0912 - one return a row of the table
    error: BaseException, facts: Facts
) -> Verdict:
    """The consequence of each class of error."""
    if isinstance(error, Pending | Stopped) or facts.pending:
        return _outside(error, facts)
    if facts.looks is not None:
        return _not_seen(error, facts, facts.looks)
    match error:
        case Wait():
            # What has waited for long can wait a little longer: looks become rare.
            rare = 0.0 if error.exact else min(facts.age_seconds / 4, LONGEST_WAIT_SECONDS)
            seconds = max(error.seconds, rare)
            return _wait(facts, error.reason, seconds, WAITED)
        case Exception() if is_away(error):
            return _wait(facts, "the ledger was away", LEDGER_SECONDS, "ledger_away")
        case HandedBack():
            return _wait(facts, "its worker stopped; it runs again", 0.0, "handed_back")
        case Throttled():
            return _throttled(error, facts)
        case Misconfigured():
            return _wait(facts, error.message, MISCONFIGURED_SECONDS, "misconfigured")
        case Cancelled():
            return _cancelled(facts)
        case Unknown(for_person=True):
            return Verdict("unknown", "unknown", reason=error.message, error=_error(error))
        case Unknown(look_up=True):
            return _unknown(error, facts, error.message)
        case NotSent() | Unknown() | Unavailable():
            return _retry(error, facts)
        case TimeoutError():
            return _retry(Unknown("the attempt took too long", code="timeout"), facts)
        case _:
            return _end(error, facts)


def _pending(reason: str, seconds: float, facts: Facts, outcome: str = "pending") -> Verdict:
    """It waits for its vendor, and is there when it expires, to stop what is under way. A look-up
    that finds it so has proven that nothing else has had an effect (a cancel, say, whose failure
    the vendor keeps under its key)."""
    if facts.stuck and facts.looks is None:
        return replace(_unknown(Unknown(reason), facts, reason, outcome), pending=False)
    left = facts.expires_in if facts.expires_in is not None and facts.expires_in > 0 else seconds
    delay = min(seconds, left + 0.1)
    looked = facts.looks is not None
    return Verdict(
        "waiting",
        outcome,
        reason,
        delay_seconds=delay,
        counts=False,
        absent=looked,
        pending=True,
    )


def _outside(error: BaseException, facts: Facts) -> Verdict:
    """The vendor's payer or a bank decides, or has been kept from it."""
    if isinstance(error, Pending):
        return _pending(error.reason, error.seconds, facts)
    if isinstance(error, Stopped):
        return _cancelled(facts)
    return _while_pending(error, facts)


def _while_pending(error: BaseException, facts: Facts) -> Verdict:
    """What goes wrong while the vendor's payer or bank decides proves nothing: it is asked again,
    less and less often. Only the vendor's own no ends it."""
    if isinstance(error, Refused | Refusal):
        return _end(error, facts)
    passing = isinstance(error, VendorError | Wait | HandedBack | TimeoutError | Cancelled)
    person = isinstance(error, Unknown) and (error.for_person or error.look_up)
    if person or not (passing or is_away(error)):
        return _unknown(error, facts)
    if isinstance(error, HandedBack):
        return _pending("its worker stopped; it looks again", 0.0, facts, "handed_back")
    seconds = max(PENDING_SECONDS, min(facts.age_seconds / 4, LONGEST_WAIT_SECONDS))
    asked = getattr(error, "retry_after", None) or 0.0
    message = getattr(error, "message", "the vendor could not be asked")
    return _pending(message, max(seconds, asked), facts, "not_seen")


def absent(facts: Facts) -> Verdict:
    """A look-up has proven that nothing sent until now had an effect."""
    if facts.attempts < facts.policy.max_attempts:
        reason = "a look-up found no effect: sent again under a new vendor key"
        return Verdict("waiting", "absent", reason=reason, absent=True)
    gone = VendorError("attempts are used up, and a look-up found no effect", code="attempts_used")
    return Verdict("failed", "absent", absent=True, error=_error(gone))


def backoff(attempts: int, policy: Policy, retry_after: float | None) -> float:
    """Seconds until the next attempt: doubling, 0.5 to 1.5 by chance, and no less than asked."""
    delay = min(policy.backoff_seconds * 2.0 ** max(0, attempts - 1), policy.backoff_max_seconds)
    jittered = delay * random.uniform(0.5, 1.5)  # noqa: S311 - spreads load, hides nothing
    return max(jittered, min(retry_after or 0.0, policy.retry_after_max_seconds))


def _retry(error: VendorError, facts: Facts) -> Verdict:
    if facts.stuck:
        return _unknown(error, facts)
    if facts.attempts >= facts.policy.max_attempts:
        return _unknown(error, facts) if facts.doubts else _failed(error)
    delay = backoff(facts.attempts, facts.policy, getattr(error, "retry_after", None))
    return Verdict(
        "waiting",
        "retry",
        reason=f"retries: {error.message}",
        delay_seconds=delay,
        error=_error(error),
    )


def _throttled(error: Throttled, facts: Facts) -> Verdict:
    if facts.stuck:
        return _unknown(error, facts)
    if facts.throttled_seconds > facts.policy.throttle_max_seconds:
        return _unknown(error, facts) if facts.doubts else _failed(error)
    # It is the vendor that waits for its day to end: who has bought more need not wait with it.
    wait = None if isinstance(error, DailyLimit) else error.retry_after
    wait = THROTTLED_SECONDS if wait is None else wait
    delay = wait + random.uniform(0, 0.5)  # noqa: S311 - spreads load, hides nothing
    return Verdict(
        "waiting",
        "throttled",
        reason=error.message,
        delay_seconds=delay,
        counts=False,
        throttled=True,
    )


def _wait(facts: Facts, reason: str, seconds: float, outcome: str) -> Verdict:
    if facts.stuck:
        return _unknown(Unknown(reason), facts, reason, outcome)
    return Verdict("waiting", outcome, reason=reason, delay_seconds=seconds, counts=False)


def _end(error: BaseException, facts: Facts) -> Verdict:
    return _unknown(error, facts) if facts.doubts else _failed(error)


def _unknown(
    error: BaseException, facts: Facts, reason: str = "", outcome: str = "unknown"
) -> Verdict:
    return Verdict(
        "unknown",
        outcome,
        reason=reason or "a request may have had its effect",
        look_seconds=facts.look_seconds,
        error=_error(error),
    )


def _cancelled(facts: Facts) -> Verdict:
    """What has left must be told of; what has not is over."""
    if not facts.doubts:
        return Verdict("cancelled", "cancelled")
    if facts.look_seconds is not None:
        return _unknown(Unknown("a request may have had its effect"), facts, outcome="cancelled")
    return Verdict("waiting", "cancelled", reason="a cancel was asked", counts=False)


def _not_seen(error: BaseException, facts: Facts, looks: int) -> Verdict:
    """A look-up that could not tell: the doubt stays."""
    # That the vendor does not show what an effect hangs on says nothing of the effect.
    if isinstance(error, Refused) and error.code != "not_found":
        return _failed(error)
    passing = isinstance(error, HandedBack | Throttled | Misconfigured) or is_away(error)
    for_person = isinstance(error, Refused) or getattr(error, "for_person", False)
    for_person = for_person or not isinstance(error, VendorError | TimeoutError | HandedBack)
    seconds: float | None = min(
        (facts.look_seconds or 0.0) * 2.0 ** min(looks, MOST_LOOKS), LONGEST_LOOK_SECONDS
    )
    if passing:
        seconds = getattr(error, "retry_after", None) or LEDGER_SECONDS
    elif for_person or looks >= MOST_LOOKS:
        seconds = None
    return Verdict(
        "unknown",
        "not_seen",
        reason="whether it took effect could not be looked up yet",
        look_seconds=seconds,
        counts=not passing,
        error=_error(error),
    )


def _failed(error: BaseException) -> Verdict:
    return Verdict("failed", "failed", error=_error(error))


def _error(error: BaseException) -> dict[str, Any]:
    match error:
        case VendorError():
            return error.as_error()
        case Refusal():
            return {"code": error.code, "message": error.message, "type": "Refusal"}
        case InvalidArguments():
            return {
                "code": "invalid_arguments",
                "message": str(error),
                "field": error.field,
                "type": "InvalidArguments",
            }
        case Expired():
            return {"code": "expired", "message": "it waited too long", "type": "Expired"}
    return {
        "code": "internal_error",
        "message": f"a defect of ferryman: {type(error).__name__}",
        "type": type(error).__name__,
        "traceback": text("".join(traceback.format_exception(error)[-12:])).replace("\0", ""),
    }
