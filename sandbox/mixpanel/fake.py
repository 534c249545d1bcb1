"""One request to Mixpanel, from the credentials to the answer."""

from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import parse_qs

import orjson

from sandbox import bodies
from sandbox.credentials import basic
from sandbox.mixpanel import rules
from sandbox.mixpanel.project import Project
from sandbox.vendor import Answer, Request, UnknownAction, Vendor, Work, World, json_answer

# Made here, so that nothing that looks like a real one stands in the tree.
ACCOUNT, SECRET, TOKEN, PROJECT = "sandbox.account", "5c" * 16, "5d" * 16, "4711"
NDJSON = "application/x-ndjson"
WORDS = {
    401: "Invalid credentials",
    403: "You do not have access to this project",
    413: "Request Entity Too Large",
    429: "Too many requests",
    503: "Service unavailable",
}


class Fake(Vendor):
    """Mixpanel."""

    name = "mixpanel"
    environment: ClassVar[Mapping[str, str]] = {
        "MIXPANEL_PROJECT_TOKEN": TOKEN,
        "MIXPANEL_PROJECT_ID": PROJECT,
        "MIXPANEL_SERVICE_ACCOUNT": ACCOUNT,
        "MIXPANEL_SERVICE_SECRET": SECRET,
    }

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._project = Project(world)

    def open(self, request: Request) -> Answer | Work:
        if request.method != "POST":
            return self.refusal(405)
        most = self._project.settings.most_bytes
        if most is not None and len(request.body) > most:
            return self.refusal(413)
        match request.path:
            case "/import":
                return self._import(request)
            case "/engage":
                return self._engage(request)
        return self.refusal(404)

    def _import(self, request: Request) -> Answer | Work:
        query = parse_qs(request.query)
        if basic(request.headers.get("authorization", "")) != (ACCOUNT, SECRET):
            return self.refusal(401)
        if query.get("project_id") != [PROJECT]:
            return self.refusal(403)
        try:
            events = _events(request)
        except bodies.TooLong:
            return self.refusal(413)
        except bodies.NotReadable as error:
            return _refused(400, str(error))
        if len(events) > rules.MOST_EVENTS:
            return self.refusal(413)
        sizes = (len(orjson.dumps(one)) for one in events)
        wrong = {
            place: problem
            for place, (one, size) in enumerate(zip(events, sizes, strict=True))
            if (problem := rules.event(one, size))
        }
        strict = query.get("strict") == ["1"]
        return lambda: self._taken(events, wrong, strict=strict)

    def _taken(
        self, events: list[Any], wrong: Mapping[int, rules.Problem], *, strict: bool
    ) -> Answer:
        good = [one for place, one in enumerate(events) if place not in wrong]
        self._project.take(good)
        told = {"code": 200, "num_records_imported": len(good), "status": "OK"}
        if not strict or not wrong:
            # Without `strict` nobody is told of what was dropped.
            return json_answer(200, told)
        failed = [_failed(place, events[place], *wrong[place]) for place in sorted(wrong)]
        error = "some data points in the request failed validation"
        told |= {"code": 400, "error": error, "status": "Bad Request", "failed_records": failed}
        return json_answer(400, told)

    def _engage(self, request: Request) -> Answer | Work:
        verbose = parse_qs(request.query).get("verbose") == ["1"]
        try:
            updates = _updates(request)
        except bodies.TooLong:
            return self.refusal(413)
        except bodies.NotReadable as error:
            return _told(verbose, str(error))
        if wrong := next(filter(None, (rules.person(one, TOKEN) for one in updates)), None):
            return _told(verbose, wrong)
        return lambda: self._updated(updates, verbose=verbose)

    def _updated(self, updates: list[dict[str, Any]], *, verbose: bool) -> Answer:
        self._project.update(updates)
        return _told(verbose, None)

    def refusal(self, status: int, retry_after: str | None = None) -> Answer:
        answer = _refused(status, WORDS.get(status, "an error of our own"))
        if retry_after is not None and self.world.limits.of(self.name).per_second is None:
            # Mixpanel itself names no time to wait; a fault script may.
            answer.headers["Retry-After"] = retry_after
        return answer

    def dashboard(self, action: str, arguments: dict[str, Any]) -> object:
        """`settings`: `most_bytes` of a request (null: as many as there are). `profile`: what is
        known of a `user`."""
        match action, arguments:
            case "settings", {"most_bytes": int() | None as most, **rest} if not rest:
                self._project.settings.most_bytes = most
                return {"most_bytes": most}
            case "profile", {"user": str() as user, **rest} if not rest:
                found = self._project.profiles.get(user)
                return {"properties": found.properties if found else None}
        raise UnknownAction("mixpanel has `settings` (most_bytes) and `profile` (user)")


def _events(request: Request) -> list[Any]:
    """Raises TooLong, NotReadable."""
    body = bodies.plain(request, rules.MOST_BYTES)
    match bodies.media(request):
        case bodies.JSON:
            events = bodies.document(body)
        case "application/x-ndjson":
            events = [bodies.document(line) for line in body.split(b"\n") if line.strip()]
        case _:
            raise bodies.NotReadable("the content type is not one that is taken")
    if not isinstance(events, list) or not events:
        raise bodies.NotReadable("a list of events is expected")
    return events


def _updates(request: Request) -> list[Any]:
    """Here nothing may be compressed. Raises TooLong, NotReadable."""
    if "content-encoding" in request.headers or bodies.media(request) != bodies.JSON:
        raise bodies.NotReadable("data is not valid JSON")
    updates = bodies.document(bodies.plain(request, rules.MOST_BYTES))
    if not isinstance(updates, list):
        raise bodies.NotReadable("data must be a list")
    if len(updates) > rules.MOST_EVENTS:
        raise bodies.TooLong("too many updates")
    return updates


def _failed(place: int, given: Any, field: str, message: str) -> dict[str, Any]:
    properties = given.get("properties") if isinstance(given, dict) else None
    insert_id = properties.get("$insert_id") if isinstance(properties, dict) else None
    named = insert_id if isinstance(insert_id, str) else ""
    return {"index": place, "insert_id": named, "field": field, "message": message}


def _told(verbose: bool, wrong: str | None) -> Answer:
    """The status is 200 in any case."""
    taken = int(wrong is None)
    if verbose:
        return json_answer(200, {"status": taken, "error": wrong})
    return Answer(200, str(taken).encode(), {"Content-Type": "text/plain"})


def _refused(status: int, message: str) -> Answer:
    return json_answer(status, {"code": status, "error": message, "status": "Error"})
