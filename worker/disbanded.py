"""What becomes of the jobs that a load carried, when it ends without an answer for each."""

from __future__ import annotations

from uuid import UUID

from adapters._base import Refused, VendorError
from ferryman.policies import Policy
from models.group import is_away
from models.loads import Disband
from tasks._base import Refusal, Wait
from worker.verdict import Cancelled, HandedBack, Verdict, backoff

PASSING = (VendorError, Wait, HandedBack, Cancelled, TimeoutError)


def disbanded(load: UUID, error: BaseException, decided: Verdict, policy: Policy) -> Disband:
    """`decided`: what would become of a job that had raised this. A load never ends by it as
    `failed` or `unknown`, and does not count attempts: its riders do."""
    passing = isinstance(error, PASSING) or is_away(error)
    delay = decided.delay_seconds if decided.status == "waiting" else backoff(1, policy, None)
    return Disband(
        load,
        reason=decided.reason or f"retries: {getattr(error, 'message', 'the load went wrong')}",
        error=decided.error,
        outcome=decided.outcome,
        # After a defect of ours the riders go at once: in smaller and smaller loads.
        delay=delay if passing else 0.0,
        max_delay=max(policy.backoff_max_seconds, delay),
        counts=decided.counts,
        max_attempts=policy.max_attempts,
        fails=isinstance(error, Refused | Refusal),
        crashed=not passing,
    )
