"""What can go wrong at a border: files, command lines, foreign libraries.

    PersonaInterpError
    |-- WorldError    a persona, trait, topic, kind or world file
    |-- SchemaError   a table or data file that is not what a function needs
    |-- ModelError    a checkpoint, tokenizer, chat template or hook
    `-- StoreError    a run folder: missing, corrupt or of another configuration

Every message says what was expected, what arrived, the nearest valid choice and the fix.
"""

import difflib
import reprlib
from collections.abc import Iterable
from typing import Any

LONGEST_MESSAGE = 2_000
"""Most characters of a message, whatever names and values a file puts into it."""


class PersonaInterpError(Exception):
    """Root of the errors this package raises on purpose."""

    def __str__(self) -> str:
        text = super().__str__()
        return text if len(text) <= LONGEST_MESSAGE else f"{text[: LONGEST_MESSAGE - 1]}…"


class WorldError(PersonaInterpError, ValueError):
    """A world, persona, trait or evidence that does not make sense."""


class SchemaError(PersonaInterpError, ValueError):
    """A table, dataset or data file that is not what a function needs."""


class ModelError(PersonaInterpError, ValueError):
    """A checkpoint, tokenizer, chat template or hook that cannot be used."""


class StoreError(PersonaInterpError, RuntimeError):
    """A run folder that is missing, corrupt or belongs to another configuration."""


MISSPELT, MOST_LETTERS = 0.8, 2
"""How much alike (difflib's ratio) and at most how many letters longer or shorter a slip is."""
N_CHOICES = 8
"""Most valid choices that a message lists."""
LONGEST = 60
"""Most characters of an input that a message quotes."""
LONGEST_PATH = 200
"""Most characters of a path that a message quotes."""


def unknown(kind: str, name: str, valid: Iterable[str]) -> str:
    """Sentence that refuses an unknown name and offers the valid ones nearest to it.

    Args:
        kind: What the name names, for example ``"trait"``.
        name: What arrived.
        valid: What would have been accepted.

    Returns:
        One sentence naming the nearest choices and the first few valid ones.

    >>> unknown("topic", "sprot", ["sport", "art"])
    "topic 'sprot' is unknown; did you mean 'sport'? Valid: 'sport', 'art'."
    """
    name = _cut(str(name))
    options = [_cut(str(v)) for v in valid]
    hint = "."
    if nearest := difflib.get_close_matches(name, options, n=1):
        hint = f"; did you mean '{nearest[0]}'?"
    choices = ", ".join(f"'{v}'" for v in options[:N_CHOICES])
    if len(options) > N_CHOICES:
        choices += f" and {len(options) - N_CHOICES} more"
    return f"{kind} '{name}' is unknown{hint} Valid: {choices}."


def is_misspelt(name: str, valid: Iterable[str]) -> bool:
    """Whether a name is a valid one with a slip of the pen, and not a name of its own.

    Args:
        name: What arrived.
        valid: What would have been accepted.

    Returns:
        True where a valid name is that much alike, and of about that length.

    >>> is_misspelt("anwser", ["answer"]), is_misspelt("question_id", ["question"])
    (True, False)
    """
    lengths = range(len(name) - MOST_LETTERS, len(name) + MOST_LETTERS + 1)
    near = [other for other in valid if len(other) in lengths]
    return bool(difflib.get_close_matches(name, near, n=1, cutoff=MISSPELT))


def excerpt(value: Any) -> str:
    """Start of a value as a message shows it.

    Args:
        value: Any value.

    Returns:
        At most 60 characters.

    >>> excerpt({"pos": "x" * 100})
    "{'pos': 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…"
    """
    return _cut(_REPR.repr(value))


def quote_path(path: object) -> str:
    """Path as a message shows it: whole, or its end, which tells more than its beginning.

    Args:
        path: A path, or what was given as one.

    Returns:
        At most 200 characters.

    >>> quote_path("models/" + "x" * 300)[:3]
    "'…x"
    """
    text = str(path)
    if len(text) > LONGEST_PATH:
        text = f"…{text[1 - LONGEST_PATH :]}"
    return repr(text).replace("\\\\", "\\")


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


class _Start(reprlib.Repr):
    """Representation whose cost does not grow with the value; texts are cut at their end."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxother = 4, 2 * LONGEST
        self.maxdict = self.maxlist = self.maxtuple = LONGEST

    def repr_str(self, x: str, level: int) -> str:
        return repr(x[: LONGEST + 1])


_REPR = _Start()
