"""ADDING_A_VENDOR.md, followed to the letter in a copy of the tree: three files, no other edit."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
VENDOR = "postbird"
# Its folders and files; not those that hold no code.
COPIED = [
    *("adapters", "api", "ferryman", "models", "sandbox", "tasks", "tests", "worker"),
    *("celeryconfig.py", "pyproject.toml", "vendors.toml", "docker-compose.yml"),
]
SETTINGS, ADAPTER, TESTS = PARTS = (
    "vendors.toml",
    f"adapters/{VENDOR}.py",
    f"tests/adapters/test_{VENDOR}.py",
)
# Without the plugins that no test in question uses, pytest starts in half the time.
PYTEST = ["-m", "pytest", "-q", "-p", "pytest_asyncio.plugin", "-p", "pytest_timeout"]
UNDER_CONTRACT = "tests/contract/test_adapters.py::test_every_vendor_is_under_contract"


def blocks() -> dict[str, str]:
    """The document's own code, by the file that it is for."""
    text = (ROOT / "ADDING_A_VENDOR.md").read_text()
    found = re.findall(r"^```\w+ title=(\S+)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return dict(found)


@dataclass
class Copy:
    """The tree as it would be after the document was followed."""

    folder: Path

    def add(self, vendor: str, parts: Sequence[str]) -> None:
        """These parts of the document's vendor, under that name."""
        for part in parts:
            text = blocks()[part].replace(VENDOR, vendor)
            with (self.folder / part.replace(VENDOR, vendor)).open("a") as file:
                file.write(f"\n{text}" if part == SETTINGS else text)

    def run(self, *words: str) -> tuple[int, str]:
        """Python with these words: its exit status, and what it says."""
        done = subprocess.run(
            [sys.executable, *words],
            cwd=self.folder,
            env={
                **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
                "PYTHONPATH": str(self.folder),
                "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout


def copied(folder: Path) -> Copy:
    for name in COPIED:
        if (ROOT / name).is_dir():
            # With their times, so that what is compiled already need not be again.
            shutil.copytree(ROOT / name, folder / name)
        else:
            shutil.copy(ROOT / name, folder)
    return Copy(folder)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    copy = copied(tmp_path_factory.mktemp("eleventh"))
    copy.add(VENDOR, PARTS)
    return copy


def test_the_document_brings_all_three() -> None:
    assert set(blocks()) == set(PARTS)


def test_its_promises_are_kept_and_its_own_tests_pass(whole: Copy) -> None:
    files = ("tests/contract", "tests/architecture/test_layout.py", TESTS)
    status, said = whole.run(*PYTEST, *files, "-k", VENDOR)

    assert status == 0, said
    # One operation, the webhooks, its own tests: a suite that collects little proves little.
    passed = re.search(r"(\d+) passed", said)
    assert passed, said
    assert int(passed[1]) > 60
    assert "skipped" not in said


def test_imports_still_go_one_way(whole: Copy) -> None:
    lint = str(Path(sys.executable).with_name("lint-imports"))
    status, said = whole.run(lint, "--no-cache")

    assert status == 0, said
    assert "0 broken" in said


def test_its_code_keeps_the_house_rules(whole: Copy) -> None:
    for words in (("check",), ("format", "--check")):
        status, said = whole.run("-m", "ruff", *words, "--no-cache", ADAPTER, TESTS)
        assert status == 0, said


def test_jobs_are_routed_to_it(whole: Copy) -> None:
    script = "import json, ferryman.policies; print(json.dumps(ferryman.policies.routes()))"
    status, said = whole.run("-c", script)

    assert status == 0, said
    (route,) = [route for route in json.loads(said) if route["vendor"] == VENDOR]
    assert route["kind"] == "send_email"
    assert not route["is_default"]


def test_a_missing_part_is_told_by_the_vendor_s_name(tmp_path: Path) -> None:
    """Three such vendors in one tree, each without another part: pytest takes long to start."""
    copy = copied(tmp_path)
    lacking = {f"{VENDOR}_{number}": part for number, part in enumerate(PARTS)}
    for vendor, missing in lacking.items():
        copy.add(vendor, [part for part in PARTS if part != missing])

    status, said = copy.run(*PYTEST, UNDER_CONTRACT, "-k", VENDOR)

    assert status == 1, said
    assert "3 failed" in said
    for vendor, missing in lacking.items():
        (told,) = [line for line in said.splitlines() if f"Error: {vendor} has no" in line]
        assert missing.replace(VENDOR, vendor) in told
