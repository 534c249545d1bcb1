"""Which id comes next? The same ones in the same order for the same seed."""

from random import Random


class Ids:
    """Random-looking ids from a seed. `skip` moves on after a restart, so that none comes twice."""

    def __init__(self, seed: int, skip: int = 0) -> None:
        self._random = Random(f"{seed}:{skip}")

    def new(self, prefix: str, length: int = 24) -> str:
        """`prefix` followed by `length` hexadecimal digits."""
        return f"{prefix}{self._random.getrandbits(4 * length):0{length}x}"
