"""Ask Gnomon with the official xai-sdk (`pip install xai-sdk`), over gRPC.

Start `gnomon up --grpc-port 8421`, then: python examples/xai_sdk_chat.py "What happened today?"
"""

import json
import sys

from xai_sdk import Client
from xai_sdk.chat import user
from xai_sdk.tools import web_search, x_search


def main(question: str, host: str = "127.0.0.1:8421", key: str = "any") -> None:
    """Stream an answer with its citations, then say how well each sentence is supported."""
    client = Client(api_key=key, api_host=host, use_insecure_channel=True)
    try:
        chat = client.chat.create(
            model="gnomon",
            messages=[user(question)],
            tools=[web_search(), x_search()],
            include=["inline_citations"],
        )
        for response, chunk in chat.stream():
            print(chunk.content, end="", flush=True)
        print()
        for citation in response.inline_citations:
            print(f"[{citation.id}] {citation.web_citation.url or citation.x_citation.url}")
        own = json.loads(chunk.proto.debug_output.responses[0])
        for sentence in own["sentences"]:
            print(f"{sentence['verdict']}: {sentence['text']}")
        print(f"Newest evidence: {own['freshness']['newest_age_s'] or 0:.0f} s old")
    finally:
        client.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
