"""`enqueue`, `job`, `jobs`: one job, many jobs, and how far they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from ferryman.cli import _follow, _input, _kinds, _show

if TYPE_CHECKING:
    from ferryman._door import Door
    from ferryman._order import Order

STATUSES = ("waiting", "running", "succeeded", "failed", "unknown", "cancelled")
as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
timeout = click.option(
    "--timeout",
    metavar="SECONDS",
    type=click.IntRange(0),
    help="With --wait: at most so long; the job goes on.",
)


@click.command(cls=_kinds.KindsInHelp)
@click.argument("kind")
@click.argument("stdin", required=False, type=click.Choice(["-"]), metavar="[-]")
@click.option("--args", "given", metavar="JSON", help="The arguments; `-` reads standard input.")
@click.option("--key", help="The same key and arguments name the same job: nothing happens twice.")
@click.option("--run-at", metavar="TIME", help="Not before: 2030-01-31T09:00:00Z, or +10m.")
@click.option("--expires-at", metavar="TIME", help="Failed as `expired` if it still waits then.")
@click.option("--priority", default="normal", show_default=True, help="high, normal or low.")
@click.option("--vendor", help="Default: chosen by the arguments, or as configured.")
@click.option("--wait", is_flag=True, help="Wait for the job's end.")
@timeout
@as_json
def enqueue(
    kind: str,
    stdin: str | None,
    given: str | None,
    wait: bool,
    timeout: int | None,
    as_json: bool,
    **manner: Any,
) -> int:
    """Store a job for a worker to run. Its id is the last line printed.

    \b
    Examples:
      ferryman enqueue charge --key order-42 --args \\
        '{"customer": "user-42", "amount": 1250, "currency": "usd",
          "payment_method": "pm_card_visa"}'
      ferryman enqueue send_email --wait - < mail.json

    Exit status: 0 accepted (with --wait: succeeded, or still open after --timeout), 1 failed,
    2 bad input or key conflict, 3 unknown.
    """
    from ferryman._door import command_line_door
    from ferryman._order import order

    if stdin and given is not None:
        raise click.UsageError("give the arguments by --args or on standard input, not both")
    _check_timeout(wait, timeout)
    args = _input.json_object("--args", stdin or given or "{}")
    for name in ("run_at", "expires_at"):
        if manner[name] is not None:
            manner[name] = _input.later(name, manner[name])
    door = command_line_door()
    found = place(door, order(kind, args, **manner))
    if wait:
        _show.note(f"job {found['id']}; if you stop looking, it goes on")
        found = _followed(door, UUID(found["id"]), kind, timeout)
    if as_json:
        _show.document(found)
    else:
        if wait:
            click.echo(" ".join(filter(None, [found["status"], _show.why(found)])))
        click.echo(found["id"])
    return _show.job_status(found) if wait else _show.DONE


def place(door: Door, made: Order, *, elsewhere: bool = False) -> dict[str, Any]:
    """Store an order. What can be checked on the worker's machine is, if that is this one."""
    if door.local and not elsewhere:
        made.request.check_here()
    return door.enqueue(made)


@click.command()
@click.argument("id")
@click.option("--wait", is_flag=True, help="Wait for the job's end.")
@timeout
@as_json
def job(id: str, wait: bool, timeout: int | None, as_json: bool) -> int:
    """Show a job.

    \b
    Example:
      ferryman job 0190b5f2-7a3c-7cc1-8a51-5d0b1f0e6a11 --wait

    Exit status: 0 succeeded or still waiting, 1 failed or cancelled, 2 no such job, 3 unknown.
    """
    from ferryman._door import command_line_door
    from ferryman.client import as_id

    _check_timeout(wait, timeout)
    door, asked = command_line_door(), as_id(id)
    found = _followed(door, asked, "job", timeout) if wait else door.job(asked)
    (_show.document if as_json else _show.job)(found)
    return _show.job_status(found)


@click.command()
@click.option("--status", type=click.Choice(STATUSES), help="How they are.")
@click.option("--kind", help="charge, refund, send_email …")
@click.option("--vendor", help="stripe, sendgrid, s3 …")
@click.option("--code", help="The code of their error: card_declined, expired …")
@click.option("--batch", metavar="ID", help="Of this batch: each is one of its requests.")
@click.option("--since", metavar="TIME", help="Made since: 2030-01-31T09:00:00Z, or 10m, 2h, 7d.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1), help="At most.")
@as_json
def jobs(since: str | None, limit: int, as_json: bool, **filters: str | None) -> int:
    """List jobs, newest first.

    \b
    Example:
      ferryman jobs --status failed --since 2h
    """
    from ferryman import _times
    from ferryman._door import command_line_door
    from ferryman.client import as_id

    if filters["kind"] is not None:
        _kinds.known("--kind", filters["kind"])
    if filters["batch"] is not None:
        as_id(filters["batch"], "--batch")
    asked = {name: value for name, value in filters.items() if value is not None}
    if since is not None:
        asked["since"] = _times.rfc3339(_input.earlier("--since", since))
    found = list(command_line_door().jobs(asked, limit))
    if as_json:
        _show.document({"jobs": found})
    elif found:
        _show.jobs(found)
    else:
        _show.note("there are no such jobs")
    return _show.DONE


def _check_timeout(wait: bool, timeout: int | None) -> None:
    if timeout is not None and not wait:
        raise click.UsageError("--timeout is about --wait: give both, or neither")


def _followed(door: Door, id: UUID, title: str, timeout: int | None) -> dict[str, Any]:
    found = _follow.job_with_its_reason(door, id, title, timeout)
    if _follow.is_open(found):
        _show.note(f"job {id} is still {_follow.state(found)} after {timeout} s")
    return found
