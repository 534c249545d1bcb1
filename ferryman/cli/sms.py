"""`sms`: a text message to everyone in a file."""

from __future__ import annotations

import click

from ferryman.cli import _bulk, _input
from ferryman.cli.jobs import as_json

SAME_TEXT = "is of no use: everybody gets the same text"


@click.command()
@click.argument("numbers", metavar="NUMBERS")
@click.option("--body", metavar="TEXT|@FILE", required=True, help="The message.")
@_bulk.options
@as_json
def sms(
    numbers: str,
    body: str,
    format: str | None,
    key: str | None,
    run_at: str | None,
    no_wait: bool,
    as_json: bool,
) -> int:
    """Send a text message to everyone in NUMBERS: a file that ends in .csv, .json or .jsonl, or
    `-`.

    A CSV has a header and the one column `to`, with numbers such as +441632960961. JSON is a list,
    or a line each, of {"to": …}. Numbers that are none, come twice, or have opted out are set
    aside, and the rest is sent.

    \b
    Examples:
      ferryman sms numbers.csv --body 'We open at nine.' --key opening-2030-01
      ferryman sms - --body @text.txt --no-wait < numbers.csv

    Exit status: 0 all is sent (with --no-wait: accepted), 1 some failed, nothing was sent, or the
    batch is paused, 2 bad input, 3 it is unknown of some.
    """
    from ferryman._door import command_line_door

    args = {"body": _input.text("--body", body)}
    door = command_line_door()
    with _bulk.opened(numbers, format) as source:
        job = _bulk.ordered(door, source, "bulk_sms", args, SAME_TEXT, key=key, run_at=run_at)
    return _bulk.finished(door, job, "messages", no_wait=no_wait, as_json=as_json)
