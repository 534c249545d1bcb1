"""Was this request seen before? Idempotency keys, as Stripe keeps them.

Facts: https://docs.stripe.com/api/idempotent_requests. Stored is what was answered once execution
had begun, a 402 and a 500 included; never a 4xx of the validation, a 409 or a 429.
"""

import hashlib
from dataclasses import dataclass

from sandbox.stripe.account import Account
from sandbox.stripe.errors import Refused
from sandbox.stripe.objects import Stored
from sandbox.vendor import Answer

LONGEST_KEY = 255


@dataclass(frozen=True, slots=True)
class Keyed:
    """A request under a key: where it went and what it said, whatever the parameters' order."""

    key: str
    path: str
    fingerprint: str


def keyed(key: str, path: str, form: list[tuple[str, str]]) -> Keyed:
    """Raises Refused for a key that is too long."""
    if len(key) > LONGEST_KEY:
        raise Refused(400, f"Idempotency keys can be up to {LONGEST_KEY} characters long.")
    digest = hashlib.blake2b(repr(sorted(form)).encode(), digest_size=16)
    return Keyed(key, path, digest.hexdigest())


class Keys:
    """The keys in flight, and those with a stored answer."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._in_flight: dict[str, Keyed] = {}

    def replay(self, request: Keyed) -> Answer | None:
        """The stored answer, if there is one. Raises Refused for a key that means another
        request, or one that is still being worked on."""
        if first := self._in_flight.get(request.key):
            _same(request, first.path, first.fingerprint)
            raise Refused(
                409,
                "There is currently another in-progress request using this Idempotent Key (that"
                " probably means you submitted twice, and the other request is still going"
                f" through): {request.key}. Please try again later.",
                type="idempotency_error",
                code="idempotency_key_in_use",
            )
        stored = self._account.stored.get(request.key)
        if stored is None or self._account.now() - stored.at >= self._account.settings.key_seconds:
            return None
        _same(request, stored.path, stored.fingerprint)
        headers = {"Idempotent-Replayed": "true", "Original-Request": stored.request}
        return Answer(stored.status, stored.body.encode(), headers)

    def begin(self, request: Keyed) -> None:
        self._in_flight[request.key] = request

    def finish(self, key: str, answer: Answer, request_id: str) -> None:
        """The work under the key is done: from now on this is its answer."""
        request = self._in_flight.pop(key)
        self._account.stored.put(
            Stored(
                key,
                request.path,
                request.fingerprint,
                self._account.now(),
                answer.status,
                answer.body.decode(),
                request_id,
            )
        )


def forget(account: Account, key: str | None) -> int:
    """Lets a key, or every key, grow older than Stripe keeps it; how many those were."""
    chosen = [row for row in account.stored.rows.values() if key in (None, row.id)]
    for row in chosen:
        row.at = 0
        account.stored.put(row)
    return len(chosen)


def _same(request: Keyed, path: str, fingerprint: str) -> None:
    other = (
        f"Try using a key other than '{request.key}' if you meant to execute a different request."
    )
    if request.path != path:
        raise Refused(
            400,
            "Keys for idempotent requests can only be used for the same endpoint they were first"
            f" used for ('{request.path}' vs '{path}'). {other}",
            type="idempotency_error",
        )
    if request.fingerprint != fingerprint:
        raise Refused(
            400,
            "Keys for idempotent requests can only be used with the same parameters they were"
            f" first used with. {other}",
            type="idempotency_error",
        )
