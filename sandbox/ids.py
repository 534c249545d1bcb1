"""Which id comes next? The same ones in the same order for the same seed."""

from random import Random


class Ids:
    """Random-looking ids from a seed. `skip` moves on after a restart, so that none comes twice."""

    def __init__(self, seed: int, skip: int = 0) -> None:
        self._random = Random(f"{seed}:{skip}")

    def new(self, prefix: str, length: int = 24) -> str:
        """`prefix` followed by `length` hexadecimal digits."""
        return f"{prefix}{self._random.getrandbits(4 * length):0{length}x}"


def job_of(id: str) -> str | None:
    """The job that a record's id is made of, alone or with the record's place within the job."""
    digits = id.replace("-", "")[:32]
    if len(digits) != 32:
        return None
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
