"""`poll-events`: read a vendor's own list of events, for those that no webhook brought."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from ferryman.cli import _follow, _input, _show
from ferryman.cli.jobs import as_json
from ferryman.errors import InvalidArguments, NotPossible

if TYPE_CHECKING:
    from ferryman._door import Controls

LONGEST_SECONDS = 30 * 86_400


@click.command("poll-events")
@click.argument("vendor", required=False)
@click.option("--since", metavar="TIME", help="Look back to: 2030-01-31T09:00:00Z, or 10m, 2h, 7d.")
@click.option("--no-wait", is_flag=True, help="Do not wait for the end.")
@as_json
def poll_events(vendor: str | None, since: str | None, no_wait: bool, as_json: bool) -> int:
    """Ask VENDOR for its own list of events, and store those that did not arrive by webhook.

    Without VENDOR, all are asked that keep such a list and have their credentials set. Workers do
    this by themselves every few minutes (poll_seconds in vendors.toml): the command is for not
    waiting so long after an outage, or for looking further back. An event that is known already
    changes nothing.

    --since reaches back 30 days at most; without it, the look begins a little before the last one.

    \b
    Examples:
      ferryman poll-events
      ferryman poll-events stripe --since 2h

    Exit status: 0 done (with --no-wait: asked for), 1 failed, 2 bad input, 3 unknown.
    """
    from ferryman._door import controls

    seconds = None if since is None else _seconds_since(since)
    door = controls()
    names = _able(door) if vendor is None else [vendor]
    jobs = [door.poll_events(name, seconds) for name in names]
    if not no_wait:
        jobs = [_followed(door, job) for job in jobs]
    if as_json:
        _show.document({"jobs": jobs})
    else:
        for job in jobs:
            click.echo(job["id"] if no_wait else _told(job))
    return _show.DONE if no_wait else _worst(jobs)


def _seconds_since(given: str) -> int:
    """Raises InvalidArguments."""
    seconds = round((datetime.now(UTC) - _input.earlier("--since", given)).total_seconds())
    if not 0 < seconds <= LONGEST_SECONDS:
        raise InvalidArguments("--since", "must lie within the last 30 days")
    return seconds


def _able(door: Controls) -> list[str]:
    """The vendors whose list can be read. Raises NotPossible where there is none."""
    found = [one["vendor"] for one in door.vendors()["vendors"] if one["polls_events"]]
    if not found:
        raise NotPossible(
            "no vendor that keeps a list of events has its credentials set where the API runs;"
            " name one whose credentials the workers have"
        )
    return found


def _followed(door: Controls, job: dict[str, Any]) -> dict[str, Any]:
    _show.note(f"job {job['id']}; if you stop looking, it goes on")
    with _follow.shown(f"events of {job['vendor']}") as progress:
        return _follow.job(door, UUID(job["id"]), progress)


def _told(job: dict[str, Any]) -> str:
    """`stripe: 12 seen, 3 new`, or how the job ended without that."""
    result = job["result"] or {}
    if "seen" in result:
        return f"{job['vendor']}: {result['seen']} seen, {result['new']} new"
    return " ".join(filter(None, [f"{job['vendor']}:", job["status"], _show.why(job)]))


def _worst(jobs: Sequence[dict[str, Any]]) -> int:
    return max(map(_show.job_status, jobs), default=_show.DONE)
