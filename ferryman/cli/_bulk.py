"""What `email` and `sms` have in common: a file of recipients becomes an upload and a bulk job."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO
from uuid import UUID

import click

from ferryman.cli import _batches, _follow, _input, _show
from ferryman.cli.jobs import place
from ferryman.errors import InvalidArguments

if TYPE_CHECKING:
    from ferryman._door import Door

# While the arguments are checked, in place of the upload that is made after that.
NOT_YET = "00000000-0000-8000-8000-000000000000"
ENDINGS = ".csv .json .jsonl"
_PLACE = re.compile(r"(line|entry) \d+")

Command = Callable[..., Any]


def options(command: Command) -> Command:
    """Those that are about the job, and alike for every channel."""
    for option in reversed(
        (
            click.option(
                "--format",
                type=click.Choice(("csv", "json", "jsonl")),
                help="Default: by the file's ending; of standard input, csv.",
            ),
            click.option("--key", help="The same key and file send nothing twice."),
            click.option(
                "--run-at", metavar="TIME", help="Not before: 2030-01-31T09:00:00Z, or +10m."
            ),
            click.option("--no-wait", is_flag=True, help="Do not wait until all are sent."),
        )
    ):
        command = option(command)
    return command


@dataclass(frozen=True)
class Source:
    """A list of recipients that can be read more than once."""

    name: str
    format: str
    file: BinaryIO

    def check_columns(self, why: str) -> None:
        """That there is nothing but the addresses; `why`. Raises InvalidArguments naming line
        and column."""
        from ferryman import recipients, uploads

        if found := recipients.first_data(uploads.pieces(self.file), self.format):
            number, name = found
            place = f"{'entry' if self.format == 'json' else 'line'} {number}"
            what = "column" if self.format == "csv" else "data"
            raise InvalidArguments(place, f"{what} `{name}` {why}")

    def upload(self, door: Door) -> str:
        """The id of the list at ferryman's. Raises InvalidArguments naming the line."""
        with _follow.shown(self.name) as progress:
            progress("is read and uploaded")
            return str(door.upload(self.file, self.format)["id"])


def ordered(
    door: Door, source: Source, kind: str, args: dict[str, Any], columns: str | None, **manner: Any
) -> dict[str, Any]:
    """The bulk job: all is checked that can be before the list is uploaded. `columns`: why there
    may be none but the address, if so. Raises InvalidArguments."""
    from ferryman._order import order

    if manner["run_at"] is not None:
        manner["run_at"] = _input.later("run_at", manner["run_at"])
    order(kind, {**args, "upload": NOT_YET}, **manner)
    with _named(source.name):
        if columns:
            source.check_columns(columns)
        upload = source.upload(door)
    return place(door, order(kind, {**args, "upload": upload}, **manner))


def finished(door: Door, job: dict[str, Any], what: str, *, no_wait: bool, as_json: bool) -> int:
    """Wait for the end unless that is not wanted; the exit status."""
    if not no_wait:
        _show.note(f"batch {job['id']}; if you stop looking, it goes on")
        return _batches.followed(door, UUID(job["id"]), what, as_json)
    if as_json:
        _show.document(job)
    else:
        click.echo(job["id"])
    return _show.DONE


@contextmanager
def opened(given: str, format: str | None) -> Iterator[Source]:
    """The file, or standard input for `-`. Raises InvalidArguments."""
    from ferryman import uploads

    name = "standard input" if given == "-" else given
    with ExitStack() as kept:
        try:
            file, told = uploads.opened(sys.stdin.buffer if given == "-" else given, kept)
        except InvalidArguments as error:
            raise InvalidArguments("RECIPIENTS", f"{name} {error.message}") from None
        found = format or told or ("csv" if given == "-" else None)
        if found is None:
            raise InvalidArguments("--format", f"is needed: {name} ends in none of {ENDINGS}")
        yield Source(name, found, file)


@contextmanager
def _named(file: str) -> Iterator[None]:
    """Names the file in what is told of a line of it."""
    try:
        yield
    except InvalidArguments as error:
        if _PLACE.fullmatch(error.field):
            raise InvalidArguments(f"{file} {error.field}", error.message) from None
        raise
