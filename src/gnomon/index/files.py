"""What an index says of itself in its folder, and whether its files are as they were written."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from gnomon.errors import StoreError

FORMAT = 6
_CHECKED_BYTES = 256 << 20
"""Files are read through up to this many bytes in all, smallest first: a second at most."""
_MAGIC = 1337
_DAMAGED = "damaged"


class Meta(msgspec.Struct):
    """Written anew at each commit, after everything that it stands for."""

    format: int = FORMAT
    dim: int = 0
    applied_seq: int = 0
    rows: int = 0
    vectors: str = ""
    boot: str = ""
    clean: bool = True


class _Segment(msgspec.Struct):
    segment_id: str


class _Segments(msgspec.Struct):
    segments: list[_Segment]


def read_meta(path: Path) -> Meta:
    """The folder's own account. Raises StoreError if the files cannot be what it says."""
    if (path / _DAMAGED).exists():
        raise StoreError("A search met damaged files.")
    try:
        meta = msgspec.json.decode((path / "meta.json").read_bytes(), type=Meta)
    except FileNotFoundError:
        raise StoreError("meta.json is missing.") from None
    if meta.format != FORMAT:
        raise StoreError(f"Its format is {meta.format}, not {FORMAT}.")
    if not meta.clean and meta.boot != this_boot():
        # Columns are not forced to the disk at each commit.
        raise StoreError("The machine stopped while the index was open.")
    meta.boot = this_boot()
    return meta


def write_meta(path: Path, meta: Meta) -> None:
    """Replace the account, whole or not at all."""
    fresh = path / "meta.new"
    fresh.write_bytes(msgspec.json.encode(meta))
    fresh.replace(path / "meta.json")


def mark_damaged(path: Path) -> None:
    """Let the next start begin anew."""
    (path / _DAMAGED).touch()


def check_words(folder: Path) -> None:
    """Compare tantivy's files with the checksums that it wrote at their ends.

    tantivy itself does not look at them, and may read damaged postings as wrong results. Files of
    segments that were never committed are what a kill left half written: nobody reads them.
    """
    account = folder / "meta.json"
    if not account.exists():
        return
    segments = msgspec.json.decode(account.read_bytes(), type=_Segments).segments
    committed = {segment.segment_id.replace("-", "") for segment in segments}
    left = _CHECKED_BYTES
    files = [f for f in folder.iterdir() if f.name.partition(".")[0] in committed]
    for size, file in sorted((f.stat().st_size, f) for f in files):
        left -= size
        if left < 0:
            return
        whole = memoryview(file.read_bytes())
        footer_bytes = int.from_bytes(whole[-8:-4], "little")
        body = whole[: -8 - footer_bytes]
        try:
            footer = msgspec.json.decode(whole[len(body) : -8])
        except msgspec.DecodeError:
            footer = {}
        if int.from_bytes(whole[-4:], "little") != _MAGIC or footer.get("crc") != zlib.crc32(body):
            raise StoreError(f"{file.name} is damaged.")


@contextmanager
def native() -> Iterator[None]:
    """Turn a panic of tantivy, which is no `Exception`, into a ValueError."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise ValueError(f"tantivy panicked: {error}") from error


def this_boot() -> str:
    """Identity of this run of the machine; empty where the system does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
