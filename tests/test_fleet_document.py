"""The page on internet scale says what the code says."""

from __future__ import annotations

from simulator.fleet.document import BEGIN, END, PAGE, markdown, page


def test_the_page_is_up_to_date() -> None:
    """WS-FLEET-12: run `python -m simulator.fleet.document` when the model has moved; a million
    sessions in one run."""
    text = PAGE.read_text(encoding="utf-8")
    assert page(text) == text
    assert text.count(BEGIN) == text.count(END) == 1


def test_a_table_has_its_columns() -> None:
    """WS-FLEET-12."""
    assert markdown(("a", "b"), [("1", "2")]) == "| a | b |\n| --- | --- |\n| 1 | 2 |\n"
