"""The pytest plugin: `ferryman_sandbox` and `ferryman_up`, for the tests of applications.

pytest loads this file wherever ferryman is installed; the rest is imported when a fixture is used.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ferryman.testing.sandbox import Sandbox

# Short times, so that retries and a breaker's return do not make tests wait.
SETTINGS = {
    "FERRYMAN_BACKOFF_SECONDS": "0.2",
    "FERRYMAN_BREAKER_RESET_SECONDS": "1",
    "FERRYMAN_LEASE_SECONDS": "5",
}


@dataclass(frozen=True)
class Up:
    """A complete ferryman: its API, its ledger, its broker, and the fake vendors it calls."""

    url: str
    database_url: str
    broker_url: str
    sandbox: Sandbox


@pytest.fixture(scope="session")
def _ferryman_sandbox() -> Iterator[Sandbox]:
    from ferryman.testing.sandbox import running

    with running() as sandbox:
        yield sandbox


@pytest.fixture
def ferryman_sandbox(_ferryman_sandbox: Sandbox) -> Sandbox:
    """The fake vendors, without rows, effects and faults. `.environment()` points an application
    at them, `.script([…])` injects faults, `.effects()` tells what took effect."""
    _ferryman_sandbox.reset()
    return _ferryman_sandbox


@pytest.fixture(scope="session")
def _ferryman_up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    from ferryman._root import environment
    from ferryman.testing.up import up

    given = environment()
    env = {name: given[name] for name in given.keys() - _settings(given)} | SETTINGS
    with up(tmp_path_factory.mktemp("ferryman"), env=env) as state:
        yield state


@pytest.fixture
def ferryman_up(_ferryman_up: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[Up]:
    """All of ferryman, running: PostgreSQL, Valkey, worker, API, Flower and fake vendors. This
    process's environment points at it, so that `ferryman.enqueue(…)` and `job.wait()` work.

    It runs until the last test has ended, and keeps its jobs: each test has keys of its own."""
    from ferryman.settings import settings
    from ferryman.testing.sandbox import Sandbox

    for name in _settings(os.environ):
        monkeypatch.delenv(name)
    for name, value in _variables(_ferryman_up).items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    sandbox = Sandbox(_ferryman_up["sandbox_url"])
    sandbox.begin()
    yield Up(
        _ferryman_up["api_url"], _ferryman_up["database_url"], _ferryman_up["broker_url"], sandbox
    )
    sandbox.close()
    settings.cache_clear()


def _settings(env: Mapping[str, str]) -> set[str]:
    """What ferryman and its vendors read there: none of it is for a test."""
    from ferryman.policies import policies

    named = ("FERRYMAN_", "AWS_", "GOOGLE_APPLICATION_CREDENTIALS")
    prefixes = (*named, *(f"{vendor.upper()}_" for vendor in policies()))
    return {name for name in env if name.startswith(prefixes)}


def _variables(state: Mapping[str, Any]) -> dict[str, str]:
    return {
        "FERRYMAN_URL": state["api_url"],
        "FERRYMAN_DATABASE_URL": state["database_url"],
        "FERRYMAN_BROKER_URL": state["broker_url"],
        **state["environment"],
    }
