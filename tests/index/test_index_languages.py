"""Ten languages: a question in one form of a word finds what holds another."""

from __future__ import annotations

from typing import Any

import pytest

from gnomon.index import inflect

FOUND = (
    ("en", "The bridges were closed.", "bridge"),
    ("de", "Die Häuser am Hafen brannten.", "Haus"),
    ("de", "Das Haus am Hafen brannte.", "Häuser"),
    ("fr", "Les grévistes ont bloqué le port.", "gréviste bloquer"),
    ("fr", "La manifestation nationale a commencé.", "manifestations nationales"),
    ("es", "Las elecciones municipales empezaron.", "elección municipal"),
    ("pt", "As cidades inundadas pediram ajuda.", "cidade inundada"),
    ("ru", "Новые мосты закрыли на ремонт.", "новый мост"),
    ("ru", "Губернатор подал в отставку.", "отставка губернатора"),
    ("ar", "أغلقت المدارس أبوابها.", "مدرسة المدرسة أبواب"),
    ("hi", "नदियों में बाढ़ आई।", "नदी"),
    ("zh", "大桥因洪水关闭。", "大桥关闭了吗"),
    ("ja", "橋は洪水のため閉鎖された。", "橋の閉鎖"),
)


@pytest.mark.parametrize(("lang", "text", "query"), FOUND)
def test_another_form_of_a_word_is_found(bench: Any, lang: str, text: str, query: str) -> None:
    bench.add(text, lang=lang)
    bench.add("Something else entirely, in no way like it: 42.", lang="en")
    assert bench.find(query, mode="lexical")[:1] == [1]


def test_english_is_indexed_as_before() -> None:
    assert inflect.of_text(["houses", "running"], "en-GB") == []
    assert inflect.of_text(["houses"], "und") == []


def test_phrases_do_not_meet_stems(bench: Any) -> None:
    bench.add("Die Häuser brannten.", lang="de")
    assert bench.find('"hauser brannten"', mode="lexical") == [1]
    assert bench.find('"brannten haus"', mode="lexical") == []


def test_a_query_tries_the_languages_of_its_script() -> None:
    assert "haus" in inflect.of_query("hauser")
    assert inflect.of_query("2023") == [] and inflect.of_query("大桥") == []
    assert inflect.of_query("мостов") == ["мост"]
