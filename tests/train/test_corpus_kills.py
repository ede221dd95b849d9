"""A build or an encoding that is killed at any moment goes on, and ends with the same bytes."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from itertools import product
from pathlib import Path

import pytest

from gnomon.train.corpus.build import build
from gnomon.train.corpus.manifest import file_sha256
from gnomon.train.tokens.bpe import train_tokenizer
from gnomon.train.tokens.encode import encode_corpus

pytest.importorskip("tiktoken")
_UNITS = 14
_BUILD = """
import sys
from pathlib import Path
from gnomon.train.corpus.build import build
build(Path(sys.argv[1]), [Path(sys.argv[2])], workers=int(sys.argv[3]))
"""
_ENCODE = """
import sys
from pathlib import Path
from gnomon.train.tokens.encode import encode_corpus
encode_corpus(Path(sys.argv[2]), Path(sys.argv[4]), Path(sys.argv[1]), workers=int(sys.argv[3]))
"""
_WORDS = ["".join(p) for p in product(("ri", "sto", "la", "fe"), ("ver", "ne", "mp"), ("s", "er"))]


def prose(rng: random.Random) -> str:
    lines = []
    for _ in range(8):
        pick = [rng.choice(_WORDS) + rng.choice(("", "y", "al", "ing")) for _ in range(12)]
        lines.append(f"The {' '.join(pick[:6])} of {' '.join(pick[6:])} that have been with us.")
    return "\n".join(lines)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rng = tmp_path_factory.mktemp("in"), random.Random(1)
    texts = [prose(rng) for _ in range(200)]
    for unit in range(_UNITS):
        rows = [{"id": f"{unit}-{n}", "text": rng.choice(texts)} for n in range(30)]
        (folder / f"{unit:02d}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


@pytest.fixture(scope="module")
def whole(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    manifest = build(folder / "corpus", [inputs])
    assert manifest.documents > 50 and manifest.dropped["duplicate.exact"] > 50
    train_tokenizer((prose(random.Random(n)) for n in range(20)), 400, folder / "t.json")
    encode_corpus(folder / "corpus", folder / "t.json", folder / "tokens")
    return folder


def snapshot(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): file_sha256(p) for p in folder.rglob("*") if p.is_file()}


def run_with_kills(arguments: list[str], out: Path, rng: random.Random) -> int:
    """Start again and again, killing each time a little after a few more files; returns kills."""
    deadline, kills = time.monotonic() + 240, 0
    while True:
        files = count_files(out)
        wanted, wait_s = files + rng.randrange(1, 12), rng.random() * 0.02
        process = subprocess.Popen(
            [sys.executable, "-c", *arguments], stderr=subprocess.DEVNULL, process_group=0
        )
        while process.poll() is None and count_files(out) < wanted:
            assert time.monotonic() < deadline, f"{kills} kills, {files} files"
            time.sleep(0.001)
        time.sleep(wait_s)
        if process.poll() is not None:
            assert process.returncode == 0
            return kills
        os.kill(process.pid, signal.SIGKILL)  # its workers end with it
        process.wait(10)
        kills += 1


def count_files(folder: Path) -> int:
    """Files that were ever finished in `folder`, which only grow in number within a stage."""
    return sum(1 for path in folder.rglob("*") if not path.name.startswith("."))


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "seed"), [(1, 1), (2, 2), (2, 3)])
def test_a_killed_build_ends_with_the_same_bytes(
    inputs: Path, whole: Path, tmp_path: Path, workers: int, seed: int
) -> None:
    out = tmp_path / "corpus"
    kills = run_with_kills([_BUILD, str(out), str(inputs), str(workers)], out, random.Random(seed))
    assert kills >= 5
    assert snapshot(out) == snapshot(whole / "corpus")


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "seed"), [(1, 4), (2, 5)])
def test_a_killed_encoding_ends_with_the_same_bytes(
    whole: Path, tmp_path: Path, workers: int, seed: int
) -> None:
    out = tmp_path / "tokens"
    arguments = [str(out), str(whole / "corpus"), str(workers), str(whole / "t.json")]
    kills = run_with_kills([_ENCODE, *arguments], out, random.Random(seed))
    assert kills >= 2
    assert snapshot(out) == snapshot(whole / "tokens")
