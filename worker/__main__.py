"""`python -m worker`: a worker in the foreground, until SIGTERM."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import Any

from adapters._base import adapter
from ferryman.errors import FerrymanError
from ferryman.policies import policies
from ferryman.settings import settings
from worker.logs import configure


def main() -> int:
    configure()
    try:
        refuse_live_keys()
        from celery.exceptions import SecurityWarning
        from celery.signals import setup_logging, worker_ready

        from worker.celery import app
    except FerrymanError as error:
        print(f"ferryman: {error}", file=sys.stderr)
        return 2
    # With a receiver, Celery leaves the loggers alone.
    setup_logging.connect(_logging_is_set_up)
    worker_ready.connect(_ready)
    # Celery warns root of pickle, which this worker never reads.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    app.worker_main(["--quiet", "worker", "--without-mingle", "--without-gossip"])
    return 0


def refuse_live_keys() -> None:
    """A live key outside production is refused before anything is sent."""
    if settings().production:
        return
    for vendor in policies():
        if variable := adapter(vendor).live_secret():
            raise FerrymanError(
                f"{variable} holds a live key, and FERRYMAN_ENV is not `production`:"
                " use a test key, or set FERRYMAN_ENV=production"
            )


def _logging_is_set_up(**_: Any) -> None:
    """Keeps Celery from setting up its own."""


def _ready(**_: Any) -> None:
    if path := os.environ.get("FERRYMAN_READY_FILE"):
        Path(path).touch()


if __name__ == "__main__":
    sys.exit(main())
