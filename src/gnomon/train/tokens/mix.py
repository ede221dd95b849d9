"""Several folders of token shards as one, each read as often as is wanted."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from gnomon.errors import ConfigError
from gnomon.train.shards import INDEX, TOKENIZER, Index, TokenShards, write_durably


def mix(parts: Mapping[Path, int], out: Path) -> Index:
    """Write the index of `out`: the shards of each folder, as many times as it says.

    Nothing is copied: the index names the files where they lie. Raises ConfigError where the
    folders were encoded with different tokenizers.
    """
    indexes = {folder: TokenShards(folder).index for folder in parts}
    first = next(iter(indexes.values()))
    for folder, index in indexes.items():
        if index.tokenizer_sha256 != first.tokenizer_sha256 or index.dtype != first.dtype:
            raise ConfigError(
                f"{folder} was encoded with another tokenizer than the rest.",
                code="tokens.other_tokenizer",
                hint="Encode all parts with one tokenizer.",
            )
    out.mkdir(parents=True, exist_ok=True)
    shards = [
        msgspec.structs.replace(shard, file=os.path.relpath(folder / shard.file, out))
        for folder, times in parts.items()
        for shard in indexes[folder].shards * times
    ]
    corpora = "".join(index.corpus for index in indexes.values())
    mixed = msgspec.structs.replace(
        first, shards=tuple(shards), corpus=hashlib.sha256(corpora.encode()).hexdigest()
    )
    write_durably(out / TOKENIZER, (next(iter(parts)) / TOKENIZER).read_bytes())
    write_durably(out / INDEX, msgspec.json.format(msgspec.json.encode(mixed)))
    return mixed
