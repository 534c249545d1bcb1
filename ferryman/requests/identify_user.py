"""`identify_user`: what is known of a user."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field

from ferryman.requests._base import Request
from ferryman.requests._records import Moment, User, at_as_text


class IdentifyUser(Request):
    """Set what is known of a user; it replaces what stood under the same names."""

    kind: ClassVar[str] = "identify_user"

    user: User
    traits: Annotated[dict[str, Any], Field(min_length=1)]
    at: Moment | None = None

    def __init__(self, /, **given: Any) -> None:
        super().__init__(**at_as_text(given))
