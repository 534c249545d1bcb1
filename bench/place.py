"""Where contestants meet: one PostgreSQL, one Valkey, a fresh database for whoever asks."""

from __future__ import annotations

import contextlib
import resource
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import redis

from worker.supervisor.servers import embedded


@dataclass(frozen=True)
class Place:
    """The servers, and how much of each case is to be run."""

    database: str
    broker: str
    rounds: int
    scale: float

    def jobs(self, count: int) -> int:
        """That many jobs, at the scale asked for."""
        return max(10, round(count * self.scale))

    def fresh_database(self, name: str) -> str:
        """The address of an empty database; an earlier one of that name is gone."""
        with psycopg.connect(self.database, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            connection.execute(f"CREATE DATABASE {name}")
        return urlunsplit(urlsplit(self.database)._replace(path=f"/{name}"))

    def empty_broker(self) -> None:
        with redis.Redis.from_url(self.broker) as queue:
            queue.flushall()


@contextlib.contextmanager
def place(rounds: int, scale: float) -> Iterator[Place]:
    """Run the servers, with their data in a folder that is removed. Main thread only."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    # A vendor with a thousand calls at once has a thousand connections.
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with tempfile.TemporaryDirectory() as folder, embedded(Path(folder)) as servers:
        yield Place(servers.database, servers.broker, rounds, scale)
