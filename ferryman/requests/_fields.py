"""The types of arguments that several kinds share, each with its limits."""

from __future__ import annotations

import re
from typing import Annotated, Any
from urllib.parse import urlsplit
from uuid import UUID

from pydantic import AfterValidator, BeforeValidator, Field

from ferryman import addresses, money, phones

# Line separators of Unicode are line breaks to some mail programs.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
# Set by ferryman itself, so that a payment at the vendor leads back to its job.
RESERVED_METADATA = "job"


def _whole(value: object) -> object:
    # `True` is an int to Python; 1250.0 and "1250" are guesses about money.
    if type(value) is not int:
        raise ValueError("must be a whole number of minor units, such as 1250 for 12.50")
    return value


def _currency(code: str) -> str:
    money.exponent(code)
    return code.lower()


def _printable(text: str) -> str:
    if _CONTROL.search(text):
        raise ValueError("must not contain line breaks or other control characters")
    return text


def _not_reserved(metadata: dict[str, str]) -> dict[str, str]:
    if RESERVED_METADATA in metadata:
        raise ValueError(f"must not have the key `{RESERVED_METADATA}`, which ferryman sets itself")
    return metadata


def _phone(number: str) -> str:
    return phones.normalised(number)


def _upload(id: str) -> str:
    try:
        return str(UUID(id))
    except ValueError:
        raise ValueError("must be the id of an upload") from None


def _link(url: str) -> str:
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https") or not url.isascii() or " " in url:
        raise ValueError("must be an address that begins with https:// or http://")
    return _printable(url)


# Stripe takes eight digits at most:
# https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts
Amount = Annotated[int, Field(gt=0, le=99_999_999), BeforeValidator(_whole)]
Currency = Annotated[str, AfterValidator(_currency)]
Label = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(_printable)]
Line = Annotated[str, Field(min_length=1, max_length=998), AfterValidator(_printable)]
Text = Annotated[str, Field(min_length=1)]
Address = Annotated[str, AfterValidator(addresses.normalised)]
Phone = Annotated[str, AfterValidator(_phone)]
# Twilio takes no longer one: https://www.twilio.com/docs/errors/21617
MessageBody = Annotated[str, Field(min_length=1, max_length=1600)]
UploadId = Annotated[str, AfterValidator(_upload)]
Link = Annotated[str, Field(max_length=2000), AfterValidator(_link)]
Metadata = Annotated[
    dict[
        Annotated[str, Field(min_length=1, max_length=40)],
        Annotated[str, Field(max_length=500)],
    ],
    Field(max_length=50),
    AfterValidator(_not_reserved),
]
# Checked as JSON as a whole, once, by the request.
JsonObject = dict[str, Any]
