"""Files through the real house: uploaded, searched, quoted in answers, and gone when deleted."""

from __future__ import annotations

import io
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from openai import AsyncOpenAI, BadRequestError, NotFoundError, UnprocessableEntityError

from gnomon.app import opened
from gnomon.settings import Demo, Models, Settings

NOTES = (
    "Minutes of the harbour board\n\n"
    "The dredging of the eastern basin costs 4.2 million crowns. "
    "It begins on 3 May and takes eleven weeks.\n\n"
    "The crane at pier six will be replaced by a hired one."
)
OTHER = "The library board met. The dredging of the western basin costs 900 crowns."


class _Served:
    def __init__(self, services: Any) -> None:
        self.services = services


@pytest_asyncio.fixture
async def client(tmp_path: Path, served: Any) -> AsyncIterator[AsyncOpenAI]:
    """OpenAI's client of a real house without models."""
    models = Models(dir=tmp_path / "none")
    settings = Settings(home=tmp_path / "home", demo=Demo(mode="off"), models=models)
    async with (
        opened(settings, follow=False) as house,
        served(_Served(house.services(on_damage=pytest.fail))) as url,
        AsyncOpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0) as made,
    ):
        yield made


async def upload(client: AsyncOpenAI, name: str, body: str | bytes) -> str:
    raw = body.encode() if isinstance(body, str) else body
    return (await client.files.create(file=(name, raw), purpose="assistants")).id


async def test_a_file_is_kept_found_and_forgotten(client: AsyncOpenAI) -> None:
    made = await client.files.create(file=("minutes.md", NOTES.encode()), purpose="assistants")
    assert (made.object, made.filename, made.bytes) == ("file", "minutes.md", len(NOTES))
    assert made.status == "processed"
    listed = await client.files.list()
    assert [file.id for file in listed.data] == [made.id]
    assert (await client.files.content(made.id)).text == NOTES
    found = await client.responses.create(model="gnomon", input="What does the dredging cost?")
    assert "4.2 million" in found.output_text
    deleted = await client.files.delete(made.id)
    assert deleted.deleted
    with pytest.raises(NotFoundError):
        await client.files.retrieve(made.id)
    gone = await client.responses.create(model="gnomon", input="What does the dredging cost?")
    assert "4.2 million" not in gone.output_text


async def test_file_search_reads_only_the_store_that_is_named(client: AsyncOpenAI) -> None:
    one, two = await upload(client, "east.txt", NOTES), await upload(client, "west.txt", OTHER)
    east = await client.vector_stores.create(name="East", file_ids=[one])
    west = await client.vector_stores.create(name="West")
    await client.vector_stores.files.create(west.id, file_id=two)
    answers = {}
    for store in (east, west):
        answers[store.name] = await client.responses.create(
            model="gnomon",
            input="What does the dredging of the basin cost?",
            tools=[{"type": "file_search", "vector_store_ids": [store.id]}],
            include=["file_search_call.results"],
        )
    assert "4.2 million" in answers["East"].output_text
    assert "900 crowns" in answers["West"].output_text
    assert "4.2 million" not in answers["West"].output_text
    call = answers["West"].output[0]
    assert call.type == "file_search_call" and call.status == "completed"
    assert {result.file_id for result in call.results} == {two}
    found = await client.vector_stores.search(east.id, query="crane")
    assert [result.filename for result in found.data] == ["east.txt"]
    await client.vector_stores.files.delete(file_id=two, vector_store_id=west.id)
    assert (await client.vector_stores.retrieve(west.id)).file_counts.total == 0
    assert (await client.files.retrieve(two)).id == two
    empty = await client.responses.create(
        model="gnomon",
        input="What does the dredging cost?",
        tools=[{"type": "file_search", "vector_store_ids": [west.id]}],
    )
    assert "crowns" not in empty.output_text
    with pytest.raises(NotFoundError):
        await client.responses.create(
            model="gnomon",
            input="Crane?",
            tools=[{"type": "file_search", "vector_store_ids": ["vs_none"]}],
        )


async def test_an_office_document_and_a_pdf_are_read(client: AsyncOpenAI) -> None:
    docx = pytest.importorskip("docx")
    made = docx.Document()
    made.add_paragraph("The regatta is moved to 14 June.")
    table = made.add_table(rows=1, cols=2)
    table.rows[0].cells[0].text, table.rows[0].cells[1].text = "Prize", "300 crowns"
    buffer = io.BytesIO()
    made.save(buffer)
    id = await upload(client, "regatta.docx", buffer.getvalue())
    text = (await client.files.with_raw_response.content(id, extra_query={"format": "text"})).text
    assert "moved to 14 June" in text and "Prize | 300 crowns" in text
    asked = await client.responses.create(model="gnomon", input="When is the regatta?")
    assert "14 June" in asked.output_text


async def test_what_cannot_be_read_is_said_and_not_kept(client: AsyncOpenAI) -> None:
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", b"\0" * 310 * 2**20)
    for name, body, said in (
        ("a.exe", b"MZ\x00\x01", ".exe is no kind"),
        ("a.txt", b"\x00\x01\x02\x03", "binary"),
        ("a.pdf", b"%PDF-1.7 nothing", "damaged"),
        ("a.docx", b"no zip at all", "damaged"),
        ("bomb.docx", bomb.getvalue(), "unpacks to"),
        ("empty.txt", b"  \n", "no text"),
    ):
        with pytest.raises(UnprocessableEntityError, match=said):
            await upload(client, name, body)
    assert (await client.files.list()).data == []
    with pytest.raises(BadRequestError, match="expires_after"):
        await client.files.create(
            file=("a.txt", b"words"), purpose="assistants", extra_body={"expires_after": "5"}
        )


async def test_an_upload_may_be_larger_than_a_question_but_not_endless(house: Any) -> None:
    house = house.configure(max_file_bytes=2_000_000)
    async with house.client() as http:
        big = await http.post("/v1/ask", content=b"x" * 1_500_000)
        assert big.status_code == 413
        upload = await http.post("/v1/files", content=b"x" * 1_500_000)
        assert upload.status_code != 413
        endless = await http.post("/v1/files", content=b"x" * 2_500_000)
        assert endless.status_code == 413 and "max_file_bytes" in endless.text
