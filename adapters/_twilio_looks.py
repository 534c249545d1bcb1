"""Which messages were sent, by what Twilio's list shows of them.

Twilio keeps no reference of ours with a message, and knows no key. What is proven, as long as the
account stays the same, and Twilio's clock and the ledger's are no more than five seconds apart:

- A message that is found was made with these very words, by this sender, to this number, since
  then. That it is this order's, and not another one's with the same words, cannot be told here.
- Where none is found, none was made. The list is asked for all messages to the number: one that
  still waits in Twilio's queue has no `DateSent`, by which a narrower list would leave it out. A
  message that differs in a way in which Twilio itself changes messages (a trial account puts a
  sentence before them, a messaging service plainer characters into them) is not taken for another
  one: then a person has to look.

Where FERRYMAN_PUBLIC_URL is set, the status callback names the order itself, and mostly comes
before any look.
"""

from __future__ import annotations

import unicodedata
from collections.abc import AsyncIterator, Mapping
from datetime import datetime, timedelta
from urllib.parse import urlencode

from adapters import _twilio as words
from adapters._base import Call, Request, Row, Unavailable, Unknown
from adapters._messages import MessageAnswer, MessageOrder

# Between Twilio's clock, which tells whole seconds, and ours.
MARGIN = timedelta(seconds=5)
# Of longest messages so many fit into an answer that is read to its end.
PAGE = 200
MOST_PAGES = 50
OURS = "outbound-api"


async def find(
    call: Call,
    place: tuple[str, str],
    credentials: Mapping[str, str],
    order: MessageOrder,
    since: datetime,
) -> list[MessageAnswer]:
    """The order's messages, the earliest first. `place`: Twilio's address, and the path of its
    list. Raises Unknown `for_person`, else as `Call.read`."""
    listed = _sent_to(call, place, credentials, order.to)
    made = [one async for one in listed if _is_of(one, order, since - MARGIN)]
    same = [one for one in made if one.get("body") == order.body and _senders(one)]
    if not same and any(_resembles(one, order.body) for one in made):
        message = "a message was sent then that may be this one, changed on its way"
        raise Unknown(message, for_person=True)
    return sorted(map(_read, same), key=lambda answer: answer.created_at)


async def _sent_to(
    call: Call, place: tuple[str, str], credentials: Mapping[str, str], to: str
) -> AsyncIterator[Row]:
    """All messages to a number, page by page. Raises as `Call.read`."""
    address, path = place
    following = f"{path}?{urlencode({'To': to, 'PageSize': PAGE})}"
    for _ in range(MOST_PAGES):
        request = Request("GET", address + following, {"Accept": "application/json"})
        answer = await call.read(request, credentials=credentials)
        page = words.document(answer) or {}
        listed = page.get("messages")
        if answer.status != 200 or not isinstance(listed, list):
            raise _unread(answer.status)
        for one in listed:
            if not isinstance(one, dict):
                raise _unread(answer.status)
            yield one
        if not (following := page.get("next_page_uri") or ""):
            return
        if not isinstance(following, str) or not following.startswith(f"{path}?"):
            raise _unread(answer.status)
    raise Unknown("more messages went to this number than are looked through", for_person=True)


def _is_of(one: Row, order: MessageOrder, since: datetime) -> bool:
    """Whether a request with this sender made it, since then. What does not tell may be."""
    created = words.moment(one.get("date_created"))
    senders = _senders(one)
    return (
        one.get("direction", OURS) == OURS
        and (not senders or order.sender in senders)
        and (created is None or created >= since)
    )


def _senders(one: Row) -> list[str]:
    found = (one.get("from"), one.get("messaging_service_sid"))
    return [sender for sender in found if sender]


def _resembles(one: Row, body: str) -> bool:
    """Whether it may be the message in other characters, with a sentence before it, or with its
    words no longer kept."""
    theirs = one.get("body")
    return not isinstance(theirs, str) or not theirs or _plain(body) in _plain(theirs)


def _plain(text: str) -> str:
    """Letters and digits alone, without accents and widths."""
    return "".join(c for c in unicodedata.normalize("NFKD", text).casefold() if c.isalnum())


def _read(one: Row) -> MessageAnswer:
    try:
        return words.message(one)
    except words.UNREADABLE:
        raise _unread(200) from None


def _unread(status: int) -> Unavailable:
    return Unavailable("the vendor's answer cannot be read", status=status)
