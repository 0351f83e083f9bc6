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
from persona_interp.errors import SchemaError
from persona_interp.readers.files import keys, read_json, shown, strings
from persona_interp.readers.traits import SPLITS, eval_prompt, prompt_row, read_each, write_json

MODEL_NAME = "{model_name}"


@dataclass(frozen=True)
class RoleFile:
    """Which role is this, how is it asked for, and on which questions does it show?

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
    """Which role does this file describe?

    Args:
        path: A ``.json`` file as assistant-axis publishes them.

    Returns:
        The role, named as the file.

    Raises:
        SchemaError: The file cannot be read, or an entry is missing, misspelled, of a wrong type or
            there twice.
    """
    path = Path(path)
    given = read_json(path)
    extra = keys(str(path), given, required=("instruction",), optional=("questions", "eval_prompt"))
    return RoleFile(
        path.stem,
        _instructions(path, given["instruction"]),
        strings(f"{path}: questions", given.get("questions", []), least=0),
        eval_prompt(path, given),
        extra,
    )


def read_roles(folder: str | Path, names: Iterable[str] | None = None) -> dict[str, RoleFile]:
    """Which roles does this folder describe?

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
    """Where is this role kept?

    Args:
        role: The role.
        path: A ``.json`` file; an existing one is replaced. Its name names the role when it is
            read.

    Returns:
        The path.
    """
    given: dict[str, Any] = {"instruction": [{"pos": text} for text in role.instructions]}
    if role.questions:
        given["questions"] = list(role.questions)
    if role.eval_prompt:
        given["eval_prompt"] = role.eval_prompt
    return write_json(given | dict(role.extra), path)


def role_prompts(
    role: RoleFile, *, questions: Iterable[str] | None = None, model_name: str | None = None
) -> pd.DataFrame:
    """What is a model asked in this role?

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

    >>> role_prompts(RoleFile("bard", ("You are a bard.",)), questions=["Why?"])["messages"][0][0]["content"]
    'You are a bard.'
    """
    asked = role.questions if questions is None else tuple(questions)
    if not asked:
        raise SchemaError(
            f"role '{role.name}' has no questions of its own; give some: role_prompts(role, "
            "questions=)."
        )
    if model_name is None and any(MODEL_NAME in text for text in role.instructions):
        raise SchemaError(
            f"role '{role.name}' speaks of {MODEL_NAME}; say who: role_prompts(role, model_name=)."
        )
    rows = []
    for number, question in enumerate(asked):
        i = number % len(role.instructions)
        system = role.instructions[i].replace(MODEL_NAME, model_name or "")
        row = prompt_row(
            f"{role.name}/{number}",
            question,
            system=system,
            topic=role.name,
            split=SPLITS[number % 2],
        )
        rows.append(
            row | {"role": role.name, "instruction": i if system else -1, "question": question}
        )
    return schema.check(pd.DataFrame(rows), "prompts")


def _instructions(path: Path, given: Any) -> tuple[str, ...]:
    if not isinstance(given, list) or not given:
        raise SchemaError(f"{path}: instruction must be a list of {{pos}}; got {shown(given)}.")
    found = []
    for number, entry in enumerate(given):
        what = f"{path}: instruction {number}"
        if "neg" in (rest := keys(what, entry, required=("pos",))):
            raise SchemaError(
                f"{what} has a neg: this is a trait, not a role; read it with read_trait."
            )
        if rest:
            raise SchemaError(f"{what} has {', '.join(rest)} beside pos, which a role cannot hold.")
        if not isinstance(entry["pos"], str):
            raise SchemaError(f"{what}: pos must be a text; got {shown(entry['pos'])}.")
        found.append(entry["pos"])
    return tuple(found)
