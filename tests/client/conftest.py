"""Each test begins without any setting, in an empty folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from ferryman.settings import settings

CHARGE = {
    "customer": "user-42",
    "amount": 1250,
    "currency": "usd",
    "payment_method": "pm_card_visa",
}


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    for name in [name for name in os.environ if name.startswith("FERRYMAN_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`use(FERRYMAN_URL=…)`: from here on the settings are these."""

    def change(**variables: str) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        settings.cache_clear()

    return change


def read_all(terminal: int) -> str:
    """What has been written to it; it gives no more than some thousand bytes at once."""
    found = b""
    with suppress(BlockingIOError):
        os.set_blocking(terminal, False)
        while piece := os.read(terminal, 1_000_000):
            found += piece
    os.close(terminal)
    return found.decode()
