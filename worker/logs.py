"""Logs: one JSON line an event, or readable text on a terminal; redacted at the last step."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, TextIO

import structlog
from structlog.typing import Processor

from adapters._redact import text
from models.engine import dumps

NOISY = ("httpx", "aiohttp", "kombu", "stripe", "asyncio", "celery.pool", "botocore")
# Celery's "received" and "succeeded" say nothing that `attempt.ended` does not say better.
TWICE = ("celery.worker.strategy", "celery.app.trace")


def configure(stream: TextIO | None = None) -> None:
    """Send structlog and the standard library's loggers through the same processors."""
    out = stream or sys.stdout
    first: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
    ]
    last: list[Processor] = [structlog.processors.format_exc_info, redact, _renderer(out)]
    # ferryman's own events go straight to the stream: one stands behind every attempt.
    structlog.configure(
        processors=[*first, *last],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(out),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=first,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    logging.root.handlers = [handler]
    logging.root.setLevel(logging.INFO)
    for name in (*NOISY, *TWICE):
        logging.getLogger(name).setLevel(logging.WARNING)


def redact(_: Any, __: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Mask what must not stand in a log. Runs after tracebacks have become text."""
    return {name: text(value) if isinstance(value, str) else value for name, value in event.items()}


def _renderer(out: TextIO) -> Processor:
    if out.isatty():
        return structlog.dev.ConsoleRenderer()
    return structlog.processors.JSONRenderer(serializer=lambda event, **_: dumps(event))
