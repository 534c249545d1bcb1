"""A message as Celery's own producer would write it: protocol 2, the job's id, nothing else."""

from __future__ import annotations

import base64
import json
from uuid import UUID, uuid4

# No arguments, no callbacks: the same body for every job.
EMPTY = [[], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]
BODY = base64.b64encode(json.dumps(EMPTY).encode()).decode()


def envelope(id: UUID, kind: str, queue: str) -> bytes:
    """The list item that Celery's Redis transport reads as `ferryman.<kind>` with this id."""
    message = {
        "body": BODY,
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {
            "lang": "py",
            "task": f"ferryman.{kind}",
            "id": str(id),
            "root_id": str(id),
            "parent_id": None,
            "group": None,
            "argsrepr": "()",
            "kwargsrepr": "{}",
            "retries": 0,
            "eta": None,
            "expires": None,
            "timelimit": [None, None],
            "ignore_result": True,
            "origin": "ferryman",
        },
        "properties": {
            "correlation_id": str(id),
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": queue},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": str(uuid4()),
        },
    }
    return json.dumps(message).encode()
