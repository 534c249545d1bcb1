"""Which requests came, and what became of them? The last ten thousand, without their contents."""

import hashlib
import itertools
import time
from collections import deque
from dataclasses import asdict, dataclass

from sandbox.vendor import Request

KEPT = 10_000


@dataclass(slots=True)
class Seen:
    """One request. `status` stays None where the connection was cut or left silent; `body` is a
    digest, by which a test sees that a retry sent the same bytes."""

    seq: int
    vendor: str
    method: str
    path: str
    key: str | None
    body: str
    at: float
    status: int | None = None
    fault: str | None = None


class Traffic:
    def __init__(self) -> None:
        self._seen: deque[Seen] = deque(maxlen=KEPT)
        self._numbers = itertools.count(1)

    def arrive(self, request: Request, key: str | None, fault: str | None) -> Seen:
        digest = hashlib.blake2b(request.body, digest_size=16).hexdigest()
        seen = Seen(
            next(self._numbers),
            request.vendor,
            request.method,
            request.path,
            key,
            digest,
            round(time.time(), 3),
            fault=fault,
        )
        self._seen.append(seen)
        return seen

    def select(self, vendor: str | None) -> list[dict[str, object]]:
        """What is kept, oldest first."""
        return [asdict(seen) for seen in self._seen if vendor in (None, seen.vendor)]
