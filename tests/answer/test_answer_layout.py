"""Tables and lists stay whole, and their rows and items are told with what they belong to."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.answer.check import Cited, check
from gnomon.answer.layout import block_at, blocks, told
from gnomon.answer.text import BLOCK_CHARS, passages, sentences
from gnomon.types import Document, VerdictKind

Town = Any

TABLE = (
    "Final table of the harbour regatta\n"
    "Rank | Boat | Skipper | Points\n"
    "1 | Sea Fox | Ada Ferrow | 12\n"
    "2 | St. Peter | Bo Lind | 17\n"
    "3 | gull | Cy Moor | 21"
)
LIST = (
    "The council met. Bring this to the lantern night:\n\n"
    "- a lantern\n- warm clothes, as it is cold. Gloves too.\n- the ticket"
)
TEXT = f"The regatta was sailed on Saturday.\n\n{TABLE}\n\n{LIST}\n\nThe night begins at nine."


def cut(text: str) -> list[str]:
    return [text[s.start : s.end] for s in passages(text)]


def said(text: str, line: str) -> str | None:
    at = text.index(line)
    found = told(text, at, at + len(line))
    return found[0] if found else None


def test_a_table_and_a_list_are_one_passage_each() -> None:
    assert cut(TEXT) == [
        "The regatta was sailed on Saturday.",
        TABLE,
        "The council met.",
        LIST.removeprefix("The council met. "),
        "The night begins at nine.",
    ]


def test_a_row_is_one_sentence() -> None:
    found = [TEXT[s.start : s.end] for s in sentences(TEXT)]
    assert "2 | St. Peter | Bo Lind | 17" in found
    assert "3 | gull | Cy Moor | 21" in found


def test_cells_are_named_where_a_column_of_figures_stands_under_a_word() -> None:
    row = "Rank: 2; Boat: St. Peter; Skipper: Bo Lind; Points: 17"
    assert said(TEXT, "2 | St. Peter | Bo Lind | 17") == row
    assert said(TEXT, "- the ticket") == "Bring this to the lantern night: the ticket"
    assert said(TEXT, "The night begins at nine.") is None


@pytest.mark.parametrize(
    ("text", "row", "told_as"),
    [
        # Nothing tells that the first row names the others.
        ("Ada | mayor | Town Hall\nBo | clerk | Quay", "Bo | clerk | Quay",
         "Ada | mayor | Town Hall – Bo | clerk | Quay"),
        ("Mayor | Ada Ferrow\nFounded | 1805\nPeople | 12,300", "Founded | 1805",
         "Mayor | Ada Ferrow – Founded | 1805"),
        # A first row of figures is no header at all.
        ("2019 | 12.5 | 3\n2020 | 13.5 | 4", "2020 | 13.5 | 4", None),
        # Markdown says where its header is.
        ("| boat | owner |\n|---|---|\n| Gull | Bo |", "| Gull | Bo |", "boat: Gull; owner: Bo"),
        # Years may name columns; an empty first cell names none.
        ("| 2022 | 2023\nVisitors | 1,200 | 1,400\nBoats | 11 | 12", "Boats | 11 | 12",
         "Boats; 2022: 11; 2023: 12"),
        # Rows of other widths are not forced under names.
        ("Rank | Boat | Points\n1 | Gull | 3\ntotal | 3", "1 | Gull | 3",
         "Rank | Boat | Points – 1 | Gull | 3"),
    ],
)  # fmt: skip
def test_what_a_header_names(text: str, row: str, told_as: str | None) -> None:
    assert said(text, row) == told_as


def test_one_line_with_bars_is_no_table_and_one_bullet_no_list() -> None:
    assert blocks("News | Sport | Weather\n\nThe bridge is open.") == ()
    assert blocks("- only this\n\nThe bridge is open.") == ()


def test_a_long_table_is_cut_between_rows() -> None:
    rows = [f"{n} | Boat number {n} | Skipper {n} | {n * 3}" for n in range(1, 200)]
    text = "Rank | Boat | Skipper | Points\n" + "\n".join(rows)
    pieces = cut(text)
    assert len(pieces) > 1
    assert all(len(p) <= BLOCK_CHARS for p in pieces)
    assert [row for p in pieces for row in p.split("\n")] == text.split("\n")
    row = "150 | Boat number 150 | Skipper 150 | 450"
    assert said(text, row) == "Rank: 150; Boat: Boat number 150; Skipper: Skipper 150; Points: 450"


def test_the_check_takes_a_row_only_with_its_own_header() -> None:
    document = Document(key="a", source="a", kind="page", text=TEXT)

    def cite(words: str) -> Cited:
        at = TEXT.index(words)
        return Cited(document, at, at + len(words))

    header, row = cite("Rank | Boat | Skipper | Points"), cite("1 | Sea Fox | Ada Ferrow | 12")
    true = "Rank: 1; Boat: Sea Fox; Skipper: Ada Ferrow; Points: 12"
    assert check(true, [header, row]).kind is VerdictKind.SUPPORTED
    for false in (
        "Rank: 1; Boat: Sea Fox; Skipper: Ada Ferrow; Points: 17",
        "Rank: 12; Boat: Sea Fox; Skipper: Ada Ferrow; Points: 1",
        "Rank: 1; Boat: Ada Ferrow; Skipper: Sea Fox; Points: 12",
    ):
        assert check(false, [header, row]).score < 1.0, false
    other = cite("Bring this to the lantern night:")
    assert check("Bring this to the lantern night: Sea Fox", [other, row]).score < 1.0


async def test_an_answer_tells_the_row_with_its_header(empty_town: Town) -> None:
    empty_town.put(1, TEXT, "Harbour regatta results")
    answer = await empty_town.ask("How many points did Bo Lind get in the regatta?")
    first = answer.sentences[0]
    assert first.text == "Rank: 2; Boat: St. Peter; Skipper: Bo Lind; Points: 17"
    assert first.verdict.kind is VerdictKind.SUPPORTED
    quotes = [answer.citations[n - 1].quote for n in first.citations]
    assert quotes == ["Rank | Boat | Skipper | Points", "2 | St. Peter | Bo Lind | 17"]


async def test_rows_of_two_tables_do_not_dispute_each_other(empty_town: Town) -> None:
    empty_town.put(1, TEXT, "Harbour regatta results")
    other = "Rank | Boat | Skipper | Points\n1 | Kite | Bo Lind | 9\n2 | Sea Fox | Di Marr | 11"
    empty_town.put(1.1, other, "Quay regatta results", source="radio")
    answer = await empty_town.ask("How many points did Bo Lind get in the harbour regatta?")
    assert not answer.disagreements
    assert "Points: 17" in answer.sentences[0].text


async def test_a_row_far_below_its_header_still_cites_it(empty_town: Town) -> None:
    rows = [f"{n} | Boat number {n} | Skipper{n} Moor | {n * 3}" for n in range(1, 200)]
    empty_town.put(1, "Rank | Boat | Skipper | Points\n" + "\n".join(rows), "Regatta results")
    answer = await empty_town.ask("How many points did Skipper150 Moor get in the regatta?")
    first = answer.sentences[0]
    assert first.text.endswith("Skipper: Skipper150 Moor; Points: 450")
    header = answer.citations[first.citations[0] - 1]
    assert header.quote == "Rank | Boat | Skipper | Points"
    saved = empty_town.record.version(header.key, header.version).document
    assert saved.text[header.start : header.end] == header.quote


async def test_a_list_is_quoted_with_what_introduces_it(empty_town: Town) -> None:
    empty_town.put(1, TEXT, "Lantern night")
    answer = await empty_town.ask("What should I bring to the lantern night?")
    assert "a lantern" in answer.text
    assert "the ticket" in answer.text
    assert answer.sentences[0].verdict.kind is VerdictKind.SUPPORTED


_LINES = st.lists(
    st.sampled_from(
        ["a | b | c", "1 | 2 | 3", "- item one", "2. item two", "Words: and more.", "", "|---|---|",
         " | ", "| x |", "* y", "Ends here. And goes on:"]
    ),
    max_size=14,
)  # fmt: skip


@given(_LINES)
def test_any_layout_keeps_its_offsets(lines: list[str]) -> None:
    text = "\n".join(lines)
    found = blocks(text)
    for one, other in pairwise(found):
        assert one.end <= other.start
    for block in found:
        assert 0 <= block.start < block.end <= len(text)
        assert block_at(text, block.start) == block
        for line in block.lines:
            assert block.start <= line.start < line.end <= block.end
            told(text, line.start, line.end)
    spans = list(passages(text))
    assert all(a.end <= b.start for a, b in pairwise(spans))
    kept = "".join(text[s.start : s.end] for s in spans)
    assert "".join(kept.split()) == "".join(text.split())
