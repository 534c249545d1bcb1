"""How does Twilio show messages? One, or a page of them."""

from datetime import UTC, date, datetime
from email.utils import format_datetime
from typing import Any
from urllib.parse import urlencode

from sandbox.twilio.account import Account, Message
from sandbox.twilio.errors import invalid
from sandbox.twilio.params import Given

Shape = dict[str, Any]
DEFAULT_PAGE = 50
MESSAGES_KNOWN = {
    30003: "Unreachable destination handset",
    30005: "Unknown destination handset",
    30006: "Landline or unreachable carrier",
    30008: "Unknown error",
}


def message(account: Account, row: Message) -> Shape:
    """As Twilio's reference has it: numbers of segments and media are texts there."""
    uri = f"{place(account)}/{row.id}.json"
    undecided = row.service is not None and row.sent is None
    return {
        "account_sid": account.sid,
        "api_version": "2010-04-01",
        "body": row.body,
        "date_created": _moment(row.created),
        "date_sent": row.sent and _moment(row.sent),
        "date_updated": _moment(row.updated),
        "direction": row.direction,
        "error_code": row.error_code,
        "error_message": row.error_code and MESSAGES_KNOWN.get(row.error_code),
        "from": row.sender,
        "messaging_service_sid": row.service,
        "num_media": str(row.media),
        "num_segments": "0" if undecided else str(row.parts),
        "price": None,
        "price_unit": "USD",
        "sid": row.id,
        "status": row.status,
        "subresource_uris": {"media": f"{place(account)}/{row.id}/Media.json"},
        "to": row.to,
        "uri": uri,
    }


def page(account: Account, given: Given) -> Shape:
    """One page, newest first. Raises Refused for a token that is none."""
    found = [row for row in account.messages.newest_first() if _is_meant(row, given)]
    size = int(given.get("PageSize", DEFAULT_PAGE))
    number = int(given.get("Page", 0))
    start = _after(found, given["PageToken"]) if "PageToken" in given else number * size
    shown = found[start : start + size]
    more = len(found) > start + size
    following = {"Page": number + 1, "PageToken": f"PA{shown[-1].id}"} if more else None
    return {
        "end": start + max(0, len(shown) - 1),
        "first_page_uri": _uri(account, given, {"Page": 0}),
        "messages": [message(account, row) for row in shown],
        "next_page_uri": following and _uri(account, given, following),
        "page": number,
        "page_size": size,
        "previous_page_uri": _uri(account, given, {"Page": number - 1}) if number else None,
        "start": start,
        "uri": _uri(account, given, {"Page": number}),
    }


def place(account: Account) -> str:
    return f"/2010-04-01/Accounts/{account.sid}/Messages"


def _moment(at: float) -> str:
    return format_datetime(datetime.fromtimestamp(int(at), UTC))


def _is_meant(row: Message, given: Given) -> bool:
    if given.get("To", row.to) != row.to or given.get("From", row.sender) != row.sender:
        return False
    bounds = [name for name in given if name.startswith("DateSent")]
    # What has not been sent was sent on no day.
    return all(row.sent is not None and _fits(name, row.sent, given[name]) for name in bounds)


def _fits(name: str, sent: float, bound: str) -> bool:
    """By days, both ends included, as Twilio has it."""
    day = datetime.fromtimestamp(sent, UTC).date()
    limit: date = datetime.fromisoformat(bound).date()
    return {"DateSent<": day <= limit, "DateSent>": day >= limit}.get(name, day == limit)


def _after(rows: list[Message], token: str) -> int:
    for number, row in enumerate(rows):
        if token == f"PA{row.id}":
            return number + 1
    raise invalid("PageToken", "there is no such page")


def _uri(account: Account, given: Given, at: dict[str, Any]) -> str:
    asked = {name: value for name, value in given.items() if not name.startswith("Page")}
    size = given.get("PageSize", DEFAULT_PAGE)
    return f"{place(account)}.json?{urlencode(asked | {'PageSize': size} | at)}"
