"""Ask Gnomon with the openai package (`pip install openai`).

Start `gnomon up`, then: python examples/openai_responses.py "What happened today?"
"""

import sys

from openai import OpenAI


def main(question: str, url: str = "http://127.0.0.1:8420/v1", key: str = "any") -> None:
    """Stream an answer, then say how well each sentence is supported, and by what."""
    client = OpenAI(base_url=url, api_key=key)
    with client.responses.stream(
        model="gnomon", input=question, tools=[{"type": "web_search"}]
    ) as stream:
        for event in stream:
            if event.type == "response.output_text.delta":
                print(event.delta, end="", flush=True)
        response = stream.get_final_response()
    print()
    own = response.model_extra["gnomon"]
    for sentence in own["sentences"]:
        print(f"{sentence['verdict']}: {sentence['text']}")
    for citation in own["citations"]:
        print(f"[{citation['reference']}] {citation['url']} “{citation['quote']}”")


if __name__ == "__main__":
    main(*sys.argv[1:])
