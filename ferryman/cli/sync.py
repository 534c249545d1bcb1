"""`sync`: make a bucket hold what a folder holds, or the other way round."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import click

from ferryman.cli import _follow, _show
from ferryman.cli.jobs import as_json, place
from ferryman.errors import InvalidArguments

SCHEMES = ("file", "s3", "gs")


@click.command()
@click.argument("source")
@click.argument("destination")
@click.option("--delete", is_flag=True, help="Remove there what is not here.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--key", help="The same key and arguments name the same job.")
@click.option("--elsewhere", is_flag=True, help="The folder is on the worker's machine, not here.")
@click.option("--no-wait", is_flag=True, help="Do not wait for the end.")
@as_json
def sync(
    source: str,
    destination: str,
    delete: bool,
    dry_run: bool,
    key: str | None,
    elsewhere: bool,
    no_wait: bool,
    as_json: bool,
) -> int:
    """Copy what is new or changed from SOURCE to DESTINATION.

    Each is a folder, s3://bucket/prefix or gs://bucket/prefix (two buckets: of one cloud).

    \b
    Examples:
      ferryman sync ./photos s3://backup/photos --dry-run
      ferryman sync s3://backup/photos ./restored
      ferryman sync ./photos gs://backup/photos

    Exit status: 0 done, 1 failed, 2 bad input, 3 unknown.
    """
    from ferryman._door import command_line_door
    from ferryman._order import order

    args = {
        "source": _address("source", source),
        "destination": _address("destination", destination),
        "delete": delete or None,
        "dry_run": dry_run or None,
    }
    door = command_line_door()
    job = place(door, order("sync_objects", args, key=key), elsewhere=elsewhere)
    if not no_wait:
        _show.note(f"job {job['id']}; if you stop looking, it goes on")
        with _follow.shown("sync") as progress:
            job = _follow.job(door, UUID(job["id"]), progress)
    if as_json:
        _show.document(job)
    elif no_wait:
        click.echo(job["id"])
    else:
        click.echo(" ".join(filter(None, [job["status"], _show.why(job)])))
        _show.result(job)
    return _show.DONE if no_wait else _show.job_status(job)


def _address(field: str, given: str) -> str:
    from ferryman.locations import file_address

    scheme, mark, _ = given.partition("://")
    if not mark:
        return file_address(Path(given))
    if scheme not in SCHEMES:
        raise InvalidArguments(field, "must be a folder, or begin with s3:// or gs://")
    return given
