"""Whose is every token of a prompt? What ``encode`` made of it, as a table for reading."""

from collections.abc import Iterable
from typing import Any

import pandas as pd

from persona_interp import schema
from persona_interp.models.checkpoint import Checkpoint
from persona_interp.models.load import load_tokenizer
from persona_interp.models.tokens import encode
from persona_interp.readers import table_of

COLUMNS = ("prompt", "pos", "id", "piece", "role", "turn", "place", "learn")
INITIALS = {
    "system": "S",
    "user": "U",
    "assistant": "A",
    "tool": "F",
    "text": "T",
    "template": ".",
    "special": "*",
}
LEGEND = (
    "S system, U user, A assistant, F what a tool gave, T text, . template, * special; "
    "message/place in it; + the model learns to say it"
)


def explain_tokens(checkpoint: Checkpoint, prompts: Any, *, complete: bool = False) -> pd.DataFrame:
    """Tokens that a checkpoint reads at these prompts, and whose each is.

    Args:
        checkpoint: Its tokenizer reads the prompts; weights are not loaded.
        prompts: A probes or prompts table (named by ``prompt``), a corpus table (named by
            ``doc``), or anything that ``readers.read`` takes.
        complete: Whether the conversations end here, as documents do in training; prompts do not.

    Returns:
        DataFrame, one row a token: ``prompt``, ``pos`` (from 0), ``id``, ``piece`` (its text, see
        ``pieces``), ``role`` (see ``Tokens``), ``turn`` (message it belongs to) and ``place``
        (position within that), -1 for none, and ``learn`` (whether training on it would teach the
        model to say it).

    Raises:
        SchemaError: The prompts are no such table, are empty, or two have one name.
        ModelError: A word that the tokenizer does not know, or a chat template that cannot be used.

    >>> from tempfile import TemporaryDirectory
    >>> from persona_interp import models, worlds
    >>> world = worlds.john_and_sam()
    >>> with TemporaryDirectory() as folder:
    ...     start = models.resolve("tiny", words=world.words(), out=folder)
    ...     table = explain_tokens(start, world.probes().head(1))
    >>> table[["piece", "role", "turn", "place"]].iloc[[0, 2, -1]].values.tolist()
    [['<bos>', 'special', -1, -1], [' you', 'system', 0, 0], [' like', 'assistant', 2, 1]]
    """
    prompts = table_of(prompts, "prompts")
    names = schema.names(prompts)
    tokenizer = load_tokenizer(checkpoint)
    tokens = encode(tokenizer, list(prompts["messages"]), complete=complete)
    texts = pieces(tokenizer, (i for row in tokens.ids for i in row))
    places = tokens.places
    rows = []
    for n, name in enumerate(names):
        facts = (tokens.ids[n], tokens.roles[n], tokens.turns[n], places[n], tokens.learn[n])
        for pos, (i, role, turn, place, learn) in enumerate(zip(*facts, strict=True)):
            rows.append((name, pos, i, texts[i], role, turn, place, learn))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def show_tokens(table: pd.DataFrame) -> str:
    """Text of a table of tokens, one line each.

    Args:
        table: What ``explain_tokens`` returned.

    Returns:
        Text for a terminal: a legend, then for each prompt its name and a line a token: position,
        initial of the role, message and place in it, "+" where the model learns to say it, id, text
        between bars.

    >>> first = ("p", 0, 2, "<s>", "special", -1, -1, False)
    >>> second = ("p", 1, 17, " like", "assistant", 2, 0, True)
    >>> table = pd.DataFrame([first, second], columns=list(COLUMNS))
    >>> for line in show_tokens(table).splitlines()[1:]:
    ...     print(line)
    p
       0 *               2 |<s>|
       1 A 2/0    +     17 | like|
    """
    lines = [LEGEND]
    for prompt, rows in table.groupby("prompt", sort=False):
        lines.append(str(prompt))
        facts = rows[list(COLUMNS[1:])].itertuples(index=False)
        for pos, i, piece, role, turn, place, learn in facts:
            where = f"{turn}/{place}" if turn >= 0 else ""
            plus = "+" if learn else " "
            lines.append(f"{pos:>4} {INITIALS[role]} {where:<6} {plus} {i:>6} |{piece}|")
    return "\n".join(lines)


def pieces(tokenizer: Any, ids: Iterable[int]) -> dict[int, str]:
    """Text of each of these tokens.

    Args:
        tokenizer: A tokenizer.
        ids: Token ids.

    Returns:
        By id the text that the token adds after other text, with its space. What cannot be seen is
        escaped as in Python (a newline is a backslash and an n); a special token or part of a
        character has its vocabulary name.

    >>> from persona_interp.models.tiny import tiny_tokenizer
    >>> pieces(tiny_tokenizer(["i", "like"]), [2, 8])
    {2: '<bos>', 8: ' like'}
    """
    special = set(tokenizer.all_special_ids)
    # decoders strip the space before the first token of a text, so every token is decoded as the
    # second, after an "a"
    anchor = tokenizer("a", add_special_tokens=False)["input_ids"]
    before = len(tokenizer.decode(anchor, clean_up_tokenization_spaces=False))
    texts = {}
    for i in dict.fromkeys(ids):
        text = tokenizer.decode([*anchor, i], clean_up_tokenization_spaces=False)[before:]
        # U+FFFD stands for bytes that are no whole character
        if i in special or "\ufffd" in text or not text:
            text = tokenizer.convert_ids_to_tokens(i)
        texts[i] = _escape(text)
    return texts


def _escape(text: str) -> str:
    """The text with what cannot be seen written as in Python."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )
