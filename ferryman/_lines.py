"""Many jobs as JSON lines, and the answers to them, as `POST /v1/jobs/bulk` has them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from ferryman._door import Answer
from ferryman._order import Order
from ferryman.errors import FerrymanError

HEADERS = {"Content-Type": "application/x-ndjson"}


def body(orders: Sequence[Order]) -> bytes:
    """A line for each."""
    return "".join(f"{json.dumps(order.document())}\n" for order in orders).encode()


def answers(
    text: str, orders: Sequence[Order], problem: Callable[[int, dict[str, Any]], FerrymanError]
) -> list[Answer]:
    """The answer to each. `problem`: the exception that a problem document stands for.

    Raises the last line's problem where the ledger failed in between, and ValueError for what is
    no such answer.
    """
    found = [_answer(json.loads(line), problem) for line in text.split("\n") if line]
    if len(found) < len(orders) and found and isinstance(found[-1], FerrymanError):
        raise found[-1]
    if len(found) != len(orders):
        raise ValueError("an answer is missing")
    return found


def _answer(
    told: dict[str, Any], problem: Callable[[int, dict[str, Any]], FerrymanError]
) -> Answer:
    error = told.get("error")
    return problem(int(error["status"]), error) if error else UUID(told["id"])
