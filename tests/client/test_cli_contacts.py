"""`ferryman contacts`: a file becomes an upload and an import, whose end is waited for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import respx

from ferryman.cli import _batches
from tests.client.test_cli import ID, URL, assert_refused, run
from tests.client.test_cli_batch import BULK, batch, looks
from tests.client.test_cli_email import UPLOAD, sent, uploaded

CSV = "to,first_name,external_id\nada@example.com,Ada,7\nbob@example.com,,8\n"


@pytest.fixture(autouse=True)
def _api(use: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    use(FERRYMAN_URL=URL)
    monkeypatch.setattr(_batches, "FIRST_PAUSE", 0.0)


@pytest.fixture
def jobs(respx_mock: respx.MockRouter) -> respx.Route:
    """An API that takes any job."""
    answer = {**BULK, "kind": "bulk_contacts"}
    return respx_mock.post(f"{URL}/v1/jobs").respond(201, json=answer)


def test_the_file_goes_as_it_is_and_the_import_names_it(
    respx_mock: respx.MockRouter, jobs: respx.Route, tmp_path: Path
) -> None:
    uploads = uploaded(respx_mock)
    (tmp_path / "people.csv").write_text(CSV)

    result = run("contacts", "people.csv", "--key", "k", "--vendor", "salesforce", "--no-wait")

    assert (result.exit_code, result.stdout) == (0, f"{ID}\n"), result.stderr
    assert uploads.calls.last.request.content.decode() == CSV
    asked = sent(jobs)
    assert (asked["kind"], asked["args"]) == ("bulk_contacts", {"upload": UPLOAD})
    assert (asked["key"], asked["vendor"]) == ("k", "salesforce")


def test_json_lines(respx_mock: respx.MockRouter, jobs: respx.Route) -> None:
    uploads = uploaded(respx_mock)
    line = '{"to": "ada@example.com", "data": {"title": null}}\n'
    run("contacts", "-", "--format", "jsonl", "--no-wait", given=line)
    assert uploads.calls.last.request.headers["content-type"] == "application/x-ndjson"
    assert "vendor" not in sent(jobs)


@pytest.mark.parametrize(
    ("counts", "exit_code", "told"),
    [
        ({"sent": 2}, 0, ""),
        ({"sent": 1, "invalid": 1}, 0, f"who was set aside, and why: ferryman batch {ID}"),
        ({"sent": 1, "failed": 1}, 1, "who was set aside"),
        ({"invalid": 2}, 1, "nothing was sent: 2 invalid of 2"),
        ({"sent": 1, "unknown": 1}, 3, "of 1 it is unknown"),
    ],
)
@respx.mock
def test_it_waits_for_the_end(counts: dict[str, int], exit_code: int, told: str) -> None:
    uploaded(respx.mock)
    respx.post(f"{URL}/v1/jobs").respond(201, json=BULK)
    kind = {"kind": "bulk_contacts"}
    looks(batch("running", kind, waiting=2), batch("done", kind, **counts))

    result = run("contacts", "-", given=CSV)

    assert result.exit_code == exit_code, result.stderr
    assert told in result.stderr
    (title,) = [line for line in result.stdout.splitlines() if line.startswith("contacts")]
    assert title.split() == ["contacts", str(sum(counts.values()))]


def test_what_is_no_list(respx_mock: respx.MockRouter, tmp_path: Path) -> None:
    assert_refused(run("contacts", "people.txt"), "people.txt cannot be read")
    (tmp_path / "people.txt").write_text(CSV)
    assert_refused(run("contacts", "people.txt"), "--format: is needed")
    detail = "line 1: must name the columns, one of which is `to`"
    document = {"title": "T", "detail": detail, "errors": [{"field": "line 1", "message": detail}]}
    uploaded(respx_mock).respond(422, json=document)
    assert_refused(run("contacts", "-", given="email\n"), "standard input line 1: must name the")


def test_one_document_for_scripts(respx_mock: respx.MockRouter, jobs: respx.Route) -> None:
    uploaded(respx_mock)
    result = run("contacts", "-", "--no-wait", "--json", given=CSV)
    assert json.loads(result.stdout)["kind"] == "bulk_contacts"
