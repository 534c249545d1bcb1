"""How do tests and people steer the sandbox? Its own JSON interface under /_sandbox."""

import os
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.faults import BadRule
from sandbox.state import State
from sandbox.vendor import UnknownAction
from sandbox.webhooks import BadTarget, Target

PREFIX = "/_sandbox"
MOST_DUPLICATES = 1000


class BadInput(ValueError):
    """The body or the query cannot be understood."""


def application(state: State) -> Starlette:
    """The controls of one sandbox."""
    controls = Controls(state)
    routes = [
        Route(f"{PREFIX}{path}", _guarded(endpoint), methods=[method])
        for method, path, endpoint in controls.table()
    ]
    return Starlette(routes=routes)


Endpoint = Callable[[Request], Awaitable[Response]]


def _guarded(endpoint: Endpoint) -> Endpoint:
    async def guarded(request: Request) -> Response:
        try:
            return await endpoint(request)
        except (BadInput, BadRule, BadTarget, UnknownAction) as error:
            return _json({"error": str(error)}, 400)

    return guarded


def _json(document: object, status: int = 200) -> Response:
    return Response(orjson.dumps(document), status, media_type="application/json")


async def _object(request: Request) -> dict[str, Any]:
    try:
        document = orjson.loads(await request.body() or b"{}")
    except orjson.JSONDecodeError as error:
        raise BadInput(f"not JSON: {error}") from None
    if not isinstance(document, dict):
        raise BadInput("an object is expected")
    return document


def _number(request: Request, name: str) -> int | None:
    text = request.query_params.get(name)
    if text is None or text.isdecimal():
        return None if text is None else int(text)
    raise BadInput(f"{name}: a whole number is expected")


def _target(url: object, options: dict[str, Any]) -> Target | None:
    """Where webhooks go, and how. Raises BadInput."""
    match {"duplicates": 1, "shuffle": False, "hold": False, "delay": 0} | options:
        case {
            "duplicates": int(duplicates),
            "shuffle": bool(shuffle),
            "hold": bool(hold),
            "delay": int() | float() as delay,
            **others,
        } if not others and 1 <= duplicates <= MOST_DUPLICATES and delay >= 0:
            if url is None:
                return None
            return Target(str(url), duplicates, shuffle, hold, delay)
        case _:
            raise BadInput(
                '{"vendor": "stripe", "url": "http://127.0.0.1:8080/webhooks/stripe" or null,'
                f' "duplicates": 1 to {MOST_DUPLICATES}, "shuffle": false, "hold": false,'
                ' "delay": seconds} is expected'
            )


class Controls:
    """One method an endpoint."""

    def __init__(self, state: State) -> None:
        self._state = state

    def table(self) -> list[tuple[str, str, Endpoint]]:
        return [
            ("DELETE", "", self.reset),
            ("GET", "/health", self.health),
            ("GET", "/environment", self.environment),
            ("GET", "/effects", self.effects),
            ("GET", "/effects/totals", self.totals),
            ("GET", "/effects/tally", self.tally),
            ("GET", "/requests", self.requests),
            ("GET", "/traffic", self.traffic),
            ("GET", "/faults", self.faults),
            ("POST", "/faults", self.install_faults),
            ("DELETE", "/faults", self.remove_faults),
            ("POST", "/limits", self.set_limit),
            ("POST", "/webhooks", self.aim_webhooks),
            ("GET", "/webhooks/deliveries", self.deliveries),
            ("POST", "/webhooks/release", self.release_webhooks),
            ("POST", "/{vendor}/dashboard/{action}", self.dashboard),
        ]

    async def reset(self, request: Request) -> Response:
        self._state.reset()
        return _json({})

    async def health(self, request: Request) -> Response:
        vendors = sorted(self._state.vendors)
        return _json({"status": "ok", "pid": os.getpid(), "vendors": vendors})

    async def environment(self, request: Request) -> Response:
        """Base URLs, accepted credentials and what verifies webhooks, as variables that an
        application reads."""
        variables: dict[str, str] = {}
        for name, vendor in self._state.vendors.items():
            variables[f"{name.upper()}_BASE_URL"] = str(request.base_url) + name
            variables |= vendor.environment
            variables |= vendor.webhook_environment(self._state.folder)
        return _json(variables)

    async def effects(self, request: Request) -> Response:
        query = request.query_params
        document = self._state.effects.document(
            query.get("vendor"),
            query.get("kind"),
            _number(request, "after") or 0,
            _number(request, "limit"),
        )
        return Response(document, media_type="application/json")

    async def totals(self, request: Request) -> Response:
        return _json(self._state.effects.totals())

    async def tally(self, request: Request) -> Response:
        query = request.query_params
        after = _number(request, "after") or 0
        return _json(self._state.effects.tally(query.get("vendor"), query.get("kind"), after))

    async def requests(self, request: Request) -> Response:
        return _json({"requests": self._state.traffic.select(request.query_params.get("vendor"))})

    async def traffic(self, request: Request) -> Response:
        return _json(self._state.limits.summary())

    async def faults(self, request: Request) -> Response:
        return _json({"rules": self._state.faults.describe()})

    async def install_faults(self, request: Request) -> Response:
        script = await _object(request)
        rules = script.get("rules")
        if not isinstance(rules, list):
            raise BadInput('rules: a list is expected, as in {"rules": [{"do": "drop_after"}]}')
        self._state.faults.install(rules, append=script.get("append") is True)
        return _json({"rules": self._state.faults.describe()})

    async def remove_faults(self, request: Request) -> Response:
        self._state.faults.install([])
        return _json({"rules": []})

    async def set_limit(self, request: Request) -> Response:
        match await _object(request):
            case {"vendor": str(name), "per_second": int() | None as per_second} if (
                name in self._state.vendors
            ):
                self._state.limits.of(name).per_second = per_second
                return _json({})
            case _:
                raise BadInput('{"vendor": "stripe", "per_second": 25 or null} is expected')

    async def aim_webhooks(self, request: Request) -> Response:
        given = await _object(request)
        name = self._vendor(given.pop("vendor", None))
        before = self._state.webhooks.target(name)
        url = given.pop("url", before and before.url)
        self._state.webhooks.aim(name, _target(url, given))
        return _json({})

    async def deliveries(self, request: Request) -> Response:
        found = self._state.webhooks.deliveries(request.query_params.get("vendor"))
        return _json({"deliveries": found})

    async def release_webhooks(self, request: Request) -> Response:
        name = self._vendor((await _object(request)).get("vendor"))
        return _json({"released": self._state.webhooks.release(name)})

    def _vendor(self, name: object) -> str:
        if isinstance(name, str) and name in self._state.vendors:
            return name
        raise BadInput(f"vendor: one of {', '.join(self._state.vendors)}")

    async def dashboard(self, request: Request) -> Response:
        vendor = self._state.vendors[self._vendor(request.path_params["vendor"])]
        answer = vendor.dashboard(request.path_params["action"], await _object(request))
        self._state.journal.flush()
        return _json(answer)
