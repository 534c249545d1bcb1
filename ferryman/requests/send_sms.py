"""`send_sms`: one text message to one number."""

from __future__ import annotations

from typing import ClassVar

from ferryman.requests._base import Request
from ferryman.requests._fields import MessageBody, Phone


class SendSms(Request):
    """Send a text message to a number in E.164, such as +441632960961."""

    kind: ClassVar[str] = "send_sms"

    to: Phone
    body: MessageBody
