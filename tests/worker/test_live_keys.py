"""Live keys outside production keep both processes from starting; test keys within are told of."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from adapters._base import adapter
from adapters._live import LiveKey, check_keys
from ferryman.policies import policies

ROOT = Path(__file__).resolve().parents[2]
# Joined, so that no key-shaped string stands in the tree.
CANARY = "canary-4711"
LIVE = "_".join(("sk", "live", CANARY))
RESTRICTED = "_".join(("rk", "live", CANARY))
TRIAL = "_".join(("sk", "test", CANARY))
PROCESSES = ["worker", "api", "celery -A worker worker"]
PAYPAL_LIVE = {"PAYPAL_CLIENT_ID": CANARY, "PAYPAL_CLIENT_SECRET": CANARY}
PAYPAL_SANDBOX = {**PAYPAL_LIVE, "PAYPAL_BASE_URL": "https://api-m.sandbox.paypal.com"}


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for vendor in policies():
        for name in (*adapter(vendor).secrets, adapter(vendor).base_url_variable):
            monkeypatch.delenv(name, raising=False)


def started(process: str, folder: Path, **changes: str) -> tuple[int, str]:
    """The exit status, and all that is said."""
    done = subprocess.run(
        [sys.executable, "-m", *process.split()],
        env={
            **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
            "PYTHONPATH": str(ROOT),
            "FERRYMAN_DATABASE_URL": "postgresql://127.0.0.1:1/none",
            "FERRYMAN_BROKER_URL": "redis://127.0.0.1:1/0",
            **changes,
        },
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=30,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize("process", PROCESSES)
def test_a_live_key_keeps_a_process_from_starting(process: str, tmp_path: Path) -> None:
    status, said = started(process, tmp_path, STRIPE_SECRET_KEY=LIVE)

    assert status == 2, said
    assert "STRIPE_SECRET_KEY is live" in said
    assert "FERRYMAN_ENV=production" in said
    assert CANARY not in said
    assert "Traceback" not in said


@pytest.mark.parametrize("process", PROCESSES)
def test_a_secret_may_stand_in_an_env_file(process: str, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"STRIPE_SECRET_KEY={LIVE}\n")

    status, said = started(process, tmp_path)

    assert (status, "STRIPE_SECRET_KEY is live" in said) == (2, True), said


@pytest.mark.parametrize(
    ("environment", "variable", "advice"),
    [
        ({"STRIPE_SECRET_KEY": LIVE}, "STRIPE_SECRET_KEY", "use a test key"),
        ({"STRIPE_SECRET_KEY": RESTRICTED}, "STRIPE_SECRET_KEY", "use a test key"),
        (PAYPAL_LIVE, "PAYPAL_CLIENT_ID", "PAYPAL_BASE_URL=https://api-m.sandbox.paypal.com"),
        (
            {**PAYPAL_LIVE, "PAYPAL_BASE_URL": "https://API-m.PayPal.com:443/"},
            "PAYPAL_CLIENT_ID",
            "PAYPAL_BASE_URL=https://api-m.sandbox.paypal.com",
        ),
    ],
)
def test_what_is_live_is_named_with_what_to_do(
    environment: dict[str, str], variable: str, advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(LiveKey, match=variable) as raised:
        check_keys(production=False)

    assert advice in str(raised.value)
    assert CANARY not in str(raised.value)
    check_keys(production=True)


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"STRIPE_SECRET_KEY": ""},
        {"STRIPE_SECRET_KEY": TRIAL},
        PAYPAL_SANDBOX,
        {**PAYPAL_LIVE, "PAYPAL_BASE_URL": "http://127.0.0.1:8090/paypal"},
        {"PAYPAL_CLIENT_SECRET": CANARY},
    ],
)
def test_what_is_not_live_may_be_used(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    check_keys(production=False)


@pytest.mark.parametrize(
    ("environment", "variable"),
    [({"STRIPE_SECRET_KEY": TRIAL}, "STRIPE_SECRET_KEY"), (PAYPAL_SANDBOX, "PAYPAL_CLIENT_ID")],
)
def test_a_test_key_in_production_is_only_told_of(
    environment: dict[str, str],
    variable: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with caplog.at_level(logging.WARNING):
        check_keys(production=True)
        check_keys(production=False)

    (record,) = caplog.records
    assert variable in record.getMessage()
    assert CANARY not in record.getMessage()
