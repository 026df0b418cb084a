"""What a folder of cases holds, and whether it is still what was written (WS-VECTORS-3)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs
import cattrs

from conformance.protocol import PROTOCOL_VERSION, DType, Profile
from conformance.stdio import strict_json
from conformance.stdio.strict_json import NotJson
from spec.errors import VectorError

FORMAT: Final = "wanstreamer-vectors"
VERSION: Final = 1
FIXTURE_VERSION: Final = 5
"""Goes up when the cases of a committed folder are meant to change (WS-VECTORS-4)."""
MANIFEST: Final = "manifest.json"
CASES: Final = "cases"
ORACLE: Final = "oracle"
ANSWERED: Final = "actual"


@attrs.frozen(kw_only=True)
class Selection:
    """Which cases a folder is about; ``cases`` are patterns of ids, as a shell matches them."""

    preset: str = "tiny"
    profiles: tuple[Profile, ...] = ("math", "codec", "session", "split")
    dtypes: tuple[DType, ...] = ("float32",)
    cases: tuple[str, ...] = ("*",)


@attrs.frozen(kw_only=True)
class StoredBudget:
    """What class C allows one tensor of a case (WS-CONFORMANCE-9): rms and largest error."""

    tensor: str
    dtype: str
    rms: float
    max: float


@attrs.frozen(kw_only=True)
class Manifest:
    """``manifest.json``: the selection, the ids of its cases, their tolerance budgets where they
    have any, and the SHA-256 of every file by its path."""

    format: str = FORMAT
    version: int = VERSION
    fixture_version: int = FIXTURE_VERSION
    protocol: int = PROTOCOL_VERSION
    selection: Selection
    cases: tuple[str, ...]
    budgets: Mapping[str, tuple[StoredBudget, ...]]
    files: Mapping[str, str]


def hashed(root: Path) -> dict[str, str]:
    """SHA-256 of every file of ours under ``root``; a port's answers are its own."""
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for kind in (CASES, ORACLE)
        for path in sorted((root / kind).rglob("*"))
        if path.is_file() and path.relative_to(root / kind).parts[1:2] != (ANSWERED,)
    }


def write_manifest(root: Path, manifest: Manifest) -> None:
    """As the last file, so that a folder without one is known to be half-written."""
    text = json.dumps(attrs.asdict(manifest), indent=1) + "\n"
    (root / MANIFEST).write_text(text, encoding="utf-8")


def read_manifest(root: Path) -> Manifest:
    """The manifest of a folder.

    Raises:
        VectorError: there is none, or one of another format or version.
    """
    try:
        data: Any = strict_json.parse((root / MANIFEST).read_bytes())
        known = data.get("format"), data.get("version")
        if known != (FORMAT, VERSION):
            raise VectorError(f"{root}/{MANIFEST}", known, f"{FORMAT} version {VERSION}")
        return cattrs.Converter(forbid_extra_keys=True).structure(data, Manifest)
    except OSError as error:
        raise VectorError("folder", str(root), f"one with a {MANIFEST}") from error
    except (NotJson, AttributeError, cattrs.BaseValidationError) as error:
        raise VectorError(f"{root}/{MANIFEST}", str(error), "what `vectors write` wrote") from error


def check_files(root: Path, manifest: Manifest) -> None:
    """Every file is there and is what was written.

    Raises:
        VectorError: the first that is missing, changed, or too many.
    """
    found = hashed(root)
    for name in sorted(manifest.files.keys() | found.keys()):
        wrong = {
            name not in found: "missing",
            name not in manifest.files: "not in the manifest",
        }.get(True)
        if wrong is None and found[name] != manifest.files[name]:
            wrong = f"changed: SHA-256 {found[name][:12]}…"
        if wrong is not None:
            raise VectorError(name, wrong, "the files as `vectors write` wrote them")
