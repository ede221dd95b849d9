"""`gnomon forge demo`: from text at hand to a model that answers, on two cores, without a network.

Every step leaves what it made in the demo's folder and is left out where that is there already, so
a demo that was stopped goes on where it was. The configuration is written once; from there on the
run is the function of configuration, data and seed that every run is.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
import statistics
import sysconfig
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from gnomon.clock import Clock
from gnomon.errors import ConfigError
from gnomon.extract.text import clean_text
from gnomon.train.config import RunConfig, read_config
from gnomon.train.corpus.build import Options, build
from gnomon.train.corpus.manifest import documents, read_manifest
from gnomon.train.metrics import read_steps
from gnomon.train.shards import INDEX, TOKENIZER, TokenShards, write_durably
from gnomon.train.tokens import bpe
from gnomon.train.tokens.encode import encode_corpus
from gnomon.train.tokens.mix import mix

Row = dict[str, str]
CONFIG = "demo.toml"
_TEXTS = ("town.jsonl", "talk.jsonl", "documentation.jsonl", "held-out.jsonl")
_CORPORA = {"corpus": 1, "talks": 6}
"""How often each is read while the others are read once."""
_HELD_OUT_PART = 40
"""One text of so many is kept for the gate."""
_REHEARSED = 6
"""Steps by whose speed the run's are counted."""
_SOURCE_BYTES = (2_000, 300_000)
_CODE = re.compile(r">>>|::|``|[{}<>|=\\_]|:\w+:|^\s*[-*#.]", re.MULTILINE)
_PARAGRAPH_CHARS, _MODULE_CHARS = 80, 400
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}User: {{ message['content'] }} "
    "{% elif message['role'] == 'assistant' %}Assistant: {{ message['content'] }}\n"
    "{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)
"""The form that `talk` has. A system message is left out: the model has never read one."""


@dataclass(frozen=True)
class Scale:
    """How large a demo is."""

    steps: int = 300
    minutes: float | None = None
    """Of training: then there are as many steps as they allow on this machine."""
    vocab: int = 8_192
    source_bytes: int = 20_000_000
    """Python source whose documentation is read."""
    packages: Path | None = None
    """Where it lies; None: this Python's packages."""
    model: dict[str, Any] = field(default_factory=lambda: {"preset": "grok-10m", "context": 256})
    sequence: int = 256
    batch: int = 8
    micro: int = 8
    rate: float = 3e-3
    max_bits_per_byte: float = 2.2
    min_cloze: float = 50.0


class Demo:
    """The steps from text to a trained run. Each may be called again; what is there stays."""

    def __init__(self, folder: Path, run: Path, scale: Scale, clock: Clock) -> None:
        self.folder, self.run, self.scale, self._clock = folder, run, scale, clock

    def gather(self, town: Iterable[Row], talk: Iterable[Row]) -> str:
        """Write the texts: of the town, talks about it, and documentation; some held out."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not all((self.folder / name).is_file() for name in _TEXTS):
            rows: dict[str, list[Row]] = {name: [] for name in _TEXTS}
            rows["talk.jsonl"] = list(talk)
            for name, found in (
                ("town.jsonl", town),
                (
                    "documentation.jsonl",
                    documentation(self.scale.source_bytes, self.scale.packages),
                ),
            ):
                for row in found:
                    rows["held-out.jsonl" if _is_held_out(row["key"]) else name].append(row)
            if not rows["held-out.jsonl"]:
                raise ConfigError("There is too little text for a demo.", code="demo.text")
            for name, lines in rows.items():
                body = "".join(json.dumps(row) + "\n" for row in lines)
                write_durably(self.folder / name, body.encode())
        sizes = [(self.folder / name).stat().st_size for name in _TEXTS]
        return f"{sum(sizes) / 1e6:.1f} MB of text, {sizes[-1] / 1e6:.2f} MB of it held out"

    def corpus(self) -> str:
        """Judge and deduplicate the texts. Talks are no web pages: rules for those pass them by."""
        town, talk, documentation, held_out = (self.folder / name for name in _TEXTS)
        build(self.folder / "corpus", [town, documentation], held_out=[held_out])
        plain = Options(quality=False, near=False)
        build(self.folder / "talks", [talk], held_out=[held_out], options=plain)
        manifests = [read_manifest(self.folder / name) for name in _CORPORA]
        stay, all_texts = (sum(getattr(m, n) for m in manifests) for n in ("documents", "texts"))
        return f"{stay:,} of {all_texts:,} texts stay"

    def tokenizer(self) -> str:
        """Learn a byte-level BPE."""
        path = self.folder / TOKENIZER
        if not path.is_file():
            texts = (row["text"] for name in _CORPORA for row in documents(self.folder / name))
            bpe.train_tokenizer(texts, self.scale.vocab, path)
        return f"a vocabulary of {bpe.Encoding(path).vocab_size:,}"

    def tokens(self) -> str:
        """Encode the corpora, and mix them so that talks are read more than once."""
        out = self.folder / "tokens"
        if not (out / INDEX).is_file():
            parts = {}
            for name, times in _CORPORA.items():
                encode_corpus(self.folder / name, self.folder / TOKENIZER, out / name)
                parts[out / name] = times
            mix(parts, out)
        index = TokenShards(out).index
        return f"{index.tokens:,} tokens; talks stand among them {_CORPORA['talks']} times"

    def plan(self) -> str:
        """Decide how many steps there are and write the configuration."""
        path = self.folder / CONFIG
        if not path.is_file():
            minutes = self.scale.minutes
            steps = self.scale.steps if minutes is None else self._affordable(minutes)
            write_durably(path, self._described(steps).encode())
        config = read_config(path)
        shape, data = config.model, config.data
        seen = config.schedule.steps * data.batch * data.sequence
        return (
            f"{shape.parameters() / 1e6:.1f}M parameters, "
            f"{shape.parameters(active=True) / 1e6:.1f}M active; {config.schedule.steps:,} steps, "
            f"{seen:,} tokens"
        )

    def train(self, tell: Callable[[str], None]) -> str:
        """Train, from the newest checkpoint if there is one."""
        from gnomon.train.loop import train

        outcome = train(self.config(), self.run, self._clock, tell)
        return f"loss {outcome.loss:.3f} after {outcome.steps:,} steps"

    def config(self) -> RunConfig:
        """The run's configuration, once it was planned."""
        return read_config(self.folder / CONFIG)

    def _affordable(self, minutes: float) -> int:
        """How many steps the minutes allow, by the speed of a few."""
        from gnomon.train.loop import train

        path = self.folder / f".{CONFIG}.rehearsed"
        path.write_text(self._described(_REHEARSED))
        with TemporaryDirectory(prefix="gnomon-demo-") as folder:
            train(read_config(path), Path(folder), self._clock)
            speeds = [step.tokens_per_s for step in read_steps(Path(folder))]
        path.unlink()
        # The first steps wait for memory and for the start's checkpoint.
        tokens = 60 * minutes * statistics.median(speeds[_REHEARSED // 2 :])
        return max(20, int(tokens / self.scale.sequence / self.scale.batch))

    def _described(self, steps: int) -> str:
        scale = self.scale
        sections: dict[str, dict[str, Any]] = {
            "model": scale.model | {"vocab": scale.vocab},
            "data": {
                "tokens": "tokens",
                "sequence": scale.sequence,
                "batch": scale.batch,
                "micro": scale.micro,
            },
            "optimizer": {"kind": "muon", "rate": scale.rate},
            "schedule": {"kind": "cosine", "steps": steps, "warmup": min(20, steps // 5)},
            "checkpoint": {"every": max(1, steps // 6), "keep": 2},
            "machine": {"device": "cpu", "precision": _precision()},
            "gate": {
                "text": ["held-out.jsonl"],
                "max_bits_per_byte": scale.max_bits_per_byte,
                "min_cloze": scale.min_cloze,
            },
        }
        lines = [
            "# Written by `gnomon forge demo`; yours to change and to train again.",
            f"chat_template = {json.dumps(CHAT_TEMPLATE)}",
        ]
        for name, section in sections.items():
            lines += ["", f"[{name}]"]
            lines += [f"{key} = {json.dumps(value)}" for key, value in section.items()]
        return "\n".join(lines) + "\n"


def _precision() -> str:
    """bf16 where this processor multiplies in it: that takes half the time."""
    import torch

    can = torch.cpu.get_capabilities()
    return "bf16" if can.get("avx512_bf16") or can.get("amx_bf16") or can.get("bf16") else "fp32"


def documentation(source_bytes: int, root: Path | None = None) -> Iterator[Row]:
    """The prose in the docstrings of installed Python modules, in an order that names decide.

    Reads modules until `source_bytes` of source are read.
    """
    root = root or Path(sysconfig.get_path("purelib"))
    low, high = _SOURCE_BYTES
    sizes = {path: path.stat().st_size for path in root.rglob("*.py") if path.is_file()}
    paths = {str(p.relative_to(root)): p for p, size in sizes.items() if low < size < high}
    for name in sorted(paths, key=lambda name: hashlib.sha256(name.encode()).digest()):
        text = _prose(paths[name].read_bytes())
        if len(text) >= _MODULE_CHARS:
            yield {"key": f"python:{name}", "text": text, "source": "python", "lang": "en"}
        source_bytes -= sizes[paths[name]]
        if source_bytes <= 0:
            return


def _prose(body: bytes) -> str:
    """The sentences of a module's docstrings, without code, tables and lists."""
    try:
        tree = ast.parse(body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    found: dict[str, None] = {}
    for node in ast.walk(tree):
        if not isinstance(node, kinds):
            continue
        for part in re.split(r"\n\s*\n", clean_text(ast.get_docstring(node) or "")):
            line = " ".join(part.split())
            if len(line) >= _PARAGRAPH_CHARS and line[-1] in ".!?" and not _CODE.search(line):
                found[line] = None
    return "\n\n".join(found)


def _is_held_out(key: str) -> bool:
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]) % _HELD_OUT_PART == 0
