"""Token shards, and the order of samples as a pure function."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon.errors import ConfigError, StoreError
from gnomon.train.data import Windows, permute
from gnomon.train.shards import INDEX, TokenShards, write_shards


def _shards(folder: Path, documents: list[list[int]], **described: int) -> TokenShards:
    write_shards(folder, documents, **({"vocab_size": 300, "end_id": 0} | described))
    return TokenShards(folder)


@given(st.integers(1, 2_000), st.integers(0, 2**31))
def test_an_order_is_a_permutation(count: int, key: int) -> None:
    order = permute(np.arange(count), count, key)
    assert sorted(order.tolist()) == list(range(count))


def test_orders_differ_by_key() -> None:
    first, second = (permute(np.arange(1_000), 1_000, key) for key in (1, 2))
    assert (first == second).mean() < 0.02
    assert (first == np.arange(1_000)).mean() < 0.02


@given(
    documents=st.lists(st.lists(st.integers(1, 299), max_size=40), min_size=1, max_size=30),
    shard_tokens=st.integers(1, 60),
)
@settings(deadline=None)
def test_what_was_written_is_read_over_the_ends_of_shards(
    tmp_path_factory: pytest.TempPathFactory, documents: list[list[int]], shard_tokens: int
) -> None:
    folder = tmp_path_factory.mktemp("tokens")
    shards = _shards(folder, documents, shard_tokens=shard_tokens)
    told = [token for document in documents for token in [*document, 0]]
    assert shards.tokens == shards.index.tokens == len(told)
    assert shards.read(0, len(told)).tolist() == told
    middle = len(told) // 3
    assert shards.read(middle, len(told) - middle).tolist() == told[middle:]
    shards.verify()


def test_wide_vocabularies_take_four_bytes(tmp_path: Path) -> None:
    shards = _shards(tmp_path, [[70_000, 5]], vocab_size=100_000)
    assert shards.index.dtype == "uint32"
    assert shards.read(0, 3).tolist() == [70_000, 5, 0]


def test_a_token_beyond_the_vocabulary_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="token 300"):
        _shards(tmp_path, [[300]])


def test_damage_is_told(tmp_path: Path) -> None:
    shards = _shards(tmp_path, [list(range(1, 50))])
    body = tmp_path / shards.index.shards[0].file
    changed = bytearray(body.read_bytes())
    changed[3] ^= 1
    body.write_bytes(changed)
    with pytest.raises(StoreError, match="changed after"):
        TokenShards(tmp_path).verify()
    body.write_bytes(changed[:-2])
    with pytest.raises(StoreError, match="size"):
        TokenShards(tmp_path)


def test_a_folder_without_an_index_is_not_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"index\.json is missing"):
        TokenShards(tmp_path)
    _shards(tmp_path, [[1]])
    index = json.loads((tmp_path / INDEX).read_bytes())
    (tmp_path / INDEX).write_text(json.dumps(index | {"version": 9}))
    with pytest.raises(ConfigError, match="gnomon-tokens 9"):
        TokenShards(tmp_path)


def test_every_world_size_reads_the_same_batches(tmp_path: Path) -> None:
    shards = _shards(tmp_path, [[n % 299 + 1 for n in range(1_000)]])
    windows = Windows(shards, length=16, batch=8, seed=3)
    for step in range(20):
        whole = windows.batch(step)
        assert whole.shape == (8, 17)
        for world in (2, 4, 8):
            parts = [windows.batch(step, rank, world) for rank in range(world)]
            assert (np.concatenate(parts) == whole).all()


def test_an_epoch_reads_each_window_once(tmp_path: Path) -> None:
    shards = _shards(tmp_path, [[n % 299 + 1 for n in range(1_000)]])
    windows = Windows(shards, length=10, batch=4, seed=3)
    assert windows.count == 100
    seen = np.concatenate([windows.numbers(step) for step in range(50)])
    assert sorted(seen[:100].tolist()) == sorted(seen[100:].tolist()) == list(range(100))
    assert seen[:100].tolist() != seen[100:].tolist()


def test_too_little_text_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="fewer than one sample"):
        Windows(_shards(tmp_path, [[1, 2]]), length=16, batch=1, seed=0)
