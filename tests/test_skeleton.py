"""The house is as the README says: import names, file sizes, the tree."""

from __future__ import annotations

import re
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("spec", "reference", "optimized", "simulator", "conformance", "wanstreamer")
MAX_LINES = 400


def tracked_files() -> list[str]:
    listing = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return listing.stdout.splitlines()


@pytest.mark.parametrize("name", PACKAGES)
def test_import_name_is_this_checkout(name: str, tmp_path: Path) -> None:
    """The names are generic, so another installed package could take them."""
    # From another folder, as a user's shell would be: only the installation can find it.
    code = f"import importlib.util; print(importlib.util.find_spec({name!r}).origin)"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert Path(run.stdout.strip()) == ROOT / name / "__init__.py"


def test_no_python_file_is_long() -> None:
    """One idea a file: 80 to 260 lines are meant, 400 are the limit."""
    long = {
        name: lines
        for name in tracked_files()
        if name.endswith(".py")
        and (ROOT / name).exists()
        and (lines := len((ROOT / name).read_text(encoding="utf-8").splitlines())) > MAX_LINES
    }
    assert long == {}


def readme_tree() -> dict[str, bool]:
    """Path patterns of the README's tree, and whether a folder's content is listed below it."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(r"^## The tree\n+```\n(.*?)^```", readme, re.DOTALL | re.MULTILINE)
    assert block is not None, "README.md has no tree"
    entries: dict[str, bool] = {}
    above: list[str] = []
    for line in block.group(1).splitlines():
        entry = re.fullmatch(r"( *)(\S+)  +\S.*", line)
        assert entry is not None, f"not 'name  what it is': {line!r}"
        depth = len(entry.group(1)) // 2
        above = [*above[:depth], entry.group(2)]
        if depth:
            entries["".join(above[:-1])] = True
        path = "".join(above)
        assert path not in entries, f"listed twice: {path}"
        entries[path] = False
    return entries


def covered(name: str, entries: dict[str, bool]) -> bool:
    """Whether a tracked file is listed itself or lies in a listed folder that is not opened."""
    folders = [f"{parent}/" for parent in PurePosixPath(name).parents][:-1]
    return any(entries.get(folder) is False for folder in folders) or any(
        fnmatch(name, pattern) and name.count("/") == pattern.count("/") for pattern in entries
    )


def test_readme_tree_lists_every_tracked_file() -> None:
    """A reader finds every file or its folder in the tree; packages are opened."""
    entries = readme_tree()
    files = [name for name in tracked_files() if not name.endswith("__init__.py")]
    closed = {
        name
        for name in PACKAGES
        if any(f.startswith(f"{name}/") for f in files) and not entries.get(f"{name}/")
    }
    assert closed == set()
    assert [name for name in files if not covered(name, entries)] == []


def test_readme_tree_lists_nothing_else() -> None:
    """A line that outlives its file misleads."""
    files = tracked_files()
    stale = [
        entry
        for entry in readme_tree()
        if not any(name.startswith(entry) or fnmatch(name, entry) for name in files)
    ]
    assert stale == []
