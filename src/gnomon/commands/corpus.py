"""`gnomon corpus`: from raw text to token shards that a model is trained on."""

from __future__ import annotations

import json
import sys
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gnomon.commands.common import Json, load
from gnomon.errors import ConfigError

if TYPE_CHECKING:
    from gnomon.train.corpus.build import Spread

corpus = typer.Typer(no_args_is_help=True, help="Build corpora and encode them for training.")
Folder = Annotated[Path, typer.Argument(help="Folder of the corpus.")]
Workers = Annotated[int, typer.Option(min=1, help="Processes to work with.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(corpus, name="corpus")


def _progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@corpus.command("build")
def build_corpus(
    out: Annotated[Path, typer.Argument(help="Folder to build in; an interrupted build goes on.")],
    inputs: Annotated[
        list[str],
        typer.Option(
            "--from",
            help="`record`, `python` (installed packages), a file or a folder; repeatable.",
        ),
    ],
    held_out: Annotated[
        list[Path] | None,
        typer.Option(help="File or folder of an evaluation set; its text stays out."),
    ] = None,
    lang: Annotated[
        list[str] | None, typer.Option(help="Language to keep, such as en; `any` keeps all.")
    ] = None,
    quality: Annotated[bool, typer.Option(help="Apply the Gopher, C4 and FineWeb rules.")] = True,
    near: Annotated[bool, typer.Option(help="Remove near-duplicates.")] = True,
    scrub: Annotated[bool, typer.Option(help="Replace mail and IP addresses and phones.")] = True,
    workers: Workers = 1,
    engine: Annotated[
        str, typer.Option(help="local: processes of this machine; ray: a cluster's.")
    ] = "local",
    address: Annotated[
        str, typer.Option(help="Of the Ray cluster, or auto; default: RAY_ADDRESS, else its own.")
    ] = "",
) -> None:
    """Read, judge, deduplicate and write texts as shards with their provenance."""
    from gnomon.train.corpus.build import Options, build

    langs = tuple(lang or ("en",))
    options = Options(
        langs=() if "any" in langs else langs, quality=quality, near=near, scrub=scrub
    )
    paths = [text for text in inputs if text != "record"]
    wanted: dict[str, Any] = {
        "held_out": held_out or (),
        "options": options,
        "workers": workers,
        "progress": _progress,
    }
    with ExitStack() as stack:
        if engine == "ray":
            wanted["spread"] = stack.enter_context(_on_ray(address, workers))
        elif engine != "local":
            raise ConfigError(f"There is no engine {engine!r}.", hint="Name local or ray.")
        if len(paths) < len(inputs):
            from gnomon.app import opened_record

            wanted["record"] = stack.enter_context(opened_record(load().settings))
        build(out, paths, **wanted)
    show_corpus(out)


def _on_ray(address: str, workers: int) -> AbstractContextManager[Spread]:
    from gnomon.train.need import need

    need("ray", "pandas", "pyarrow", extra="cluster")
    from gnomon.train.corpus.cluster import spread_over

    return spread_over(address, workers=workers)


@corpus.command("show")
def show_corpus(folder: Folder, as_json: Json = False) -> None:
    """Say what a corpus holds, and what was dropped for which reason."""
    from gnomon.train.corpus.manifest import read_manifest
    from gnomon.train.corpus.reasons import meaning

    manifest = read_manifest(folder)
    if as_json:
        import msgspec

        print(json.dumps(msgspec.to_builtins(manifest), indent=2))
        return
    size = sum((folder / shard.file).stat().st_size for shard in manifest.shards)
    print(f"{manifest.documents:,} of {manifest.texts:,} texts, {size:,} bytes packed,", end=" ")
    print(f"in {len(manifest.shards):,} shards.")
    for title, counts in (("dropped", manifest.dropped), ("replaced", manifest.scrubbed)):
        for reason, count in sorted(counts.items(), key=lambda pair: -pair[1]):
            said = meaning(reason) if title == "dropped" else ""
            print(f"    {title}: {reason} {count:,}{said and f' ({said})'}")
    judged = sum(
        n for r, n in manifest.dropped.items() if r.startswith(("gopher", "c4", "fineweb"))
    )
    if judged > manifest.texts / 2:
        print("The rules are for prose of web pages; to keep other texts, build with --no-quality.")
    if manifest.forgotten:
        print(f"    forgotten: {len(manifest.forgotten):,}")


@corpus.command("forget")
def forget_document(
    folder: Folder,
    keys: Annotated[list[str] | None, typer.Argument(help="Keys of documents.")] = None,
    purged: Annotated[
        bool, typer.Option("--purged", help="All that the record had to drop since.")
    ] = False,
) -> None:
    """Remove documents from every shard of a corpus, for good."""
    from gnomon.train.corpus.manifest import forget
    from gnomon.train.corpus.manifest import purged as purged_keys

    wanted = set(keys or ())
    if purged:
        from gnomon.app import opened_record

        with opened_record(load().settings) as record:
            wanted |= purged_keys(folder, record)
    elif not wanted:
        raise ConfigError("No key was given.", hint="Name keys of documents, or use --purged.")
    removed = forget(folder, wanted)
    print(f"Removed {removed:,} documents.")
    if removed:
        print("Token shards made before hold them still: remove those and encode again.")


@corpus.command("tokenizer")
def train_tokenizer(
    folder: Folder,
    out: Annotated[Path, typer.Argument(help="File to write: tokenizer.json.")],
    vocab: Annotated[int, typer.Option(min=257, help="Tokens of the vocabulary.")] = 32_768,
    chars: Annotated[int, typer.Option(min=1, help="Characters to learn from.")] = 200_000_000,
) -> None:
    """Learn a byte-level BPE from a corpus."""
    from gnomon.train.corpus.manifest import documents
    from gnomon.train.tokens import bpe

    def texts(left: int = chars) -> Any:
        for row in documents(folder):
            if left <= 0:
                return
            yield row["text"]
            left -= len(row["text"])

    bpe.train_tokenizer(texts(), vocab, out)
    print(f"Wrote {out}.")


@corpus.command("encode")
def encode(
    folder: Folder,
    tokenizer: Annotated[Path, typer.Argument(help="tokenizer.json of `corpus tokenizer`.")],
    out: Annotated[Path, typer.Argument(help="Folder for token shards.")],
    workers: Workers = 1,
) -> None:
    """Encode a corpus into memory-mapped token shards; an interrupted run goes on."""
    from gnomon.train.tokens.encode import encode_corpus

    index = encode_corpus(folder, tokenizer, out, workers=workers, progress=_progress)
    print(f"{index.tokens:,} tokens in {len(index.shards):,} shards at {out}.")
