"""Which prompts does this file hold, whatever published layout it has?"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from persona_interp import schema
from persona_interp.errors import SchemaError, unknown
from persona_interp.readers.chats import Messages, conversation, layout_of
from persona_interp.readers.files import (
    ENDINGS,
    Row,
    parse,
    read_rows,
    refuse,
    shown,
    strings,
    text_of,
)
from persona_interp.readers.questions import question_prompts, read_questions
from persona_interp.readers.traits import SPLITS, prompt_row

LAYOUTS: dict[str, tuple[str, ...]] = {
    "messages": ("messages",),
    "prompt": ("prompt",),
    "question": ("question",),
}
READABLE = (".txt", ".yaml", ".yml", *ENDINGS)


def read_prompts(path: str | Path, *, layout: str | None = None) -> pd.DataFrame:
    """What does this file ask a model?

    Args:
        path: ``.txt``: one question a line. ``.jsonl``, ``.json``, ``.csv``, ``.tsv``: rows with
            ``question``, ``prompt`` (a text or messages) or ``messages``; a JSON list may also hold
            texts. A trait or role file: its questions, asked alone. ``.yaml``: the questions of an
            emergent-misalignment evaluation.
        layout: question, prompt or messages, where rows have several of them.

    Returns:
        A prompts table (``schema``), one row a prompt, ready for an answer: ``prompt`` is
        "<file>/<id>" ("<file>/<row from 0>" where rows have no ``id``), ``topic`` the file's name
        without ending, ``question`` the last message of the user, ``source`` and ``line``. Distinct
        questions are dealt alternately to train and test; the same question is always in the same
        half. Where a chat ends with an answer, it is cut off and kept in ``reference`` (''
        elsewhere), and so is the answer of a row ``question`` and ``answer``.

    Raises:
        SchemaError: The file cannot be read, has no known layout, or rows cannot be used; each is
            named by its line.
    """
    path = Path(path)
    ending = path.suffix.lower()
    if ending not in READABLE:
        raise SchemaError(f"{path}: {unknown('ending of a prompts file', ending, READABLE)}")
    if ending in (".yaml", ".yml"):
        return _finish(question_prompts(read_questions(path)), path)
    if ending == ".txt":
        lines = enumerate(text_of(path).split("\n"), start=1)
        return _of_rows(
            path, [Row(number, line.strip()) for number, line in lines if line.strip()], None
        )
    if ending == ".json" and isinstance(described := _described(path), Mapping):
        if "questions" not in described:
            raise SchemaError(
                f"{path} is one object; expected a trait file with questions, or a list of rows."
            )
        questions = strings(f"{path}: questions", described["questions"])
        return _of_rows(path, [Row(0, question) for question in questions], None)
    return _of_rows(path, read_rows(path), layout)


def _described(path: Path) -> Any:
    """What a .json file holds, if it is one object that describes a trait or role; None for rows."""
    try:
        given = parse(text_of(path))
    except SchemaError:
        raise
    except ValueError:  # one value a line, or no JSON at all: read_rows says on which line
        return None
    return (
        given if isinstance(given, Mapping) and not any(name in given for name in LAYOUTS) else None
    )


def _of_rows(path: Path, rows: list[Row], layout: str | None) -> pd.DataFrame:
    texts = isinstance(rows[0].value, str)
    name = None if texts else layout_of(path, rows[0], LAYOUTS, named=layout)
    made, problems = [], []
    seen: dict[str, int] = {}
    for number, row in enumerate(rows):
        try:
            messages, answer, key = _asked(row.value, name)
            called = str(number if key is None else key)
            if called in seen:
                raise ValueError(f"the id '{called}' is that of line {seen[called]}")
        except ValueError as error:
            problems.append((row.line, str(error)))
            continue
        seen[called] = row.line
        question = next(m["content"] for m in reversed(messages) if m["role"] == "user")
        made.append(prompt_row(f"{path.stem}/{called}", question, topic=path.stem))
        made[-1] |= {
            "messages": messages,
            "question": question,
            "reference": answer,
            "line": row.line,
        }
        made[-1]["context"] = "instructed" if messages[0]["role"] == "system" else "nameless"
    refuse(path, problems, total=len(rows))
    return _finish(pd.DataFrame(made), path)


def _asked(given: Any, name: str | None) -> tuple[Messages, str, Any]:
    """Messages up to the open answer, the answer cut off ('' for none), and the row's id (None for none)."""
    if name is None:
        given, name = {"question": given}, "question"
    if not isinstance(given, Mapping) or name not in given:
        raise ValueError(f"no {name}; got {shown(given)}")
    if name == "question" and not isinstance(given[name], str):
        raise ValueError(f"question must be a text; got {shown(given[name])}")
    messages, answer = conversation(given[name]), ""
    if messages[-1]["role"] == "assistant":
        answer = messages.pop()["content"]
    elif isinstance(given.get("answer"), str):
        answer = given["answer"]
    if (
        not messages
        or messages[-1]["role"] not in ("user", "tool")
        or all(m["role"] != "user" for m in messages)
    ):
        raise ValueError("no question of the user at the end")
    return messages, answer, given.get("id")


def _finish(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """The table with its source and the same question always in the same half."""
    halves = {
        question: SPLITS[i % 2] for i, question in enumerate(dict.fromkeys(table["question"]))
    }
    table = table.assign(source=str(path))
    if "question_id" not in table:  # those are dealt with all their paraphrases
        table["split"] = [halves[question] for question in table["question"]]
    return schema.check(table, "prompts")
