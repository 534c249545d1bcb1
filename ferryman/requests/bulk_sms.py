"""`bulk_sms`: the same text message to many numbers."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from ferryman.errors import InvalidArguments
from ferryman.requests._base import Part, Request
from ferryman.requests._fields import MessageBody, UploadId


class Number(Part):
    """Who gets the message. What is no number in E.164 is set aside when the messages are
    planned."""

    to: Annotated[str, Field(min_length=1, max_length=40)]


class BulkSms(Request):
    """Send one message to each of many numbers: those of a list, or of an `upload` (the id that
    `POST /v1/uploads` gave for a file)."""

    kind: ClassVar[str] = "bulk_sms"

    body: MessageBody
    recipients: Annotated[list[Number], Field(min_length=1)] | None = None
    upload: UploadId | None = None

    def _agree(self) -> None:
        if (self.recipients is None) == (self.upload is None):
            raise InvalidArguments("recipients", "are required, or else an upload; not both")
