"""`health`: are the worker processes of this machine well? For health checks."""

from __future__ import annotations

import click

from ferryman.cli import _show


@click.command()
def health() -> int:
    """Tell whether the workers on this machine are well: their event loop, heartbeat and relay.

    It looks at this user's worker processes only, and asks neither database nor broker: while one
    of those is away, a worker has nothing to gain from a restart.

    \b
    Examples:
      ferryman health
      healthcheck: {test: ["CMD", "ferryman", "health"]}    # in a compose file

    Exit status: 0 all are well, 1 one is not, or there is none.
    """
    from ferryman._health import pulses

    found = list(pulses())
    if not found:
        _show.note("no worker of this user runs here")
    for pulse in found:
        stale = pulse.stale()
        words = [f"no sign of its {part} for {age:.0f} s" for part, age in stale.items()]
        click.echo(f"worker {pulse.pid}: {', '.join(words) or 'well'}")
    well = bool(found) and not any(pulse.stale() for pulse in found)
    return _show.DONE if well else _show.FAILED
