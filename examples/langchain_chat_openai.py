"""Ask Gnomon with LangChain's ChatOpenAI (`pip install langchain-openai`).

Start `gnomon up`, then: python examples/langchain_chat_openai.py "What happened today?"
"""

import sys

from langchain_openai import ChatOpenAI


def main(question: str, url: str = "http://127.0.0.1:8420/v1", key: str = "any") -> None:
    """Stream an answer, then list where its citations stand in the text and lead to."""
    model = ChatOpenAI(model="gnomon", api_key=key, base_url=url, use_responses_api=True)
    answer = None
    for chunk in model.stream(question):
        print(chunk.text, end="", flush=True)
        answer = chunk if answer is None else answer + chunk
    print()
    for block in answer.content_blocks:
        for citation in block.get("annotations", ()):
            print(f"[{citation['title']}] at {citation['start_index']}: {citation['url']}")


if __name__ == "__main__":
    main(*sys.argv[1:])
