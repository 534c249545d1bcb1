"""Live keys are for production only: looked at before a process does anything."""

from __future__ import annotations

import logging

from adapters._base import adapter
from ferryman.errors import FerrymanError
from ferryman.policies import policies


class LiveKey(FerrymanError):
    """A live credential outside production: nothing is started."""


def check_keys(*, production: bool) -> None:
    """Raises LiveKey, naming the variable and what to do. In production, warns of test keys."""
    for vendor in policies():
        found = adapter(vendor)
        if production and (name := found.trial_secret()):
            logging.getLogger("ferryman").warning(
                "%s is a test key, and FERRYMAN_ENV is `production`: %s does nothing real",
                name,
                vendor,
            )
        elif not production and (name := found.live_secret()):
            raise LiveKey(
                f"{name} is live, and FERRYMAN_ENV is not `production`:"
                f" {found.live_advice}, or set FERRYMAN_ENV=production"
            )
