"""Which prompts does this file hold, whatever published layout it has?"""

from collections.abc import Iterable
from typing import Any

import pandas as pd

from persona_interp.readers.door import read


def read_prompts(
    source: Any, *, layout: str | None = None, skip: int | Iterable[int] = ()
) -> pd.DataFrame:
    """Prompts that a file asks a model.

    Args:
        source: As of ``read``. ``.txt``: one question a line. Rows hold ``question``, ``prompt`` (a
            text or messages), ``instruction`` (and ``input``), ``messages`` or another chat of
            ``read_chats``; a list may also hold texts. A trait or role file: its questions, asked
            alone. ``.yaml``: the questions of an emergent-misalignment evaluation, or rows.
        layout: A name of ``layouts.PROMPTS``, where rows have several of them.
        skip: As of ``read``.

    Returns:
        A prompts table (``schema``), one row a prompt, ready for an answer: ``prompt`` is
        "<file>/<id>" ("<file>/<row from 0>" where rows have no ``id``), ``topic`` the file's name
        without ending, ``question`` the last message of the user, ``source`` and ``line``. Distinct
        questions are dealt alternately to train and test; the same question is always in the same
        half. Where a chat ends with an answer, it is cut off and kept in ``reference`` (''
        elsewhere), and so is the answer that stands beside a question.

    Raises:
        SchemaError: The file cannot be read, has no known layout, or rows cannot be used; each is
            named by its line.
    """
    return read(source, "prompts", layout=layout, skip=skip)
