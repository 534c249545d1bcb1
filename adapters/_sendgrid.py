"""SendGrid's event webhook: who signed it, and what it tells. Facts:
https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/getting-started-event-webhook-security-features"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import orjson
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key

from adapters import _signatures
from adapters._base import Delivery, Event, Forged, NoEvent

SIGNATURE = "x-twilio-email-event-webhook-signature"
TIME = "x-twilio-email-event-webhook-timestamp"
# SendGrid repeats a delivery for 24 h, and does not say whether it signs it anew: a shorter time
# could lose what came about while we were down. A replay within it finds its event known.
TOLERANCE_SECONDS = 25 * 3600
UNNAMED = "unknown"
ALGORITHM = ec.ECDSA(hashes.SHA256())
PublicKey = ec.EllipticCurvePublicKey


@lru_cache(16)
def public_key(text: str) -> PublicKey | None:
    """The verification key as SendGrid shows it: Base64 of DER. None: it is no such key."""
    try:
        key = load_der_public_key(base64.b64decode(text, validate=True))
    except (ValueError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, PublicKey) and isinstance(key.curve, ec.SECP256R1) else None


def verify(delivery: Delivery, keys: Sequence[PublicKey]) -> None:
    """Whether one of these keys belongs to who signed it. Raises Forged."""
    time = delivery.headers.get(TIME, "")
    _signatures.timely(_signatures.seconds(time), TOLERANCE_SECONDS)
    try:
        signature = base64.b64decode(delivery.headers.get(SIGNATURE, ""), validate=True)
    except ValueError:
        raise Forged("the signature is missing, or not Base64") from None
    if not any(_signed(key, signature, time.encode() + delivery.body) for key in keys):
        raise Forged("the signature is not one of SENDGRID_WEBHOOK_PUBLIC_KEY's")


def _signed(key: PublicKey, signature: bytes, text: bytes) -> bool:
    try:
        key.verify(signature, text, ALGORITHM)
    except InvalidSignature:
        return False
    return True


def events(delivery: Delivery) -> list[Event]:
    """One event an entry of the array, in a verified delivery. Raises NoEvent."""
    found = _signatures.document(delivery.body)
    if not isinstance(found, list) or not found:
        raise NoEvent("the body is not a list of events")
    signed_at = int(delivery.headers[TIME])
    return [_event(entry, signed_at) for entry in found]


def _event(entry: Any, signed_at: int) -> Event:
    """Whatever it lacks, an entry is kept: to refuse it would be to refuse all the others."""
    if not isinstance(entry, dict):
        raise NoEvent("an entry of the body is no event")
    return Event(
        id=_usable(entry.get("sg_event_id")) or _of_content(entry),
        type=_usable(entry.get("event")) or UNNAMED,
        at=_moment(entry.get("timestamp")) or datetime.fromtimestamp(signed_at, UTC),
        payload=entry,
    )


def _usable(found: Any) -> str | None:
    try:
        return _signatures.event_id(found)
    except NoEvent:
        return None


def _of_content(entry: dict[str, Any]) -> str:
    """Not every event has an id. This one is the same each time the event comes."""
    written = orjson.dumps(entry, option=orjson.OPT_SORT_KEYS)
    return f"sha256:{hashlib.sha256(written).hexdigest()}"


def _moment(found: Any) -> datetime | None:
    try:
        return datetime.fromtimestamp(found, UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return None
