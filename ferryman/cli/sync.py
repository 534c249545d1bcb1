"""`sync`: make a folder or a bucket hold what another one holds."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from ferryman.cli import _show, _sync_bar
from ferryman.cli.jobs import as_json, place
from ferryman.errors import InvalidArguments

if TYPE_CHECKING:
    from ferryman._door import Document, Door

SCHEMES = ("file", "s3", "gs")
# What a plan tells of: the others are the same already.
PLANNED = ("copy", "delete", "refuse")
_RATE = re.compile(r"(\d+(?:\.\d+)?)([kMG]?)")
_POWERS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}

Command = Callable[..., Any]


class Rate(click.ParamType[int]):
    """Bytes a second: `500k`, `10M`, `1.5G`, in powers of a thousand."""

    name = "rate"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        if isinstance(value, int):
            return value
        if not (found := _RATE.fullmatch(value)):
            self.fail("must be bytes a second, such as 500k, 10M or 1G", param, ctx)
        return int(float(found[1]) * _POWERS[found[2]])


OPTIONS = (
    click.option("--include", multiple=True, metavar="PATTERN", help="Only these keys."),
    click.option("--exclude", multiple=True, metavar="PATTERN", help="Not these keys."),
    click.option("--delete", is_flag=True, help="Remove there what is not here, after the copies."),
    click.option(
        "--max-delete",
        metavar="PERCENT",
        type=click.IntRange(0, 100),
        help="With --delete: of what is there, at most; default 10. More: nothing is deleted.",
    ),
    click.option("--force", is_flag=True, help="With --delete: however many."),
    click.option(
        "--checksum", is_flag=True, help="Compare content at both ends, not what is known of it."
    ),
    click.option("--size-only", is_flag=True, help="The same size is the same object."),
    click.option("--dry-run", is_flag=True, help="Write nothing; print what would be done."),
    click.option("--bandwidth", type=Rate(), help="Bytes a second at most, over all workers: 10M."),
    click.option(
        "--concurrency",
        metavar="N",
        type=click.IntRange(1, 64),
        help="Transfers at once in each part of the sync.",
    ),
    click.option("--storage-class", metavar="NAME", help="Such as STANDARD_IA or NEARLINE."),
    click.option("--encryption", metavar="NAME", help="AES256, aws:kms, aws:kms:KEY; GCS: a key."),
    click.option("--key", help="The same key and arguments name the same job."),
    click.option("--elsewhere", is_flag=True, help="Folders are on the worker's machine."),
    click.option("--no-wait", is_flag=True, help="Do not wait for the end."),
)


def _options(command: Command) -> Command:
    for option in reversed(OPTIONS):
        command = option(command)
    return command


@click.command()
@click.argument("source")
@click.argument("destination")
@_options
@as_json
def sync(
    source: str,
    destination: str,
    key: str | None,
    elsewhere: bool,
    no_wait: bool,
    as_json: bool,
    **given: Any,
) -> int:
    """Copy what is new or changed from SOURCE to DESTINATION.

    Each is a folder, s3://bucket/prefix or gs://bucket/prefix (each to each). An object is not
    copied again if its content is proven the same: by size and checksum, never by its time alone.
    What others change at the destination meanwhile is reported, not overwritten. Nothing is
    deleted without --delete. A sync that is killed, its worker too, goes on where it was.

    PATTERN: `*` and `?` within a part of the key, `**` across parts, [abc]; without a slash it is
    about the last part, however deep. --include and --exclude may be given several times; what
    they leave out is neither copied nor deleted.

    \b
    Examples:
      ferryman sync ./photos s3://backup/photos --dry-run
      ferryman sync ./photos s3://backup/photos --exclude '*.tmp' --exclude 'drafts/**'
      ferryman sync s3://backup/photos ./restored
      ferryman sync s3://backup/photos gs://backup2/photos --delete --max-delete 25

    A bar shows objects, bytes, rate and the time left; if you stop looking, the sync goes on.
    `ferryman batch ID` shows it at any time, and pauses, resumes or cancels it; --objects lists
    what was refused or failed. All of it: docs/sync.md.

    Exit status: 0 done, 1 failed (some objects were refused or failed, or too many would have
    been deleted), 2 bad input, 3 unknown.
    """
    from ferryman._door import command_line_door
    from ferryman._order import order

    args = {
        "source": _address("source", source),
        "destination": _address("destination", destination),
        **_arguments(given),
    }
    door = command_line_door()
    job = place(door, order("sync_objects", args, key=key), elsewhere=elsewhere)
    if not no_wait:
        _show.note(f"job {job['id']}; if you stop looking, it goes on")
        job = _sync_bar.followed(door, UUID(job["id"]))
    if as_json:
        plan = f"/v1/batches/{job['id']}/objects"
        _show.document({**job, "plan_url": plan} if given["dry_run"] else job)
    elif no_wait:
        click.echo(job["id"])
    else:
        _tell(door, job, dry_run=given["dry_run"])
    return _show.DONE if no_wait else _show.job_status(job)


def _arguments(given: dict[str, Any]) -> dict[str, Any]:
    """The options as the job's own arguments. Raises UsageError."""
    checksum, size_only = given["checksum"], given["size_only"]
    if checksum and size_only:
        raise click.UsageError("give one of --checksum, --size-only")
    asked = {name: value for name, value in given.items() if name not in ("checksum", "size_only")}
    asked |= {name: list(asked[name]) for name in ("include", "exclude")}
    asked["compare"] = "checksum" if checksum else "size" if size_only else None
    # `--max-delete 0` says something; a flag or a list that was not given does not.
    return {name: None if value is False or value == [] else value for name, value in asked.items()}


def _tell(door: Door, job: Document, *, dry_run: bool) -> None:
    """How a sync has ended: the plan of a dry run, the numbers, and what was left out."""
    if dry_run:
        for line in plan(door.objects(UUID(job["id"]), PLANNED)):
            click.echo(line)
    click.echo(" ".join(filter(None, [job["status"], _show.why(job)])))
    _show.result(job)
    left_out = (job.get("error") or {}).get("objects") or []
    for one in left_out:
        _show.note(f"{_show.printable(one['key'])}: {one['reason']}")
    if left_out:
        _show.note(f"all of them: ferryman batch {job['id']} --objects")


def plan(objects: Iterable[Document]) -> Iterable[str]:
    """A line an object: `copy KEY SIZE`, `delete KEY`, `refuse KEY: why`."""
    for one in objects:
        words = f"{one['action']} {_show.printable(one['key'])}"
        match one["action"]:
            case "copy":
                yield f"{words} {_sync_bar.size(one['size'] or 0)}"
            case "refuse":
                yield f"{words}: {one['reason']}"
            case _:
                yield words


def _address(field: str, given: str) -> str:
    from ferryman.locations import file_address

    scheme, mark, _ = given.partition("://")
    if mark and scheme in SCHEMES:
        return given
    # Of `s3:/bucket`, a folder of that name would be made here, and taken for a backup.
    if mark or given.partition(":")[0] in SCHEMES:
        raise InvalidArguments(field, "must be a folder, or begin with s3:// or gs://")
    return file_address(Path(given))
