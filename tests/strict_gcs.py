"""Cloud Storage, as strict as it is known to be where the fakes are lax: conditions on every write,
sessions that can be asked, continued, cancelled and lost, copies in several steps.

Facts: https://cloud.google.com/storage/docs/performing-resumable-uploads and, of conditions,
https://cloud.google.com/storage/docs/request-preconditions. Where FERRYMAN_CONTRACTS names the
published contracts, each request is held against Google's own description of it.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote
from uuid import uuid4

from aiohttp import web

from tests.strict_objects import Json, Objects, Says, agrees, is_as

STEP = 256 * 1024
OBJECT = re.compile(r"/storage/v1/b/(?P<bucket>[^/]+)/o/(?P<key>[^/]+)")
COPY = re.compile(OBJECT.pattern + r"/rewriteTo/b/(?P<to>[^/]+)/o/(?P<name>[^/]+)")
LIST = re.compile(r"/storage/v1/b/(?P<bucket>[^/]+)/o")
UPLOAD = re.compile(r"/upload/storage/v1/b/(?P<bucket>[^/]+)/o")
SPAN = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")


@dataclass
class Session:
    bucket: str
    told: Json
    condition: str | None
    data: bytearray = field(default_factory=bytearray)
    made: Json | None = None
    gone: int | None = None
    """The status that it has answered with since it was cancelled or forgotten."""


@dataclass
class Strict(Objects):
    """`keeps`: how much of the next part a session keeps. `lost`: how many answers are not given,
    though what was asked has been done. `broken`: beginnings of ranges that end in a 503. `most`:
    requests at the same time."""

    url: str = ""
    sessions: dict[str, Session] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    spans: list[str] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)
    keeps: int | None = None
    lost: int = 0
    most: int = 0
    now: int = 0

    def expire(self, status: int = 410) -> None:
        for session in self.sessions.values():
            session.gone = status

    # --- what is asked

    def answer(self, request: web.BaseRequest, query: dict[str, str], body: bytes) -> web.Response:
        path = request.raw_path.partition("?")[0]
        if found := UPLOAD.fullmatch(path):
            return self._uploads(request, found["bucket"], query, body)
        if found := COPY.fullmatch(path):
            self.knows("rewrite", query)
            named = {name: unquote(value) for name, value in found.groupdict().items()}
            return _said(self.copy(named, query, body))
        if found := LIST.fullmatch(path):
            self.knows("list", query)
            return _said(self.list_(found["bucket"], query))
        if found := OBJECT.fullmatch(path):
            return self._one(request, found["bucket"], unquote(found["key"]), query)
        raise Says(404, "Not Found")

    def _one(
        self, request: web.BaseRequest, bucket: str, key: str, query: dict[str, str]
    ) -> web.Response:
        self.knows("delete" if request.method == "DELETE" else "get", query)
        made, data = self.found(bucket, key, query.get("generation"))
        is_as(made, query.get("ifGenerationMatch"))
        if request.method == "DELETE":
            del self.objects[bucket, key]
            return web.Response(status=204)
        if query.get("alt") != "media":
            return _said(made)
        head = {"X-Goog-Hash": f"crc32c={made['crc32c']},md5={made['md5Hash']}"}
        if (asked := request.headers.get("Range")) is None:
            return web.Response(body=data, headers=head)
        start, end = (int(part) for part in asked.removeprefix("bytes=").split("-"))
        return web.Response(status=206, body=data[start : end + 1], headers=head)

    # --- what is sent

    def _uploads(
        self, request: web.BaseRequest, bucket: str, query: dict[str, str], body: bytes
    ) -> web.Response:
        self.knows("insert", query)
        if session := self.sessions.get(query.get("upload_id", "")):
            return self._continued(request, session, body)
        if "upload_id" in query:
            raise Says(404)
        if query["uploadType"] == "multipart":
            told, data = _parts(request.headers["Content-Type"], body)
            return _said(self.made(bucket, told, data, query.get("ifGenerationMatch")))
        name, told = uuid4().hex, self.resource(body)
        self.sessions[name] = Session(bucket, told, query.get("ifGenerationMatch"))
        where = f"{self.url}{request.path}?uploadType=resumable&upload_id={name}"
        return web.Response(headers={"Location": where})

    def _continued(self, request: web.BaseRequest, session: Session, body: bytes) -> web.Response:
        if session.gone is not None:
            raise Says(session.gone)
        if request.method == "DELETE":
            session.gone = 499
            raise Says(499)
        self.spans.append(asked := request.headers["Content-Range"])
        if asked.startswith(tuple(self.broken)):
            raise Says(503)
        span = SPAN.fullmatch(asked)
        if span is None:
            raise Says(400, "no range")
        if session.made is not None:
            return _said(session.made)
        if span[1] is not None:
            self._keep(session, int(span[1]), int(span[2]), span[3], body)
        if span[3] == "*" or len(session.data) < int(span[3]):
            return _goes_on(len(session.data))
        agrees(request.headers.get("X-Goog-Hash"), bytes(session.data))
        data = bytes(session.data)
        session.made = self.made(session.bucket, session.told, data, session.condition)
        return _said(session.made)

    def _keep(self, session: Session, start: int, end: int, total: str, body: bytes) -> None:
        if end - start + 1 != len(body) or (end + 1 < int(total) and len(body) % STEP):
            raise Says(400, "neither the last nor a multiple of 256 KiB")
        held = len(session.data)
        if start > held:
            raise Says(503, "bytes are missing before these")
        # What it has already is not written again, whatever comes.
        new = body[held - start :]
        if self.keeps is not None:
            new, self.keeps = new[: self.keeps], None
        session.data += new


@asynccontextmanager
async def strict_gcs() -> AsyncIterator[Strict]:
    """The server, on a free port of loopback."""
    state = Strict()

    async def serve(request: web.BaseRequest) -> web.StreamResponse:
        body = await request.content.read()
        state.asked.append(f"{request.method} {unquote(request.raw_path)}")
        state.now += 1
        state.most = max(state.most, state.now)
        try:
            answer = state.answer(request, dict(parse_qsl(request.query_string)), body)
        except Says as said:
            answer = _said({"error": {"code": said.status, "message": said.message}}, said.status)
        finally:
            await asyncio.sleep(0)
            state.now -= 1
        if state.lost and request.transport is not None:
            state.lost -= 1
            request.transport.abort()
        return answer

    runner = web.ServerRunner(web.Server(serve), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    state.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield state
    finally:
        await runner.cleanup()
    assert state.wrong == [], "Google's description knows none of these"


def _said(told: Json, status: int = 200) -> web.Response:
    return web.json_response(told, status=status)


def _goes_on(held: int) -> web.Response:
    # Where nothing is there yet, it names no range.
    return web.Response(status=308, headers={"Range": f"bytes=0-{held - 1}"} if held else {})


def _parts(kind: str, body: bytes) -> tuple[Json, bytes]:
    mark = b"--" + kind.partition("boundary=")[2].encode()
    _, told, content, _ = body.split(mark, 3)
    head, data = (part.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n") for part in (told, content))
    return json.loads(head), data
