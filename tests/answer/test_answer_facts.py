"""Numbers, moments and names are found with what makes them comparable."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.answer.facts import moments, names, numbers, quotations
from gnomon.answer.words import stem, stems, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It cost $1,200 in all", [(1200.0, "usd")]),
        ("1.200,50 €", [(1200.5, "eur")]),
        ("US$ 3.5 million", [(3_500_000.0, "usd")]),
        ("2.9 million vehicles", [(2_900_000.0, "vehicl")]),
        ("$19m", [(19_000_000.0, "usd")]),
        ("38.7C in the shade", [(38.7, "°c")]),
        ("up 45 percent", [(45.0, "%")]),
        ("up 45%", [(45.0, "%")]),
        ("twelve people and twenty-one dogs", [(12.0, "person"), (21.0, "dog")]),
        ("on 5 May 2022 at 14:05", []),
        ("one of them", []),
    ],
)
def test_numbers_carry_value_and_unit(text: str, expected: list[tuple[float, str]]) -> None:
    assert [(n.value, n.unit) for n in numbers(text)] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("on May 5, 2022", {"m5", "d5", "y2022"}),
        ("12 March", {"m3", "d12"}),
        ("2023-05-01", {"y2023", "m5", "d1"}),
        ("at 5 p.m. sharp", {"t17:00"}),
        ("at 14:05", {"t14:05"}),
        ("by Tuesday", {"wtue"}),
        ("since 1994", {"y1994"}),
        ("it may rain in march", set()),
    ],
)
def test_moments_are_comparable_parts(text: str, expected: set[str]) -> None:
    assert set().union(*(m.parts for m in moments(text))) == expected


def test_names_are_capitalised_runs_but_not_first_words() -> None:
    found = names("Yesterday Prince Michael of Kent met NASA in Windsor. Police watched.")
    assert [n.text for n in found] == ["Prince Michael of Kent", "NASA", "Windsor"]


def test_quotations_are_longer_than_a_word() -> None:
    assert quotations("He said “it is over” and “no”.") == ["it is over"]


def test_inflections_share_a_stem() -> None:
    assert stem("raised") == stem("raising") == stem("raises") == stem("raise")
    assert stem("won") == stem("winner")
    assert stem("U.S.") == stem("US") != stem("us")
    assert stem("Beyoncé's") == "beyonc"
    assert stems("The cities of the city") == {stem("city")}


@given(st.text(max_size=500))
def test_nothing_breaks_on_any_text(text: str) -> None:
    for found in (*numbers(text), *moments(text), *names(text)):
        assert text[found.start : found.end].strip() == found.text.strip()
    assert all(text[w.start : w.end] == w.text for w in words(text))
