"""`email`: the same mail to everyone in a CSV."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from ferryman.cli import _follow, _input, _show
from ferryman.cli.jobs import as_json, place
from ferryman.errors import InvalidArguments

if TYPE_CHECKING:
    from ferryman._door import Door


@click.command()
@click.argument("recipients", metavar="RECIPIENTS.csv")
@click.option("--template", help="Id of a template at the vendor.")
@click.option("--subject", help="Needed, unless the template brings one.")
@click.option("--text", metavar="TEXT|@FILE", help="The mail as plain text.")
@click.option("--html", metavar="HTML|@FILE", help="The mail as HTML.")
@click.option("--data", metavar="JSON", help="Data for everyone; the columns go over it.")
@click.option("--sender", help="Default: FROM_EMAIL of the worker.")
@click.option("--reply-to", help="Where answers go.")
@click.option("--key", help="The same key and file send nothing twice.")
@click.option("--no-wait", is_flag=True, help="Do not wait until all are sent.")
@as_json
def email(
    recipients: str, data: str | None, key: str | None, no_wait: bool, as_json: bool, **mail: Any
) -> int:
    """Send a mail to everyone in RECIPIENTS.csv (`-`: standard input).

    The file has a header. Column `to` is the address; every other column is that recipient's
    data, to be put into the mail. Addresses that are invalid or come twice are set aside.

    \b
    Examples:
      ferryman email customers.csv --template d-0123 --key newsletter-2030-01
      ferryman email customers.csv --subject 'Hello' --text @letter.txt

    Exit status: 0 all is sent, 1 some failed or nothing was sent, 2 bad input, 3 it is unknown of
    some.
    """
    from ferryman._door import command_line_door
    from ferryman._order import order

    given = _input.recipients(recipients)
    args = {
        **mail,
        "text": _input.text("--text", mail["text"]),
        "html": _input.text("--html", mail["html"]),
        "data": None if data is None else _input.json_object("--data", data),
        "recipients": given.rows,
    }
    try:
        made = order("bulk_email", args, key=key)
    except InvalidArguments as error:
        raise given.at_its_line(error) from None
    door = command_line_door()
    job = place(door, made)
    if not no_wait:
        return _followed(door, job, as_json)
    if as_json:
        _show.document(job)
    else:
        click.echo(job["id"])
    return _show.DONE


def _followed(door: Door, job: dict[str, Any], as_json: bool) -> int:
    _show.note(f"job {job['id']}; if you stop looking, it goes on")
    with _follow.shown("mails", counted=True) as progress:
        found = _follow.batch(door, UUID(job["id"]), progress)
    ended_early = "counts" not in found
    if as_json:
        _show.document(found)
    elif ended_early:
        _show.job(found)
    else:
        _show.batch(found)
    return _show.job_status(found) if ended_early else _judged(found)


def _judged(found: dict[str, Any]) -> int:
    counts = found["counts"]
    if counts.get("invalid") or counts.get("duplicate"):
        _show.note(
            "why some were set aside stands in the table ferryman.emails"
            f" (recipient, status, reason) under batch_id {found['id']}"
        )
    if found["total"] and not counts.get("sent") and not counts.get("unknown"):
        _show.note(f"nothing was sent: {_show.counts(found)}")
        return _show.FAILED
    return _show.batch_status(found)
