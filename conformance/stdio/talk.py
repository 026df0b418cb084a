"""A conversation with one process of a port: requests out, replies in, each checked against its
schema (WS-STDIO-3, WS-STDIO-4)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from conformance.guard import PortFault
from conformance.protocol import Json, Refusal, Unsupported
from conformance.stdio import messages, strict_json
from conformance.stdio.limits import Limits
from conformance.stdio.message_schemas import problem
from conformance.stdio.messages import COMMANDS
from conformance.stdio.process import Broken, Child, Log, shown
from conformance.stdio.run_directory import RunDirectory
from conformance.stdio.strict_json import NotJson
from conformance.stdio.tensor_files import BadFile
from conformance.stdio.untrusted import one_line


class RemoteRefusal(Refusal):
    """A refusal in the port's own words."""

    def __init__(self, message: str) -> None:
        ValueError.__init__(self, message)
        self.what, self.value, self.allowed = message, None, ""


class Talk:
    """One process from its start to its end."""

    def __init__(self, argv: Sequence[str], path: Path, log: Log, limits: Limits) -> None:
        self._directory = RunDirectory(path, limits)
        self._child = Child(argv, path, log, limits)
        self._asked = 0

    def ask(self, command: str, arguments: object, seconds: float) -> Any:
        """The results of ``command``, a record of the type in `messages.COMMANDS`.

        Raises:
            Unsupported, Refusal: the port says so.
            PortFault: it says that it failed; it can still be asked.
            Broken: it breaks the protocol, and is to be ended.
        """
        self._asked += 1
        try:
            request = self._request(command, arguments)
            reply = parsed(command, self._asked, self.line(strict_json.line(request), seconds))
            return self._results(command, reply)
        except BadFile as error:
            raise Broken(str(error)) from error

    def line(self, line: bytes, seconds: float) -> bytes:
        """The line that answers a line; here a conversation can be listened to."""
        return self._child.ask(line, seconds)

    def leave(self, patience_s: float) -> None:
        """Wait until it has ended by itself."""
        self._child.leave(patience_s)

    def end(self) -> None:
        """Nothing of the process and its files is left."""
        self._child.end()
        self._directory.remove()

    def _request(self, command: str, arguments: object) -> Json:
        fields = messages.encode(arguments, self._directory.writer(self._asked))
        request = {"id": self._asked, "command": command, **fields}
        wrong = problem(command, "request", request)
        assert wrong is None, f"a request of ours: {wrong}"
        return request

    def _results(self, command: str, reply: Json) -> Any:
        if "unsupported" in reply:
            self._directory.empty()
            raise Unsupported(one_line(reply["unsupported"]["feature"]))
        if "error" in reply:
            self._directory.empty()
            message = one_line(reply["error"]["message"])
            if reply["error"]["kind"] == "refused":
                raise RemoteRefusal(message)
            raise PortFault(f"it failed: {message}")
        decode = messages.decoder(self._directory.reader())
        results = decode(reply["ok"], COMMANDS[command][1])
        self._directory.empty()
        return results


def parsed(command: str, asked: int, line: bytes) -> Json:
    """The reply to request number ``asked`` that stands in ``line``.

    Raises:
        Broken: no message, an ill-formed one, or a reply to another request.
    """
    try:
        reply = strict_json.parse(line)
    except NotJson as error:
        raise Broken(f"its reply is no message: {error}; it wrote {shown(line)}") from error
    number = reply.get("id") if isinstance(reply, dict) else None
    if type(number) is int and 0 < number < asked:
        raise Broken(f"answered request {number} again, while {asked} waited")
    wrong = problem(command, "reply", reply)
    if wrong is not None:
        raise Broken(f"its reply is ill-formed: {one_line(wrong)}")
    if number != asked:
        raise Broken(f"answered request {number}, which was never asked, not {asked}")
    assert isinstance(reply, dict)
    return reply
