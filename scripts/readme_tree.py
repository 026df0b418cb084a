"""Write the README's tree anew: one line a file or folder, from each module's own first line.

Run it after adding, moving or renaming a file that git tracks; a test fails until then.
"""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[1]

ABOUT = {
    ".ci/": "what CI runs: the commands of this page",
    ".gitignore": "what git leaves out",
    "LICENSE": "Apache License 2.0",
    "Makefile": "the commands: venv, check, test, lint",
    "README.md": "this page",
    "conformance/": "judges any port; its judging half knows the specification only",
    "conformance/checks/": "the checks, one topic a file",
    "conformance/data/": "facts that scripts write, and two lists reviewed by hand",
    "conformance/exchange/": "scripts of the KV exchange, and what each side must answer",
    "conformance/files/": "cases as folders of files: written, answered, judged",
    "conformance/formulas/": "the formulas of the math profile, by the suite itself",
    "conformance/mutants/": "known-bad ports: each is killed by the clause it names",
    "conformance/ports/": "our own implementations, adapted to the port protocol",
    "conformance/reporting/": "the log of a run, and everything that is worked out of it",
    "conformance/reporting/rendering/": "reports as JSON, JUnit, HTML, Markdown, badge",
    "conformance/stdio/": "ports as processes: messages, tensor files, bounds",
    "conformance/vectors/": "golden vectors, committed",
    "docs/": "documents beside the specification",
    "examples/": "a small clip and its credit, a trace of a real run, and ports to learn from",
    "optimized/": "the fast twin, and the same model as two processes",
    "pyproject.toml": "dependencies and the settings of ruff, mypy, pytest and import-linter",
    "reference/": "plain PyTorch, one idea a file, one function per equation",
    "reference/media/": "clips in, clips out",
    "reference/training/": "objectives, synthetic tasks and the three stages, as code that trains",
    "conformance/stdio/schemas/": "a JSON Schema for each message",
    "conformance/reporting/rendering/templates/": "the pages, for jinja2",
    "simulator/kill_table.json": "which invariant finds which seeded defect; a campaign writes it",
    "spec/systems.toml": "published systems: metric, value, boundary, scope, source",
    "scripts/": "what the Makefile runs, and what makes the generated pages",
    "simulator/": "the serving pipeline in virtual time, with faults, at any scale",
    "simulator/fleet/": "many sessions on many pairs: admission, memory, capacity",
    "simulator/scenarios/": "the scenarios that `wanstreamer simulate` knows by name",
    "simulator/world/": "sessions on the real exchange machines, and everything that goes wrong",
    "spec/": "normative: clauses in Markdown, and the records they speak of",
    "spec/devices.toml": "named devices and their peaks, for `wanstreamer plan`",
    "spec/paper.toml": "the paper's statements, in our words, and their clauses",
    "spec/*.md": "the clauses, one topic a file",
    "tests/": "our own tests, one topic a file; `own_mutants/`: defects of ours that they notice",
    "wanstreamer/": "the command line",
}
"""What cannot be read from a first line. A folder is opened when its files are worth a line."""

CLOSED = (
    ".ci/",
    "conformance/data/",
    "conformance/stdio/schemas/",
    "conformance/reporting/rendering/templates/",
    "conformance/vectors/",
    "docs/",
    "examples/",
    "simulator/scenarios/",
    "tests/",
)

BLOCK = re.compile(r"(?<=^## The tree\n\n```\n).*?(?=^```$)", re.DOTALL | re.MULTILINE)


def tracked_files() -> list[str]:
    listing = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [name for name in listing.stdout.splitlines() if (ROOT / name).exists()]


def entries(files: list[str]) -> set[str]:
    """Paths that get a line: files, the folders above them, and patterns of `ABOUT`."""
    lines: set[str] = set()
    for name in files:
        above = [f"{folder}/" for folder in reversed(PurePosixPath(name).parents[:-1])]
        closed = next((depth for depth, f in enumerate(above) if f in CLOSED), None)
        if closed is not None:
            lines.update(above[: closed + 1])
            continue
        lines.update(above)
        pattern = str(PurePosixPath(name).with_name("*" + PurePosixPath(name).suffix))
        if pattern in ABOUT:
            lines.add(pattern)
        elif not name.endswith("__init__.py"):
            lines.add(name)
    return lines


def about(entry: str) -> str:
    """One line on an entry; a module's own first line without its clause ids."""
    if entry in ABOUT:
        return ABOUT[entry]
    docstring = ast.get_docstring(ast.parse((ROOT / entry).read_text(encoding="utf-8")))
    assert docstring, f"{entry} says nothing about itself"
    first = re.sub(r" \(WS-.*", "", docstring.splitlines()[0])
    return first[0].lower() + first[1:].rstrip(".:")


def tree(files: list[str]) -> str:
    """Folders after the files beside them, names aligned to one column."""

    def order(entry: str) -> tuple[tuple[bool, str], ...]:
        path = PurePosixPath(entry).parts
        return tuple((i < len(path) - 1 or entry.endswith("/"), p) for i, p in enumerate(path))

    ordered = sorted(entries(files), key=order)
    names = ["  " * (entry.rstrip("/").count("/")) + leaf(entry) for entry in ordered]
    width = max(map(len, names)) + 2
    return "".join(
        f"{name:{width}}{about(entry)}\n" for name, entry in zip(names, ordered, strict=True)
    )


def leaf(entry: str) -> str:
    return PurePosixPath(entry).name + ("/" if entry.endswith("/") else "")


def main() -> None:
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    block = tree(tracked_files())
    text, written = BLOCK.subn(lambda _: block, text)
    assert written == 1, "README.md has no '## The tree' block"
    readme.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
