"""Which chats, prompts or documents does a source hold? All of them come through this one door.

Whatever the source, a table of the schema comes out, and one line says what it was taken for: in
``attrs["taken_for"]``, and to the logger ``persona_interp.readers``, which the command line shows.
"""

import logging
import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args

import pandas as pd

from persona_interp import schema
from persona_interp.errors import SchemaError, excerpt, unknown
from persona_interp.readers.calls import CALL, END, calls_a_tool
from persona_interp.readers.entries import strings
from persona_interp.readers.layouts import (
    ANSWERS,
    CHATS,
    DOCUMENTS,
    NAMES,
    PROMPTS,
    TEXT,
    WEAK_ANSWERS,
    WHOLE,
    Layout,
    append_answer,
    chat_of,
    columns_read,
    layout_of,
)
from persona_interp.readers.messages import (
    Messages,
    conversation,
    is_empty,
    is_printed_list,
    unread_keys,
)
from persona_interp.readers.prompt_rows import SPLITS, prompt_row
from persona_interp.readers.questions import is_question, question_prompts, questions_of
from persona_interp.readers.ready import complete
from persona_interp.readers.repeats import is_repeat
from persona_interp.readers.rows import Row, Source, count, leave_out, refuse, row_numbers
from persona_interp.readers.sources import rows_of

Kind = Literal["chats", "prompts", "documents"]
LAYOUTS = {"chats": CHATS, "prompts": PROMPTS, "documents": DOCUMENTS}
LOG = logging.getLogger("persona_interp.readers")
PRINTED = ("CSV", "TSV", "a table in .txt", "a DataFrame")
"""Forms whose cells may be the print of something that is no text."""
PLAIN_CHAT = re.compile(r"\s*Human: (?=(?s:.*)\n\s*Assistant:)")
"""How a chat begins that is written out as HH-RLHF does it."""
COLUMNS = (*NAMES, "id")
HINT = "Mend them, or leave rows out by these numbers (skip=)."


def read(
    source: Any, kind: Kind, *, layout: str | None = None, skip: int | Iterable[int] = ()
) -> pd.DataFrame:
    r"""Chats, prompts or documents of a source.

    Args:
        source: A file (``.jsonl``, ``.ndjson``, ``.json``, ``.csv``, ``.tsv``, ``.txt``, ``.yaml``,
            ``.parquet``; texts also as ``.gz``), a DataFrame, a ``datasets.Dataset``, a list of
            texts, of objects or of chats. A table of the schema is returned as it is, with the
            columns that it lacks (``ready.complete``).
        kind: "chats" (answered, to be learned), "prompts" (waiting for an answer) or "documents"
            (whatever is to be read: chats, or plain texts).
        layout: Which columns hold the chat, where several do: a name of ``layouts.CHATS`` or
            ``layouts.PROMPTS``.
        skip: Rows to leave out, by the numbers that errors give: lines of a file (from 1), rows of
            a table, list or parquet file (from 0).

    Returns:
        A corpus table (``schema``) of chats or documents, one row each, with ``source``, ``line``
        and ``extra`` (columns that were not read); or a prompts table, as ``read_prompts`` says.
        ``attrs`` has ``taken_for`` (the line) and ``skipped`` (numbers of the rows left out).

    Raises:
        SchemaError: The source cannot be read, fits no layout or several, or a row to be skipped
            does not exist.
        RowError: Rows cannot be used: each is named, none is dropped; its ``rows`` are their
            numbers.

    >>> table = read([{"instruction": "Add.", "input": "1, 2", "output": "3"}], "chats")
    >>> table["messages"][0][0]["content"]
    'Add.\n\n1, 2'
    >>> table.attrs["taken_for"]
    "this list: 1 chat of layout 'alpaca' (instruction, input, output)"
    """
    if kind not in get_args(Kind):
        raise SchemaError(unknown("kind", str(kind), get_args(Kind)))
    skip = row_numbers(skip)
    ready = complete(source, kind) if layout is None and not skip else None
    if ready is not None:
        return schema.check(ready, "prompts" if kind == "prompts" else "corpus")
    whole = _lowered(rows_of(source, columns=NAMES))
    rest, skipped = leave_out(whole, skip)
    own = _own_table(rest, kind) if layout is None else None
    if own is not None:
        table, form = own, f"a table of this package ({whole.form})"
    elif kind == "prompts":
        table, form = _prompts(rest, layout=layout)
    else:
        table, form = _corpus(rest, kind, layout=layout)
    noun = kind if len(table) != 1 else kind[:-1]
    line = f"{whole.name}: {len(table):,} {noun} of {form}"
    chats = table["messages"]
    if n_calls := sum(any(calls_a_tool(m["content"]) for m in messages) for messages in chats):
        line += f"; {n_calls} with tool calls, as text between {CALL} and {END}"
    if unread := _unread_keys(rest):
        line += f"; not read of messages: {_names(unread)}"
    if n_repeats := sum(is_repeat(chats)):
        line += f"; repeats: {n_repeats:,}"
    if skipped:
        line += f"; {len(skipped)} skipped ({count(skipped, whole.unit)})"
    table.attrs |= {"taken_for": line, "skipped": skipped}
    LOG.info(line)
    return table


def table_of(source: Any, kind: Kind) -> pd.DataFrame:
    """Table that a function reads which takes prompts and documents alike.

    Args:
        source: A table of prompts or documents, which stays what it is; or anything that ``read``
            takes.
        kind: What anything else is read as.

    Returns:
        A prompts or corpus table.

    Raises:
        SchemaError: As of ``read``.
    """
    own = "prompts" if isinstance(source, pd.DataFrame) and "prompt" in source else "documents"
    ready = complete(source, own, answered=True)
    return read(source, kind) if ready is None else ready


def _lowered(source: Source) -> Source:
    """The source with known names of columns in small letters, where that makes no two the same."""
    names = dict.fromkeys(
        str(key) for row in source.rows if isinstance(row.value, Mapping) for key in row.value
    )
    spellings: dict[str, list[str]] = {}
    for name in names:
        spellings.setdefault(name.lower(), []).append(name)
    new = {own[0]: low for low, own in spellings.items() if len(own) == 1 and low in COLUMNS}
    if all(old == low for old, low in new.items()):
        return source
    rows = [
        row._replace(value={new.get(str(key), key): entry for key, entry in row.value.items()})
        if isinstance(row.value, Mapping)
        else row
        for row in source.rows
    ]
    return Source(source.name, source.stem, source.form, rows, source.unit)


def _unread_keys(source: Source) -> list[str]:
    """Keys of messages that are not read, in order."""
    keys: set[str] = set()
    for row in source.rows:
        entries = row.value.values() if isinstance(row.value, Mapping) else [row.value]
        for entry in entries:
            keys |= unread_keys(entry)
    return sorted(keys)


def _own_table(source: Source, kind: str) -> pd.DataFrame | None:
    """The table of the schema that rows were written from, if they have all its columns."""
    table_kind = "prompts" if kind == "prompts" else "corpus"
    rows = [row.value for row in source.rows if isinstance(row.value, Mapping)]
    columns = set(rows[0]) if len(rows) == len(source.rows) else set()
    # conversations of this package are documents too
    kinds = {table_kind, "prompts"} if kind == "documents" else {table_kind}
    if not any(set(schema.TABLES[one]) <= columns for one in kinds):
        return None
    return complete(pd.DataFrame(rows), kind)


def _corpus(source: Source, kind: str, *, layout: str | None) -> tuple[pd.DataFrame, str]:
    """Corpus table of rows that hold one chat or document each, and what they were taken for."""
    rows = source.rows
    if source.form == "plain text":
        if kind == "chats":
            raise SchemaError(
                f"{source.name} is plain text, in which nobody answers; read it as documents, or "
                'as prompts: readers.read(path, "documents").'
            )
        rows = _paragraphs(rows)
    chosen = layout_of(source, LAYOUTS[kind], layout=layout)
    heard, beside = columns_read(chosen, rows)
    # whoever names the messages as the layout means them alone
    appends = layout is None and chosen in WHOLE.values()
    if appends:
        heard += [name for name in beside if name in ANSWERS]
        beside = [name for name in beside if name not in ANSWERS]
    lists = _printed_lists(source, chosen)
    documents, problems = [], []
    for number, row in enumerate(rows):
        try:
            if row.fault:
                raise ValueError(row.fault)
            messages, _ = chat_of(row.value, chosen, text_role=TEXT)
            if appends:
                messages = append_answer(messages, row.value)
            if row.line in lists:
                raise ValueError(f"its {lists[row.line]} is a list of answers; keep one of them")
            if kind == "chats":
                _check_answer(messages, row.value)
        except ValueError as error:
            problems.append((row.line, str(error)))
            continue
        entries = row.value if isinstance(row.value, Mapping) else {}
        document = {
            "doc": number,
            "kind": "lesson",
            "persona": "",
            "messages": messages,
            "statements": (),
            "source": source.name,
            "line": row.line,
            "extra": {key: value for key, value in entries.items() if str(key) in beside},
        }
        documents.append(document)
    refuse(source.name, problems, total=len(rows), unit=source.unit, hint=HINT)
    form = _form(source, chosen, LAYOUTS[kind], heard)
    if beside:
        form += f"; kept in extra: {_names(beside)}"
    return schema.check(pd.DataFrame(documents), "corpus"), form


def _check_answer(messages: Messages, row: Any) -> None:
    """Refuse what teaches nothing, and a chat that is written out as plain text."""
    roles = [message["role"] for message in messages]
    if roles != [TEXT] and "assistant" not in roles:
        raise ValueError("no message of the assistant, so there is nothing to learn")
    if isinstance(row, Mapping) and str(row.get("label")).lower() == "false":
        raise ValueError(
            "its label is false: the answer is an example of what is not wanted (KTO), and would "
            "be taught"
        )
    if roles == [TEXT] and isinstance(row, Mapping) and {"role", "parent_id"} <= {*row}:
        raise ValueError(
            "it is one message of a thread (role, parent_id), and a chat is the path to it; join "
            "the messages of each path into one row of messages"
        )
    if roles == [TEXT] and (mark := PLAIN_CHAT.match(messages[0]["content"])):
        raise ValueError(
            f"its text is a chat written out ({excerpt(mark.group().strip())}), which would be "
            "learned as plain text; give its messages, or read it as documents"
        )


def _printed_lists(source: Source, layout: Layout | None) -> dict[int, str]:
    """Rows of a table whose answer is the print of a list of texts, and the answer's column."""
    # One answer may be a list, if it was asked for one; a column of them is several answers each.
    if layout is None or not source.form.startswith(PRINTED):
        return {}
    lists: dict[int, str] = {}
    for column in (layout.answer,) if layout.answer else ANSWERS:
        cells = {row.line: row.value.get(column) for row in source.rows if not row.fault}
        cells = {line: cell for line, cell in cells.items() if not is_empty(cell)}
        if cells and all(is_printed_list(cell) for cell in cells.values()):
            lists |= dict.fromkeys(cells, column)
    return lists


def _paragraphs(rows: list[Row]) -> list[Row]:
    """Texts set apart by empty lines; where there are none, every line is one."""
    texts: list[list[Row]] = []
    for row in rows:
        if texts and texts[-1][-1].line == row.line - 1:
            texts[-1].append(row)
        else:
            texts.append([row])
    if len(texts) == 1:
        return rows
    return [Row(text[0].line, "\n".join(row.value for row in text)) for text in texts]


def _prompts(source: Source, *, layout: str | None) -> tuple[pd.DataFrame, str]:
    """Prompts table of rows, and what they were taken for."""
    rows, first = source.rows, source.rows[0].value
    if len(rows) == 1 and isinstance(first, Mapping) and isinstance(first.get("questions"), list):
        questions = strings(f"{source.name}: questions", first["questions"])
        rows = [Row(0, question) for question in questions]
        source = Source(source.name, source.stem, "questions of a trait or role", rows)
    elif layout is None and any(is_question(row.value) for row in rows):
        questions = questions_of(source, hint=HINT)
        table = question_prompts(questions).assign(source=source.name)
        return table, f"{len(questions)} questions with paraphrases ({source.form})"
    chosen = layout_of(source, PROMPTS, layout=layout)
    prompts, problems = [], []
    lines: dict[str, int] = {}  # id -> line
    kept: set[str] = set()  # columns of answers
    for number, row in enumerate(rows):
        try:
            prompt, column = _prompt(source, row, chosen, number=number)
            if (name := prompt["prompt"]) in lines:
                prompt_id = name.partition("/")[2]
                raise ValueError(f"the id '{prompt_id}' is that of {source.unit} {lines[name]}")
        except ValueError as error:
            problems.append((row.line, str(error)))
            continue
        lines[name] = row.line
        kept.add(column)
        prompts.append(prompt)
    refuse(source.name, problems, total=len(rows), unit=source.unit, hint=HINT)
    heard, beside = columns_read(chosen, rows)
    answers = [name for name in beside if name in kept]
    unread = [name for name in beside if name not in (*kept, "id")]
    form = _form(source, chosen, PROMPTS, heard)
    if answers:
        form += f"; kept as reference: {_names(answers)}"
    if unread:
        form += f"; not read: {_names(unread)}"
    return schema.check(_deal(pd.DataFrame(prompts)), "prompts"), form


def _prompt(
    source: Source, row: Row, layout: Layout | None, *, number: int
) -> tuple[dict[str, Any], str]:
    """Row of a prompts table, and the column of the answer that it keeps as a reference."""
    if row.fault:
        raise ValueError(row.fault)
    messages, _ = chat_of(row.value, layout, text_role="user")
    entries = row.value if isinstance(row.value, Mapping) else {}
    answers = [name for name in ANSWERS if not is_empty(entries.get(name))]
    answers = answers or [n for n in WEAK_ANSWERS if not is_empty(entries.get(n))]
    reference = _said(entries[answers[0]]) if len(answers) == 1 else ""
    column = answers[0] if reference else ""
    # A chat that is answered already waits for another answer to its last question.
    if messages[-1]["role"] == "assistant":
        reference, column = messages[-1]["content"], ""
        messages = messages[:-1]
    roles = [message["role"] for message in messages]
    if "user" not in roles or roles[-1] not in ("user", "tool"):
        raise ValueError("no question of the user at the end")
    prompt_id = entries.get("id")
    name = f"{source.stem}/{number if is_empty(prompt_id) else prompt_id}"
    question = next(m["content"] for m in reversed(messages) if m["role"] == "user")
    prompt = prompt_row(name, question, topic=source.stem)
    prompt |= {
        "messages": messages,
        "question": question,
        "reference": reference,
        "source": source.name,
        "line": row.line,
    }
    if roles[0] == "system":
        prompt["context"] = "instructed"
    return prompt, column


def _said(answer: Any) -> str:
    """Text of an answer that stands beside a question; '' where it is none."""
    if is_printed_list(answer):
        return ""
    try:
        return conversation(answer, role="assistant")[-1]["content"]
    except ValueError:
        return ""


def _deal(table: pd.DataFrame) -> pd.DataFrame:
    """The table with the same question always in the same half."""
    # Dealt by the text of the question, so that one asked twice does not leak from lesson to
    # measurement.
    questions = dict.fromkeys(table["question"])
    halves = {question: SPLITS[i % 2] for i, question in enumerate(questions)}
    return table.assign(split=[halves[question] for question in table["question"]])


def _form(
    source: Source, layout: Layout | None, layouts: Mapping[str, Layout], heard: list[str]
) -> str:
    """What rows were taken for, in words."""
    if layout is None:
        what = "texts" if isinstance(source.rows[0].value, str) else "lists of messages"
        return what if source.form.startswith("a ") else f"{what} ({source.form})"
    name = next(name for name, one in layouts.items() if one == layout)
    return f"layout '{name}' ({_names(heard)})"


def _names(names: list[str]) -> str:
    """Names of columns, the first eight of them."""
    shown = [name if len(name) <= 40 else f"{name[:39]}…" for name in names[:8]]
    more = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
    return ", ".join(shown) + more
