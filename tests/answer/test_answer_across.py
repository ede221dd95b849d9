"""Question and evidence in different languages: names and numbers meet, words do not."""

from __future__ import annotations

from typing import Any

import pytest

from gnomon.answer.across import Names
from gnomon.answer.base import Question
from gnomon.answer.facts import numbers
from gnomon.answer.plan import plan
from gnomon.answer.retrieve import retrieve

Town = Any

# (question, its evidence): a small set, made by hand; names and numbers are what both share.
PAIRS = (
    ("Where did President Macron arrive on Monday?",
     "Президент Макрон прибыл в Варшаву в понедельник на переговоры с премьер-министром."),
    ("What did Merkel say about Greece?",
     "ميركل تتحدث عن أزمة اليونان وتدعو إلى الصبر في برلين."),
    ("When does Scholz visit Toronto?",
     "ショルツ首相は来週トロントを訪問する予定だと政府が発表した。"),
    ("How many people heard Mandela in Madrid?",
     "मंडेला को मद्रिद में १२०० लोगों ने सुना।"),
    ("Who met Lukashenko in Minsk?",
     "В Минске Лукашенко встретился с делегацией из трёх стран."),
    ("What did Tsipras promise?",
     "Ο Τσίπρας υποσχέθηκε νέα μέτρα για τους αγρότες."),
    ("Куда прибыл президент Макрон?",
     "President Macron arrived in Warsaw on Monday for talks with the prime minister."),
    ("Что сказал Зеленский в Торонто?",
     "Speaking in Toronto, President Zelenskiy thanked the city for its help."),
    ("Wann besucht Kanzler Scholz Toronto?",
     "Chancellor Scholz will visit Toronto next week, the government announced."),
    ("¿Cuándo visita Merkel Madrid?",
     "Bundeskanzlerin Merkel besucht Madrid am kommenden Freitag."),
)  # fmt: skip
BESIDE = (
    "The library is open until nine, and the pool is closed for repairs.",
    "В библиотеке открылась выставка картин молодых художников города.",
    "افتتح المعرض الجديد أبوابه للزوار في وسط المدينة.",
    "図書館は九時まで開いている。プールは休みである。",
    "Die Bibliothek ist bis neun Uhr geöffnet, das Bad ist geschlossen.",
    "नया पुस्तकालय कल से खुला रहेगा।",
    "Ο δήμος άνοιξε νέα βιβλιοθήκη στο κέντρο της πόλης.",
    "Kapitän Seewald lobte die Boote der Regatta.",
)


def fill(town: Town) -> None:
    for n, text in enumerate((*BESIDE, *(evidence for _, evidence in PAIRS))):
        town.put(n / 10, text, key=f"made:{n}", source=f"paper-{n}")


def asked(town: Town, question: str) -> list[str]:
    wanted = Question(text=question)
    found = retrieve(
        wanted, plan(wanted, town.clock.now()), record=town.record, index=town.index, limit=3
    )
    return [p.document.text for p in found.passages]


def test_evidence_in_another_language_is_found_by_names_and_numbers(empty_town: Town) -> None:
    fill(empty_town)
    found = [evidence in asked(empty_town, question) for question, evidence in PAIRS]
    assert sum(found) >= 9, [q for (q, _), hit in zip(PAIRS, found, strict=True) if not hit]


def heard(question: str, text: str, town: Town) -> set[str]:
    names = Names(plan(Question(text=question), town.clock.now()))
    return {term for _, term in names.places(text)}


def test_names_are_heard_across_scripts_only(empty_town: Town) -> None:
    question = "Where did Macron meet Scholz?"
    assert heard(question, "Макрон встретил Шольца.", empty_town) >= {"macron"}
    assert heard(question, "Macron met Scholz.", empty_town) == set()
    assert heard("Где Макрон?", "Macron is in Warsaw.", empty_town) == {"макрон"}
    assert heard("where is the bridge?", "Мост закрыт в Москве.", empty_town) == set()


async def test_what_only_shares_a_name_is_no_answer(empty_town: Town) -> None:
    empty_town.put(1, "Макрон любит театр и часто ходит в оперу.")
    answer = await empty_town.ask("Which car did Macron buy in Lyon last winter?")
    assert answer.abstained
    assert answer.closest is not None
    assert answer.closest.quote.startswith("Макрон")


async def test_a_quotation_stays_in_its_language(empty_town: Town) -> None:
    empty_town.put(1, "Der Kanzler Scholz besucht Toronto am 12. Mai 2026.")
    answer = await empty_town.ask("When does Scholz visit Toronto?")
    quotes = [c.quote for c in answer.citations] or [answer.closest.quote]
    assert quotes == ["Der Kanzler Scholz besucht Toronto am 12. Mai 2026."]


@pytest.mark.parametrize("text", ["١٬٢٠٠ شخص", "१,२०० लोग", "1,200 people"])
def test_numbers_have_one_value_in_all_digits(text: str) -> None:
    (number,) = numbers(text)
    assert number.value == 1200
    assert text[number.start : number.end].strip()
