"""Ask Gnomon with LangChain's ChatXAI (`pip install langchain-xai`).

Start `gnomon up`, then: python examples/langchain_chat_xai.py "What happened today?"
"""

import sys

from langchain_xai import ChatXAI


def main(question: str, url: str = "http://127.0.0.1:8420/v1", key: str = "any") -> None:
    """Ask once with the list of what was cited, and once with the searches shown."""
    model = ChatXAI(model="gnomon", api_key=key, base_url=url)
    answer = model.invoke(question)
    print(answer.content)
    for address in answer.additional_kwargs["citations"]:
        print("cited:", address)

    searching = model.bind(tools=[{"type": "web_search"}, {"type": "x_search"}])
    for chunk in searching.stream(question):
        print(chunk.text, end="", flush=True)
    print()


if __name__ == "__main__":
    main(*sys.argv[1:])
