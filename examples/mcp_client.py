"""Use Gnomon's MCP server from a program of your own (`pip install mcp`).

Start `gnomon up`, then: python examples/mcp_client.py "What happened today?"
"""

import asyncio
import sys

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client


async def main(question: str, url: str = "http://127.0.0.1:8420/mcp", key: str = "any") -> None:
    """Ask, show each sentence with its verdict and quotes, and open the first document cited."""
    headers = {"authorization": f"Bearer {key}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=None) as http,
        Client(streamable_http_client(url, http_client=http)) as client,
    ):
        result = await client.call_tool("ask", {"question": question})
        if result.is_error:
            sys.exit(result.content[0].text)
        answer = result.structured_content
        for sentence in answer["sentences"]:
            numbers = "".join(f"[{n}]" for n in sentence["citations"])
            print(f"{sentence['verdict']}: {sentence['text']} {numbers}")
        for citation in answer["citations"]:
            print(f"[{citation['number']}] “{citation['quote']}” {citation['saved_url']}")
        if answer["abstained"]:
            print("The evidence does not contain an answer.")
        if answer["citations"]:
            read = await client.read_resource(answer["citations"][0]["uri"])
            print(read.contents[0].text)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
