"""One request to Segment, from the credentials to the answer."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar

import orjson

from sandbox import bodies
from sandbox.credentials import basic
from sandbox.ids import job_of
from sandbox.vendor import Answer, Request, UnknownAction, Vendor, Work, World, json_answer

# Made here, so that nothing that looks like a real one stands in the tree.
KEY = "sandbox" + "5e" * 12
MOST_BYTES = 500 * 1024
MOST_CALL_BYTES = 32 * 1024
# What each call must have beside a user; of some, a list of which one is enough.
NEEDS = {
    "track": ("event",),
    "identify": (),
    "page": (),
    "screen": (),
    "group": ("groupId",),
    "alias": ("previousId",),
}
KINDS = {"track": "event", "identify": "person"}
WORDS = {
    400: "malformed JSON",
    401: "invalid write key",
    413: "payload too large",
    429: "too many requests",
}


class Fake(Vendor):
    """Segment. It answers 200 to all that it can read, whatever it keeps of it."""

    name = "segment"
    environment: ClassVar[Mapping[str, str]] = {"SEGMENT_WRITE_KEY": KEY}

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._most_bytes: int | None = None
        # Those of an earlier process are known by the log of effects.
        earlier = [
            one
            for kind in (*KINDS.values(), "call")
            for one in orjson.loads(world.effects.document(self.name, kind))["effects"]
        ]
        self._known = {one["reference"] for one in earlier}

    def open(self, request: Request) -> Answer | Work:
        if request.method != "POST":
            return self.refusal(405)
        if basic(request.headers.get("authorization", "")) != (KEY, ""):
            return self.refusal(401)
        if self._most_bytes is not None and len(request.body) > self._most_bytes:
            return self.refusal(413)
        called = request.path.removeprefix("/v1/")
        if request.path == "/v1/batch":
            return self._batch(request)
        if called in NEEDS and request.path.startswith("/v1/"):
            return self._one(request, called)
        return self.refusal(404)

    def _batch(self, request: Request) -> Answer | Work:
        try:
            given = bodies.document(bodies.plain(request, MOST_BYTES))
        except ValueError:
            return self.refusal(400)
        if not isinstance(given, dict) or not isinstance(calls := given.get("batch"), list):
            return self.refusal(400)
        if any(len(orjson.dumps(call)) > MOST_CALL_BYTES for call in calls):
            return self.refusal(400)
        return lambda: self._take(calls)

    def _one(self, request: Request, called: str) -> Answer | Work:
        try:
            given = bodies.document(bodies.plain(request, MOST_CALL_BYTES))
        except ValueError:
            return self.refusal(400)
        if not isinstance(given, dict):
            return self.refusal(400)
        return lambda: self._take([{**given, "type": called}])

    def _take(self, calls: Sequence[Any]) -> Answer:
        """Keeps what is good and new. Nobody is told of the rest; the log of effects counts it."""
        found: dict[str, list[dict[str, Any]]] = {}
        for call in calls:
            facts = _facts(call)
            kind = KINDS.get(call["type"], "call") if facts else "dropped"
            if facts is None:
                facts = {"reference": str(_field(call, "messageId"))}
            elif facts["reference"] in self._known:
                kind = f"repeated_{kind}"
            else:
                self._known.add(facts["reference"])
            found.setdefault(kind, []).append(facts)
        for kind, each in found.items():
            self.world.effects.record_many(self.name, kind, "", {}, each)
        return json_answer(200, {"success": True})

    def refusal(self, status: int, retry_after: str | None = None) -> Answer:
        message = WORDS.get(status, "an error of our own")
        answer = json_answer(status, {"success": False, "code": "error", "message": message})
        if retry_after is not None:
            answer.headers["Retry-After"] = retry_after
        return answer

    def dashboard(self, action: str, arguments: dict[str, Any]) -> object:
        """`settings`: `most_bytes` of a request, above which a proxy answers 413 (null: none)."""
        match action, arguments:
            case "settings", {"most_bytes": int() | None as most, **rest} if not rest:
                self._most_bytes = most
                return {"most_bytes": most}
        raise UnknownAction("segment has `settings` (most_bytes)")


def _facts(call: Any) -> dict[str, Any] | None:
    """What is kept of a call; None: it is dropped."""
    kind = _field(call, "type")
    if kind not in NEEDS or not all(_is_text(_field(call, name)) for name in NEEDS[kind]):
        return None
    user = _field(call, "userId") or _field(call, "anonymousId")
    named = _field(call, "messageId")
    if not _is_text(user) or not _is_text(named) or not _is_moment(_field(call, "timestamp")):
        return None
    content = "properties" if kind == "track" else "traits"
    if not isinstance(_field(call, content) or {}, dict):
        return None
    facts = {"reference": named, "job": job_of(named), "user": user, "time": call.get("timestamp")}
    return facts | ({"name": call["event"]} if kind == "track" else {})


def _field(call: Any, name: str) -> Any:
    return call.get(name) if isinstance(call, dict) else None


def _is_text(found: Any) -> bool:
    return isinstance(found, str) and bool(found.strip())


def _is_moment(found: Any) -> bool:
    try:
        return found is None or datetime.fromisoformat(found).tzinfo is not None
    except (TypeError, ValueError):
        return False
