"""What becomes of each job that waits for a load, or was in one: pure decisions, in one table."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from adapters._base import Unknown, VendorError
from adapters._records import Trouble
from ferryman.errors import InvalidArguments
from ferryman.policies import Policy
from models.loads import Odd, Rider
from tasks._riding import Parcel
from tasks._split import LEFT

Row = dict[str, Any]

EXPIRED: Row = {"code": "expired", "message": "it waited too long", "type": "Expired"}
LATE = Unknown("an earlier request may have had its effect, and cannot be repeated any more")
# One that was in a load, or just looked at, when its batch was paused: as all others of it
# (models/batches.py), until that is resumed.
PAUSED = {"message": "its batch is paused"}
FOR_GOOD_SECONDS = 7000 * 365.25 * 86400
# A vendor of this many troubles is busy for longer than it thinks.
MOST_DOUBLINGS = 8


def before(rider: Rider) -> Odd | None:
    """The end of one that must not go any more; what may be in doubt is never said to be absent.
    None: it goes. What is repeated naturally goes however late it is: only so its doubt ends."""
    if rider.doubt == "late":
        return Odd(rider.id, "unknown", LATE.as_error())
    if rider.cancelled and rider.doubt is None:
        return Odd(rider.id, "cancelled")
    if rider.expired and rider.doubt != "natural":
        return Odd(rider.id, "unknown" if rider.doubt else "failed", EXPIRED)
    if rider.paused and not rider.cancelled:
        return Odd(rider.id, "waiting", PAUSED, delay=FOR_GOOD_SECONDS)
    return None


def unfit(rider: Rider, error: Exception) -> Odd:
    """The end of one whose arguments cannot be sent. Nothing of it has left now; of a request that
    left before, that says nothing."""
    return Odd(rider.id, "unknown" if rider.doubt else "failed", _error(error))


def after(
    parcel: Parcel, troubles: Mapping[int, Trouble], vendor: str, policy: Policy
) -> Odd | None:
    """What the vendor's words mean for the job. `troubles`: of its records, by their places, also
    those that have not left. None: all of it was taken."""
    if not troubles:
        return None
    rider = parcel.rider
    passing = [one for one in troubles.values() if one.again is not None]
    # What was left of many jobs is less each time; of one with many records it may be the same.
    endless = not parcel.several and all(one is LEFT for one in passing)
    if passing and (endless or rider.attempts + 1 < policy.max_attempts):
        return _waits(rider, passing, policy)
    # A refusal of now tells of all requests before, but where the vendor looks at a record before
    # it looks at the id that it knows it by. That it is busy tells of none.
    doubtful = rider.doubt == "key" or (passing and rider.doubt is not None)
    status = "unknown" if doubtful else "failed"
    if not parcel.several:
        return Odd(rider.id, status, troubles[0].error().as_error())
    taken = len(parcel.places) + len(parcel.troubles) - len(troubles)
    result = {"id": str(rider.id), "vendor": vendor, "events": taken, "refused": len(troubles)}
    return Odd(rider.id, status, _some(troubles, taken), result)


def _waits(rider: Rider, passing: Sequence[Trouble], policy: Policy) -> Odd:
    slowest = max(passing, key=lambda one: one.again or 0.0)
    doubled = (slowest.again or 0.0) * 2.0 ** min(rider.attempts, MOST_DOUBLINGS)
    delay = min(doubled, policy.backoff_max_seconds)
    delay *= random.uniform(1.0, 1.5)  # noqa: S311 - spreads load, hides nothing
    return Odd(rider.id, "waiting", {"message": f"retries: {slowest.message}"}, delay=delay)


def _some(troubles: Mapping[int, Trouble], taken: int) -> Row:
    """Of several events some were not taken; the others were."""
    message = f"the vendor has not taken {len(troubles)} of {taken + len(troubles)} events"
    events = [
        {"place": place, "field": one.field, "code": one.code, "message": one.message}
        for place, one in sorted(troubles.items())
    ]
    told = {"code": "events_refused", "message": message, "type": "Refused"}
    return told | {"taken": taken, "events": events}


def _error(error: Exception) -> Row:
    if isinstance(error, VendorError):
        return error.as_error()
    if isinstance(error, InvalidArguments):
        named = {"message": str(error), "field": error.field, "type": "InvalidArguments"}
        return {"code": "invalid_arguments", **named}
    message = f"a defect of ferryman: {type(error).__name__}"
    return {"code": "internal_error", "message": message, "type": type(error).__name__}
