"""A corpus built over a Ray cluster is the one that is built here, whatever dies meanwhile."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

pytest.importorskip("ray", reason="needs gnomon[cluster]")

from gnomon.train.corpus.build import build
from gnomon.train.corpus.manifest import file_sha256, read_manifest

BUILD = """
import sys
from pathlib import Path
from gnomon.errors import GnomonError
from gnomon.train.corpus.build import build
from gnomon.train.corpus.cluster import spread_over

if __name__ == "__main__":
    try:
        with spread_over("", workers=2) as spread:
            build(Path(sys.argv[1]), [sys.argv[2]], spread=spread, progress=print)
    except GnomonError as error:
        sys.exit(f"{type(error).__name__} {error.code}")
"""


def _prose(rng: random.Random, sentences: int) -> str:
    words = [f"{a}{b}" for a in ("river", "stone", "lamp", "field") for b in ("s", "ing", "er", "")]
    return "\n".join(
        f"The {rng.choice(words)} of {rng.choice(words)} and {rng.choice(words)} that "
        f"{rng.choice(words)} have {rng.choice(words)} with {rng.choice(words)}."
        for _ in range(sentences)
    )


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    """Eight files, each with texts that others have too, whole and nearly."""
    folder = tmp_path / "in"
    folder.mkdir()
    rng = random.Random(1)
    shared = [_prose(rng, 30) for _ in range(6)]
    for number in range(8):
        texts = [_prose(rng, 30) for _ in range(12)]
        texts += [rng.choice(shared), rng.choice(shared).replace("The river", "A river", 1)]
        rows = [{"id": f"{number}-{at}", "text": text} for at, text in enumerate(texts)]
        (folder / f"{number}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


@pytest.fixture(autouse=True)
def ray_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Where Ray keeps what it leaves when it is killed; sockets too, so its name is short."""
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        monkeypatch.setenv("TMPDIR", folder)
        yield


def snapshot(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): file_sha256(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _start(out: Path, inputs: Path) -> subprocess.Popen[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return subprocess.Popen(
        [sys.executable, "-u", "-c", BUILD, str(out), str(inputs)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=kept,
        text=True,
    )


@pytest.mark.slow
def test_begun_here_and_ended_on_ray_it_is_the_same_to_the_byte(
    inputs: Path, tmp_path: Path
) -> None:
    build(tmp_path / "here", [inputs])

    def three(step: Callable[[int], None], _: int) -> Iterator[None]:
        yield from map(step, range(3))
        raise InterruptedError

    with pytest.raises(InterruptedError):
        build(tmp_path / "ray", [inputs], spread=three)
    started = _start(tmp_path / "ray", inputs)
    out, err = started.communicate(timeout=180)
    assert started.returncode == 0, err
    assert "judged 8 of 8" in out and "written 8 of 8" in out
    assert snapshot(tmp_path / "ray") == snapshot(tmp_path / "here")
    dropped = read_manifest(tmp_path / "ray").dropped
    assert dropped["duplicate.exact"] and dropped["duplicate.near"]


@pytest.mark.slow
def test_a_killed_process_and_a_killed_build_change_nothing(inputs: Path, tmp_path: Path) -> None:
    for number in range(8, 40):  # enough to be met at work
        (inputs / f"{number}.jsonl").write_text((inputs / f"{number % 8}.jsonl").read_text() + "\n")
    build(tmp_path / "here", [inputs])
    work = tmp_path / "ray" / "work"

    killed = _start(tmp_path / "ray", inputs)
    _until(killed, lambda: len(list(work.glob("0*.json"))) >= 5)
    killed.kill()
    killed.communicate()

    started = _start(tmp_path / "ray", inputs)
    _until(started, lambda: bool(_tasks(started)))
    for process in _tasks(started):
        process.kill()
    _, err = started.communicate(timeout=180)
    assert started.returncode == 0, err
    assert snapshot(tmp_path / "ray") == snapshot(tmp_path / "here")


def _tasks(started: subprocess.Popen[str]) -> list[psutil.Process]:
    below = psutil.Process(started.pid).children(recursive=True)
    return [found for found in below if "_run" in found.name()]


REFUSE = """
import psutil
from gnomon.errors import ConfigError
from gnomon.train.corpus.cluster import spread_over

def step(number):
    if number == 1:
        raise ConfigError(f"{number} is no unit.", code="corpus.test", hint="Take another.")

if __name__ == "__main__":
    with spread_over("", workers=1) as spread:
        assert list(spread(step, 0)) == []
        here = psutil.Process()
        heard = {
            found.laddr.ip.removeprefix("::ffff:")
            for process in (here, *here.children(recursive=True))
            for found in process.net_connections(kind="inet")
            if found.status == psutil.CONN_LISTEN
        }
        print(*heard)
        try:
            list(spread(step, 3))
        except ConfigError as error:
            print(f"{error.code} {error}")
"""


def test_what_a_stage_refuses_is_told_as_it_is_here_and_ray_listens_on_loopback_only() -> None:
    done = subprocess.run(
        [sys.executable, "-c", REFUSE], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.splitlines() == [
        "127.0.0.1",
        "corpus.test 1 is no unit. Take another.",
    ], done.stderr


def _until(process: subprocess.Popen[str], what: Callable[[], bool]) -> None:
    until = time.monotonic() + 120
    while not what():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.01)
