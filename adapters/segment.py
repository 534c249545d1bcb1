"""Segment: events and people. Facts:
https://segment.com/docs/connections/sources/catalog/libraries/server/http-api/"""

from __future__ import annotations

import base64
from collections.abc import Sequence

from adapters import _base
from adapters import _segment as words
from adapters._analytics import Happening, Person
from adapters._base import Call, Repeat, Request
from adapters._records import STEP, Outcome, Record, packed

KEY = "SEGMENT_WRITE_KEY"
HEADERS = {
    "Content-Type": "application/json",
    "Accept": "application/json",
    "Content-Encoding": "gzip",
}


class Adapter(_base.Adapter):
    vendor = "segment"
    base_url = "https://api.segment.io"
    base_url_variable = "SEGMENT_BASE_URL"
    secrets = (KEY,)

    def event(self, one: Happening) -> Record:
        return words.event(one)

    def person(self, one: Person) -> Record:
        return words.person(one)

    async def track(self, call: Call, records: Sequence[Record], *, step: str = STEP) -> Outcome:
        return await self._send(call, records, step)

    async def identify(self, call: Call, records: Sequence[Record], *, step: str = STEP) -> Outcome:
        return await self._send(call, records, step)

    async def _send(self, call: Call, records: Sequence[Record], step: str) -> Outcome:
        """Segment drops a `messageId` that it has had within a day."""
        basic = base64.b64encode(f"{self.secret(KEY)}:".encode()).decode()
        # No `sentAt`: it would move every time by what a repeat is late.
        body = packed([record.body for record in records], b'{"batch":[', b"]}")
        answer = await call.write(
            step,
            Request("POST", f"{self.address()}/v1/batch", HEADERS, body, opaque=True),
            key=call.key(step),
            repeat=Repeat.KEY,
            credentials={"Authorization": f"Basic {basic}"},
        )
        return await words.taken(call, step, answer)
