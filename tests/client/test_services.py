"""The service commands become `python -m …` with the services' folder in front."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from ferryman import _root
from ferryman._root import environment, root
from ferryman.cli import main


class Became(Exception):
    """In the place of `execve`, which does not return."""


@pytest.fixture
def became(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[list[str], dict[str, str]]]:
    def execve(program: str, argv: list[str], env: dict[str, str]) -> None:
        assert program == sys.executable == argv[0]
        raise Became(argv[1:], env)

    monkeypatch.setattr(os, "execve", execve)

    def run(*words: str) -> tuple[list[str], dict[str, str]]:
        with pytest.raises(Became) as raised:
            CliRunner().invoke(main, words, catch_exceptions=False)
        argv, env = raised.value.args
        return argv, env

    return run


@pytest.mark.parametrize(
    ("words", "argv"),
    [
        ("up", "worker.supervisor"),
        (
            "up --sandbox --api-port 9000 --sandbox-port 0",
            "worker.supervisor --sandbox --api-port 9000 --sandbox-port 0",
        ),
        ("worker", "worker"),
        ("api", "api --host 127.0.0.1 --port 8080"),
        ("api --host 0.0.0.0 --port 0", "api --host 0.0.0.0 --port 0"),
        ("migrate", "models.migrate"),
        (
            "sandbox --port 9 --state s.json --faults f.json",
            "sandbox --port 9 --state s.json --faults f.json --host 127.0.0.1",
        ),
    ],
)
def test_modules(
    became: Callable[..., tuple[list[str], dict[str, str]]], words: str, argv: str
) -> None:
    found, env = became(*words.split())
    assert found == ["-m", *argv.split()]
    assert env["PYTHONPATH"].split(os.pathsep)[0] == str(root())


def test_flower_changes_nothing_and_asks_for_a_login(
    became: Callable[..., tuple[list[str], dict[str, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = CliRunner().invoke(main, ["flower", "--host", "0.0.0.0"])
    assert refused.exit_code == 2
    assert "FLOWER_BASIC_AUTH" in refused.stderr
    monkeypatch.setenv("FLOWER_BASIC_AUTH", "ops:x")
    argv, _ = became("flower", "--host", "0.0.0.0", "--port", "5556")
    assert {"--read-only", "--persistent", "--address=0.0.0.0", "--port=5556"} <= set(argv)


def test_folders_of_the_user_are_not_taken_for_ours(tmp_path: Path) -> None:
    for name in ("worker", "api", "models"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('the wrong one')")
    code = "import worker, models, api; print(worker.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == str(root() / "worker" / "__init__.py"), done.stderr


def test_a_client_alone_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_root, "find_spec", lambda _: None)
    result = CliRunner().invoke(main, ["worker"])
    assert result.exit_code == 2
    assert "pip install 'ferryman[service]'" in result.stderr
