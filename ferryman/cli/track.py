"""`track`: tell a vendor of every event in a file."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, BinaryIO

import click

from ferryman.cli import _batches, _events, _many, _show
from ferryman.cli.jobs import as_json
from ferryman.errors import InvalidArguments

if TYPE_CHECKING:
    from ferryman._door import Door

STANDARD_INPUT = "standard input"


@click.command()
@click.argument("events", metavar="EVENTS")
@click.option("--vendor", help="mixpanel or segment. Default: as configured.")
@click.option("--no-wait", is_flag=True, help="Do not wait until all are there.")
@as_json
def track(events: str, vendor: str | None, no_wait: bool, as_json: bool) -> int:
    """Tell a vendor of every event in EVENTS: a file of JSON lines, or `-`.

    A line is an event: {"user": …, "event": …}, and if you like "properties" (an object), "at"
    (when it happened; else it is now) and "key". Each becomes a job of its own; they travel
    together, as many in one request as the vendor takes.

    The same "key" and event, given again, are the same job: with keys a file can be sent a second
    time after any failure, and no event is there twice.

    Lines that are no event are told by their numbers, and then nothing at all is stored. What only
    the vendor finds wrong fails by itself, and the others are there. Ctrl-C ends the look, not the
    jobs.

    \b
    Examples:
      ferryman track events.jsonl
      ferryman track events.jsonl --vendor segment --no-wait
      ferryman track - --json < events.jsonl

    Exit status: 0 all are there (with --no-wait: accepted), 1 some failed, 2 bad input or a key of
    another event, 3 it is unknown of some.
    """
    from ferryman._door import command_line_door

    door = command_line_door()
    with ExitStack() as kept:
        file, name = _opened(events, kept)
        made = _stored(door, file, name, vendor)
    if not no_wait:
        _follow(door, made)
    if as_json:
        _show.document(made.document())
    else:
        _tell(made)
    return _many.status(made)


def _opened(given: str, kept: ExitStack) -> tuple[BinaryIO, str]:
    """A file that can be read twice, and what it is called. Raises InvalidArguments."""
    from ferryman import uploads

    name = STANDARD_INPUT if given == "-" else given
    try:
        file, _ = uploads.opened(sys.stdin.buffer if given == "-" else given, kept)
    except InvalidArguments as error:
        raise InvalidArguments("EVENTS", f"{name} {error.message}") from None
    return file, name


def _stored(door: Door, file: BinaryIO, name: str, vendor: str | None) -> _many.Stored:
    with _batches.shown(name) as bar:
        bar("is checked", 0, None)
        total = _events.checked(file, name, vendor)
        return _many.stored(door, _events.orders(file, vendor), total, bar)


def _follow(door: Door, made: _many.Stored) -> None:
    _show.note(f"{len(made.lines):,} events are stored; if you stop looking, they go on")
    with _batches.shown("events") as bar:
        _many.followed(door, made, bar)


def _tell(made: _many.Stored) -> None:
    found = made.document()
    for one in made.refused[: _events.MOST_TOLD]:
        _show.note(f"line {one['line']}: {one['message']}")
    for one in found["troubles"][: _events.MOST_TOLD]:
        _show.note(f"line {one['line']}: {one['status']}, {_show.why(one)}")
    for name in ("troubles", "refused"):
        if (more := len(found[name]) - _events.MOST_TOLD) > 0:
            _show.note(f"and {more:,} more lines; --json tells of all")
    _show.counted("events", found["total"], found["counts"])
