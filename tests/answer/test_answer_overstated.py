"""A claim that is more certain, more sweeping or the other way round than its source."""

from __future__ import annotations

import pytest

from gnomon.answer.check import Evidence, judge
from gnomon.types import VerdictKind

SUPPORTED, PARTLY = VerdictKind.SUPPORTED, VerdictKind.PARTLY
CONTRADICTED, NOT = VerdictKind.CONTRADICTED, VerdictKind.NOT_SUPPORTED


def verdict(claim: str, source: str) -> VerdictKind:
    return judge(claim, [Evidence(source, source)]).kind


@pytest.mark.parametrize(
    ("claim", "source"),
    [
        ("The mayor resigned.", "The mayor may resign, a councillor said."),
        ("The mayor resigned.", "The mayor threatened to resign if the budget fails."),
        ("The mayor will resign.", "Rumours that the mayor will resign are false."),
        ("The ferry is running.", "The ferry would be running if the skipper were well."),
        ("All schools are closed.", "Some schools are closed."),
        ("Only Line 5 is running.", "Line 5 is running."),
        ("The storm killed more than 3 people.", "The storm killed 3 people in Quillhaven."),
        ("The storm killed 3 people.", "The storm killed at least 3 people in Quillhaven."),
    ],
)
def test_what_goes_beyond_its_source_is_carried_in_part(claim: str, source: str) -> None:
    assert verdict(claim, source) is PARTLY


@pytest.mark.parametrize(
    ("claim", "source"),
    [
        ("Anna Berg beat Tom Lind.", "Tom Lind beat Anna Berg in the final."),
        ("Tom Lind was beaten by Anna Berg.", "Tom Lind beat Anna Berg in the final."),
        ("The fire caused the outage.", "The outage caused the fire."),
        ("Мост не закрыт.", "Мост закрыт."),
        ("橋は閉鎖されていない。", "橋は閉鎖されている。"),
        ("पुल बंद नहीं है।", "पुल बंद है।"),
        ("A ponte não está fechada.", "A ponte está fechada."),
    ],
)
def test_the_other_way_round_is_contradicted(claim: str, source: str) -> None:
    assert verdict(claim, source) is CONTRADICTED


def test_a_score_the_other_way_round_is_not_supported() -> None:
    source = "The council voted 23 to 16 for the tram line on Saturday evening."
    assert verdict("The council voted 16 to 23 for the tram line.", source) is NOT
    assert verdict("The council voted 23 to 16 for the tram line.", source) is SUPPORTED


@pytest.mark.parametrize(
    ("claim", "source"),
    [
        ("Anna Berg was beaten by Tom Lind.", "Tom Lind beat Anna Berg in the final."),
        ("The mayor may resign.", "The mayor may resign, a councillor said."),
        ("The storm killed at least 3 people.", "The storm killed at least 3 people there."),
        ("All schools are closed.", "All schools in the town are closed."),
        ("The bridge was closed on Monday.", "The bridge, which may rust, was closed on Monday."),
    ],
)
def test_what_says_the_same_stays_supported(claim: str, source: str) -> None:
    assert verdict(claim, source) is SUPPORTED
