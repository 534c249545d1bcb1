"""`identify_user_load`: one request's worth of people. Ferryman makes these by itself."""

from __future__ import annotations

from typing import ClassVar

from ferryman.requests._base import Request


class IdentifyUserLoad(Request):
    """Send the people that wait for their vendor. They stand in the ledger, not in here."""

    kind: ClassVar[str] = "identify_user_load"
    internal: ClassVar[bool] = True
