"""Mixpanel: events and people. Facts: https://docs.mixpanel.com/reference/import-events and
https://docs.mixpanel.com/reference/profile-batch-update"""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence

from adapters import _base
from adapters import _mixpanel as words
from adapters._analytics import Happening, Person
from adapters._base import Call, Misconfigured, Repeat, Request
from adapters._records import STEP, Outcome, Record, packed

ACCOUNT, SECRET = "MIXPANEL_SERVICE_ACCOUNT", "MIXPANEL_SERVICE_SECRET"
TOKEN, PROJECT = "MIXPANEL_PROJECT_TOKEN", "MIXPANEL_PROJECT_ID"
JSON = {"Content-Type": "application/json", "Accept": "application/json"}


class Adapter(_base.Adapter):
    vendor = "mixpanel"
    base_url = "https://api.mixpanel.com"
    base_url_variable = "MIXPANEL_BASE_URL"
    secrets = (ACCOUNT, SECRET, TOKEN)

    def configured(self) -> bool:
        return super().configured() and bool(os.environ.get(PROJECT))

    def event(self, one: Happening) -> Record:
        return words.event(one)

    def person(self, one: Person) -> Record:
        return words.person(one)

    async def track(self, call: Call, records: Sequence[Record], *, step: str = STEP) -> Outcome:
        """An event with the same `$insert_id`, name, time and user is the same event there: it may
        be sent again at any time."""
        credentials = self._service_account()
        url = f"{self.address()}/import?strict=1&project_id={self._project()}"
        body = packed([record.body for record in records])
        headers = {**JSON, "Content-Encoding": "gzip"}
        answer = await call.write(
            step,
            Request("POST", url, headers, body, opaque=True),
            key=call.key(step),
            repeat=Repeat.NATURAL,
            credentials=credentials,
        )
        return words.imported(call, step, answer, records)

    async def identify(self, call: Call, records: Sequence[Record], *, step: str = STEP) -> Outcome:
        """Only `$set`, which may be repeated: what adds or appends would count twice."""
        self._service_account()
        # Each record names the project by its token, which takes its place on the way out only.
        # This endpoint takes nothing compressed.
        body = b"[" + b",".join(record.body for record in records) + b"]"
        answer = await call.write(
            step,
            Request("POST", f"{self.address()}/engage?verbose=1&ip=0", JSON, body, opaque=True),
            key=call.key(step),
            repeat=Repeat.NATURAL,
            credentials={words.PLACE: self.secret(TOKEN)},
        )
        return words.engaged(call, step, answer)

    def _service_account(self) -> dict[str, str]:
        both = f"{self.secret(ACCOUNT)}:{self.secret(SECRET)}".encode()
        return {"Authorization": f"Basic {base64.b64encode(both).decode()}"}

    def _project(self) -> str:
        project = os.environ.get(PROJECT, "")
        if not (project.isascii() and project.isdigit()):
            raise Misconfigured(f"{PROJECT} is not set to a number", code="credentials_missing")
        return project
