"""`python -m bench [CASE]…`: what the ledger costs and what it brings, beside others, on this
machine. All cases without an argument."""

from __future__ import annotations

import importlib
import pkgutil
import time
from typing import Any

import click

from bench import cases
from bench.contest import console
from bench.place import place

NAMES = sorted(found.name for found in pkgutil.iter_modules(cases.__path__))


def _case(name: str) -> Any:
    return importlib.import_module(f"bench.cases.{name}")


def _listed() -> str:
    return "\n".join(["\b", "Cases:", *(f"  {name:8} {_case(name).__doc__}" for name in NAMES)])


@click.command(help=__doc__, epilog=_listed())
@click.argument("chosen", nargs=-1, metavar="[CASE]...", type=click.Choice(NAMES))
@click.option("--rounds", default=3, show_default=True, help="Interleaved runs of each.")
@click.option("--scale", default=1.0, show_default=True, help="Times the jobs of each run.")
def main(chosen: tuple[str, ...], rounds: int, scale: float) -> None:
    began = time.monotonic()
    with place(rounds, scale) as here:
        for name in chosen or NAMES:
            console.rule(f"[bold]{name}[/]: {_case(name).__doc__}")
            _case(name).main(here)
    console.print(f"\n{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
