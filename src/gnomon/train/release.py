"""From a trained run to the model that serves: export, gate, registry. Needs PyTorch.

Only a file that passed its gate enters the registry, with the way that led to it: corpus, tokens,
run, and the figures that it passed with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec

from gnomon.models.registry import Entry, Registry
from gnomon.train import gate
from gnomon.train.checkpoint import newest
from gnomon.train.config import Gate
from gnomon.train.corpus.manifest import file_sha256
from gnomon.train.export import load_run, read_run, tokens_of
from gnomon.train.gguf import to_gguf
from gnomon.train.judgement import Judgement, write_judgement
from gnomon.train.shards import INDEX
from gnomon.train.subject import of_gguf


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
    registry: Registry | None,
    *,
    thresholds: Gate | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Judgement:
    """Put `file`, the export of `run`, through its gate, and write down what came of it.

    The gate is the run's own where `thresholds` gives no other.

    It is compared with what serves in `registry`, if anything does. Both models are shown as many
    tokens at once as the run was trained on.
    """
    config = read_run(run)
    window = config.data.sequence
    entry = registry.serving() if registry else None
    against = None
    if registry and entry:
        found = of_gguf(registry.whole_path(entry), window)
        against = replace(found, name=entry.id)
    checks, reading = gate.judge(thresholds or config.gate, of_gguf(file, window), against, tell)
    judgement = Judgement(
        file=file.name,
        file_sha256=file_sha256(file),
        text_sha256=reading.text_sha256,
        serving=entry.id if entry else "",
        measures=reading.measures,
        checks=checks,
    )
    write_judgement(run, judgement)
    return judgement


def release(run: Path, file: Path, judgement: Judgement, name: str, registry: Registry) -> Entry:
    """Enter `file` into the registry as `name` and let it serve.

    Raises ModelTerminal where it did not pass: then it is entered as refused, and what serves
    stays in place.
    """
    entry = registry.add(file, name=name, lineage=lineage(run, judgement), checks=judgement.checks)
    gate.refuse(entry.id, judgement.checks)
    return registry.use(name, entry.version)


def lineage(run: Path, judgement: Judgement) -> dict[str, str]:
    """The way that led to a file: from the corpus to the text that it was judged by."""
    tokens = read_run(run).data.tokens
    _, index = tokens_of(run)
    made = {"checkpoint": newest(run / "checkpoints") or ""}
    if (run / "outcome.json").is_file():
        outcome = msgspec.json.decode((run / "outcome.json").read_bytes())
        made = {"steps": str(outcome["steps"]), "weights": outcome["sha256"]}
    return {
        "corpus": index.corpus,
        "tokens": file_sha256(tokens / INDEX),
        "tokenizer": index.tokenizer_sha256,
        "run": run.name,
        **made,
        "judged_by": judgement.text_sha256,
        "replaces": judgement.serving,
    }
