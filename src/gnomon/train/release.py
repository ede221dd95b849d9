"""From a trained run to the model that serves: export, gate, registry. Needs PyTorch.

Only a file that passed its gate enters the registry, with the way that led to it: corpus, tokens,
run, and the figures that it passed with.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from gnomon.train import gate
from gnomon.train.export import load_run, read_run, tokens_of
from gnomon.train.gguf import to_gguf
from gnomon.train.judgement import Judgement, write_judgement
from gnomon.train.shards import INDEX
from gnomon.train.subject import of_gguf


@dataclass(frozen=True)
class Serving:
    """The model that serves now."""

    name: str
    file: Path


def export(run: Path, *, name: str, kind: str = "f16") -> Path:
    """Write the run's model as GGUF into its folder and return the file."""
    config = read_run(run)
    tokenizer, index = tokens_of(run)
    path = run / f"{name}-{kind}.gguf"
    to_gguf(
        load_run(run),
        path,
        tokenizer=tokenizer,
        end_id=index.end_id,
        kind=kind,
        name=name,
        chat_template=config.chat_template,
    )
    return path


def judge(
    run: Path,
    file: Path,
    serving: Serving | None,
    tell: Callable[[str], None] = lambda _: None,
) -> Judgement:
    """Put `file`, the export of `run`, through the run's gate, and write down what came of it.

    Both models are shown as many tokens at once as the run was trained on.
    """
    config = read_run(run)
    window = config.data.sequence
    against = of_gguf(serving.file, window) if serving else None
    checks, reading = gate.judge(config.gate, of_gguf(file, window), against, tell)
    judgement = Judgement(
        file=file.name,
        file_sha256=_sha256(file),
        text_sha256=reading.text_sha256,
        serving=serving.name if serving else "",
        measures=reading.measures,
        checks=checks,
    )
    write_judgement(run, judgement)
    return judgement


def lineage(run: Path, judgement: Judgement) -> dict[str, str]:
    """The way that led to a file: from the corpus to the text that it was judged by."""
    tokens = read_run(run).data.tokens
    _, index = tokens_of(run)
    outcome = msgspec.json.decode((run / "outcome.json").read_bytes())
    return {
        "corpus": index.corpus,
        "tokens": _sha256(tokens / INDEX),
        "tokenizer": index.tokenizer_sha256,
        "run": run.name,
        "steps": str(outcome["steps"]),
        "weights": outcome["sha256"],
        "judged_by": judgement.text_sha256,
        "replaces": judgement.serving,
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
