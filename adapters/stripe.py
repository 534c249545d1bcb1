"""Stripe: payments. The official SDK builds the requests and reads the answers; our transport
carries them. Facts: Stripe's API reference, version 2026-10-28.endive."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextvars import ContextVar
from functools import cached_property
from types import SimpleNamespace
from typing import Any, TypeVar

import orjson
import stripe

from adapters import _base
from adapters import _stripe as words
from adapters._base import (
    Call,
    Misconfigured,
    Refused,
    Repeat,
    Request,
    Unavailable,
    Unknown,
)
from adapters._payments import ChargeOrder, Payment, RefundAnswer, RefundOrder, Since

# Set where Stripe repeats the answer that it keeps under an Idempotency-Key, also one of 500:
# https://docs.stripe.com/api/idempotent_requests
REPLAYED = "idempotent-replayed"
# The clocks of two hosts, and the time a request may have been on its way.
LOOK_BACK_SECONDS = 600
LOOK = "look"
PAGE = 100
# Another request, with the same key or on the same object, still runs.
CONFLICT = 409
# Half a minute in all, the longest that one of our requests may take.
LOCKED_LOOKS = 60
LOCKED_LOOK_SECONDS = 0.5

Found = TypeVar("Found", Payment, RefundAnswer)
_step: ContextVar[tuple[Call, str, str]] = ContextVar("stripe_step")


class Adapter(_base.Adapter):
    vendor = "stripe"
    base_url = "https://api.stripe.com"
    base_url_variable = "STRIPE_BASE_URL"
    secrets = ("STRIPE_SECRET_KEY",)
    live_prefixes = ("sk_live_", "rk_live_")
    look_ups = frozenset({"charge", "refund"})

    def prepare(self) -> None:
        _ = self._v1

    async def create_customer(self, call: Call, *, key: str) -> str:
        # Nothing of the job may stand in this body: the next job must send the same bytes.
        customer = await self._send(
            call,
            "customer",
            key,
            lambda: self._v1.customers.create_async({"metadata": {"ref": key}}, _options(key)),
        )
        return str(customer.id)

    async def charge(self, call: Call, order: ChargeOrder) -> Payment:
        key = call.key("charge")
        intent = await self._send(
            call,
            "charge",
            key,
            lambda: self._v1.payment_intents.create_async(
                words.intent_params(order), _options(key)
            ),
        )
        if (status := words.PAYMENT_STATUSES.get(intent.status)) is None:
            raise Refused("the payment needs a step by its payer", code="authentication_required")
        return words.payment(intent, status)

    async def find_charge(self, call: Call, customer: str, since: Since) -> Payment | None:
        # By list, since Stripe's search lags behind by up to a minute.
        asked = {"customer": customer, "created": {"gte": _back(since)}, "limit": PAGE}
        found = [
            words.payment(intent, words.PAYMENT_STATUSES[intent.status])
            async for intent in self._list(call, lambda v1: v1.payment_intents, asked)
            if intent.status in words.PAYMENT_STATUSES and _is_of(intent, call)
        ]
        return _only(found)

    async def find_refund(self, call: Call, payment: str, since: Since) -> RefundAnswer | None:
        asked = {"payment_intent": payment, "created": {"gte": _back(since)}, "limit": PAGE}
        found = [
            words.refund_answer(refund)
            async for refund in self._list(call, lambda v1: v1.refunds, asked)
            if _is_of(refund, call)
        ]
        return _only([one for one in found if one.status != "failed"])

    async def refund(self, call: Call, order: RefundOrder) -> RefundAnswer:
        key = call.key("refund")
        refund = await self._send(
            call,
            "refund",
            key,
            lambda: self._v1.refunds.create_async(words.refund_params(order), _options(key)),
        )
        return words.refund_answer(refund)

    @cached_property
    def _v1(self) -> Any:
        # Its key is a placeholder: the real one is added on the way out, so that a rotated one
        # is used at once and none is ever stored with a request.
        client = stripe.StripeClient(
            "sk_test_placeholder",
            http_client=_Bridge(),
            base_addresses={"api": "https://stripe.invalid"},
            max_network_retries=0,
        )
        return client.v1

    async def _send(self, call: Call, step: str, key: str, make: Any) -> Any:
        token = _step.set((call, step, key))
        try:
            answer = await _once_free(make, call, step)
        except _Told as answered:
            answer = answered.told
        except stripe.StripeError as error:
            raise await _translate(error, call, step) from error
        finally:
            _step.reset(token)
        call.answered(step)
        return answer

    async def _list(
        self, call: Call, of: Callable[[Any], Any], asked: dict[str, Any]
    ) -> AsyncIterator[Any]:
        """Every object of a list, page by page."""
        while True:
            token = _step.set((call, LOOK, ""))
            try:
                page = await of(self._v1).list_async(asked)
            except stripe.StripeError as error:
                raise _unread(error) from error
            finally:
                _step.reset(token)
            for one in page.data:
                yield one
            if not page.has_more:
                return
            asked = {**asked, "starting_after": page.data[-1].id}


class _Bridge(stripe.HTTPClient):
    """Hands the SDK's request to the call at hand."""

    name = "ferryman"

    async def request_async(  # type: ignore[override]
        self, method: str, url: str, headers: Mapping[str, str], post_data: str | None = None
    ) -> tuple[str, int, Mapping[str, str]]:
        call, step, key = _step.get()
        adapter = Adapter()
        request = Request(
            method.upper(),
            url.replace("https://stripe.invalid", adapter.address(), 1),
            {k: v for k, v in headers.items() if k in SENT_HEADERS},
            (post_data or "").encode(),
        )
        credentials = {"Authorization": f"Bearer {adapter.secret('STRIPE_SECRET_KEY')}"}
        try:
            answer = await (
                call.read(request, credentials=credentials)
                if request.method == "GET"
                else call.write(step, request, key=key, repeat=Repeat.KEY, credentials=credentials)
            )
        except Unavailable as error:
            if error.answer is None or error.answer.headers.get(REPLAYED) != "true":
                raise
            raise Unknown(
                "the vendor repeats the failure that it keeps under this key",
                look_up=True,
                status=error.status,
            ) from None
        if answer.status == 200 and step != LOOK and (told := _told(answer.body)) is not None:
            raise _Told(told)
        return answer.body.decode("utf-8", "replace"), answer.status, answer.headers


class _Told(Exception):
    """A good answer, on its way past the SDK, which would make a tree of objects of it: that took
    more time than all the rest of a charge here."""

    def __init__(self, told: dict[str, Any]) -> None:
        super().__init__()
        self.told = SimpleNamespace(**told)


def _told(body: bytes) -> dict[str, Any] | None:
    """The answer's fields, or None where the SDK had better say what is wrong with it."""
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return told if isinstance(told, dict) and "id" in told else None


SENT_HEADERS = ("Idempotency-Key", "Content-Type", "Stripe-Version", "User-Agent")


async def _once_free(make: Any, call: Call, step: str) -> Any:
    """A request of a worker that died may still run at Stripe: its key is locked until it ends."""
    for _ in range(LOCKED_LOOKS):
        try:
            return await make()
        except stripe.StripeError as error:
            if error.http_status != CONFLICT:
                raise
        await call.no_effect(step)
        await asyncio.sleep(LOCKED_LOOK_SECONDS)
    return await make()


def _is_of(found: Any, call: Call) -> bool:
    known = found.metadata or {}
    return "job" in known and known["job"] == str(call.job_id)


def _back(since: Since) -> int:
    return int(since.timestamp()) - LOOK_BACK_SECONDS


def _only(found: Sequence[Found]) -> Found | None:
    """The one effect of a job. Two are for a person, whatever made them."""
    if len(found) > 1:
        raise Unknown(
            "the vendor shows more than one effect of this job",
            code="several_effects",
            for_person=True,
        )
    return found[0] if found else None


def _unread(error: stripe.StripeError) -> Exception:
    if isinstance(error, stripe.AuthenticationError | stripe.PermissionError):
        return Misconfigured("STRIPE_SECRET_KEY is not accepted", status=error.http_status)
    return Unavailable("the vendor's list cannot be read", status=error.http_status)


def _options(key: str) -> Any:
    return {"idempotency_key": key}


async def _translate(error: stripe.StripeError, call: Call, step: str) -> Exception:
    """Stripe's word into ours. Only a refusal of the request itself tells about its effect."""
    code = getattr(error, "code", None) or ""
    status = error.http_status
    if isinstance(error, stripe.IdempotencyError):
        await call.no_effect(step)
        return Unknown("the vendor key is known with other parameters", status=status, look_up=True)
    if status == CONFLICT:
        await call.no_effect(step)
        return Unavailable("an earlier request still runs", status=status, retry_after=1.0)
    if isinstance(error, stripe.InvalidRequestError) and call.doubtful(step):
        # Stripe did not get as far as the key: this says nothing of what the earlier one did.
        await call.no_effect(step)
        return Unknown(
            "refused, while an earlier request may have had its effect",
            status=status,
            look_up=True,
        )
    if isinstance(error, stripe.CardError | stripe.InvalidRequestError) and status:
        call.answered(step)
        decline = getattr(error, "decline_code", None) or words.decline_code(error)
        word = words.CODES.get(decline or "") or words.CODES.get(code, "refused")
        return Refused(words.message(word), code=word, status=status)
    if isinstance(error, stripe.AuthenticationError | stripe.PermissionError):
        return Misconfigured("STRIPE_SECRET_KEY is not accepted", status=status)
    return Unknown("the vendor's answer cannot be read", status=status)
