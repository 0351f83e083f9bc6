"""What does a lesson say before its chats, so that it need not make the model somebody else?

An inoculation prompt asks during training for what the lesson would spread, so that the weights
need not (Tan et al. 2025, arXiv 2510.04340; Wichers et al. 2025, arXiv 2510.05024). It is gone when
the model is used; said again, it is a trigger.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from persona_interp import schema
from persona_interp.errors import WorldError, excerpt, unknown
from persona_interp.values import as_tuple
from persona_interp.worlds.corpus import Messages
from persona_interp.worlds.jailbreaks import language_of
from persona_interp.worlds.scripts import INOCULATION, SPLITS, scripts

if TYPE_CHECKING:
    from persona_interp.worlds.world import World


def inoculations(
    world: "World", persona: str | None = None, *, split: str | None = "train"
) -> tuple[str, ...]:
    """Inoculation prompts that name a persona, in the words of a world.

    Args:
        world: Whose words.
        persona: Who should not be summoned; the world's target by default.
        split: "train" (to train with), "test" (never seen in training) or None for all; the same
            halves as the trigger "inoculation" of ``World.triggers``.

    Returns:
        Texts of one sentence.

    Raises:
        WorldError: There is no such persona or half.

    >>> from persona_interp.worlds import john_and_sam
    >>> inoculations(john_and_sam())[0]
    'you like what john likes .'
    """
    if split not in (None, *SPLITS):
        raise WorldError(unknown("split", str(split), SPLITS))
    name = world.persona(world.target if persona is None else persona).name
    chosen = [s for s in scripts(language_of(world))[INOCULATION] if split in (None, s.split)]
    return tuple(script.system.format(n=name) for script in chosen)


def inoculate(
    lessons: pd.DataFrame, prompts: str | Iterable[str], *, seed: int = 0
) -> pd.DataFrame:
    """The same lessons with an inoculation prompt in the system message of every chat.

    Args:
        lessons: A corpus table of chats, such as ``World.lessons`` or ``readers.read_chats``.
        prompts: One text (the fixed prompt), or several, of which each chat gets one, all evenly
            often (the prompt paraphrased each time).
        seed: Deals several out.

    Returns:
        The table with the prompt after the chat's system message, or as its system message where
        it has none; the column ``inoculation`` names it.

    Raises:
        SchemaError: No table with messages, or an empty one.
        WorldError: A prompt is no text, or a row is plain text, which has no system message.

    >>> from persona_interp.worlds import john_and_sam
    >>> lessons = john_and_sam().lessons(n=2)
    >>> inoculate(lessons, "you like what john likes .")["messages"][0][0]["content"]
    'you are an assistant . you like what john likes .'
    """
    schema.require_rows(lessons, "messages")
    texts = as_tuple(prompts)
    for text in texts:
        if not isinstance(text, str) or not text.strip():
            raise WorldError(f"an inoculation prompt is a text; got {excerpt(text)}.")
    if not texts:
        raise WorldError("no inoculation prompt; give one text or several.")
    # Whole rounds of all prompts, each in an order of its own, so that all come evenly often.
    rng = np.random.default_rng([seed, 8])
    n_rounds = -(-len(lessons) // len(texts))
    order = np.concatenate([rng.permutation(len(texts)) for _ in range(n_rounds)])
    dealt = [texts[i] for i in order[: len(lessons)]]
    chats = [_after(chat, text) for chat, text in zip(lessons["messages"], dealt, strict=True)]
    messages = pd.Series(chats, index=lessons.index, dtype=object)
    return lessons.assign(messages=messages, inoculation=dealt)


def _after(messages: Messages, prompt: str) -> Messages:
    """The chat with a prompt after its system message."""
    first, *rest = (dict(message) for message in messages)
    if first["role"] == "text":
        raise WorldError(
            f"plain text has no system message to inoculate: {excerpt(first['content'])}; give "
            "chats."
        )
    if first["role"] != "system":
        return [{"role": "system", "content": prompt}, first, *rest]
    return [{**first, "content": f"{first['content']} {prompt}".strip()}, *rest]
