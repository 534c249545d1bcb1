"""`bulk_email_part`: one request's worth of a `bulk_email`. Ferryman makes these by itself."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from ferryman.requests._base import Request
from ferryman.requests._fields import Label


class BulkEmailPart(Request):
    """Send to the recipients of this part of a batch. They stand in the ledger, not in here."""

    kind: ClassVar[str] = "bulk_email_part"
    internal: ClassVar[bool] = True

    batch: Label
    part: Annotated[int, Field(ge=1)]
