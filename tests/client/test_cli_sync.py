"""`ferryman sync`: what is asked, the bar, the plan, and how it ends."""

from __future__ import annotations

import json
import os
import pty
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx

from ferryman.cli import _follow, _sync_bar
from ferryman.cli._sync_bar import OBJECT_BYTES, Pace
from tests.client.conftest import read_all
from tests.client.test_cli import ID, JOB, URL, assert_refused, run

SYNC = {**JOB, "kind": "sync_objects", "batch_id": ID}
ENDS = ("s3://photos/2030", "gs://backup")
AT = "2030-01-31T09:00:00Z"


@pytest.fixture(autouse=True)
def _api(use: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    use(FERRYMAN_URL=URL)
    monkeypatch.setattr(_follow, "PAUSE_SECONDS", 0.0)


def batch(done: int, total: int, *, planned: bool = True, **told: Any) -> dict[str, Any]:
    """A sync of objects of a megabyte each."""
    objects = {
        **dict.fromkeys(("kept", "deleted", "refused", "failed"), 0),
        **{"copied": done, "waiting": total - done},
        **{"bytes": total * 1_000_000, "bytes_done": done * 1_000_000},
    }
    return {
        "id": ID,
        "kind": "sync_objects",
        "status": "running",
        "reason": None,
        "planned_at": AT if planned else None,
        "created_at": AT,
        "finished_at": None,
        "total": total,
        "counts": {"sent": done, "waiting": total - done, "sending": 0, "unknown": 0},
        "objects": objects | told.pop("objects", {}),
    } | told


def enqueued() -> respx.Route:
    return respx.post(f"{URL}/v1/jobs").respond(201, json=SYNC)


def jobs(*documents: dict[str, Any]) -> respx.Route:
    """How the job is at each look."""
    found = [httpx.Response(200, json={**SYNC, **document}) for document in documents]
    return respx.get(f"{URL}/v1/jobs/{ID}").mock(side_effect=found)


def batches(*documents: dict[str, Any]) -> respx.Route:
    found = [httpx.Response(200, json=document) for document in documents]
    return respx.get(f"{URL}/v1/batches/{ID}").mock(side_effect=found)


def args_of(route: respx.Route) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(route.calls.last.request.content)["args"]
    return found


@respx.mock
@pytest.mark.parametrize(
    ("words", "args"),
    [
        ((), {}),
        (("--include", "*.jpg", "--include", "b/**"), {"include": ["*.jpg", "b/**"]}),
        (("--exclude", "*.tmp"), {"exclude": ["*.tmp"]}),
        (("--delete", "--max-delete", "0"), {"delete": True, "max_delete": 0}),
        (("--delete", "--force"), {"delete": True, "force": True}),
        (("--checksum",), {"compare": "checksum"}),
        (("--size-only", "--dry-run"), {"compare": "size", "dry_run": True}),
        (("--bandwidth", "1.5M"), {"bandwidth": 1_500_000}),
        (("--bandwidth", "2048"), {"bandwidth": 2048}),
        (("--concurrency", "32"), {"concurrency": 32}),
        (
            ("--storage-class", "NEARLINE", "--encryption", "AES256"),
            {"storage_class": "NEARLINE", "encryption": "AES256"},
        ),
    ],
)
def test_each_option_is_an_argument(words: tuple[str, ...], args: dict[str, Any]) -> None:
    route = enqueued()
    result = run("sync", *ENDS, *words, "--no-wait")
    assert (result.exit_code, result.stdout) == (0, f"{ID}\n"), result.stderr
    assert args_of(route) == {"source": ENDS[0], "destination": ENDS[1], **args}


@pytest.mark.respx(assert_all_called=False)
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--checksum", "--size-only"), "one of --checksum, --size-only"),
        (("--bandwidth", "fast"), "bytes a second, such as 500k"),
        (("--bandwidth", "-1"), "bytes a second, such as 500k"),
        (("--max-delete", "101"), "0<=x<=100"),
        (("--max-delete", "5"), "max_delete: is of use only with `delete`"),
        (("--force",), "force: is of use only with `delete`"),
        (("--exclude", "[a"), "exclude.0: has a `[` without its `]`"),
        (("--concurrency", "0"), "1<=x<=64"),
    ],
)
def test_what_makes_no_sense_is_told_before_anything_is_stored(
    respx_mock: respx.MockRouter, words: tuple[str, ...], said: str
) -> None:
    route = respx_mock.post(f"{URL}/v1/jobs").respond(201, json=JOB)
    assert_refused(run("sync", *ENDS, *words), said)
    assert not route.called


@respx.mock
def test_a_dry_run_prints_the_plan() -> None:
    enqueued()
    jobs({"status": "succeeded", "result": {"copied": 2, "deleted": 1, "dry_run": True}})
    pages: list[list[tuple[Any, ...]]] = [
        [("copy", "a/large", 3_400_000_000, None), ("copy", "b\x9b31m", 12, None)],
        [("delete", "old one", 7, None), ("refuse", "x\\y", None, "it has a backslash")],
    ]
    names = ("action", "key", "size", "reason")
    found = [[dict(zip(names, row, strict=True)) for row in page] for page in pages]
    route = respx.get(f"{URL}/v1/batches/{ID}/objects").mock(
        side_effect=[
            httpx.Response(200, json={"objects": found[0], "next": "b"}),
            httpx.Response(200, json={"objects": found[1], "next": None}),
        ]
    )

    result = run("sync", *ENDS, "--delete", "--dry-run")

    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines()[:5] == [
        "copy a/large 3.4 GB",
        "copy b\\x9b31m 12 B",
        "delete old one",
        "refuse x\\y: it has a backslash",
        "succeeded",
    ]
    asked = [call.request.url.params.multi_items() for call in route.calls]
    assert asked[0][:3] == [("action", name) for name in ("copy", "delete", "refuse")]
    assert ("cursor", "b") in asked[1]


@respx.mock
def test_a_dry_run_as_a_document_says_where_its_plan_is() -> None:
    enqueued()
    jobs({"status": "succeeded", "result": {"copied": 2}})
    found = json.loads(run("sync", *ENDS, "--dry-run", "--json").stdout)
    assert found["plan_url"] == f"/v1/batches/{ID}/objects"
    assert found["result"] == {"copied": 2}


@respx.mock
def test_what_was_left_out_is_named() -> None:
    enqueued()
    objects = [{"key": "a\nb", "reason": "no"}, {"key": "c", "reason": "the vendor answered 400"}]
    error = {"code": "objects_failed", "message": "2 failed", "objects": objects}
    jobs({"status": "failed", "error": error})
    result = run("sync", *ENDS)
    assert result.exit_code == 1
    assert result.stdout == "failed objects_failed: 2 failed\n"
    assert "ferryman: a\\nb: no\n" in result.stderr
    assert "ferryman: c: the vendor answered 400\n" in result.stderr
    assert f"all of them: ferryman batch {ID} --objects\n" in result.stderr


@respx.mock
def test_an_api_may_be_away_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ferryman.cli._batches.LONGEST_PAUSE", 0.0)
    enqueued()
    done = httpx.Response(200, json={**SYNC, "status": "succeeded"})
    effects: list[Any] = [httpx.ConnectError("refused"), httpx.Response(503), done]
    respx.get(f"{URL}/v1/jobs/{ID}").mock(side_effect=effects)
    assert run("sync", *ENDS).exit_code == 0


def _interrupt(_: httpx.Request) -> httpx.Response:
    raise KeyboardInterrupt


@respx.mock
def test_who_stops_looking_is_told_how_to_look_again() -> None:
    enqueued()
    respx.get(f"{URL}/v1/jobs/{ID}").mock(side_effect=_interrupt)
    result = run("sync", *ENDS)
    assert result.exit_code == 130
    assert f"to look again: ferryman job {ID} --wait\n" in result.stderr


# --- the bar


@respx.mock
def test_the_bar_tells_objects_bytes_rate_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    moments = iter(range(0, 1000, 2))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(moments)))
    monkeypatch.setattr(time, "sleep", lambda _: None)
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        with _sync_bar._shown() as bar:
            assert bar is not None
            bar(SYNC, batch(0, 0, planned=False))
            bar({**SYNC, "status": "running"}, batch(10, 1000, planned=False))
            bar({**SYNC, "status": "waiting"}, batch(200, 1000))
            bar({**SYNC, "status": "waiting"}, batch(400, 1000))
        shown = read_all(ours)
    lines = [re.sub("\x1b.*?[a-zA-Z]", "", line).strip() for line in shown.split("\r")]
    assert any(line.startswith("sync: waiting") for line in lines)
    assert any("listing" in line and "10/1,000 objects" in line for line in lines)
    last = next(line for line in reversed(lines) if "400/1,000" in line)
    said = r"sync: copying .* 400/1,000 objects, 400\.0 MB/1\.0 GB, [0-9.]+ MB/s, 0:00:\d\d left .*"
    assert re.fullmatch(said, last), last


@respx.mock
def test_elsewhere_nothing_is_asked_for_the_bar() -> None:
    enqueued()
    jobs({"status": "running"}, {"status": "succeeded"})
    result = run("sync", *ENDS)
    assert (result.exit_code, result.stderr.count("\n")) == (0, 1)


def test_the_pace_is_that_of_the_last_seconds() -> None:
    pace = Pace()
    assert (pace.rates(), pace.left(1, 1)) == ((0.0, 0.0), None)
    pace.add(0, 0, 0)
    assert pace.rates() == (0.0, 0.0)
    pace.add(10, 1_000_000, 10)
    assert pace.rates() == (100_000.0, 1.0)
    # A pause of a minute, and on from there, twice as fast.
    for second in (70, 80, 90):
        pace.add(second, 1_000_000 + 200_000 * (second - 70), 10 + 2 * (second - 70))
    assert pace.rates() == (200_000.0, 2.0)
    assert pace.left(200_000 * 30, 0) == pytest.approx(200_000 * 30 / (200_000 + 2 * OBJECT_BYTES))
    # A part that was killed begins again, and has less done than before.
    pace.add(91, 500_000, 20)
    assert min(pace.rates()) >= 0


def test_small_objects_have_a_time_left_as_well() -> None:
    """Their bytes are nothing beside what each costs."""
    pace = Pace()
    pace.add(0, 0, 0)
    pace.add(10, 0, 1000)
    assert pace.left(0, 2000) == pytest.approx(20)


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (65_536, "65.5 kB"),
        (999_960, "1.0 MB"),
        (3_400_000_000, "3.4 GB"),
        (10**18, "1000.0 PB"),
    ],
)
def test_sizes_are_short(number: int, said: str) -> None:
    assert _sync_bar.size(number) == said


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (batch(0, 10, planned=False), "listing"),
        (batch(1, 10), "copying"),
        (batch(9, 10, objects={"deleted": 2}), "deleting"),
        (batch(10, 10), "finishing"),
        (batch(1, 10, status="paused", reason="too dear"), "paused: too dear"),
        (batch(0, 0, planned=False), "waiting (s3 is paused)"),
    ],
)
def test_what_it_is_about(found: dict[str, Any], said: str) -> None:
    assert _sync_bar.phase({"status": "waiting", "reason": "s3 is paused"}, found) == said


# --- its batch


@respx.mock
def test_its_batch_is_shown_in_objects_and_bytes() -> None:
    batches(batch(400, 1000, objects={"failed": 1, "waiting": 599}))
    lines = [line.split() for line in run("batch", ID).stdout.splitlines()]
    assert ["objects", "1,000"] in lines
    assert ["copied", "400", "40.0%"] in lines
    assert ["waiting", "599", "59.9%"] in lines
    assert ["bytes", "1,000,000,000"] in lines
    assert ["copied", "400,000,000", "40.0%"] in lines


@respx.mock
def test_what_a_dry_run_found_and_what_was_cancelled_is_counted_too() -> None:
    counts = {"sent": 4, "cancelled": 3, "waiting": 0, "unknown": 0}
    batches(batch(0, 10, status="done", counts=counts, objects={"waiting": 0, "kept": 3}))
    lines = [line.split()[:2] for line in run("batch", ID).stdout.splitlines()]
    assert lines[-5:-2] == [["kept", "3"], ["cancelled", "3"], ["planned", "4"]]


@respx.mock
@pytest.mark.parametrize(("status", "code"), [("succeeded", 0), ("failed", 1), ("cancelled", 1)])
def test_its_job_says_how_its_batch_has_ended(status: str, code: int) -> None:
    """Where nothing had to be copied all is well."""
    batches(batch(0, 9, status="done", objects={"kept": 8, "refused": 1, "waiting": 0}))
    jobs({"status": status, "error": {"code": "delete_limit", "message": "too many"}})
    result = run("batch", ID, "--wait")
    assert result.exit_code == code, result.stderr
    assert "delete_limit: too many" in result.stderr
    assert f"ferryman batch {ID} --objects" in result.stderr


@respx.mock
def test_what_was_left_out_as_csv(tmp_path: Path) -> None:
    csv = respx.get(f"{URL}/v1/batches/{ID}/objects").respond(
        headers={"content-type": "text/csv; charset=utf-8"}, content=b"key,reason\r\na,no\r\n"
    )
    result = run("batch", ID, "--objects", "-o", "left.csv")
    assert result.exit_code == 0, result.stderr
    assert (tmp_path / "left.csv").read_bytes() == b"key,reason\r\na,no\r\n"
    asked = csv.calls.last.request.url.params
    assert asked.get_list("outcome") == ["failed", "refused"]
    run("batch", ID, "--objects", "--outcome", "cancelled")
    assert csv.calls.last.request.url.params.get_list("outcome") == ["cancelled"]


def test_tables_are_asked_for_one_at_a_time() -> None:
    assert_refused(run("batch", ID, "--objects", "--recipients"), "give one of --pause")
    assert_refused(run("batch", ID, "--outcome", "failed"), "--outcome is about --objects")
    assert_refused(run("batch", ID, "--objects", "--wait"), "--wait goes with")
