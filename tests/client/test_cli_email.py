"""`ferryman email`: a CSV becomes a bulk mail, and its problems are told by their line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx

from tests.client.test_cli import ID, JOB, URL, assert_refused, run

MAIL = ("--subject", "Hello", "--text", "Hello {{ name }}")
BATCH = "0190b5f2-7a3c-7cc1-8a51-5d0b1f0e6a99"
BULK = {**JOB, "kind": "bulk_email"}


@pytest.fixture(autouse=True)
def _api(use: Callable[..., None]) -> None:
    use(FERRYMAN_URL=URL)


def batch(status: str, **counts: int) -> httpx.Response:
    document = {"id": BATCH, "status": status, "total": sum(counts.values())}
    counts = {"waiting": 0, "sending": 0, "unknown": 0, **counts}
    return httpx.Response(200, json={**document, "counts": counts})


def sent(route: respx.Route) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(route.calls.last.request.content)
    return found


@respx.mock
def test_columns_are_the_recipients_data(tmp_path: Path) -> None:
    rows = [
        "\ufeffname, to ,note",
        '"Lovelace, Ada",ada@example.com,"two\u2028\nlines"',
        "",
        "Eve,e,",
    ]
    (tmp_path / "r.csv").write_text("\r\n".join(rows), newline="")
    (tmp_path / "mail.txt").write_text("Hello")
    route = respx.post(f"{URL}/v1/jobs").respond(201, json=BULK)
    options = ("--subject", "Hello", "--text", "@mail.txt", "--data", '{"shop": "X"}')
    result = run("email", "r.csv", *options, "--key", "news", "--no-wait")
    assert (result.exit_code, result.stdout) == (0, f"{ID}\n")
    assert sent(route)["key"] == "news"
    assert sent(route)["args"] == {
        "subject": "Hello",
        "text": "Hello",
        "data": {"shop": "X"},
        "recipients": [
            {
                "to": "ada@example.com",
                "data": {"name": "Lovelace, Ada", "note": "two\u2028\nlines"},
            },
            {"to": "e", "data": {"name": "Eve", "note": ""}},
        ],
    }


@pytest.mark.respx(assert_all_called=False)
@pytest.mark.parametrize(
    ("csv", "told"),
    [
        ("", "line 1: the header must have a column `to`"),
        ("name;to\na;b\n", "line 1: the header must have a column `to`"),
        ("to\n", "line 2: there are no recipients"),
        ("to,\na,b\n", "line 1: each column must have a name"),
        ("to,n,n\na,b,c\n", "line 1: each column must have a name"),
        ('to,n\n"a\nb",c\nd\n', "line 4: 1 columns, where the header has 2"),
        ("to,n\na,b,c\n", "line 2: 3 columns"),
        ("to,n\na,b\n ,c\n", "line 3: column `to` must not be empty"),
        ('to,n\na,b\nc,"d\n', "line 3: unexpected end of data"),
        ("to,n\na,b\n" + "c" * 321 + ",d\n", "line 3: column `to` must have at most 320"),
        ("to,n\n\na,b\x00\n", "line 3: column `n` must not contain NUL"),
        ("to,n\n" + "a" * 140_000 + ",b\n", "line 2: field larger than"),
    ],
)
def test_problems_are_told_by_their_line(
    respx_mock: respx.MockRouter, csv: str, told: str, tmp_path: Path
) -> None:
    route = respx_mock.post(f"{URL}/v1/jobs").respond(201, json=BULK)
    (tmp_path / "r.csv").write_text(csv)
    assert_refused(run("email", "r.csv", *MAIL), f"r.csv {told}")
    assert_refused(run("email", "-", *MAIL, given=csv), f"standard input {told}")
    assert not route.called


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("gone.csv", *MAIL), "gone.csv cannot be read: No such file"),
        ((".", *MAIL), "cannot be read: Is a directory"),
        (("r.csv",), "template: is required, unless"),
        (("r.csv", "--text", "x"), "subject: is required"),
        (("r.csv", "--text", "@gone.txt"), "--text: gone.txt cannot be read"),
        (("r.csv", *MAIL, "--subject", "a\nBcc: b"), "subject: must not contain line breaks"),
        (("r.csv", *MAIL, "--sender", "x"), "sender: must be an e-mail address"),
        (("r.csv", *MAIL, "--data", "x"), "--data: is not JSON"),
        (("latin.csv", *MAIL), "latin.csv is not UTF-8"),
    ],
)
def test_other_bad_input(words: tuple[str, ...], told: str, tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("to\na@example.com\n")
    (tmp_path / "latin.csv").write_bytes(b"to,n\na,\xe4\n")
    assert_refused(run("email", *words), told)


@respx.mock
@pytest.mark.parametrize(
    ("end", "code"),
    [
        ({"sent": 8, "invalid": 1, "duplicate": 1}, 0),
        ({"sent": 9, "failed": 1}, 1),
        ({"sent": 9, "unknown": 1}, 3),
        ({"invalid": 9, "duplicate": 1}, 1),
        ({"suppressed": 10}, 1),
        ({"invalid": 9, "unknown": 1}, 3),
    ],
)
def test_all_recipients_are_waited_for(end: dict[str, int], code: int) -> None:
    respx.post(f"{URL}/v1/jobs").respond(201, json=BULK)
    jobs = [BULK, {**BULK, "batch_id": BATCH}, {**BULK, "batch_id": BATCH, "status": "running"}]
    respx.get(f"{URL}/v1/jobs/{ID}").mock(
        side_effect=[
            httpx.Response(200, json=job) for job in (jobs[0], jobs[0], *jobs[1:], jobs[2])
        ]
    )
    missing = httpx.Response(404, json={"type": "/problems/not-found", "title": "T", "status": 404})
    steps = [missing, batch("running", waiting=10), batch("running", waiting=1, sent=9)]
    respx.get(f"{URL}/v1/batches/{BATCH}").mock(side_effect=[*steps, batch("done", **end)])
    result = run("email", "-", *MAIL, given="to\na@example.com\n")
    assert result.exit_code == code
    assert "of 10\n" in result.stdout
    assert "10/10" in result.stderr
    aside = "ferryman.emails (recipient, status, reason) under batch_id " + BATCH
    assert (aside in result.stderr) == ("invalid" in end)
    nothing = "sent" not in end and "unknown" not in end
    counts = ", ".join(f"{number} {name}" for name, number in end.items())
    assert (f"nothing was sent: {counts} of 10\n" in result.stderr) == nothing


@respx.mock
def test_a_batch_that_was_never_made() -> None:
    respx.post(f"{URL}/v1/jobs").respond(201, json=BULK)
    failed = {**BULK, "status": "failed", "error": {"code": "expired", "message": "too late"}}
    respx.get(f"{URL}/v1/jobs/{ID}").respond(json=failed)
    result = run("email", "-", *MAIL, "--json", given="to\na@example.com\n")
    assert result.exit_code == 1
    assert json.loads(result.stdout) == failed
