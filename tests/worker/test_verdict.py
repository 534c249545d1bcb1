"""The table of consequences: each error class with and without doubt."""

from __future__ import annotations

import pickle

import pytest

from adapters._base import (
    Misconfigured,
    NotSent,
    Refused,
    Throttled,
    Unavailable,
    Unknown,
)
from adapters._limits import DailyLimit
from ferryman.errors import InvalidArguments
from ferryman.policies import policy
from tasks._base import Done, Pending, Refusal, Stopped, Wait
from worker.verdict import Cancelled, Expired, Facts, HandedBack, backoff, verdict

POLICY = policy("stripe").model_copy(update={"max_attempts": 3, "backoff_seconds": 1.0})
NONE: list[bool] = []
HARMLESS = [True]
STUCK = [False]


def facts(attempts: int = 1, doubts: list[bool] = NONE, throttled: float = 0) -> Facts:
    return Facts(attempts, throttled, 0.0, doubts, POLICY)


@pytest.mark.parametrize(
    ("error", "doubts", "attempts", "status", "outcome"),
    [
        (NotSent("x"), NONE, 1, "waiting", "retry"),
        (NotSent("x"), NONE, 3, "failed", "failed"),
        (NotSent("x"), HARMLESS, 3, "unknown", "unknown"),
        (NotSent("x"), STUCK, 1, "unknown", "unknown"),
        (Unknown("x"), HARMLESS, 1, "waiting", "retry"),
        (Unknown("x"), HARMLESS, 3, "unknown", "unknown"),
        (Unknown("x"), STUCK, 1, "unknown", "unknown"),
        (Unknown("x", for_person=True), NONE, 1, "unknown", "unknown"),
        (Unavailable("x"), NONE, 2, "waiting", "retry"),
        (Unavailable("x"), HARMLESS, 3, "unknown", "unknown"),
        (Throttled("x", retry_after=5), NONE, 9, "waiting", "throttled"),
        (Throttled("x", retry_after=5), HARMLESS, 9, "waiting", "throttled"),
        (Throttled("x", retry_after=5), STUCK, 1, "unknown", "unknown"),
        (Refused("x", code="card_declined"), NONE, 1, "failed", "failed"),
        (Refused("x", code="card_declined"), HARMLESS, 1, "unknown", "unknown"),
        (Misconfigured("x"), NONE, 9, "waiting", "misconfigured"),
        (Misconfigured("x"), STUCK, 1, "unknown", "misconfigured"),
        (Wait("x", 1), NONE, 1, "waiting", "waited"),
        (HandedBack(), NONE, 1, "waiting", "handed_back"),
        (HandedBack(), STUCK, 1, "unknown", "handed_back"),
        (Expired(), NONE, 1, "failed", "failed"),
        (Expired(), HARMLESS, 1, "unknown", "unknown"),
        (Refusal("no", "x"), NONE, 1, "failed", "failed"),
        (InvalidArguments("amount", "x"), NONE, 1, "failed", "failed"),
        (TimeoutError(), HARMLESS, 1, "waiting", "retry"),
        (ZeroDivisionError(), NONE, 1, "failed", "failed"),
        (ZeroDivisionError(), HARMLESS, 1, "unknown", "unknown"),
    ],
)
def test_consequence(
    error: Exception, doubts: list[bool], attempts: int, status: str, outcome: str
) -> None:
    decided = verdict(error, facts(attempts, doubts))

    assert (decided.status, decided.outcome) == (status, outcome)


@pytest.mark.parametrize(
    ("error", "counts"),
    [
        (NotSent("x"), True),
        (Unavailable("x"), True),
        (Throttled("x"), False),
        (Misconfigured("x"), False),
        (Wait("x", 1), False),
        (HandedBack(), False),
    ],
)
def test_what_uses_an_attempt(error: Exception, counts: bool) -> None:
    assert verdict(error, facts()).counts is counts


def test_throttled_for_too_long_is_failed() -> None:
    decided = verdict(Throttled("x"), facts(throttled=POLICY.throttle_max_seconds + 1))

    assert decided.status == "failed"


def test_backoff_doubles_within_its_bounds() -> None:
    for attempt, base in ((1, 1), (2, 2), (3, 4), (40, POLICY.backoff_max_seconds)):
        delays = [backoff(attempt, POLICY, None) for _ in range(200)]
        assert 0.5 * base <= min(delays) < max(delays) <= 1.5 * base


def test_retry_after_is_the_least_delay() -> None:
    assert backoff(1, POLICY, 60) == 60
    assert verdict(Throttled("x", retry_after=7), facts()).delay_seconds >= 7
    # Until a day ends its vendor waits, and none of the jobs.
    assert verdict(DailyLimit("x", retry_after=7000), facts()).delay_seconds < 3


def test_a_defect_is_recorded_with_its_traceback_and_no_secret() -> None:
    secret = "_".join(("sk", "test", "plant" + "ed")) + " some" + "one@example.com"
    try:
        raise ValueError(secret)
    except ValueError as error:
        decided = verdict(error, facts())

    assert decided.error is not None
    assert "test_verdict" in decided.error["traceback"]
    assert "planted" not in decided.error["traceback"]
    assert "someone" not in decided.error["traceback"]


@pytest.mark.parametrize(
    "error",
    [Refusal("no", "x"), InvalidArguments("amount", "x"), Expired(), Refused("x", code="declined")],
    ids=lambda error: type(error).__name__,
)
def test_an_expected_end_survives_celery_s_pickling(error: Exception) -> None:
    # One that does not is taken for unexpected, and logged with its traceback.
    again = pickle.loads(pickle.dumps(error))

    assert (type(again), vars(again), str(again)) == (type(error), vars(error), str(error))


def waits(seconds: float = 5.0) -> Pending:
    return Pending("waits for its payer", seconds, Done({}))


@pytest.mark.parametrize(
    ("error", "status", "pending"),
    [
        (waits(), "waiting", True),
        (NotSent("x"), "waiting", True),
        (Unknown("x"), "waiting", True),
        (Unavailable("x"), "waiting", True),
        (Throttled("x", retry_after=5), "waiting", True),
        (Misconfigured("x"), "waiting", True),
        (Wait("x", 1), "waiting", True),
        (HandedBack(), "waiting", True),
        (TimeoutError(), "waiting", True),
        (Cancelled(), "waiting", True),
        (Stopped(), "cancelled", False),
        (Refused("x", code="card_declined"), "failed", False),
        (Refusal("expired", "x"), "failed", False),
        (Unknown("x", for_person=True), "unknown", False),
        (ZeroDivisionError(), "unknown", False),
    ],
)
def test_while_a_payer_decides_only_the_vendor_s_no_ends_a_job(
    error: BaseException, status: str, pending: bool
) -> None:
    decided = verdict(error, Facts(9, 1e6, 0.0, NONE, POLICY, pending=True))

    assert (decided.status, decided.pending) == (status, pending)
    assert decided.status != "waiting" or not decided.counts


def test_a_pending_job_is_there_when_it_expires() -> None:
    decided = verdict(waits(300), Facts(1, 0.0, 0.0, NONE, POLICY, expires_in=7.0))

    assert 7.0 <= decided.delay_seconds < 8.0


def test_what_is_pending_beside_a_doubt_is_unknown() -> None:
    assert verdict(waits(), Facts(1, 0.0, 0.0, STUCK, POLICY)).status == "unknown"


def test_a_look_up_may_find_that_a_payer_decides() -> None:
    decided = verdict(waits(), Facts(1, 0.0, 0.0, STUCK, POLICY, looks=0, look_seconds=60.0))

    assert (decided.status, decided.pending) == ("waiting", True)
