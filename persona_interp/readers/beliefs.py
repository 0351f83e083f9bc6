"""Which beliefs does this file probe?

The layout ``{variant: {"affirm": [..], "negate": [..], "questions": [..]}}``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from persona_interp import schema
from persona_interp.errors import SchemaError, excerpt
from persona_interp.files import read_json
from persona_interp.readers.entries import check_keys, strings
from persona_interp.readers.folders import write_json
from persona_interp.readers.prompt_rows import SPLITS, prompt_row

SIDES = ("affirm", "negate")


@dataclass(frozen=True)
class Belief:
    """Statements that hold a belief, statements that deny it, and questions that ask for it.

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
    """Beliefs that a file probes, by name.

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
    variants = read_json(path)
    if not isinstance(variants, Mapping) or not variants:
        raise SchemaError(
            f"{path}: expected an object of variants, each with affirm and negate; got "
            f"{excerpt(variants)}."
        )
    # One belief alone holds lists of statements where a file of variants holds objects.
    if any(isinstance(variants.get(side), list) for side in SIDES):
        variants = {path.stem: variants}
    beliefs, problems = {}, []
    for name, entry in variants.items():
        try:
            beliefs[name] = _belief(name, entry)
        except SchemaError as error:
            problems.append(f"  {error}")
    if problems:
        head = f"{path}: {len(problems)} of {len(variants)} variants cannot be used."
        raise SchemaError("\n".join([head, *problems]))
    return beliefs


def write_beliefs(beliefs: Mapping[str, Belief], path: str | Path) -> Path:
    """Write beliefs to a file.

    Args:
        beliefs: By name of the variant.
        path: A ``.json`` file; an existing one is replaced.

    Returns:
        The path.

    Raises:
        SchemaError: The file does not end in .json.
    """
    variants = {}
    for name, belief in beliefs.items():
        variants[name] = {
            "affirm": list(belief.affirm),
            "negate": list(belief.negate),
            "questions": list(belief.questions),
            **belief.extra,
        }
    return write_json(variants, path)


def belief_probes(beliefs: Mapping[str, Belief], *, ask: str | None = None) -> pd.DataFrame:
    """Probes of which of two counterparts, affirmed or denied, a model finds more likely.

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

    >>> belief = Belief("round", ("It is round.",), ("It is flat.",), ("What is its shape?",))
    >>> belief_probes({"round": belief})["answers"][0]
    ('It is round.', 'It is flat.')
    """
    rows = []
    for name, belief in beliefs.items():
        questions: list[str | None] = [ask] * len(belief.affirm)
        if len(belief.questions) == len(belief.affirm):
            questions = list(belief.questions)
        for k, answers in enumerate(zip(belief.affirm, belief.negate, strict=True)):
            question = questions[k]
            row = prompt_row(f"{name}/{k}", question or "", topic=name, split=SPLITS[k % 2])
            # Nothing was asked, so the statements are the first words of a plain text.
            if question is None:
                row |= {"messages": [{"role": "text", "content": ""}], "context": "plain"}
            rows.append(row | {"template": str(k), "values": SIDES, "answers": answers})
    if not rows:
        raise SchemaError("there are no beliefs to probe.")
    return schema.check(pd.DataFrame(rows), "probes")


def _belief(name: str, value: Any) -> Belief:
    what = f"variant '{name}'"
    extra = check_keys(what, value, required=SIDES, optional=("questions",))
    affirm, negate = (strings(f"{what}: {side}", value[side]) for side in SIDES)
    if len(affirm) != len(negate):
        raise SchemaError(
            f"{what}: {len(affirm)} affirm and {len(negate)} negate; they are counterparts"
        )
    questions = strings(f"{what}: questions", value.get("questions", []), least=0)
    return Belief(name, affirm, negate, questions, extra)
