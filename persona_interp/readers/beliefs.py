"""Which beliefs does this file probe? The layout ``{variant: {"affirm": [..], "negate": [..], "questions": [..]}}``."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from persona_interp import schema
from persona_interp.errors import SchemaError
from persona_interp.readers.files import keys, read_json, shown, strings
from persona_interp.readers.traits import SPLITS, prompt_row, write_json

SIDES = ("affirm", "negate")


@dataclass(frozen=True)
class Belief:
    """Which statements hold a belief, which deny it, and which questions ask for it?

    Args:
        name: Name of the variant.
        affirm: Statements of somebody who holds it.
        negate: Statements of somebody who does not; number k is the counterpart of ``affirm``
            number k.
        questions: What the user asks; may be empty.
        extra: Other entries of the variant, kept as they are.
    """

    name: str
    affirm: tuple[str, ...]
    negate: tuple[str, ...]
    questions: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)


def read_beliefs(path: str | Path) -> dict[str, Belief]:
    """Which beliefs does this file probe?

    Args:
        path: A ``.json`` file, one entry a variant; or one belief alone, which gets the name of the
            file.

    Returns:
        Beliefs by name of the variant, in the order of the file.

    Raises:
        SchemaError: The file cannot be read, is no object of variants, or variants cannot be used:
            each is named.
    """
    path = Path(path)
    given = read_json(path)
    if not isinstance(given, Mapping) or not given:
        raise SchemaError(
            f"{path}: expected an object of variants, each with affirm and negate; got "
            f"{shown(given)}."
        )
    given = (
        {path.stem: given} if any(isinstance(given.get(side), list) for side in SIDES) else given
    )
    found, problems = {}, []
    for name, entry in given.items():
        try:
            found[name] = _belief(name, entry)
        except SchemaError as error:
            problems.append(f"  {error}")
    if problems:
        raise SchemaError(
            "\n".join(
                [f"{path}: {len(problems)} of {len(given)} variants cannot be used.", *problems]
            )
        )
    return found


def write_beliefs(beliefs: Mapping[str, Belief], path: str | Path) -> Path:
    """Where are these beliefs kept?

    Args:
        beliefs: By name of the variant.
        path: A ``.json`` file; an existing one is replaced.

    Returns:
        The path.

    Raises:
        SchemaError: The file does not end in .json.
    """
    rows = {
        name: {side: list(getattr(b, side)) for side in (*SIDES, "questions")} | dict(b.extra)
        for name, b in beliefs.items()
    }
    return write_json(rows, path)


def belief_probes(beliefs: Mapping[str, Belief], *, ask: str | None = None) -> pd.DataFrame:
    """What does a model believe: which of two counterparts does it find more likely?

    ``record.behavior`` gives the probability of both statements, ``analysis.logodds`` the log odds
    of "affirm" against "negate" (bits, larger = holds the belief). The statements are the
    assistant's words after the question of the same number; where there are no questions, or
    another number of them, they follow ``ask`` or are plain text.

    Args:
        beliefs: By name of the variant.
        ask: What the user asks where a pair has no question of its own, for example "What is
            true?". None: statements are plain text, which needs a tokenizer with a BOS token.

    Returns:
        A probes table (``schema``), one row a pair: topic = the variant, values ("affirm",
        "negate").

    Raises:
        SchemaError: There are no beliefs.

    >>> probes = belief_probes({"round": Belief("round", ("It is round.",), ("It is flat.",), ("What is its shape?",))})
    >>> probes["answers"][0]
    ('It is round.', 'It is flat.')
    """
    rows = []
    for name, belief in beliefs.items():
        asked = belief.questions if len(belief.questions) == len(belief.affirm) else ()
        for k, answers in enumerate(zip(belief.affirm, belief.negate, strict=True)):
            question = asked[k] if asked else ask
            row = prompt_row(f"{name}/{k}", question or "", topic=name, split=SPLITS[k % 2])
            if question is None:
                row |= {"messages": [{"role": "text", "content": ""}], "context": "plain"}
            rows.append(row | {"template": str(k), "values": SIDES, "answers": answers})
    if not rows:
        raise SchemaError("there are no beliefs to probe.")
    return schema.check(pd.DataFrame(rows), "probes")


def _belief(name: str, given: Any) -> Belief:
    extra = keys(f"variant '{name}'", given, required=SIDES, optional=("questions",))
    affirm, negate = (strings(f"variant '{name}': {side}", given[side]) for side in SIDES)
    if len(affirm) != len(negate):
        raise SchemaError(
            f"variant '{name}': {len(affirm)} affirm and {len(negate)} negate; they are "
            "counterparts"
        )
    asked = strings(f"variant '{name}': questions", given.get("questions", []), least=0)
    return Belief(name, affirm, negate, asked, extra)
