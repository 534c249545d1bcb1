"""Folders of files, as the tests of syncs plant them and look at them."""

from __future__ import annotations

from pathlib import Path


def plant(root: Path, tree: dict[str, bytes]) -> Path:
    """Write each of these files below the root."""
    for key, data in tree.items():
        path = root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def tree(root: Path) -> dict[str, bytes]:
    """Every file, by its path below the root."""
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): path.read_bytes() for path in files}
