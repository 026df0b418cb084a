"""A port of which every command is one question: a record of arguments for a record of results.

What carries the questions is for a subclass: a pipe to a process, a tape, a folder of files. The
records of each command are those of `conformance.stdio.messages.COMMANDS` (WS-CONFORMANCE-1).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, cast

import attrs

from conformance.protocol import (
    PROTOCOL_VERSION,
    Array,
    CodecRequest,
    Hello,
    Json,
    KvExport,
    LoadRequest,
    MathRequest,
    OpenRequest,
    UnitInput,
    UnitOutput,
)
from conformance.stdio.messages import (
    CodecArguments,
    DigestArguments,
    ExchangeArguments,
    Feature,
    HelloArguments,
    ImportArguments,
    OfflineArguments,
    ProbeArguments,
    Session,
    StepArguments,
)


class AskingPort(ABC):
    """See `conformance.protocol.Port`."""

    @abstractmethod
    def ask(self, command: str, arguments: Any) -> Any:
        """The results of one command."""

    def hello(self) -> Hello:
        return cast("Hello", self.ask("hello", HelloArguments(protocol=PROTOCOL_VERSION)))

    def supports(self, feature: str) -> bool:
        return bool(self.ask("supports", Feature(feature=feature)).supported)

    def load(self, request: LoadRequest) -> str:
        return str(self.ask("load", request).digest)

    def math(self, request: MathRequest) -> Mapping[str, Array]:
        return cast("Mapping[str, Array]", self.ask("math", request).tensors)

    def codec(self, request: CodecRequest, data: Array) -> Array:
        fields = attrs.asdict(request, recurse=False)
        return cast("Array", self.ask("codec", CodecArguments(**fields, data=data)).data)

    def open(self, request: OpenRequest) -> str:
        return str(self.ask("open", request).session)

    def step(self, session: str, unit: UnitInput) -> Sequence[UnitOutput]:
        return self._outputs("step", StepArguments(session=session, unit=unit))

    def finish(self, session: str) -> Sequence[UnitOutput]:
        return self._outputs("finish", Session(session=session))

    def reset(self, session: str) -> None:
        self.ask("reset", Session(session=session))

    def close(self, session: str) -> None:
        self.ask("close", Session(session=session))

    def offline(self, request: OpenRequest, units: Sequence[UnitInput]) -> Sequence[UnitOutput]:
        return self._outputs("offline", OfflineArguments(open=request, units=tuple(units)))

    def probe(self, session: str, unit: UnitInput, points: Sequence[str]) -> Mapping[str, Array]:
        asked = ProbeArguments(session=session, unit=unit, points=tuple(points))
        return cast("Mapping[str, Array]", self.ask("probe", asked).tensors)

    def exchange(self, script: Sequence[Json]) -> Sequence[Json]:
        asked = ExchangeArguments(script=tuple(script))
        return cast("Sequence[Json]", self.ask("exchange", asked).replies)

    def kv_digest(self, session: str, up_to_unit: int) -> Mapping[str, str]:
        asked = DigestArguments(session=session, up_to_unit=up_to_unit)
        return cast("Mapping[str, str]", self.ask("kv_digest", asked).roles)

    def export_kv(self, session: str) -> KvExport:
        return cast("KvExport", self.ask("export_kv", Session(session=session)))

    def import_kv(self, session: str, state: KvExport) -> None:
        self.ask("import_kv", ImportArguments(session=session, state=state))

    def _outputs(self, command: str, arguments: Any) -> Sequence[UnitOutput]:
        return cast("Sequence[UnitOutput]", self.ask(command, arguments).outputs)
