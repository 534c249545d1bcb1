"""Whom SendGrid itself sends nothing to. Facts:
https://www.twilio.com/docs/sendgrid/api-reference/bounces-api/retrieve-all-bounces and, beside it,
those of invalid addresses, spam reports and global unsubscribes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from adapters._base import Call, Misconfigured, Refused, Request, Response, Unavailable
from adapters._mail import Suppressed
from ferryman import addresses

# Each of SendGrid's lists, and our word for why one is on it. Blocks are none of them: they pass,
# and SendGrid itself goes on sending to those addresses.
LISTS = {
    "bounces": "bounce",
    "invalid_emails": "invalid",
    "spam_reports": "complaint",
    "unsubscribes": "unsubscribe",
}
PAGE = 500


async def suppressions(
    call: Call, address: str, credentials: Mapping[str, str]
) -> AsyncIterator[Suppressed]:
    """Each entry of each list. What is added meanwhile moves the pages, so that one may come twice.

    Raises as `Call.read` does, Refused for a key that may not read them.
    """
    for name, reason in LISTS.items():
        offset, full = 0, True
        while full:
            url = f"{address}/v3/suppression/{name}?limit={PAGE}&offset={offset}"
            entries = await _page(call, url, credentials)
            for entry in entries:
                if (found := _read(entry, reason)) is not None:
                    yield found
            offset, full = offset + PAGE, len(entries) >= PAGE


async def _page(call: Call, url: str, credentials: Mapping[str, str]) -> list[Any]:
    asked = Request("GET", url, {"Accept": "application/json"})
    try:
        answer = await call.read(asked, credentials=credentials)
    except Misconfigured as error:
        if error.status != 403:
            raise
        # A key that may send mail and nothing else is a good one: it must not stop the mail.
        raise Refused(
            "SENDGRID_API_KEY may not read the lists of suppressions",
            code="account_restricted",
            status=403,
        ) from None
    if answer.status != 200:
        raise Refused("the vendor does not tell whom it suppresses", status=answer.status)
    return _entries(answer)


def _entries(answer: Response) -> list[Any]:
    try:
        found = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, list):
        raise Unavailable("the vendor's list cannot be read", status=answer.status)
    return found


def _read(entry: Any, reason: str) -> Suppressed | None:
    """None for what is no address: to such nothing is sent anyway."""
    try:
        address = addresses.normalised(entry["email"])
        return Suppressed(address, reason, datetime.fromtimestamp(entry["created"], UTC))
    except (LookupError, TypeError, ValueError, OverflowError, OSError):
        return None
