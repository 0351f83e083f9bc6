"""Which trait does this file describe, and what is asked to bring it out?

The layout of persona_vectors (Chen et al. 2025) and assistant-axis: ``{"instruction": [{"pos",
"neg"}, ...], "questions": [...], "eval_prompt": "..."}``. The file's name is the trait's.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pandas as pd

from persona_interp import schema
from persona_interp.errors import SchemaError, excerpt, unknown
from persona_interp.files import read_json
from persona_interp.readers.entries import check_keys, eval_prompt, strings
from persona_interp.readers.folders import read_each, write_json
from persona_interp.readers.prompt_rows import SPLITS, prompt_row

SIDES = ("pos", "neg", "default")


class Instruction(NamedTuple):
    """System instructions to show a trait (``pos``) and to show its opposite (``neg``)."""

    pos: str
    neg: str


@dataclass(frozen=True)
class TraitFile:
    """A trait, the instructions that ask for it, and the questions on which it shows.

    Args:
        name: Name of the trait, for example ``"sarcastic"``.
        instructions: Pairs of system instructions.
        questions: What the user asks.
        eval_prompt: How a judge is asked to score an answer; '' for no judge.
        extra: Other entries of the file, kept as they are.
    """

    name: str
    instructions: tuple[Instruction, ...]
    questions: tuple[str, ...]
    eval_prompt: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)


def read_trait(path: str | Path) -> TraitFile:
    """Trait that a file describes.

    Args:
        path: A ``.json`` file as persona_vectors and assistant-axis publish them.

    Returns:
        The trait, named as the file. Texts stay as they are written; unknown entries are kept in
        ``extra``.

    Raises:
        SchemaError: The file cannot be read, or an entry is missing, misspelled, empty, of a wrong
            type or there twice (a question in both halves would leak from lesson to measurement).
    """
    path = Path(path)
    entries = read_json(path)
    extra = check_keys(
        str(path), entries, required=("instruction", "questions"), optional=("eval_prompt",)
    )
    return TraitFile(
        path.stem,
        _instructions(path, entries["instruction"]),
        strings(f"{path}: questions", entries["questions"], least=2),
        eval_prompt(path, entries),
        extra,
    )


def read_traits(folder: str | Path, names: Iterable[str] | None = None) -> dict[str, TraitFile]:
    """Traits that a folder describes, by name.

    Args:
        folder: A folder of trait files, or one trait file.
        names: Which to read, by name; None for all.

    Returns:
        Traits by name, sorted by name.

    Raises:
        SchemaError: There is no such folder, trait or file, or a file is not a trait's.
    """
    return read_each(folder, names, read=read_trait, kind="trait")


def write_trait(trait: TraitFile, path: str | Path) -> Path:
    """Write a trait to a file.

    Args:
        trait: The trait.
        path: A ``.json`` file; an existing one is replaced. Its name names the trait when it is
            read.

    Returns:
        The path.
    """
    entries = {
        "instruction": [instruction._asdict() for instruction in trait.instructions],
        "questions": list(trait.questions),
        "eval_prompt": trait.eval_prompt,
    }
    return write_json(entries | dict(trait.extra), path)


def trait_prompts(
    trait: TraitFile,
    *,
    side: Literal["pos", "neg", "default"],
    split: Literal["train", "test"] | None = None,
    instructions: int | Literal["all"] | None = None,
) -> pd.DataFrame:
    """Prompts that bring out a trait, or its opposite, or neither.

    Question number q gets instruction q modulo the number of instructions, so that no question is
    asked twice. The questions are dealt alternately to two halves, whatever else is chosen: even
    ones teach ("train"), odd ones measure.

    Args:
        trait: The trait.
        side: "pos" or "neg" puts that instruction into the system message; "default" asks the
            question alone.
        split: Which half of the questions; None for both.
        instructions: Use the first so many; None for all in turn; "all" asks every question under
            every one of them.

    Returns:
        A prompts table (``schema``), one row a question ("all": a question and instruction):
        context "instructed" or "nameless", ``topic`` and ``trait`` the trait's name, ``side``,
        ``instruction`` its number (-1 for none), ``question`` the text, ``messages`` [system, user]
        or [user].

    Raises:
        SchemaError: An unknown side or half, more instructions than there are, or no question in
            that half.

    >>> dry = TraitFile("dry", (Instruction("Be dry.", "Be warm."),), ("Why?", "How?"))
    >>> trait_prompts(dry, side="pos", split="test")["messages"][0]
    [{'role': 'system', 'content': 'Be dry.'}, {'role': 'user', 'content': 'How?'}]
    """
    if side not in SIDES:
        raise SchemaError(unknown("side", side, SIDES))
    if split is not None and split not in SPLITS:
        raise SchemaError(unknown("split", split, SPLITS))
    n = len(trait.instructions)
    is_number = isinstance(instructions, int) and 1 <= instructions <= n
    if not is_number and instructions not in (None, "all"):
        raise SchemaError(
            f"trait '{trait.name}' has {n} instructions; 'all', None or 1 to {n}; got "
            f"{instructions!r}."
        )
    n_in_turn = instructions if isinstance(instructions, int) else n
    rows = []
    for number, question in enumerate(trait.questions):
        # Dealt by its number in the file, so that a question that teaches never measures, whatever
        # else is chosen.
        half = SPLITS[number % 2]
        if split not in (None, half):
            continue
        if side == "default":
            systems = {-1: ""}
        elif instructions == "all":
            systems = {i: getattr(pair, side) for i, pair in enumerate(trait.instructions)}
        else:
            i = number % n_in_turn
            systems = {i: getattr(trait.instructions[i], side)}
        for i, system in systems.items():
            name = f"{trait.name}/{side}/{number}"
            if instructions == "all" and side != "default":
                name += f"/{i}"
            row = prompt_row(name, question, system=system, topic=trait.name, split=half)
            row |= {"trait": trait.name, "side": side, "instruction": i, "question": question}
            rows.append(row)
    return schema.check(pd.DataFrame(rows), "prompts")


def _instructions(path: Path, value: Any) -> tuple[Instruction, ...]:
    if not isinstance(value, list) or not value:
        raise SchemaError(
            f"{path}: instruction must be a list of {{pos, neg}}; got {excerpt(value)}."
        )
    instructions = []
    for number, entry in enumerate(value):
        what = f"{path}: instruction {number}"
        if isinstance(entry, Mapping) and "pos" in entry and "neg" not in entry:
            raise SchemaError(
                f"{what} has no neg: this is a role, not a trait; read it with read_role."
            )
        if extra := check_keys(what, entry, required=("pos", "neg")):
            raise SchemaError(
                f"{what} has {', '.join(extra)} beside pos and neg, which a trait cannot hold."
            )
        for side in Instruction._fields:
            if not isinstance(entry[side], str) or not entry[side].strip():
                raise SchemaError(f"{what}: {side} must be a text; got {excerpt(entry[side])}.")
        instructions.append(Instruction(entry["pos"], entry["neg"]))
    return tuple(instructions)
