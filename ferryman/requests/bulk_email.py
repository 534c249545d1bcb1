"""`bulk_email`: the same mail to many, each with data of their own."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from ferryman.requests._base import Part
from ferryman.requests._fields import JsonObject
from ferryman.requests._mail import Mail


class Recipient(Part):
    """Who gets a mail, and the data that is put into this one over the data of all.

    Any text will do for `to`: what is no address is set aside with the reason when the mails are
    planned, so that one bad line does not hold up the others.
    """

    to: Annotated[str, Field(min_length=1, max_length=320)]
    data: JsonObject | None = None


class BulkEmail(Mail):
    """Send one mail each to many recipients."""

    kind: ClassVar[str] = "bulk_email"

    recipients: Annotated[list[Recipient], Field(min_length=1)]
