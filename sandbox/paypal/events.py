"""What has happened? Events, newest first, page by page; and whether a webhook is PayPal's."""

import json
from collections.abc import Callable
from datetime import datetime
from urllib.parse import urlencode

from sandbox.paypal.account import Account, Call
from sandbox.paypal.certificates import ALGORITHM, Authority
from sandbox.paypal.errors import Refused, invalid, missing
from sandbox.paypal.objects import Event
from sandbox.paypal.shapes import Shape, event_shape, link

WEBHOOK_ID = "0".join(("SANDBOX", "WEBHOOK", "1"))
LIST = "/v1/notifications/webhooks-events"
QUERY = frozenset(
    ("page_size", "start_time", "end_time", "transaction_id", "event_type", "move_to", "index_id")
)
"""The last two are in the links of the pages only."""
LARGEST_PAGE = 100
EVENT = b'"webhook_event"'


def listed(account: Account, call: Call) -> Callable[[], Shape]:
    """One page; may have fewer events than were asked for. Raises Refused."""
    given = call.given
    size = _number(given, "page_size", 10)
    start, end = _moment(given, "start_time"), _moment(given, "end_time")
    before = _number(given, "index_id", 0)

    def work() -> Shape:
        found = [
            row
            for row in account.events()
            if (start is None or row.at >= start)
            and (end is None or row.at <= end)
            and given.get("transaction_id") in (None, row.about)
            and given.get("event_type") in (None, row.type)
            and (not before or row.number < before)
        ]
        page = found[: min(size, LARGEST_PAGE)]
        links = [link(f"{LIST}?{urlencode(given)}", "self")]
        if len(found) > len(page):
            more = given | {"move_to": "next", "index_id": str(page[-1].number)}
            links.append(link(f"{LIST}?{urlencode(more)}", "next"))
        return {"events": [event_shape(row) for row in page], "count": len(page), "links": links}

    return work


def _number(given: dict[str, str], name: str, usual: int) -> int:
    text = given.get(name)
    if text is None:
        return usual
    if not text.isdecimal() or int(text) < 1:
        raise _wrong(name, text)
    return int(text)


def _moment(given: dict[str, str], name: str) -> float | None:
    text = given.get(name)
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise _wrong(name, text) from None
    if at.tzinfo is None:
        raise _wrong(name, text)
    return at.timestamp()


def _wrong(name: str, text: str) -> Refused:
    return invalid("INVALID_PARAMETER_SYNTAX", name, text, location="query")


def retrieve(account: Account, call: Call) -> Callable[[], Shape]:
    """Raises Refused for an unknown event."""
    row = find(account, call.id)
    return lambda: event_shape(row)


def find(account: Account, id: str) -> Event:
    for row in account.events():
        if row.id == id:
            return row
    raise missing(id)


def verified(authority: Authority, call: Call) -> Callable[[], Shape]:
    """Whether a delivery was signed here, over the event's very bytes."""
    given = call.given
    genuine = (
        given["auth_algo"] == ALGORITHM
        and given["cert_url"] == authority.url
        and given["webhook_id"] == WEBHOOK_ID
        and authority.verifies(
            given["transmission_sig"],
            given["transmission_id"],
            given["transmission_time"],
            WEBHOOK_ID,
            _raw_event(call.body),
        )
    )
    return lambda: {"verification_status": "SUCCESS" if genuine else "FAILURE"}


def _raw_event(body: bytes) -> bytes:
    """The event as it stands in the request: other blanks or another order are another body."""
    rest = body[body.index(EVENT) + len(EVENT) :].decode().lstrip(" \t\r\n:")
    _, end = json.JSONDecoder().raw_decode(rest)
    return rest[:end].encode()
