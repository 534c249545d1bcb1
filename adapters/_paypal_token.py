"""PayPal's access token: one for all calls of the process, until it runs out or is refused.

https://developer.paypal.com/api/rest/authentication/
"""

from __future__ import annotations

import time
from base64 import b64encode

import orjson

from adapters._base import Call, Misconfigured, Request, Unavailable
from adapters._tokens import Token

PATH = "/v1/oauth2/token"
HEADERS = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
# A token that runs out on its way would cost a refused call.
MARGIN_SECONDS = 60.0
MARGIN_SHARE = 0.1


async def fetch(call: Call, address: str, client: str, secret: str) -> Token:
    """Ask PayPal for a token. It has no effect, so the ledger keeps the exchange and no mark."""
    basic = b64encode(f"{client}:{secret}".encode()).decode()
    request = Request("POST", address + PATH, HEADERS, b"grant_type=client_credentials")
    asked = time.monotonic()
    try:
        answer = await call.read(request, credentials={"Authorization": f"Basic {basic}"})
    except Misconfigured as error:
        raise _refused(error.status) from None
    if answer.status in (400, 404):
        raise _refused(answer.status)
    try:
        told = orjson.loads(answer.body)
        value, seconds = str(told["access_token"]), float(told["expires_in"])
    except (LookupError, TypeError, ValueError):
        raise Unavailable("the vendor's token cannot be read", status=answer.status) from None
    if not value.isascii() or not value.isprintable():
        raise Unavailable("the vendor's token cannot be read", status=answer.status)
    margin = min(MARGIN_SECONDS, seconds * MARGIN_SHARE)
    return Token(value, asked + seconds - margin)


def _refused(status: int | None) -> Misconfigured:
    return Misconfigured("PAYPAL_CLIENT_ID is not accepted with its secret", status=status)
