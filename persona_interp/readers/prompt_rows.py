"""How is one question written as a row of a prompts table?"""

from typing import Any

SPLITS = ("train", "test")
"""Halves to which questions are dealt alternately: even ones teach, odd ones measure."""


def prompt_row(
    name: str, question: str, *, system: str = "", topic: str = "", split: str = "test"
) -> dict[str, Any]:
    """Row of a prompts table that asks one question.

    Args:
        name: Unique name of the prompt.
        question: What the user asks.
        system: The system message; '' for none.
        topic: What it is about.
        split: train or test.

    Returns:
        The columns of schema kind ``prompts``; the context is "instructed" where there is a system
        message.

    >>> prompt_row("a/0", "Why?")["context"]
    'nameless'
    """
    context, messages = "nameless", [{"role": "user", "content": question}]
    if system:
        context, messages = "instructed", [{"role": "system", "content": system}, *messages]
    return {
        "prompt": name,
        "context": context,
        "persona": "",
        "topic": topic,
        "split": split,
        "messages": messages,
    }
