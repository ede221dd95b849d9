"""The real thing: two models of our own writer, a real server, commands beside it, and no loss."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest

pytestmark = pytest.mark.slow
torch = pytest.importorskip("torch", reason="needs gnomon[train]")
pytest.importorskip("gguf", reason="needs gnomon[train]")
pytest.importorskip("xllamacpp", reason="needs gnomon[llm]")

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers  # noqa: E402

from gnomon.clock import SystemClock  # noqa: E402
from gnomon.models.registry import Check, Registry  # noqa: E402
from gnomon.train.gguf import SPLIT, to_gguf  # noqa: E402
from gnomon.train.models.shape import Shape  # noqa: E402
from gnomon.train.models.transformer import Transformer  # noqa: E402

GNOMON = Path(sys.executable).with_name("gnomon")
GOOD = Check(name="bits_per_byte", value=1.9, threshold=2.5, passed=True)
PER_S, LASTS_S = 20, 12


def write_models(folder: Path) -> None:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<|end|>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(["the bridge is closed, the river rose"] * 9, trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    shape = Shape(
        layout="llama", vocab=300, width=64, layers=2, heads=2, kv_heads=1, head_dim=32, ffn=96,
        context=256,
    )  # fmt: skip
    for seed, name in enumerate(("blue", "green")):
        torch.manual_seed(seed)
        model = Transformer(shape)
        for weight in model.parameters():
            torch.nn.init.normal_(weight, std=0.2)
        to_gguf(
            model,
            folder / f"{name}.gguf",
            tokenizer=folder / "tokenizer.json",
            end_id=0,
            kind="f32",
            name=name,
        )


def environment() -> dict[str, str]:
    kept = "GNOMON_MODELS__DIR"
    return {k: v for k, v in os.environ.items() if not k.startswith("GNOMON_") or k == kept}


def command(home: Path, *arguments: str) -> list[str]:
    given = ["--set", "log.level=error", "--set", "demo.mode=off", "--set", "models.generator=off"]
    return [str(GNOMON), "--home", str(home), *given, *arguments]


async def gnomon(home: Path, *arguments: str) -> tuple[str, float]:
    """Run a command; what it printed, and how long it took."""
    began = time.monotonic()
    done = await asyncio.to_thread(
        subprocess.run,
        command(home, *arguments),
        env=environment(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout, time.monotonic() - began


def start(home: Path) -> tuple[subprocess.Popen[str], str]:
    server = subprocess.Popen(
        command(home, "up", "--port", "0"),
        env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert server.stdout is not None
    return server, server.stdout.readline().split()[-1]


def end(server: subprocess.Popen[str]) -> None:
    server.terminate()
    _, errors = server.communicate(timeout=30)
    assert "Traceback" not in errors, errors


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home in which blue serves."""
    write_models(tmp_path)
    home = tmp_path / "home"
    registry = Registry(home / "registry", SystemClock())
    registry.add(tmp_path / "blue.gguf", name="blue", lineage={"run": "r1"}, checks=[GOOD])
    registry.use("blue")
    return home


@pytest.fixture
def up(home: Path) -> Iterator[tuple[Path, str]]:
    server, url = start(home)
    yield home.parent, url
    end(server)


async def asked(client: httpx2.AsyncClient, model: str = "gnomon-own") -> str:
    messages = [{"role": "user", "content": "the bridge"}]
    body = {"model": model, "messages": messages, "max_tokens": 4}
    response = await client.post("/v1/chat/completions", json=body)
    assert response.status_code == 200, response.text
    return str(response.json()["gnomon"]["model"])


async def test_a_server_killed_in_the_middle_of_a_swap_serves_one_of_both(home: Path) -> None:
    registry = Registry(home / "registry", SystemClock())
    registry.add(home.parent / "green.gguf", name="green", checks=[GOOD])
    rng = random.Random(1)
    for _ in range(4):
        before = registry.serving()
        assert before is not None
        wanted = "green" if before.name == "blue" else "blue"
        server, url = start(home)
        async with httpx2.AsyncClient(base_url=url, trust_env=False, timeout=60) as client:
            assert await asked(client) == before.id
            swap = asyncio.create_task(client.post(f"/v1/registry/{wanted}/use"))
            await asyncio.sleep(rng.uniform(0, 0.15))
            server.kill()
            server.communicate(timeout=30)
            with suppress(httpx2.TransportError):
                await swap
        after = registry.serving()
        assert after is not None and after.name in ("blue", "green")
        registry.whole_path(after)
    server, url = start(home)
    async with httpx2.AsyncClient(base_url=url, trust_env=False, timeout=60) as client:
        serving = registry.serving()
        assert serving is not None and await asked(client) == serving.id
    end(server)


async def test_real_models_are_swapped_under_load(up: tuple[Path, str]) -> None:
    folder, url = up
    home = folder / "home"
    checks = folder / "checks.json"
    checks.write_text(json.dumps([{"name": "loss", "value": 1, "threshold": 2, "passed": True}]))
    failed: list[str] = []
    said: dict[str, set[str]] = {}
    took: list[float] = []

    async with httpx2.AsyncClient(base_url=url, trust_env=False, timeout=60) as client:

        async def one(number: int) -> None:
            body = {
                "model": "gnomon-own",
                "messages": [{"role": "user", "content": "the bridge"}],
                "max_tokens": 4,
            }
            began = time.monotonic()
            response = await client.post("/v1/chat/completions", json=body)
            took.append(time.monotonic() - began)
            if response.status_code != 200:
                failed.append(response.text)
                return
            found = response.json()
            text = found["choices"][0]["message"]["content"]
            said.setdefault(found["gnomon"]["model"], set()).add(text)

        async def load() -> None:
            asked, began = [], time.monotonic()
            for number in range(PER_S * LASTS_S):
                await asyncio.sleep(max(0.0, began + number / PER_S - time.monotonic()))
                asked.append(asyncio.create_task(one(number)))
            await asyncio.gather(*asked)

        await one(0)
        loading = asyncio.create_task(load())
        rollbacks = []
        green = str(folder / "green.gguf")
        await gnomon(home, "models", "add", green, "--name", "green", "--checks", str(checks))
        while not loading.done():
            printed, _ = await gnomon(home, "models", "use", "green")
            assert printed == "green@1 serves.\n"
            printed, seconds = await gnomon(home, "models", "rollback")
            assert printed == "blue@1 serves again.\n"
            rollbacks.append(seconds)
        await loading
        listed = (await client.get("/v1/models/gnomon-own")).json()
    assert failed == []
    assert len(took) == PER_S * LASTS_S + 1
    assert said.keys() == {"blue@1", "green@1"}
    # The engine answers greedily, so each model says one thing and no other model's.
    assert [len(texts) for texts in said.values()] == [1, 1]
    assert said["blue@1"] != said["green@1"]
    assert rollbacks and max(rollbacks) <= 10
    assert listed["gnomon"]["lineage"] == {"run": "r1"}
    took.sort()
    print(
        f"\n{len(took)} requests, median {took[len(took) // 2]:.3f} s, longest {took[-1]:.3f} s; "
        f"{len(rollbacks)} rollbacks, longest {max(rollbacks):.2f} s"
    )
