"""`python -m api`: says where it listens, refuses what is dangerous, ends orderly."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from api.__main__ import Server, main
from ferryman.settings import settings
from tests.api.conftest import NOWHERE

ROOT = Path(__file__).resolve().parents[2]
CANARY = "canary-4711"
LIVE_KEY = "_".join(("sk", "live", CANARY))


def environment(database: str, **changes: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return kept | {
        "PYTHONPATH": str(ROOT),
        "FERRYMAN_DATABASE_URL": database,
        "FERRYMAN_BROKER_URL": f"redis://{NOWHERE}/0",
        **changes,
    }


@contextmanager
def running(
    folder: Path, database: str, **changes: str
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process and the address that it names."""
    process = subprocess.Popen(
        [sys.executable, "-m", "api", "--port", "0"],
        env=environment(database, **changes),
        cwd=folder,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr
    try:
        line = process.stderr.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+", line)
        assert found, line + process.stderr.read()
        yield process, found[0]
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def test_from_start_to_an_orderly_end(emptied: str, tmp_path: Path) -> None:
    with running(tmp_path, emptied) as (process, url), httpx.Client(base_url=url) as client:
        assert process.stderr
        assert "FERRYMAN_API_TOKEN is not set" in process.stderr.readline()
        args = {"to": f"{CANARY}@example.com", "subject": CANARY, "text": CANARY}
        body = {"kind": "send_email", "args": args, "key": CANARY}
        job_id = client.post("/v1/jobs", json=body).json()["id"]
        assert client.post("/v1/jobs", json=body).status_code == 200
        assert client.get(f"/v1/jobs?key={CANARY}").json()["jobs"][0]["id"] == job_id
        too_large = client.post("/v1/jobs", json={"kind": "charge", "args": {"a": "x" * 2_000_000}})
        assert too_large.status_code == 413
        assert stopped_while_waiting(process, f"{url}/v1/jobs/{job_id}?wait=60") == "waiting"
        assert process.wait(timeout=10) == 0
        assert CANARY not in process.stderr.read()


def stopped_while_waiting(process: subprocess.Popen[str], url: str) -> str:
    """Send SIGTERM in the middle of a long poll; the status that the poll brings nevertheless."""
    host, _, port = url.removeprefix("http://").partition("/")[0].partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as line:
        line.sendall(f"GET {url} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        answer = line.makefile().read()
    found = re.search(r'"status":"(\w+)"', answer)
    return found[1] if found else answer


def test_it_starts_without_a_ledger_and_says_nothing_of_it(tmp_path: Path) -> None:
    database = f"postgresql://{CANARY}@{NOWHERE}/{CANARY}"
    with running(tmp_path, database, FERRYMAN_API_TOKEN=CANARY) as (process, url):
        headers = {"Authorization": f"Bearer {CANARY}"}
        assert httpx.get(f"{url}/healthz").status_code == 200
        assert httpx.get(f"{url}/readyz").status_code == 503
        assert httpx.get(f"{url}/v1/jobs", headers=headers).status_code == 503
        process.terminate()
        assert process.wait(timeout=10) == 0
        assert process.stderr
        assert CANARY not in process.stderr.read()


@pytest.fixture
def start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., tuple[int, str]]]:
    """`main` with an environment, without serving: its exit status, and what it says."""

    def started(*arguments: str, **env: str) -> tuple[int, str]:
        for name, value in environment(f"postgresql://{NOWHERE}/x", **env).items():
            monkeypatch.setenv(name, value)
        settings.cache_clear()
        status = main(["--port", "0", *arguments])
        said = capfd.readouterr().err
        assert CANARY not in said
        return status, said

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Server, "run", lambda self, sockets: sockets[0].close())
    yield started
    settings.cache_clear()


Start = Callable[..., tuple[int, str]]


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_other_machines_are_served_with_a_token_only(start: Start, host: str) -> None:
    status, said = start("--host", host)
    assert status == 2
    assert "FERRYMAN_API_TOKEN" in said
    assert start("--host", "0.0.0.0", FERRYMAN_API_TOKEN=CANARY)[0] == 0


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"STRIPE_SECRET_KEY": LIVE_KEY}, "STRIPE_SECRET_KEY"),
        ({"FERRYMAN_DATABASE_URL": ""}, "FERRYMAN_DATABASE_URL"),
        ({"FERRYMAN_DATABASE_URL": f"mysql://{CANARY}"}, "FERRYMAN_DATABASE_URL"),
        ({"FERRYMAN_DATABASE_URL": f"postgresql://{NOWHERE}/x?ssl=no"}, "FERRYMAN_DATABASE_URL"),
        ({"FERRYMAN_DATABASE_POOL": CANARY}, "FERRYMAN_DATABASE_POOL"),
    ],
)
def test_a_bad_setting_is_named(start: Start, changes: dict[str, str], name: str) -> None:
    status, said = start(**changes)
    assert status == 2
    assert name in said


def test_live_keys_are_taken_in_production(start: Start) -> None:
    assert start(STRIPE_SECRET_KEY=LIVE_KEY, FERRYMAN_ENV="production")[0] == 0


def test_a_missing_broker_is_no_reason_not_to_start(start: Start) -> None:
    assert start(FERRYMAN_BROKER_URL="")[0] == 0


def test_a_port_in_use_is_said(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        status, said = start("--port", port)
    assert status == 1
    assert f"port {port}" in said
    assert "give another --port" in said
