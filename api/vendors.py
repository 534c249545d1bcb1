"""`/v1/vendors`: how each vendor does, a person's way to pause it, and to have its events read."""

from __future__ import annotations

import logging
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from sqlalchemy.ext.asyncio import AsyncConnection
from uuid_utils.compat import uuid7

from adapters._base import Adapter, adapter
from api import body, openapi, schemas
from api.ledger import TheLedger
from api.problems import Problem, invalid
from ferryman import requests
from ferryman.policies import Policy, policies
from models import days, jobs, scorecard, vendors
from models.engine import dumps

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
    """Ends every pause, a person's and that of a refused credential, and the wait for the end of a
    day whose limit is reached."""
    note = await _note(request, vendor)

    async def change(connection: AsyncConnection) -> None:
        await vendors.resume(connection, vendor)
        await days.over(connection, vendor)

    return await _changed(ledger, vendor, change, f"resumed: {note}")


@router.post(
    "/{vendor}/poll-events",
    status_code=202,
    response_model=schemas.Job,
    summary="Read a vendor's own list of events",
    responses=CHANGE_PROBLEMS,
    openapi_extra=openapi.body("PollEvents", {"since_seconds": 7200}, required=False),
)
async def poll_events(request: Request, response: Response, vendor: Name, ledger: TheLedger) -> Row:
    """For those that no webhook brought: a job of its own, whose result tells how many were `seen`
    and how many of them are `new`. Without `since_seconds` it looks back to a little before the
    last such look, or a day. Workers do so by themselves every few minutes."""
    _known(vendor)
    asked = await body.read_if_any(request, schemas.PollEvents)
    if not adapter(vendor).lists_events:
        raise invalid("vendor", "keeps no list of its events")
    args = asked.model_dump(exclude_none=True)
    return await _made(response, ledger, _wish("poll_events", vendor, args))


@router.post(
    "/{vendor}/sync-suppressions",
    status_code=202,
    response_model=schemas.Job,
    summary="Take over whom a vendor itself sends nothing to",
    responses=CHANGE_PROBLEMS,
    openapi_extra=openapi.body("OptionalNote", {"note": "before the news"}, required=False),
)
async def sync_suppressions(
    request: Request, response: Response, vendor: Name, ledger: TheLedger
) -> Row:
    """Bounces, spam reports and the like that its own lists hold: a job of its own. Workers do so
    by themselves once in a while."""
    _known(vendor)
    note = (await body.read_if_any(request, schemas.OptionalNote)).note
    made = await _made(response, ledger, _wish("sync_suppressions", vendor, {}))
    _log.info("vendor %s is asked for its suppressions%s", vendor, f": {note}" if note else "")
    return made


async def _made(response: Response, ledger: TheLedger, wish: Row) -> Row:
    """The new job as it stands in the ledger."""

    async def work(connection: AsyncConnection) -> Row | None:
        return await jobs.job(connection, await jobs.enqueue(connection, wish))

    job = await ledger.run(work)
    assert job is not None
    response.headers["Location"] = f"/v1/jobs/{job['id']}"
    return job


def _wish(kind: str, vendor: str, args: Row) -> Row:
    """A new job of a kind that only ferryman itself asks for."""
    made = requests.validate(kind, args, internal=True)
    return {
        "kind": made.kind,
        "args": dumps(made.args()),
        "key": None,
        "run_at": None,
        "vendor": vendor,
        "priority": "normal",
        "expires_at": None,
        "id": uuid7(),
    }


def _known(vendor: str) -> None:
    if vendor not in policies():
        raise Problem("not-found", "There is no vendor of that name.", field="vendor")


async def _note(request: Request, vendor: str) -> str:
    _known(vendor)
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
        "daily": _daily(state),
        "paused": _pause(state),
        **{name: queue[name] for name in ("waiting", "in_flight", "unknown", "oldest_due_at")},
        "webhooks": _webhooks(adapter(vendor)),
        "polls_events": adapter(vendor).lists_events and adapter(vendor).configured(),
        "last_hour": {**calls, "error_rate": calls["errors"] / max(1, calls["calls"])},
        "breaker_changes": found["changes"],
    }


def _webhooks(found: Adapter) -> str | None:
    if not found.webhook_secrets:
        return None
    return "open" if found.takes_webhooks() else "closed"


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


def _daily(state: Row) -> Row | None:
    found = {name: state[f"daily_{name}"] for name in ("limit", "remaining", "resets_at")}
    return found if any(value is not None for value in found.values()) else None


def _pause(state: Row) -> Row | None:
    if state["paused_at"] is None:
        return None
    return {"since": state["paused_at"], "by": state["paused_by"], "note": state["pause_note"]}
