"""Was this request seen before? PayPal-Request-Ids, as PayPal keeps them.

A repeat gets the latest state of what the first made, whatever the first was answered and whatever
the repeat's body says; a request that made nothing is as if it had never been. PayPal does not say
what an id does at another address: here it is refused, as its older interfaces do.
Facts: https://developer.paypal.com/reference/guidelines/idempotency
"""

from sandbox.paypal.account import Account
from sandbox.paypal.errors import detail, in_progress, invalid, refused
from sandbox.paypal.objects import Used

LONGEST_KEY = 108
PAYMENTS = "/v2/payments/"


class Keys:
    """The keys and the paths that are in flight."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._in_flight: dict[str, str] = {}
        self._busy: set[str] = set()

    def replay(self, key: str, path: str) -> Used | None:
        """What the first request under this key made. Raises Refused for a key that is too long,
        means another request, or is still being worked on."""
        if not 0 < len(key) <= LONGEST_KEY:
            raise invalid("INVALID_STRING_LENGTH", "PayPal-Request-Id", key, location="header")
        if key in self._in_flight:
            raise in_progress()
        used = self._account.used.get(key)
        if used is None or self._account.now() - used.at >= self._seconds(used.path):
            return None
        if used.path != path:
            raise refused(422, detail("DUPLICATE_REQUEST_ID", value=key))
        return used

    def _seconds(self, path: str) -> int:
        settings = self._account.settings
        if path.startswith(PAYMENTS):
            return settings.payment_key_seconds
        return settings.order_key_seconds

    def begin(self, key: str | None, path: str, *, alone: bool) -> None:
        """A request is being worked on; `alone`: only one at a time may be at this path.

        Raises Refused."""
        if alone and path in self._busy:
            raise in_progress()
        if alone:
            self._busy.add(path)
        if key:
            self._in_flight[key] = path

    def finish(self, key: str | None, path: str) -> None:
        """The work is done."""
        self._busy.discard(path)
        if key and self._in_flight.get(key) == path:
            del self._in_flight[key]


def forget(account: Account, key: str | None) -> int:
    """Lets a key, or every key, grow older than PayPal keeps it; how many those were."""
    chosen = [row for row in account.used.rows.values() if key in (None, row.id)]
    for row in chosen:
        row.at = 0
        account.used.put(row)
    return len(chosen)
