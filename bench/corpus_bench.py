"""Filters and MinHash beside datatrove on the same texts, one core, in one run; and encoding.

    python bench/corpus_bench.py [MEGABYTES]

Texts are documentation of the installed packages and plain prose made of them. datatrove (with
spacy, nltk and xxhash) is found in the environment that runs this; without it only ours is timed.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from gnomon.train.corpus.inputs import find_units, read_unit
from gnomon.train.corpus.minhash import bands
from gnomon.train.corpus.rules import Rules
from gnomon.train.corpus.words import plain_hashes
from harness import save


def texts_of(size: int) -> list[str]:
    """Documentation as it stands, and paragraphs of it put together to longer prose."""
    found: list[str] = []
    total = 0
    for unit in find_units(["python"]):
        for raw in read_unit(unit):
            if len(raw.text) > 400:
                found.append(raw.text[:60_000])
                total += len(found[-1])
        if total > size // 2:
            break
    rng = random.Random(7)
    paragraphs = [p for t in found for p in t.split("\n\n") if len(p) > 150 and p.endswith(".")]
    while total < size:
        found.append("\n\n".join(rng.sample(paragraphs, min(12, len(paragraphs)))))
        total += len(found[-1])
    return found


def timed(step: Any, texts: list[str]) -> tuple[list[Any], float]:
    start = time.perf_counter()
    out = [step(text) for text in texts]
    return out, time.perf_counter() - start


def main() -> None:
    texts = texts_of(int(float(sys.argv[1] if len(sys.argv) > 1 else 2) * 1e6))
    size = sum(len(t.encode()) for t in texts) / 1e6
    figures: dict[str, Any] = {"texts": len(texts), "megabytes": round(size, 2)}
    rules = Rules(line_ends=True)
    verdicts, filter_s = timed(rules.judge, texts)
    signatures, minhash_s = timed(lambda t: bands(plain_hashes(t)), texts)
    figures["ours"] = {
        "filters_mb_s": round(size / filter_s, 2),
        "minhash_mb_s": round(size / minhash_s, 2),
        "kept": sum(not v.reason for v in verdicts),
    }
    try:
        import datatrove  # noqa: F401
    except ImportError:
        figures["datatrove"] = "not installed"
    else:
        figures |= beside(texts, size, verdicts, signatures, filter_s, minhash_s)
    figures["encode_mtok_s"] = encoding(texts)
    save("corpus", figures)


def beside(
    texts: list[str],
    size: float,
    verdicts: list[Any],
    signatures: list[Any],
    filter_s: float,
    minhash_s: float,
) -> dict[str, Any]:
    import xxhash
    from datatrove.data import Document
    from datatrove.pipeline.dedup.minhash import MinhashDedupSignature
    from datatrove.pipeline.filters import (
        C4QualityFilter,
        FineWebQualityFilter,
        GopherQualityFilter,
        GopherRepetitionFilter,
    )

    chain = [GopherRepetitionFilter(), GopherQualityFilter(), C4QualityFilter()]
    chain.append(FineWebQualityFilter())

    def judge(text: str) -> str:
        document = Document(text=text, id="")
        for one in chain:
            found = one.filter(document)
            if found is not True:
                return f"{one.name}: {found[1]}"
        return ""

    judge("This loads the tables of words.")
    theirs, their_filter_s = timed(judge, texts)
    with tempfile.TemporaryDirectory() as folder:
        step = MinhashDedupSignature(folder)
        # xxhash 4 takes bytes only, and datatrove 0.10 hands it text.
        step._hash_func = lambda text: xxhash.xxh64_intdigest(text.encode())
        their_signatures, their_minhash_s = timed(
            lambda t: s if (s := step.get_shingles(t)).size == 0 else step.get_signature(s), texts
        )
    different = Counter(
        f"{v.reason or 'kept'} / {t or 'kept'}"
        for v, t in zip(verdicts, theirs, strict=True)
        if bool(v.reason) != bool(t)
    )
    ours_near = first_of([list(enumerate(s.tolist())) if s is not None else [] for s in signatures])
    theirs_near = first_of([list(enumerate(map(tuple, s))) for s in their_signatures])
    near = sum(
        (a == n) == (b == n) for n, (a, b) in enumerate(zip(ours_near, theirs_near, strict=True))
    )
    return {
        "datatrove": {
            "filters_mb_s": round(size / their_filter_s, 3),
            "minhash_mb_s": round(size / their_minhash_s, 3),
            "kept": sum(not t for t in theirs),
        },
        "filters_times": round(their_filter_s / filter_s, 1),
        "minhash_times": round(their_minhash_s / minhash_s, 1),
        "same_filter_decisions": round(1 - different.total() / len(texts), 5),
        "same_minhash_decisions": round(near / len(texts), 5),
        "differences": dict(different.most_common(8)),
    }


def first_of(bands_of: list[list[Any]]) -> list[int]:
    """For each text the first that it is tied to by equal bands, over any number of steps."""
    parent = list(range(len(bands_of)))

    def root(at: int) -> int:
        while parent[at] != at:
            at = parent[at]
        return at

    seen: dict[Any, int] = {}
    for number, values in enumerate(bands_of):
        for value in values:
            one, two = sorted((root(seen.setdefault(value, number)), root(number)))
            parent[two] = one
    return [root(n) for n in range(len(bands_of))]


def encoding(texts: list[str]) -> float:
    """Million tokens a second on one core, from packed corpus shards to token shards on disk."""
    import json

    from gnomon.train.corpus.build import Options, build
    from gnomon.train.tokens.bpe import train_tokenizer
    from gnomon.train.tokens.encode import encode_corpus

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = (json.dumps({"id": str(n), "text": text}) for n, text in enumerate(texts))
        (folder / "in.jsonl").write_text("\n".join(rows))
        options = Options(langs=(), quality=False, near=False, scrub=False)
        build(folder / "corpus", [folder / "in.jsonl"], options=options)
        train_tokenizer(texts, 32_768, folder / "t.json")
        start = time.perf_counter()
        index = encode_corpus(folder / "corpus", folder / "t.json", folder / "tokens")
        return round(index.tokens / (time.perf_counter() - start) / 1e6, 2)


if __name__ == "__main__":
    main()
