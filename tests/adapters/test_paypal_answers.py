"""PayPal: what its answers mean, and what is done while an earlier one is in doubt."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from adapters import _paypal_wire as wire
from adapters._base import (
    Misconfigured,
    Refused,
    Response,
    Throttled,
    Unavailable,
    Unknown,
    VendorError,
)
from adapters._payments import Known, Payment
from adapters._paypal_issues import CODES
from adapters.paypal import Adapter
from tests.adapters import doubles
from tests.adapters.paypal_double import (
    APPROVAL,
    AUTHORIZE,
    CAPTURE,
    CREATE,
    GIVE_BACK,
    HOLD,
    KNOWN,
    LOOK,
    NOT_FOUND,
    ORDER,
    REFUND_ORDER,
    SESSION,
    TAKE,
    TAKE_HELD,
    TAKEN,
    URL,
    VOID,
    Paypal,
    Script,
    answer,
    capture,
    environment,  # noqa: F401 - for all tests here
    hold,
    order,
    part,
    refund,
    refusal,
)

SINCE = datetime(2026, 11, 28, tzinfo=UTC)
BEGUN = replace(ORDER, session=SESSION)
WAITS = Known(session=SESSION)
DONE = answer(201, order("COMPLETED", captures=[capture()]))
HELD = answer(200, order("COMPLETED", authorizations=[hold()]))
UNTAKEN = answer(200, order("CREATED"))


def looked(status: str, /, **payments: list[dict[str, Any]]) -> Response:
    return answer(200, order(status, **payments))


async def charged(script: Script, **known: Any) -> tuple[Payment, Paypal]:
    paypal = Paypal(script, **known)
    return await Adapter().charge(paypal.call, BEGUN, paypal.keep), paypal


async def failed(script: Script, **known: Any) -> tuple[Any, Paypal]:
    paypal = Paypal(script, **known)
    with pytest.raises(VendorError) as raised:
        await Adapter().charge(paypal.call, BEGUN, paypal.keep)
    return raised.value, paypal


@pytest.mark.parametrize(
    ("given", "error", "code"),
    [
        (refusal(422, "INSTRUMENT_DECLINED"), Refused, "card_declined"),
        (refusal(422, "TRANSACTION_REFUSED"), Refused, "card_declined"),
        (refusal(422, "PAYER_ACCOUNT_RESTRICTED"), Refused, "card_declined"),
        (refusal(422, "PAYER_CANNOT_PAY"), Refused, "card_declined"),
        (refusal(422, "INSUFFICIENT_FUNDS"), Refused, "insufficient_funds"),
        (refusal(422, "CARD_EXPIRED"), Refused, "card_expired"),
        (refusal(422, "PAYEE_ACCOUNT_RESTRICTED"), Refused, "account_restricted"),
        (refusal(422, "TOKEN_ID_NOT_FOUND"), Refused, "payment_method_invalid"),
        (refusal(422, "AGREEMENT_ALREADY_CANCELLED"), Refused, "payment_method_invalid"),
        (refusal(422, "CURRENCY_NOT_SUPPORTED"), Refused, "currency_not_supported"),
        (refusal(400, "DECIMAL_PRECISION"), Refused, "invalid_amount"),
        (refusal(422, "DECIMALS_NOT_SUPPORTED"), Refused, "invalid_amount"),
        (refusal(422, "DUPLICATE_INVOICE_ID"), Refused, "duplicate"),
        (refusal(400, "NEVER_HEARD_OF", "INVALID_STRING_LENGTH"), Refused, "invalid_arguments"),
        (refusal(422, "NEVER_HEARD_OF"), Refused, "refused"),
        (refusal(400, name="INVALID_REQUEST"), Refused, "refused"),
        (answer(415, ["no object"]), Refused, "refused"),
        (answer(400, {"details": 7, "name": None}), Refused, "refused"),
        # Of a 403, only our own rights are a matter of the credential.
        (refusal(403, "PAYER_ACCOUNT_RESTRICTED"), Refused, "card_declined"),
        (refusal(403, "PERMISSION_DENIED", name="NOT_AUTHORIZED"), Misconfigured, "misconfigured"),
        (refusal(403, name="NOT_AUTHORIZED"), Misconfigured, "misconfigured"),
        (answer(403), Misconfigured, "misconfigured"),
        (refusal(401, name="AUTHENTICATION_FAILURE"), Misconfigured, "misconfigured"),
        (refusal(429, name="RATE_LIMIT_REACHED"), Throttled, "rate_limited"),
        (refusal(500, name="INTERNAL_SERVER_ERROR"), Unavailable, "vendor_unavailable"),
        (refusal(503), Unavailable, "vendor_unavailable"),
        (refusal(422, "DUPLICATE_REQUEST_ID"), Unknown, "outcome_unknown"),
        (Response(201, {}, b'{"id": "5O'), Unknown, "outcome_unknown"),
        (answer(201, []), Unknown, "outcome_unknown"),
        (answer(201, {"id": SESSION}), Unknown, "outcome_unknown"),
        (answer(201, order("COMPLETED")), Unknown, "outcome_unknown"),
        (answer(201, order("COMPLETED", captures=[capture(value="12.505x")])),
         Unknown, "outcome_unknown"),
        (answer(302), Unknown, "outcome_unknown"),
        (answer(201, order("COMPLETED", captures=[capture("DECLINED")])),
         Refused, "card_declined"),
        (answer(201, order("COMPLETED", captures=[capture("FAILED")])), Refused, "card_declined"),
    ],
)  # fmt: skip
async def test_answers_to_a_charge(given: Response, error: type[VendorError], code: str) -> None:
    raised, paypal = await failed({TAKE: given})

    assert (type(raised), raised.code) == (error, code)
    assert ("charge" in paypal.notes.answers) == (error is Refused)
    told = json.dumps(raised.as_error())
    assert "in their words" not in told
    if error is Misconfigured:
        assert "PAYPAL_CLIENT_ID" in told


def test_every_code_is_one_of_ours() -> None:
    assert all(code == code.lower() for code in CODES.values())
    assert all(issue == issue.upper() for issue in CODES)


@pytest.mark.parametrize(
    ("step", "given", "code"),
    [
        (GIVE_BACK, refusal(422, "CAPTURE_FULLY_REFUNDED"), "already_refunded"),
        (GIVE_BACK, refusal(422, "REFUND_AMOUNT_EXCEEDED"), "amount_too_large"),
        (GIVE_BACK, refusal(422, "REFUND_CAPTURE_CURRENCY_MISMATCH"), "currency_mismatch"),
        (GIVE_BACK, refusal(422, "REFUND_FAILED_INSUFFICIENT_FUNDS"), "insufficient_funds"),
        (GIVE_BACK, refusal(422, "REFUND_TIME_LIMIT_EXCEEDED"), "refund_too_late"),
        (GIVE_BACK, refusal(422, "TRANSACTION_DISPUTED"), "charge_disputed"),
        (GIVE_BACK, refusal(422, "PENDING_CAPTURE"), "charge_processing"),
        (GIVE_BACK, NOT_FOUND, "not_found"),
        (GIVE_BACK, answer(404), "not_found"),
        (TAKE_HELD, refusal(422, "MAX_CAPTURE_AMOUNT_EXCEEDED"), "amount_too_large"),
        (TAKE_HELD, refusal(422, "AUTH_CAPTURE_CURRENCY_MISMATCH"), "currency_mismatch"),
        (TAKE_HELD, refusal(422, "AUTHORIZATION_EXPIRED"), "authorization_expired"),
        (TAKE_HELD, answer(201, capture("DECLINED")), "card_declined"),
        (CREATE, refusal(422, "CURRENCY_NOT_SUPPORTED"), "currency_not_supported"),
    ],
)
async def test_refusals_of_other_steps(step: str, given: Response, code: str) -> None:
    paypal = Paypal({step: given, LOOK: HELD})
    do = {
        GIVE_BACK: lambda: Adapter().refund(paypal.call, REFUND_ORDER),
        TAKE_HELD: lambda: Adapter().capture(paypal.call, KNOWN, 1000, "usd"),
        CREATE: lambda: Adapter().charge(paypal.call, ORDER, paypal.keep),
    }
    with pytest.raises(Refused) as raised:
        await do[step]()

    assert raised.value.code == code
    assert len(paypal.notes.answers) == 1
    assert paypal.kept == []


@pytest.mark.parametrize(
    ("payments", "status"),
    [
        ({"captures": [capture("PENDING")]}, "processing"),
        ({"captures": [capture("COMPLETED")]}, "succeeded"),
        ({"captures": [capture("REFUNDED")]}, "succeeded"),
        ({"captures": [capture("PARTIALLY_REFUNDED")]}, "succeeded"),
        ({"captures": [capture("A_NEW_WORD")]}, "processing"),
        ({"captures": [part("OLD", "DECLINED"), capture()]}, "succeeded"),
        ({"authorizations": [hold("CREATED")]}, "authorized"),
        ({"authorizations": [hold("PENDING")]}, "processing"),
        ({"authorizations": [hold("VOIDED")]}, "cancelled"),
        ({"authorizations": [hold("DENIED")]}, "failed"),
        ({"authorizations": [hold("CAPTURED")], "captures": [capture()]}, "succeeded"),
        ({"authorizations": [hold("CAPTURED")], "captures": [capture("PENDING")]}, "processing"),
        ({"authorizations": [hold("CREATED")], "captures": [capture("DECLINED")]}, "authorized"),
    ],
)
async def test_what_became_of_an_order(payments: dict[str, Any], status: str) -> None:
    told = await Adapter().resume(
        Paypal({LOOK: looked("COMPLETED", **payments)}).call, BEGUN, WAITS
    )

    assert (told.status, told.amount, told.session) == (status, 1250, SESSION)
    taken = "captures" in payments and status != "authorized"
    assert told.vendor_reference == (CAPTURE if taken else HOLD)


async def test_a_repeat_tells_the_latest_state() -> None:
    """PayPal answers 200, not 201, with what has become of the first since."""
    refunded = order("COMPLETED", captures=[capture("REFUNDED")], refunds=[refund(value="12.50")])

    payment, paypal = await charged({TAKE: answer(200, refunded)}, doubtful="charge")

    assert (payment.status, payment.refunds) == ("succeeded", ())
    assert paypal.notes.answers == ["charge", "order"]


@pytest.mark.parametrize("issue", ["ORDER_ALREADY_CAPTURED", "ORDER_COMPLETED_OR_VOIDED"])
async def test_an_order_that_was_captured_before_is_looked_at(issue: str) -> None:
    script = {
        TAKE: refusal(422, issue),
        LOOK: answer(200, order("COMPLETED", captures=[capture()])),
    }
    for doubtful in (None, "charge"):
        payment, paypal = await charged(script, doubtful=doubtful)

        assert payment.vendor_reference == CAPTURE
        assert paypal.notes.answers == ["charge", "order"]


async def test_an_order_that_shows_nothing_after_all_is_refused() -> None:
    script = {TAKE: refusal(422, "ORDER_ALREADY_CAPTURED"), LOOK: looked("COMPLETED")}

    raised, _ = await failed(script)
    assert (type(raised), raised.code) == (Refused, "already_captured")

    raised, paypal = await failed(script, doubtful="charge")
    assert isinstance(raised, Unknown)
    assert raised.look_up
    assert paypal.notes.answers == []


async def test_an_order_that_was_held_before_is_looked_at() -> None:
    paypal = Paypal({AUTHORIZE: refusal(422, "ORDER_ALREADY_AUTHORIZED"), LOOK: HELD})

    payment = await Adapter().charge(paypal.call, replace(BEGUN, capture=False), paypal.keep)

    assert (payment.status, payment.vendor_reference) == ("authorized", HOLD)


async def test_a_refusal_while_an_earlier_request_is_in_doubt() -> None:
    given = refusal(422, "INSTRUMENT_DECLINED")
    for step, do in (
        ("charge", lambda p: Adapter().charge(p.call, BEGUN, p.keep)),
        ("refund", lambda p: Adapter().refund(p.call, REFUND_ORDER)),
        ("capture", lambda p: Adapter().capture(p.call, KNOWN, 1000, "usd")),
        ("cancel", lambda p: Adapter().cancel_payment(p.call, KNOWN)),
    ):
        script = {TAKE: given, GIVE_BACK: given, TAKE_HELD: given, VOID: given, LOOK: HELD}
        paypal = Paypal(script, doubtful=step)
        with pytest.raises(Unknown) as raised:
            await do(paypal)

        assert raised.value.look_up
        assert paypal.notes.without_effect == [step]
        assert paypal.notes.answers == []


async def test_a_step_that_still_runs_is_waited_for() -> None:
    busy = refusal(409, "PREVIOUS_REQUEST_IN_PROGRESS", name="RESOURCE_CONFLICT")
    odd = refusal(422, "PREVIOUS_REQUEST_IN_PROGRESS")

    payment, paypal = await charged({TAKE: [busy, odd, busy, DONE]})

    assert payment.status == "succeeded"
    assert paypal.asked() == [TAKE] * 4
    assert paypal.notes.without_effect == ["charge"] * 3


async def test_a_step_that_runs_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "LOCKED_LOOKS", 3)

    raised, paypal = await failed({TAKE: refusal(409, "PREVIOUS_REQUEST_IN_PROGRESS")})

    assert isinstance(raised, Unavailable)
    assert paypal.notes.without_effect == ["charge"] * 3


async def test_a_payer_who_has_to_look_is_told_where() -> None:
    link = [{"rel": "payer-action", "href": URL}]
    asks = refusal(422, "PAYER_ACTION_REQUIRED", links=link)
    for script in (
        {TAKE: asks, LOOK: looked("CREATED")},
        {TAKE: asks, LOOK: looked("APPROVED")},
        {TAKE: refusal(422, "ORDER_NOT_APPROVED"), LOOK: UNTAKEN},
    ):
        payment, paypal = await charged(script)

        assert (payment.status, payment.action_url) == ("requires_action", URL)
        assert paypal.notes.answers == ["charge", "order"]


async def test_a_payer_who_has_to_look_and_cannot() -> None:
    raised, _ = await failed({TAKE: refusal(422, "ORDER_NOT_APPROVED"), LOOK: looked("APPROVED")})

    assert (type(raised), raised.code) == (Refused, "authentication_required")


async def test_a_payer_is_not_asked_again_while_a_charge_is_in_doubt() -> None:
    script = {TAKE: refusal(422, "ORDER_NOT_APPROVED"), LOOK: UNTAKEN}
    raised, paypal = await failed(script, doubtful="charge")

    assert isinstance(raised, Unknown)
    assert raised.look_up
    assert paypal.notes.answers == []


async def test_an_order_that_paypal_has_forgotten_is_made_anew() -> None:
    made = order("CREATED")
    paypal = Paypal({TAKE: [NOT_FOUND, DONE], CREATE: answer(201, made)})

    payment = await Adapter().charge(paypal.call, BEGUN, paypal.keep)

    assert payment.status == "succeeded"
    assert paypal.asked() == [TAKE, CREATE, TAKE]
    assert paypal.kept == [SESSION]
    # Under the key of the first it would be told of the first.
    assert paypal.notes.left[1][1] == f"{doubles.JOB}:order:{SESSION}"


async def test_a_forgotten_order_in_doubt_is_looked_up() -> None:
    raised, paypal = await failed({TAKE: NOT_FOUND}, doubtful="charge")

    assert isinstance(raised, Unknown)
    assert raised.look_up
    assert paypal.asked() == [TAKE]


async def test_an_approved_order_is_taken() -> None:
    script = {LOOK: looked("APPROVED"), TAKE: DONE}
    for do in (
        lambda p: Adapter().resume(p.call, APPROVAL, WAITS),
        lambda p: Adapter().charge(p.call, replace(APPROVAL, session=SESSION), p.keep),
    ):
        paypal = Paypal(script)
        payment = await do(paypal)

        assert (payment.status, payment.vendor_reference) == ("succeeded", CAPTURE)
        assert paypal.asked() == [LOOK, TAKE]
        assert paypal.body(TAKE) == {}


async def test_an_order_that_is_not_approved_is_only_looked_at() -> None:
    paypal = Paypal({LOOK: looked("PAYER_ACTION_REQUIRED")})

    payment = await Adapter().resume(paypal.call, APPROVAL, WAITS)

    assert (payment.status, payment.action_url) == ("requires_action", URL)
    assert paypal.asked() == [LOOK]


@pytest.mark.parametrize(
    ("script", "status", "code"),
    [
        ({LOOK: looked("APPROVED"), TAKE: refusal(422, "INSTRUMENT_DECLINED")},
         "failed", "card_declined"),
        ({LOOK: looked("VOIDED")}, "cancelled", None),
        ({LOOK: NOT_FOUND}, "cancelled", "not_found"),
    ],
)  # fmt: skip
async def test_what_came_to_nothing_is_told(script: Script, status: str, code: str) -> None:
    payment = await Adapter().resume(Paypal(script).call, APPROVAL, WAITS)

    assert (payment.status, payment.code, payment.amount) == (status, code, 1250)
    assert payment.vendor_reference is None


async def test_a_payment_that_was_seen_does_not_vanish() -> None:
    script = {
        LOOK: NOT_FOUND,
        f"GET /v2/payments/captures/{CAPTURE}": NOT_FOUND,
        f"GET /v2/payments/authorizations/{CAPTURE}": NOT_FOUND,
    }
    with pytest.raises(Unknown) as raised:
        await Adapter().resume(Paypal(script).call, BEGUN, TAKEN)
    assert raised.value.for_person

    with pytest.raises(Refused):
        await Adapter().cancel_payment(Paypal(script).call, TAKEN)


async def test_the_whole_truth_has_the_refunds() -> None:
    by_hand = refund("PENDING", "1.00") | {"id": "R2", "custom_id": "not-ours"}
    paypal = Paypal({LOOK: looked("COMPLETED", captures=[capture()], refunds=[refund(), by_hand])})

    payment = await Adapter().read_payment(paypal.call, TAKEN)

    ours, theirs = payment.refunds
    assert (ours.vendor_reference, ours.status, ours.amount) == ("R1", "succeeded", 500)
    assert ours.job == doubles.JOB
    assert (theirs.vendor_reference, theirs.status, theirs.job) == ("R2", "pending", None)
    assert not payment.disputed
    assert paypal.notes.left == []


async def test_a_payment_without_its_order() -> None:
    related = {"supplementary_data": {"related_ids": {"order_id": SESSION}}}
    paypal = Paypal(
        {
            f"GET /v2/payments/captures/{CAPTURE}": answer(200, capture(**related)),
            LOOK: looked("COMPLETED", captures=[capture()], refunds=[refund()]),
        }
    )
    payment = await Adapter().read_payment(paypal.call, Known(payment=CAPTURE))
    assert (payment.session, len(payment.refunds)) == (SESSION, 1)

    paypal = Paypal(
        {
            f"GET /v2/payments/captures/{HOLD}": NOT_FOUND,
            f"GET /v2/payments/authorizations/{HOLD}": answer(200, hold()),
        }
    )
    payment = await Adapter().read_payment(paypal.call, Known(payment=HOLD))
    assert (payment.status, payment.vendor_reference) == ("authorized", HOLD)


async def test_refunds_that_cannot_be_seen_are_for_a_person() -> None:
    script = {f"GET /v2/payments/captures/{CAPTURE}": answer(200, capture("PARTIALLY_REFUNDED"))}
    for do in (
        lambda p: Adapter().read_payment(p.call, Known(payment=CAPTURE)),
        lambda p: Adapter().find_refund(p.call, Known(payment=CAPTURE), SINCE),
    ):
        with pytest.raises(Unknown) as raised:
            await do(Paypal(script))
        assert raised.value.for_person


@pytest.mark.parametrize(
    "given",
    [answer(200, []), answer(200, {}), answer(200, {"purchase_units": 7}), answer(418),
     Response(200, {}, b"<html>"), answer(200, order("COMPLETED", captures=[{"id": 1}]))],
)  # fmt: skip
async def test_a_look_that_cannot_be_read(given: Response) -> None:
    for do in (
        lambda p: Adapter().read_payment(p.call, TAKEN),
        lambda p: Adapter().resume(p.call, BEGUN, WAITS),
        lambda p: Adapter().find_charge(p.call, WAITS, SINCE),
    ):
        with pytest.raises(Unavailable):
            await do(Paypal({LOOK: given}))


async def test_two_captures_are_for_a_person() -> None:
    paypal = Paypal({LOOK: looked("COMPLETED", captures=[capture(), part("OTHER", "COMPLETED")])})

    with pytest.raises(Unknown) as raised:
        await Adapter().find_charge(paypal.call, WAITS, SINCE)

    assert (raised.value.for_person, raised.value.code) == (True, "several_effects")


@pytest.mark.parametrize(
    ("given", "status"),
    [
        (looked("COMPLETED", captures=[capture()]), "succeeded"),
        (looked("COMPLETED", captures=[capture("PENDING")]), "processing"),
        (looked("COMPLETED", authorizations=[hold()]), "authorized"),
        (looked("COMPLETED", authorizations=[hold("VOIDED")]), "cancelled"),
        (looked("COMPLETED", captures=[capture("DECLINED")]), None),
        (looked("CREATED"), None),
        (looked("PAYER_ACTION_REQUIRED"), None),
        (looked("APPROVED"), None),
        (NOT_FOUND, None),
    ],
)
async def test_the_charge_of_a_job_is_found_by_its_order(given: Response, status: str) -> None:
    paypal = Paypal({LOOK: given})

    found = await Adapter().find_charge(paypal.call, WAITS, SINCE)

    assert (found.status if found else None) == status
    assert paypal.asked() == [LOOK]


async def test_without_an_order_nothing_was_taken() -> None:
    paypal = Paypal({})

    assert await Adapter().find_charge(paypal.call, Known(), SINCE) is None
    assert paypal.vendor.requests == []


async def test_the_refund_of_a_job_is_found() -> None:
    others = [refund() | {"id": "R2", "custom_id": "x"}, refund("FAILED") | {"id": "R3"}]
    for refunds, expected in (
        ([], None),
        (others, None),
        ([*others, refund()], "R1"),
        ([refund("PENDING")], "R1"),
    ):
        script = {LOOK: looked("COMPLETED", captures=[capture()], refunds=refunds)}
        found = await Adapter().find_refund(Paypal(script).call, TAKEN, SINCE)
        assert (found.vendor_reference if found else None) == expected

    script = {LOOK: looked("COMPLETED", refunds=[refund(), refund() | {"id": "R9"}])}
    with pytest.raises(Unknown) as raised:
        await Adapter().find_refund(Paypal(script).call, TAKEN, SINCE)
    assert raised.value.for_person


@pytest.mark.parametrize("status", ["PENDING", "COMPLETED", "FAILED", "CANCELLED", "NEW_WORD"])
async def test_the_status_of_a_refund(status: str) -> None:
    told = await Adapter().refund(
        Paypal({GIVE_BACK: answer(201, refund(status))}).call, REFUND_ORDER
    )

    ours = {"COMPLETED": "succeeded", "FAILED": "failed", "CANCELLED": "failed"}
    assert told.status == ours.get(status, "pending")


async def test_what_is_captured_already_is_told() -> None:
    script = {
        TAKE_HELD: refusal(422, "AUTHORIZATION_ALREADY_CAPTURED"),
        LOOK: looked(
            "COMPLETED", authorizations=[hold("CAPTURED")], captures=[capture(value="10.00")]
        ),
    }
    for doubtful in (None, "capture"):
        paypal = Paypal(script, doubtful=doubtful)
        payment = await Adapter().capture(paypal.call, KNOWN, 1000, "usd")

        assert (payment.status, payment.vendor_reference) == ("succeeded", CAPTURE)
        assert payment.amount == 1000
        assert paypal.notes.answers == ["capture"]


async def test_what_is_voided_cannot_be_captured() -> None:
    script = {
        TAKE_HELD: refusal(422, "AUTHORIZATION_VOIDED"),
        LOOK: looked("COMPLETED", authorizations=[hold("VOIDED")]),
    }
    with pytest.raises(Refused) as raised:
        await Adapter().capture(Paypal(script).call, KNOWN, 1000, "usd")
    assert raised.value.code == "payment_cancelled"


async def test_a_capture_may_be_pending() -> None:
    paypal = Paypal({TAKE_HELD: answer(201, capture("PENDING"))})
    payment = await Adapter().capture(paypal.call, KNOWN, 1250, "usd")
    assert payment.status == "processing"


@pytest.mark.parametrize(
    ("looks", "void", "status", "asked"),
    [
        ([HELD], answer(204), "cancelled", [LOOK, VOID]),
        ([HELD], answer(200, hold("VOIDED")), "cancelled", [LOOK, VOID]),
        ([looked("COMPLETED", authorizations=[hold("VOIDED")])], None, "cancelled", [LOOK]),
        ([looked("COMPLETED", captures=[capture()])], None, "succeeded", [LOOK]),
        ([looked("COMPLETED", captures=[capture("PENDING")])], None, "processing", [LOOK]),
        ([HELD, looked("COMPLETED", captures=[capture()])], refusal(422, "PREVIOUSLY_CAPTURED"),
         "succeeded", [LOOK, VOID, LOOK]),
        ([HELD, looked("COMPLETED", authorizations=[hold("VOIDED")])],
         refusal(422, "PREVIOUSLY_VOIDED"), "cancelled", [LOOK, VOID, LOOK]),
        ([looked("PAYER_ACTION_REQUIRED")], None, "cancelled", [LOOK]),
        ([looked("APPROVED")], None, "cancelled", [LOOK]),
        ([NOT_FOUND], None, "cancelled", [LOOK]),
    ],
)  # fmt: skip
async def test_giving_up(
    looks: list[Any], void: Response | None, status: str, asked: list[str]
) -> None:
    script = {LOOK: looks} | ({VOID: void} if void else {})
    for doubtful in (None, "cancel"):
        paypal = Paypal(
            {name: list(v) if isinstance(v, list) else v for name, v in script.items()},
            doubtful=doubtful,
        )

        payment = await Adapter().cancel_payment(paypal.call, WAITS)

        assert payment.status == status
        assert payment.action_url is None
        assert paypal.asked() == asked


async def test_what_cannot_be_voided_is_refused() -> None:
    script = {LOOK: HELD, VOID: refusal(422, "PREVIOUSLY_CAPTURED")}
    with pytest.raises(Refused) as raised:
        await Adapter().cancel_payment(Paypal(script).call, KNOWN)
    assert raised.value.code == "already_captured"
