"""Sentences that speak to a machine instead of telling something.

Quoting never obeys: the words of a page cannot make Gnomon do anything. But an order to an
assistant, planted in a page, must not be served as an answer either, so such sentences are left
out where answers are chosen. They stay findable and stay in the saved copy.
"""

from __future__ import annotations

import re

_ADDRESSES_MACHINE = re.compile(
    r"\b(?:ignore|disregard|forget|override)\b.{0,40}\b(?:previous|prior|above|earlier|all|any|your|"
    r"preceding)\b.{0,40}\b(?:instruction|prompt|rule|direction|message|guideline|context)"
    r"|\b(?:system|developer) (?:prompt|message)\b"
    r"|\byou are (?:now )?(?:an? )?(?:AI|assistant|chatbot|language model|LLM|GPT|DAN)\b"
    r"|\b(?:AI|LLM) (?:assistants?|models?|agents?)\b.{0,60}\b(?:must|should|please)\b"
    r"|\bin your (?:answer|answers|reply|replies|response|responses|output|summary)\b"
    r"|\b(?:your|the) (?:answer|reply|response|output) (?:must|should|has to|with|in|to|by|using)\b"
    r"|\b(?:answer|reply|respond)\b.{0,20}\b(?:only|using|with|in)\b.{0,60}\b(?:letters?|emojis?|"
    r"words?|symbols?|numbers?|language|json|base64|rhymes?|code|alphanumeric)\b"
    r"|\b(?:tell|inform|remind|persuade|convince) the (?:user|reader)\b"
    r"|\bas an (?:AI|assistant)\b|\[/?INST\]|<\|?(?:im_start|im_end|system)\|?>",
    re.IGNORECASE | re.DOTALL,
)
_ORDER = re.compile(
    r"^\W*(?:please\s+|now\s+|then\s+|also\s+|kindly\s+)*"
    r"(?:(?:can|could|would|will) you (?:please )?)?"
    r"(?:answer|analy[sz]e|append|assist|begin|break down|calculate|change|combine|compose|compute|"
    r"convert|craft|create|delete|describe|develop|devise|display|draft|encode|encrypt|end|ensure|"
    r"evaluate|execute|explain|express|fetch|find me|flip|generate|give me|highlight|identify|"
    r"ignore|implement|include|incorporate|insert|install|integrate|interchange|interleave|"
    r"introduce|invert|list|load|make|merge|mimic|mirror|mix|modify|monitor|obtain|offer|omit|open|"
    r"output|perform|predict|present|print|produce|promote|propose|provide|put|read|recommend|"
    r"rearrange|refer|reformat|remove|repeat|replace|report|reply|respond|retrieve|reverse|rewrite|"
    r"run|say|scramble|search|send|set|show|simulate|spread|start|suggest|summari[sz]e|swap|switch|"
    r"teach|tell|transform|translate|transmit|transpose|turn|type|use|utili[sz]e|visit|write)\b"
    r"(?!\s*(?:[:;–—]|\w+(?:ed|s)\b\s+(?:on|in|at|by|for)\b))",
    re.IGNORECASE,
)
_TELLS = re.compile(
    r"\b(?:was|were|has been|have been|had|will|won|died|said|announced|took|according)\b",
    re.IGNORECASE,
)


def addresses_machine(sentence: str) -> bool:
    """Whether the sentence reads as an order, to an assistant or to whoever reads on."""
    if _ADDRESSES_MACHINE.search(sentence):
        return True
    order = _ORDER.match(sentence)
    return order is not None and not _TELLS.search(sentence[order.end() :])


def asks(sentence: str) -> bool:
    """Whether the sentence is itself a question."""
    return sentence.rstrip("\"'”’»)] \n").endswith(("?", "？", "؟"))
