"""Ports that are good in the first process of a run and something else in the second."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Sequence

import attrs

from conformance.ports.reference import ReferencePort
from conformance.protocol import Hello, Json

EXIT = 7
FOR_EVER_S = 3600.0


def second() -> bool:
    """Is this the second process?"""
    return multiprocessing.parent_process() is not None


class Dying(ReferencePort):
    """Takes its process with it when it is asked for the KV exchange."""

    def exchange(self, script: Sequence[Json]) -> Sequence[Json]:
        if second():
            os._exit(EXIT)
        return super().exchange(script)


class Other(ReferencePort):
    """Says that it is another one."""

    def hello(self) -> Hello:
        return attrs.evolve(super().hello(), version="0.2" if second() else "0.1")


def absent() -> ReferencePort:
    """Is there only once."""
    if second():
        raise OSError("the device is in use")
    return ReferencePort()


class Sleeping(ReferencePort):
    """Never answers a question about the KV exchange."""

    def exchange(self, script: Sequence[Json]) -> Sequence[Json]:
        if second():
            time.sleep(FOR_EVER_S)
        return super().exchange(script)
