"""Which columns of a row hold its chat, and which chat is that?"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

from persona_interp.errors import SchemaError, excerpt, is_misspelt, unknown
from persona_interp.readers.beside import history, is_beside, is_read, refuse_unheard, system
from persona_interp.readers.messages import (
    PLAIN,
    Messages,
    conversation,
    is_empty,
    parse_cell,
    repeats,
    turn_mark,
)
from persona_interp.readers.rows import Row, Source


class Layout(NamedTuple):
    """Columns that hold a chat.

    Attributes:
        question: A text, or messages.
        answer: What the assistant says to it; '' where the question column holds that too.
        beside: Columns whose text follows the question's, an empty line between.
    """

    question: str
    answer: str = ""
    beside: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that a row must have."""
        return (self.question, self.answer) if self.answer else (self.question,)


TEXT = PLAIN
PASSAGE = ("context",)
BESIDE = ("input", *PASSAGE)
"""What a question is about: numbers to add, a passage. The input of a prompt is mostly in it."""
WHOLE = {
    "messages": Layout("messages"),
    "conversation": Layout("conversation"),
    "sharegpt": Layout("conversations"),
}
CHATS = {
    **WHOLE,
    "completion": Layout("prompt", "completion", PASSAGE),
    "response": Layout("prompt", "response", PASSAGE),
    "answer": Layout("prompt", "answer", PASSAGE),
    "output": Layout("prompt", "output", PASSAGE),
    "question": Layout("question", "answer", BESIDE),
    "question_response": Layout("question", "response", BESIDE),
    "generation": Layout("prompt", "generation", PASSAGE),
    "query": Layout("query", "response", BESIDE),
    "user": Layout("user", "assistant"),
    "alpaca": Layout("instruction", "output", BESIDE),
    "dolly": Layout("instruction", "response", BESIDE),
    TEXT: Layout(TEXT),
}
"""Chats that can be learned, by the name of their layout."""
PROMPTS = {
    **WHOLE,
    "prompt": Layout("prompt", beside=PASSAGE),
    "question": Layout("question", beside=BESIDE),
    "query": Layout("query", beside=BESIDE),
    "user": Layout("user"),
    "alpaca": Layout("instruction", beside=BESIDE),
}
"""Prompts that wait for an answer; one that stands beside them is kept as a reference."""
DOCUMENTS = {**CHATS, "prompt": PROMPTS["prompt"]}
WEAK = ("query", "user", "generation")
"""Layouts of columns that may be something else (who the user is), if another layout fits."""
WEAK_ANSWERS = ("assistant", "generation")
ANSWERS = tuple(
    dict.fromkeys(
        layout.answer
        for layout in CHATS.values()
        if layout.answer and layout.answer not in WEAK_ANSWERS
    )
)
NAMES = tuple(
    dict.fromkeys(
        chain.from_iterable((*layout.columns, *layout.beside) for layout in CHATS.values())
    )
)


def layout_of(
    source: Source, layouts: Mapping[str, Layout], *, layout: str | None = None
) -> Layout | None:
    """Layout of the rows of a source.

    Args:
        source: Rows.
        layouts: Layouts that are possible.
        layout: The layout, where the user says so.

    Returns:
        The layout; None where rows have no columns: texts, or lists of messages.

    Raises:
        SchemaError: None fits the first row, or several do and none is named.

    >>> source = Source("a.csv", "a", "CSV", [Row(2, {"prompt": "Hi", "anwser": "Hello"})])
    >>> layout_of(source, CHATS)
    Traceback (most recent call last):
    ...
    persona_interp.errors.SchemaError: a.csv, line 2: column 'anwser' is unknown; \
did you mean 'answer'? Valid: 'messages', 'conversation', 'conversations', 'prompt', 'completion', \
'response', 'answer', 'output' and 7 more.
    """
    if layout is not None:
        if layout not in layouts:
            raise SchemaError(unknown("layout", layout, layouts))
        return layouts[layout]
    rows = [row for row in source.rows if isinstance(row.value, Mapping) and not row.fault]
    if not rows:
        return None
    first = rows[0]
    where = f"{source.name}, {source.unit} {first.line}"
    fitting = [name for name, one in layouts.items() if _fits(one, first.value)]
    if len(fitting) > 1:
        fitting = _filled(fitting, rows, layouts) or fitting
    # a question alone is less than a question with its answer
    columns = {name: set(layouts[name].columns) for name in fitting}
    fitting = [n for n in fitting if not any(columns[n] < other for other in columns.values())]
    # a question that the messages begin with says nothing of its own
    if whole := [name for name in fitting if name in WHOLE]:
        others = [name for name in fitting if name not in WHOLE]
        repeated = [name for name in others if _is_repeated(layouts[name], layouts[whole[0]], rows)]
        fitting = [name for name in fitting if name not in repeated]
    fitting = [name for name in fitting if name not in WEAK] or fitting
    # what is written out in columns is rendered in the text beside them
    if len(fitting) > 1 and TEXT in fitting:
        fitting.remove(TEXT)
    own = ", ".join(map(str, first.value)) or "none"
    if len(fitting) > 1:
        clean = [name for name in fitting if not _mark(first.value, layouts[name])]
        choices = clean or fitting
        message = (
            f"{where}: the columns {excerpt(own)} fit the layouts {', '.join(fitting)}; name the "
            f"one that is meant, layout='{choices[0]}'."
        )
        for name in fitting:
            if mark := _mark(first.value, layouts[name]):
                column = layouts[name].question
                message += f" Not {column}: a chat template wrote it ({mark})."
        raise SchemaError(message)
    if not fitting:
        raise SchemaError(f"{where}: {_unfit(first.value, layouts)}")
    chosen = layouts[fitting[0]]
    beside = [name for name in ANSWERS if not is_empty(first.value.get(name))]
    if chosen.question == TEXT and beside:
        raise SchemaError(
            f"{where}: {', '.join(beside)} would be ignored beside text; name layout='text' if the "
            "text alone is meant, or call the question 'question'."
        )
    return chosen


def chat_of(value: Any, layout: Layout | None, *, text_role: str) -> tuple[Messages, bool]:
    """Chat that a row holds.

    Args:
        value: The row's value.
        layout: Its layout; None where rows have no columns.
        text_role: Whose a text alone is: "user", or "text" of nobody.

    Returns:
        Its messages, and whether a column held its system message.

    Raises:
        ValueError: What is wrong, in words; the caller knows the line.
    """
    if not isinstance(value, Mapping):
        return _bare(value, layout, text_role=text_role), False
    if layout is None:
        raise ValueError(f"expected a text or a list of messages; got {excerpt(value)}")
    for column in layout.columns:
        if column not in value:
            raise ValueError(f"no {column}{_misspelling(value, column, layout.columns)}")
    refuse_unheard(value)
    messages = _question(value, layout)
    if layout.answer:
        answer = conversation(value[layout.answer], role="assistant")
        messages = [*messages, *answer]
    messages = [*history(value), *messages]
    # an instruction is the user's, in whatever layout
    text = system(value, others=(*layout.columns, *layout.beside, "instruction"))
    if not text:
        return messages, False
    if messages[0]["role"] == TEXT:
        raise ValueError(f"a system message ({excerpt(text)}) stands beside plain text")
    own = [message["content"] for message in messages if message["role"] == "system"]
    if own and own != [text]:
        raise ValueError("a system message stands among the messages and another in its column")
    if own:
        return messages, True
    return [{"role": "system", "content": text}, *messages], True


def is_heard(name: str) -> bool:
    """Whether a column of this name holds something of a chat.

    Args:
        name: Of the column.

    Returns:
        Whether it holds a question, an answer, a system message, or what changes a chat.

    >>> is_heard("System Prompt"), is_heard("lesson")
    (True, False)
    """
    return name.lower() in NAMES or (name != "instruction" and is_beside(name))


def append_answer(messages: Messages, row: Any) -> Messages:
    """Messages of a whole chat, with the answer that stands in a column beside them.

    Args:
        messages: Messages of the row.
        row: The row's value.

    Returns:
        The messages, and the answer where they wait for one.

    Raises:
        ValueError: There are several answers, it is no text, or the messages end with another.

    >>> append_answer([{"role": "user", "content": "Why?"}], {"response": "So."})[-1]
    {'role': 'assistant', 'content': 'So.'}
    """
    if not isinstance(row, Mapping):
        return messages
    answers = {name: row[name] for name in ANSWERS if not is_empty(row.get(name))}
    if not answers:
        return messages
    if len(answers) > 1:
        raise ValueError(f"{' and '.join(answers)} stand beside its messages; keep one of them")
    ((name, value),) = answers.items()
    if not isinstance(value, str | list | dict):
        raise ValueError(f"{name} beside its messages must be a text; got {excerpt(value)}")
    answer = conversation(value, role="assistant")
    if messages[-1]["role"] != "assistant":
        return [*messages, *answer]
    if [message["content"].strip() for message in answer] != [messages[-1]["content"].strip()]:
        raise ValueError(
            f"its messages end with one answer and {name} is another ({excerpt(value)}); name "
            "layout= if the messages alone are meant"
        )
    return messages


def columns_read(layout: Layout | None, rows: Iterable[Row]) -> tuple[list[str], list[str]]:
    """Columns that hold the chat, and columns beside them.

    Args:
        layout: As of ``layout_of``.
        rows: Rows of the source.

    Returns:
        Names of both, in order.
    """
    names = dict.fromkeys(
        str(key) for row in rows if isinstance(row.value, Mapping) for key in row.value
    )
    if layout is None:
        return [], list(names)
    read = [*layout.columns, *layout.beside]
    heard = [name for name in names if name in read or is_read(name)]
    return heard, [name for name in names if name not in heard]


def _bare(value: Any, layout: Layout | None, *, text_role: str) -> Messages:
    """The chat of a row without columns."""
    if layout is not None:
        columns = " and ".join(layout.columns)
        raise ValueError(f"expected an object with {columns}; got {excerpt(value)}")
    if isinstance(value, str):
        _refuse_turns(value, "the text", plain=text_role != TEXT)
    elif not isinstance(value, list):
        raise ValueError(f"expected a text or a list of messages; got {excerpt(value)}")
    return conversation(value, role=text_role)


def _question(row: Mapping[Any, Any], layout: Layout) -> Messages:
    """What comes before the answer: a question, a whole chat, or a plain text."""
    column, value = layout.question, row[layout.question]
    is_whole = layout in WHOLE.values()
    if is_whole and isinstance(value, str) and value.strip()[:1] in ("[", "{"):
        value = parse_cell(value)
    if is_whole and not isinstance(value, list | dict):
        raise ValueError(f"{column} must be a list of {{role, content}}; got {excerpt(value)}")
    # a text alone is nobody's turn, and a list of turns is no text
    if column in (TEXT, "question", "instruction") and not isinstance(value, str):
        raise ValueError(f"{column} must be a text; got {excerpt(value)}")
    if isinstance(value, str):
        _refuse_turns(value, column, plain=column != TEXT)
    messages = conversation(value, role=TEXT if column == TEXT else "user")
    for name in layout.beside:
        text = row.get(name)
        if is_empty(text):
            continue
        if not isinstance(text, str):
            raise ValueError(f"{name} must be a text; got {excerpt(text)}")
        content = f"{messages[-1]['content']}\n\n{text}"
        messages = [*messages[:-1], {**messages[-1], "content": content}]
    return messages


def _refuse_turns(text: str, what: str, *, plain: bool) -> None:
    if mark := turn_mark(text, plain=plain):
        raise ValueError(
            f"{what} was written by a chat template ({mark}), and would be put into one again; "
            "give its messages"
        )


def _mark(row: Mapping[Any, Any], layout: Layout) -> str:
    """Mark of a chat template in the question of a row; '' for none."""
    value = row.get(layout.question)
    return turn_mark(value) if isinstance(value, str) else ""


def _fits(layout: Layout, row: Mapping[Any, Any]) -> bool:
    # without an assistant beside them, users are names
    columns = CHATS["user"].columns if layout == PROMPTS["user"] else layout.columns
    return {*columns} <= {*row}


def _is_repeated(layout: Layout, whole: Layout, rows: Iterable[Row]) -> bool:
    """Whether the messages of every row say the question, and the answer if there is one."""
    for row in rows:
        question, answer = row.value.get(layout.question), row.value.get(layout.answer)
        messages = row.value.get(whole.question)
        if isinstance(messages, str) and messages.strip()[:1] == "[":
            try:
                messages = parse_cell(messages)
            except ValueError:
                return False
        try:
            last = conversation(messages)[-1]["content"]
        except ValueError:
            return False
        if not is_empty(question) and not repeats(question, messages):
            return False
        if not is_empty(answer) and answer != last:
            return False
    return True


def _filled(names: Sequence[str], rows: Iterable[Row], layouts: Mapping[str, Layout]) -> list[str]:
    """Layouts of which every column holds something in some row."""
    filled = {str(k) for row in rows for k, value in row.value.items() if not is_empty(value)}
    return [name for name in names if set(layouts[name].columns) <= filled]


def _unfit(row: Mapping[Any, Any], layouts: Mapping[str, Layout]) -> str:
    """Why no layout fits a row."""
    own = excerpt(", ".join(map(str, row)) or "none")
    if {"trait", "questions"} <= set(row):
        return f"a constitution (columns {own}); readers.read_constitution reads it."
    if {"instruction", "questions"} <= set(row):
        return f"a trait or role (keys {own}); readers.read_trait or read_role reads it."
    if "chosen" in row:
        return f"pairs of answers (columns {own}); name one of them 'completion' beside its prompt."
    valid_columns = [name for name in NAMES if any(name in one.columns for one in layouts.values())]
    for column in map(str, row):
        if column not in valid_columns and is_misspelt(column, valid_columns):
            return unknown("column", column, valid_columns)
    if TEXT in row:
        return 'plain text; readers.read(source, "documents") reads it, a question is "question".'
    lists = [str(key) for key, value in row.items() if isinstance(value, list) and value]
    hint = (
        f" Its rows may be under '{excerpt(lists[0])[1:-1]}'."
        if len(row) == len(lists) == 1
        else ""
    )
    valid = "; ".join(dict.fromkeys(" and ".join(one.columns) for one in layouts.values()))
    return f"no known columns. Expected {valid}; got {own}.{hint}"


def _misspelling(row: Mapping[Any, Any], column: str, columns: tuple[str, ...]) -> str:
    """Question whether a key of the row means the column; '' if none is near."""
    for key in row:
        if key not in columns and f"mean '{column}'" in unknown("column", str(key), columns):
            return f"; did '{key}' mean '{column}'?"
    return ""
