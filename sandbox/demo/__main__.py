"""`python -m sandbox.demo`: runs the demo; exit status 0 only if all of it is consistent."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import FrameType

from rich.console import Console

from ferryman.errors import FerrymanError
from ferryman.testing.up import State, up
from sandbox.demo import home
from sandbox.demo.checks import problems
from sandbox.demo.facts import Facts
from sandbox.demo.report import notes, report
from sandbox.demo.story import opened
from sandbox.demo.watch import Watch

INTERRUPTED = 130
PLAIN_WIDTH = 120
CONSISTENT = (
    "Consistent: what succeeded took effect once, what failed did not, and what cannot be told is"
    " called unknown."
)


def main() -> int:
    signal.signal(signal.SIGTERM, _interrupt)
    folder = home.folder(os.environ)
    environment = home.environment(os.environ, folder)
    os.environ.clear()
    os.environ.update(environment)
    console = Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH)
    try:
        return _run(Watch(console), folder)
    except FerrymanError as error:
        told = f"\n{error}\n(all logs are in {folder})"
        console.print(told, style="bold red", markup=False, highlight=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print("\nstopped")
        return INTERRUPTED


def _run(watch: Watch, folder: Path) -> int:
    watch.act("Everything starts on this machine: ferryman up --sandbox")
    home.empty(folder)
    # Out of reach of a `.env` that belongs to somebody's real work.
    os.chdir(folder)
    with up(folder, watch.say) as state:
        watch.say(f"as long as this runs: {_addresses(state)}")
        with opened(watch, state, folder) as story:
            story.a_day_of_orders()
            story.a_worker_dies()
            story.stripe_is_down()
            facts = story.facts()
        report(watch.console, facts)
        found = problems(facts)
        _conclude(watch, facts, state, found)
    watch.say("everything has stopped")
    return 1 if found else 0


def _conclude(watch: Watch, facts: Facts, state: State, found: list[str]) -> None:
    def tell(words: str, style: str = "") -> None:
        watch.console.print(words, style=style, markup=False, highlight=False, soft_wrap=True)

    for words in notes(facts):
        tell(words)
    tell(f"Until now: {_addresses(state)}")
    tell("Next: `make up` starts the same and leaves it running.\n")
    if not found:
        tell(CONSISTENT, "bold green")
    for problem in found:
        tell(f"Not consistent: {problem}", "bold red")
    if found:
        tell(f"The logs are in {os.environ['FERRYMAN_HOME']}.")


def _addresses(state: State) -> str:
    return f"API {state['api_url']}/v1/jobs, Flower {state['flower_url']}"


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
