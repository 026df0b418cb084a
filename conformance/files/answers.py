"""A port answers a case folder: what an implementer's own program does for the files entrance
(WS-VECTORS-2)."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors.numpy

from conformance.files.altered import applied
from conformance.files.folder import ACTUAL, REPLIES, CaseFolder
from conformance.protocol import Array, Json, Port, Refusal, Unsupported
from conformance.stdio import messages, strict_json
from conformance.stdio.answering import ACTIONS
from conformance.stdio.messages import COMMANDS
from conformance.stdio.tensor_files import Reference
from spec.errors import WanStreamerError


def answer_case(folder: CaseFolder, port: Port) -> None:
    """Write ``actual/`` of one case folder; what stood there is gone."""
    actual = folder.path / ACTUAL
    shutil.rmtree(actual, ignore_errors=True)
    actual.mkdir()
    sessions: dict[str, str] = {}
    results: list[Any] = []
    lines = []
    for index, request in enumerate(folder.requests):
        outcome, result = _outcome(folder, index, port, sessions, results)
        results.append(result)
        lines.append(strict_json.line({"id": request["id"], **outcome}))
    for theirs in sessions.values():
        # A case that leaves a session open must not burden the next one.
        port.close(theirs)
    (actual / REPLIES).write_bytes(b"".join(lines))


def _outcome(
    folder: CaseFolder, index: int, port: Port, sessions: dict[str, str], results: list[Any]
) -> tuple[Json, Any]:
    """The reply to one request as it is written, and the results as the port gave them."""
    request = folder.requests[index]
    command = request["command"]
    fields = {k: v for k, v in request.items() if k not in ("id", "command")}
    # In a case folder the n-th session is called sn, whatever the port calls it.
    if fields.get("session") in sessions:
        fields["session"] = sessions[fields["session"]]
    state = fields.get("state", {}) if command == "import_kv" else {}
    try:
        if "reply_of" in state:
            own = applied(results[state["reply_of"]], state.get("altered", {}))
            port.import_kv(fields["session"], own)
            return {"ok": {}}, None
        arguments = messages.decoder(folder.tensor)(fields, COMMANDS[command][0])
        result = ACTIONS[command](port, arguments)
    except Unsupported as unsupported:
        return {"unsupported": {"feature": unsupported.feature}}, None
    except (Refusal, WanStreamerError) as refusal:
        return {"error": {"kind": "refused", "message": str(refusal)}}, None
    except Exception as error:  # noqa: BLE001 - whatever a port does, the next request is answered
        line = " ".join(f"{type(error).__name__}: {error}".split())
        return {"error": {"kind": "internal", "message": line}}, None
    if command == "open":
        name = f"s{sum(r is not None and hasattr(r, 'session') for r in results)}"
        sessions[name] = result.session
        return {"ok": {"session": name}}, result
    if command == "close":
        sessions.pop(request["session"], None)
    return {"ok": messages.encode(result, lambda t: _written(folder, index, t))}, result


def _written(
    folder: CaseFolder, index: int, tensors: Mapping[str, Array]
) -> Mapping[str, Reference]:
    data = safetensors.numpy.save(
        {name: np.require(array, requirements="C") for name, array in tensors.items()}
    )
    path = f"{ACTUAL}/{index + 1}.safetensors"
    (folder.path / path).write_bytes(data)
    sha256 = hashlib.sha256(data).hexdigest()
    return {name: Reference(path=path, name=name, sha256=sha256) for name in tensors}
