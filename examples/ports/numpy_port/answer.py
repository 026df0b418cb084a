"""The port for folders of vectors: ``python answer.py FOLDER`` (WS-VECTORS-2).

Only numpy, safetensors and the standard library; nothing of the suite is imported. It claims the
profiles ``codec`` and ``session`` in float32 and float64.

    wanstreamer vectors write  out/vectors --profile codec
    python examples/ports/numpy_port/answer.py out/vectors
    wanstreamer vectors judge  out/vectors
"""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path

from port import Port
from tensors import read, written


def answer(folder: Path) -> None:
    """Write ``actual/`` of one case folder."""
    port = Port(partial(read, folder))
    requests = json.loads((folder / "case.json").read_text())["requests"]
    (folder / "actual").mkdir(exist_ok=True)
    with (folder / "actual" / "replies.ndjson").open("w") as replies:
        for request in requests:
            path = f"actual/{request['id']}.safetensors"
            line = written(folder, path, port.reply(request))
            replies.write(json.dumps(line, separators=(",", ":")) + "\n")


def main() -> None:
    cases = sorted(Path(sys.argv[1], "cases").iterdir())
    for case in cases:
        answer(case)
    print(f"{len(cases)} cases answered")


if __name__ == "__main__":
    main()
