"""Who asks, and with what? Tokens, headers and bodies: all that comes before the call itself."""

import base64
from binascii import Error as NotBase64
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

import orjson

from sandbox.paypal.account import Account
from sandbox.paypal.errors import Refused, detail, invalid, oauth, refused
from sandbox.paypal.objects import Token
from sandbox.vendor import Request

CLIENT_ID = "_".join(("sandbox", "client"))
CLIENT_SECRET = "_".join(("sandbox", "client", "secret"))
SCOPE = "https://uri.paypal.com/services/applications/webhooks openid"


def grant(account: Account, request: Request) -> Callable[[], dict[str, Any]]:
    """What makes a new access token. Raises Refused."""
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic" or _decoded(credentials) != f"{CLIENT_ID}:{CLIENT_SECRET}":
        raise oauth(401, "invalid_client", "Client Authentication failed")
    form = dict(parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True))
    if form.get("grant_type") != "client_credentials":
        raise oauth(400, "unsupported_grant_type", "Grant Type is not supported")
    return lambda: _granted(account)


def _granted(account: Account) -> dict[str, Any]:
    seconds = account.settings.token_seconds
    row = account.tokens.put(Token(account.ids.new("A21AA", 48), account.now() + seconds))
    return {
        "scope": SCOPE,
        "access_token": row.id,
        "token_type": "Bearer",
        "app_id": "APP-SANDBOX",
        "expires_in": seconds,
    }


def _decoded(credentials: str) -> str:
    try:
        return base64.b64decode(credentials, validate=True).decode()
    except (NotBase64, UnicodeDecodeError):
        return ""


def authenticate(account: Account, request: Request) -> None:
    """Raises Refused for a request without a token that is valid now."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise refused(401)
    row = account.tokens.get(token)
    if row is None or row.expires <= account.now():
        raise oauth(401, "invalid_token", "Token signature verification failed")


def wants_whole(request: Request) -> bool:
    """Whether the answer is to be the whole object. Raises Refused."""
    prefer = request.headers.get("prefer", "return=minimal")
    if prefer not in ("return=minimal", "return=representation"):
        raise invalid("INVALID_PARAMETER_VALUE", "Prefer", prefer, location="header")
    return prefer == "return=representation"


def document(request: Request) -> dict[str, Any]:
    """The body's object; an absent one is empty. Raises Refused."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise refused(415)
    try:
        value = orjson.loads(request.body or b"{}")
    except orjson.JSONDecodeError:
        raise _malformed() from None
    if not isinstance(value, dict):
        raise _malformed()
    return value


def _malformed() -> Refused:
    return refused(400, detail("MALFORMED_REQUEST_JSON", "/"))


def query(request: Request, known: frozenset[str]) -> dict[str, str]:
    """The query's values. Raises Refused for a name that is not documented."""
    given = dict(parse_qsl(request.query, keep_blank_values=True))
    for name in given:
        if name not in known:
            raise invalid("NOT_SUPPORTED", name, location="query")
    return given
