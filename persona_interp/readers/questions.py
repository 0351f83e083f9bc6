"""What does an evaluation ask, how is a judge asked, and what did a judge say?

The layouts of emergent-misalignment (Betley et al. 2025): a YAML list of questions with paraphrases
and judge prompts, and a CSV of answers with a judge's scores from 0 to 100.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from persona_interp import schema
from persona_interp.errors import SchemaError, excerpt, unknown
from persona_interp.files import write_text
from persona_interp.readers.entries import check_keys, strings
from persona_interp.readers.formats import UNNAMED
from persona_interp.readers.prompt_rows import SPLITS, prompt_row
from persona_interp.readers.rows import Source, refuse
from persona_interp.readers.sources import rows_of

TYPES = ("free_form_judge_0_100", "free_form_judge", "free_form_0_100", "free_form")
REQUIRED_COLUMNS = ("question", "answer")
TEXT_COLUMNS = ("question", "prompt", "answer", "question_id")
OPTIONAL = ("type", "system", "samples_per_paraphrase", "judge", "judge_prompts")
ONE_TEXT = ("prompt", "question", "text")
"""What a single paraphrase is called."""
OTHER_NAMES = {"answer": ("response", "completion", "output"), "question": ("prompt",)}
"""What others call the columns of a judged file."""
WORD = re.compile(r"[A-Z][A-Z_ /-]{1,30}")
"""What a judge says instead of a number: REFUSAL, CODE, N/A."""
SETTING = re.compile(
    r"(?:^|_)(?:temperature|temp|top_p|top_k|seed|id|idx|index|n|num|count|tokens?|length|len|"
    r"layer|step|epoch|strength|coef|coeff|coefficient|alpha|sample|samples|rank|lr|time|timestamp|date|"
    r"version|paraphrase|line|rows?|batch|rep|repeat|run|trial|fold|split)(?:$|_)|logprob|"
    r"max_|_per_|duration|latency"
)
"""Names of settings and counts, which are numbers from 0 to 100 too and no judgement."""


@dataclass(frozen=True)
class EvalQuestion:
    """A question of an evaluation, and how its answers are judged.

    Args:
        id: Name of the question.
        paraphrases: Texts of the user.
        type: How it is scored, one of ``TYPES``.
        system: System message; '' for none.
        samples: Answers drawn for each paraphrase.
        judge: Name of the judge the authors used; '' for none.
        judge_prompts: How the judge is asked, by score ("aligned", "coherent"), with ``{question}``
            and ``{answer}``.
        extra: Other entries, kept as they are.
    """

    id: str
    paraphrases: tuple[str, ...]
    type: str = TYPES[0]
    system: str = ""
    samples: int = 1
    judge: str = ""
    judge_prompts: Mapping[str, str] = field(default_factory=dict, hash=False)
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)


def read_questions(path: str | Path) -> tuple[EvalQuestion, ...]:
    """Questions that an evaluation asks.

    Args:
        path: A YAML (or JSON) list of ``{id, type, paraphrases, samples_per_paraphrase, system,
            judge, judge_prompts}``, or a mapping of id to the rest; anchors and aliases are
            resolved. ``prompt``, ``question`` or ``text`` may stand for one paraphrase, and a
            number for an id.

    Returns:
        The questions, in order.

    Raises:
        SchemaError: The file cannot be read, is no list of questions, or questions cannot be used:
            every one is named by its line, among them those with the id of an earlier one.
    """
    source = rows_of(path)
    return questions_of(source)


def questions_of(source: Source, *, hint: str = "") -> tuple[EvalQuestion, ...]:
    """Questions in the rows of a source.

    Args:
        source: Rows.
        hint: What an error says at its end.

    Returns:
        The questions, in order.

    Raises:
        RowError: Rows are no questions, or have the id of an earlier one; each is named.
    """
    questions: list[EvalQuestion] = []
    problems: list[tuple[int, str]] = []
    lines: dict[str, int] = {}  # id -> line
    for row in source.rows:
        try:
            if row.fault:
                raise SchemaError(row.fault)
            question = _question(row.value)
            if question.id in lines:
                where = f"{source.unit} {lines[question.id]}"
                raise SchemaError(f"the id {excerpt(question.id)} is that of {where}")
        except SchemaError as error:
            problems.append((row.line, str(error)))
            continue
        lines[question.id] = row.line
        questions.append(question)
    refuse(source.name, problems, total=len(source.rows), unit=source.unit, hint=hint)
    return tuple(questions)


def is_question(value: Any) -> bool:
    """Whether a row is a question with paraphrases, as an evaluation asks it.

    Args:
        value: The row's value.

    Returns:
        Whether it has paraphrases.
    """
    return isinstance(value, Mapping) and "paraphrases" in value


def write_questions(questions: Iterable[EvalQuestion], path: str | Path) -> Path:
    """Write questions to a file.

    Args:
        questions: The questions.
        path: A ``.yaml`` or ``.yml`` file; an existing one is replaced.

    Returns:
        The path.

    Raises:
        SchemaError: The file has another ending.
    """
    path = Path(path).expanduser()
    if path.suffix not in (".yaml", ".yml"):
        raise SchemaError(f"questions are written to a .yaml file; got '{path.name}'.")
    entries = []
    for question in questions:
        entry: dict[str, Any] = {"id": question.id, "type": question.type}
        if question.system:
            entry["system"] = question.system
        entry["paraphrases"] = list(question.paraphrases)
        entry["samples_per_paraphrase"] = question.samples
        if question.judge:
            entry["judge"] = question.judge
        if question.judge_prompts:
            entry["judge_prompts"] = dict(question.judge_prompts)
        entries.append(entry | dict(question.extra))
    write_text(yaml.safe_dump(entries, sort_keys=False, allow_unicode=True), path)
    return path


def question_prompts(questions: Iterable[EvalQuestion]) -> pd.DataFrame:
    """Prompts that an evaluation asks a model.

    Args:
        questions: The questions.

    Returns:
        A prompts table (``schema``), one row a paraphrase, with ``question_id``, ``paraphrase``
        (its number), ``question`` (its text) and ``samples``. Questions are dealt alternately to
        train and test, with all their paraphrases.

    Raises:
        SchemaError: There are no questions.

    >>> question = EvalQuestion("bored", ("I feel bored.",), system="Answer in JSON.")
    >>> question_prompts([question])["context"][0]
    'instructed'
    """
    rows = []
    for number, question in enumerate(questions):
        topic, half = question.id, SPLITS[number % 2]
        for k, text in enumerate(question.paraphrases):
            row = prompt_row(f"{topic}/{k}", text, system=question.system, topic=topic, split=half)
            row |= {"question_id": topic, "paraphrase": k}
            row |= {"question": text, "samples": question.samples}
            rows.append(row)
    if not rows:
        raise SchemaError("there are no questions to ask.")
    return schema.check(pd.DataFrame(rows), "prompts")


def read_judged(path: str | Path) -> pd.DataFrame:
    """Scores that a judge gave to answers.

    Args:
        path: A CSV of ``question``, ``answer`` (or ``response``, ``completion``, ``output``) and
            one number a score, mostly a trait's name and ``coherence``; ``prompt`` and
            ``question_id`` may be there too. Scores run from 0 to
            100; empty where the judge gave none, or a word in capitals that says why: "REFUSAL",
            "CODE". Settings and counts (``temperature``, ``seed``, ``n_tokens``, ids) are no
            scores.

    Returns:
        One row an answer: the columns of the file (the answer's is called ``answer``), scores as
        numbers (NaN for none), and ``source``, ``line``. ``attrs`` has ``scores`` (names of their
        columns) and ``words`` (how often a judge gave which word, by column).

    Raises:
        SchemaError: The file cannot be read, lacks a column, has no score, or rows cannot be used;
            each is named.
    """
    source = rows_of(path)
    rows = source.whole()
    for row in rows:
        if not isinstance(row.value, Mapping):
            raise SchemaError(
                f"{path}, {source.unit} {row.line}: expected {', '.join(REQUIRED_COLUMNS)} and "
                f"scores; got {excerpt(row.value)}."
            )
    columns = list(dict.fromkeys(str(column) for row in rows for column in row.value))
    names = _names(columns)
    rows = [row._replace(value=_rename(row.value, names)) for row in rows]
    columns = [names.get(column, column) for column in columns]
    check_keys(str(path), dict.fromkeys(columns), required=REQUIRED_COLUMNS)
    scores = [
        column
        for column in columns
        if not _is_setting(column) and _holds_scores(row.value.get(column) for row in rows)
    ]
    if not scores:
        names = excerpt(", ".join(columns))
        raise SchemaError(
            f"{path}: no column of scores among {names}; expected a trait and coherence, each a "
            "number from 0 to 100."
        )
    answers, problems = [], []
    words: dict[str, Counter[str]] = {column: Counter() for column in scores}
    for row in rows:
        answer: dict[str, Any] = {column: row.value.get(column, "") for column in columns}
        for column in scores:
            cell = row.value.get(column)
            score = _score(cell)
            if score is None and _is_word(cell):
                words[column][cell.strip()] += 1
                score = math.nan
            if score is None:
                what = f"{column} must be a number from 0 to 100, or empty; got {excerpt(cell)}"
                problems.append((row.line, what))
            answer[column] = score
        answers.append(answer | {"source": str(path), "line": row.line})
    refuse(path, problems, total=len(rows), unit=source.unit)
    table = pd.DataFrame(answers).astype(dict.fromkeys(scores, float))
    counts = {column: dict(counter) for column, counter in words.items() if counter}
    table.attrs |= {"scores": scores, "words": counts}
    return table


def write_judged(judged: pd.DataFrame, path: str | Path, *, scores: Iterable[str]) -> Path:
    """Write answers with a judge's scores to a file that other tools read.

    Args:
        judged: Answers with scores, of ``record.judgments``.
        path: A ``.csv`` file; an existing one is replaced.
        scores: Columns of scores to write, for example ``("aligned", "coherent")``.

    Returns:
        The path; ``read_judged`` reads it.

    Raises:
        SchemaError: A column is missing.
    """
    texts = [c for c in TEXT_COLUMNS if c in judged and c not in REQUIRED_COLUMNS]
    columns = [*REQUIRED_COLUMNS, *texts, *scores]
    for column in columns:
        if column not in judged:
            raise SchemaError(unknown("column", column, judged.columns))
    text = judged[columns].to_csv(None, index=False)
    return write_text(text, Path(path).expanduser())


def _question(value: Any) -> EvalQuestion:
    if not isinstance(value, Mapping):
        raise SchemaError(
            f"a question: expected an object with id, paraphrases; got {excerpt(value)}"
        )
    # An entry left empty in YAML is None, which says the same as no entry.
    entries = {str(key): entry for key, entry in value.items() if entry is not None}
    texts = [key for key in ONE_TEXT if key in entries and "paraphrases" not in entries]
    if len(texts) == 1:
        entries["paraphrases"] = [entries.pop(texts[0])]
    extra = check_keys("a question", entries, required=("id", "paraphrases"), optional=OPTIONAL)
    # numbers, and dates that YAML makes of 2024-01-01
    if isinstance(entries["id"], bool | list | dict) or not str(entries["id"]).strip():
        raise SchemaError(f"id must be a text or a number; got {excerpt(entries['id'])}")
    for key in ("type", "system", "judge"):
        if key in entries and not isinstance(entries[key], str):
            raise SchemaError(f"{key} must be a text; got {excerpt(entries[key])}")
    judge_prompts = entries.get("judge_prompts", {})
    if not isinstance(judge_prompts, Mapping):
        raise SchemaError(f"judge_prompts must be a mapping; got {excerpt(judge_prompts)}")
    type_ = entries.get("type", TYPES[0])
    message = unknown("type", type_, TYPES)
    # evaluations have types of their own, which change nothing here; a typing error does
    if type_ not in TYPES and "did you mean" in message:
        raise SchemaError(message)
    samples = entries.get("samples_per_paraphrase", 1)
    if isinstance(samples, bool) or not isinstance(samples, int) or samples < 1:
        raise SchemaError(
            f"samples_per_paraphrase must be a whole number from 1; got {excerpt(samples)}"
        )
    if not all(isinstance(text, str) for text in chain(judge_prompts, judge_prompts.values())):
        raise SchemaError(f"judge_prompts must map names to texts; got {excerpt(judge_prompts)}")
    paraphrases = entries["paraphrases"]
    if isinstance(paraphrases, str):
        paraphrases = [paraphrases]
    return EvalQuestion(
        id=str(entries["id"]),
        paraphrases=strings("paraphrases", paraphrases),
        type=type_,
        system=entries.get("system", ""),
        samples=samples,
        judge=entries.get("judge", ""),
        judge_prompts=dict(judge_prompts),
        extra=extra,
    )


def _names(columns: list[str]) -> dict[str, str]:
    """What columns of questions and answers are called here, where they have other names."""
    names = {}
    for column, others in OTHER_NAMES.items():
        present = [name for name in others if name in columns]
        if column not in columns and len(present) == 1:
            names[present[0]] = column
    return names


def _rename(row: Mapping[Any, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {names.get(str(key), str(key)): value for key, value in row.items()}


def _score(cell: Any) -> float | None:
    """A score; NaN for none, None for what is no score."""
    if cell is None or (isinstance(cell, str) and cell.strip().lower() in ("", "none", "null")):
        return math.nan
    try:
        score = float(cell)
    except (TypeError, ValueError, OverflowError):
        return None
    if isinstance(cell, bool):
        return None
    if math.isnan(score) or 0 <= score <= 100:
        return score
    return None


def _is_word(cell: Any) -> bool:
    """Whether a judge gave a word in capitals instead of a number."""
    return isinstance(cell, str) and WORD.fullmatch(cell.strip()) is not None


def _is_setting(column: str) -> bool:
    """Whether a column is a text, an index, or a number that no judge gave."""
    # pandas writes the index of a table as a column without a name.
    if column in TEXT_COLUMNS or column.startswith((UNNAMED, "Unnamed:")):
        return True
    return SETTING.search(column.lower()) is not None


def _holds_scores(cells: Iterable[Any]) -> bool:
    """Whether a column is one of scores: there are some, and most others are words or empty."""
    cells = [cell for cell in cells if _score(cell) is None or not math.isnan(_score(cell) or 0)]
    n_scores = sum(_score(cell) is not None for cell in cells)
    n_words = sum(_is_word(cell) for cell in cells)
    return n_scores > 0 and 2 * (n_scores + n_words) > len(cells)
