"""PayPal's webhooks and its list of events: how they are verified, asked for and read.

https://developer.paypal.com/api/rest/webhooks/rest/
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode, urlsplit

from adapters import _signatures
from adapters._base import Delivery, Event, Forged, NoEvent, Row
from adapters._certificates import Certificates

ALGORITHM = "sha256withrsa"
LONGEST_HEADER = 2048
PAGE = 100
# Others are not PayPal's, and at their ends a calendar cannot reckon.
YEARS = range(1999, 3000)
CERTIFICATES = Certificates()


@dataclass(frozen=True)
class Signed:
    """What the headers of a delivery say of its signature."""

    id: str
    time: str
    signature: bytes
    certificate: str

    @classmethod
    def of(cls, delivery: Delivery) -> Signed:
        """Raises Forged where one is missing or cannot be."""
        if _header(delivery, "paypal-auth-algo").lower() != ALGORITHM:
            raise Forged("the signature is not SHA256withRSA")
        try:
            signature = base64.b64decode(
                _header(delivery, "paypal-transmission-sig"), validate=True
            )
        except binascii.Error:
            raise Forged("the signature is not base64") from None
        return cls(
            _header(delivery, "paypal-transmission-id"),
            _header(delivery, "paypal-transmission-time"),
            signature,
            _header(delivery, "paypal-cert-url"),
        )


async def receive(delivery: Delivery, ids: Sequence[str], address: str) -> Event:
    """Verify a delivery that is for one of our webhooks' `ids`. Raises Forged, NoEvent, and
    Unavailable where its certificate cannot be fetched.

    The signature covers a CRC32 of the body, and four bytes suffice to give another body the same
    one: nothing of the event may be believed before it is read again at PayPal.
    """
    # There is no limit to its age: PayPal sends a delivery again for three days, under the time of
    # the first try. One that is played back is known by its event's id.
    signed = Signed.of(delivery)
    certificate = await CERTIFICATES.get(signed.certificate, address)
    checksum = zlib.crc32(delivery.body)
    for webhook in ids:
        message = f"{signed.id}|{signed.time}|{webhook}|{checksum}".encode()
        if certificate.signed(signed.signature, message):
            return event(_signatures.document(delivery.body))
    raise Forged("the signature is not that of the body and one of our webhook ids")


def event(told: Any) -> Event:
    """An event as PayPal writes it. Raises NoEvent."""
    if not isinstance(told, dict):
        raise NoEvent("the body is no event")
    kind = told.get("event_type")
    try:
        at = datetime.fromisoformat(told["create_time"])
    except (LookupError, TypeError, ValueError):
        raise NoEvent("the event has no time") from None
    if at.year not in YEARS:
        raise NoEvent("the event's time is none of PayPal's")
    if not isinstance(kind, str) or not 0 < len(kind) <= _signatures.LONGEST_ID:
        raise NoEvent("the event has no type")
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return Event(_signatures.event_id(told.get("id")), kind, at, told)


def period(since: datetime, until: datetime) -> str:
    """The query of the first page of events of a time, its parts of seconds included."""
    asked = {
        "page_size": PAGE,
        "start_time": _written(since),
        "end_time": _written(until + timedelta(seconds=1)),
    }
    return urlencode(asked)


def following(page: Row) -> str | None:
    """The query of the next page. Only that of the link: its host is not asked."""
    try:
        hrefs = [one["href"] for one in page["links"] if one["rel"] == "next"]
        return urlsplit(hrefs[0]).query or None
    except (LookupError, TypeError, ValueError, AttributeError):
        return None


def _written(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _header(delivery: Delivery, name: str) -> str:
    value = delivery.headers.get(name, "")
    if not value or not value.isascii() or len(value) > LONGEST_HEADER:
        raise Forged(f"the header {name} is missing, or cannot be one")
    return value
