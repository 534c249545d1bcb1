"""What the verification of webhooks has in common. Whatever was sent, nothing but Forged and
NoEvent is raised here: a stranger must not be able to make an error of ours."""

from __future__ import annotations

import hmac
import re
import time
from typing import Any

import orjson

from adapters._base import Forged, NoEvent

# The ledger's unique index takes no id that is much longer.
LONGEST_ID = 200
SECONDS = re.compile(r"[0-9]{1,11}")


def equal(given: str, ours: str) -> bool:
    """Whether both are the same, found out in a time that tells nothing of ours."""
    # As bytes, since `compare_digest` raises for text that is not ASCII.
    return hmac.compare_digest(given.encode("utf-8", "replace"), ours.encode())


def seconds(header: str) -> int:
    """A header's whole seconds since 1970. Raises Forged."""
    if not SECONDS.fullmatch(header):
        raise Forged("the signature's time is missing, or no number")
    return int(header)


def timely(at: float, tolerance: float) -> None:
    """Whether the signature is of now, give or take `tolerance` seconds. Raises Forged."""
    age = time.time() - at
    if age > tolerance:
        raise Forged("the signature is too old, or this machine's clock is wrong")
    if age < -tolerance:
        raise Forged("the signature is of a time to come, or this machine's clock is wrong")


def document(body: bytes) -> Any:
    """The JSON of a verified body, as the ledger can keep it. Raises NoEvent."""
    try:
        found = orjson.loads(body)
        # The ledger writes it some levels deeper than it came, and levels are limited.
        orjson.dumps([[[[[[[[found]]]]]]]])
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        raise NoEvent("the body is not JSON that can be kept") from None
    return found


def event_id(found: Any) -> str:
    """The vendor's own id of an event. Raises NoEvent for what cannot be one."""
    if not isinstance(found, str) or not 0 < len(found) <= LONGEST_ID or not found.isprintable():
        raise NoEvent("the event has no usable id")
    return found
