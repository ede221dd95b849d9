"""Why texts are dropped, in words."""

from __future__ import annotations

_REASONS = {
    "empty": "nothing is left of it",
    "lang": "it is in another language (--lang)",
    "held_out": "it shares 13 words in a row with a text that was kept aside",
    "policy": "its row says that it may not be trained on",
    "record_export": "rows of a record's export; use --from record",
    "no_text": "the row has no field `text`",
    "unreadable": "the row is no JSON object",
    "damaged": "the file is damaged there",
    "too_large": "longer than 50 MB",
    "http_status": "the answer of the site was no page",
    "duplicate.exact": "the same text came before",
    "duplicate.near": "nearly the same text came before",
    "gopher.repeated_paragraphs": "paragraphs come again and again",
    "gopher.repeated_lines": "lines come again and again",
    "gopher.short": "fewer than 50 words",
    "gopher.long": "more than 100,000 words",
    "gopher.word_length": "words of fewer than 3 or more than 10 letters on average",
    "gopher.hashes": "more than one # for ten words",
    "gopher.ellipses": "more than one … for ten words",
    "gopher.bullets": "more than nine lines in ten are items of lists",
    "gopher.line_ellipses": "three lines in ten end in …",
    "gopher.no_letters": "more than a fifth of words and marks hold no letter: code, numbers",
    "gopher.stop_words": "fewer than two of: the, be, to, of, and, that, have, with",
    "c4.lorem_ipsum": "placeholder text",
    "c4.curly_bracket": "holds {: code",
    "c4.few_sentences": "fewer than five sentences",
    "fineweb.line_ends": "few lines end a sentence: menus, lists",
    "fineweb.short_lines": "two lines in three have at most 30 letters",
    "fineweb.repeated_lines": "more than 1 % are lines that came before",
    "fineweb.list": "a line has three words or fewer on average",
}


def meaning(reason: str) -> str:
    """What `corpus show` says of a reason; empty for one that says itself what it is."""
    if reason.startswith("gopher.top_"):
        return "a sixth or more is one and the same run of words"
    if reason.startswith("gopher.repeated_") and reason.endswith("_grams"):
        return "a tenth or more are words that came before in the same order"
    return _REASONS.get(reason, "")
