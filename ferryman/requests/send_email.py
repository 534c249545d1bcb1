"""`send_email`: one mail to one address."""

from __future__ import annotations

from typing import ClassVar

from ferryman.requests._fields import Address
from ferryman.requests._mail import Mail


class SendEmail(Mail):
    """Send one mail. `sender` is FROM_EMAIL where it is not given."""

    kind: ClassVar[str] = "send_email"

    to: Address
