"""What an interaction may show: no credential, no card, no address, no long body."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import orjson

MASK = "[redacted]"
# A longer body is described, not kept: a mail to a thousand people is a thousand addresses.
LONGEST_BODY = 16_384
# No key, card number or address is shorter (a@b.io).
SHORTEST_SHAPE = 6

HEADERS = frozenset({"content-type", "idempotency-key", "retry-after", "user-agent", "location"})
HEADER_PARTS = ("request-id", "ratelimit", "rate-limit", "should-retry", "replayed", "message-id")
FIELDS = re.compile(
    r"secret|token|password|authorization|card|number|cvc|cvv|iban|account_number|payment_method"
    r"|e?mail|phone|address|name$|^to$|^from$|^cc$|^bcc$|reply_to|subject|content|value|html|text"
    r"|substitutions|dynamic_template_data|client_secret|fingerprint|last4|receipt_url"
    r"|vault|birth_date|tax_id|payer_id|unsubscribe|^body$",
    re.IGNORECASE,
)
# Of an address; there, other names than in a body are harmless (`list-type`, `page_token`).
URL_FIELDS = frozenset({"client_secret", "access_token", "signature", "token", "key", "upload_id"})
KEYS = re.compile(
    r"\b(?:(?:sk|rk|pk|whsec)_\w{4,}|SG\.[\w.-]{8,}|AKIA[0-9A-Z]{12,}|pat-\w+-[\w-]{8,}"
    r"|A21AA[\w-]{20,}|00D\w{6,15}![\w.]{8,})"
)
MAIL = re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]+")
# Also percent-encoded, as in an address.
PHONE = re.compile(r"(?:\+|%2[Bb])[1-9]\d{6,14}(?!\d)")
# A UUID is no card: within one, a dash or a letter stands next to every run of digits.
CARD = re.compile(r"(?<![\w-])(?:\d[ -]?){12,18}\d(?![\w-])")


def text(value: str) -> str:
    """The text with keys, addresses, telephone and card numbers masked."""
    if len(value) < SHORTEST_SHAPE:
        return value
    if "@" in value:  # without it, its pattern would try each beginning of each word
        value = MAIL.sub(MASK, value)
    if "+" in value or "%2" in value:
        value = PHONE.sub(MASK, value)
    return CARD.sub(MASK, KEYS.sub(MASK, value))


@lru_cache(4096)
def _is_sensitive(field: str) -> bool:
    return FIELDS.search(field) is not None


@lru_cache(4096)
def _is_shown(header: str) -> bool:
    return header in HEADERS or any(part in header for part in HEADER_PARTS)


def headers(given: Mapping[str, str]) -> dict[str, str]:
    """The headers that help to understand a call; the others are left out."""
    return {name.lower(): text(value) for name, value in given.items() if _is_shown(name.lower())}


def url(given: str) -> str:
    """The address without credentials, and with masked values in its query."""
    parts = urlsplit(given)
    host = parts.netloc.rpartition("@")[2]
    query = "&".join(
        f"{name}={MASK if name in URL_FIELDS else text(value)}"
        for name, value in parse_qsl(parts.query)
    )
    return urlunsplit((parts.scheme, host, text(parts.path), query, ""))


def body(given: bytes, content_type: str) -> Any:
    """A body fit for the ledger, as JSON: parsed and masked, or only described."""
    if not given:
        return None
    if len(given) > LONGEST_BODY:
        return {"bytes": len(given), "sha256": hashlib.sha256(given).hexdigest()}
    if "json" in content_type:
        try:
            return _masked(orjson.loads(given))
        except orjson.JSONDecodeError:
            pass
    decoded = given.decode("utf-8", "replace")
    if "form-urlencoded" in content_type:
        return _form(parse_qsl(decoded, keep_blank_values=True))
    return text(decoded)


def without(body: bytes, hidden: Iterable[str]) -> bytes:
    """The body without these values, wherever they stand in it; one too long to be kept stays."""
    if len(body) > LONGEST_BODY:
        return body
    for value in hidden:
        if len(value) >= SHORTEST_SHAPE:
            body = body.replace(value.encode(), MASK.encode())
    return body


def _form(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    return {
        name: MASK if _is_sensitive(name.partition("[")[0]) else text(value)
        for name, value in pairs
    }


def _masked(value: Any) -> Any:
    match value:
        case {"currency_code": _, "value": _, **rest} if not rest:
            return value  # an amount, as PayPal writes it
        case dict():
            return {
                name: MASK
                if FIELDS.search(name) and inner not in (None, [], {})
                else _masked(inner)
                for name, inner in value.items()
            }
        case list():
            return [_masked(inner) for inner in value]
        case str():
            return text(value).replace("\0", "\N{REPLACEMENT CHARACTER}")
        case _:
            return value
