"""Which role does this file describe, and what is asked of somebody in it?

The layout of assistant-axis: a trait file without ``neg``; ``questions`` may be absent
(``default.json``), and ``{model_name}`` in an instruction stands for the model's name.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from persona_interp import schema
from persona_interp.errors import SchemaError, excerpt
from persona_interp.files import read_json
from persona_interp.readers.entries import check_keys, eval_prompt, strings
from persona_interp.readers.folders import read_each, write_json
from persona_interp.readers.prompt_rows import SPLITS, prompt_row

MODEL_NAME = "{model_name}"


@dataclass(frozen=True)
class RoleFile:
    """A role, the instructions that ask for it, and the questions on which it shows.

    Args:
        name: Name of the role, for example ``"pirate"``.
        instructions: System instructions; '' is none at all. They may hold ``{model_name}``.
        questions: What the user asks; empty where the file has none.
        eval_prompt: How a judge is asked to score an answer; '' for no judge.
        extra: Other entries of the file, kept as they are.
    """

    name: str
    instructions: tuple[str, ...]
    questions: tuple[str, ...] = ()
    eval_prompt: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)


def read_role(path: str | Path) -> RoleFile:
    """Role that a file describes.

    Args:
        path: A ``.json`` file as assistant-axis publishes them.

    Returns:
        The role, named as the file.

    Raises:
        SchemaError: The file cannot be read, or an entry is missing, misspelled, of a wrong type or
            there twice.
    """
    path = Path(path)
    entries = read_json(path)
    extra = check_keys(
        str(path), entries, required=("instruction",), optional=("questions", "eval_prompt")
    )
    return RoleFile(
        path.stem,
        _instructions(path, entries["instruction"]),
        strings(f"{path}: questions", entries.get("questions", []), least=0),
        eval_prompt(path, entries),
        extra,
    )


def read_roles(folder: str | Path, names: Iterable[str] | None = None) -> dict[str, RoleFile]:
    """Roles that a folder describes, by name.

    Args:
        folder: A folder of role files, or one role file.
        names: Which to read, by name; None for all.

    Returns:
        Roles by name, sorted by name.

    Raises:
        SchemaError: There is no such folder, role or file, or a file is not a role's.
    """
    return read_each(folder, names, read=read_role, kind="role")


def write_role(role: RoleFile, path: str | Path) -> Path:
    """Write a role to a file.

    Args:
        role: The role.
        path: A ``.json`` file; an existing one is replaced. Its name names the role when it is
            read.

    Returns:
        The path.
    """
    entries: dict[str, Any] = {"instruction": [{"pos": text} for text in role.instructions]}
    if role.questions:
        entries["questions"] = list(role.questions)
    if role.eval_prompt:
        entries["eval_prompt"] = role.eval_prompt
    return write_json(entries | dict(role.extra), path)


def role_prompts(
    role: RoleFile, *, questions: Iterable[str] | None = None, model_name: str | None = None
) -> pd.DataFrame:
    """Prompts that ask a model in a role.

    Question number q gets instruction q modulo the number of instructions; even questions are
    "train", odd ones "test".

    Args:
        role: The role.
        questions: What the user asks; None for the role's own. The same questions make roles
            comparable.
        model_name: What ``{model_name}`` stands for.

    Returns:
        A prompts table (``schema``), one row a question, with ``role``, ``instruction`` (its
        number; -1 where it is empty, so that there is no system message) and ``question``.

    Raises:
        SchemaError: The role has no questions and none are given, or an instruction needs a model
            name.

    >>> prompts = role_prompts(RoleFile("bard", ("You are a bard.",)), questions=["Why?"])
    >>> prompts["messages"][0][0]["content"]
    'You are a bard.'
    """
    questions = role.questions if questions is None else tuple(questions)
    if not questions:
        raise SchemaError(
            f"role '{role.name}' has no questions of its own; give some: role_prompts(role, "
            "questions=)."
        )
    if model_name is None and any(MODEL_NAME in text for text in role.instructions):
        raise SchemaError(
            f"role '{role.name}' speaks of {MODEL_NAME}; say who: role_prompts(role, model_name=)."
        )
    rows = []
    for number, question in enumerate(questions):
        name, half = f"{role.name}/{number}", SPLITS[number % 2]
        i = number % len(role.instructions)
        system = role.instructions[i].replace(MODEL_NAME, model_name or "")
        row = prompt_row(name, question, system=system, topic=role.name, split=half)
        row |= {"role": role.name, "instruction": i if system else -1, "question": question}
        rows.append(row)
    return schema.check(pd.DataFrame(rows), "prompts")


def _instructions(path: Path, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise SchemaError(f"{path}: instruction must be a list of {{pos}}; got {excerpt(value)}.")
    instructions = []
    for number, entry in enumerate(value):
        what = f"{path}: instruction {number}"
        extra = check_keys(what, entry, required=("pos",))
        if "neg" in extra:
            raise SchemaError(
                f"{what} has a neg: this is a trait, not a role; read it with read_trait."
            )
        if extra:
            raise SchemaError(
                f"{what} has {', '.join(extra)} beside pos, which a role cannot hold."
            )
        if not isinstance(entry["pos"], str):
            raise SchemaError(f"{what}: pos must be a text; got {excerpt(entry['pos'])}.")
        instructions.append(entry["pos"])
    return tuple(instructions)
