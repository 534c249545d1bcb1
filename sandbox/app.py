"""Which request goes where? Vendors under their names, the sandbox's own controls beside them."""

from collections.abc import MutableMapping
from typing import Any

from sandbox import control, gateway
from sandbox.exchange import Exchange, Message, Receive, Send
from sandbox.state import State
from sandbox.vendor import Request, json_answer


class App:
    """The ASGI application. Vendors' requests pass no framework: they are what benches count."""

    def __init__(self, state: State) -> None:
        self.state = state
        self._control = control.application(state)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["path"].startswith(control.PREFIX):
            await self._control(scope, receive, send)  # type: ignore[arg-type]
            return
        exchange = Exchange(scope, receive, send)
        _, _, rest = scope["path"].partition("/")
        name, _, path = rest.partition("/")
        vendor = self.state.vendors.get(name)
        if vendor is None:
            await exchange.reply(json_answer(404, {"error": _elsewhere(self.state)}))
            return
        body = await exchange.body()
        await gateway.serve(self.state, exchange, vendor, _request(scope, name, path, body))


def _request(scope: Message, vendor: str, path: str, body: bytes) -> Request:
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    query = scope["query_string"].decode("latin-1")
    return Request(vendor, scope["method"], f"/{path}", query, headers, body)


def _elsewhere(state: State) -> str:
    paths = ", ".join(f"/{name}/…" for name in state.vendors)
    return f"no vendor here; there are {paths} and {control.PREFIX}/…"
