"""What a corpus is built from: archives of the web and Parquet, whole and damaged."""

from __future__ import annotations

import gzip
import hashlib
import json
import random
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from gnomon.train.corpus import inputs
from gnomon.train.corpus.build import Options, build
from gnomon.train.corpus.inputs import Text, find_units, read_unit
from gnomon.train.corpus.manifest import documents
from gnomon.train.corpus.markdown import shown

PAGE = (
    "<html lang='de'><head><title>Die Brücke</title></head><body><article><h1>Die Brücke</h1>"
    "<p>Die alte Brücke über den Fluss wird im Frühjahr für mehrere Wochen gesperrt, weil ihre "
    "Pfeiler erneuert werden müssen.</p><p>Danach soll sie wieder für alle offen sein, sagte die "
    "Stadt am Montag vor vielen Leuten.</p></article></body></html>"
)


def record(kind: str, body: bytes, name: str, content_type: str) -> bytes:
    """A record as ISO 28500 describes it."""
    head = (
        f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: https://a.example/{name}\r\n"
        f"WARC-Date: 2026-01-02T03:04:05Z\r\nWARC-Record-ID: <urn:example:{name}>\r\n"
        f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body + b"\r\n\r\n"


def response(
    name: str,
    body: bytes,
    *headers: str,
    status: str = "200 OK",
    kind: str = "text/html; charset=iso-8859-1",
) -> bytes:
    head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Type: {kind}", *headers, "", ""])
    return record("response", head.encode() + body, name, "application/http; msgtype=response")


def chunked(body: bytes) -> bytes:
    halves = (body[:100], body[100:], b"")
    return b"".join(b"%x\r\n%s\r\n" % (len(half), half) for half in halves)


LATIN = PAGE.encode("iso-8859-1")
RECORDS = [
    record("warcinfo", b"software: test\r\n", "info", "application/warc-fields"),
    record("request", b"GET / HTTP/1.1\r\n\r\n", "r", "application/http; msgtype=request"),
    response("plain", LATIN),
    response("packed", gzip.compress(LATIN), "Content-Encoding: gzip"),
    response("chunked", chunked(LATIN), "Transfer-Encoding: chunked"),
    response("gone", LATIN, status="404 Not Found"),
    response("picture", b"\x89PNG\r\n\x1a\n", kind="image/png"),
    record("conversion", "Nur der Text, längst gewonnen.".encode(), "text", "text/plain"),
]


def read(path: Path) -> dict[str, Text]:
    (unit,) = find_units([path])
    return {text.key.strip("<>").removeprefix("urn:example:"): text for text in read_unit(unit)}


@pytest.mark.parametrize("packed", [False, True])
def test_an_archive_gives_its_articles(tmp_path: Path, packed: bool) -> None:
    path = tmp_path / ("a.warc.gz" if packed else "a.warc")
    path.write_bytes(b"".join(map(gzip.compress, RECORDS) if packed else RECORDS))
    found = read(path)
    assert list(found) == ["plain", "packed", "chunked", "gone", "picture", "text"]
    for name in ("plain", "packed", "chunked"):
        assert "Die alte Brücke über den Fluss" in found[name].text
        assert (found[name].url, found[name].lang) == (f"https://a.example/{name}", "de")
    assert found["text"].text == "Nur der Text, längst gewonnen."
    assert (found["gone"].fault, found["picture"].fault) == ("http_status", "page.unreadable")


def test_a_damaged_archive_gives_what_stands_before(tmp_path: Path) -> None:
    members = [gzip.compress(r) for r in RECORDS]
    broken = bytearray(members[4])
    broken[20:60] = bytes(40)
    path = tmp_path / "a.warc.gz"
    path.write_bytes(b"".join([*members[:4], bytes(broken), *members[5:]]))
    found = list(read(path).values())
    assert [t.fault for t in found] == ["", "", "damaged"]
    path.write_bytes(b"".join(members)[:-25])
    assert [t.fault for t in read(path).values()][-1] == "damaged"
    path.write_bytes(b"This is no archive.\n" * 9)
    assert [t.fault for t in read(path).values()] == ["damaged"]


@given(st.randoms(use_true_random=False), st.booleans())
@settings(max_examples=60, deadline=None)
def test_no_damage_ends_the_reading(
    tmp_path_factory: pytest.TempPathFactory, rng: random.Random, packed: bool
) -> None:
    whole = bytearray(b"".join(map(gzip.compress, RECORDS) if packed else RECORDS))
    for _ in range(rng.randrange(1, 20)):
        whole[rng.randrange(len(whole))] = rng.randrange(256)
    path = tmp_path_factory.getbasetemp() / ("d.warc.gz" if packed else "d.warc")
    path.write_bytes(whole[: rng.randrange(len(whole))])
    for text in read_unit(find_units([path])[0]):
        assert isinstance(text.text, str)


def prose(seed: int) -> str:
    rng = random.Random(seed)
    words = [f"{a}{b}" for a in ("river", "stone", "lamp", "field") for b in ("s", "ing", "er", "")]
    out = [
        f"The {rng.choice(words)} of {rng.choice(words)} and {rng.choice(words)} that "
        f"{rng.choice(words)} have {rng.choice(words)} with {rng.choice(words)}."
        for _ in range(30)
    ]
    return "\n".join(" ".join(out[i : i + 5]) for i in range(0, len(out), 5))


def test_parquet_rows_become_documents(tmp_path: Path) -> None:
    table = pa.table(
        {
            "id": ["a", "b", "c", "d", "e"],
            "text": [prose(1), None, prose(2), prose(1), prose(3)],
            "url": ["https://a.example/1", None, None, None, None],
            "policy": [None, None, {"train": False}, None, {"train": True}],
            "score": [0.5, None, 1.0, 2.0, 3.0],
        }
    )
    parquet.write_table(table, tmp_path / "rows.parquet", row_group_size=2)
    manifest = build(tmp_path / "out", [tmp_path / "rows.parquet"])
    kept = {row["key"]: row for row in documents(tmp_path / "out")}
    assert sorted(kept) == ["a", "e"] and kept["a"]["url"] == "https://a.example/1"
    assert kept["a"]["text"] == prose(1)
    assert manifest.dropped == {"duplicate.exact": 1, "no_text": 1, "policy": 1}


def test_damaged_parquet_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    parquet.write_table(pa.table({"id": ["a"], "text": [prose(1)]}), path)
    path.write_bytes(path.read_bytes()[:-30])
    (tmp_path / "more.jsonl").write_text('{"id": "b", "text": "Here it goes on."}\n')
    options = Options(langs=(), quality=False)
    manifest = build(tmp_path / "out", [tmp_path], options=options)
    assert manifest.dropped == {"unreadable": 1} and manifest.documents == 1


@given(st.lists(st.integers(0, 40), min_size=1, max_size=30), st.integers(1, 200), st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_long_file_is_read_in_spans_and_no_line_twice(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], span_bytes: int, ended: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "long.jsonl"
    texts = [f"{n} {'ü' * size}" for n, size in enumerate(sizes)]
    lines = [json.dumps({"text": text}, ensure_ascii=False) for text in texts]
    path.write_text("\n".join(lines) + "\n" * ended)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inputs, "SPAN_BYTES", span_bytes)
        units = find_units([path])
    found = [text for unit in units for text in read_unit(unit)]
    assert [text.text for text in found] == texts
    assert len({text.key for text in found}) == len(lines)


def test_spans_of_a_file_are_told_with_their_hashes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "long.jsonl"
    path.write_text("".join(json.dumps({"text": prose(n)}) + "\n" for n in range(20)))
    whole = build(tmp_path / "whole", [path])
    monkeypatch.setattr(inputs, "SPAN_BYTES", 8_000)
    parts = build(tmp_path / "parts", [path])
    assert len(parts.shards) > 3 and parts.documents == whole.documents
    body = path.read_bytes()
    for (entry,) in (shard.inputs for shard in parts.shards):
        read_bytes = body[entry.start : entry.start + entry.body_bytes]
        assert hashlib.sha256(read_bytes).hexdigest() == entry.sha256
    assert sum(shard.inputs[0].body_bytes for shard in parts.shards) == len(body)


def test_of_markdown_what_a_reader_sees_is_read(tmp_path: Path) -> None:
    written = """---
title: front matter
---
# The *old* bridge

It was [closed](https://a.example/x) on `Monday`,
as <b>planned</b>. <!-- not this -->

- first point
  goes on
- second

  its own paragraph
  1. inner

```sh
rm -rf /  # code
```

| name | height |
|---|---|
| bridge | 12 m |

![a picture](p.png)
"""
    seen = """The old bridge

It was closed on Monday, as planned.

- first point goes on
- second
its own paragraph
1. inner

name, height
bridge, 12 m

a picture"""
    assert shown(written) == seen
    path = tmp_path / "a.md"
    path.write_text(written)
    (unit,) = find_units([path])
    (text,) = read_unit(unit)
    assert text.text == seen


@settings(max_examples=60, deadline=None)
@given(st.text(st.sampled_from("ab \n#*_`[]()|-<>!1.~\t\\"), max_size=200))
def test_any_text_is_markdown(text: str) -> None:
    assert set(shown(text)) <= set(text) | {",", "-", " "}
