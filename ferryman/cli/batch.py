"""`batch`: how the recipients of a bulk job, or the objects of a sync, are, and what a person can
do about them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from uuid import UUID

import click

from ferryman.cli import _batches, _show
from ferryman.cli.jobs import as_json
from ferryman.errors import InvalidArguments

STATUSES = ("waiting", "sending", "sent", *_show.ASIDE, "cancelled")
LEFT_OUT = ("failed", "refused")
OUTCOMES = ("planned", "done", "failed", "refused", "cancelled")
STEPS = ("pause", "resume", "cancel", "retry_failed")


def _step(name: str, help: str) -> Callable[..., Any]:
    return click.option(f"--{name.replace('_', '-')}", name, is_flag=True, help=help)


@click.command()
@click.argument("id")
@_step("pause", "Send no more of it, for now.")
@_step("resume", "Go on, whether a person paused it or it did itself.")
@_step("cancel", "Send no more of it, ever.")
@_step("retry_failed", "Send once more to those of whom it is certain that they got nothing.")
@click.option("--note", help="Why; kept with the batch.")
@click.option("--wait", is_flag=True, help="Wait for its end.")
@click.option("--recipients", is_flag=True, help="Print who was set aside, and why, as CSV.")
@click.option(
    "--status",
    "statuses",
    multiple=True,
    type=click.Choice(STATUSES),
    help="With --recipients, repeatable: those who are so instead.",
)
@click.option("--objects", is_flag=True, help="Of a sync: print what failed, and why, as CSV.")
@click.option(
    "--outcome",
    "outcomes",
    multiple=True,
    type=click.Choice(OUTCOMES),
    help="With --objects, repeatable: those that ended so instead.",
)
@click.option(
    "-o", "out", metavar="FILE", default="-", help="With --recipients or --objects: where to."
)
@as_json
def batch(
    id: str,
    note: str | None,
    wait: bool,
    recipients: bool,
    statuses: tuple[str, ...],
    objects: bool,
    outcomes: tuple[str, ...],
    out: str,
    as_json: bool,
    **steps: bool,
) -> int:
    """Show how the recipients of a bulk job, or the objects of a sync, are; pause it, go on, stop
    it, or send again.

    The first table says what ferryman did, the second what the vendor has told since of those it
    sent. What is under way when a batch is paused or cancelled still arrives. --retry-failed
    leaves out the `unknown`, who may have got theirs.

    --recipients prints those who are invalid, duplicate, suppressed, failed or unknown, a line
    each: line (in your file), to, status, reason, and what the vendor told.

    Of a sync the table tells of objects; --retry-failed tries once more those that failed, and
    --objects prints those that failed or were refused, a line each, with the reason.

    \b
    Examples:
      ferryman batch 0190b5f2-7a3c-7cc1-8a51-5d0b1f0e6a11 --wait
      ferryman batch 0190b5f2-7a3c-7cc1-8a51-5d0b1f0e6a11 --pause --note 'wrong price in it'
      ferryman batch 0190b5f2-7a3c-7cc1-8a51-5d0b1f0e6a11 --recipients -o aside.csv

    Exit status: 0; 1 if some failed, it was cancelled, it may not be done, or with --wait it is
    paused; 2 bad input or no such batch; 3 if it is unknown of some.
    """
    from ferryman._door import command_line_door
    from ferryman.client import as_id

    table = recipients or objects
    step = _chosen(steps, note=note, wait=wait, tables=recipients + objects)
    if (statuses and not recipients) or (out != "-" and not table):
        raise click.UsageError("--status and -o are about --recipients: give that, too")
    if outcomes and not objects:
        raise click.UsageError("--outcome is about --objects: give that, too")
    asked = as_id(id)
    if recipients:
        return _download(asked, "recipients", {"status": statuses or _show.ASIDE}, out, as_json)
    if objects:
        return _download(asked, "objects", {"outcome": outcomes or LEFT_OUT}, out, as_json)
    if step:
        return _stepped(asked, step, note, wait=wait, as_json=as_json)
    door = command_line_door()
    if wait:
        return _batches.followed(door, asked, "batch", as_json)
    found = door.batch(asked)
    (_show.document if as_json else _show.batch)(found)
    return _show.batch_status(found)


def _chosen(steps: dict[str, bool], *, note: str | None, wait: bool, tables: int) -> str:
    """The one step that is asked for, or none. Raises UsageError."""
    chosen = [name for name in STEPS if steps[name]]
    if len(chosen) + tables > 1:
        raise click.UsageError(
            "give one of --pause, --resume, --cancel, --retry-failed, --recipients, --objects"
        )
    if note is not None and not chosen:
        raise click.UsageError("--note is about --pause, --resume, --cancel or --retry-failed")
    if wait and (tables or chosen in (["pause"], ["cancel"])):
        raise click.UsageError("--wait goes with --resume, --retry-failed, or alone")
    return chosen[0] if chosen else ""


def _stepped(id: UUID, step: str, note: str | None, *, wait: bool, as_json: bool) -> int:
    from ferryman._door import controls

    door = controls()
    found = door.batch_step(id, "retry" if step == "retry_failed" else step, note)
    if wait:
        return _batches.followed(door, id, "batch", as_json)
    (_show.document if as_json else _show.batch)(found)
    return _show.DONE


def _download(
    id: UUID, what: str, filters: dict[str, tuple[str, ...]], out: str, as_json: bool
) -> int:
    from ferryman._door import controls

    if as_json:
        raise click.UsageError(f"--{what} prints CSV: leave --json away")
    pieces = controls().table(id, what, filters)
    if out == "-":
        for piece in pieces:
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        return _show.DONE
    _write(Path(out), pieces)
    _show.note(f"written to {out}")
    return _show.DONE


def _write(path: Path, pieces: Iterable[bytes]) -> None:
    """The file is there as a whole, or as it was before. Raises InvalidArguments."""
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("wb") as file:
            file.writelines(pieces)
        os.replace(part, path)
    except OSError as error:
        raise InvalidArguments("-o", f"{path} cannot be written: {error.strerror}") from None
    finally:
        part.unlink(missing_ok=True)
