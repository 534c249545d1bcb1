"""The tree's own rules: names, homes, and who may import whom."""

from __future__ import annotations

import ast
import importlib
import inspect
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


@pytest.mark.parametrize("vendor", VENDORS)
def test_adapters_do_not_know_each_other(vendor: str) -> None:
    tree = ast.parse((ROOT / f"adapters/{vendor}.py").read_text())
    imported = [
        node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module
    ]

    assert [name for name in imported if name.startswith("adapters.")]
    assert all(name.startswith("adapters._") for name in imported if name.startswith("adapters."))


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
