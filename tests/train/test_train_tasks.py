"""Tasks of lm-eval, beside lm-eval's own reader of the same weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

torch = pytest.importorskip("torch", reason="needs gnomon[train]")
pytest.importorskip("lm_eval", reason="needs gnomon[lm-eval]")

from gnomon.errors import ConfigError  # noqa: E402
from gnomon.train.config import Gate  # noqa: E402
from gnomon.train.evaluate import Subject  # noqa: E402
from gnomon.train.export import to_hf  # noqa: E402
from gnomon.train.gate import judge, refuse, shown  # noqa: E402
from gnomon.train.models.shape import Shape  # noqa: E402
from gnomon.train.models.transformer import Transformer  # noqa: E402
from gnomon.train.tasks.adapter import Asked  # noqa: E402
from gnomon.train.tasks.ask import ask, ready  # noqa: E402
from gnomon.train.tokens.bpe import Encoding, train_tokenizer  # noqa: E402

Describe = Callable[..., dict[str, Any]]
VOCAB, WINDOW = 300, 32
TEXTS = [
    "The mayor opened the bridge while seven boats watched. " * 4,
    "Nobody counted the échelles 🙂 before the market closed, said the old teacher. " * 3,
    "Short.",
]
CHOICE = """
task: town_facts
dataset_path: json
dataset_kwargs: {data_files: {test: facts.jsonl, train: facts.jsonl}}
test_split: test
fewshot_split: train
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: "{{choices}}"
doc_to_target: "{{answer}}"
metric_list: [{metric: acc}, {metric: acc_norm}]
metadata: {version: 3}
"""
READING = """
task: town_text
dataset_path: json
dataset_kwargs: {data_files: {test: facts.jsonl}}
test_split: test
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{text}}"
metric_list: [{metric: bits_per_byte}, {metric: word_perplexity}]
"""
WRITING = """
task: town_words
dataset_path: json
dataset_kwargs: {data_files: {test: facts.jsonl}}
test_split: test
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "{{written}}"
generation_kwargs: {until: ["zz"], max_gen_toks: 6, do_sample: false}
metric_list: [{metric: exact_match}]
"""


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    path = tmp_path / "bpe" / "tokenizer.json"
    train_tokenizer(TEXTS, VOCAB, path)
    return path


@pytest.fixture
def drawn(tokenizer: Path, described: Describe) -> Callable[..., Subject]:
    """A model of random weights that are large enough for firm opinions."""

    def make(layout: str = "llama", seed: int = 3, **model: Any) -> Subject:
        from tokenizers import Tokenizer

        made = Transformer(Shape(**(described(layout)["model"] | {"vocab": VOCAB} | model)))
        made.initialise(seed)
        with torch.no_grad():
            for weight in made.parameters():
                weight.mul_(4.0 if weight.ndim > 1 else 1.0)
        encoding, cut = Encoding(tokenizer), Tokenizer.from_file(str(tokenizer))
        encode = encoding.tiktoken.encode_ordinary
        return Subject(f"m{seed}", made.eval(), encode, encoding.end_id, WINDOW, cut.decode)

    return make


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Tasks of one's own, with data."""
    made = tmp_path / "own"
    made.mkdir()
    rows = [
        {
            "question": f"The mayor of town {number} opened the",
            "choices": ["bridge", "old market", "boats"],
            "answer": number % 3,
            "text": TEXTS[number % 2],
            "written": "bridge",
        }
        for number in range(12)
    ]
    (made / "facts.jsonl").write_bytes(b"\n".join(map(msgspec.json.encode, rows)))
    for name, said in (("facts", CHOICE), ("text", READING), ("words", WRITING)):
        (made / f"{name}.yaml").write_text(said)
    return made


def requests(*arguments: tuple[Any, ...]) -> list[Any]:
    return [SimpleNamespace(args=given) for given in arguments]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::SyntaxWarning")  # of imports
@pytest.mark.parametrize("layout", ["llama", "mixtral"])
def test_answers_are_those_of_lm_evals_own_reader(
    layout: str, drawn: Callable[..., Subject], tokenizer: Path, tmp_path: Path
) -> None:
    """The same weights as Hugging Face files, read by lm-eval's `hf`, offline."""
    pytest.importorskip("transformers", reason="lm-eval's own reader needs it")
    pytest.importorskip("accelerate", reason="lm-eval's own reader needs it")
    subject = drawn(layout)
    to_hf(subject.model, tmp_path / "hf", tokenizer=tokenizer, end_id=subject.end_id, dtype="f32")
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    theirs = HFLM(
        str(tmp_path / "hf"), device="cpu", dtype="float32", batch_size=3, max_length=WINDOW
    )
    ours = Asked(subject)

    def both(kind: Any, *arguments: tuple[Any, ...]) -> tuple[list[Any], list[Any]]:
        given = [Instance(kind, {}, one, number) for number, one in enumerate(arguments)]
        return getattr(ours, kind)(given), getattr(theirs, kind)(given)

    pairs = [
        ("The mayor opened the", " bridge while seven"),
        ("The mayor opened the ", "bridge"),
        ("", "Nobody counted"),
        (TEXTS[1] * 2, " échelles 🙂"),
        ("Short", "."),
    ]
    mine, hf = both("loglikelihood", *pairs)
    assert [one[0] for one in mine] == pytest.approx([one[0] for one in hf], abs=1e-3)
    assert [one[1] for one in mine] == [one[1] for one in hf]
    greedy = both("generate_until", ("The mayor", {"until": [], "max_gen_toks": 2}))[0][0]
    assert both("loglikelihood", ("The mayor", greedy))[0][0][1] is True

    mine, hf = both("loglikelihood_rolling", *((text,) for text in TEXTS))
    assert mine == pytest.approx(hf, abs=1e-2)

    asked = {"until": ["e"], "max_gen_toks": 8, "do_sample": False}
    free = {"until": ["\n\n\n"], "max_gen_toks": 12, "do_sample": False}
    starts = ["The mayor", TEXTS[1] * 2, "Short"]
    mine, hf = both("generate_until", *((s, way) for way in (asked, free) for s in starts))
    assert mine == hf
    assert any(mine)


def test_a_long_continuation_is_read_whole(drawn: Callable[..., Subject]) -> None:
    subject = drawn()
    ids = subject.encode(TEXTS[0])
    assert len(ids) > WINDOW
    (got, _), *_ = Asked(subject).loglikelihood(requests(("", TEXTS[0])))
    whole, total = [subject.end_id, *ids], 0.0
    ends = list(range(len(whole), 1, -WINDOW))
    for end in ends:
        row = whole[max(0, end - WINDOW - 1) : end]
        with torch.no_grad():
            logits = subject.model(torch.tensor([row[:-1]]))[0][0].double().log_softmax(-1)
        counted = min(WINDOW, end - 1)
        kept = [float(logits[at, token]) for at, token in enumerate(row[1:])][-counted:]
        total += sum(kept)
    assert got == pytest.approx(total, rel=1e-5)


def test_own_tasks_give_figures_with_intervals(drawn: Callable[..., Subject], folder: Path) -> None:
    subject = drawn("grok")
    names = ["town_facts", "town_text", "town_words"]
    told: list[str] = []
    figures = ask(subject, ready(names, folder), tell=told.append)
    found = {(f.task, f.metric): f for f in figures}
    assert set(found) == {
        ("town_facts", "acc"),
        ("town_facts", "acc_norm"),
        ("town_text", "bits_per_byte"),
        ("town_text", "word_perplexity"),
        ("town_words", "exact_match"),
    }
    acc = found["town_facts", "acc"]
    assert acc.items is not None
    assert acc.measure.value == pytest.approx(acc.items.mean())
    assert (acc.measure.n, acc.shots, acc.version) == (12, 0, "3")
    assert acc.measure.low is not None
    assert acc.measure.high is not None
    # Wilson's interval holds the shares for which the count is 1.96 standard errors away.
    for edge in (acc.measure.low, acc.measure.high):
        away = abs(acc.measure.value - edge) / (edge * (1 - edge) / 12) ** 0.5
        assert away == pytest.approx(1.96) or edge in (0.0, 1.0)
    assert not found["town_text", "bits_per_byte"].higher_is_better
    assert any("continuations" in line for line in told)

    fewer = ask(subject, ready(["town_facts"], folder), limit=5, shots=2)
    assert {(f.measure.n, f.shots, f.case) for f in fewer} == {(5, 2, "town_facts, 2 shots")}


def test_what_cannot_be_asked_is_told(drawn: Callable[..., Subject], folder: Path) -> None:
    with pytest.raises(ConfigError, match="is no folder"):
        ready(["town_facts"], folder / "absent")
    (folder / "words.yaml").write_text(WRITING.replace("do_sample: false", "temperature: 0.7"))
    with pytest.raises(ConfigError, match="town_words wants answers that are drawn"):
        ask(drawn(), ready(["town_words"], folder))
    (folder / "facts.jsonl").write_text('{"question": ')
    with pytest.raises(ConfigError, match="town_facts"):
        ready(["town_facts"], folder)
    (folder / "facts.jsonl").unlink()
    with pytest.raises(ConfigError, match="town_facts") as gone:
        ready(["town_facts"], folder)
    assert "facts.jsonl" in str(gone.value)


@pytest.mark.slow
def test_what_is_not_here_is_told(folder: Path) -> None:
    with pytest.raises(ConfigError, match="There is no task 'town_fact'") as unknown:
        ready(["town_fact"], folder)
    assert "Did you mean town_facts" in str(unknown.value.hint)
    with pytest.raises(ConfigError, match=r"allenai/ai2_arc.* not on this disk") as absent:
        ready(["arc_easy"], folder)
    assert "--include" in str(absent.value.hint)


def test_a_gate_keeps_thresholds_of_tasks_and_compares_with_what_serves(
    drawn: Callable[..., Subject], folder: Path, tmp_path: Path
) -> None:
    text = tmp_path / "held-out.txt"
    text.write_text(TEXTS[0])
    new, old = drawn(seed=3), drawn(seed=4)
    was = {f.metric: f.measure.value for f in ask(new, ready(["town_text"], folder))}
    bits = was["bits_per_byte"]
    wide = {"max_bits_per_byte": 99.0, "worse_bits_per_byte": 99.0, "worse_cloze": 100.0}
    gate = Gate(
        text=(text,),
        task_folder=folder,
        tasks={"town_text": {"bits_per_byte": bits + 0.01}, "town_facts": {"acc": 0.0}},
        worse_tasks=50.0,
        **wide,
    )
    found, reading = judge(gate, new, old)
    checks = {check.name: check for check in found}
    assert all(check.passed for check in found)
    assert {"town_text.bits_per_byte_gained", "town_facts.acc_gained"} < set(checks)
    others = {f.metric: f.measure.value for f in ask(old, ready(["town_text"], folder))}
    assert checks["town_text.bits_per_byte_gained"].value == pytest.approx(
        others["bits_per_byte"] - bits
    )
    assert reading.value("town_text.bits_per_byte") == pytest.approx(bits)
    assert "wanted at most" in shown(checks["town_text.bits_per_byte"])

    strict = gate.model_copy(
        update={"tasks": {"town_text": {"bits_per_byte": bits - 0.01}, "town_facts": {"acc": 1.1}}}
    )
    missed, _ = judge(strict, new, None)
    with pytest.raises(Exception, match="refused") as refused:
        refuse("new", missed)
    said = str(refused.value)
    assert "wanted at most" in said
    assert "wanted at least 1.1 (gate.tasks.town_facts.acc)" in said
    wrong = gate.model_copy(update={"tasks": {"town_text": {"acc": 0.5}}})
    with pytest.raises(ConfigError, match="no figure 'acc'") as unknown:
        judge(wrong, new, None)
    assert "bits_per_byte" in str(unknown.value.hint)
