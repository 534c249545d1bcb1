"""What outlives a kill, what a reset forgets, what a seed repeats."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlencode

import httpx
import pytest

from ferryman.testing import Sandbox, running
from sandbox.state import State, fakes
from tests.harness import ROOT, STRIPE_KEY, until
from tests.sandbox.conftest import FORM, Direct, payment

INTENTS = "/v1/payment_intents"


def pay(sandbox: Sandbox, key: str) -> httpx.Response:
    return httpx.post(
        f"{sandbox.base_url('stripe')}{INTENTS}",
        content=urlencode(payment()),
        headers={
            "Authorization": f"Bearer {STRIPE_KEY}",
            "Content-Type": FORM,
            "Idempotency-Key": key,
        },
        trust_env=False,
    )


def test_rows_keys_and_effects_outlive_a_kill(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    with running(state=file) as sandbox:
        first = pay(sandbox, "k-1")
        os.kill(sandbox_pid(sandbox), signal.SIGKILL)
    with file.open("ab") as torn:
        torn.write(b'{"table":"effe')

    with running(state=file) as sandbox:
        again, other = pay(sandbox, "k-1"), pay(sandbox, "k-2")
        effects = sandbox.effects()

    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.content == first.content
    assert [effect["seq"] for effect in effects] == [1, 2]
    assert {effect["reference"] for effect in effects} == {
        first.json()["id"],
        other.json()["id"],
    }
    assert all(json.loads(line) for line in file.open())


def sandbox_pid(sandbox: Sandbox) -> int:
    return int(sandbox.health()["pid"])


def test_a_later_process_goes_on_where_the_earlier_one_ended(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    headers = {"authorization": f"Bearer {STRIPE_KEY}"}
    before = State(1, file)
    old = Direct(before.vendors["stripe"], headers)
    intent = old.form("POST", INTENTS, payment())[1]["id"]
    old.form("POST", "/v1/refunds", {"payment_intent": intent, "amount": 1000})
    before.journal.flush()

    new = Direct(State(1, file).vendors["stripe"], headers)

    assert new.form("POST", INTENTS, payment())[1]["id"] != intent
    assert new.form("POST", "/v1/refunds", {"payment_intent": intent, "amount": 251})[0] == 400
    assert new.form("POST", "/v1/refunds", {"payment_intent": intent, "amount": 250})[0] == 200


def test_a_reset_forgets_everything_on_disk_too(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    with running(state=file) as sandbox:
        pay(sandbox, "k-1")
        sandbox.script([{"do": "drop_after"}])
        sandbox.limit("stripe", 1)
        assert file.stat().st_size > 0

        sandbox.reset()

        assert file.stat().st_size == 0
        assert (sandbox.effects(), sandbox.requests(), sandbox.faults()) == ([], [], [])
        assert "Idempotent-Replayed" not in pay(sandbox, "k-1").headers
        assert pay(sandbox, "k-2").status_code == 200


def test_the_same_seed_gives_the_same_ids() -> None:
    def ids(seed: int) -> list[str]:
        direct = Direct(
            State(seed, None).vendors["stripe"], {"authorization": f"Bearer {STRIPE_KEY}"}
        )
        return [direct.form("POST", INTENTS, payment())[1]["id"] for _ in range(3)]

    assert ids(1) == ids(1)
    assert not set(ids(1)) & set(ids(2))


def test_vendors_are_found_by_name() -> None:
    assert set(fakes()) >= {"stripe", "sendgrid"}
    assert all(fake.name == name for name, fake in fakes().items())


def test_a_taken_port_says_what_to_do(sandbox: Sandbox) -> None:
    port = sandbox.url.rpartition(":")[2]
    ended = subprocess.run(
        [sys.executable, "-m", "sandbox", "--port", port],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=20,
    )

    assert ended.returncode == 1
    assert "--port 0 takes a free one" in ended.stderr


def began(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    """A sandbox with a fault script of its own, which ends as soon as it has begun."""
    (folder / "faults.json").write_text(script)
    words = ("--port", "0", "--faults", str(folder / "faults.json"), "--until-eof")
    return subprocess.run(
        [sys.executable, "-m", "sandbox", *words],
        check=False,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=20,
    )


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        ('[{"do": "explode"}]', "rule 1: do: one of"),
        ('{"rules": 5}', "a list of rules is expected"),
        ("[{", "unexpected end of data"),
    ],
)
def test_a_script_at_the_start_is_checked(tmp_path: Path, script: str, complaint: str) -> None:
    ended = began(tmp_path, script)

    assert ended.returncode == 1
    assert "faults.json: " in ended.stderr
    assert complaint in ended.stderr


@pytest.mark.parametrize("whole", [True, False])
def test_a_script_at_the_start_is_in_force(tmp_path: Path, whole: bool) -> None:
    rules = [{"do": "status", "status": 503}]
    file = tmp_path / "faults.json"
    file.write_text(json.dumps({"rules": rules} if whole else rules))
    with running(faults=file) as sandbox:
        assert pay(sandbox, "k-1").status_code == 503
        assert sandbox.faults() == [rules[0] | {"matched": 1, "fired": 1}]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_in_order_even_while_it_is_silent(number: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "sandbox", "--port", "0"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    sandbox = Sandbox(process.stdout.readline().removeprefix("sandbox: ").strip())
    sandbox.script([{"do": "silent_before"}])
    with httpx.Client(trust_env=False) as client, pytest.raises(httpx.ReadTimeout):
        client.get(f"{sandbox.base_url('stripe')}/v1/balance", timeout=0.1)

    process.send_signal(number)

    assert process.wait(timeout=10) == 0
    process.stdout.close()
    sandbox.close()


def test_it_ends_with_its_parent() -> None:
    code = (
        "import os, signal; from ferryman.testing import running\n"
        "with running() as sandbox:\n"
        "    print(sandbox.url, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    parent = subprocess.run(
        [sys.executable, "-c", code], check=False, cwd=ROOT, capture_output=True, text=True
    )
    url = parent.stdout.strip()

    def gone() -> bool:
        try:
            httpx.get(f"{url}/_sandbox/health", trust_env=False)
        except httpx.TransportError:
            return True
        return False

    assert url.startswith("http://127.0.0.1:")
    until(gone)
