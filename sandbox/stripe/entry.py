"""Who asks, by which version of the API, with what? All that comes before the call itself."""

import base64
import re
from binascii import Error as NotBase64
from typing import Any

from sandbox.stripe.account import LATEST_VERSION
from sandbox.stripe.errors import Refused
from sandbox.vendor import Request

FORM = "application/x-www-form-urlencoded"
TEST_KEY = re.compile(r"(?:sk|rk)_test_\w+")
REVOKED = "sk_test_" + "revoked"
VERSION = re.compile(r"\d{4}-\d\d-\d\d(\.[a-z]+)?")
NO_METHOD_TYPES_SINCE = "2026-09-30"
AUTHENTICATION = (
    "You did not provide an API key. You need to provide your API key in the Authorization header,"
    " using Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY'). See"
    " https://stripe.com/docs/api#authentication for details, or we can help at"
    " https://support.stripe.com/."
)


def authenticate(header: str) -> None:
    """Bearer, or Basic with the key as the user's name. Raises Refused."""
    scheme, _, credentials = header.partition(" ")
    key = credentials.strip()
    if scheme.lower() == "basic":
        key = _user(credentials)
    if not key or scheme.lower() not in ("bearer", "basic"):
        raise Refused(401, AUTHENTICATION)
    if not TEST_KEY.fullmatch(key) or key == REVOKED:
        hidden = f"{key[:8]}{'*' * max(0, len(key) - 12)}{key[-4:]}"
        raise Refused(401, f"Invalid API Key provided: {hidden}")


def _user(credentials: str) -> str:
    try:
        return base64.b64decode(credentials, validate=True).decode().partition(":")[0]
    except (NotBase64, UnicodeDecodeError):
        return ""


def version_of(request: Request) -> str:
    version = request.headers.get("stripe-version", LATEST_VERSION)
    if not VERSION.fullmatch(version):
        raise Refused(400, f"Invalid Stripe API version: {version}")
    return version


def parameters(request: Request) -> str:
    """The form, from the query or the body. Raises Refused for a body of another type."""
    if request.method == "GET":
        return request.query
    kind = request.headers.get("content-type", FORM).partition(";")[0].strip()
    if request.body and kind != FORM:
        raise Refused(
            400,
            f"Invalid request (check that your POST content type is {FORM}). If you have any"
            " questions, we can help at https://support.stripe.com/.",
        )
    return request.body.decode("utf-8", "replace")


def refuse_method_types(given: dict[str, Any], version: str) -> None:
    """Raises Refused: from 2026-09-30 on nobody may set `payment_method_types`."""
    if "payment_method_types" not in given:
        return
    if version >= NO_METHOD_TYPES_SINCE:
        raise Refused(
            400,
            "`payment_method_types` is no longer supported. Use `allowed_payment_method_types` or"
            " `automatic_payment_methods` instead.",
            code="payment_method_types_no_longer_supported",
            param="payment_method_types",
        )
    given["allowed_payment_method_types"] = given.pop("payment_method_types")
