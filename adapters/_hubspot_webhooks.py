"""HubSpot's webhooks: who signed them, and what they are about. Facts:
https://developers.hubspot.com/docs/apps/legacy-apps/authentication/validating-requests"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from adapters import _signatures
from adapters._base import Delivery, Event, Forged, NoEvent

SIGNATURE, TIME = "x-hubspot-signature-v3", "x-hubspot-request-timestamp"
TOLERANCE_SECONDS = 300
DIGITS = 13


def receive(delivery: Delivery, secrets: Sequence[str]) -> list[Event]:
    """The events of a delivery. Raises Forged, NoEvent."""
    _verify(delivery, secrets)
    found = _signatures.document(delivery.body)
    if not isinstance(found, list) or not found:
        raise NoEvent("the body is not a list of events")
    return [_event(entry) for entry in found]


def _verify(delivery: Delivery, secrets: Sequence[str]) -> None:
    given = delivery.headers.get(TIME, "")
    if not (given.isascii() and given.isdigit() and len(given) <= DIGITS):
        raise Forged("the signature's time is missing, or no number")
    _signatures.timely(int(given) / 1000, TOLERANCE_SECONDS)
    if delivery.url is None:
        raise Forged("the address that was called is not known: set FERRYMAN_PUBLIC_URL")
    signed = b"POST" + delivery.url.encode() + delivery.body + given.encode()
    signature = delivery.headers.get(SIGNATURE, "")
    if not any(_signatures.equal(signature, _signature(secret, signed)) for secret in secrets):
        raise Forged("the signature is missing, or not HUBSPOT_CLIENT_SECRET's")


def _signature(secret: str, signed: bytes) -> str:
    return base64.b64encode(hmac.digest(secret.encode(), signed, "sha256")).decode()


def _event(entry: Any) -> Event:
    """Raises NoEvent for one without the numbers that tell it from others."""
    if not isinstance(entry, dict):
        raise NoEvent("an entry of the body is no event")
    what, at = entry.get("subscriptionType"), entry.get("occurredAt")
    # What it calls the id of an event is not promised to be the only one of that number.
    numbers = [entry.get(name) for name in ("eventId", "subscriptionId", "occurredAt")]
    if not isinstance(what, str) or not what or any(_no_number(one) for one in numbers):
        raise NoEvent("an entry of the body is no event")
    try:
        moment = datetime.fromtimestamp(float(str(at)) / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        raise NoEvent("the event has no usable time") from None
    named = _signatures.event_id(":".join(str(one) for one in numbers))
    return Event(named, what, moment, entry)


def _no_number(found: object) -> bool:
    return not isinstance(found, int) or isinstance(found, bool)
