"""How many calls at once may this process make to a vendor that has just come back?

One at first, and one more for each that succeeds: so they double with each round of calls. The
first process that has all it may have ends the drain for everybody.
"""

from __future__ import annotations

from models.vendors import State

# With so many calls at once the vendor is well, however many there may be.
DRAINED = 64


class Drain:
    """The allowance of one process. `most`: with so many its part is done."""

    def __init__(self, most: int) -> None:
        self._most = min(most, DRAINED)
        self._generation = -1
        self._ended = -1
        self.allowance: int | None = None
        """None: there is no drain."""

    def see(self, row: State) -> None:
        """Follow the ledger's row; one that was read before our own end of the drain may still
        come in."""
        if not row.draining or row.generation == self._ended:
            self.allowance = None
        elif row.generation != self._generation or self.allowance is None:
            self.allowance = 1
        self._generation = row.generation

    def widen(self, generation: int, share: int) -> bool:
        """A call of that generation succeeded. True: the drain is to be ended."""
        if self.allowance is None or generation != self._generation:
            return False
        self.allowance += 1
        return self.allowance >= min(self._most, share)

    def end(self) -> None:
        self._ended = self._generation
        self.allowance = None
