"""docs/examples: what they print and how they end, against a real API, worker and fake vendor.

`CHAOS=1` (as `make chaos` sets it) runs those of all languages.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest

from ferryman.testing import Sandbox
from tests.harness import Harness

EXAMPLES = Path(__file__).resolve().parents[2] / "docs/examples"
COMMANDS = {"charge.mjs": ("node",), "charge.sh": ("sh",)}
LANGUAGES = sorted(COMMANDS) if os.environ.get("CHAOS") == "1" else ["charge.sh"]
NEEDS = {"charge.mjs": "node", "charge.sh": "curl"}
TOKEN = "-".join(("the", "token"))
PAID, NOT_PAID, BAD_INPUT, NOT_KNOWN = range(4)


class Example:
    """One of the programs, in the environment of an application."""

    def __init__(self, name: str, url: str) -> None:
        self._command = (*COMMANDS[name], str(EXAMPLES / name))
        self._env = {"PATH": os.environ["PATH"], "FERRYMAN_API_TOKEN": TOKEN, "FERRYMAN_URL": url}

    def start(self, arguments: Sequence[str], **env: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*self._command, *arguments],
            env={**self._env, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *arguments: str, **env: str) -> tuple[int, str]:
        """Exit status, and what was printed."""
        with self.start(arguments, **env) as process:
            said, _ = process.communicate(timeout=60)
        return process.returncode, said


@pytest.fixture(params=LANGUAGES)
def name(request: pytest.FixtureRequest) -> str:
    wanted: str = request.param
    if shutil.which(NEEDS[wanted]) is None:
        pytest.skip(f"{NEEDS[wanted]} is not on this machine: docs/examples/{wanted} is not run")
    return wanted


def test_what_becomes_of_a_charge(name: str, harness: Harness, sandbox: Sandbox) -> None:
    harness.worker()
    example = Example(name, harness.api(TOKEN))
    _is_paid_once(example, harness)
    _is_declined(example)
    _waits_for_its_payer(example)
    assert sandbox.totals()["stripe"]["charge"] == 2


def _is_paid_once(example: Example, harness: Harness) -> None:
    order = ("order-1", "user-42", "1250", "usd", "pm_card_visa")
    status, said = example.run(*order)
    assert (status, said.startswith("succeeded: 1250 usd, charge ")) == (PAID, True), said
    assert example.run(*order) == (PAID, said)
    (job,) = harness.rows("SELECT id, key FROM ferryman.jobs")
    assert (str(job["id"]), job["key"]) == (said.split()[-1], "order-1")


def _is_declined(example: Example) -> None:
    status, said = example.run("order-2", "user-42", "1250", "usd", "pm_card_chargeDeclined")
    assert (status, said[:21]) == (NOT_PAID, "failed: card_declined"), said
    status, said = example.run("order-2", "user-42", "1250", "usd", "pm_card_visa")
    assert (status, "same arguments" in said) == (BAD_INPUT, True), said


def _waits_for_its_payer(example: Example) -> None:
    order = ("order-3", "user-42", "1250", "usd", "pm_card_threeDSecure2Required")
    with example.start(order) as process:
        assert process.stdout
        line = process.stdout.readline()
        assert line.startswith("the payer has to agree: http")
        # He clicks, agrees, and is sent back.
        page = httpx.get(line.split()[-1], trust_env=False)
        assert page.status_code in (302, 303)
        said, _ = process.communicate(timeout=60)
    assert (process.returncode, said[:10]) == (PAID, "succeeded:"), said


BAD = [
    (("order-1", "user-42", "0", "usd", "pm_card_visa"), "amount"),
    (("order-1", "user-42", "1250", "zzz", "pm_card_visa"), "currency"),
    (("order-1", "user-42"), "usage: "),
]


def test_what_is_not_taken_and_what_is_not_known_in_time(name: str, harness: Harness) -> None:
    """Nobody works, and then nobody answers."""
    example = Example(name, harness.api(TOKEN))
    for arguments, word in BAD:
        status, said = example.run(*arguments)
        assert (status, word in said) == (BAD_INPUT, True), said
    order = ("order-1", "user-42", "1250", "usd", "pm_card_visa")
    status, said = example.run(*order, FERRYMAN_API_TOKEN="another")
    assert (status, "not accepted" in said) == (BAD_INPUT, True), said
    assert harness.rows("SELECT FROM ferryman.jobs") == []
    status, said = example.run(*order, PATIENCE_SECONDS="2")
    assert (status, said[:8]) == (NOT_KNOWN, "waiting:"), said
    for process in harness.processes:
        harness.stop(process)
    status, said = example.run(*order, PATIENCE_SECONDS="1")
    assert (status, "did not answer in time" in said) == (NOT_KNOWN, True), said
