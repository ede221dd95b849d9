"""The registry keeps what it promises: gates, order of serving, and every kill survived."""

from __future__ import annotations

import math
import multiprocessing
import os
import random
import signal
import threading
import time
from pathlib import Path

import pytest

from gnomon.clock import ManualClock, SystemClock
from gnomon.errors import ConfigError, ModelTerminal, StoreError
from gnomon.models.registry import Check, Registry, split_id

GOOD = Check(name="bits_per_byte", value=1.9, low=1.8, high=2.0, threshold=2.5, passed=True)
BAD = Check(name="cloze", value=21.0, threshold=25.0, passed=False)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def registry(tmp_path: Path, clock: ManualClock) -> Registry:
    return Registry(tmp_path / "registry", clock)


def weights(folder: Path, text: str) -> Path:
    path = folder / f"{text}.gguf"
    path.write_bytes(b"GGUF" + text.encode() * 100)
    return path


def test_an_entry_keeps_file_lineage_and_checks(registry: Registry, tmp_path: Path) -> None:
    source = weights(tmp_path, "first")
    added = registry.add(source, name="town", lineage={"run": "r1"}, checks=[GOOD])
    source.unlink()
    (entry,) = Registry(registry.folder, ManualClock()).list()
    assert entry == added
    assert (entry.id, entry.state, entry.lineage) == ("town@1", "candidate", {"run": "r1"})
    assert entry.checks == (GOOD,)
    assert registry.whole_path(entry).read_bytes() == b"GGUF" + b"first" * 100
    assert entry.body_bytes == 504


def test_versions_count_up_and_the_same_again_is_the_same(
    registry: Registry, tmp_path: Path
) -> None:
    one = registry.add(weights(tmp_path, "one"), name="town", checks=[GOOD])
    two = registry.add(weights(tmp_path, "two"), name="town", checks=[GOOD])
    assert (one.version, two.version) == (1, 2)
    assert registry.add(weights(tmp_path, "one"), name="town", checks=[GOOD]) == one
    judged_again = registry.add(weights(tmp_path, "one"), name="town", checks=[GOOD, BAD])
    assert (judged_again.version, judged_again.state) == (3, "refused")
    assert registry.find("town", 2) == two


def test_use_and_rollback_walk_through_what_served(
    registry: Registry, tmp_path: Path, clock: ManualClock
) -> None:
    for name in ("a", "b", "c"):
        registry.add(weights(tmp_path, name), name=name, checks=[GOOD])
    assert registry.serving() is None
    for name in ("a", "b", "c", "c"):
        clock.advance(60)
        assert registry.use(name).state == "serving"
    assert registry.previous() == registry.find("b")
    assert [e.state for e in registry.list()] == ["retired", "retired", "serving"]
    assert registry.rollback().name == "b"
    registry.use("a")
    assert registry.rollback().name == "b"
    assert registry.rollback().name == "a"
    with pytest.raises(ConfigError, match="No model served before") as refused:
        registry.rollback()
    assert refused.value.code == "registry.no_rollback"
    told = [(e.what, e.before, e.model) for e in registry.history()]
    assert told == [
        ("use", "", "a@1"),
        ("use", "a@1", "b@1"),
        ("use", "b@1", "c@1"),
        ("rollback", "c@1", "b@1"),
        ("use", "b@1", "a@1"),
        ("rollback", "a@1", "b@1"),
        ("rollback", "b@1", "a@1"),
    ]
    assert [e.name for e in registry.list() if e.state == "serving"] == ["a"]


def test_without_a_serving_model_there_is_nothing_to_roll_back(registry: Registry) -> None:
    with pytest.raises(ConfigError, match="No model serves"):
        registry.rollback()


@pytest.mark.parametrize(
    ("checks", "code", "says"),
    [
        ([], "gate.missing", "no gate has judged it"),
        ([BAD], "gate.refused", "cloze is 21, wanted 25"),
        ([GOOD, BAD], "gate.refused", "cloze is 21"),
        (
            [Check(name="loss", value=math.nan, threshold=1.0, passed=True)],
            "gate.refused",
            "loss is no number",
        ),
    ],
)
def test_what_passed_no_gate_never_serves(
    registry: Registry, tmp_path: Path, checks: list[Check], code: str, says: str
) -> None:
    registry.add(weights(tmp_path, "good"), name="good", checks=[GOOD])
    registry.use("good")
    entry = registry.add(weights(tmp_path, "bad"), name="bad", checks=checks)
    assert entry.state == ("candidate" if not checks else "refused")
    with pytest.raises(ModelTerminal, match=says) as refused:
        registry.use("bad")
    assert refused.value.code == code
    assert registry.serving() == registry.find("good")
    assert registry.list()[1].state == entry.state


def test_damage_is_said_and_adding_the_file_again_mends_it(
    registry: Registry, tmp_path: Path
) -> None:
    source = weights(tmp_path, "one")
    entry = registry.add(source, name="town", checks=[GOOD])
    path = registry.path(entry)
    body = bytearray(path.read_bytes())
    body[77] ^= 1
    path.write_bytes(body)
    with pytest.raises(ModelTerminal, match=r"town@1 is damaged.*not the") as damaged:
        registry.whole_path(entry)
    assert damaged.value.code == "model.damaged"
    assert registry.add(source, name="town", checks=[GOOD]) == entry
    assert registry.whole_path(entry) == path
    path.unlink()
    with pytest.raises(ModelTerminal, match="cannot be read"):
        registry.whole_path(entry)


def test_a_damaged_list_is_a_damaged_store(registry: Registry, tmp_path: Path) -> None:
    registry.add(weights(tmp_path, "one"), name="town")
    file = registry.folder / "registry.json"
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(StoreError, match="cannot be read"):
        registry.list()
    file.write_text('{"schema": 9}')
    with pytest.raises(StoreError, match="newer Gnomon"):
        registry.list()


@pytest.mark.parametrize("name", ["", "a/b", "..", "a@1", "x" * 65, "gnomon", "Gnomon-own", "-a"])
def test_names_that_cannot_be(registry: Registry, tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError) as refused:
        registry.add(weights(tmp_path, "one"), name=name)
    assert refused.value.code == "registry.name"


def test_what_is_no_model_file_is_refused(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_text("hello")
    for path in (tmp_path / "x.gguf", tmp_path / "none.gguf", tmp_path):
        with pytest.raises(ConfigError) as refused:
            registry.add(path, name="town")
        assert refused.value.code == "registry.file"
    assert registry.list() == []


def test_unknown_names_and_versions_are_told(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="gnomon models add"):
        registry.find("town")
    registry.add(weights(tmp_path, "one"), name="town")
    with pytest.raises(ConfigError, match="There are: town"):
        registry.use("city")
    with pytest.raises(ConfigError, match=r"no version 4\. It has 1"):
        registry.use("town", 4)


def test_ids_are_read() -> None:
    assert split_id("demo") == ("demo", None)
    assert split_id("demo@12") == ("demo", 12)
    with pytest.raises(ConfigError):
        split_id("demo@new")


def test_many_writers_lose_nothing(registry: Registry, tmp_path: Path) -> None:
    files = [weights(tmp_path, f"w{n}") for n in range(8)]

    def add(path: Path) -> None:
        Registry(registry.folder, SystemClock()).add(path, name="town", checks=[GOOD])

    threads = [threading.Thread(target=add, args=(path,)) for path in files]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    entries = registry.list()
    assert [e.version for e in entries] == list(range(1, 9))
    assert len({e.sha256 for e in entries}) == 8


def test_the_stamp_changes_with_every_change(registry: Registry, tmp_path: Path) -> None:
    seen = {registry.stamp()}
    registry.add(weights(tmp_path, "one"), name="one", checks=[GOOD])
    seen.add(registry.stamp())
    registry.use("one")
    seen.add(registry.stamp())
    assert len(seen) == 3


def _churn(folder: str, source: str, steps: int) -> None:
    """Add, use and roll back without end."""
    registry = Registry(Path(folder), SystemClock())
    for step in range(steps):
        path = Path(source) / f"{step % 7}.gguf"
        registry.add(path, name=f"m{step % 3}", checks=[GOOD])
        registry.use(f"m{step % 3}")
        if step % 4 == 3:
            registry.rollback()


@pytest.mark.parametrize("kills", [15, pytest.param(200, marks=pytest.mark.slow)])
def test_a_kill_at_any_moment_leaves_a_whole_registry(tmp_path: Path, kills: int) -> None:
    """Every kill leaves entries whose files are whole, and one that serves if any ever did."""
    for number in range(7):
        (tmp_path / f"{number}.gguf").write_bytes(b"GGUF" + bytes([number]) * 300_000)
    folder, rng = tmp_path / "registry", random.Random(7)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pytest", "gnomon.models.registry"])
    registry = Registry(folder, SystemClock())
    changes = 0
    for _ in range(kills):
        process = context.Process(target=_churn, args=(str(folder), str(tmp_path), 10_000))
        process.start()
        began = registry.stamp()
        deadline = time.monotonic() + 20
        while registry.stamp() == began and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.03))
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join(10)
        process.close()
        entries, serving = registry.list(), registry.serving()
        for entry in entries:
            registry.whole_path(entry)
        assert len({e.id for e in entries}) == len(entries)
        told = registry.history()
        assert [e.id for e in entries if e.state == "serving"] == ([serving.id] if serving else [])
        assert serving is None or told[-1].model == serving.id
        assert len(told) >= changes, "a change that was told is gone"
        changes = len(told)
    assert changes >= kills // 2, "the kills came too early to test anything"
    registry.add(tmp_path / "0.gguf", name="last", checks=[GOOD])
    assert not list((folder / "files").glob(".part-*"))


def test_what_is_removed_is_gone_and_can_still_be_read(
    registry: Registry, tmp_path: Path, clock: ManualClock
) -> None:
    for name in ("one", "two"):
        registry.add(weights(tmp_path, name), name="town", lineage={"run": name}, checks=[GOOD])
    one, two = registry.list()
    with pytest.raises(ConfigError, match="2 versions") as unclear:
        registry.remove("town")
    assert "town@1, town@2" in unclear.value.hint
    registry.use("town", 1)
    with pytest.raises(ConfigError, match="town@1 serves") as serving:
        registry.remove("town", 1)
    assert serving.value.code == "registry.serving"
    registry.use("town", 2)

    clock.advance(60)
    assert registry.remove("town", 1).state == "removed"
    assert registry.list() == [registry.find("town")] == [registry.serving()]
    assert not registry.path(one).exists()
    assert registry.path(two).exists()
    recalled = registry.recall("town", 1)
    assert (recalled.lineage, recalled.checks, recalled.state) == (
        {"run": "one"},
        (GOOD,),
        "removed",
    )
    assert registry.recall("town").version == 2, "what is there comes first"
    assert registry.history()[-1].what == "remove"
    assert registry.history()[-1].at == clock.now()
    for ask in (registry.find, registry.use, registry.remove):
        with pytest.raises(ConfigError, match=r"town@1 was removed"):
            ask("town", 1)
    again = registry.add(weights(tmp_path, "one"), name="town", checks=[GOOD])
    assert (again.version, again.state) == (3, "candidate"), "numbers are never used twice"
    assert registry.whole_path(again)


def test_a_rollback_passes_by_what_was_removed(registry: Registry, tmp_path: Path) -> None:
    for name in ("a", "b"):
        registry.add(weights(tmp_path, name), name=name, checks=[GOOD])
    for name in ("a", "b", "a"):
        registry.use(name)
    registry.remove("b")
    assert registry.previous() is None
    with pytest.raises(ConfigError, match="No model served before"):
        registry.rollback()
    with pytest.raises(ConfigError, match="b was removed"):
        registry.find("b")


def test_a_file_stays_while_another_entry_names_it(registry: Registry, tmp_path: Path) -> None:
    source = weights(tmp_path, "one")
    for name in ("a", "b"):
        registry.add(source, name=name, checks=[GOOD])
    registry.remove("a")
    assert registry.whole_path(registry.find("b"))
    registry.remove("b")
    assert list((registry.folder / "files").iterdir()) == []
    assert registry.list() == []
