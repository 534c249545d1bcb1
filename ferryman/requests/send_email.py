"""`send_email`: one mail to one address."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from ferryman.errors import InvalidArguments
from ferryman.requests._fields import Address
from ferryman.requests._mail import Mail

Copies = Annotated[list[Address], Field(min_length=1, max_length=100)]


class SendEmail(Mail):
    """Send one mail. `sender` is FROM_EMAIL where it is not given."""

    kind: ClassVar[str] = "send_email"

    to: Address
    cc: Copies | None = None
    bcc: Copies | None = None

    def _agree(self) -> None:
        super()._agree()
        seen = {self.to.lower()}
        for field, copies in (("cc", self.cc), ("bcc", self.bcc)):
            for place, address in enumerate(copies or ()):
                if address.lower() in seen:
                    raise InvalidArguments(f"{field}.{place}", "gets this mail already")
                seen.add(address.lower())
