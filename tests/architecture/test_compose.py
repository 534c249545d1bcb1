"""docker-compose.yml runs commands that exist, needs its secrets by name, and runs as nobody."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from ferryman.cli import main

COMPOSE = yaml.safe_load((Path(__file__).resolve().parents[2] / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
OURS = sorted(name for name, service in SERVICES.items() if "build" in service)


@pytest.mark.parametrize("name", OURS)
def test_each_command_is_one_of_ours(name: str) -> None:
    command, *words = SERVICES[name]["command"]
    found = main.get_command(click.Context(main), command)

    assert found is not None
    assert found.make_context(command, list(words)).params is not None


@pytest.mark.parametrize("name", OURS)
def test_ours_run_without_privilege(name: str) -> None:
    assert SERVICES[name]["user"] == "10001"
    assert SERVICES[name]["read_only"] is True


def test_secrets_are_demanded_by_name() -> None:
    text = str(COMPOSE)
    for secret in ("POSTGRES_PASSWORD", "VALKEY_PASSWORD", "FERRYMAN_API_TOKEN"):
        assert f"{secret}:?" in text


@pytest.mark.parametrize("name", sorted(set(SERVICES) - {"migrate"}))
def test_each_service_tells_whether_it_is_well(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"]


def test_a_worker_is_asked_by_a_command_of_ours() -> None:
    assert SERVICES["worker"]["healthcheck"]["test"] == ["CMD", "ferryman", "health"]
    assert main.get_command(click.Context(main), "health") is not None
