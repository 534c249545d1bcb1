"""One request to Stripe, from the credentials to the answer."""

import hmac
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from sandbox.stripe import dashboard, redirect
from sandbox.stripe.account import LATEST_VERSION, Account, Call
from sandbox.stripe.entry import authenticate, parameters, refuse_method_types, version_of
from sandbox.stripe.errors import Refused
from sandbox.stripe.expand import check_paths, expand
from sandbox.stripe.keys import Keyed, Keys, keyed
from sandbox.stripe.params import check, decode, pairs
from sandbox.stripe.routes import endpoint_of
from sandbox.stripe.shapes import shape
from sandbox.vendor import Answer, Request, Vendor, Work, World, json_answer

RATE_LIMIT = (
    "Request rate limit exceeded. Learn more about rate limits here"
    " https://stripe.com/docs/rate-limits."
)
OUTAGE = (
    "Sorry! There was an error while talking to one of our backends. Support has been notified."
)

WEBHOOK_SECRET = "whsec_" + "sandbox"


class Fake(Vendor):
    """Stripe in test mode."""

    name = "stripe"
    key_header = "idempotency-key"
    environment: ClassVar[Mapping[str, str]] = {"STRIPE_SECRET_KEY": "sk_test_" + "sandbox"}

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._account = Account(world)
        self._keys = Keys(self._account)

    def open(self, request: Request) -> Answer | Work:
        number = self.world.ids.new("req_", 14)
        if redirect.is_page(request):
            return lambda: redirect.visit(self._account, request)
        try:
            outcome = self._open(request, number)
        except Refused as refused:
            outcome = refused.answer()
        if isinstance(outcome, Answer):
            return _labelled(outcome, request, number)
        work = outcome
        return lambda: _labelled(self._do(work), request, number)

    def _open(self, request: Request, number: str) -> Answer | Callable[[], Answer]:
        authenticate(request.headers.get("authorization", ""))
        version = version_of(request)
        endpoint, target = endpoint_of(request)
        form = pairs(parameters(request))
        idempotent = self._idempotent(request, form)
        if idempotent and (stored := self._keys.replay(idempotent)):
            return stored
        given = decode(form)
        if "allowed_payment_method_types" in endpoint.schema:
            refuse_method_types(given, version)
        checked = check(endpoint.schema, endpoint.required, given)
        check_paths(checked.get("expand", []))
        key = idempotent.key if idempotent else None
        call = Call(target, checked, key, number, version, redirect.home(request))
        work = endpoint.prepare(self._account, call)
        if idempotent:
            self._keys.begin(idempotent)
        return lambda: self._answer(work(), checked.get("expand", []))

    def _idempotent(self, request: Request, form: list[tuple[str, str]]) -> Keyed | None:
        key = request.headers.get(self.key_header)
        # A GET repeats harmlessly: Stripe ignores a key there.
        return keyed(key, request.path, form) if key and request.method == "POST" else None

    def _do(self, work: Callable[[], Answer]) -> Answer:
        try:
            return work()
        except Refused as refused:
            return refused.answer()

    def _answer(self, result: Any, paths: list[str]) -> Answer:
        document = result if isinstance(result, dict) else shape(result)
        return json_answer(200, expand(self._account, document, paths))

    def close(self, request: Request, answer: Answer) -> None:
        key = request.headers.get(self.key_header)
        if key and request.method == "POST":
            self._keys.finish(key, answer, answer.headers.get("Request-Id", ""))

    def refusal(self, status: int, retry_after: str | None = None) -> Answer:
        if status == 429:
            error = Refused(429, RATE_LIMIT, code="rate_limit")
        elif status >= 500:
            error = Refused(status, OUTAGE, type="api_error")
        else:
            error = Refused(status, f"Refused by the sandbox's fault script ({status}).")
        answer = error.answer()
        answer.headers["Request-Id"] = self.world.ids.new("req_", 14)
        if status == 429:
            answer.headers["Stripe-Rate-Limited-Reason"] = "global-rate"
        if retry_after is not None:
            answer.headers["Retry-After"] = retry_after
        return answer

    @classmethod
    def webhook_environment(cls, folder: Path) -> Mapping[str, str]:
        return {"STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET}

    def signed(self, event: bytes) -> Mapping[str, str]:
        """As in https://docs.stripe.com/webhooks#verify-manually"""
        at = int(time.time())
        signature = hmac.digest(WEBHOOK_SECRET.encode(), b"%d.%b" % (at, event), "sha256").hex()
        return {
            "Content-Type": "application/json; charset=utf-8",
            "Stripe-Signature": f"t={at},v1={signature}",
            "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
        }

    def dashboard(self, action: str, arguments: dict[str, Any]) -> object:
        return dashboard.act(self._account, action, arguments)


def _labelled(answer: Answer, request: Request, number: str) -> Answer:
    headers = {
        "Content-Type": "application/json",
        "Request-Id": number,
        "Stripe-Version": request.headers.get("stripe-version", LATEST_VERSION),
    }
    if key := request.headers.get(Fake.key_header):
        headers["Idempotency-Key"] = key
    return Answer(answer.status, answer.body, answer.headers | headers)
