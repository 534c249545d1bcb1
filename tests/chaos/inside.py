"""`python -m tests.chaos.inside`: a worker that is wrong in ways that no setting offers.

Each is asked for by a variable of the environment: see `TWISTS`.
"""

from __future__ import annotations

import datetime
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any


def clock(seconds: str) -> None:
    """This process's clock is wrong by so many seconds. Monotonic clocks never are."""
    off = float(seconds)
    right, real = time.time, datetime.datetime

    class Wrong(real):  # type: ignore[valid-type,misc]
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:
            return real.now(tz) + datetime.timedelta(seconds=off)

        @classmethod
        def utcnow(cls) -> datetime.datetime:
            return real.now(datetime.UTC).replace(tzinfo=None) + datetime.timedelta(seconds=off)

    time.time = lambda: right() + off
    datetime.datetime = Wrong  # type: ignore[misc]


def timeout(seconds: str) -> None:
    """A call to a vendor may take so long. Half a minute of silence is long in a test."""
    from ferryman.policies import policies

    for name, policy in policies().items():
        changed = {"timeout_seconds": float(seconds), "connect_seconds": float(seconds)}
        policies()[name] = policy.model_copy(update=changed)


def small(size: str) -> None:
    """So many mails in a request, and a dozen requests at once: a short list is sent as a long one
    is. Ten times as many events."""
    from ferryman.policies import policies

    changed = {"batch_size": int(size), "batch_in_flight": 12}
    policies()["sendgrid"] = policies()["sendgrid"].model_copy(update=changed)
    changed = {"batch_size": 10 * int(size)}
    policies()["mixpanel"] = policies()["mixpanel"].model_copy(update=changed)


def visibility(seconds: str) -> None:
    """Redis gives unacknowledged messages to others after so long."""
    import celeryconfig

    celeryconfig.broker_transport_options["visibility_timeout"] = int(seconds)


def poison(customer: str) -> None:
    """The charge of this user kills the process that runs it."""
    from tasks.charge import Charge

    run = Charge.run

    async def deadly(self: Charge, attempt: Any) -> Any:
        if attempt.args.customer == customer:
            os.kill(os.getpid(), signal.SIGKILL)
        return await run(self, attempt)

    Charge.run = deadly  # type: ignore[method-assign]


TWISTS: dict[str, Callable[[str], None]] = {
    "INSIDE_CLOCK": clock,  # first: it must come before all other imports
    "INSIDE_TIMEOUT": timeout,
    "INSIDE_SMALL": small,
    "INSIDE_VISIBILITY": visibility,
    "INSIDE_POISON": poison,
}


def main() -> int:
    for variable, twist in TWISTS.items():
        if value := os.environ.get(variable):
            twist(value)
    from worker.__main__ import main as worker

    return worker()


if __name__ == "__main__":
    sys.exit(main())
