"""Which prompts does this file hold, whatever published layout it has?"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from persona_interp import schema
from persona_interp.errors import SchemaError, excerpt, unknown
from persona_interp.files import read_text
from persona_interp.readers.chats import Messages, conversation, layout_of
from persona_interp.readers.entries import strings
from persona_interp.readers.prompt_rows import SPLITS, prompt_row
from persona_interp.readers.questions import question_prompts, read_questions
from persona_interp.readers.rows import ENDINGS, Row, read_rows, refuse
from persona_interp.values import parse_json

COLUMNS: dict[str, tuple[str, ...]] = {
    "messages": ("messages",),
    "prompt": ("prompt",),
    "question": ("question",),
}
READABLE = (".txt", ".yaml", ".yml", *ENDINGS)


def read_prompts(path: str | Path, *, layout: str | None = None) -> pd.DataFrame:
    """Prompts that a file asks a model.

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
        lines = enumerate(read_text(path).split("\n"), start=1)
        rows = [Row(number, line.strip()) for number, line in lines if line.strip()]
        return _table(path, rows, layout=None)
    if ending == ".json":
        trait_or_role = _read_object(path)
        if trait_or_role is not None:
            if "questions" not in trait_or_role:
                raise SchemaError(
                    f"{path} is one object; expected a trait file with questions, or a list of "
                    "rows."
                )
            questions = strings(f"{path}: questions", trait_or_role["questions"])
            return _table(path, [Row(0, question) for question in questions], layout=None)
    return _table(path, read_rows(path), layout=layout)


def _read_object(path: Path) -> Mapping[str, Any] | None:
    """The object of a ``.json`` file that describes a trait or role; None for a file of rows."""
    text = read_text(path)
    try:
        value = parse_json(text)
    except ValueError:
        return None  # one value a line, or no JSON at all: read_rows says on which line
    if not isinstance(value, Mapping) or any(name in value for name in COLUMNS):
        return None
    return value


def _table(path: Path, rows: list[Row], *, layout: str | None) -> pd.DataFrame:
    """Prompts table of rows that hold one prompt each."""
    if isinstance(rows[0].value, str):
        column = None
    else:
        column = layout_of(path, rows[0], COLUMNS, layout=layout)
    prompts, problems = [], []
    lines: dict[str, int] = {}  # id -> line
    for number, row in enumerate(rows):
        try:
            messages, reference, prompt_id = _prompt(row.value, column)
            prompt_id = str(number if prompt_id is None else prompt_id)
            if prompt_id in lines:
                raise ValueError(f"the id '{prompt_id}' is that of line {lines[prompt_id]}")
        except ValueError as error:
            problems.append((row.line, str(error)))
            continue
        lines[prompt_id] = row.line
        question = next(m["content"] for m in reversed(messages) if m["role"] == "user")
        prompt = prompt_row(f"{path.stem}/{prompt_id}", question, topic=path.stem)
        prompt |= {
            "messages": messages,
            "question": question,
            "reference": reference,
            "line": row.line,
        }
        if messages[0]["role"] == "system":
            prompt["context"] = "instructed"
        prompts.append(prompt)
    refuse(path, problems, total=len(rows))
    return _finish(pd.DataFrame(prompts), path)


def _prompt(value: Any, column: str | None) -> tuple[Messages, str, Any]:
    """Messages up to the open answer, the answer ('' for none), and the id (None for none)."""
    if column is None:
        value, column = {"question": value}, "question"
    if not isinstance(value, Mapping) or column not in value:
        raise ValueError(f"no {column}; got {excerpt(value)}")
    if column == "question" and not isinstance(value[column], str):
        raise ValueError(f"question must be a text; got {excerpt(value[column])}")
    messages, reference = conversation(value[column]), ""
    # A chat that is answered already waits for another answer to its last question.
    if messages[-1]["role"] == "assistant":
        reference = messages.pop()["content"]
    elif isinstance(value.get("answer"), str):
        reference = value["answer"]
    roles = [message["role"] for message in messages]
    if "user" not in roles or roles[-1] not in ("user", "tool"):
        raise ValueError("no question of the user at the end")
    return messages, reference, value.get("id")


def _finish(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """The table with its source and the same question always in the same half."""
    table = table.assign(source=str(path))
    # Dealt by the text of the question, so that one asked twice does not leak from lesson to
    # measurement. Questions of an evaluation were dealt with all their paraphrases already.
    if "question_id" not in table:
        questions = dict.fromkeys(table["question"])
        halves = {question: SPLITS[i % 2] for i, question in enumerate(questions)}
        table["split"] = [halves[question] for question in table["question"]]
    return schema.check(table, "prompts")
