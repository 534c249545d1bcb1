"""The command line: what it asks the API, what it prints, and how it ends."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import httpx
import pytest
import respx
from click.testing import CliRunner, Result

from ferryman import requests
from ferryman.cli import main
from tests.client.conftest import CHARGE

URL = "http://ferryman.test:8080"
ID = "0190b5f2-7a3c-7cc1-8a51-5d0b1f0e6a11"
JOB = {
    "id": ID,
    "kind": "charge",
    "vendor": "stripe",
    "status": "waiting",
    "reason": None,
    "attempts": 0,
    "result": None,
    "error": None,
    "created_at": "2030-01-01T00:00:00Z",
}
ERROR = {"code": "card_declined", "message": "the card\nwas declined", "type": "Refused"}


@pytest.fixture(autouse=True)
def _api(use: Callable[..., None]) -> None:
    use(FERRYMAN_URL=URL)


def run(*words: str, given: str | bytes | None = None) -> Result:
    return CliRunner().invoke(main, words, input=given)


def assert_refused(result: Result, *words: str) -> None:
    """Bad input: status 2, nothing on stdout, one line on stderr that says all the words."""
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("ferryman: ")
    assert result.stderr.count("\n") == 1
    for word in words:
        assert word in result.stderr


def answers(*statuses: str, **rest: Any) -> Sequence[httpx.Response]:
    return [httpx.Response(200, json={**JOB, **rest, "status": status}) for status in statuses]


@respx.mock
@pytest.mark.parametrize(
    ("words", "given"),
    [
        (("--args", json.dumps(CHARGE)), None),
        (("--args", "-"), json.dumps(CHARGE)),
        (("-",), "\ufeff" + json.dumps(CHARGE)),
    ],
)
def test_enqueue_prints_the_id_as_its_last_line(words: Sequence[str], given: str | None) -> None:
    route = respx.post(f"{URL}/v1/jobs").respond(201, json=JOB)
    result = run("enqueue", "charge", *words, "--key", "order-42", given=given)
    assert (result.exit_code, result.stdout) == (0, f"{ID}\n")
    sent = json.loads(route.calls.last.request.content)
    assert (sent["args"], sent["key"]) == (CHARGE, "order-42")


@respx.mock
def test_times_may_be_relative() -> None:
    route = respx.post(f"{URL}/v1/jobs").respond(201, json=JOB)
    times = ("--run-at", "+10m", "--expires-at", "2h", "--priority", "low")
    assert run("enqueue", "charge", "--args", json.dumps(CHARGE), *times).exit_code == 0
    sent = json.loads(route.calls.last.request.content)
    assert sent["run_at"] < sent["expires_at"]
    assert sent["priority"] == "low"


@respx.mock
@pytest.mark.parametrize(
    ("status", "code"), [("succeeded", 0), ("failed", 1), ("cancelled", 1), ("unknown", 3)]
)
def test_the_end_of_a_job_is_the_exit_status(status: str, code: int) -> None:
    respx.post(f"{URL}/v1/jobs").respond(201, json=JOB)
    respx.get(f"{URL}/v1/jobs/{ID}").mock(side_effect=answers("running", status, error=ERROR))
    result = run("enqueue", "charge", "--args", json.dumps(CHARGE), "--wait")
    assert result.exit_code == code
    assert result.stdout == f"{status} card_declined: the card was declined\n{ID}\n"


@respx.mock
@pytest.mark.parametrize(
    ("status", "code"),
    [("waiting", 0), ("running", 0), ("succeeded", 0), ("failed", 1), ("unknown", 3)],
)
def test_job_shows_one_document(status: str, code: int) -> None:
    respx.get(f"{URL}/v1/jobs/{ID}").mock(side_effect=answers(status))
    result = run("job", ID, "--json")
    assert result.exit_code == code
    assert json.loads(result.stdout) == {**JOB, "status": status}


@respx.mock
def test_job_for_people_leaves_out_what_says_nothing() -> None:
    respx.get(f"{URL}/v1/jobs/{ID}").mock(side_effect=answers("failed", error=ERROR))
    shown = dict(line.split(None, 1) for line in run("job", ID).stdout.splitlines())
    assert shown["status"] == "failed"
    assert json.loads(shown["error"]) == ERROR
    assert "reason" not in shown


@respx.mock
def test_jobs_is_a_table_with_a_line_each() -> None:
    found = [{**JOB, "status": "failed", "error": ERROR}, {**JOB, "reason": "stripe is paused"}]
    route = respx.get(f"{URL}/v1/jobs").respond(json={"jobs": found, "next": None})
    filters = ("--status", "failed", "--kind", "charge", "--vendor", "stripe", "--since", "2h")
    lines = run("jobs", *filters, "--batch", ID).stdout.splitlines()
    assert len(lines) == 3
    assert lines[1].endswith("card_declined: the card was declined")
    assert lines[2].endswith("stripe is paused")
    assert set(route.calls.last.request.url.params) == {
        "status",
        "kind",
        "vendor",
        "since",
        "batch",
        "limit",
    }
    assert json.loads(run("jobs", "--json").stdout) == {"jobs": found}


@pytest.mark.parametrize("since", ["yesterday", "-5m"])
def test_since_names_its_short_forms(since: str) -> None:
    assert_refused(run("jobs", "--since", since), "--since: must be a time", "10m, 2h, 7d")


def test_jobs_of_what_is_no_batch() -> None:
    assert_refused(run("jobs", "--batch", "nope"), "--batch: must be a UUID")


@respx.mock
def test_jobs_of_a_kind_that_does_not_exist() -> None:
    route = respx.get(f"{URL}/v1/jobs").respond(json={"jobs": [JOB], "next": None})
    assert run("jobs", "--kind", "bulk_email_part").exit_code == 0
    assert_refused(run("jobs", "--kind", "nosuch"), "--kind: must be one of", *requests.kinds())
    assert route.call_count == 1


@pytest.mark.respx(assert_all_called=False)
@pytest.mark.parametrize(
    ("words", "given", "told"),
    [
        (("charge",), None, "customer: is required"),
        (("charge", "--args", "{"), None, "--args: is not JSON: line 1, column 2"),
        (("charge", "-"), b"\xff", "--args: standard input is not UTF-8"),
        (("charge", "--args", "[]"), None, "must be a JSON object"),
        (("charge", "--args", '{"amount": NaN}'), None, "NaN and Infinity"),
        (("charge", "--args", '{"amount": 1, "amount": 2}'), None, "a name stands twice"),
        (("charge", "--args", "[" * 100_000), None, "JSON"),
        (("charge", "--args", f'{{"amount": {"1" * 5000}}}'), None, "--args: is not usable JSON"),
        (("charge", "--args", "{}", "-"), "{}", "not both"),
        (
            ("charge", "--args", json.dumps({**CHARGE, "amount": 12.5})),
            None,
            "amount: must be a whole number",
        ),
        (("nope", "--args", "{}"), None, "kind: must be one of"),
        (("charge", "--run-at", "tomorrow"), None, "run_at: must be a time with its zone"),
        (("charge", "--run-at", "tomorrow"), None, "or +10m, +2h, +7d from now"),
        (("charge", "--expires-at", "-5m"), None, "or +10m, +2h, +7d from now"),
        (("charge", "--timeout", "5"), None, "--timeout is about --wait"),
        (("charge", "--wait", "--timeout", "-1"), None, "--timeout"),
        (("charge", "--run-at", "999999999d"), None, "run_at: must be a time"),
        (("charge", "--what"), None, "No such option"),
        ((), None, "Missing argument 'KIND'"),
    ],
)
def test_bad_input_to_enqueue(
    respx_mock: respx.MockRouter, words: Sequence[str], given: Any, told: str
) -> None:
    route = respx_mock.post(f"{URL}/v1/jobs").respond(201, json=JOB)
    assert_refused(run("enqueue", *words, given=given), told)
    assert not route.called


@respx.mock
@pytest.mark.parametrize(
    ("status", "slug", "code", "told"),
    [
        (401, "unauthorized", 2, "FERRYMAN_API_TOKEN"),
        (409, "key-conflict", 2, "other arguments"),
        (409, "key-in-flight", 1, "open transaction"),
        (413, "too-large", 2, "detail of it"),
        (503, "ledger-down", 1, "detail of it"),
    ],
)
def test_refusals_of_the_api(status: int, slug: str, code: int, told: str) -> None:
    document = {
        "type": f"/problems/{slug}",
        "title": "T",
        "status": status,
        "detail": "detail\nof it",
    }
    respx.post(f"{URL}/v1/jobs").respond(status, json=document)
    result = run("enqueue", "charge", "--args", json.dumps(CHARGE))
    assert (result.exit_code, result.stdout) == (code, "")
    assert told in result.stderr
    assert result.stderr.count("\n") == 1


@respx.mock
def test_a_job_that_is_not_there() -> None:
    document = {"type": "/problems/not-found", "title": "T", "status": 404, "detail": "no such job"}
    respx.get(f"{URL}/v1/jobs/{ID}").respond(404, json=document)
    assert_refused(run("job", ID), "no such job")
    assert_refused(run("job", "nope"), "id: must be a UUID")
    assert_refused(run("job", ID, "--timeout", "5"), "--timeout is about --wait")


def test_without_any_setting_the_variable_is_named(use: Callable[..., None]) -> None:
    use(FERRYMAN_URL="")
    assert_refused(run("jobs"), "FERRYMAN_URL is not set", "ferryman up")
    use(FERRYMAN_ENV="production")
    assert_refused(run("jobs"), "FERRYMAN_URL is not set", "production needs it")


@respx.mock
def test_a_running_up_is_found_by_its_home(use: Callable[..., None], tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    state = {
        "pid": os.getpid(),
        "api_url": "http://127.0.0.1:8099",
        "database_url": "postgresql://",
    }
    (home / "up.json").write_text(json.dumps(state))
    use(FERRYMAN_URL="", FERRYMAN_HOME=str(home))
    respx.get("http://127.0.0.1:8099/v1/jobs").respond(json={"jobs": [JOB], "next": None})
    assert ID in run("jobs").stdout


@respx.mock
def test_sync_turns_paths_into_addresses(tmp_path: Path) -> None:
    (tmp_path / "photos of me").mkdir()
    route = respx.post(f"{URL}/v1/jobs").respond(201, json=JOB)
    respx.get(f"{URL}/v1/jobs/{ID}").mock(
        side_effect=answers("waiting", "succeeded", result={"copied": 300, "objects": []})
    )
    result = run("sync", "photos of me", "s3://backup/photos", "--delete")
    assert (result.exit_code, result.stdout) == (0, "succeeded\ncopied  300\n")
    assert json.loads(route.calls.last.request.content)["args"] == {
        "source": f"file://{tmp_path}/photos of me",
        "destination": "s3://backup/photos",
        "delete": True,
    }


@pytest.mark.respx(assert_all_called=False)
def test_a_missing_source_folder_is_told_before_anything_is_stored(
    respx_mock: respx.MockRouter, use: Callable[..., None], tmp_path: Path
) -> None:
    route = respx_mock.post("http://127.0.0.1:8099/v1/jobs").respond(201, json=JOB)
    use(FERRYMAN_URL="http://127.0.0.1:8099")
    gone = f"file://{tmp_path}/gone"
    args = json.dumps({"source": gone, "destination": "s3://backup"})
    for words in (("sync", "gone", "s3://backup"), ("enqueue", "sync_objects", "--args", args)):
        assert_refused(run(*words), "source: is not a folder on this machine")
    assert not route.called
    assert run("sync", "gone", "s3://backup", "--elsewhere", "--no-wait").exit_code == 0


@pytest.mark.respx(assert_all_called=False)
def test_sync_offers_what_a_vendor_can_do(respx_mock: respx.MockRouter) -> None:
    route = respx_mock.post(f"{URL}/v1/jobs").respond(201, json=JOB)
    for words in (("ftp://a", "s3://backup"), ("s3://backup", "gcs://a"), ("s3://a", "s3:/b")):
        refused = run("sync", *words)
        assert_refused(refused, "must be a folder, or begin with s3:// or gs://")
    assert {"s3://bucket/prefix", "gs://bucket/prefix"} <= set(run("sync", "--help").stdout.split())
    assert not route.called


def test_every_command_teaches_by_an_example() -> None:
    for name, command in main.commands.items():
        shown = run(name, "--help")
        assert shown.exit_code == 0
        assert "Example" in shown.stdout, name
        assert f"ferryman {name}" in shown.stdout.split("Example", 1)[1]
        options = [option for option in command.params if isinstance(option, click.Option)]
        assert all(option.help for option in options), name
