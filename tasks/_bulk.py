"""What the bulk kinds have in common: a plan that is made once, in one transaction."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from adapters._base import Repeat
from models import batches
from models.group import is_away
from tasks._base import Attempt, Done, NotHeld

Row = dict[str, Any]

STEP = "plan"

Plan = Callable[[AsyncConnection], Awaitable[Row | None]]
"""Stores a batch's recipients and jobs, and returns the batch; None where it may not any more."""


async def planned(attempt: Attempt[Any], plan: Plan) -> Done:
    """The batch, planned now or by an earlier attempt that could not say so."""
    # Once it is planned its parts are sent: neither a cancel nor an expiry may end it then.
    described = {"method": "PLAN", "url": str(attempt.id)}
    key = attempt.call.key(STEP)
    await attempt.call.act(STEP, described, key=key, repeat=Repeat.NATURAL)
    try:
        batch = await _before(attempt) or await _now(attempt, plan)
    except Exception as error:
        if not is_away(error):  # else none of it was stored
            await attempt.call.no_effect(STEP)
        raise
    return Done({"batch_id": batch["id"], "total": batch["total"], "counts": batch["counts"]})


async def _before(attempt: Attempt[Any]) -> Row | None:
    async with attempt.ledger.transaction() as connection:
        batch = await batches.one(connection, attempt.id)
    return batch if batch and batch["planned_at"] else None


async def _now(attempt: Attempt[Any], plan: Plan) -> Row:
    """All of it in one transaction: whole, or not at all."""
    async with attempt.ledger.long_transaction() as connection:
        if (batch := await plan(connection)) is None:
            raise NotHeld
    return batch
