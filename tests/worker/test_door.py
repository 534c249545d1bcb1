"""What the foreign Celery door takes, and what it refuses."""

from __future__ import annotations

import base64
import json
from typing import Any
from uuid import uuid4

import pytest

from worker.door import read
from worker.envelope import envelope

ID = uuid4()


def message(**changes: Any) -> bytes:
    body = changes.pop("body", [[], {"amount": 1}, {}])
    made = json.loads(envelope(ID, "charge", "ferryman"))
    made["body"] = base64.b64encode(json.dumps(body).encode()).decode()
    made["headers"] |= changes.pop("headers", {})
    return json.dumps(made | changes).encode()


def test_a_message_is_a_job() -> None:
    read_message = read(message(headers={"eta": "2027-01-02T03:04:05+00:00"}))

    assert (read_message.id, read_message.kind, read_message.args) == (ID, "charge", {"amount": 1})
    assert read_message.run_at is not None
    assert read_message.run_at.isoformat() == "2027-01-02T03:04:05+00:00"


@pytest.mark.parametrize(
    "raw",
    [
        b"garbage",
        b"{}",
        b"[]",
        message(headers={"id": "not-a-uuid"}),
        message(headers={"task": "other.task"}),
        message(body=[["positional"], {}, {}]),
        message(body=[[], [], {}]),
        message(**{"content-type": "application/x-python-serialize"}),
        message(headers={"eta": "tomorrow"}),
        message(headers={"id": 5}),
        message(headers={"task": "ferryman.charge", "id": None}),
        b"[" * 100_000,
        b'{"content-type": "application/json", "headers": 5, "body": "e30="}',
    ],
)
def test_anything_else_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"task message|keyword arguments"):
        read(raw)
