"""The door for foreign Celery apps: messages on the queue `ferryman` become jobs.

A message is read, stored and committed, and only then removed, by the relay that holds the lock:
whatever dies in between, it is read again, and its id is stored once (decision 0003).
"""

from __future__ import annotations

import base64
import json
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg
import redis
import structlog

from models import relay as ledger
from models.group import is_passing
from models.relay import Foreign

log = structlog.get_logger()

# Celery's Redis transport writes a list for each priority step.
QUEUES = ("ferryman", "ferryman\x06\x163", "ferryman\x06\x166", "ferryman\x06\x169")
MOST = 200
# SQLSTATEs that are the message's own fault.
OURS, BAD_DATA, BROKEN_RULE = "FE", "22", "23"

Received = list[tuple[str, bytes]]


def receive(connection: psycopg.Connection[Any], broker: redis.Redis) -> Received:
    """Store the oldest messages; returns those that may be removed once that is committed."""
    pipeline = broker.pipeline(transaction=False)
    for queue in QUEUES:
        pipeline.lrange(queue, -MOST, -1)
    found = zip(QUEUES, pipeline.execute(), strict=True)
    received = [(queue, raw) for queue, messages in found for raw in reversed(messages)]
    for _, raw in received:
        _store(connection, raw)
    return received


def forget(broker: redis.Redis, received: Received) -> None:
    """Remove stored messages: by value, so that nothing else can be hit."""
    if received:
        pipeline = broker.pipeline(transaction=False)
        for queue, raw in received:
            pipeline.lrem(queue, -1, raw)  # type: ignore[arg-type]  # bytes are a value like any
        pipeline.execute()


def read(raw: bytes) -> Foreign:
    """A message as a job. Raises ValueError, without its content, for what is none."""
    try:
        message = json.loads(raw)
        if message["content-type"] != "application/json":
            raise ValueError("not JSON")
        args, kwargs, _ = json.loads(base64.b64decode(message["body"]))
        headers = message["headers"]
        task = str(headers["task"])
        job_id = UUID(headers["id"])
        eta = datetime.fromisoformat(headers["eta"]) if headers.get("eta") else None
    except Exception as error:  # whatever a stranger sends, the relay must go on
        raise ValueError(f"not a task message ({type(error).__name__})") from None
    if not task.startswith("ferryman.") or args or not isinstance(kwargs, dict):
        raise ValueError("a job is sent as ferryman.<kind> with keyword arguments only")
    return Foreign(job_id, task.removeprefix("ferryman."), kwargs, eta)


def _store(connection: psycopg.Connection[Any], raw: bytes) -> None:
    """One message, on its own: a bad one is refused and hinders no other. What is no fault of the
    message is raised, and leaves it where it is."""
    try:
        message = read(raw)
    except ValueError as error:
        log.error("message.refused", why=str(error))
        return
    try:
        with connection.transaction():
            ledger.receive(connection, message)
    except psycopg.Error as error:
        state = error.sqlstate or ("" if is_passing(error) else BAD_DATA)
        if not state.startswith((OURS, BAD_DATA, BROKEN_RULE)):
            raise
        why = f"the ledger does not take it ({state})"
        log.error("message.refused", job_id=str(message.id), why=why)
