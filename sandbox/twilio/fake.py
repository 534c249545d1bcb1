"""One request to Twilio, from the credentials to the answer."""

import base64
import hmac
from binascii import Error as NotBase64
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import parse_qsl

from sandbox.twilio import dashboard, params, rules, shapes
from sandbox.twilio.account import Account
from sandbox.twilio.errors import Refused, missing
from sandbox.vendor import Answer, Request, Vendor, Work, World, json_answer

# Made here, so that nothing that looks like a real one stands in the tree.
ACCOUNT_SID = "AC" + "5a" * 16
AUTH_TOKEN = "5b" * 16
FORM = "application/x-www-form-urlencoded"
LIST = f"/2010-04-01/Accounts/{ACCOUNT_SID}/Messages.json"
ONE = LIST.removesuffix(".json") + "/"
REFUSALS = {
    401: (20003, "Authenticate"),
    403: (20403, "Forbidden"),
    404: (20404, "The requested resource was not found"),
    429: (20429, "Too Many Requests"),
    503: (20503, "Service unavailable"),
}


class Fake(Vendor):
    """Twilio. A second request like the first sends a second message, as the real one does."""

    name = "twilio"
    environment: ClassVar[Mapping[str, str]] = {
        "TWILIO_ACCOUNT_SID": ACCOUNT_SID,
        # It signs the webhooks, too.
        "TWILIO_AUTH_TOKEN": AUTH_TOKEN,
        "TWILIO_FROM": rules.SENDER,
    }

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._account = Account(world, ACCOUNT_SID)

    def open(self, request: Request) -> Answer | Work:
        try:
            outcome = self._open(request)
        except Refused as refused:
            outcome = refused.answer()
        if isinstance(outcome, Answer):
            return self._labelled(outcome)
        return lambda: self._labelled(outcome())

    def _open(self, request: Request) -> Answer | Work:
        _authenticate(request.headers.get("authorization", ""))
        match request.method, request.path:
            case "POST", path if path == LIST:
                given = params.check(params.CREATE, params.pairs(_body(request)))
                self._account.check(given)
                return lambda: self._create(given)
            case "GET", path if path == LIST:
                asked = params.check(params.LIST, params.pairs(request.query))
                return json_answer(200, shapes.page(self._account, asked))
            case "GET", path if path.startswith(ONE):
                return self._fetch(path)
            case _, path if path == LIST:
                raise Refused(20004, "Method not allowed", 405)
        raise missing(request.path)

    def _create(self, given: params.Given) -> Answer:
        row = self._account.create(given)
        answer = json_answer(201, shapes.message(self._account, row))
        self._account.go_on(row)
        return answer

    def _fetch(self, path: str) -> Answer:
        sid = path.removeprefix(ONE).removesuffix(".json")
        if (row := self._account.messages.get(sid)) is None:
            raise missing(path)
        return json_answer(200, shapes.message(self._account, row))

    def _labelled(self, answer: Answer) -> Answer:
        answer.headers["Twilio-Request-Id"] = self.world.ids.new("RQ", 32)
        return answer

    def refusal(self, status: int, retry_after: str | None = None) -> Answer:
        code, message = REFUSALS.get(status, (20500, "An internal server error has occurred"))
        answer = self._labelled(Refused(code, message, status).answer())
        if retry_after is not None:
            answer.headers["Retry-After"] = retry_after
        return answer

    def headers(self, event: bytes, url: str) -> Mapping[str, str]:
        """As in https://www.twilio.com/docs/usage/webhooks/webhooks-security"""
        fields = parse_qsl(event.decode(), keep_blank_values=True)
        signed = url + "".join(f"{name}{value}" for name, value in sorted(fields))
        signature = hmac.digest(AUTH_TOKEN.encode(), signed.encode(), "sha1")
        return {
            "Content-Type": FORM,
            "User-Agent": "TwilioProxy/1.1",
            "X-Twilio-Signature": base64.b64encode(signature).decode(),
        }

    def dashboard(self, action: str, arguments: dict[str, Any]) -> object:
        return dashboard.act(self._account, action, arguments)


def _authenticate(header: str) -> None:
    """Basic, with the account's SID and its token. Raises Refused."""
    scheme, _, credentials = header.partition(" ")
    try:
        both = base64.b64decode(credentials, validate=True)
    except NotBase64:
        both = b""
    if scheme.lower() != "basic" or both != f"{ACCOUNT_SID}:{AUTH_TOKEN}".encode():
        raise Refused(*REFUSALS[401], 401)


def _body(request: Request) -> str:
    """The form; of a body of another type Twilio sees nothing."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return request.body.decode("utf-8", "replace") if kind == FORM else ""
