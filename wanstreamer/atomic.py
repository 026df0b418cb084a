"""Text files that appear whole or not at all.

Source: CHOICE (WS-ERRORS-1: nothing good is lost by a run that fails).
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from spec.errors import MediaError


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[TextIO]:
    """A text file that takes the place of ``path`` when the block ends well (WS-ERRORS-1).

    Raises:
        MediaError: ``path`` is no plain file, or its folder is missing or cannot be written.
    """
    folder = path.parent
    if not folder.is_dir():
        raise MediaError(f"folder of {path}", str(folder), "an existing folder")
    if path.exists() and not path.is_file():
        # A folder, or a device that must not be replaced by a file.
        raise MediaError("output", str(path), "a plain file, or none yet")
    partial = folder / f".wanstreamer-{secrets.token_hex(4)}.part"
    try:
        file = partial.open("w", encoding="utf-8", newline="\n")
    except OSError as error:
        raise MediaError(f"folder of {path}", str(folder), "a folder to write in") from error
    try:
        with file:
            yield file
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
