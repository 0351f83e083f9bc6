"""Which chats were there before, word for word?

A prompt that is read twice says the same twice: it is no further unit of an interval.
"""

import json
import logging
from collections.abc import Iterable

import pandas as pd

from persona_interp.readers.messages import Messages

LOG = logging.getLogger("persona_interp.readers")


def is_repeat(chats: Iterable[Messages]) -> list[bool]:
    """Whether each chat repeats one before it.

    Args:
        chats: Lists of ``{role, content}``.

    Returns:
        False at the first of its words.

    >>> ask = [{"role": "user", "content": "Why?"}]
    >>> is_repeat([ask, [*ask, {"role": "assistant", "content": "So."}], ask])
    [False, False, True]
    """
    texts = pd.Series([json.dumps(chat) for chat in chats], dtype=object)
    return texts.duplicated().tolist()


def distinct(prompts: pd.DataFrame) -> pd.DataFrame:
    """Prompts without those that repeat another word for word; how many is logged.

    Args:
        prompts: A prompts table (``schema``).

    Returns:
        Its rows, each chat once.
    """
    repeat = pd.Series(is_repeat(prompts["messages"]), index=prompts.index)
    if repeat.any():
        LOG.warning(
            "%s of %s prompts repeat another word for word and are asked once",
            f"{repeat.sum():,}",
            f"{len(prompts):,}",
        )
    return prompts.loc[~repeat].reset_index(drop=True)
