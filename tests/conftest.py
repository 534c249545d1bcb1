"""Real servers for the tests: embedded ones, or those of FERRYMAN_DATABASE_URL and
FERRYMAN_BROKER_URL. Each test that needs a ledger gets a database of its own."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
import redis

from ferryman.testing import Sandbox, running
from models.migrate import migrate
from tests import gcs, moto
from tests.harness import Harness
from worker.supervisor.servers import embedded

# Tests of the pytest plugin run pytest.
pytest_plugins = ["pytester"]

# Before anything reads them: no test may use what the developer's own shell has set.
GIVEN = {
    name: os.environ.pop(name, None) for name in ("FERRYMAN_DATABASE_URL", "FERRYMAN_BROKER_URL")
}
for name in [name for name in os.environ if name.startswith("FERRYMAN_")]:
    if name != "FERRYMAN_CONTRACTS":
        del os.environ[name]
for name in [name for name in os.environ if name.startswith("AWS_")]:
    del os.environ[name]
os.environ |= dict.fromkeys(("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"), os.devnull)

# pytest-xdist runs two of these processes side by side, on one broker where it is a given one.
PROCESS = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
TEMPLATE = f"ferryman_test_template_{PROCESS}"
BROKER_DATABASES = 8


@dataclass(frozen=True)
class Servers:
    database: str
    broker: str


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """PostgreSQL and Valkey for the whole run."""
    database, broker = GIVEN.values()
    if database and broker:
        yield Servers(database, broker)
        return
    with embedded(tmp_path_factory.mktemp("servers")) as urls:
        yield Servers(database or urls.database, broker or urls.broker)


def at(url: str, path: str) -> str:
    """The same server, another database."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{path}"))


@pytest.fixture(scope="session")
def _template(servers: Servers) -> Iterator[str]:
    """A migrated database that others are copied from."""
    with psycopg.connect(servers.database, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {TEMPLATE} WITH (FORCE)")
        connection.execute(f"CREATE DATABASE {TEMPLATE}")
        migrate(at(servers.database, TEMPLATE))
        yield TEMPLATE
        connection.execute(f"DROP DATABASE {TEMPLATE} WITH (FORCE)")


_numbers = itertools.count()


def _database(servers: Servers, template: str) -> Iterator[str]:
    name = f"ferryman_test_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(servers.database, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        yield at(servers.database, name)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def database_url(servers: Servers, _template: str) -> Iterator[str]:
    """A migrated ledger that the tests of the run share."""
    yield from _database(servers, _template)


@pytest.fixture
def ledger_url(servers: Servers, _template: str) -> Iterator[str]:
    """A migrated ledger of this test's own, empty."""
    yield from _database(servers, _template)


@pytest.fixture
def broker_url(servers: Servers) -> Iterator[str]:
    """An empty broker of this test's own."""
    number = PROCESS % 2 * BROKER_DATABASES + next(_numbers) % BROKER_DATABASES
    url = at(servers.broker, str(number))
    with redis.Redis.from_url(url) as client:
        client.flushdb()
        yield url
        client.flushdb()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """S3 as moto fakes it; whoever needs it empty says `moto.reset`."""
    with moto.running_moto() as url:
        yield url


@pytest.fixture(scope="session")
def gcs_server() -> Iterator[str]:
    """Cloud Storage as fake-gcs-server does; whoever needs it empty makes a new bucket."""
    with gcs.running_gcs() as url:
        yield url


@pytest.fixture(scope="session")
def _sandbox() -> Iterator[Sandbox]:
    with running() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(_sandbox: Sandbox) -> Sandbox:
    """The fake vendors, without effects and faults."""
    _sandbox.reset()
    return _sandbox


@pytest.fixture
def harness(
    ledger_url: str, broker_url: str, sandbox: Sandbox, tmp_path: Path
) -> Iterator[Harness]:
    """Workers and APIs in their own processes on real servers."""
    with Harness(ledger_url, broker_url, sandbox, tmp_path) as made:
        yield made
