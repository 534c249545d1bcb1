"""`suppressions`: to whom nothing is sent, and why."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import click

from ferryman.cli import _follow, _show
from ferryman.cli.jobs import as_json

CHANNELS = ("email", "sms")
REASONS = ("bounce", "invalid", "complaint", "unsubscribe", "manual")


@click.group()
def suppressions() -> None:
    """Addresses and numbers that nothing is sent to: see, add, remove.

    They come from the vendors' events (bounce, invalid, complaint, unsubscribe), from the vendors'
    own lists, and from you (manual). A bulk leaves out all of them. One mail of its own
    (send_email) still reaches who only unsubscribed: a forgotten password is no newsletter.

    \b
    Examples:
      ferryman suppressions list --reason complaint
      ferryman suppressions add ada@example.com --note 'asked by telephone'
      ferryman suppressions remove +441632960961
      ferryman suppressions sync sendgrid
    """


@suppressions.command("list")
@click.option("--channel", type=click.Choice(CHANNELS), help="Only of these.")
@click.option("--address", help="Only this one.")
@click.option("--reason", type=click.Choice(REASONS), help="Only for this reason.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1), help="At most.")
@as_json
def listed(limit: int, as_json: bool, **filters: str | None) -> int:
    """List them, by channel and address.

    \b
    Examples:
      ferryman suppressions list --channel email --reason bounce
      ferryman suppressions list --address ada@example.com
    """
    from ferryman._door import controls

    asked = {name: value for name, value in filters.items() if value is not None}
    found = list(controls().suppressions(asked, limit))
    if as_json:
        _show.document({"suppressions": found})
    elif found:
        _show.suppressions(found)
    else:
        _show.note("there are none such")
    return _show.DONE


@suppressions.command()
@click.argument("address")
@click.option("--note", help="Why.")
@as_json
def add(address: str, note: str | None, as_json: bool) -> int:
    """Send nothing more to ADDRESS: an e-mail address, or a number such as +441632960961.

    \b
    Example:
      ferryman suppressions add ada@example.com --note 'asked by telephone'

    Exit status: 0 it stands there, 2 bad input.
    """
    from ferryman._door import controls

    found = controls().suppress(_channel(address), address, note)
    if as_json:
        _show.document(found)
    else:
        click.echo(f"nothing is sent to {found['address']}: {found['reason']}")
    return _show.DONE


@suppressions.command()
@click.argument("address")
def remove(address: str) -> int:
    """Send to ADDRESS again.

    The vendor keeps a list of its own, and drops a mail to one who stands there: take him off it
    as well. With the next `sync`, or the next bounce, he is back here.

    \b
    Example:
      ferryman suppressions remove ada@example.com

    Exit status: 0 done, 2 it was not there.
    """
    from ferryman._door import controls

    controls().unsuppress(_channel(address), address)
    click.echo(f"{address} may be sent to again")
    return _show.DONE


@suppressions.command()
@click.argument("vendor", default="sendgrid")
@click.option("--no-wait", is_flag=True, help="Do not wait for the end.")
@as_json
def sync(vendor: str, no_wait: bool, as_json: bool) -> int:
    """Take over VENDOR's own list (default: sendgrid) of those it sends nothing to.

    Workers do this by themselves; the command is for not waiting.

    \b
    Example:
      ferryman suppressions sync sendgrid

    Exit status: 0 done (with --no-wait: asked for), 1 failed, 2 bad input, 3 unknown.
    """
    from ferryman._door import controls

    door = controls()
    job = door.sync_suppressions(vendor)
    if not no_wait:
        _show.note(f"job {job['id']}; if you stop looking, it goes on")
        with _follow.shown(f"suppressions of {vendor}") as progress:
            job = _follow.job(door, UUID(job["id"]), progress)
    if as_json:
        _show.document(job)
    else:
        click.echo(job["id"] if no_wait else _told(job))
    return _show.DONE if no_wait else _show.job_status(job)


def _channel(address: str) -> str:
    return "email" if "@" in address else "sms"


def _told(job: dict[str, Any]) -> str:
    result = job.get("result") or {}
    numbers = [f"{number} {name}" for name, number in result.items() if isinstance(number, int)]
    words = _show.why(job) or ", ".join(numbers)
    return f"{job['vendor']}: {' '.join(filter(None, [job['status'], words]))}"
