"""`python -m worker`: a worker in the foreground, until SIGTERM."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import Any

from ferryman.errors import FerrymanError
from worker.logs import configure


def main() -> int:
    configure()
    try:
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


def _logging_is_set_up(**_: Any) -> None:
    """Keeps Celery from setting up its own."""


def _ready(**_: Any) -> None:
    if path := os.environ.get("FERRYMAN_READY_FILE"):
        Path(path).touch()


if __name__ == "__main__":
    sys.exit(main())
