"""What a document stands beside: the post that it answers, the post that it quotes.

"It is, I just drove over it" says something only beside the question that it answers. Context is
read along, so that such a post is found fitting and can be understood; it is never quoted as if the
document had said it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from gnomon.record.base import Life, Record
from gnomon.types import Citation, Context, Document, Passage

CONTEXT_CHARS = 400
_DEPTH = 2
"""How far up a thread is read: what is answered, and what that answers."""


def around(document: Document, record: Record, as_of: datetime | None) -> tuple[Context, ...]:
    """What `document` quotes and answers, nearest first, as it stood at `as_of`.

    What was deleted by then, is not held, or may not be shown, is left out.
    """
    out = []
    if document.quotes:
        quoted = _alive(document.quotes, record, as_of)
        out += [_context(quoted, "quotes")] if quoted is not None else []
    known, above = {document.key}, document
    for _ in range(_DEPTH):
        if not above.reply_to or above.reply_to in known:
            break
        known.add(above.reply_to)
        parent = _alive(above.reply_to, record, as_of)
        if parent is None:
            break
        out.append(_context(parent, "answers"))
        above = parent
    return tuple(out)


def heading(passage: Passage) -> str:
    """What speaks for a passage without being part of it: its title, and what it stands beside."""
    return "\n".join([passage.document.title, *(c.text for c in passage.context)])


def told(citations: Sequence[Citation]) -> str:
    """What the cited posts answer or quote, in a sentence; empty where nothing is known of it."""
    parts = {
        (c.number, b.relation): f"[{c.number}] {b.relation} “{_short(b.text)}” ({_who(b)})"
        for c in citations
        for b in reversed(c.context)
    }
    return f"{'; '.join(parts.values())}." if parts else ""


def _alive(key: str, record: Record, as_of: datetime | None) -> Document | None:
    found = record.get(key, as_of)
    document = found.document if found.life is Life.ALIVE else None
    if document is None or not (document.policy.display and document.policy.snippet):
        return None
    return document


def _context(document: Document, relation: Literal["answers", "quotes"]) -> Context:
    said = document.text if not document.title else f"{document.title}: {document.text}"
    return Context(
        relation=relation,
        text=" ".join(said[: 2 * CONTEXT_CHARS].split())[:CONTEXT_CHARS],
        key=document.key,
        version=document.version,
        source=document.source,
        author=document.author,
        url=document.url,
        published_at=document.published_at,
    )


def _who(context: Context) -> str:
    return context.author or context.source


def _short(text: str) -> str:
    return text if len(text) <= 120 else text[:119].rstrip() + "…"
