"""The golden vectors of the preset `tiny`: committed, and written again only on purpose.

    python scripts/golden_vectors.py            hold them against what today's suite would write
    python scripts/golden_vectors.py --write    write them anew (then raise FIXTURE_VERSION)

Never run by a test with --write (WS-VECTORS-4).
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Final

from conformance.files import vectors
from conformance.files.manifest import Selection, read_manifest
from conformance.resolve import resolve
from spec.errors import WanStreamerError

GOLDEN: Final = Path(__file__).parent.parent / "conformance" / "vectors" / "tiny"
SELECTION: Final = Selection(
    dtypes=("float32",),
    cases=(
        "port/honest:[!u]*",
        "math/*-float32-*",
        "codec/levels:audio_*-whisper",
        "codec/levels:video_encoder-whisper",
        "codec/levels:video_codec.encode-whisper",
        "codec/refusals:audio_*-plan-*",
        "exchange/exactly-once:*",
        "exchange/thinker:*",
        "session/modalities:text-only",
        "session/modalities:voice-only",
        "identity/sessions:text-only",
        "identity/refused:nan-voice",
        "prefill/refused:picture-cut",
        "sampling/words:warm",
        "sampling/words:nucleus",
    ),
)
"""Every profile, and no video of a whole session: a megabyte each."""


def main() -> None:
    """Verify, or write."""
    try:
        if "--write" in sys.argv[1:]:
            shutil.rmtree(GOLDEN, ignore_errors=True)
            vectors.write(GOLDEN, SELECTION, resolve("reference"), resolve("reference"))
        with tempfile.TemporaryDirectory() as scratch:
            again = Path(scratch) / "again"
            vectors.verify(GOLDEN, again, resolve("reference"), resolve("reference"))
    except WanStreamerError as error:
        sys.exit(f"golden vectors: {error}")
    manifest = read_manifest(GOLDEN)
    size = sum(path.stat().st_size for path in GOLDEN.rglob("*") if path.is_file())
    print(f"{len(manifest.cases)} cases, {len(manifest.files)} files, {size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
