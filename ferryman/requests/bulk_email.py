"""`bulk_email`: a mail to each of many, of whom none sees the others."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from ferryman.errors import InvalidArguments
from ferryman.requests._base import Part
from ferryman.requests._fields import JsonObject, UploadId
from ferryman.requests._mail import NEEDS_TEMPLATE, Mail

Rate = Annotated[float, Field(gt=0, le=1)]


class Recipient(Part):
    """Who gets a mail, and the data that is put into this one over the data of all.

    Any text will do for `to`: what is no address is set aside with the reason when the mails are
    planned, so that one bad line does not hold up the others.
    """

    to: Annotated[str, Field(min_length=1, max_length=320)]
    data: JsonObject | None = None


class BulkEmail(Mail):
    """Send one mail each to many recipients: those of a list, or of an `upload` (the id that
    `POST /v1/uploads` gave for a file).

    `per_minute`: no more mails than that leave in a minute, to warm a new sender up. The batch
    pauses by itself when, of the mails of the last hour of which the vendor has told, more than
    `max_bounce_rate` have bounced or more than `max_complaint_rate` were reported as spam.
    """

    kind: ClassVar[str] = "bulk_email"

    recipients: Annotated[list[Recipient], Field(min_length=1)] | None = None
    upload: UploadId | None = None
    per_minute: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    max_bounce_rate: Rate = 0.05
    max_complaint_rate: Rate = 0.003

    def _agree(self) -> None:
        super()._agree()
        if (self.recipients is None) == (self.upload is None):
            raise InvalidArguments("recipients", "are required, or else an upload; not both")
        if self.template is None:
            for place, recipient in enumerate(self.recipients or ()):
                if recipient.data is not None:
                    raise InvalidArguments(f"recipients.{place}.data", NEEDS_TEMPLATE)
