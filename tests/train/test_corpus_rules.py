"""Rules, near-duplicates and scrubbing, on texts whose fate is plain."""

from __future__ import annotations

import inspect
import random
import re
import time
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon.train.corpus import build, inputs, judge, minhash, rules
from gnomon.train.corpus.minhash import bands, clusters, equal_pairs
from gnomon.train.corpus.pieces import split_piece
from gnomon.train.corpus.reasons import meaning
from gnomon.train.corpus.rules import Rules
from gnomon.train.corpus.scrub import scrub
from gnomon.train.corpus.words import Vocabulary, plain_words


def prose(seed: int, sentences: int = 30) -> str:
    rng = random.Random(seed)
    words = [f"{a}{b}" for a in ("river", "stone", "lamp", "field") for b in ("s", "ing", "er", "")]
    out = [
        f"The {rng.choice(words)} of {rng.choice(words)} and {rng.choice(words)} that "
        f"{rng.choice(words)} have {rng.choice(words)} with {rng.choice(words)}."
        for _ in range(sentences)
    ]
    return "\n".join(" ".join(out[i : i + 5]) for i in range(0, len(out), 5))


def test_every_reason_is_told_in_words() -> None:
    said = "".join(inspect.getsource(module) for module in (rules, judge, inputs, build))
    named = re.findall(r"\"((?:gopher|c4|fineweb|duplicate)\.\w+)\"", said)
    named += re.findall(r"return \"(\w+)\"\n|fault=\"(\w+)\"", said)
    reasons = {part for found in named for part in ((found,) if isinstance(found, str) else found)}
    reasons |= {"gopher.top_2_gram", "gopher.repeated_7_grams"}
    assert len(reasons) > 25
    assert [reason for reason in reasons - {""} if not meaning(reason)] == []


def test_prose_is_kept_and_unchanged() -> None:
    text = prose(1)
    assert Rules().judge(text) == ("", text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        (prose(2, 3), "gopher.short"),
        (prose(1) + "\nAn open { bracket stands here.", "c4.curly_bracket"),
        (prose(1) + "\nThen lorem ipsum follows here.", "c4.lorem_ipsum"),
        ("\n".join([prose(2, 5)] * 4), "gopher.repeated_lines"),
        (" ".join(f"{i}.5 {i * 7919}" for i in range(200)), "gopher.no_letters"),
        (prose(2).replace(".", ""), "fineweb.line_ends"),
        (prose(2).replace("\n", " ").replace(".", "", 28), "c4.few_sentences"),
        (" ".join(f"zebra{i} lion{i % 7}" for i in range(100)), "gopher.stop_words"),
        (prose(2) + " and on we go, and on we go" * 60 + ".", "gopher.top_3_gram"),
    ],
)
def test_each_fault_has_its_reason(text: str, reason: str) -> None:
    assert Rules().judge(text).reason == reason


def test_lines_about_scripts_and_cookies_go_and_the_rest_stays() -> None:
    text = prose(3)
    dirty = f"Please enable JavaScript to read.\n{text}\nWe have a cookie policy for you."
    assert Rules().judge(dirty) == ("", text)


def repetition_by_hand(words: list[str], size: int) -> str:
    """Gopher's rules on runs of words, written as the paper states them."""
    for n, share in ((2, 0.20), (3, 0.18), (4, 0.16)):
        runs = [" ".join(words[i : i + n]) for i in range(len(words) - n + 1)]
        if runs:
            run, count = Counter(runs).most_common(1)[0]
            if len(run) * count > share * size:
                return f"gopher.top_{n}_gram"
    for n, share in ((5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.10)):
        met, taken, at = set[tuple[str, ...]](), 0, 0
        while at + n <= len(words):
            run_of = tuple(words[at : at + n])
            if run_of in met:
                taken += len("".join(run_of))
                at += n
            else:
                met.add(run_of)
                at += 1
        if taken > share * size:
            return f"gopher.repeated_{n}_grams"
    return ""


@given(
    st.lists(st.integers(0, 6) | st.integers(0, 400), max_size=150),
    st.integers(1, 12),
    st.integers(0, 3),
)
@settings(max_examples=200, deadline=None)
def test_cheap_bounds_never_change_a_decision(numbers: list[int], length: int, copies: int) -> None:
    numbers += numbers[:length] * copies
    words = [f"{'word' * (n % 3)}x{n}" for n in numbers]
    rules = Rules()
    text = " ".join(words)
    found = rules._repetition(len(text), rules._vocabulary.ids(text))
    assert found == repetition_by_hand(words, len(text))


@pytest.mark.parametrize(
    ("piece", "words"),
    [
        ("\"Don't,", "\" Do n't ,"),
        ("U.S.", "U.S."),
        ("USA.", "USA ."),
        ("(well-known).", "( well - known ) ."),
        ("numpy.array", "numpy.array"),
        ("lower.Upper", "lower . Upper"),
        ("5km", "5 km"),
        ("id", "i d"),
        ("cannot", "can not"),
        ("they’ll", "they ’ll"),
        ("https://example.org/a,b", "https://example.org/a,b"),
        ("and/or", "and/or"),
        ("read/write", "read / write"),
        ("``x``", "` ` x ` `"),
        ("$5...", "$ 5 ..."),
        ("__init__", "_ _ init _ _"),
        ("a.m.", "a.m."),
        ("7am", "7 am"),
    ],
)
def test_words_are_parted_as_english_does(piece: str, words: str) -> None:
    assert split_piece(piece) == words.split()


@given(st.text(st.characters(exclude_categories=["Zs", "Zl", "Zp", "Cc", "Cs"]), max_size=30))
def test_no_letter_of_a_piece_is_lost(piece: str) -> None:
    assert "".join(split_piece(piece)) == piece


@pytest.mark.parametrize(
    "unit", ["(", ".", "a.", "a-", "'", "[1", "a(b", "…", "x@y.", "1:", "::", "\n", "- \n", "ü,"]
)
def test_hostile_texts_take_no_longer_than_their_length(unit: str) -> None:
    def seconds(text: str) -> float:
        start = time.process_time()
        Rules().judge(text)
        bands(plain_words(text))
        scrub(text)
        return time.process_time() - start

    text = unit * (100_000 // len(unit))
    assert seconds(f"{text}a. {text} b{text}") < 4


def test_sentences_end_where_a_word_follows_the_stop() -> None:
    count = Vocabulary().sentences
    assert count("One is here. Two is here! Is it three?") == 3
    assert count("Version 3.5 of the U.S. edition.") == 1


def test_signatures_are_those_of_datatrove() -> None:
    """What its version 0.10.1 gives for this text, as first and last of its 14 bands."""
    text = (
        "The café's 3,141 visitors cannot have seen it, I'd say: naïve well-known U.S. tales — "
        "“and more”, they’ll tell."
    )
    found = minhash.least(minhash.shingles(plain_words(text))).tolist()
    assert found[:8] == [
        *(22520178892412728, 288947841098382784, 326404189097789784, 138610919059709653),
        *(63026625081864157, 636176129173272249, 31685170079817727, 14010231020032850),
    ]
    assert found[-8:] == [
        *(135564237699492260, 48548839346497636, 38171660308314072, 3905753621285001),
        *(57893107468294636, 120617381881065197, 243195231461912862, 136729483456547860),
    ]


def test_near_duplicates_meet_and_others_do_not() -> None:
    text = prose(4, 100)
    near = text.replace("The river", "A river", 1)
    a, b, c = (bands(plain_words(t)) for t in (text, near, prose(5, 100)))
    assert a is not None and b is not None and c is not None
    assert np.any(a == b)
    assert not np.any(a == c)
    assert bands(plain_words("four words are few")) is None


@given(st.lists(st.integers(0, (1 << 64) - 1), min_size=1, max_size=600))
@settings(max_examples=20, deadline=None)
def test_permutations_are_taken_modulo_the_prime(values: list[int]) -> None:
    prime, full = (1 << 61) - 1, 1 << 64
    factors, added = minhash._FACTORS.ravel().tolist(), minhash._ADDED.ravel().tolist()
    found = minhash.least(np.array(values, np.uint64)).tolist()
    for at in (0, 57, 111):
        assert found[at] == min((v * factors[at] + added[at]) % full % prime for v in values)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=40))
def test_clusters_are_those_of_a_plain_search(edges: list[tuple[int, int]]) -> None:
    found = clusters(np.array(edges, np.int64).reshape(-1, 2), 31)
    groups = [{n} for n in range(31)]
    for a, b in edges:
        one = next(g for g in groups if a in g)
        two = next(g for g in groups if b in g)
        if one is not two:
            one |= two
            groups.remove(two)
    assert found.tolist() == [min(next(g for g in groups if n in g)) for n in range(31)]


def test_equal_values_become_pairs() -> None:
    pairs = equal_pairs(np.array([7, 5, 7, 7], np.uint64), np.arange(4))
    assert pairs.tolist() == [[0, 2], [2, 3]]


def test_personal_data_are_replaced_and_figures_stay() -> None:
    text = (
        "Write to jane.doe+x@mail.example.co.uk or call +49 30 1234567, (212) 555-0187, "
        "from 8.8.8.8 and 2606:4700::1111; not 10.0.0.1, version 1.2.3.4.5, 2024-05-17 or 12:30:45."
    )
    clean, found = scrub(text)
    assert "jane" not in clean and "8.8.8.8" not in clean and "1234567" not in clean
    assert "2606" not in clean and "0187" not in clean
    assert "10.0.0.1" in clean and "1.2.3.4.5" in clean and "2024-05-17" in clean
    assert "12:30:45" in clean
    assert found == {"email": 1, "phone": 2, "ip": 2}
