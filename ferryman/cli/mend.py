"""`retry`, `cancel`, `resolve`: what a person does about jobs that failed, or whose end is open."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from ferryman.cli import _input, _kinds, _show
from ferryman.cli.jobs import as_json

if TYPE_CHECKING:
    from ferryman._door import Controls

note = click.option("--note", help="Why; kept with the job.")


@click.command()
@click.argument("id", required=False)
@click.option("--kind", help="Instead of ID: the failed jobs of this kind,")
@click.option("--vendor", help="of this vendor,")
@click.option("--code", help="with this code of their error,")
@click.option("--since", metavar="TIME", help="failed since: 2030-01-31T09:00:00Z, or 10m, 2h, 7d.")
@click.option("--dry-run", is_flag=True, help="Only count them.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@note
@as_json
def retry(
    id: str | None,
    dry_run: bool,
    yes: bool,
    note: str | None,
    as_json: bool,
    **filters: str | None,
) -> int:
    """Run a failed job again, or one that is unknown, or all failed ones that a filter finds.

    The arguments stay as they are. A failed job takes new keys at its vendor, which would only
    repeat its stored answer under the old ones. An unknown one keeps its key as long as the vendor
    knows it, and you are warned where the effect may come about a second time.

    A filter's jobs are counted first, and you are asked; without a terminal nothing is retried
    but with --yes.

    \b
    Examples:
      ferryman retry 0190b5f2-7a3c-7cc1-8a51-5d0b1f0e6a11
      ferryman retry --vendor stripe --code vendor_unavailable --since 2h --dry-run
      ferryman retry --kind send_email --since 1d --yes

    Exit status: 0 done, 1 the job's state forbids it, 2 bad input or no such job.
    """
    from ferryman._door import controls

    chosen = _chosen(filters)
    _check_choice(id, chosen, dry_run=dry_run, yes=yes)
    if id is None:
        if note is not None:
            chosen["note"] = note
        return _replay(controls(), chosen, dry_run=dry_run, yes=yes, as_json=as_json)
    found = controls().retry(_id(id), note)
    if found.get("warning"):
        _show.note(f"warning: {found['warning']}")
    return _told(found, as_json)


@click.command()
@click.argument("id")
@note
@as_json
def cancel(id: str, note: str | None, as_json: bool) -> int:
    """Stop a job before it has any effect.

    A waiting job is cancelled at once. One that runs stops before its request leaves, or not at
    all: look at it again to see which.

    \b
    Example:
      ferryman cancel 0190b5f2-7a3c-7cc1-8a51-5d0b1f0e6a11

    Exit status: 0 done or asked for, 1 the job has ended already, 2 no such job.
    """
    from ferryman._door import controls

    found = controls().cancel(_id(id), note)
    if found["status"] != "cancelled":
        _show.note("it is asked to stop; where its request may have left, that comes too late")
    return _told(found, as_json)


@click.command()
@click.argument("id")
@click.argument("outcome", type=click.Choice(["succeeded", "failed"]))
@click.option("--note", required=True, help="How that was found out; kept with the job.")
@as_json
def resolve(id: str, outcome: str, note: str, as_json: bool) -> int:
    """Say how an unknown job ended, after a look at the vendor's side.

    `succeeded`: its effect is there. `failed`: it is surely not, so the job may be retried.

    \b
    Example:
      ferryman resolve 0190b5f2-7a3c-7cc1-8a51-5d0b1f0e6a11 failed --note 'not in their log'

    Exit status: 0 done, 1 the job is not unknown, 2 bad input or no such job.
    """
    from ferryman._door import controls

    return _told(controls().resolve(_id(id), outcome, note), as_json)


def _id(given: str) -> Any:
    from ferryman.client import as_id

    return as_id(given)


def _chosen(filters: dict[str, str | None]) -> dict[str, str]:
    from ferryman import _times

    chosen = {name: value for name, value in filters.items() if value is not None}
    if "kind" in chosen:
        _kinds.known("--kind", chosen["kind"])
    if "since" in chosen:
        chosen["since"] = _times.rfc3339(_input.earlier("--since", chosen["since"]))
    return chosen


def _check_choice(id: str | None, chosen: dict[str, str], *, dry_run: bool, yes: bool) -> None:
    if id is None and not chosen:
        raise click.UsageError(
            "give the ID of a job, or at least one of --kind, --vendor, --code, --since"
        )
    if id is not None and (chosen or dry_run or yes):
        raise click.UsageError("give the ID of one job, or a filter for many, not both")
    if dry_run and yes:
        raise click.UsageError("--dry-run only counts: leave --yes away")


def _replay(
    door: Controls, chosen: dict[str, str], *, dry_run: bool, yes: bool, as_json: bool
) -> int:
    count = door.replay(chosen, dry_run=True)
    done = bool(count) and not dry_run and (yes or _agreed(count))
    if done:
        count = door.replay(chosen, dry_run=False)
    if as_json:
        _show.document({"count": count, "retried": done})
    else:
        click.echo(f"{_many(count)} retried" if done else f"{_many(count)} to retry")
    return _show.DONE


def _agreed(count: int) -> bool:
    if not _on_a_terminal():
        _show.note("nothing is retried: add --yes to do it")
        return False
    return click.confirm(f"Retry {_many(count)}?", err=True)


def _on_a_terminal() -> bool:
    return sys.stdin.isatty()


def _many(count: int) -> str:
    return f"{count} failed job{'' if count == 1 else 's'}"


def _told(found: dict[str, Any], as_json: bool) -> int:
    if as_json:
        _show.document(found)
    else:
        click.echo(" ".join(filter(None, [found["status"], _show.why(found)])))
    return _show.DONE
