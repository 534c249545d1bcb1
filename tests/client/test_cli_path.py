"""The newcomer's path of docs/email.md, line by line, with a real API, worker and fake vendor."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from ferryman.testing import Sandbox
from tests.harness import ROOT, Harness, until

BLOCK = re.compile(r"^```sh\n(.*?)^```", re.M | re.S)
KEY = "SENDGRID_WEBHOOK_PUBLIC_KEY"


def _blocks() -> list[str]:
    """Its shell commands, from the first list on."""
    text, _, _ = (ROOT / "docs/email.md").read_text().partition("## With the real SendGrid")
    up, send, *rest = BLOCK.findall(text)
    assert up == "make up\n"
    return [send.removeprefix("source .venv/bin/activate\n"), *rest]


def _done(script: str, folder: Path, url: str) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-e", "-c", script],
        check=False,
        cwd=folder,
        env={"PATH": path, "HOME": str(folder), "FERRYMAN_URL": url},
        capture_output=True,
        text=True,
    )


def _run(script: str, folder: Path, url: str) -> str:
    done = _done(script, folder, url)
    assert done.returncode == 0, done.stderr
    return " ".join(done.stdout.split())


def test_from_a_csv_to_delivered(harness: Harness, sandbox: Sandbox, tmp_path: Path) -> None:
    url = harness.api(**{KEY: sandbox.environment()[KEY]})
    harness.worker()
    sandbox.webhooks("sendgrid", f"{url}/webhooks/sendgrid")
    send, look, aside, suppressed, template = _blocks()

    said = _run(send, tmp_path, url)
    assert "recipients 5 sent 3 60.0% invalid 1 20.0% duplicate 1 20.0%" in said
    batch = said.split()[1]
    assert _run(send, tmp_path, url).split()[1] == batch
    assert len(sandbox.effects("sendgrid")) == 3

    look, aside = (re.sub(r"\bID\b", batch, block) for block in (look, aside))
    told = "sent 3 delivered 2 66.7% bounced 1 33.3%"
    until(lambda: told in _run(look, tmp_path, url), what="the vendor has told of all")
    _run(aside, tmp_path, url)
    lines = (tmp_path / "aside.csv").read_text().splitlines()
    assert [line[:24] for line in lines[1:]] == [
        "4,Ada@example.com,duplic",
        "5,nobody,invalid,to: mus",
    ]

    said = _run(suppressed, tmp_path, url)
    assert "email bounce-eve@example.com bounce sendgrid" in said
    assert "sent 2 40.0% suppressed 1 20.0%" in said
    assert _run("ferryman suppressions list", tmp_path, url) == ""

    assert "sent 2 100.0%" in _run(template, tmp_path, url)
    data = sandbox.effects("sendgrid")[-1]["data"]
    stamp = data.pop("timestamp")
    assert data == {"name": "Grace", "city": "New York", "shop": "Example"}
    assert stamp.endswith("Z")

    for given, told in (
        ("to\nbob@example.com\n", "the key already names a job with other arguments"),
        ("to\nbob@example.com\n\neve@example.com,Eve\n", "people.csv line 4: "),
    ):
        (tmp_path / "people.csv").write_text(given)
        again = _done(send.splitlines()[-1], tmp_path, url)
        assert (again.returncode, again.stdout) == (2, "")
        assert told in again.stderr.lower()
