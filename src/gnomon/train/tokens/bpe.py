"""Byte-level BPE: trained by the `tokenizers` library, applied by `tiktoken`, with equal ids.

Ids 0 to 255 are bytes, merges follow in the order in which they were learnt, the end-of-document
token is last. Texts are split by the pattern that llama.cpp knows as `grok-2`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gnomon.errors import ConfigError
from gnomon.train.need import need
from gnomon.train.shards import write_durably

if TYPE_CHECKING:
    import tiktoken

END = "<|end|>"
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def train_tokenizer(texts: Iterable[str], vocab_size: int, path: Path) -> None:
    """Learn a vocabulary of `vocab_size` from `texts` and write it to `path` (tokenizer.json)."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    if vocab_size < 257:
        raise ConfigError(
            f"A vocabulary of {vocab_size} cannot hold the 256 bytes and the end token.",
            code="tokens.vocabulary",
            hint="Choose at least 257.",
        )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - 1,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens([AddedToken(END, special=True)])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_durably(path, tokenizer.to_str(pretty=False).encode())


class Encoding:
    """The tokenizer of a file, in `tiktoken`'s form."""

    def __init__(self, path: Path) -> None:
        """Raises ConfigError if the file is missing or no byte-level BPE, or tiktoken is absent."""
        need("tiktoken")
        self.body = _read(path)
        self.sha256 = hashlib.sha256(self.body).hexdigest()
        ranks, self.end_id, pattern = _ranks(self.body, path)
        import tiktoken

        self.vocab_size = self.end_id + 1
        self.tiktoken: tiktoken.Encoding = tiktoken.Encoding(
            self.sha256[:16],
            pat_str=pattern,
            mergeable_ranks=ranks,
            special_tokens={END: self.end_id},
        )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"The tokenizer {path} cannot be read: {error.strerror}.",
            code="tokens.tokenizer",
            hint="Train one with `gnomon corpus tokenizer`.",
        ) from error


def _ranks(body: bytes, path: Path) -> tuple[dict[bytes, int], int, str]:
    """Bytes → id, the end token's id, and the pattern. The ids must be the ranks of the merges."""
    try:
        described: dict[str, Any] = json.loads(body)
        vocabulary = described["model"]["vocab"]
        pattern = described["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"]
        end = next(t["id"] for t in described["added_tokens"] if t["content"] == END)
        letters = _letters()
        ranks = {bytes(letters[c] for c in token): at for token, at in vocabulary.items()}
    except (ValueError, KeyError, TypeError, IndexError, StopIteration) as error:
        raise ConfigError(
            f"{path} is no byte-level BPE of ours.",
            code="tokens.tokenizer",
            hint="Train one with `gnomon corpus tokenizer`.",
        ) from error
    return ranks, end, pattern


def _letters() -> dict[str, int]:
    """The letter by which byte-level BPE writes each byte, as GPT-2 chose them."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in plain]
    return {chr(b): b for b in plain} | {chr(256 + at): b for at, b in enumerate(rest)}
