"""One request to PayPal, from the token to the answer."""

import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from sandbox.paypal import dashboard, entry, events, redirect
from sandbox.paypal.account import Account, Call
from sandbox.paypal.certificates import ALGORITHM, CERTS, ROOT_FILE, authority
from sandbox.paypal.errors import NAMES, Refused, missing, refused
from sandbox.paypal.forms import problems
from sandbox.paypal.keys import Keys
from sandbox.paypal.objects import Used
from sandbox.paypal.routes import ENDPOINTS, QUERIES, Endpoint, endpoint_of
from sandbox.paypal.schemas import VERIFY_WEBHOOK, Fields
from sandbox.paypal.shapes import minimal, moment, shape
from sandbox.vendor import Answer, Request, Vendor, Work, World, json_answer

TOKEN = "POST /v1/oauth2/token"  # noqa: S105 - a path
VERIFY = "POST /v1/notifications/verify-webhook-signature"
CERTIFICATE = f"GET {CERTS}"


class Fake(Vendor):
    """PayPal in sandbox mode."""

    name = "paypal"
    key_header = "paypal-request-id"
    environment: ClassVar[Mapping[str, str]] = {
        "PAYPAL_CLIENT_ID": entry.CLIENT_ID,
        "PAYPAL_CLIENT_SECRET": entry.CLIENT_SECRET,
    }

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._account = Account(world)
        self._keys = Keys(self._account)
        self._authority = authority(world.folder)

    @classmethod
    def webhook_environment(cls, folder: Path) -> Mapping[str, str]:
        return {
            "PAYPAL_WEBHOOK_ID": events.WEBHOOK_ID,
            "PAYPAL_CERT_ROOT": str(folder / ROOT_FILE),
        }

    def open(self, request: Request) -> Answer | Work:
        if redirect.is_page(request):
            return lambda: redirect.visit(self._account, request)
        number = self._debug_id()
        try:
            outcome = self._open(request)
        except Refused as refusal:
            outcome = refusal.answer(number)
        if isinstance(outcome, Answer):
            return _labelled(outcome, number)
        work = outcome
        return lambda: _labelled(self._do(work, number), number)

    def _debug_id(self) -> str:
        return self.world.ids.new("", 13)

    def _open(self, request: Request) -> Answer | Callable[[], Answer]:
        named = f"{request.method} {request.path}"
        if named == TOKEN:
            grant = entry.grant(self._account, request)
            return lambda: json_answer(200, grant())
        if named.startswith(CERTIFICATE):
            return self._certificate(named.removeprefix(CERTIFICATE))
        entry.authenticate(self._account, request)
        if named == VERIFY:
            call = Call(request.path, "", _checked(VERIFY_WEBHOOK, request), body=request.body)
            verified = events.verified(self._authority, call)
            return lambda: json_answer(200, verified())
        return self._call(request)

    def _certificate(self, id: str) -> Callable[[], Answer]:
        """Anybody may have it."""
        pem = self._authority.pem(id)
        if pem is None:
            raise missing(id)
        return lambda: Answer(200, pem, {"Content-Type": "application/x-pem-file"})

    def _call(self, request: Request) -> Answer | Callable[[], Answer]:
        name, target = endpoint_of(request)
        endpoint = ENDPOINTS[name]
        key = request.headers.get(self.key_header) if endpoint.keyed else None
        whole = request.method == "GET" or entry.wants_whole(request)
        if key is not None and (used := self._keys.replay(key, request.path)):
            return json_answer(200, self._shown(self._latest(used), whole))
        if request.method == "GET":
            given = entry.query(request, QUERIES.get(name, frozenset()))
        else:
            given = _checked(endpoint.takes, request)
        call = Call(request.path, target, given, key, whole, home=redirect.home(request))
        work = endpoint.prepare(self._account, call)
        self._keys.begin(key, request.path, alone=endpoint.alone)
        return lambda: self._answer(work(), endpoint, whole)

    def _latest(self, used: Used) -> Any:
        """What was made under a key, as it is now."""
        return getattr(self._account, used.kind).rows[used.made]

    def _shown(self, result: Any, whole: bool) -> dict[str, Any]:
        document = result if isinstance(result, dict) else shape(result, self._account)
        return document if whole else minimal(document)

    def _answer(self, result: Any, endpoint: Endpoint, whole: bool) -> Answer:
        if endpoint.status == 204 and not whole:
            return Answer(204)
        status = 200 if endpoint.status == 204 else endpoint.status
        return json_answer(status, self._shown(result, whole))

    def _do(self, work: Callable[[], Answer], number: str) -> Answer:
        try:
            return work()
        except Refused as refusal:
            return refusal.answer(number)

    def close(self, request: Request, answer: Answer) -> None:
        if request.method == "POST":
            self._keys.finish(request.headers.get(self.key_header), request.path)

    def refusal(self, status: int, retry_after: str | None = None) -> Answer:
        number = self._debug_id()
        known = status if status in NAMES else 500 if status >= 500 else 400
        error = refused(known)
        error.status = status
        answer = _labelled(error.answer(number), number)
        if retry_after is not None and self.world.limits.of(self.name).per_second is None:
            # PayPal itself names no time to wait; a fault script may say more.
            answer.headers["Retry-After"] = retry_after
        return answer

    def signed(self, event: bytes) -> Mapping[str, str]:
        transmission = str(uuid.uuid4())
        at = moment(time.time())
        return {
            "PAYPAL-TRANSMISSION-ID": transmission,
            "PAYPAL-TRANSMISSION-TIME": at,
            "PAYPAL-TRANSMISSION-SIG": self._authority.sign(
                transmission, at, events.WEBHOOK_ID, event
            ),
            "PAYPAL-CERT-URL": self._authority.url,
            "PAYPAL-AUTH-ALGO": ALGORITHM,
        }

    def dashboard(self, action: str, arguments: dict[str, Any]) -> object:
        return dashboard.act(self._account, action, arguments)


def _checked(form: Fields, request: Request) -> dict[str, Any]:
    """The body's fields. Raises Refused, naming all that is not of the form."""
    given = entry.document(request)
    if wrong := list(problems(form, given)):
        raise refused(400, *wrong)
    return given


def _labelled(answer: Answer, number: str) -> Answer:
    return Answer(answer.status, answer.body, answer.headers | {"PayPal-Debug-Id": number})
