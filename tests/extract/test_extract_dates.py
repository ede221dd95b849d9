"""The day of publication: stated, or standing on the page, in the publisher's own zone."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.extract.base import Page
from gnomon.extract.dates import parse_date, read_date
from gnomon.extract.html import extract_page
from gnomon.extract.written import day_in_path, days_in, month_in_path, plain_digits

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
STORY = "".join(
    f"<p>The council met for the {n}th time and voted for the bridge over the river.</p>"
    for n in range(8)
)


def page(body: str, head: str = "", *, lang: str = "en", url: str = "https://n.example/a") -> Page:
    html = f"<html lang={lang}><head>{head}</head><body>{body}</body></html>"
    return extract_page(html.encode(), url=url, now=NOW)


def story(above: str = "", below: str = "") -> str:
    return f"<main><h1>The bridge is built</h1>{above}{STORY}</main>{below}"


# -- days in words ---------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "lang", "day"),
    [
        ("2019-11-05", "", date(2019, 11, 5)),
        ("Nov 5, 2019", "en", date(2019, 11, 5)),
        ("Tuesday, November 5th, 2019 at 10:02", "en", date(2019, 11, 5)),
        ("5th of November 2019", "en", date(2019, 11, 5)),
        ("11/5/2019", "en-US", date(2019, 11, 5)),
        ("5/11/2019", "en-GB", date(2019, 11, 5)),
        ("5/11/2019", "fr", date(2019, 11, 5)),
        ("25/11/2019", "en-US", date(2019, 11, 25)),
        ("11/25/2019", "fr", date(2019, 11, 25)),
        ("5.11.2019", "en-US", date(2019, 11, 5)),
        ("am 5. November 2019 um 10:02 Uhr", "de", date(2019, 11, 5)),
        ("05.11.19", "de", date(2019, 11, 5)),
        ("5. März 2019", "de", date(2019, 3, 5)),
        ("le 1er août 2019", "fr", date(2019, 8, 1)),
        ("5 de noviembre de 2019", "es", date(2019, 11, 5)),
        ("5 novembre 2019", "it", date(2019, 11, 5)),
        ("5 listopada 2019", "pl", date(2019, 11, 5)),
        ("5. listopadu 2019", "cs", date(2019, 11, 5)),
        ("5 ноября 2019 г.", "ru", date(2019, 11, 5)),
        ("5 листопада 2019", "uk", date(2019, 11, 5)),
        ("5 Νοεμβρίου 2019", "el", date(2019, 11, 5)),
        ("5 Kasım 2019", "tr", date(2019, 11, 5)),
        ("5. marraskuuta 2019", "fi", date(2019, 11, 5)),
        ("2019. november 5.", "hu", date(2019, 11, 5)),
        ("5 tháng 11, 2019", "vi", date(2019, 11, 5)),
        ("5 พฤศจิกายน 2562", "th", date(2019, 11, 5)),
        ("٥ نوفمبر ٢٠١٩", "ar", date(2019, 11, 5)),
        ("2019年11月5日", "ja", date(2019, 11, 5)),
        ("2019年11月05日 10:02", "zh", date(2019, 11, 5)),
        ("2019년 11월 5일", "ko", date(2019, 11, 5)),
        ("31 February 2019", "en", None),
        ("November 2019", "en", None),
        ("room 5 gallery 2019", "en", None),
        ("since 2019", "en", None),
    ],
)
def test_days_in_words(text: str, lang: str, day: date | None) -> None:
    assert [w.day for w in days_in(plain_digits(text), lang)] == ([day] if day else [])


@given(st.text(max_size=200), st.sampled_from(["", "en", "de", "ja"]))
def test_any_text_gives_days_or_none(text: str, lang: str) -> None:
    plain = plain_digits(text)
    assert len(plain) == len(text)
    for written in days_in(plain, lang):
        assert 0 <= written.start < written.end <= len(text)


@pytest.mark.parametrize(
    ("url", "day"),
    [
        ("https://n.example/2019/11/05/bridge", date(2019, 11, 5)),
        ("https://n.example/a/2019-11-05/bridge", date(2019, 11, 5)),
        ("https://n.example/20191105/bridge", date(2019, 11, 5)),
        ("https://n.example/2019/11/bridge", None),
        ("https://n.example/story-20191335", None),
        ("https://n.example/bridge?day=2019/11/05/", None),
        ("https://n.example/2019/11/05/from/2019/11/09/", None),
    ],
)
def test_days_in_addresses(url: str, day: date | None) -> None:
    assert day_in_path(url) == day


def test_a_date_keeps_its_zone_until_it_is_a_moment() -> None:
    assert read_date("2026-11-19T23:30:00-05:00").isoformat() == "2026-11-19T23:30:00-05:00"  # type: ignore[union-attr]
    assert parse_date("2026-11-19T23:30:00-05:00") == datetime(2026, 11, 20, 4, 30, tzinfo=UTC)
    assert parse_date("9999-12-31T23:30:00-05:00") is None


# -- the publisher's own day -------------------------------------------------------
def stated(text: str) -> str:
    return f"<meta property=article:published_time content='{text}'>"


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2026-11-18T23:30:00-05:00", 18),
        ("2026-11-18T00:30:00+09:00", 18),
        ("2026-11-18", 18),
        ("2026-11-18T00:00:00Z", 18),
        ("2026-11-18T12:00:00", 18),
        ("2026-11-18T12:00:00Z", 18),
    ],
)
def test_the_publishers_day_is_the_one_it_wrote(text: str, day: int) -> None:
    result = page(story(), stated(text))
    assert result.published_at == parse_date(text)
    assert result.published_day == date(2026, 11, day)


@pytest.mark.parametrize(
    "body",
    [
        story("<p class=byline>By Jane Doe, November 17, 2026</p>"),
        story("<p>Published 9:02 PM EST Nov 17, 2026</p>"),
        story("<time datetime='2026-11-17T21:02:00-05:00'>yesterday</time>"),
    ],
)
def test_a_moment_in_utc_has_the_day_of_the_byline(body: str) -> None:
    result = page(body, stated("2026-11-18T02:02:00Z"))
    assert result.published_at == datetime(2026, 11, 18, 2, 2, tzinfo=UTC)
    assert result.published_day == date(2026, 11, 17)


def test_a_moment_in_utc_has_the_day_of_the_address() -> None:
    head = stated("2026-11-17T20:00:00Z")
    assert page(story(), head, url="https://n.example/2026/11/18/a").published_day == date(
        2026, 11, 18
    )
    canonical = "<link rel=canonical href='https://n.example/2026/11/18/a'>"
    assert page(story(), head + canonical).published_day == date(2026, 11, 18)


@pytest.mark.parametrize(
    ("moment", "written"),
    [
        (
            "2026-11-17T08:00:00Z",
            "November 18, 2026",
        ),  # the 18th begins at 10:00 UTC in the far east
        ("2026-11-17T13:00:00Z", "November 16, 2026"),  # the 16th ends at 12:00 UTC in the far west
        ("2026-11-17T20:00:00Z", "November 12, 2026"),
    ],
)
def test_a_day_that_it_was_nowhere_is_not_believed(moment: str, written: str) -> None:
    result = page(story(f"<p class=byline>{written}</p>"), stated(moment))
    assert result.published_day == date(2026, 11, 17)


def test_an_undated_page_has_no_day() -> None:
    result = page(story())
    assert result.published_at is None and result.published_day is None


# -- days on the page ----------------------------------------------------------------
@pytest.mark.parametrize(
    ("lang", "label"),
    [
        ("en", "Published 10:02 AM EST Nov 5, 2019"),
        ("de", "Veröffentlicht am 05.11.2019"),
        ("fr", "Publié le 5 novembre 2019 à 10h02"),
        ("es", "Publicado: 05/11/2019"),
        ("pt", "Publicado em 5 de novembro de 2019"),
        ("it", "Pubblicato il 5 novembre 2019"),
        ("pl", "Opublikowano: 5 listopada 2019"),
        ("ru", "Опубликовано 5 ноября 2019"),
        ("ja", "公開日：2019年11月5日"),
        ("zh", "发布时间：2019-11-05 10:02"),
        ("ko", "입력 2019. 11. 5. 10:02"),
    ],
)
def test_a_labelled_day_goes_before_comments(lang: str, label: str) -> None:
    comment = "<article class=reply><time datetime=2019-11-09>9</time><p>Indeed.</p></article>"
    result = page(story(below=f"<div>{label}</div>{comment}"), lang=lang)
    assert (result.published_day, result.date_source) == (date(2019, 11, 5), "byline")


@pytest.mark.parametrize(
    "marked",
    [
        "<span itemprop=datePublished content=2019-11-05>lately</span>",
        "<time class='entry-date published updated' datetime=2019-11-05>lately</time>",
        "<time pubdate datetime=2019-11-05>lately</time>",
    ],
)
def test_a_marked_day_goes_first(marked: str) -> None:
    result = page(story(f"<p class=date>Nov 7, 2019</p><p>Updated Nov 8, 2019</p>{marked}"))
    assert (result.published_day, result.date_source) == (date(2019, 11, 5), "byline")


@pytest.mark.parametrize(
    "byline",
    [
        "<div class=entry-info-time>2019年11月05日</div>",
        "<p>By <a href=/jane>Jane Doe</a><br> on November 5, 2019</p>",
        "<time>05.11.2019, 12:01 Uhr</time>",
        "<time datetime=2019-11-05T12:01:00+01:00>lately</time>",
    ],
)
def test_a_byline_near_the_title_is_believed(byline: str) -> None:
    result = page(story(byline), lang="de")
    assert (result.published_day, result.date_source) == (date(2019, 11, 5), "byline")


def test_lists_of_other_stories_are_no_byline() -> None:
    teasers = "".join(
        f"<li><a href=/{n}>Another story</a><span class=date>Nov {n}, 2019</span></li>"
        for n in range(2, 9)
    )
    others = "<p>And so on.</p>" * 60 + f"<ul>{teasers}</ul>"
    result = page(story(below=others + "<p class=post-date>Nov 12, 2019</p>"))
    assert result.published_day == date(2019, 11, 12)


@pytest.mark.parametrize(
    "away",
    [
        "<aside><p class=date>Nov 3, 2019</p></aside>",
        "<div class=related-stories><p class=date>Nov 3, 2019</p></div>",
        "<div id=comments><time datetime=2019-11-03>3</time></div>",
        "<nav><span class=date>Nov 3, 2019</span></nav>",
    ],
)
def test_what_stands_beside_the_story_is_not_its_day(away: str) -> None:
    result = page(f"{away}{story('<p class=date>Nov 5, 2019</p>')}")
    assert result.published_day == date(2019, 11, 5)


def test_a_day_in_the_title_or_in_prose_is_what_the_story_is_about() -> None:
    body = (
        "<h1 class=entry-date>Results of May 19, 2019</h1><p class=meta-info>May 20, 2019</p>"
        f"<p>The book was published on May 3, 2018. {'It tells of a river. ' * 20}</p>{STORY}"
    )
    assert page(body).published_day == date(2019, 5, 20)


def test_a_label_far_along_a_line_is_prose() -> None:
    prose = "<p>A new edition of the book, for which many had waited, was published May 3, 2018</p>"
    assert page(story("<p class=date>May 20, 2019</p>" + prose)).published_day == date(2019, 5, 20)


def test_a_word_in_a_caption_is_no_label() -> None:
    body = story("<p class=date>2019年11月5日</p><div>写真：公開調教シーン(2019/5/17撮影)</div>")
    assert page(body, lang="ja").published_day == date(2019, 11, 5)


def test_a_label_may_stand_on_the_line_before() -> None:
    assert page(story("<div>Published</div><div>Friday, May 3, 2019</div>")).published_day == date(
        2019, 5, 3
    )


def test_an_update_is_the_day_only_where_nothing_else_is() -> None:
    update = "<p>Last updated: November 9, 2019</p>"
    both = page(story(f"{update}<p class=date>Nov 5, 2019</p>"))
    assert (both.published_day, both.date_source) == (date(2019, 11, 5), "byline")
    alone = page(story(update))
    assert (alone.published_day, alone.date_source) == (date(2019, 11, 9), "updated")


def test_an_undated_page_has_the_day_of_its_address() -> None:
    result = page(story(), url="https://n.example/2019/11/05/bridge")
    assert (result.published_day, result.date_source) == (date(2019, 11, 5), "address")


def test_the_month_of_the_address_rules_other_days_out() -> None:
    others = "<p class=date>Mar 3, 2021</p><p class=date>Nov 5, 2019</p>"
    result = page(story(others), url="https://n.example/2019/11/bridge/")
    assert (result.published_day, result.date_source) == (date(2019, 11, 5), "byline")
    alone = page(story("<p class=date>Mar 3, 2021</p>"), url="https://n.example/2019/11/bridge/")
    assert alone.published_day is None
    assert month_in_path("https://n.example/2019/13/bridge/") is None


@pytest.mark.parametrize(
    "line",
    [
        "<div>14 August 2019, 15:40</div>",
        "<p>Freitag<br>14.08.2019, 09:55 Uhr</p>",
        "<p><i></i>Ann Example · Aug 14, 2019 · 6 min read</p>",
        "<div>Aug 14</div><div>09:34</div><div>2019</div>",
        "<div><div>14</div><div>August</div><div>2019</div></div>",
        f"<p>Oldtown, August 14, 2019 – The council met. {'It talked of a bridge. ' * 20}</p>",
        "<div>14/08/19</div>",
    ],
)
def test_a_line_with_hardly_more_than_a_date_is_a_byline(line: str) -> None:
    result = page(story(line), lang="en-gb")
    assert (result.published_day, result.date_source) == (date(2019, 8, 14), "byline")


@pytest.mark.parametrize(
    "line",
    ["<p>Version 3, 29 June 2007</p>", "<p>Available until:</p><p>14.10.2020 ∙ 14:00</p>"],
)
def test_the_day_of_something_else_is_no_byline(line: str) -> None:
    assert page(story(line)).date_source != "byline"


def test_a_title_may_be_a_lower_heading() -> None:
    head = "<title>The bridge is built - The Example</title>"
    body = f"<h2>The bridge is built</h2><div>14 August 2019</div>{STORY}<h2>And more</h2>"
    assert page(body, head).published_day == date(2019, 8, 14)
    far = f"<h2>Something else</h2>{STORY * 9}<div>14 August 2019</div>"
    assert page(far, head).date_source != "byline"


def test_the_foot_of_the_article_tells_its_day() -> None:
    foot = (
        "<footer class=entry-meta><time class=published datetime=2019-11-05>5 Nov</time></footer>"
    )
    article = f"<article><h1>The bridge is built</h1>{STORY}{foot}</article>"
    assert page(article).published_day == date(2019, 11, 5)
    apart = f"<article><h1>The bridge is built</h1>{STORY}</article>{foot}"
    assert page(apart).date_source != "byline"


def test_a_machine_reads_the_title_of_an_abbreviation() -> None:
    body = story("<abbr class=published title='2019-11-05T10:00:00+01:00'>Tuesday</abbr>")
    assert page(body).published_at == datetime(2019, 11, 5, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    "sentence",
    [
        "<p>„The bridge is built“ wurde am 5. November 2019 um 23:03 Uhr gepostet</p>",
        "<p>You are reading The bridge is built, which was published on November 5, 2019.</p>",
    ],
)
def test_a_sentence_that_names_the_title_tells_its_day(sentence: str) -> None:
    head = "<title>The bridge is built | The Example</title>"
    result = page(f"<div id=sidebar>{sentence}</div>{STORY}", head)
    assert (result.published_day, result.date_source) == (date(2019, 11, 5), "byline")
    other = page(f"<div id=sidebar>{sentence.replace('built', 'gone')}</div>{STORY}", head)
    assert other.date_source != "byline"


def test_the_word_may_come_after_the_day() -> None:
    line = "<p>Dieser Beitrag wurde am 5. November 2019 von Ann in Allgemein veröffentlicht.</p>"
    assert page(story(below=line), lang="de").published_day == date(2019, 11, 5)
    prose = "<p>Das Buch wurde am 3. Mai 2018 veröffentlicht.</p>"
    assert page(story(below=prose), lang="de").date_source != "byline"


# -- the order of numbers -----------------------------------------------------------
@pytest.mark.parametrize(
    ("url", "below", "lang", "day"),
    [
        ("https://n.example/a", "", "en", date(2019, 4, 5)),
        ("https://n.example.co.uk/a", "", "en", date(2019, 5, 4)),
        ("https://n.example.au/a", "", "en-US", date(2019, 4, 5)),
        ("https://n.example/a", "<p>since 25/03/2011</p>", "en", date(2019, 5, 4)),
        ("https://n.example/a", "<p>since 03/25/2011</p>", "de", date(2019, 4, 5)),
        ("https://n.example/a", "<p>25/03/2011 and 03/25/2011</p>", "de", date(2019, 5, 4)),
    ],
)
def test_numbers_are_read_as_the_page_writes_them(
    url: str, below: str, lang: str, day: date
) -> None:
    body = story("<p class=date>04/05/2019</p>", below)
    assert page(body, lang=lang, url=url).published_day == day


def test_without_a_tag_the_prose_tells_the_order() -> None:
    prose = "<p>Der Rat der Stadt hat gestern Abend beschlossen, die alte Brücke zu erneuern.</p>"
    html = f"<html><body><h1>Die Brücke</h1><p class=date>04/05/2019</p>{prose}</body></html>"
    found = extract_page(html.encode(), url="https://n.example/a", now=NOW)
    assert found.published_day == date(2019, 5, 4)


@pytest.mark.parametrize(
    ("text", "lang", "day"),
    [
        ("2 تير 1399 - 12:09:08", "fa", date(2020, 6, 22)),
        ("دوشنبه ۲ تیر ۱۳۹۹", "", date(2020, 6, 22)),
        ("1399/02/21", "fa", date(2020, 5, 10)),
        ("30 اسفند 1399", "fa", date(2021, 3, 20)),
        ("1 فروردین 1403", "fa", date(2024, 3, 20)),
        ("1 فروردین 1404", "fa", date(2025, 3, 21)),
        ("1399/02/21", "de", None),
        ("1441/09/17", "ar", None),
        ("31 مهر 1399", "fa", None),
    ],
)
def test_the_solar_calendar(text: str, lang: str, day: date | None) -> None:
    assert [w.day for w in days_in(plain_digits(text), lang)] == ([day] if day else [])


# -- claims in other words ------------------------------------------------------------
@pytest.mark.parametrize("text", ["5 November 2019", "2019/11/05 10:00", "05.11.2019"])
def test_a_claim_may_be_written_for_people(text: str) -> None:
    result = page(story(), stated(text), lang="en")
    assert (result.published_day, result.date_source) == (date(2019, 11, 5), "meta")


def test_an_article_without_a_day_has_that_of_its_page() -> None:
    nodes = (
        '{"@graph":[{"@type":"NewsArticle","headline":"The bridge"},'
        '{"@type":"WebPage","datePublished":"2019-11-05T10:00:00+01:00","headline":"Home"}]}'
    )
    result = page(story(), f"<script type='application/ld+json'>{nodes}</script>")
    assert (result.title, result.published_day) == ("The bridge", date(2019, 11, 5))


def test_the_evening_before_the_printed_issue() -> None:
    line = "<p class=date>04.11.2019, 18:01 Uhr</p>"
    result = page(story(line), stated("2019-11-05"), lang="de")
    assert (result.published_day, result.date_source) == (date(2019, 11, 4), "byline")
    exact = page(story(line), stated("2019-11-05T07:00:00+01:00"), lang="de")
    assert exact.published_day == date(2019, 11, 5)
    earlier = page(story("<p class=date>04.10.2019, 18:01 Uhr</p>"), stated("2019-11-05"))
    assert earlier.published_day == date(2019, 11, 5)


# -- what scripts are told ---------------------------------------------------------------
@pytest.mark.parametrize(
    "state",
    [
        'window.state = {"article": {"publishedAt": "2019-11-05T10:00:00Z"}}',
        "dataLayer.push({'pubDate': '2019-11-05 10:00'})",
        "{&q;property&q;:&q;article:published_time&q;,&q;content&q;:&q;2019-11-05T10:00Z&q;}",
        r'push("{\"datePublished\":\"2019.11.05\"}")',
    ],
)
def test_a_script_is_told_the_day(state: str) -> None:
    result = page(story(below=f"<script>{state}</script>"))
    assert (result.published_day, result.date_source) == (date(2019, 11, 5), "script")


@pytest.mark.parametrize(
    "state",
    [
        '[{"publishedAt": "2019-11-05T10:00Z"}, {"publishedAt": "2019-11-04T10:00Z"}]',
        '{"publishDate": "2019-01-01T00:00:00Z"}',
        '{"published": "2031-01-01T10:00:00Z"}',
    ],
)
def test_a_list_a_placeholder_or_the_future_is_not_believed(state: str) -> None:
    assert page(story(below=f"<script>{state}</script>")).date_source != "script"


def test_json_ld_that_cannot_be_read_is_still_a_script() -> None:
    broken = '{"@type":"NewsArticle","datePublished":"2019-11-05T10:00:00+01:00",,}'
    result = page(story(), f"<script type='application/ld+json'>{broken}</script>")
    assert (result.published_day, result.date_source) == (date(2019, 11, 5), "script")


def test_a_month_or_a_year_is_no_day() -> None:
    assert page(story(below="<footer>© 2019 The Example</footer>")).published_at is None
    assert page(story("<p class=date>November 2019</p>")).published_at is None


def test_the_days_of_a_future_page_are_not_believed() -> None:
    result = page(story("<p>Published Nov 5, 2031</p><p class=date>Nov 5, 2019</p>"))
    assert result.published_day == date(2019, 11, 5)
    assert result.notes["date.future"] == 1
