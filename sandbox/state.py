"""Everything the sandbox knows, in one place, so that a reset can begin it anew."""

import importlib
import tomllib
from importlib.util import find_spec
from pathlib import Path

from sandbox.effects import EffectLog
from sandbox.faults import Faults
from sandbox.ids import Ids
from sandbox.limits import Limits
from sandbox.store import Journal
from sandbox.traffic import Traffic
from sandbox.vendor import Vendor, World

VENDORS = Path(__file__).resolve().parent.parent / "vendors.toml"


def fakes() -> dict[str, type[Vendor]]:
    """The class `Fake` of each module here that is named like a vendor of vendors.toml."""
    names = tomllib.loads(VENDORS.read_text()).keys()
    found = [name for name in names if find_spec(f"sandbox.{name}")]
    return {name: importlib.import_module(f"sandbox.{name}").Fake for name in found}


class State:
    """The vendors with their rows and effects, the fault script, the limits, what was seen."""

    def __init__(self, seed: int, state_file: Path | None) -> None:
        self.seed = seed
        self.journal = Journal(state_file)
        self._fakes = fakes()
        self._begin()

    def _begin(self) -> None:
        self.limits = Limits()
        self.faults = Faults(self.seed)
        self.traffic = Traffic()
        ids = Ids(self.seed, skip=self.journal.lines)
        self.effects = EffectLog(self.journal)
        world = World(self.journal, self.effects, self.limits, ids)
        self.vendors = {name: fake(world) for name, fake in self._fakes.items()}

    def reset(self) -> None:
        """Forgets everything, on disk too. What is still under way ends in the old state."""
        self.journal.clear()
        self._begin()
