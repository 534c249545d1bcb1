"""`sync_objects_part`: some of the objects of a `sync_objects`. Ferryman makes these by itself."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from ferryman.requests._base import Request
from ferryman.requests._fields import Label


class SyncObjectsPart(Request):
    """Copy or delete the objects of this part of a sync. They stand in the ledger, not in here."""

    kind: ClassVar[str] = "sync_objects_part"
    internal: ClassVar[bool] = True

    sync: Label
    part: Annotated[int, Field(ge=1)]
