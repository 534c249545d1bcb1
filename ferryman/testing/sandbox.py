"""How do tests look into the sandbox? A small client, and a sandbox of one's own."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from ferryman._root import command, environment

START_SECONDS = 15


class Sandbox:
    """A running sandbox. What it cannot understand raises ValueError with its explanation."""

    def __init__(self, url: str, timeout: float = 10.0) -> None:
        self.url = url.rstrip("/")
        self._since = 0
        # A proxy of the environment has no part in traffic on loopback.
        self._http = httpx.Client(timeout=timeout, trust_env=False)

    def base_url(self, vendor: str) -> str:
        """What `<VENDOR>_BASE_URL` has to be."""
        return f"{self.url}/{vendor}"

    def health(self) -> dict[str, Any]:
        """`status`, `pid`, and the names of the `vendors`."""
        return dict(self._call("GET", "/health"))

    def environment(self) -> dict[str, str]:
        """The variables that point an application at the fakes, credentials included."""
        return dict(self._call("GET", "/environment"))

    def effects(
        self, vendor: str | None = None, kind: str | None = None, after: int | None = None
    ) -> list[dict[str, Any]]:
        """What took effect, oldest first; those with a `seq` above `after`, or since `begin`.

        Each has `seq`, `vendor`, `kind`, `reference` (the id the caller was told), `job` (which
        ferryman names as the cause), `at`, and the facts of its kind."""
        query = {"vendor": vendor, "kind": kind, "after": self._since if after is None else after}
        return list(self._call("GET", "/effects", query)["effects"])

    def totals(self) -> dict[str, dict[str, int]]:
        """How many effects of each kind each vendor has: `{"stripe": {"charge": 20}}`."""
        return dict(self._call("GET", "/effects/totals"))

    def tally(
        self, vendor: str | None = None, kind: str | None = None, after: int | None = None
    ) -> dict[str, int]:
        """How many `effects` there are, chosen as by `effects`, how many `addresses` they went to,
        and how many of these got more than one (`repeated`): of a million at a glance."""
        query = {"vendor": vendor, "kind": kind, "after": self._since if after is None else after}
        return dict(self._call("GET", "/effects/tally", query))

    def requests(self, vendor: str | None = None) -> list[dict[str, Any]]:
        """The last 10,000 requests, oldest first; `status` is None where no answer went out."""
        return list(self._call("GET", "/requests", {"vendor": vendor})["requests"])

    def traffic(self) -> dict[str, dict[str, Any]]:
        """Per vendor: `requests`, `throttled`, `peak_per_second`, `per_second` (the limit)."""
        return dict(self._call("GET", "/traffic"))

    def script(
        self, rules: Sequence[Mapping[str, Any]], *, append: bool = False
    ) -> list[dict[str, Any]]:
        """Installs a fault script in place of the one before (`[]`: no faults), or adds to it."""
        body = {"rules": [dict(rule) for rule in rules], "append": append}
        return list(self._call("POST", "/faults", body=body)["rules"])

    def faults(self) -> list[dict[str, Any]]:
        """The rules, each with how many requests it `matched` and how often it `fired`."""
        return list(self._call("GET", "/faults")["rules"])

    def limit(self, vendor: str, per_second: int | None) -> None:
        """Refuses what exceeds so many requests a second; None: no limit."""
        self._call("POST", "/limits", body={"vendor": vendor, "per_second": per_second})

    def dashboard(self, vendor: str, action: str, **arguments: Any) -> dict[str, Any]:
        """What a person would do in the vendor's web pages."""
        return dict(self._call("POST", f"/{vendor}/dashboard/{action}", body=arguments))

    def webhooks(
        self,
        vendor: str,
        url: str | None,
        *,
        duplicates: int = 1,
        shuffle: bool = False,
        hold: bool = False,
        delay: float = 0.0,
    ) -> None:
        """Sends the vendor's webhooks to `url` from now on, signed; None: to nobody. Each is sent
        `duplicates` times, in any order with `shuffle`, not before `release` with `hold`, `delay`
        seconds after its event, and again until it is answered by 2xx, for some seconds."""
        options = {"duplicates": duplicates, "shuffle": shuffle, "hold": hold, "delay": delay}
        self._call("POST", "/webhooks", body={"vendor": vendor, "url": url} | options)

    def deliveries(self, vendor: str | None = None) -> list[dict[str, Any]]:
        """The webhooks of the last 10,000 events that had a target: `vendor`, the event's `id` and
        `type`, the statuses of its `tries` (None: no answer), and whether it was `delivered`."""
        return list(self._call("GET", "/webhooks/deliveries", {"vendor": vendor})["deliveries"])

    def release(self, vendor: str) -> int:
        """Sends the webhooks that are held; how many those are."""
        return int(self._call("POST", "/webhooks/release", body={"vendor": vendor})["released"])

    def reset(self) -> None:
        """Forgets rows, effects, requests, faults, limits and webhooks."""
        self._since = 0
        self._call("DELETE", "")

    def begin(self) -> None:
        """Takes faults and limits away, sends webhooks once and at once to where they go, and
        shows this client later effects only. The vendors' rows stay, for an application that
        remembers them."""
        self.script([])
        for vendor in self.health()["vendors"]:
            self.limit(vendor, None)
            self._call("POST", "/webhooks", body={"vendor": vendor})
        self._since = sum(sum(kinds.values()) for kinds in self.totals().values())

    def wait_until_ready(self, seconds: float = START_SECONDS) -> None:
        """Raises TimeoutError if it does not answer in time."""
        end = time.monotonic() + seconds
        while True:
            with contextlib.suppress(httpx.TransportError):
                self.health()
                return
            if time.monotonic() > end:
                raise TimeoutError(f"no sandbox answers at {self.url}")
            time.sleep(0.02)

    def close(self) -> None:
        self._http.close()

    def _call(
        self, method: str, path: str, query: Mapping[str, Any] | None = None, body: Any = None
    ) -> Any:
        params = {name: value for name, value in (query or {}).items() if value is not None}
        answer = self._http.request(method, f"{self.url}/_sandbox{path}", params=params, json=body)
        if answer.status_code == 400:
            raise ValueError(answer.json()["error"])
        return answer.raise_for_status().json()


@contextlib.contextmanager
def running(
    *,
    port: int = 0,
    seed: int = 1,
    state: Path | None = None,
    faults: Path | None = None,
    folder: Path | None = None,
) -> Iterator[Sandbox]:
    """A sandbox in its own process, ready, on a free port unless told otherwise; `state` keeps
    its rows, `faults` is the script to begin with, `folder` has the files that applications read.
    It ends with this block, or with this process however that dies. Raises NotInstalled."""
    words = ["--port", str(port), "--seed", str(seed), "--until-eof"]
    for name, file in (("--state", state), ("--faults", faults), ("--folder", folder)):
        words += [] if file is None else [name, str(file.absolute())]
    process = subprocess.Popen(  # noqa: S603 - our own command
        command("-m", "sandbox", *words),
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield from _connected(process)
    finally:
        process.terminate()
        process.communicate()


def _connected(process: subprocess.Popen[str]) -> Iterator[Sandbox]:
    assert process.stdout is not None
    said = process.stdout.readline()
    if not said.startswith("sandbox: "):
        raise RuntimeError(f"the sandbox did not start: exit status {process.wait()}")
    sandbox = Sandbox(said.removeprefix("sandbox: ").strip())
    try:
        sandbox.wait_until_ready()
        yield sandbox
    finally:
        sandbox.close()
