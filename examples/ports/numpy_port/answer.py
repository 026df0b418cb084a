"""A port that answers folders of vectors: ``python answer.py FOLDER`` (WS-VECTORS-2).

Only numpy, safetensors and the standard library; nothing of the suite is imported. It claims the
profile ``codec`` in float32 and float64.

    wanstreamer vectors write  out/vectors --profile codec
    python examples/ports/numpy_port/answer.py out/vectors
    wanstreamer vectors judge  out/vectors
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import parts
import safetensors.numpy
from blocks import Array

DTYPES = ["float32", "float64"]
FEATURES = ["codec"]
HELLO = {
    "name": "numpy-port",
    "version": "1",
    "protocol": 1,
    "profiles": ["codec"],
    "dtypes": DTYPES,
    "deterministic": True,
    "features": FEATURES,
    "exact_split": False,
}


class Refused(Exception):  # noqa: N818 - a reply, not an error
    """The request does not fit; the message says why."""


def read(folder: Path, reference: dict[str, str]) -> Array:
    """The array that stands at ``reference``, after a look at the digest of its file."""
    data = (folder / reference["path"]).read_bytes()
    if hashlib.sha256(data).hexdigest() != reference["sha256"]:
        raise Refused(f"{reference['path']} is not what was written")
    return safetensors.numpy.load(data)[reference["name"]]


def codec(folder: Path, request: dict[str, Any]) -> Array:
    """The one command of the profile (WS-CONFORMANCE-7)."""
    data, part, plan = read(folder, request["data"]["tensor"]), request["part"], request["plan"]
    allowed = {"preset": list(parts.PRESETS), "part": list(parts.PARTS), "dtype": DTYPES}
    for what, known in allowed.items():
        if request[what] not in known:
            raise Refused(f"{what}: got {request[what]!r}; allowed: {', '.join(known)}")
    sizes, per_unit = parts.PRESETS[request["preset"]], parts.PARTS[part][2]
    height, width = sizes["video"]["frame"]
    latents = sizes["video"]["latents"], height // 16, width // 16
    rest = {
        "video_codec.encode": (3, height, width),
        "video_encoder": (3, height, width),
        "video_codec.decode": latents,
        "audio_codec.decode": (sizes["audio"]["latents"],),
    }.get(part, ())
    steps = data.shape[0] if data.ndim else 0
    if data.shape[1:] != rest or steps == 0 or steps % per_unit:
        raise Refused(f"input of {part}: got {data.shape}; allowed: units of {(per_unit, *rest)}")
    if plan and (min(plan) < 1 or sum(plan) * per_unit != steps):
        raise Refused(f"plan: got {plan}; allowed: {steps // per_unit} units in all")
    if not np.isfinite(data).all():
        raise Refused(f"input of {part}: got NaN or infinity; allowed: finite values")
    return parts.run(request["preset"], request["dtype"], part, plan, data)


def reply(folder: Path, request: dict[str, Any]) -> dict[str, Any]:
    """The reply to one request, without its id."""
    command = request["command"]
    if command == "hello":
        return {"ok": HELLO}
    if command == "supports":
        return {"ok": {"supported": request["feature"] in (*FEATURES, *DTYPES)}}
    if command != "codec":
        return {"unsupported": {"feature": command}}
    try:
        result = codec(folder, request)
    except Refused as refused:
        return {"error": {"kind": "refused", "message": str(refused)}}
    data = safetensors.numpy.save({"data": result})
    path = f"actual/{request['id']}.safetensors"
    (folder / path).write_bytes(data)
    sha256 = hashlib.sha256(data).hexdigest()
    return {"ok": {"data": {"tensor": {"path": path, "name": "data", "sha256": sha256}}}}


def answer(folder: Path) -> None:
    """Write ``actual/`` of one case folder."""
    requests = json.loads((folder / "case.json").read_text())["requests"]
    (folder / "actual").mkdir(exist_ok=True)
    with (folder / "actual" / "replies.ndjson").open("w") as replies:
        for request in requests:
            line = {"id": request["id"], **reply(folder, request)}
            replies.write(json.dumps(line, separators=(",", ":")) + "\n")


def main() -> None:
    cases = sorted(Path(sys.argv[1], "cases").iterdir())
    for case in cases:
        answer(case)
    print(f"{len(cases)} cases answered")


if __name__ == "__main__":
    main()
