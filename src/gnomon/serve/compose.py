"""From checked sentences to the text that OpenAI's and xAI's clients show.

Each sentence is followed by its citations as `[[n]](url)`, numbered by URL in order of first
use, and by its verdict in words where it is less than supported. Third-party words are made
inert first: nothing in them can become a link, an image or a forged citation in a client that
renders Markdown. Indices count code points.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec

from gnomon.types import CALL_PREFIX, Answer, Citation, Sentence, VerdictKind

ABSTENTION = "The evidence does not contain an answer."
_QUOTE_CHARS = 300
_ACTIVE = re.compile(r"(?<=\])(?=[(\[:])|(?<=!)(?=\[)|(?=<[A-Za-z/!?])|(?=`)|(?=\\[!-/:-@\[-`{-~])")
_LINEBREAKS = re.compile(r"\s*[\r\n\u2028\u2029]+\s*")
_UNSAFE_IN_LINK = re.compile(r"[\s()<>\[\]\"`\\\x00-\x1f\x7f]")
_MARKS = {
    VerdictKind.SUPPORTED: "",
    VerdictKind.PARTLY: " (partly supported)",
    VerdictKind.NOT_SUPPORTED: " (not supported)",
    VerdictKind.CONTRADICTED: " (contradicted)",
}


def inert(text: str) -> str:
    """The same words on one line, with Markdown links, images and HTML tags escaped."""
    return _ACTIVE.sub(r"\\", _LINEBREAKS.sub(" ", text))


def is_web(url: str) -> bool:
    """Whether a link to `url` may be shown at all."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc)


def saved_url(key: str, version: int, base_url: str = "") -> str:
    """Address of the saved copy of that version."""
    return f"{base_url}/saved/{quote(key, safe=':')}?version={version}"


def citation_url(citation: Citation, base_url: str) -> str:
    """Where a citation leads: the original, or our saved copy if it has no web address."""
    if not is_web(citation.url):
        return saved_url(citation.key, citation.version, base_url)
    return _UNSAFE_IN_LINK.sub(lambda m: quote(m[0], safe=""), citation.url)


def citation_json(citation: Citation, base_url: str) -> dict[str, Any]:
    """All that we know of a citation, with the address of its saved copy; empty if none is kept."""
    plain: dict[str, Any] = msgspec.to_builtins(citation)
    span = f"&start={citation.start}&end={citation.end}"
    kept = not citation.key.startswith(CALL_PREFIX)
    plain["saved_url"] = saved_url(citation.key, citation.version, base_url) + span if kept else ""
    return plain


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """What one sentence adds to the text."""

    delta: str
    annotations: tuple[dict[str, Any], ...]
    sentence: dict[str, Any] | None


class Composer:
    """Builds text, annotations and verdicts sentence by sentence."""

    def __init__(self, *, base_url: str, inline: bool = True) -> None:
        self._base_url = base_url
        self._inline = inline
        self._citations: dict[int, Citation] = {}
        self._numbers: dict[str, int] = {}
        self.text = ""
        self.annotations: list[dict[str, Any]] = []
        self.sentences: list[dict[str, Any]] = []
        self._unsupported: tuple[str, ...] | None = None

    def replace(self, text: str, *, unsupported: Sequence[str]) -> None:
        """Show `text`, made from the sentences, in their place; links have no room in it."""
        self.text, self.annotations = text, []
        self._unsupported = tuple(unsupported)

    @property
    def urls(self) -> list[str]:
        """Every cited URL, in order of first use."""
        return list(self._numbers)

    def add(self, sentence: Sentence, citations: Sequence[Citation]) -> Piece:
        """Append a checked sentence; `citations` are those that it introduces."""
        self._citations |= {c.number: c for c in citations}
        start = len(self.text) + bool(self.text)
        body = inert(sentence.text)
        cited = [self._citations[n] for n in sentence.citations if n in self._citations]
        links, annotations = self._link(cited, start + len(body))
        plain = msgspec.to_builtins(sentence)
        verdict = plain.pop("verdict")
        described = plain | {
            "start": start,
            "end": start + len(body),
            "verdict": verdict["kind"],
            "score": verdict["score"],
            "reasons": verdict["reasons"],
        }
        self.sentences.append(described)
        delta = (" " if self.text else "") + body + links + _MARKS[sentence.verdict.kind]
        return self._append(delta, annotations, described)

    def abstain(self, closest: Citation | None) -> Piece:
        """Say that the evidence does not contain an answer, and show what came closest."""
        body = ABSTENTION
        links = ""
        annotations: list[dict[str, Any]] = []
        if closest is not None:
            words = inert(closest.quote)
            if len(words) > _QUOTE_CHARS:
                words = words[:_QUOTE_CHARS].rstrip("\\ ") + "…"
            body += f" Closest passage: “{words}”"
            links, annotations = self._link([closest], len(body))
        return self._append(body + links, annotations, None)

    def say(self, text: str) -> Piece:
        """Say something of our own, which no evidence stands behind."""
        return self._append(inert(text), [], None)

    def _link(self, cited: Sequence[Citation], position: int) -> tuple[str, list[dict[str, Any]]]:
        links = ""
        annotations = []
        for url in dict.fromkeys(self._urls_of(cited)):
            number = self._numbers.setdefault(url, len(self._numbers) + 1)
            if not self._inline:
                continue
            link = f"[[{number}]]({url})"
            at = position + len(links)
            links += link
            annotations.append(
                {
                    "type": "url_citation",
                    "url": url,
                    "title": str(number),
                    "start_index": at,
                    "end_index": at + len(link),
                }
            )
        return links, annotations

    def _urls_of(self, cited: Sequence[Citation]) -> list[str]:
        # What a function of the client returned stands nowhere that a link could lead to.
        stored = (c for c in cited if not c.key.startswith(CALL_PREFIX))
        return [citation_url(c, self._base_url) for c in stored]

    def _append(
        self, delta: str, annotations: list[dict[str, Any]], sentence: dict[str, Any] | None
    ) -> Piece:
        self.text += delta
        self.annotations += annotations
        return Piece(delta=delta, annotations=tuple(annotations), sentence=sentence)

    def extension(self, answer: Answer, ignored: Sequence[str] = ()) -> dict[str, Any]:
        """The value of the extra key `gnomon`: verdicts, full citations, freshness, notes."""
        citations = []
        for citation in answer.citations:
            url = citation_url(citation, self._base_url)
            citations.append(
                citation_json(citation, self._base_url) | {"reference": self._numbers.get(url)}
            )
        closest = answer.closest
        return {
            "answer_id": answer.id,
            "as_of": msgspec.to_builtins(answer.as_of),
            "abstained": answer.abstained,
            "sentences": list(self.sentences),
            "citations": citations,
            "closest": citation_json(closest, self._base_url) if closest else None,
            "freshness": msgspec.to_builtins(answer.freshness),
            "disagreements": msgspec.to_builtins(answer.disagreements),
            "superseded": msgspec.to_builtins(answer.superseded),
            "notes": list(answer.notes),
            "ignored": list(ignored),
            "writer": answer.writer,
            "timings_ms": dict(answer.timings_ms),
        } | ({} if self._unsupported is None else {"unsupported": list(self._unsupported)})
