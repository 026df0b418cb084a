"""Ports that write a line which is no message; ``ID`` stands for the number of the request."""

from __future__ import annotations

from functools import partial

from polite import say, serve

NESTED = "[" * 100 + "]" * 100
OK = '"ok": {"tensors": {}}'
TENSOR = '{"tensor": {"path": "out/x", "name": "x", "sha256": "' + "0" * 64 + '"}}'

FORMS = {
    "list": "[1, 2]",
    "number": "7",
    "no-id": f"{{{OK}}}",
    "text-id": f'{{"id": "ID", {OK}}}',
    "true-id": f'{{"id": true, {OK}}}',
    "zero-id": f'{{"id": 0, {OK}}}',
    "huge-id": f'{{"id": {10**40}, {OK}}}',
    "endless-id": f'{{"id": {"9" * 5000}, {OK}}}',
    "nothing": '{"id": ID}',
    "both": f'{{"id": ID, {OK}, "error": {{"kind": "refused", "message": "no"}}}}',
    "extra": f'{{"id": ID, {OK}, "time": 3}}',
    "no-results": '{"id": ID, "ok": {}}',
    "more-results": '{"id": ID, "ok": {"tensors": {}, "scale": 2}}',
    "array": '{"id": ID, "ok": {"tensors": {"x": [1.0]}}}',
    "bare-path": '{"id": ID, "ok": {"tensors": {"x": {"tensor": "out/x"}}}}',
    "long-name": f'{{"id": ID, "ok": {{"tensors": {{"{"n" * 201}": {TENSOR}}}}}}}',
    "kind": '{"id": ID, "error": {"kind": "fatal", "message": "no"}}',
    "no-message": '{"id": ID, "error": {"kind": "refused", "message": ""}}',
    "not-a-number": '{"id": ID, "ok": {"tensors": {}, "x": NaN}}',
    "infinity": '{"id": ID, "ok": {"tensors": {}, "x": -Infinity}}',
    "beyond": '{"id": ID, "ok": {"tensors": {}, "x": 1e999}}',
    "name-twice": f'{{"id": ID, {OK}, {OK}}}',
    "nested": f'{{"id": ID, "ok": {NESTED}}}',
    "very-nested": "[" * 200_000,
    "surrogate": '{"id": ID, "error": {"kind": "refused", "message": "\\ud800"}}',
    "trailing": f'{{"id": ID, {OK}}} bye',
    "escapes": '{"id": ID, "error": {"kind": "internal", "message": "\\u001b[2J\\u202egone\\n!"}}',
    "refused": '{"id": ID, "error": {"kind": "refused", "message": "x: got 3; allowed: 2"}}',
    "unsupported": '{"id": ID, "unsupported": {"feature": "math.nasty"}}',
}


def written(form: str, number: int) -> None:
    say(form.replace("ID", str(number)) + "\n")


serve({name: partial(written, form) for name, form in FORMS.items()})
