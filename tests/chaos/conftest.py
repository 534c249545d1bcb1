"""How much chaos there is, and the table of what it did.

`CHAOS=1` (as `make chaos` sets it): more of everything, and the soak; `CHAOS_SEED` and
`CHAOS_SECONDS` choose its course and its length.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from uuid import UUID

import pytest

from ferryman.testing.sandbox import Sandbox, running
from tests.chaos.account import Account, account
from tests.chaos.servers import Breakable, breakable
from tests.harness import Harness

SOAK = os.environ.get("CHAOS") == "1"
long = pytest.mark.skipif(not SOAK, reason="takes long: make chaos")
SEED = int(os.environ.get("CHAOS_SEED") or 1)
SECONDS = float(os.environ.get("CHAOS_SECONDS") or 600)
BEGUN = time.monotonic()

collect_ignore = [] if SOAK else ["test_soak.py", "test_disk.py"]
TABLE = pytest.StashKey[list[tuple[str, Account]]]()
Tabled = Callable[[Account], None]
Accounted = Callable[[Harness, Sequence[UUID]], Account]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if SOAK:
        # The soak fills the time that the others leave.
        items.sort(key=lambda item: item.name == "test_everything_at_once")
        for item in items:
            item.add_marker(pytest.mark.timeout(SECONDS + 600))


class Scale:
    """Sizes: short ones for every test run, long ones for the soak."""

    def __init__(self) -> None:
        self.random = Random(SEED)

    def __call__(self, short: int, soak: int) -> int:
        return soak if SOAK else short

    def seconds_left(self) -> float:
        """Of the whole run, which the soak fills."""
        return SECONDS - (time.monotonic() - BEGUN)


@pytest.fixture
def scale() -> Scale:
    return Scale()


@pytest.fixture(scope="session")
def _sandbox() -> Iterator[Sandbox]:
    """The fake vendors, whose chances come from the seed."""
    with running(seed=SEED) as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def _breakable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Breakable]:
    with breakable(tmp_path_factory.mktemp("breakable")) as servers:
        yield servers


@pytest.fixture
def servers_to_break(_breakable: Breakable) -> Iterator[Breakable]:
    """PostgreSQL and Valkey that the test may stop; they run again afterwards."""
    yield _breakable
    _breakable.repair()


@pytest.fixture
def broken(servers_to_break: Breakable, sandbox: Sandbox, tmp_path: Path) -> Iterator[Harness]:
    """A harness on servers that the test may stop."""
    ledger = servers_to_break.ledger()
    with Harness(ledger, servers_to_break.broker, sandbox, tmp_path) as made:
        made.redis().flushall()
        yield made


@pytest.fixture
def tabled(request: pytest.FixtureRequest) -> Tabled:
    """Puts an account into the table, under the test's name."""
    table = request.config.stash.setdefault(TABLE, [])
    return lambda made: table.append((request.node.name.removeprefix("test_"), made))


@pytest.fixture
def accounted(tabled: Tabled) -> Accounted:
    """Takes the account of a harness' jobs for the table, and accepts no deviation."""

    def take(harness: Harness, jobs: Sequence[UUID]) -> Account:
        made = account(harness, jobs)
        tabled(made)
        assert made.clean, made
        return made

    return take


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    table = terminalreporter.config.stash.get(TABLE, [])
    if not SOAK or not table:
        return
    terminalreporter.section(f"chaos, seed {SEED}")
    terminalreporter.write_line(
        f"{'fault':<66} {'jobs':>6} {'lost':>5} {'twice':>6} {'unexplained':>12}  ends"
    )
    for name, made in table:
        ends = ", ".join(f"{count} {status}" for status, count in sorted(made.statuses.items()))
        terminalreporter.write_line(
            f"{name[:66]:<66} {made.jobs:>6} {len(made.lost):>5} {len(made.twice):>6}"
            f" {len(made.unexplained):>12}  {ends}"
        )
