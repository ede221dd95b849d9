"""Verdicts: what is in the quoted words is supported, and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.answer.check import Cited, Evidence, check, disagrees, judge
from gnomon.types import Document, VerdictKind

SUPPORTED, PARTLY = VerdictKind.SUPPORTED, VerdictKind.PARTLY
CONTRADICTED = VerdictKind.CONTRADICTED


def verdict(sentence: str, quote: str) -> VerdictKind:
    return judge(sentence, [Evidence(quote, quote)]).kind


def document(text: str) -> Document:
    return Document(key="k", source="s", kind="article", text=text, version=1, seq=1)


LORRY = "The harbour bridge was closed at 11:00 on Monday after a lorry overturned, police said."


@pytest.mark.parametrize(
    ("sentence", "quote"),
    [
        (LORRY, LORRY),
        ("It rained.", "The day was grey. It rained. We left."),
        ("It rained. We left.", "The day was grey. It rained. We left."),
        ("He said “It rained”.", 'He said "It rained".'),
        (
            "The harbour bridge was closed at 11:00 on Monday after a lorry overturned.",
            LORRY,
        ),
        ("The mine lost 1200 workers in March.", "In March the mine lost 1,200 workers."),
        ("Profit rose by 12 percent.", "Profit rose by 12 % in the first half."),
    ],
)
def test_what_the_quotation_says_is_supported(sentence: str, quote: str) -> None:
    assert verdict(sentence, quote) is SUPPORTED


@pytest.mark.parametrize(
    ("sentence", "quote", "reason"),
    [
        ("The bridge is open.", "The bridge is not open.", "deny"),
        ("The bridge isn't open.", "The bridge is open.", "denies"),
        ("The bridge is open.", "The bridge is closed.", "open"),
        ("The fire killed 13 people in Oslo.", "The fire killed 12 people in Oslo.", "13"),
        ("Prices rose in May.", "Prices fell in May.", "fall"),
        ("The fine was $5 million.", "The fine was $6 million.", "$5 million"),
    ],
)
def test_what_the_quotation_denies_is_contradicted(sentence: str, quote: str, reason: str) -> None:
    found = judge(sentence, [Evidence(quote, quote)])
    assert found.kind is CONTRADICTED
    assert any(reason in r for r in found.reasons)


@pytest.mark.parametrize(
    ("sentence", "quote", "reason"),
    [
        ("Ada Ferrow closed the bridge.", "Officials closed the bridge.", "Ada Ferrow"),
        ("The bridge was closed on Tuesday.", "The bridge was closed.", "Tuesday"),
        ("He called it “a complete disaster”.", "He called it a sad day.", "complete disaster"),
        ("Twelve lorries overturned there.", "Lorries overturned there.", "Twelve"),
    ],
)
def test_a_missing_fact_is_named(sentence: str, quote: str, reason: str) -> None:
    found = judge(sentence, [Evidence(quote, quote)])
    assert found.kind is not SUPPORTED
    assert any(reason in r for r in found.reasons)


def test_who_did_it_to_whom_counts() -> None:
    quote = "On Saturday Dunmarrow beat the Rovers in the derby."
    found = judge("On Saturday the Rovers beat Dunmarrow in the derby.", [Evidence(quote, quote)])
    assert found.kind is not SUPPORTED
    assert any("other way round" in r for r in found.reasons)
    listed = "On Saturday the Rovers and Dunmarrow met in the derby."
    other = "On Saturday Dunmarrow and the Rovers met in the derby."
    assert verdict(other, listed) is SUPPORTED


def test_words_about_something_else_are_not_supported() -> None:
    found = judge("The library opens at nine.", [Evidence(LORRY, LORRY)])
    assert found.kind is VerdictKind.NOT_SUPPORTED
    assert found.reasons


def test_nothing_cited_is_not_supported() -> None:
    assert judge("It rained.", []).kind is VerdictKind.NOT_SUPPORTED
    assert check("It rained.", []).reasons == ("It cites nothing.",)


def test_a_piece_of_a_sentence_cannot_hide_what_denies_it() -> None:
    text = "It is not true that the harbour bridge is open."
    start = text.index("the harbour")
    found = check("The harbour bridge is open.", [Cited(document(text), start, len(text))])
    assert found.kind is CONTRADICTED


def test_a_span_outside_the_text_is_not_supported() -> None:
    found = check("It rained.", [Cited(document("It rained."), 0, 99)])
    assert found.kind is VerdictKind.NOT_SUPPORTED
    assert "outside" in found.reasons[0]


def test_two_quotations_may_carry_one_sentence() -> None:
    one, other = "Ada Ferrow is the mayor.", "The mayor opened the harbour school on Friday."
    quotes = [Evidence(one, one), Evidence(other, other)]
    found = judge("The mayor, Ada Ferrow, opened the harbour school on Friday.", quotes)
    assert found.kind is SUPPORTED


def test_what_somebody_is_without_denies_that_thing_alone() -> None:
    open_to_all = "The bridge has been open to all traffic, without a weight limit, since 18:36."
    assert not disagrees("The bridge is open to all traffic.", open_to_all)
    assert disagrees("The bridge is open to traffic with a weight limit.", open_to_all)
    quoted = Evidence(open_to_all, open_to_all)
    assert judge("The bridge is open to all traffic since 18:36.", [quoted]).kind is SUPPORTED
    assert judge("The bridge is open to all traffic with a weight limit.", [quoted]).kind is (
        VerdictKind.CONTRADICTED
    )


def test_what_is_lifted_agrees_with_being_without_it() -> None:
    lifted = "The barriers were cleared away, both lanes are in use and the weight limit is lifted."
    assert not disagrees(
        "The bridge has been open to all traffic, in both directions and without a weight limit, "
        "since 19:43.",
        lifted,
    )
    assert disagrees(
        "The Mill Bridge is open without a weight limit.",
        "The Mill Bridge is open with a weight limit.",
    )


def test_statements_disagree_when_they_exclude_each_other() -> None:
    assert disagrees("The bridge is open again.", "The bridge was closed at 11:00.")
    assert disagrees("The fire killed 13 people.", "The fire killed 12 people.")
    assert not disagrees("The bridge is open.", "The library is closed on Mondays.")
    assert not disagrees("The bridge is open.", "The bridge is open again.")
    assert disagrees("The Mill Bridge is open.", "The Mill Bridge is not open.")
    assert not disagrees(
        "The Mill Bridge is closed in both directions.",
        "Divers found no damage to the piers of the Mill Bridge.",
    )


NAMES = ["Ada Ferrow", "Bram Averly", "Cecily Crannock", "Corin Dunmere"]
PLACES = ["Quillhaven", "Dunmarrow", "Fernhill", "Tallow Street"]


@st.composite
def statements(draw: st.DrawFn) -> tuple[str, str, int, str]:
    name, place = draw(st.sampled_from(NAMES)), draw(st.sampled_from(PLACES))
    count = draw(st.integers(min_value=2, max_value=99_999))
    verb = draw(st.sampled_from(["counted", "found", "bought", "lost"]))
    noun = draw(st.sampled_from(["lanterns", "bicycles", "roof tiles", "herons"]))
    text = f"On Friday {name} {verb} {count:,} {noun} near {place}, the paper said."
    return text, name, count, place


@given(statements(), st.sampled_from(NAMES))
def test_a_changed_name_is_never_supported(made: tuple[str, str, int, str], other: str) -> None:
    text, name, _, _ = made
    if other != name:
        assert verdict(text.replace(name, other), text) is not SUPPORTED


@given(statements(), st.integers(min_value=2, max_value=99_999))
def test_a_changed_number_is_never_supported(made: tuple[str, str, int, str], other: int) -> None:
    text, _, count, _ = made
    if other != count:
        assert verdict(text.replace(f"{count:,}", f"{other:,}"), text) is not SUPPORTED


@given(statements(), st.sampled_from(["not ", "never "]))
def test_a_changed_denial_is_never_supported(made: tuple[str, str, int, str], word: str) -> None:
    text, name, _, _ = made
    denied = text.replace(name, f"{name} {word}".strip())
    assert verdict(denied, text) is not SUPPORTED
    assert verdict(text, denied) is not SUPPORTED


@given(statements(), st.sampled_from(PLACES))
def test_a_changed_place_is_never_supported(made: tuple[str, str, int, str], other: str) -> None:
    text, _, _, place = made
    if other != place:
        assert verdict(text.replace(place, other), text) is not SUPPORTED


@given(statements())
def test_the_words_themselves_are_always_supported(made: tuple[str, str, int, str]) -> None:
    assert judge(made[0], [Evidence(made[0], made[0])]).score == 1.0


@given(st.text(max_size=200), st.text(max_size=400))
def test_any_text_gets_a_verdict(sentence: str, quote: str) -> None:
    found = judge(sentence, [Evidence(quote, quote)])
    assert 0 <= found.score <= 1
    assert found.kind is SUPPORTED or found.reasons
