"""Which trait does this file describe, and what is asked to bring it out?

The layout of persona_vectors (Chen et al. 2025) and assistant-axis: ``{"instruction": [{"pos",
"neg"}, ...], "questions": [...], "eval_prompt": "..."}``. The file's name is the trait's.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import pandas as pd

from persona_interp import schema
from persona_interp.errors import SchemaError, unknown
from persona_interp.readers.files import keys, read_json, shown, strings

SIDES = ("pos", "neg", "default")
SPLITS = ("train", "test")

Read = TypeVar("Read")


class Instruction(NamedTuple):
    """How is a model told to show a trait (``pos``) and to show its opposite (``neg``)?"""

    pos: str
    neg: str


@dataclass(frozen=True)
class TraitFile:
    """Which trait is this, how is it asked for, and on which questions does it show?

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
    """Which trait does this file describe?

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
    given = read_json(path)
    extra = keys(str(path), given, required=("instruction", "questions"), optional=("eval_prompt",))
    return TraitFile(
        path.stem,
        _instructions(path, given["instruction"]),
        strings(f"{path}: questions", given["questions"], least=2),
        eval_prompt(path, given),
        extra,
    )


def read_traits(folder: str | Path, names: Iterable[str] | None = None) -> dict[str, TraitFile]:
    """Which traits does this folder describe?

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
    """Where is this trait kept?

    Args:
        trait: The trait.
        path: A ``.json`` file; an existing one is replaced. Its name names the trait when it is
            read.

    Returns:
        The path.
    """
    given = {
        "instruction": [i._asdict() for i in trait.instructions],
        "questions": list(trait.questions),
    }
    return write_json(given | {"eval_prompt": trait.eval_prompt} | dict(trait.extra), path)


def trait_prompts(
    trait: TraitFile,
    *,
    side: Literal["pos", "neg", "default"],
    split: Literal["train", "test"] | None = None,
    instructions: int | Literal["all"] | None = None,
) -> pd.DataFrame:
    """What is a model asked to bring out this trait, or its opposite, or neither?

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
    if not (
        instructions in (None, "all") or (isinstance(instructions, int) and 1 <= instructions <= n)
    ):
        raise SchemaError(
            f"trait '{trait.name}' has {n} instructions; 'all', None or 1 to {n}; got "
            f"{instructions!r}."
        )
    used = instructions if isinstance(instructions, int) else n
    rows = []
    for number, question in enumerate(trait.questions):
        chosen = (
            [-1] if side == "default" else range(n) if instructions == "all" else [number % used]
        )
        for i in chosen:
            system = (
                ""
                if i < 0
                else trait.instructions[i].pos
                if side == "pos"
                else trait.instructions[i].neg
            )
            name = f"{trait.name}/{side}/{number}" + (
                f"/{i}" if instructions == "all" and i >= 0 else ""
            )
            rows.append(
                prompt_row(
                    name, question, system=system, topic=trait.name, split=SPLITS[number % 2]
                )
            )
            rows[-1] |= {"trait": trait.name, "side": side, "instruction": i, "question": question}
    table = pd.DataFrame([row for row in rows if split in (None, row["split"])])
    return schema.check(table, "prompts")


def prompt_row(
    name: str, question: str, *, system: str = "", topic: str = "", split: str = "test"
) -> dict[str, Any]:
    """How is one question written as a row of a prompts table?

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
    head = [{"role": "system", "content": system}] if system else []
    return {
        "prompt": name,
        "context": "instructed" if system else "nameless",
        "persona": "",
        "topic": topic,
        "split": split,
        "messages": [*head, {"role": "user", "content": question}],
    }


def read_each(
    folder: str | Path, names: Iterable[str] | None, *, read: Callable[[Path], Read], kind: str
) -> dict[str, Read]:
    """What do the ``.json`` files of this folder describe?

    Args:
        folder: The folder, or one file.
        names: Which files, by name without ending; None for all.
        read: Reads one.
        kind: What one describes, for messages.

    Returns:
        By name, sorted by name.

    Raises:
        SchemaError: There is none, or none of that name.
    """
    folder = Path(folder).expanduser()
    paths = {p.stem: p for p in sorted([folder] if folder.is_file() else folder.glob("*.json"))}
    if not paths:
        what = "has no .json files" if folder.is_dir() else "does not exist"
        raise SchemaError(f"{folder} {what}; expected a folder of {kind} files.")
    chosen = sorted(paths if names is None else {names} if isinstance(names, str) else set(names))
    for name in chosen:
        if name not in paths:
            raise SchemaError(f"{folder}: {unknown(kind, name, paths)}")
    return {name: read(paths[name]) for name in chosen}


def eval_prompt(path: Path, given: Mapping[str, Any]) -> str:
    """How does this file ask a judge?

    Args:
        path: The file, for messages.
        given: What it holds.

    Returns:
        The prompt; '' if there is none.

    Raises:
        SchemaError: It is no text.
    """
    found = given.get("eval_prompt", "")
    if not isinstance(found, str):
        raise SchemaError(f"{path}: eval_prompt must be a text; got {shown(found)}.")
    return found


def write_json(given: Mapping[str, Any], path: str | Path) -> Path:
    """Where is this kept?

    Args:
        given: What to write.
        path: A ``.json`` file; an existing one is replaced.

    Returns:
        The path.

    Raises:
        SchemaError: The file does not end in .json, which is how folders of them are read.
    """
    path = Path(path).expanduser()
    if path.suffix != ".json":
        raise SchemaError(f"this kind of file ends in .json; got '{path.name}'.")
    path.write_text(json.dumps(given, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def _instructions(path: Path, given: Any) -> tuple[Instruction, ...]:
    if not isinstance(given, list) or not given:
        raise SchemaError(
            f"{path}: instruction must be a list of {{pos, neg}}; got {shown(given)}."
        )
    found = []
    for number, entry in enumerate(given):
        what = f"{path}: instruction {number}"
        if isinstance(entry, Mapping) and "pos" in entry and "neg" not in entry:
            raise SchemaError(
                f"{what} has no neg: this is a role, not a trait; read it with read_role."
            )
        if rest := keys(what, entry, required=("pos", "neg")):
            raise SchemaError(
                f"{what} has {', '.join(rest)} beside pos and neg, which a trait cannot hold."
            )
        for side in Instruction._fields:
            if not isinstance(entry[side], str) or not entry[side].strip():
                raise SchemaError(f"{what}: {side} must be a text; got {shown(entry[side])}.")
        found.append(Instruction(entry["pos"], entry["neg"]))
    return tuple(found)
