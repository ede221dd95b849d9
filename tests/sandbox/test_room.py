"""What a room does for honest code."""

from __future__ import annotations

import asyncio
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.sandbox.base import Limits, RoomError
from gnomon.sandbox.room import Room, plain


async def test_names_stay_and_the_last_value_is_shown(room: Room) -> None:
    assert (await room.run("x = 20\ny = 22")).output == ""
    ran = await room.run("print('sum')\nx + y")
    assert (ran.ended, ran.output, ran.error) == ("done", "sum\n42\n", "")


async def test_an_error_is_told_with_its_lines_and_none_of_ours(room: Room) -> None:
    ran = await room.run("def half(x):\n    return 1 / x\nhalf(0)")
    assert ran.ended == "raised" and ran.error == "ZeroDivisionError: division by zero"
    assert "line 2, in half" in ran.output and "interpreter.py" not in ran.output
    broken = await room.run("def (")
    assert broken.error.startswith("SyntaxError") and "<cell 2>" in broken.output


async def test_files_go_in_and_out(room: Room) -> None:
    await room.put("in/table.csv", b"a,b\n1,2\n")
    ran = await room.run(
        "import csv\nrows = list(csv.reader(open('in/table.csv')))\n"
        "open('out.txt', 'w').write(rows[1][1])\nrows"
    )
    assert ran.output == "[['a', 'b'], ['1', '2']]\n"
    assert [(file.path, file.body_bytes) for file in ran.files] == [
        ("in/table.csv", 8),
        ("out.txt", 1),
    ]
    assert await room.get("out.txt") == b"2" and await room.get("nothing") is None
    assert (await room.run("1")).files == ()
    with pytest.raises(RoomError, match="cannot be a file's name"):
        await room.put("../x", b"")
    with pytest.raises(RoomError, match="possible"):
        await room.put("big", b"x" * (5 << 20))


async def test_numbers_are_computed_with_numpy(room: Room) -> None:
    ran = await room.run("import numpy as np\nfloat(np.arange(101).sum())")
    assert ran.output == "5050.0\n"
    assert (await room.run("import httpx2")).error.startswith("ModuleNotFoundError")


async def test_time_zones_and_databases_work(room: Room) -> None:
    ran = await room.run(
        "import sqlite3, zoneinfo, datetime\n"
        "zone = zoneinfo.ZoneInfo('Europe/Berlin')\n"
        "print(datetime.datetime(2026, 7, 1, 12, tzinfo=zone).isoformat())\n"
        "db = sqlite3.connect('t.db')\ndb.execute('create table t (x)')\ndb.commit()"
    )
    assert ran.ended == "done" and ran.output.startswith("2026-07-01T12:00:00+02:00")


async def test_odd_text_survives(room: Room) -> None:
    ran = await room.run("print('żółć 雪 \\udc80')\nraise ValueError('\\u2028')")
    assert ran.output.startswith("żółć 雪 \\udc80\n") and ran.ended == "raised"


async def test_what_runs_on_between_runs_waits(room: Room) -> None:
    await room.run(
        "import threading\ncount = 0\n"
        "def go():\n    global count\n    while True: count += 1\n"
        "threading.Thread(target=go, daemon=True).start()"
    )
    inner = psutil.Process(room._process.pid).children()[0]  # type: ignore[union-attr]
    for _ in range(200):
        if inner.status() == psutil.STATUS_STOPPED:
            break
        await asyncio.sleep(0.01)
    assert inner.status() == psutil.STATUS_STOPPED
    assert (await room.run("count > 0")).output == "True\n"


async def test_a_pause_never_overtakes_the_next_run(room: Room) -> None:
    for i in range(300):
        assert (await room.run(f"print({i})")).output == f"{i}\n"


async def test_where_a_door_cannot_be_closed_nothing_runs(tmp_path: Path) -> None:
    marked = tmp_path / "ran"
    room = Room(Limits(), {"lost": str(tmp_path / "no such folder")})
    with pytest.raises(RoomError, match="cannot be had"):
        await room.start()
    with pytest.raises(RoomError, match="closed"):
        await room.run(f"open({str(marked)!r}, 'w')")
    assert not marked.exists()


@given(st.text(max_size=40))
def test_plain_names_stay_in_the_folder(name: str) -> None:
    if plain(name):
        assert (Path("/mnt/data") / name).is_relative_to("/mnt/data")
        assert ".." not in Path(name).parts
