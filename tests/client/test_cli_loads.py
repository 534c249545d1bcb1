"""Events and contacts from a file to their vendors, with a real worker, and back to the command
line: what came of each."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.client.test_cli import run
from tests.client.test_cli_path import _done
from tests.harness import ROOT, Harness, until

EVENTS = 300
TRIED = re.compile(r"^```sh\n(.*?)^```\n\n^```\n(.*?)^```", re.M | re.S)
AFTER = re.compile(r"^```sh\n(ferryman batch ID.*?)^```\n\n^```\n(.*?)^```", re.M | re.S)


@pytest.fixture
def town(harness: Harness, use: Callable[..., None]) -> Harness:
    """With accounts at all vendors, one worker, one API, and a command line that talks to it."""
    harness.env |= harness.sandbox.environment()
    use(FERRYMAN_URL=harness.api())
    harness.worker()
    return harness


def events() -> str:
    """A file in which line 17 is nobody's, as only the vendor's adapter can tell."""
    users = ["anonymous" if n == 17 else f"user-{n}" for n in range(1, EVENTS + 1)]
    lines = [json.dumps({"user": user, "event": "Signed in", "key": user}) for user in users]
    Path("events.jsonl").write_text("\n".join(lines))
    return "events.jsonl"


def test_from_the_command_line_to_the_vendors_and_back(town: Harness) -> None:
    """One worker for all: its start takes longer than the rest."""
    events_from_a_file(town)
    contacts_from_a_file(town)
    the_pages_tell_what_happens(town)
    a_daily_limit_is_told_and_nothing_is_asked_before_it_ends(town)


def events_from_a_file(town: Harness) -> None:
    result = run("track", events())

    assert result.exit_code == 1, result.stderr
    assert "line 17: failed, " in result.stderr
    assert len(town.sandbox.effects(vendor="mixpanel", kind="event")) == EVENTS - 1
    assert len(town.sandbox.requests("mixpanel")) <= 3
    # A second time changes nothing, and tells the same.
    assert run("track", "events.jsonl").exit_code == 1
    assert len(town.sandbox.effects(vendor="mixpanel", kind="event")) == EVENTS - 1


def contacts_from_a_file(town: Harness) -> None:
    rows = "to,first_name,colour\nada@example.com,Ada,\nbob@example.com,Bob,red\nnobody,N,\n"
    Path("people.csv").write_text(rows)
    result = run("contacts", "people.csv", "--json")

    assert result.exit_code == 0, result.stderr
    batch = json.loads(result.stdout)
    counts = {name: number for name, number in batch["counts"].items() if number}
    assert (batch["kind"], counts) == ("bulk_contacts", {"sent": 1, "invalid": 2})
    (contact,) = town.sandbox.effects(vendor="hubspot", kind="contact")
    assert contact["to"] == "ada@example.com"


def the_pages_tell_what_happens(town: Harness) -> None:
    """What docs/analytics.md and docs/crm.md print below their first commands."""
    for page, command in (("analytics", "track"), ("crm", "contacts")):
        script, printed = TRIED.findall((ROOT / f"docs/{page}.md").read_text())[0]
        assert f"ferryman {command}" in script
        done = _done(script.partition("activate\n")[2], town.folder, os.environ["FERRYMAN_URL"])
        said = _plain(done.stderr + done.stdout)
        for line in printed.splitlines():
            assert _plain(line) in said
    look, rows = AFTER.findall((ROOT / "docs/crm.md").read_text())[0]
    batch = done.stdout.split()[1]
    done = _done(look.replace("ID", batch), town.folder, os.environ["FERRYMAN_URL"])
    for line in rows.splitlines():
        assert line.rstrip("…") in done.stdout


def _plain(text: str) -> str:
    return " ".join(text.split())


def a_daily_limit_is_told_and_nothing_is_asked_before_it_ends(town: Harness) -> None:
    before = len(town.sandbox.requests("hubspot"))
    town.sandbox.dashboard("hubspot", "settings", daily=0)
    args = {"email": "ada@example.com", "fields": {"first_name": "Ada"}}
    first = town.enqueue("upsert_contact", args)
    reason = "SELECT ferryman.reason(jobs) AS reason FROM ferryman.jobs WHERE id = %s"
    limit = "hubspot's daily limit is reached, until 00:00 UTC"
    until(lambda: town.row(reason, (first,))["reason"] == limit, what="the limit is told")
    asked = len(town.sandbox.requests("hubspot"))
    assert asked == before + 1

    second = town.enqueue("upsert_contact", {**args, "email": "bob@example.com"})

    assert town.row(reason, (second,))["reason"] == limit
    shown = run("job", str(second))
    assert limit in shown.stdout
    assert len(town.sandbox.requests("hubspot")) == asked

    town.sandbox.dashboard("hubspot", "settings", daily=None)
    assert run("vendor", "resume", "hubspot", "--note", "more is bought").stdout == "hubspot: ok\n"
    assert town.all_ended([first, second]) == {"succeeded": 2}
