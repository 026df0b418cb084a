"""Reading clauses out of Markdown: what is well formed comes back whole (WS-CLAUSES-1,
WS-CLAUSES-2), and what is not is refused with its file and line (WS-CLAUSES-1)."""

from __future__ import annotations

import hashlib

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spec.clauses import Clause, parse, registry
from spec.errors import ConfigError

FILE = "spec/media.md"

GOOD = """\
# Media

### WS-MEDIA-1

- level: MUST
- provenance: CHOICE: a reason
- verified-by: test:tests/test_x.py check:x

The first.

### WS-MEDIA-2

- level: MAY
- provenance: PAPER §2.1
- shapes: "n d"
- verified-by: check:y

The second.
"""

WORDS = st.lists(st.from_regex(r"[a-zτε0-9(][a-z0-9.,;:)]{0,8}", fullmatch=True), min_size=1)
ONE_LINE = WORDS.map(" ".join)
PROVENANCE = st.tuples(st.sampled_from(["PAPER", "DERIVED", "CHOICE"]), ONE_LINE).map(": ".join)
VERIFIERS = st.lists(
    st.from_regex(r"(test:tests/test_[a-z_]{1,9}\.py|check:[A-Za-z_.]{1,9})", fullmatch=True),
    min_size=1,
).map(tuple)
PARAGRAPH = st.lists(ONE_LINE, min_size=1).map("\n".join)
STATEMENT = st.lists(PARAGRAPH | PARAGRAPH.map("```\n# {}\n```".format), min_size=1).map(
    "\n\n".join
)


@st.composite
def topics(draw: st.DrawFn) -> list[Clause]:
    """A topic of a few clauses; lines are not known yet."""
    return [
        Clause(
            id=f"WS-MEDIA-{number}",
            topic="MEDIA",
            number=number,
            level=draw(st.sampled_from(["MUST", "SHOULD", "MAY"])),
            provenance=draw(PROVENANCE),
            shapes=draw(st.none() | ONE_LINE),
            rounding=draw(st.none() | ONE_LINE),
            verified_by=draw(VERIFIERS),
            statement=draw(STATEMENT),
            file=FILE,
            line=0,
        )
        for number in range(1, draw(st.integers(0, 3)) + 1)
    ]


def written(clause: Clause, wrap: str = " ") -> str:
    """The Markdown of a clause; ``wrap`` stands between the words of its fields."""
    fields = {
        "level": clause.level,
        "provenance": clause.provenance,
        "shapes": clause.shapes,
        "rounding": clause.rounding,
        "verified-by": " ".join(clause.verified_by),
    }
    bullets = "\n".join(
        f"- {name}: {value.replace(' ', wrap)}" for name, value in fields.items() if value
    )
    return f"### {clause.id}\n\n{bullets}\n\n{clause.statement}\n"


@given(topics(), st.sampled_from([" ", "\n  "]))
def test_what_is_written_is_read_back(clauses: list[Clause], wrap: str) -> None:
    """WS-CLAUSES-1: no clause, field or line of a statement is lost."""
    text = "\n".join(["# Media\n", "Intro.\n", *(written(c, wrap) for c in clauses)])
    read = parse(text, FILE)
    assert [attrs.evolve(clause, line=0) for clause in read] == clauses
    lines = text.splitlines()
    assert [lines[clause.line - 1] for clause in read] == [f"### {c.id}" for c in clauses]


def test_prose_between_sections_is_no_clause() -> None:
    """WS-CLAUSES-1: a plain section ends the clause before it and belongs to none."""
    one, two = parse(GOOD, FILE)
    text = f"# Media\n\n{written(one)}\n## Section\n\nProse.\n\n{written(two)}"
    assert [clause.statement for clause in parse(text, FILE)] == ["The first.", "The second."]


MALFORMED = {
    "no title": ("# Media", "Media", 1, "title"),
    "number missing": ("### WS-MEDIA-2", "### WS-MEDIA", 11, "heading"),
    "number zero": ("### WS-MEDIA-2", "### WS-MEDIA-0", 11, "heading"),
    "words after the id": ("### WS-MEDIA-2", "### WS-MEDIA-2 and more", 11, "heading"),
    "heading of another depth": ("### WS-MEDIA-2", "## WS-MEDIA-2", 11, "heading"),
    "heading too deep": ("### WS-MEDIA-2", "#### WS-MEDIA-2", 11, "heading"),
    "heading without a blank": ("### WS-MEDIA-2", "###WS-MEDIA-2", 11, "heading"),
    "heading indented": ("### WS-MEDIA-2", " ### WS-MEDIA-2", 11, "heading"),
    "other third-level heading": ("### WS-MEDIA-2", "### Notes", 11, "heading"),
    "topic of another file": ("### WS-MEDIA-2", "### WS-FLOW-2", 11, "topic"),
    "duplicate": ("### WS-MEDIA-2", "### WS-MEDIA-1", 11, "each id once"),
    "gap": ("### WS-MEDIA-2", "### WS-MEDIA-3", 11, "WS-MEDIA-2 next"),
    "first is not 1": ("### WS-MEDIA-1\n", "### WS-MEDIA-2\n", 3, "WS-MEDIA-1 next"),
    "no level": ("- level: MAY\n", "", 11, "no level"),
    "no provenance": ("- provenance: PAPER §2.1\n", "", 11, "no provenance"),
    "no verifier": ("- verified-by: check:y\n", "", 11, "no verified-by"),
    "empty field": ('- shapes: "n d"', "- shapes:", 11, "no shapes"),
    "unknown field": ("- shapes:", "- shape:", 15, "field"),
    "field twice": ("- level: MAY", "- level: MAY\n- level: MAY", 14, "each field once"),
    "bullet that is no field": ("- shapes:", "* shapes:", 15, "- name: value"),
    "unknown level": ("- level: MAY", "- level: MIGHT", 11, "level"),
    "level in lower case": ("- level: MAY", "- level: may", 11, "level"),
    "unknown provenance": ("PAPER §2.1", "Section 2.1 of the PAPER", 11, "provenance"),
    "provenance that only resembles": ("PAPER §2.1", "PAPERS", 11, "provenance"),
    "verifier of no kind": ("check:y", "y", 11, "verified-by"),
    "verifier without a name": ("check:y", "check:", 11, "verified-by"),
    "no statement": ("The second.\n", "", 11, "no statement"),
    "code block that hides the rest": ("The first.", "```\nThe first.", 9, "code block"),
}


def test_the_pattern_of_the_malformed_is_itself_good() -> None:
    """WS-CLAUSES-1: so each case below is refused for its one change."""
    assert [clause.id for clause in parse(GOOD, FILE)] == ["WS-MEDIA-1", "WS-MEDIA-2"]


@pytest.mark.parametrize(("old", "new", "line", "says"), MALFORMED.values(), ids=MALFORMED)
def test_malformed_is_refused(old: str, new: str, line: int, says: str) -> None:
    """WS-CLAUSES-1: one clear line that names the file and the line."""
    assert GOOD.count(old) == 1
    with pytest.raises(ConfigError) as error:
        parse(GOOD.replace(old, new), FILE)
    message = str(error.value)
    assert message.startswith(f"{FILE}:{line}: ")
    assert says in message
    assert "\n" not in message


def test_empty_file_is_refused() -> None:
    """WS-CLAUSES-1."""
    with pytest.raises(ConfigError, match=r"spec/media\.md:1: title"):
        parse("", FILE)


def test_text_digest_is_of_the_demand_alone() -> None:
    """WS-CLAUSES-2: another reason, verifier or place leaves it, any other change moves it."""
    second = parse(GOOD, FILE)[1]
    demand = 'WS-MEDIA-2\nMAY\n"n d"\n\nThe second.'
    assert second.text_sha256 == hashlib.sha256(demand.encode()).hexdigest()
    same = attrs.evolve(second, provenance="DERIVED", verified_by=("check:z",), line=40)
    assert same.text_sha256 == second.text_sha256
    changed = [
        attrs.evolve(second, id="WS-MEDIA-3"),
        attrs.evolve(second, level="MUST"),
        attrs.evolve(second, shapes="n"),
        attrs.evolve(second, rounding="once"),
        attrs.evolve(second, shapes=None, rounding="n d"),
        attrs.evolve(second, statement="The second!"),
        attrs.evolve(second, statement="The\nsecond."),
    ]
    assert len({c.text_sha256 for c in [second, *changed]}) == 1 + len(changed)


def test_trailing_blanks_do_not_count() -> None:
    """WS-CLAUSES-2: the digest of a statement does not see blanks at the ends of its lines."""
    blanks = GOOD.replace("The second.", "The second.   ")
    assert parse(blanks, FILE)[1].text_sha256 == parse(GOOD, FILE)[1].text_sha256


def test_an_indent_is_part_of_the_statement() -> None:
    """WS-CLAUSES-2: only blank lines around a statement and blanks at ends of lines are dropped."""
    indented = GOOD.replace("The second.", "    The second.\n\n    Its end.  \n\n")
    assert parse(indented, FILE)[1].statement == "    The second.\n\n    Its end."


def test_registry_reads_the_tree_once() -> None:
    """WS-CLAUSES-1: every topic file is in it, by id."""
    assert registry() is registry()
    assert all(clause.id == clause_id for clause_id, clause in registry().items())
    assert registry()["WS-CLAUSES-1"].file == "spec/clauses.md"
