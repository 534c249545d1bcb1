"""The tree's own rules: names, homes, and who may import whom."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from adapters._base import Adapter, adapter
from ferryman.policies import policies, routes
from tasks._base import Job, jobs

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("ferryman", "api", "worker", "tasks", "adapters", "models")
VENDORS = sorted(policies())


def public(folder: str) -> list[str]:
    found = (ROOT / folder).glob("*.py")
    return sorted(path.stem for path in found if not path.stem.startswith("_"))


def test_one_adapter_file_one_settings_table_one_test_file_a_vendor() -> None:
    tests = {path.stem.removeprefix("test_") for path in (ROOT / "tests/adapters").glob("test_*")}

    assert public("adapters") == VENDORS
    assert set(VENDORS) <= tests


@pytest.mark.parametrize("vendor", VENDORS)
def test_an_adapter_is_found_by_its_name(vendor: str) -> None:
    found = adapter(vendor)

    assert isinstance(found, Adapter)
    assert found.vendor == vendor
    assert found.secrets


def owner(stem: str) -> str | None:
    """The vendor whose own file it is; None: it is everybody's."""
    return next((name for name in VENDORS if re.fullmatch(f"_?{name}(_.*)?", stem)), None)


def known(source: str) -> set[str]:
    """The files of `adapters/` that this one imports."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module == "adapters":
            found |= {f"adapters.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name.split(".")[1] for name in found if name.startswith("adapters.")}


def foreign(stem: str, source: str) -> set[str]:
    """Of those, the ones that are another vendor's."""
    return {name for name in known(source) if owner(name) not in (None, owner(stem))}


@pytest.mark.parametrize("path", sorted((ROOT / "adapters").glob("*.py")), ids=lambda p: p.stem)
def test_adapters_do_not_know_each_other(path: Path) -> None:
    source = path.read_text()

    assert foreign(path.stem, source) == set()
    assert known(source) or path.stem not in VENDORS


@pytest.mark.parametrize(
    "line",
    [
        "import adapters.stripe",
        "from adapters.stripe import Adapter",
        "from adapters import _redact, _stripe",
        "from adapters import _stripe_client as client",
    ],
)
@pytest.mark.parametrize("stem", ["paypal", "_paypal_token", "_http"])
def test_a_planted_acquaintance_is_seen(stem: str, line: str) -> None:
    assert foreign(stem, f"def late():\n    {line}\n")
    assert not foreign("_stripe_events", line)


def test_each_kind_has_its_file() -> None:
    assert sorted(job.request.kind for job in jobs()) == public("tasks")
    assert {route["kind"] for route in routes()} <= set(public("tasks"))


def test_a_job_promises_its_consequences() -> None:
    for job in jobs():
        assert isinstance(job, Job)
        assert inspect.iscoroutinefunction(job.run)


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("ferryman/_planted.py", "import celery"),
        ("adapters/_planted.py", "import models.jobs"),
        ("tasks/_planted.py", "import httpx"),
        ("models/_planted.py", "import tasks.charge"),
        ("adapters/_planted.py", "import sqlalchemy"),
    ],
)
def test_a_planted_import_turns_the_check_red(module: str, line: str, tmp_path: Path) -> None:
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / module).write_text(line + "\n")

    checked = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert checked.returncode != 0
    assert "_planted" in checked.stdout


def test_the_client_imports_quickly_and_alone() -> None:
    script = (
        "import sys, ferryman;"
        "heavy = {'celery', 'sqlalchemy', 'stripe', 'fastapi', 'aiohttp'} & set(sys.modules);"
        "print(sorted(heavy))"
    )
    out = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )

    assert out.stdout.strip() == "[]"


def test_celeryconfig_holds_data_only() -> None:
    tree = ast.parse((ROOT / "celeryconfig.py").read_text())

    assert {type(node) for node in tree.body} == {ast.Assign}
    assert importlib.import_module("celeryconfig").accept_content == ["json"]
