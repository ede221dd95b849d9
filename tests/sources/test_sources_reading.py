"""What a page says of itself comes along in the document."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from gnomon.extract.base import Page
from gnomon.sources.reading import claims_of


@pytest.mark.parametrize(
    ("at", "day", "kept"),
    [
        (
            datetime(2026, 11, 20, 2, tzinfo=UTC),
            date(2026, 11, 19),
            {"published_day": "2026-11-19"},
        ),
        (datetime(2026, 11, 20, 2, tzinfo=UTC), date(2026, 11, 20), {}),
        (None, None, {}),
    ],
)
def test_the_publishers_day_is_kept_where_utc_has_another(
    at: datetime | None, day: date | None, kept: dict[str, str]
) -> None:
    page = Page(url="https://n.example/a", published_at=at, published_day=day)
    assert claims_of(page) == kept
    named = Page(url="https://n.example/a", site="The Example")
    assert claims_of(named) == {"site": "The Example"}
