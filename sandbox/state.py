"""Everything the sandbox knows, in one place, so that a reset can begin it anew."""

import importlib
import shutil
import tempfile
import tomllib
import weakref
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from sandbox.effects import EffectLog
from sandbox.faults import Faults
from sandbox.ids import Ids
from sandbox.limits import Limits
from sandbox.store import Journal
from sandbox.traffic import Traffic
from sandbox.vendor import Vendor, World
from sandbox.webhooks import Target, Webhooks

VENDORS = Path(__file__).resolve().parent.parent / "vendors.toml"


def fakes() -> dict[str, type[Vendor]]:
    """The class `Fake` of each module here that is named like a vendor of vendors.toml."""
    names = tomllib.loads(VENDORS.read_text()).keys()
    found = [name for name in names if find_spec(f"sandbox.{name}")]
    return {name: importlib.import_module(f"sandbox.{name}").Fake for name in found}


class State:
    """The vendors with their rows and effects, the fault script, the limits, what was seen.

    `folder` keeps the files that applications read, beyond a kill as well; without one they lie in
    a folder that goes with this process. `webhooks`: below it each vendor has its first target.
    """

    def __init__(
        self,
        seed: int,
        state_file: Path | None,
        folder: Path | None = None,
        webhooks: str | None = None,
    ) -> None:
        self.seed = seed
        self.journal = Journal(state_file)
        self.folder = folder.absolute() if folder else self._passing()
        self._fakes = fakes()
        self._aimed_at = webhooks
        self.webhooks = Webhooks(self._signed, seed)
        self._begin()

    def _passing(self) -> Path:
        folder = Path(tempfile.mkdtemp(prefix="ferryman-sandbox-"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return folder

    def _signed(self, vendor: str, event: bytes, url: str) -> Mapping[str, str]:
        return self.vendors[vendor].headers(event, url)

    def _begin(self) -> None:
        self.limits = Limits()
        self.faults = Faults(self.seed)
        self.traffic = Traffic()
        ids = Ids(self.seed, skip=self.journal.lines)
        self.effects = EffectLog(self.journal)
        world = World(self.journal, self.effects, self.limits, ids, self.webhooks, self.folder)
        self.vendors = {name: fake(world) for name, fake in self._fakes.items()}
        if self._aimed_at is not None:
            for name in self.vendors:
                self.webhooks.aim(name, Target(f"{self._aimed_at}/{name}"))

    def reset(self) -> None:
        """Forgets everything, on disk too. What is still under way ends in the old state."""
        self.journal.clear()
        self.webhooks.reset()
        self._begin()
