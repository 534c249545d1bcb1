"""`email`: a mail to everyone in a file."""

from __future__ import annotations

from typing import Any

import click

from ferryman.cli import _bulk, _input
from ferryman.cli.jobs import as_json

NO_TEMPLATE = "is for a template: give --template, or leave it away"


@click.command()
@click.argument("recipients", metavar="RECIPIENTS")
@click.option("--template", help="Id of a template at the vendor.")
@click.option("--subject", help="Needed, unless the template brings one.")
@click.option("--text", metavar="TEXT|@FILE", help="The mail as plain text, without a template.")
@click.option("--html", metavar="HTML|@FILE", help="The mail as HTML, without a template.")
@click.option("--data", metavar="JSON", help="The template's data for all; columns go over it.")
@click.option("--sender", help="Default: FROM_EMAIL of the worker.")
@click.option("--reply-to", help="Where answers go.")
@click.option(
    "--category", "categories", multiple=True, help="For the vendor's statistics; repeatable."
)
@click.option(
    "--unsubscribe-url",
    metavar="URL",
    help="Where one click takes a recipient off your list; {to} and {id} in it are his address and"
    " his mail's id, {column} what that column has.",
)
@click.option("--track-opens/--no-track-opens", default=None, help="Default: the account's own.")
@click.option("--track-clicks/--no-track-clicks", default=None, help="Default: the account's own.")
@click.option("--per-minute", type=int, help="No more mails in a minute, to warm a sender up.")
@click.option(
    "--max-bounce-rate",
    type=float,
    help="Pause when more of the last hour's mails bounce.  [default: 0.05]",
)
@click.option(
    "--max-complaint-rate",
    type=float,
    help="Pause when more of them are called spam.  [default: 0.003]",
)
@_bulk.options
@as_json
def email(
    recipients: str,
    format: str | None,
    key: str | None,
    run_at: str | None,
    no_wait: bool,
    as_json: bool,
    data: str | None,
    **mail: Any,
) -> int:
    """Send a mail to everyone in RECIPIENTS: a file that ends in .csv, .json or .jsonl, or `-`.

    A CSV has a header: column `to` is the address, every other column is data for the --template.
    JSON is a list, or a line each, of {"to": …, "data": {…}}. Without a template all get the same
    text, and there is no data.

    Addresses that are no address, come twice, or are suppressed are set aside, and the rest is
    sent. The batch pauses by itself when too many mails bounce or are called spam; see
    `ferryman batch --help` for what can be done then. Ctrl-C ends the look, not the batch.

    \b
    Examples:
      ferryman email people.csv --subject 'Hello' --text @letter.txt
      ferryman email people.csv --template d-0123 --key newsletter-2030-01
      ferryman email people.jsonl --template d-0123 --run-at +2h --per-minute 5000 --no-wait

    Exit status: 0 all is sent (with --no-wait: accepted), 1 some failed, nothing was sent, or the
    batch is paused, 2 bad input, 3 it is unknown of some.
    """
    from ferryman._door import command_line_door

    args = {
        **mail,
        "text": _input.text("--text", mail["text"]),
        "html": _input.text("--html", mail["html"]),
        "data": None if data is None else _input.json_object("--data", data),
        "categories": list(mail["categories"]) or None,
    }
    given = {name: value for name, value in args.items() if value is not None}
    columns = None if mail["template"] else NO_TEMPLATE
    door = command_line_door()
    with _bulk.opened(recipients, format) as source:
        job = _bulk.ordered(door, source, "bulk_email", given, columns, key=key, run_at=run_at)
    return _bulk.finished(door, job, "mails", no_wait=no_wait, as_json=as_json)
