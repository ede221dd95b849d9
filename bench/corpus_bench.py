"""Filters and MinHash beside datatrove on the same texts, one core, in one run; and encoding.

    python bench/corpus_bench.py [MEGABYTES]

Texts are news, encyclopedia pages and abstracts from the folder of test data, then texts made of
these so that every rule has close cases. datatrove (with spacy, nltk and xxhash) is found in the
environment that runs this; without it only ours is timed. Times are those of the processor, so that
other work on the machine does not count.
"""

from __future__ import annotations

import cProfile
import json
import os
import pstats
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from corpus_texts import made_texts, near_texts, real_texts
from gnomon.train.corpus.build import Options, build
from gnomon.train.corpus.minhash import bands
from gnomon.train.corpus.rules import Rules
from gnomon.train.corpus.words import plain_words
from gnomon.train.tokens.bpe import Encoding, train_tokenizer
from gnomon.train.tokens.encode import encode_corpus
from harness import DATA, save

_PROFILED = 12


def timed(step: Callable[[str], Any], texts: list[str]) -> tuple[list[Any], float]:
    start = time.process_time()
    out = [step(text) for text in texts]
    return out, time.process_time() - start


def megabytes(texts: Iterable[str]) -> float:
    return sum(len(text.encode()) for text in texts) / 1e6


def main() -> None:
    real = real_texts(DATA, float(sys.argv[1] if len(sys.argv) > 1 else 6))
    sets = {"real": real, "made": made_texts(real, 3_000), "near": near_texts(real, 400)}
    figures: dict[str, Any] = {"load_average": round(os.getloadavg()[0], 1)} | {
        name: {"texts": len(texts), "megabytes": round(megabytes(texts), 2)}
        for name, texts in sets.items()
    }
    figures["filters"] = filters({name: sets[name] for name in ("real", "made")})
    figures["minhash"] = minhash({name: sets[name] for name in ("real", "near")})
    figures |= whole_way(real_texts(DATA, 12))
    figures["duplicates_peak_mib"] = {texts: peak_mib(texts) for texts in (200_000, 1_000_000)}
    save("corpus", figures)


def filters(sets: dict[str, list[str]]) -> dict[str, Any]:
    rules = Rules(line_ends=True)
    theirs = their_filters()
    out: dict[str, Any] = {}
    for name, texts in sets.items():
        verdicts, seconds = timed(rules.judge, texts)
        size = megabytes(texts)
        figures: dict[str, Any] = {"mb_s": round(size / seconds, 2)}
        figures["kept"] = sum(not v.reason for v in verdicts)
        figures["reasons"] = len({v.reason for v in verdicts})
        if theirs is not None:
            found, their_seconds = timed(theirs, texts)
            reasons = [reason for reason, _ in found]
            different = Counter(
                f"{v.reason or 'kept'} / {t or 'kept'}"
                for v, t in zip(verdicts, reasons, strict=True)
                if bool(v.reason) != bool(t)
            )
            figures["datatrove_mb_s"] = round(size / their_seconds, 3)
            figures["datatrove_kept"] = sum(not t for t in reasons)
            figures["times"] = round(their_seconds / seconds, 1)
            figures["same"] = round(1 - different.total() / len(texts), 5)
            figures["different"] = dict(different.most_common(8))
            figures["same_text"] = sum(
                v.text == text
                for v, (reason, text) in zip(verdicts, found, strict=True)
                if not reason
            )
        out[name] = figures
    out["profile"] = profile(Rules(line_ends=True).judge, sets["real"])
    return out


def their_filters() -> Callable[[str], tuple[str, str]] | None:
    try:
        from datatrove.data import Document
        from datatrove.pipeline.filters import (
            C4QualityFilter,
            FineWebQualityFilter,
            GopherQualityFilter,
            GopherRepetitionFilter,
        )
    except ImportError:
        return None
    chain: list[Any] = [GopherRepetitionFilter(), GopherQualityFilter(), C4QualityFilter()]
    chain.append(FineWebQualityFilter())

    def judge(text: str) -> tuple[str, str]:
        document = Document(text=text, id="")
        for one in chain:
            found = one.filter(document)
            if found is not True:
                return f"{one.name}: {found[1]}", text
        return "", document.text

    judge("This loads the tables of words.")
    return judge


def minhash(sets: dict[str, list[str]]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    theirs = their_minhash()
    for name, texts in sets.items():
        signatures, seconds = timed(lambda text: bands(plain_words(text)), texts)
        size = megabytes(texts)
        figures: dict[str, Any] = {"mb_s": round(size / seconds, 2)}
        if theirs is not None:
            their_signatures, their_seconds = timed(theirs, texts)
            ours_first = first_of(
                [list(enumerate(s.tolist())) if s is not None else [] for s in signatures]
            )
            theirs_first = first_of([list(enumerate(map(tuple, s))) for s in their_signatures])
            same = sum(a == b for a, b in zip(ours_first, theirs_first, strict=True))
            figures["datatrove_mb_s"] = round(size / their_seconds, 3)
            figures["times"] = round(their_seconds / seconds, 1)
            figures["repeats"] = sum(first != at for at, first in enumerate(ours_first))
            figures["same"] = round(same / len(texts), 5)
        out[name] = figures
    out["profile"] = profile(lambda text: bands(plain_words(text)), sets["real"])
    return out


def their_minhash() -> Callable[[str], Any] | None:
    try:
        import xxhash
        from datatrove.pipeline.dedup.minhash import MinhashDedupSignature
    except ImportError:
        return None
    step = MinhashDedupSignature(tempfile.gettempdir())
    # xxhash 4 takes bytes only, and datatrove 0.10 hands it text.
    step._hash_func = lambda text: xxhash.xxh64_intdigest(text.encode())

    def sign(text: str) -> Any:
        shingles = step.get_shingles(text)
        return step.get_signature(shingles) if shingles.size else shingles

    sign("This loads the tables of words.")
    return sign


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


def profile(step: Callable[[str], Any], texts: list[str]) -> dict[str, float]:
    """Share of the time that each function takes by itself, the largest first."""
    profiler = cProfile.Profile()
    profiler.enable()
    for text in texts[: len(texts) // 2]:
        step(text)
    profiler.disable()
    stats: dict[Any, Any] = pstats.Stats(profiler).stats  # type: ignore[attr-defined]
    whole = sum(row[2] for row in stats.values())
    ordered = sorted(stats.items(), key=lambda item: -item[1][2])[:_PROFILED]
    return {
        f"{Path(file).name}:{name}" if line else name: round(row[2] / whole, 3)
        for (file, line, name), row in ordered
    }


def whole_way(texts: list[str]) -> dict[str, Any]:
    """From rows to a corpus, and from that to token shards: all that is read and written counts."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = (json.dumps({"id": str(n), "text": text}) for n, text in enumerate(texts))
        (folder / "in.jsonl").write_text("\n".join(rows))
        start = time.process_time()
        manifest = build(folder / "judged", [folder / "in.jsonl"])
        build_s = time.process_time() - start
        options = Options(langs=(), quality=False, near=False, scrub=False)
        build(folder / "corpus", [folder / "in.jsonl"], options=options)
        train_tokenizer(texts, 32_768, folder / "t.json")
        clock, cpu = [], []
        for turn in range(3):
            start, start_cpu = time.perf_counter(), time.process_time()
            index = encode_corpus(folder / "corpus", folder / "t.json", folder / f"tokens{turn}")
            clock.append(time.perf_counter() - start)
            cpu.append(time.process_time() - start_cpu)
        ours, theirs = Encoding(folder / "t.json"), Tokenizer.from_file(str(folder / "t.json"))
        sample = texts[::8]
        equal = sum(
            theirs.encode(text).ids == ours.tiktoken.encode(text, disallowed_special=())
            for text in sample
        )
    return {
        "build": {
            "mb_s": round(megabytes(texts) / build_s, 2),
            "texts": manifest.texts,
            "kept": manifest.documents,
        },
        "encode": {
            "tokens": index.tokens,
            "mtok_s": [round(index.tokens / seconds / 1e6, 2) for seconds in cpu],
            "mtok_s_by_the_clock": [round(index.tokens / seconds / 1e6, 2) for seconds in clock],
            "equal_ids": f"{equal} of {len(sample)} texts",
        },
    }


_PEAK = """
import sys, tempfile
from pathlib import Path
import numpy as np
from gnomon.train.corpus import dedup
dedup.RANGE_TEXTS, unit_texts = 100_000, 50_000
rng, signed = np.random.default_rng(1), []
with tempfile.TemporaryDirectory() as name:
    for first in range(0, int(sys.argv[1]), unit_texts):
        bands = rng.integers(0, 1 << 64, (unit_texts, dedup.BANDS), np.uint64)
        bands[::4] = np.random.default_rng(2).integers(0, 1 << 64, bands[::4].shape, np.uint64)
        exact = rng.integers(0, 1 << 64, unit_texts, np.uint64)
        path = Path(name) / f"{first}.sig"
        dedup.write_signatures(path, exact, bands, np.arange(unit_texts, dtype=np.uint32))
        signed.append(dedup.Signed(path, first, unit_texts, unit_texts))
    stage = dedup.Duplicates(Path(name), signed)
    for task in range(stage.tasks):
        stage.match(task)
    stage.settle()
status = Path("/proc/self/status").read_text()  # the peak by rusage is inherited from the parent
print(int(status.partition("VmHWM:")[2].split()[0]) / 1024)
"""


def peak_mib(texts: int) -> float:
    """Peak memory of finding duplicates, with ranges of 100,000 texts."""
    run = subprocess.run(
        [sys.executable, "-c", _PEAK, str(texts)],
        stdout=subprocess.PIPE,
        check=True,
        cwd=Path(__file__).parent,
    )
    return round(float(run.stdout), 1)


if __name__ == "__main__":
    main()
