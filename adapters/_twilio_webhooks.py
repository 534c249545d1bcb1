"""Twilio's webhooks: whether they are Twilio's, and what they tell. Facts:
https://www.twilio.com/docs/usage/webhooks/webhooks-security"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from urllib.parse import parse_qs, parse_qsl, urlsplit
from uuid import UUID

from adapters import _signatures
from adapters._base import Delivery, Event, Forged, NoEvent, Row

SIGNATURE = "x-twilio-signature"
FORM = "application/x-www-form-urlencoded"
# Names and values are signed with nothing between them, so that whoever sees one delivery can
# draw their borders anew: only what looks exactly like an id and a status is taken for one.
SID = re.compile(r"(SM|MM)[0-9a-f]{32}")
STATUS = re.compile(r"[a-z_]{1,40}")
MOST_FIELDS = 1000
STANDARD_PORTS = {"https": "443", "http": "80"}
QUERY = "message"
"""In the address that Twilio is given to call: the id of our message."""
MESSAGE = "ferryman_message"
"""The same in the payload of an event, among the names that are Twilio's."""


def receive(delivery: Delivery, tokens: Iterable[str]) -> Event:
    """Raises Forged and NoEvent."""
    if not delivery.url:
        raise Forged("without FERRYMAN_PUBLIC_URL it is not known what address was called")
    if _is_form(delivery):
        fields = _form(delivery.body)
        _verify(delivery, tokens, _addresses(delivery.url), fields)
        return _event(_row(fields), delivery.url)
    _check_hash(delivery.url, delivery.body)
    _verify(delivery, tokens, _addresses(delivery.url), ())
    return _event(_signatures.document(delivery.body), delivery.url)


def _is_form(delivery: Delivery) -> bool:
    return delivery.headers.get("content-type", "").partition(";")[0].strip().lower() == FORM


def _form(body: bytes) -> list[tuple[str, str]]:
    """Names and values as they are signed, the empty ones too. Raises Forged."""
    try:
        return parse_qsl(
            body.decode(),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=MOST_FIELDS,
        )
    except ValueError:
        raise Forged("the body is not a form in UTF-8") from None


def _check_hash(url: str, body: bytes) -> None:
    """A body that is no form is signed by its hash in the address. Raises Forged."""
    given = parse_qs(urlsplit(url).query).get("bodySHA256", [""])[0]
    if not _signatures.equal(given, hashlib.sha256(body).hexdigest()):
        raise Forged("the body is no form, and its hash in the address is missing or wrong")


def _verify(
    delivery: Delivery,
    tokens: Iterable[str],
    addresses: Iterable[str],
    fields: Iterable[tuple[str, str]],
) -> None:
    """Whether one of these tokens signed it. Raises Forged.

    Only by HMAC-SHA1 with the account's token, which is what Twilio does where no rule of the
    account says otherwise.
    """
    given = delivery.headers.get(SIGNATURE, "")
    # A value that comes twice under one name is signed once.
    told = "".join(f"{name}{value}" for name, value in sorted(set(fields)))
    ours = [_signature(token, address + told) for token in tokens for address in addresses]
    if not any(_signatures.equal(given, signature) for signature in ours):
        raise Forged("the signature is missing, or not TWILIO_AUTH_TOKEN's for this address")


def _signature(token: str, text: str) -> str:
    made = hmac.digest(token.encode(), text.encode("utf-8", "replace"), "sha1")
    return base64.b64encode(made).decode()


def _addresses(url: str) -> list[str]:
    """The address with its port and without, since Twilio signs now the one and now the other."""
    scheme, _, rest = url.partition("://")
    host = re.split(r"[/?#]", rest, maxsplit=1)[0]
    tail = rest.removeprefix(host)
    bare = re.sub(r":\d*$", "", host)
    ported = f"{bare}:{STANDARD_PORTS.get(scheme, '')}" if bare == host else host
    return [f"{scheme}://{bare}{tail}", f"{scheme}://{ported}{tail}"]


def _row(fields: Iterable[tuple[str, str]]) -> Row:
    """The form as an object; a name that has several values has a list."""
    values: dict[str, list[str]] = {}
    for name, value in sorted(set(fields)):
        values.setdefault(name, []).append(value)
    return {name: found[0] if len(found) == 1 else found for name, found in values.items()}


def _event(found: Row, url: str) -> Event:
    """What became of a message, or one that came in. Raises NoEvent."""
    if not isinstance(found, dict):
        raise NoEvent("the body is not an object")
    sid = _word(SID, found, "MessageSid", "SmsSid")
    status = _word(STATUS, found, "MessageStatus", "SmsStatus")
    told = {name: value for name, value in found.items() if name != MESSAGE} | _ours(url)
    # Twilio tells no time, and nothing else that tells two deliveries of one status apart.
    return Event(f"{sid}:{status}", f"message.{status}", datetime.now(UTC), told)


def _ours(url: str) -> Row:
    """The id of ours that the address names: signed, as the whole address is."""
    named = parse_qs(urlsplit(url).query).get(QUERY, [])
    try:
        (message,) = (str(UUID(one)) for one in named)
    except ValueError:
        return {}
    return {MESSAGE: message}


def _word(pattern: re.Pattern[str], found: Row, *names: str) -> str:
    """The first of these fields that is there. Raises NoEvent."""
    value = next((found[name] for name in names if name in found), None)
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise NoEvent(f"{names[0]} is missing, or is none")
    return value
