"""`/v1/vendors`: how each vendor does, and a person's way to pause it."""

from __future__ import annotations

import logging
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from sqlalchemy.ext.asyncio import AsyncConnection

from api import body, openapi, schemas
from api.ledger import TheLedger
from api.problems import Problem
from ferryman.policies import Policy, policies
from models import scorecard, vendors

router = APIRouter(
    prefix="/v1/vendors", tags=["vendors"], responses=openapi.responses(401, 421, 503)
)

_log = logging.getLogger("ferryman.api")

Row = dict[str, Any]
Name = Annotated[str, Path(description="the vendor's name")]
CHANGE_PROBLEMS = openapi.responses(400, 404, 413, 415, 422)


@router.get("", response_model=schemas.Vendors, summary="The scorecard")
async def listed(ledger: TheLedger) -> Row:
    cards = await ledger.run(lambda connection: scorecard.read(connection, list(policies())))
    return {"vendors": [_card(vendor, found) for vendor, found in cards.items()]}


@router.post(
    "/{vendor}/pause",
    response_model=schemas.Vendor,
    summary="Stop calling a vendor",
    responses=CHANGE_PROBLEMS,
    openapi_extra=openapi.note(),
)
async def pause(request: Request, vendor: Name, ledger: TheLedger) -> Row:
    """Its jobs wait, and their `reason` shows the note. What runs is not cut off."""
    note = await _note(request, vendor)

    async def change(connection: AsyncConnection) -> None:
        await vendors.ensure(connection, [vendor])
        await vendors.pause(connection, vendor, who="the API", note=note, fingerprint=None)

    return await _changed(ledger, vendor, change, f"paused: {note}")


@router.post(
    "/{vendor}/resume",
    response_model=schemas.Vendor,
    summary="Call a paused vendor again",
    responses=CHANGE_PROBLEMS,
    openapi_extra=openapi.note(),
)
async def resume(request: Request, vendor: Name, ledger: TheLedger) -> Row:
    """Ends every pause, a person's and that of a refused credential."""
    note = await _note(request, vendor)

    async def change(connection: AsyncConnection) -> None:
        await vendors.resume(connection, vendor)

    return await _changed(ledger, vendor, change, f"resumed: {note}")


async def _note(request: Request, vendor: str) -> str:
    if vendor not in policies():
        raise Problem("not-found", "There is no vendor of that name.", field="vendor")
    return (await body.read(request, schemas.Note)).note


async def _changed(ledger: TheLedger, vendor: str, change: Any, said: str) -> Row:
    async def work(connection: AsyncConnection) -> dict[str, Row]:
        await change(connection)
        return await scorecard.read(connection, [vendor])

    found = await ledger.run(work)
    _log.info("vendor %s %s", vendor, said)
    return _card(vendor, found[vendor])


def _card(vendor: str, found: Row) -> Row:
    state, queue, calls = found["state"], found["queue"], found["calls"]
    return {
        "vendor": vendor,
        "kinds": policies()[vendor].kinds,
        "breaker": state["breaker"],
        "failures": state["failures"],
        "unavailable_since": state["opened_at"],
        "next_probe_at": state["probe_at"],
        "cooldown_until": state["cooldown_until"],
        "limit": _limit(policies()[vendor]),
        "quota": _quota(state),
        "paused": _pause(state),
        **{name: queue[name] for name in ("waiting", "in_flight", "unknown", "oldest_due_at")},
        "last_hour": {**calls, "error_rate": calls["errors"] / max(1, calls["calls"])},
        "breaker_changes": found["changes"],
    }


def _limit(policy: Policy) -> Row:
    return {
        "per_second": policy.rate_per_second,
        "burst": policy.rate_burst,
        "in_flight": policy.max_in_flight,
    }


def _quota(state: Row) -> Row | None:
    if state["quota_limit"] is None and state["quota_remaining"] is None:
        return None
    return {name: state[f"quota_{name}"] for name in ("limit", "remaining", "reset_at")}


def _pause(state: Row) -> Row | None:
    if state["paused_at"] is None:
        return None
    return {"since": state["paused_at"], "by": state["paused_by"], "note": state["pause_note"]}
