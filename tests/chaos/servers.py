"""Servers that a test may break: PostgreSQL and a Valkey that keeps nothing, both its own."""

from __future__ import annotations

import itertools
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg.rows import dict_row

from models.migrate import migrate
from tests.conftest import at
from tests.harness import Harness, until
from worker.supervisor.readiness import broker_answers, database_answers
from worker.supervisor.servers import Embedded, embedded

_numbers = itertools.count()


class Breakable:
    """Both servers, and the ways in which they go."""

    def __init__(self, servers: Embedded, folder: Path) -> None:
        self.broker = servers.broker
        self._servers = servers
        self._folder = folder

    def ledger(self) -> str:
        """A new migrated database of this PostgreSQL."""
        name = f"chaos_{next(_numbers)}"
        with psycopg.connect(self._servers.database, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        url = at(self._servers.database, name)
        migrate(url)
        return url

    def stop_database(self) -> None:
        """As `pg_ctl stop -m immediate` does: no checkpoint, every connection is cut."""
        self._servers.postgres.signal(signal.SIGQUIT)
        until(lambda: not self._servers.postgres.running, what="PostgreSQL has ended")

    def start_database(self, harness: Harness) -> None:
        """Up again after its recovery, and the harness connected to it."""
        self._servers.postgres.start()
        until(lambda: database_answers(harness.database), 60, what="PostgreSQL answers again")
        harness.connection = psycopg.connect(
            harness.database, autocommit=True, row_factory=dict_row
        )

    def kill_broker(self) -> None:
        """As a Valkey without persistence goes: with all that it held."""
        self._servers.valkey.kill()
        shutil.rmtree(self._folder / "valkey" / "appendonlydir", ignore_errors=True)

    def start_broker(self) -> None:
        self._servers.valkey.start()
        until(lambda: broker_answers(self.broker), what="Valkey answers again")

    def repair(self) -> None:
        """Whatever a failed test left broken."""
        if not self._servers.postgres.running:
            self._servers.postgres.start()
            until(lambda: database_answers(self._servers.database), 60)
        if not self._servers.valkey.running:
            self.start_broker()


@contextmanager
def breakable(folder: Path) -> Iterator[Breakable]:
    """Servers of one's own, whatever the other tests run on."""
    with embedded(folder) as servers:
        yield Breakable(servers, folder)
