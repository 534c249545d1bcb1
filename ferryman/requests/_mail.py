"""What one mail and many mails have in common: the content."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from ferryman.errors import InvalidArguments
from ferryman.requests._base import Request
from ferryman.requests._fields import Address, JsonObject, Label, Line, Link, Text

# Dynamic templates of SendGrid, whose ids begin so, carry a subject of their own.
_WITH_SUBJECT = "d-"
NEEDS_TEMPLATE = "is for a template: without one, every recipient gets the same text"


def _secure(url: str) -> str:
    # RFC 8058, section 3.1: one click works over HTTPS alone.
    if not url.startswith("https://"):
        raise ValueError("must begin with https://")
    return url


def _each_once(categories: list[str]) -> list[str]:
    if len(set(categories)) < len(categories):
        raise ValueError("must not name the same twice")
    return categories


Categories = Annotated[list[Label], Field(min_length=1, max_length=10), AfterValidator(_each_once)]
UnsubscribeLink = Annotated[Link, AfterValidator(_secure)]


class Mail(Request):
    """Content: a template of the vendor with `data` for it, or one text, HTML or both for all.

    `unsubscribe_url`: who follows it, by one click in his mail program, wants no more such mail
    (RFC 8058). `{id}` and `{to}` in it stand for the mail's id and its address, and `{name}` for
    what `data` has under that name. `track_opens`, `track_clicks`: else as the vendor's account is
    set.
    """

    template: Label | None = None
    data: JsonObject | None = None
    subject: Line | None = None
    text: Text | None = None
    html: Text | None = None
    sender: Address | None = None
    reply_to: Address | None = None
    categories: Categories | None = None
    track_opens: bool | None = None
    track_clicks: bool | None = None
    unsubscribe_url: UnsubscribeLink | None = None

    def _agree(self) -> None:
        if not (self.template or self.text or self.html):
            raise InvalidArguments("template", "is required, unless there is a text or html")
        if self.subject is None and not (self.template or "").startswith(_WITH_SUBJECT):
            raise InvalidArguments(
                "subject", f"is required, unless the template's id begins with {_WITH_SUBJECT}"
            )
        if self.data is not None and self.template is None:
            raise InvalidArguments("data", NEEDS_TEMPLATE)
