"""Building a corpus: what stays and why, the same however it was interrupted, and forgetting."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gnomon.errors import ConfigError
from gnomon.record.store import SqliteRecord
from gnomon.train.corpus import build as building
from gnomon.train.corpus.build import Options, build
from gnomon.train.corpus.manifest import documents, file_sha256, forget, read_manifest
from gnomon.train.shards import write_durably
from gnomon.types import Batch, Document, Policy, Purge, Upsert

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def prose(seed: int, sentences: int = 30) -> str:
    rng = random.Random(seed)
    words = [f"{a}{b}" for a in ("river", "stone", "lamp", "field") for b in ("s", "ing", "er", "")]
    out = [
        f"The {rng.choice(words)} of {rng.choice(words)} and {rng.choice(words)} that "
        f"{rng.choice(words)} have {rng.choice(words)} with {rng.choice(words)}."
        for _ in range(sentences)
    ]
    return "\n".join(" ".join(out[i : i + 5]) for i in range(0, len(out), 5))


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    (folder / "docs").mkdir(parents=True)
    near = prose(3).replace("The river", "A river", 1)
    rows = [
        {"id": "a", "text": prose(1)},
        {"id": "again", "text": prose(1)},
        {"id": "whole", "text": prose(3)},
        {"id": "short", "text": prose(8, 2)},
        {"id": "held", "text": prose(5)},
        {"id": "refused", "text": prose(6), "policy": {"train": False}},
        {"id": "pii", "text": prose(7) + "\nWrite to someone@mail.example.org about the river."},
    ]
    with gzip.open(folder / "rows.jsonl.gz", "wt") as file:
        file.write("\n".join(map(json.dumps, rows)) + "\n{broken\n")
    (folder / "more.jsonl").write_text(json.dumps({"id": "near", "text": near}) + "\n")
    (folder / "docs" / "guide.txt").write_text(prose(9))
    paragraphs = prose(10).replace("\n", "</p><p>")
    (folder / "docs" / "page.html").write_text(f"<html><body><p>{paragraphs}</p></body></html>")
    (tmp_path / "eval.jsonl").write_text(json.dumps({"question": prose(5)[200:400]}) + "\n")
    return folder


def snapshot(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): file_sha256(p) for p in folder.rglob("*") if p.is_file()}


def test_what_stays_and_why(inputs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    manifest = build(out, [inputs], held_out=[tmp_path / "eval.jsonl"])
    kept = {row["key"].rpartition("/")[2]: row for row in documents(out)}
    assert sorted(kept) == ["a", "guide.txt", "near", "page.html", "pii"]
    assert manifest.dropped == {
        "duplicate.exact": 1,
        "duplicate.near": 1,
        "gopher.short": 1,
        "held_out": 1,
        "policy": 1,
        "unreadable": 1,
    }
    assert manifest.texts == manifest.documents + sum(manifest.dropped.values()) == 11
    assert "someone" not in kept["pii"]["text"] and manifest.scrubbed == {"email": 1}
    for shard in manifest.shards:
        assert file_sha256(out / shard.file) == shard.sha256
        assert all(file_sha256(Path(i.path)) == i.sha256 for i in shard.inputs)
    assert not (out / "work").exists()
    assert build(out, [inputs], held_out=[tmp_path / "eval.jsonl"]) == manifest


def test_texts_are_kept_aside_as_rows_are_and_numbers_alone_are_no_match(
    inputs: Path, tmp_path: Path
) -> None:
    aside = tmp_path / "aside"
    aside.mkdir()
    (aside / "a.md").write_text(f"# Kept aside\n\n{prose(5)[200:400]}\n\n{'7 ' * 20}")
    (inputs / "zeros.txt").write_text(f"{prose(11)}\nThe table says {'12 ' * 15}of it.")
    dropped = build(tmp_path / "out", [inputs], held_out=[aside]).dropped
    assert dropped["held_out"] == 1
    with pytest.raises(ConfigError, match=r"absent\.jsonl does not exist"):
        build(tmp_path / "other", [inputs], held_out=[tmp_path / "absent.jsonl"])


def test_several_workers_and_interruptions_change_nothing(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(tmp_path / "one", [inputs])
    build(tmp_path / "two", [inputs], workers=2)
    assert snapshot(tmp_path / "one") == snapshot(tmp_path / "two")

    class Killed(BaseException):
        pass

    # Every durable write and rename is a moment at which the process may have ended.
    for fatal in (1, 3, 6, 9):
        out = tmp_path / f"killed{fatal}"
        moments = iter(range(1, 1000))

        def dying(path: Path, body: bytes, at: int = fatal, count: Iterator[int] = moments) -> None:
            if next(count) == at:
                raise Killed
            write_durably(path, body)

        with monkeypatch.context() as patch:
            patch.setattr(building, "write_durably", dying)
            try:
                build(out, [inputs])
            except Killed:
                with pytest.raises(ConfigError, match="no finished corpus"):
                    read_manifest(out)
        build(out, [inputs])
        assert snapshot(out) == snapshot(tmp_path / "one")


def test_other_options_are_refused(inputs: Path, tmp_path: Path) -> None:
    build(tmp_path / "out", [inputs])
    with pytest.raises(ConfigError, match="other inputs or options"):
        build(tmp_path / "out", [inputs], options=Options(quality=False))
    with pytest.raises(ConfigError, match="does not exist"):
        build(tmp_path / "none", [tmp_path / "absent"])


def test_a_forgotten_document_is_in_no_file(inputs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    before = build(out, [inputs], options=Options(scrub=False))
    assert forget(out, ["a"]) == 1
    assert "a" not in {row["key"] for row in documents(out)}
    after = read_manifest(out)
    assert after.documents == before.documents - 1 and len(after.forgotten) == 1
    for shard in after.shards:
        assert file_sha256(out / shard.file) == shard.sha256
    on_disk = {f"shards/{p.name}" for p in (out / "shards").iterdir()}
    assert on_disk == {n for s in after.shards for n in (s.file, s.sources)}
    assert forget(out, ["a"]) == 0


def test_the_record_gives_what_may_be_trained_on(tmp_path: Path) -> None:
    record = SqliteRecord(tmp_path / "record.db")
    try:

        def put(key: str, seed: int, *, train: bool = True) -> Upsert:
            policy = Policy(train=train)
            return Upsert(
                Document(key=key, source="s", kind="page", text=prose(seed), policy=policy)
            )

        changes = (put("old", 1), put("no", 2, train=False), put("gone", 3), put("late", 4))
        record.append("s", Batch(changes, "1"), now=NOW)
        record.append("s", Batch((put("old", 5), Purge(key="gone")), "2"), now=NOW)
        out = tmp_path / "out"
        build(out, [], record=record)
        kept = {row["key"]: row["text"] for row in documents(out)}
        assert kept == {"old": prose(5), "late": prose(4)}
        record.append("s", Batch((Purge(key="late"),), "3"), now=NOW)
        from gnomon.train.corpus.manifest import purged

        assert purged(out, record) == {"late"}
    finally:
        record.close()
