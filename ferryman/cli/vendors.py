"""`vendors`, `vendor pause`, `vendor resume`: how each vendor does, and whether it is called."""

from __future__ import annotations

import click

from ferryman.cli import _show
from ferryman.cli.jobs import as_json

note = click.option("--note", required=True, help="Why, for those who come later.")


@click.command()
@as_json
def vendors(as_json: bool) -> int:
    """Show how each vendor does: what waits for it, what it answered within the last hour, what
    its own limits have left, and whether it is called at all.

    \b
    Example:
      ferryman vendors
    """
    from ferryman._door import controls

    found = controls().vendors()
    if as_json:
        _show.document(found)
    else:
        _show.vendors(found["vendors"])
    return _show.DONE


@click.group()
def vendor() -> None:
    """Stop calling a vendor, or go on.

    \b
    Examples:
      ferryman vendor pause stripe --note 'their incident 4711'
      ferryman vendor resume stripe --note 'it is over'
    """


@vendor.command()
@click.argument("name")
@note
@as_json
def pause(name: str, note: str, as_json: bool) -> int:
    """Stop calling a vendor. Its jobs wait, and their reason shows the note; what runs is not cut
    off.

    \b
    Example:
      ferryman vendor pause stripe --note 'their incident 4711'
    """
    return _step(name, "pause", note, as_json)


@vendor.command()
@click.argument("name")
@note
@as_json
def resume(name: str, note: str, as_json: bool) -> int:
    """Call a paused vendor again, whether a person paused it or a refused credential did; also one
    whose daily limit was reached, once you have bought more.

    \b
    Example:
      ferryman vendor resume stripe --note 'the key is renewed'
    """
    return _step(name, "resume", note, as_json)


def _step(name: str, step: str, note: str, as_json: bool) -> int:
    from ferryman._door import controls

    found = controls().vendor(name, step, note)
    if as_json:
        _show.document(found)
    else:
        click.echo(f"{found['vendor']}: {_show.vendor(found)}")
    return _show.DONE
