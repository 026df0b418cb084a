"""Runs as case folders: ``case.json``, ``inputs.safetensors``, ``expected.safetensors``
(WS-VECTORS-1, WS-VECTORS-2).

A case folder holds the very requests of the stdio protocol, in order, with paths that begin at the
folder itself. A tensor that an earlier folder holds already is not written again: the path leads
there. A port answers in ``actual/``: ``replies.ndjson``, a line for each request, and tensor files.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, cast

import attrs
import numpy as np
import safetensors.numpy

from conformance import wire
from conformance.files.replay import Recorded
from conformance.files.tape import START, Crash, Said, key_after
from conformance.protocol import Array, Inconclusive, Json, Refusal, Unsupported
from conformance.stdio import messages, strict_json
from conformance.stdio.limits import Limits
from conformance.stdio.message_schemas import problem
from conformance.stdio.messages import COMMANDS
from conformance.stdio.strict_json import NotJson
from conformance.stdio.tensor_files import OPEN_FLAGS, BadFile, Reader, Reference, parsed
from spec.errors import VectorError

CASE: Final = "case.json"
INPUTS: Final = "inputs.safetensors"
EXPECTED: Final = "expected.safetensors"
ACTUAL: Final = "actual"
REPLIES: Final = "replies.ndjson"


class Pool:
    """Tensors that are on disk already, by their digest, for all case folders of one place."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, Reference]] = {}

    def write(
        self, folder: Path, file_name: str, tensors: Mapping[str, Array]
    ) -> Mapping[str, Reference]:
        """References to ``tensors`` from ``folder``; what is new goes into ``file_name`` there."""
        digests = {name: wire.array_digest(array) for name, array in tensors.items()}
        fresh: dict[str, str] = {}
        for name, digest in digests.items():
            if digest not in self._known:
                fresh.setdefault(digest, name)
        written = _saved(folder, file_name, {name: tensors[name] for name in fresh.values()})
        for digest, name in fresh.items():
            self._known[digest] = folder.name, attrs.evolve(written[name], path=file_name)
        return {name: self._seen_from(folder, digest) for name, digest in digests.items()}

    def _seen_from(self, folder: Path, digest: str) -> Reference:
        home, reference = self._known[digest]
        here = home == folder.name
        return reference if here else attrs.evolve(reference, path=f"../{home}/{reference.path}")


def write_run(
    folder: Path, said: Sequence[Said], pool: Pool, facts: Mapping[str, Any]
) -> tuple[str, ...]:
    """One run as a new case folder; returns its keys.

    Args:
        facts: what else is to stand in ``case.json``.
    """
    folder.mkdir(parents=True)
    inputs = {f"{i}.{n}": a for i, s in enumerate(said) for n, a in s.question.tensors.items()}
    replies = [_encoded(s.reply) for s in said]
    outputs = {f"{i}.{n}": a for i, (_, t) in enumerate(replies) for n, a in t.items()}
    given = pool.write(folder, INPUTS, inputs)
    wanted = pool.write(folder, EXPECTED, outputs)
    keys, key = [], START
    for s in said:
        key = key_after(key, s.question)
        keys.append(key)
    requests = [
        {"id": i + 1, "command": s.question.command, **_placed(s.question.data, given, i)}
        for i, s in enumerate(said)
    ]
    expected = [{"id": i + 1, **_placed(data, wanted, i)} for i, (data, _) in enumerate(replies)]
    case = {**facts, "requests": requests, "expected": expected, "keys": keys}
    (folder / CASE).write_text(json.dumps(case, indent=1) + "\n", encoding="utf-8")
    return tuple(keys)


def _encoded(reply: Any) -> tuple[Json, Mapping[str, Array]]:
    """The outcome of a reply, without its id."""
    if isinstance(reply, Unsupported):
        return {"unsupported": {"feature": reply.feature}}, {}
    if isinstance(reply, Exception):
        kind = "refused" if isinstance(reply, Refusal) else "internal"
        return {"error": {"kind": kind, "message": str(reply)}}, {}
    data, tensors = reply
    return {"ok": data}, tensors


def _placed(data: Any, references: Mapping[str, Reference], index: int) -> Any:
    """``data`` with references in the place of its arrays."""
    if isinstance(data, wire.Named):
        return {"tensor": attrs.asdict(references[f"{index}.{data['tensor']}"])}
    if isinstance(data, dict):
        return {key: _placed(value, references, index) for key, value in data.items()}
    if isinstance(data, list):
        return [_placed(value, references, index) for value in data]
    return data


@attrs.frozen(kw_only=True, eq=False)
class CaseFolder:
    """A case folder that was read: its requests, what is expected, and the key of each request."""

    path: Path
    requests: tuple[Json, ...]
    expected: tuple[Json, ...]
    keys: tuple[str, ...]
    repeat: int

    @classmethod
    def read(cls, path: Path) -> CaseFolder:
        """The folder at ``path``.

        Raises:
            VectorError: there is no readable ``case.json``.
        """
        try:
            case = strict_json.parse((path / CASE).read_bytes())
            lists = tuple(tuple(case[name]) for name in ("requests", "expected", "keys"))
            return cls(path=path, requests=lists[0], expected=lists[1], keys=lists[2],
                       repeat=int(case["repeat"]))  # fmt: skip
        except (OSError, NotJson, KeyError, TypeError, ValueError) as error:
            raise VectorError(f"{path.name}/{CASE}", str(error), "a case of this format") from error

    def recorded(self, actual: bool) -> Recorded:
        """The run: answered by the port if ``actual``, else as it is expected."""
        return Recorded(
            keys=self.keys, repeat=self.repeat, reply=self._actual if actual else self._expected
        )

    def tensor(self, reference: Reference) -> Array:
        """An array of ours, wherever it was first written.

        Raises:
            VectorError: the file is gone, or not what it was.
        """
        what = f"{self.path.name}: {reference.path}"
        try:
            path = (self.path / reference.path).resolve()
            sha256, tensors = _own_file(path, path.stat().st_mtime_ns)
            array = tensors[reference.name]
        except (OSError, BadFile, KeyError) as error:
            raise VectorError(what, str(error), "the file as it was written") from error
        if sha256 != reference.sha256:
            raise VectorError(what, f"SHA-256 {sha256[:12]}…", "the file as it was written")
        return array

    def _expected(self, index: int) -> Any:
        return self._outcome(index, self.expected[index], self.tensor)

    def _actual(self, index: int) -> Any:
        """What the port answered to request ``index``; every doubt is the port's fault."""
        try:
            reply = self._reply(index)
            folder = os.open(self.path / ACTUAL, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                return self._outcome(index, reply, Reader(ACTUAL, folder, Limits()))
            finally:
                os.close(folder)
        except (BadFile, NotJson, OSError) as error:
            return Crash(f"{self.path.name}/{ACTUAL}: {error}")

    def _reply(self, index: int) -> Json:
        """Line ``index`` of the port's replies, well-formed."""
        lines = self._replies()
        if len(lines) != len(self.requests):
            raise BadFile(f"{len(lines)} replies in {REPLIES} to {len(self.requests)} requests")
        reply = strict_json.parse(lines[index])
        wrong = problem(self.requests[index]["command"], "reply", reply)
        if wrong is None and reply["id"] != index + 1:
            wrong = f"id {reply['id']}, not {index + 1}"
        if wrong is not None:
            raise BadFile(f"reply {index + 1}: {wrong}")
        return cast("Json", reply)

    def _replies(self) -> list[bytes]:
        if not (self.path / ACTUAL).is_dir():
            raise Inconclusive(f"{self.path.name} was not answered: no {ACTUAL}/ in it")
        return _plain_bytes(self.path / ACTUAL / REPLIES).splitlines()

    def _outcome(self, index: int, reply: Json, read: messages.Read) -> Any:
        if "unsupported" in reply:
            return Unsupported(reply["unsupported"]["feature"])
        if "error" in reply:
            error = reply["error"]
            message = error["message"]
            return Refusal(message, "", "") if error["kind"] == "refused" else Crash(message)
        results = COMMANDS[self.requests[index]["command"]][1]
        return messages.decoder(read)(reply["ok"], results)


def _saved(folder: Path, file_name: str, tensors: Mapping[str, Array]) -> dict[str, Reference]:
    """``tensors`` as one file, if there are any; the paths are as seen from ``folder``."""
    if not tensors:
        return {}
    arrays = {name: np.require(array, requirements="C") for name, array in tensors.items()}
    data = safetensors.numpy.save(arrays)
    (folder / file_name).write_bytes(data)
    sha256 = hashlib.sha256(data).hexdigest()
    return {name: Reference(path=file_name, name=name, sha256=sha256) for name in tensors}


@lru_cache(maxsize=64)
def _own_file(path: Path, _changed: int) -> tuple[str, Mapping[str, Array]]:
    """A file of ours; one that was changed since is read again."""
    data = path.read_bytes()
    return hashlib.sha256(data).hexdigest(), parsed(path.name, data, Limits())


def _plain_bytes(path: Path) -> bytes:
    """A file that a port has written: no link, no device, not endless.

    Raises:
        BadFile: it is none of the sort.
    """
    limits = Limits()
    try:
        fd = os.open(path, OPEN_FLAGS)
    except OSError as error:
        raise BadFile(f"{path.name}: {error.strerror}") from error
    with open(fd, "rb") as file:  # noqa: PTH123 - a descriptor, not a path
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise BadFile(f"{path.name}: not a plain file")
        data = file.read(limits.file_bytes + 1)
    if len(data) > limits.file_bytes:
        raise BadFile(f"{path.name}: more than {limits.file_bytes} bytes")
    return data
