"""Ports that break the protocol over stdio: bounded time, one line that says why (WS-STDIO-2,
WS-STDIO-3, WS-STDIO-6, WS-STDIO-7, WS-STDIO-9)."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest
from hostile_world import IMPATIENT, PATIENT, asked, fault, started
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.guard import Guard, PortFault
from conformance.protocol import PROFILES, Refusal, Unsupported
from conformance.stdio.process import Log

EXPECTED = {
    "lines": {
        "banner": "its reply is no message: not JSON: Expecting value at character 0; it wrote "
        "'Loading weights'",
        "remark": "its reply is no message: not JSON: Expecting value at character 0; it wrote "
        "'done in 3 ms'",
        "garbage": r"its reply is no message: not UTF-8 at byte 0; it wrote '\xff\xfe\x00'",
        "empty": "its reply is no message: not JSON: Expecting value at character 0; it wrote ''",
        "flood": "wrote a line of more than 1048576 bytes",
        "flood-lines": "its reply is no message: not JSON: Expecting value at character 0; it "
        "wrote 'hello'",
        "twice": "answered request 2 again, while 3 waited",
        "earlier": "answered request 1 again, while 2 waited",
        "later": "answered request 3, which was never asked, not 2",
        "loud": "",
    },
    "forms": {
        "list": "its reply is ill-formed: the message: [1, 2] is not of type 'object'",
        "number": "its reply is ill-formed: the message: 7 is not of type 'object'",
        "no-id": "its reply is ill-formed: the message: 'id' is a required property",
        "text-id": "its reply is ill-formed: id: '2' is not of type 'integer'",
        "true-id": "its reply is ill-formed: id: True is not of type 'integer'",
        "zero-id": "its reply is ill-formed: id: 0 is less than the minimum of 1",
        "huge-id": f"its reply is ill-formed: id: {10**40} is greater than the maximum of "
        "9007199254740991",
        "endless-id": f"""its reply is no message: an integer beyond all bounds; it wrote '{{"id": {
            "9" * 53
        }'…""",
        "nothing": "its reply is ill-formed: the message: none of ok, unsupported, error in it",
        "both": "its reply is ill-formed: the message: ok and error of ok, unsupported, error in "
        "it",
        "extra": "its reply is ill-formed: the message: Additional properties are not allowed "
        "('time' was unexpected)",
        "no-results": "its reply is ill-formed: ok: 'tensors' is a required property",
        "more-results": "its reply is ill-formed: ok: Additional properties are not allowed "
        "('scale' was unexpected)",
        "array": "its reply is ill-formed: ok.tensors.x: [1.0] is not of type 'object'",
        "bare-path": "its reply is ill-formed: ok.tensors.x.tensor: 'out/x' is not of type "
        "'object'",
        "long-name": f"its reply is ill-formed: ok.tensors: '{'n' * 187}…",
        "kind": "its reply is ill-formed: error.kind: 'fatal' is not one of ['refused', "
        "'internal']",
        "no-message": "its reply is ill-formed: error.message: '' should be non-empty",
        "not-a-number": "its reply is no message: NaN is no JSON number; it wrote "
        """'{"id": 2, "ok": {"tensors": {}, "x": NaN}}'""",
        "infinity": "its reply is no message: -Infinity is no JSON number; it wrote "
        """'{"id": 2, "ok": {"tensors": {}, "x": -Infinity}}'""",
        "beyond": "its reply is no message: the number 1e999 is beyond a double; it wrote "
        """'{"id": 2, "ok": {"tensors": {}, "x": 1e999}}'""",
        "name-twice": "its reply is no message: the name 'ok' stands twice in one object; it wrote "
        """'{"id": 2, "ok": {"tensors": {}}, "ok": {"tensors": {}}}'""",
        "nested": "its reply is no message: nested deeper than 32; it wrote "
        f"""'{{"id": 2, "ok": {"[" * 44}'…""",
        "very-nested": f"its reply is no message: nested deeper than 32; it wrote '{'[' * 60}'…",
        "surrogate": r"its reply is no message: an unpaired surrogate in '\ud800'; it wrote "
        r"""'{"id": 2, "error": {"kind": "refused", "message": "\\ud800"}}'""",
        "trailing": "its reply is no message: not JSON: Extra data at character 33; it wrote "
        """'{"id": 2, "ok": {"tensors": {}}} bye'""",
        "escapes": r"it failed: \x1b[2J\u202egone !",
    },
    "files": {
        "link": "out/x.safetensors: a symbolic link",
        "two-names": "out/x.safetensors: 2 hard links to it, not 1",
        "pipe": "out/x.safetensors: not a plain file",
        "folder": "out/x.safetensors: not a plain file",
        "moved": "out/x.safetensors: No such file or directory",
        "changed": "out/x.safetensors: its bytes have the SHA-256 81200c457bb4…, the reply says "
        "ae09a6594c0c…",
        "two-large": "out/y: with it, more than 2097152 bytes in one message",
        "many": "out/: more than 32 files in it",
        "left-folder": "out/deep: Is a directory",
        "too-large": "exited with status 1; it said last: OSError: [Errno 27] File too large",
        "other-name": "out/x.safetensors: no tensor 'y' in it",
        "line-break": r"'out/x\n': a path is out/FILE",
        "missing": "out/y.safetensors: No such file or directory",
        "short": "out/x.safetensors: a header of 513 bytes in a file of 2",
        "endless-header": f"out/x.safetensors: a header of {1 << 60} bytes in a file of 73",
        "big-endian-header": f"out/x.safetensors: a header of {1 << 60} bytes in a file of 24",
        "header-not-json": "out/x.safetensors: its header: not JSON: Expecting property name "
        "enclosed in double quotes at character 1",
        "header-twice": "out/x.safetensors: its header: the name 'x' stands twice in one object",
        "header-nested": "out/x.safetensors: its header: nested deeper than 32",
        "axes": "out/x.safetensors: x has 60 axes, more than 8",
        "dtype": "out/x.safetensors: x has dtype BF16, not BOOL, U8, I8, U16, I16, U32, I32, U64, "
        "I64, F16, F32, F64",
        "bool": "out/x.safetensors: x holds a BOOL that is neither 0 nor 1",
    },
    "endings": {
        "exit": r"exited with status 3; it said last: \x1b[31mno accelerator here",
        "exit-0": "exited with status 0",
        "half": "exited with status 0 in the middle of a line",
        "leaves": "exited with status 4",
        "segfault": "was killed by signal 11 (SIGSEGV)",
        "abort": "was killed by signal 6 (SIGABRT)",
        "keeper": "killed the process that watches over it",
        "raises": "exited with status 1; it said last: ValueError: shapes do not match",
    },
}
"""What is said of each trick when it is played in answer to the formula ``nasty``."""

PATHS = {
    "absolute": "/etc/passwd",
    "above": "out/../x.safetensors",
    "hidden": "out/.x",
    "deeper": "out/a/x",
    "input": "in/1.safetensors",
    "zero-byte": "out/x\0",
}
LIBRARY = {
    "overlap": "invalid offset for tensor `y`",
    "gap": "invalid offset for tensor `y`",
    "beyond": "invalid shape, data type, or offset for tensor",
    "left-over": "incomplete metadata, file not fully covered",
    "shape": "invalid shape, data type, or offset for tensor",
    "negative": "invalid value: integer `-1`, expected usize",
    "overflow": "overflow computing buffer size",
    "unknown-dtype": "unknown variant `float32`, expected one of",
}
"""Files that the safetensors library refuses, and the part of its reason that says which."""


@pytest.mark.parametrize(
    ("program", "trick"), [(p, t) for p, tricks in EXPECTED.items() for t in tricks]
)
def test_a_trick_is_told_in_one_line(program: str, trick: str) -> None:
    """WS-STDIO-7; WS-STDIO-2 (lines), WS-STDIO-3 (forms), WS-STDIO-6 (files)."""
    reason = EXPECTED[program][trick]
    with started(program, trick) as port:
        assert fault(port) == (reason and f"math nasty: {reason}")


@pytest.mark.parametrize("trick", PATHS)
def test_a_path_leads_nowhere_else(trick: str) -> None:
    """WS-STDIO-6: the file itself is good; it is the name that is refused."""
    with started("files", trick) as port:
        assert fault(port).startswith(
            "math nasty: its reply is ill-formed: ok.tensors.x.tensor.path: "
            f"{PATHS[trick]!r} does not match "
        )


@pytest.mark.parametrize("trick", LIBRARY)
def test_a_file_that_contradicts_itself(trick: str) -> None:
    """WS-STDIO-6: offsets, shapes and dtypes that do not fit the file."""
    with started("files", trick) as port:
        found = fault(port)
    assert found.startswith("math nasty: out/x.safetensors: ")
    assert LIBRARY[trick] in found
    assert "\n" not in found


@pytest.mark.parametrize(
    ("program", "trick", "reason"),
    [
        ("lines", "hang", "did not answer within 0.3 s"),
        ("lines", "half", "did not end its line within 0.3 s"),
        ("lines", "loud-and-silent", "did not answer within 0.3 s; it said last: never ending"),
    ],
)
def test_nobody_is_waited_for_without_end(program: str, trick: str, reason: str) -> None:
    """WS-STDIO-9, WS-STDIO-7."""
    with started(program, trick, limits=IMPATIENT) as port:
        assert fault(port) == f"math nasty: {reason}"


@pytest.mark.parametrize("pipe", ["stdout", "stdin"])
def test_a_pipe_that_is_closed(pipe: str) -> None:
    """WS-STDIO-7: told soon, however long an answer may take."""
    with started("endings", f"closes-{pipe}") as port:
        assert fault(port) == f"math nasty: closed its {pipe} and went on"


def test_a_request_that_nobody_reads() -> None:
    """WS-STDIO-9: the pipe is full, and stays so."""
    with started("endings", "deaf", limits=IMPATIENT) as port:
        guard = Guard(port)
        guard.math(asked("nasty"))
        with pytest.raises(PortFault, match=r"exchange: did not read its request within 0\.3 s"):
            guard.exchange([{"arrive": "x" * 300_000}])


@pytest.mark.parametrize(
    ("trick", "reason"),
    [
        ("at-start", r"exited with status 3; it said last: \x1b[31mno accelerator here"),
        ("protocol", "speaks protocol 2, not 1"),
        (
            "profile",
            f"its reply is ill-formed: ok.profiles[0]: 'everything' is not one of {[*PROFILES]}",
        ),
        ("names", "its reply is ill-formed: ok.name: 7 is not of type 'string'"),
    ],
)
def test_lies_in_the_first_reply(trick: str, reason: str) -> None:
    """WS-STDIO-7: and nothing more is asked of it."""
    with started("endings", trick) as port:
        assert fault(port) == f"hello: {reason}"


def test_another_version_after_a_restart() -> None:
    """WS-STDIO-7: two ports cannot be judged as one."""
    with started("endings", "version") as port:
        assert fault(port) == "math nasty: exited with status 1"
        with pytest.raises(PortFault, match=r"math fine: was .*'version': .*, and says now"):
            Guard(port).math(asked("fine"))


def test_a_port_may_refuse_and_lack() -> None:
    """WS-STDIO-4: neither is a fault, and the port goes on."""
    with started("forms", "refused") as port, pytest.raises(Refusal) as refused:
        Guard(port).math(asked("nasty"))
    assert str(refused.value) == "x: got 3; allowed: 2"
    with started("forms", "unsupported") as port, pytest.raises(Unsupported) as lacking:
        Guard(port).math(asked("nasty"))
    assert lacking.value.feature == "math.nasty"


def test_the_log_is_bounded() -> None:
    """WS-STDIO-9: four megabytes on standard error leave ten kilobytes, and the last line."""
    with started("lines", "loud") as port:
        Guard(port).math(asked("nasty"))
        log = port._log
        assert log.path.read_bytes() == b"y" * 10_000 + b"\n[the rest was dropped]\n"
        assert log.last_words() == "the last line"


def test_the_log_is_what_came_first(tmp_path: Path) -> None:
    """WS-STDIO-2: however it was cut into parts."""
    log = Log(tmp_path / "log", 10)
    for part in (b"0123456", b"789abc", b"the last line"):
        log.add(part)
    log.close()
    assert log.path.read_bytes() == b"0123456789\n[the rest was dropped]\n"


def test_a_request_of_ours_that_is_ill_formed_is_not_sent() -> None:
    """WS-STDIO-4: the suite checks its own messages as well."""
    odd = attrs.evolve(asked("fine"), op=7)  # type: ignore[arg-type]
    with started("lines", "hang") as port:
        with pytest.raises(AssertionError, match="a request of ours: op: 7 is not of type"):
            port.math(odd)
        Guard(port).math(asked("fine"))


def test_restarts_are_bounded() -> None:
    """WS-STDIO-7: two processes after the first, and no more."""
    limits = attrs.evolve(PATIENT, restarts=2)
    with started("endings", "segfault", limits=limits) as port:
        for _ in range(3):
            assert fault(port) == "math nasty: was killed by signal 11 (SIGSEGV)"
        assert fault(port) == "hello: not started again: it has ended 3 times"


def test_hanging_restarts_are_bounded_more() -> None:
    """WS-STDIO-7."""
    limits = attrs.evolve(IMPATIENT, timeouts=2)
    with started("lines", "hang", limits=limits) as port:
        for _ in range(2):
            assert fault(port) == "math nasty: did not answer within 0.3 s"
        assert fault(port) == "hello: not started again: it has ended 2 times, 2 times by the clock"


@settings(max_examples=12, deadline=None)
@given(st.binary(max_size=40))
def test_any_bytes_on_stdout(data: bytes) -> None:
    """WS-STDIO-3, WS-STDIO-9: whatever is written, the port is ended and one line says why."""
    with started("lines", "bytes", data.hex()) as port:
        found = fault(port)
    assert found.startswith("math nasty: ")
    assert found.isprintable()
