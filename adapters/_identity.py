"""What a cloud's own library knows of who we are: looked for in a thread, once for all who wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, Protocol, TypeVar


class Found(Protocol):
    def aged(self) -> bool:
        """Whether it ends soon, and is to be renewed before it is used again."""
        ...


F = TypeVar("F", bound=Found)


class Identity(Generic[F]):
    """The credentials of this process. `find` blocks; it is given what has aged, to renew it."""

    def __init__(self, cloud: str, find: Callable[[F | None], F]) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=cloud)
        self._find = find
        self._fingerprint = ""
        self._answer: Future[F] | None = None

    async def found(self, fingerprint: str) -> F:
        """Another fingerprint makes it look anew. Raises what `find` does."""
        answer = self._answer if fingerprint == self._fingerprint else None
        if answer is None or (answer.done() and answer.exception()):
            answer = self._thread.submit(self._find, None)
        elif answer.done() and answer.result().aged():
            answer = self._thread.submit(self._find, answer.result())
        self._fingerprint, self._answer = fingerprint, answer
        if not answer.done():
            await asyncio.shield(asyncio.wrap_future(answer))
        return answer.result()
