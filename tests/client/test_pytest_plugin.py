"""The pytest plugin, as another application's tests use it: in a process of their own."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from ferryman._root import root

DOCS = Path(__file__).resolve().parents[2] / "docs" / "sandbox.md"
SANDBOX = """
import httpx
import pytest


def pay(sandbox, key="order-1"):
    stripe = sandbox.environment()
    return httpx.post(
        stripe["STRIPE_BASE_URL"] + "/v1/payment_intents",
        data={"amount": 1250, "currency": "usd", "payment_method": "pm_card_visa",
              "confirm": "true", "metadata[job]": "job-1",
              "automatic_payment_methods[enabled]": "true",
              "automatic_payment_methods[allow_redirects]": "never"},
        headers={"Authorization": "Bearer " + stripe["STRIPE_SECRET_KEY"], "Idempotency-Key": key},
        trust_env=False,
    )


def test_an_answer_that_is_lost(ferryman_sandbox):
    ferryman_sandbox.script([{"vendor": "stripe", "do": "drop_after", "when": {"nth": [1]}}])
    with pytest.raises(httpx.RemoteProtocolError):
        pay(ferryman_sandbox)
    assert pay(ferryman_sandbox).headers["Idempotent-Replayed"] == "true"
    (effect,) = ferryman_sandbox.effects(vendor="stripe", kind="charge")
    assert (effect["job"], effect["amount"]) == ("job-1", 1250)


def test_each_test_begins_anew(ferryman_sandbox):
    assert ferryman_sandbox.effects() == ferryman_sandbox.faults() == []
    assert "Idempotent-Replayed" not in pay(ferryman_sandbox).headers


def test_a_day_later(ferryman_sandbox):
    pay(ferryman_sandbox)
    ferryman_sandbox.dashboard("stripe", "forget_keys")
    pay(ferryman_sandbox)
    assert ferryman_sandbox.totals() == {"stripe": {"charge": 2}}
"""
# Runs after the examples of the documentation, in the same session.
LATER = """
import os

import ferryman


def test_each_sees_its_own_effects_only(ferryman_up):
    assert ferryman_up.sandbox.effects() == ferryman_up.sandbox.faults() == []
    assert os.environ["STRIPE_SECRET_KEY"] != "a real one"
    job = ferryman.enqueue("charge", customer="user-42", amount=1250, currency="usd",
                           payment_method="pm_card_visa", key="order-43")
    job.wait(30)
    assert [effect["job"] for effect in ferryman_up.sandbox.effects()] == [str(job.id)]
"""


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """Runs tests as an application's: with the plugin named, and no other found by itself."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("STRIPE_SECRET_KEY", "a real one")
    pytester.plugins = ["ferryman.testing.plugin"]
    return pytester


def passed(run: pytest.Pytester, tests: int) -> None:
    run.runpytest_subprocess("-q", "-p", "no:cacheprovider").assert_outcomes(passed=tests)


def test_ferryman_sandbox(run: pytest.Pytester) -> None:
    run.makepyfile(SANDBOX)
    passed(run, 3)


def test_ferryman_up_and_the_examples_of_the_documentation(run: pytest.Pytester) -> None:
    _, *examples = DOCS.read_text().split("```python\n")
    for number, example in enumerate(examples):
        run.makepyfile(**{f"test_{number}": example.partition("```")[0]})
    run.makepyfile(test_later=LATER)
    passed(run, len(examples) + 1)


def test_pytest_finds_it_by_its_entry_point() -> None:
    project = tomllib.loads((root() / "pyproject.toml").read_text())["project"]

    assert project["entry-points"]["pytest11"] == {"ferryman": "ferryman.testing.plugin"}


def test_it_costs_nothing_to_load() -> None:
    code = (
        "import sys, ferryman.testing.plugin;"
        "print(*({'httpx', 'pydantic', 'click', 'sandbox', 'psycopg'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.split() == []


def test_it_says_what_to_install(run: pytest.Pytester) -> None:
    run.makeconftest("import ferryman._root\nferryman._root.find_spec = lambda name: None")
    run.makepyfile("def test_it(ferryman_sandbox): pass")

    result = run.runpytest_subprocess("-q")

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines("*pip install 'ferryman?service?'")
