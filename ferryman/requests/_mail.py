"""What one mail and many mails have in common: the content."""

from __future__ import annotations

from ferryman.errors import InvalidArguments
from ferryman.requests._base import Request
from ferryman.requests._fields import Address, JsonObject, Label, Line, Text

# Dynamic templates of SendGrid, whose ids begin so, carry a subject of their own.
_WITH_SUBJECT = "d-"


class Mail(Request):
    """Content: a template of the vendor, or text, HTML or both; `data` fills the placeholders."""

    template: Label | None = None
    data: JsonObject | None = None
    subject: Line | None = None
    text: Text | None = None
    html: Text | None = None
    sender: Address | None = None
    reply_to: Address | None = None

    def _agree(self) -> None:
        if not (self.template or self.text or self.html):
            raise InvalidArguments("template", "is required, unless there is a text or html")
        if self.subject is None and not (self.template or "").startswith(_WITH_SUBJECT):
            raise InvalidArguments(
                "subject", f"is required, unless the template's id begins with {_WITH_SUBJECT}"
            )
