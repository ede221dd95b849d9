"""A sentence in another language than its source is judged by what can be compared."""

from __future__ import annotations

import pytest

from gnomon.answer.check import Evidence, judge
from gnomon.answer.translated import language
from gnomon.types import VerdictKind

OPEN = (
    "The Mill Bridge has been open to all traffic, in both directions and without a weight limit, "
    "since 19:50."
)
COST = "The final cost of the repair of the Mill Bridge comes to 200,000 crowns."


def kind(sentence: str, quote: str) -> VerdictKind:
    return judge(sentence, [Evidence(quote, quote)]).kind


@pytest.mark.parametrize(
    ("sentence", "quote"),
    [
        ("Die Mill Bridge ist seit 19:50 wieder für allen Verkehr offen.", OPEN),
        ("El Mill Bridge está abierto a todo el tráfico desde las 19:50.", OPEN),
        ("Le Mill Bridge est ouvert à toute la circulation depuis 19:50.", OPEN),
        ("Мост Mill Bridge открыт для всего движения с 19:50.", OPEN),
        ("Mill Bridge自19:50起对所有车辆开放。", OPEN),
        ("Mill Bridge は 19:50 から全面的に通行できます。", OPEN),
        ("La reparación del Mill Bridge costará 200.000 coronas.", COST),
        ("La réparation du Mill Bridge coûte 200 000 couronnes.", COST),
        ("The ferry is suspended because the skipper of the Gull Island boat is ill.",
         "El barco a Gull Island queda suspendido por enfermedad del patrón."),
        ("Розалинд Пенхаллик является мэром города с 16:14.",
         "Rosalind Penhallick has been the mayor of the town since 16:14."),
    ],
)  # fmt: skip
def test_what_a_model_translates_is_carried_partly_and_says_why(sentence: str, quote: str) -> None:
    verdict = judge(sentence, [Evidence(quote, quote)])
    assert verdict.kind is VerdictKind.PARTLY, verdict
    assert "another language" in verdict.reasons[0]


@pytest.mark.parametrize(
    ("sentence", "quote"),
    [
        ("Die Mill Bridge ist seit 21:15 wieder für allen Verkehr offen.", OPEN),
        ("Die Mill Bridge ist seit 19:50 nicht mehr für den Verkehr offen.", OPEN),
        ("Die Mill Bridge ist seit 19:50 für allen Verkehr geschlossen.", OPEN),
        ("Le Mill Bridge n'est pas ouvert à la circulation depuis 19:50.", OPEN),
        ("El Mill Bridge está cerrado a todo el tráfico desde las 19:50.", OPEN),
        ("Mill Bridge自19:50起关闭。", OPEN),
        ("La reparación del Mill Bridge costará 900.000 coronas.", COST),
        ("El alcalde Boris Johnson dimitió por la mañana.", OPEN),
        ("Die Bürgermeisterin ist wegen der Kosten zurückgetreten.", COST),
        ("Boris Johnson wurde am Abend zur Bürgermeisterin gewählt.", COST),
    ],
)
def test_other_numbers_names_denials_and_opposites_are_found_in_any_language(
    sentence: str, quote: str
) -> None:
    assert kind(sentence, quote) in (VerdictKind.NOT_SUPPORTED, VerdictKind.CONTRADICTED)


def test_the_same_language_is_judged_by_its_words() -> None:
    assert kind("The Mill Bridge has been open since 19:50.", OPEN) is VerdictKind.SUPPORTED
    assert kind("The Mill Bridge fell into the river at 19:50.", OPEN) is not VerdictKind.SUPPORTED
    quoted = "El hospital Saint Ellory sigue abierto."
    assert kind(quoted, quoted) is VerdictKind.SUPPORTED


@pytest.mark.parametrize(
    ("text", "lang"),
    [
        (OPEN, "en"),
        ("Die Brücke ist wieder offen.", "de"),
        ("El puente está abierto desde ayer.", "es"),
        ("Le pont est ouvert depuis hier.", "fr"),
        ("O preço não foi alterado na cidade.", "pt"),
        ("Мост открыт с утра.", "ru"),
        ("桥已经开放。", "zh"),
        ("橋は開いています。", "ja"),
        ("الجسر مفتوح من الصباح.", "ar"),
        ("पुल सुबह से खुला है।", "hi"),
        ("Mill Bridge", ""),
    ],
)
def test_languages_are_told_by_script_and_small_words(text: str, lang: str) -> None:
    assert language(text) == lang
