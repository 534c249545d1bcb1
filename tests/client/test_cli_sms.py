"""`ferryman sms`: a file becomes an upload and a bulk of text messages."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import respx

from ferryman.cli import _batches
from tests.client.test_cli import ID, JOB, URL, assert_refused, run
from tests.client.test_cli_batch import batch, looks
from tests.client.test_cli_email import UPLOAD, sent, uploaded

BULK = {**JOB, "kind": "bulk_sms", "vendor": "twilio"}
BODY = ("--body", "We open at nine.")
NUMBERS = "to\n+441632960961\n"


@pytest.fixture(autouse=True)
def _api(use: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    use(FERRYMAN_URL=URL)
    monkeypatch.setattr(_batches, "FIRST_PAUSE", 0.0)


@respx.mock
def test_the_file_goes_as_it_is_and_its_job_names_it(tmp_path: Path) -> None:
    route = uploaded(respx.mock)
    jobs = respx.post(f"{URL}/v1/jobs").respond(201, json=BULK)
    (tmp_path / "n.csv").write_text(NUMBERS)
    (tmp_path / "t.txt").write_text("From a file")
    result = run("sms", "n.csv", *BODY, "--key", "k", "--run-at", "+1h", "--no-wait")
    assert (result.exit_code, result.stdout) == (0, f"{ID}\n"), result.stderr
    assert route.calls.last.request.content.decode() == NUMBERS
    assert sent(jobs)["args"] == {"body": "We open at nine.", "upload": UPLOAD}
    assert (sent(jobs)["key"], "run_at" in sent(jobs)) == ("k", True)
    result = run("sms", "-", "--body", "@t.txt", "--no-wait", "--json", given=NUMBERS)
    assert json.loads(result.stdout) == BULK
    assert sent(jobs)["args"]["body"] == "From a file"


@pytest.mark.parametrize(
    ("words", "given", "told"),
    [
        (BODY, "to,name\n+441632960961,Ada\n", "input line 2: column `name` is of no use"),
        (BODY, "name\nAda\n", "standard input line 1: "),
        (("--body", "x" * 1601), NUMBERS, "body: must have at most 1600 characters"),
        ((), NUMBERS, "--body"),
    ],
)
def test_bad_input(words: tuple[str, ...], given: str, told: str) -> None:
    assert_refused(run("sms", "-", *words, given=given), told)


@respx.mock
def test_the_end_of_the_batch_is_waited_for() -> None:
    uploaded(respx.mock)
    respx.post(f"{URL}/v1/jobs").respond(201, json=BULK)
    looks(batch("running", waiting=10), batch("done", sent=9, unknown=1))
    result = run("sms", "-", *BODY, given=NUMBERS)
    assert result.exit_code == 3
    assert "messages: done" in result.stderr


def test_help_teaches() -> None:
    text = " ".join(run("sms", "--help").stdout.split())
    for word in ("column `to`", "--key opening-2030-01", "Exit status", "opted out"):
        assert word in text
