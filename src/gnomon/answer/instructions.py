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
    r"|\b(?:in|to|of) your (?:answers?|repl(?:y|ies)|responses?|output|summary|messages?)\b"
    r"|\b(?:your|the) (?:answer|reply|response|output) (?:must|should|has to|with|in|to|by|using)\b"
    r"|\b(?:answer|reply|respond)\b.{0,20}\b(?:only|using|with|in)\b.{0,60}\b(?:letters?|emojis?|"
    r"words?|symbols?|numbers?|language|json|base64|rhymes?|code|alphanumeric)\b"
    r"|\b(?:following|subsequent|above) (?:\w+ )?code\b"
    r"|\byour (?:code|codebase|implementation|algorithm)\b|^\W*\w+ your (?:text|message|writing)\b"
    r"|\b(?:tell|inform|remind|persuade|convince) the (?:user|reader)\b"
    r"|\bas an (?:AI|assistant)\b|\[/?INST\]|<\|?(?:im_start|im_end|system)\|?>"
    # Markup that plays the end of what is quoted, and what a page may ask of tools and citations.
    r"|</?\s*(?:instructions?|system|assistant|user|passages?|evidence|prompt|tool_?\w*|"
    r"function_?\w*)\s*/?>"
    r"|(?:^\W*(?:please\s+|then\s+|now\s+)?(?:call|invoke|trigger|use|run|execute)\s+(?:the|your|a)"
    r"|\b(?:call|invoke|trigger|use|run|execute)\s+your)\s(?:[\w-]+\s){0,2}"
    r"(?:tools?|functions?|plug-?ins?)\b"
    r"|^\W*(?:please\s+)?(?:do not|don't|never)\s(?:cite|quote|mention|reveal|trust|follow)\b"
    r"|\bmark (?:it|this|them)\b.{0,20}\bas\b.{0,20}\b(?:supported|verified|trusted|checked)\b"
    r"|\b(?:attention|notice|message|note)\W+(?:to\s|for\s)?(?:all\s|any\s)?(?:AI|LLM)s?\b"
    # The commonest order in other languages.
    r"|\b(?:ignorier\w*|vergiss|vergesst|missacht\w*)\b.{0,40}\b(?:anweisung|vorgabe|befehl|regel)"
    r"|\b(?:ignore[rz]?|ignora[rd]?|olvida|oublie[rz]?)\b.{0,40}\b(?:instruc|instrucc|consignes|reglas|"
    r"instruç|regras|règles|istruzioni)"
    r"|(?:игнориру|забуд)\w*.{0,40}(?:инструкц|указани|правил)"
    r"|(?:忽略|无视|忘记).{0,20}(?:指令|指示|说明|规则)|(?:指示|命令).{0,10}(?:無視|忘れ)"
    r"|تجاهل.{0,40}(?:تعليمات|أوامر)|(?:निर्देश|आदेश).{0,40}(?:अनदेखा|नज़रअंदाज़|भूल)",
    re.IGNORECASE | re.DOTALL,
)
_LEAD_IN = (
    r"^\W*(?:please\s+|now\s+|then\s+|also\s+|kindly\s+)*"
    r"(?:(?:can|could|would|will) you (?:please )?)?"
)
_ORDER = re.compile(
    _LEAD_IN
    + r"(?:(?:answer|analy[sz]e|append|assist|break down|calculate|combine|compose|compute|"
    r"convert|craft|create|delete|describe|develop|devise|display|draft|encode|encrypt|ensure|"
    r"evaluate|execute|explain|express|fetch|find me|flip|generate|give me|highlight|identify|"
    r"ignore|implement|include|incorporate|insert|install|integrate|interchange|interleave|"
    r"introduce|invert|merge|mimic|mirror|modify|obtain|omit|output|perform|predict|print|propose|"
    r"provide|recommend|rearrange|reformat|remove|repeat|replace|reply|respond|retrieve|reverse|"
    r"rewrite|scramble|simulate|suggest|summari[sz]e|swap|switch|teach|tell|transform|translate|"
    r"transmit|transpose|utili[sz]e|write)\b(?!\s*[:;–—])"
    # These begin as many headlines as orders; an order goes on with its object.
    r"|(?:begin|change|end|list|load|make|mix|monitor|offer|open|present|produce|promote|put|read|"
    r"refer|report|run|say|search|send|set|show|spread|start|turn|type|use|visit)\s+"
    r"(?:an?|the|your|my|all|any|each|every|some|this|these|that|me|us|it|them|up|out|to|only|"
    r"\w+ (?:for|to|with|in|as|of) (?:your|the|an?|every|all|each)|[\"“'])\b)",
    re.IGNORECASE,
)
_TELLS = re.compile(
    r"\b(?:was|were|has been|have been|had|will|won|died|said|announced|took|according)\b",
    re.IGNORECASE,
)


def addresses_machine(sentence: str, *, orders: bool = True) -> bool:
    """Whether the sentence speaks to an assistant, or, with `orders`, commands whoever reads on."""
    if _ADDRESSES_MACHINE.search(sentence):
        return True
    order = _ORDER.match(sentence) if orders else None
    return order is not None and not _TELLS.search(sentence[order.end() :])


def asks(sentence: str) -> bool:
    """Whether the sentence is itself a question."""
    return sentence.rstrip("\"'”’»)] \n").endswith(("?", "？", "؟"))
