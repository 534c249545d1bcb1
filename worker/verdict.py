"""What becomes of a job after an error: the table of consequences, as one pure function."""

from __future__ import annotations

import random
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from adapters._base import (
    Misconfigured,
    NotSent,
    Throttled,
    Unavailable,
    Unknown,
    VendorError,
)
from adapters._redact import text
from ferryman.errors import InvalidArguments
from ferryman.policies import Policy
from models.group import is_away
from tasks._base import Refusal, Wait

THROTTLED_SECONDS = 2.0
MISCONFIGURED_SECONDS = 30.0
LEDGER_SECONDS = 1.0
LONGEST_LOOK_SECONDS = 300.0


class LeaseLost(Exception):
    """The job may be another worker's by now: nothing may leave, nothing may be written."""


class HandedBack(Exception):
    """The worker stops before the job has ended."""


class Expired(Exception):
    """The job waited past its `expires_at`, or longer than any job may wait."""


@dataclass(frozen=True)
class Facts:
    """What is known when an attempt ends. `doubts`: for each request without an answer about its
    effect, whether repeating it is harmless now."""

    attempts: int
    throttled_seconds: float
    age_seconds: float
    doubts: Sequence[bool]
    policy: Policy

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
    error: dict[str, Any] | None = None


def verdict(  # noqa: PLR0911 - one return a row of the table
    error: BaseException, facts: Facts
) -> Verdict:
    """The consequence of each class of error."""
    match error:
        case Wait():
            # What has waited for long can wait a little longer: looks become rare.
            seconds = max(error.seconds, min(facts.age_seconds / 4, LONGEST_LOOK_SECONDS))
            return _wait(facts, error.reason, seconds, "waited")
        case Exception() if is_away(error):
            return _wait(facts, "the ledger was away", LEDGER_SECONDS, "ledger_away")
        case HandedBack():
            return _wait(facts, "its worker stopped; it runs again", 0.0, "handed_back")
        case Throttled():
            return _throttled(error, facts)
        case Misconfigured():
            return _wait(facts, error.message, MISCONFIGURED_SECONDS, "misconfigured")
        case Unknown(for_person=True):
            return Verdict("unknown", "unknown", reason=error.message, error=_error(error))
        case NotSent() | Unknown() | Unavailable():
            return _retry(error, facts)
        case TimeoutError():
            return _retry(Unknown("the attempt took too long", code="timeout"), facts)
        case _:
            return _end(error, facts)


def backoff(attempts: int, policy: Policy, retry_after: float | None) -> float:
    """Seconds until the next attempt: doubling, 0.5 to 1.5 by chance, and no less than asked."""
    delay = min(policy.backoff_seconds * 2.0 ** max(0, attempts - 1), policy.backoff_max_seconds)
    jittered = delay * random.uniform(0.5, 1.5)  # noqa: S311 - spreads load, hides nothing
    return max(jittered, min(retry_after or 0.0, policy.retry_after_max_seconds))


def _retry(error: VendorError, facts: Facts) -> Verdict:
    if facts.stuck:
        return _unknown(error)
    if facts.attempts >= facts.policy.max_attempts:
        return _unknown(error) if facts.doubts else _failed(error)
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
        return _unknown(error)
    if facts.throttled_seconds > facts.policy.throttle_max_seconds:
        return _unknown(error) if facts.doubts else _failed(error)
    wait = error.retry_after if error.retry_after is not None else THROTTLED_SECONDS
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
        return Verdict("unknown", outcome, reason=reason, error=_error(Unknown(reason)))
    return Verdict("waiting", outcome, reason=reason, delay_seconds=seconds, counts=False)


def _end(error: BaseException, facts: Facts) -> Verdict:
    return _unknown(error) if facts.doubts else _failed(error)


def _unknown(error: BaseException) -> Verdict:
    return Verdict(
        "unknown", "unknown", reason="a request may have had its effect", error=_error(error)
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
