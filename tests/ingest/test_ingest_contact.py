"""Services that want to know whom they can write to, and Wikimedia in a real record."""

from __future__ import annotations

from typing import Any

from gnomon.record.base import Life
from gnomon.testing.wikimedia_server import WikimediaServer
from gnomon.types import SourceConfig


async def test_without_a_contact_nothing_is_asked_and_the_state_says_why(
    house: Any, eventually: Any
) -> None:
    async with house() as h:
        for name in ("wikimedia", "nws", "edgar"):
            await h.runner.add(SourceConfig(name=name, type=name))
            await eventually(lambda name=name: h.state(name).state == "failed")
            state = h.state(name)
            assert "whom it can write to" in state.text and "Set net.contact" in state.text


async def test_hidden_pages_leave_record_and_index(house: Any, eventually: Any) -> None:
    async with WikimediaServer() as server, house(allow=(server.address,)) as h:
        settings = {"url": server.url, "backfill_s": 0}
        await h.runner.add(SourceConfig(name="w", type="wikimedia", settings=settings))
        await eventually(lambda: server.requests)
        kept = server.create("Mill Bridge", comment="closed until Friday")
        secret = server.create("Somebody", comment="lives in Saltmarsh")
        gone = server.create("Advert", comment="buy herring")

        def life(page: int) -> Life:
            return h.record.get(f"wikimedia:enwiki/{page}").life

        await eventually(lambda: h.record.stats().documents == 3)
        server.hide(secret)
        server.delete(gone)
        server.move(kept, "Old Mill Bridge", reason="renamed")
        await eventually(lambda: life(secret) is Life.PURGED and life(gone) is Life.DELETED)
        await eventually(
            lambda: h.record.get(f"wikimedia:enwiki/{kept}").document.title == "Old Mill Bridge"
        )
        assert h.state("w").state == "live"
        assert not h.record.versions(f"wikimedia:enwiki/{secret}")
