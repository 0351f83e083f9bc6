"""What does an evaluation ask, how is a judge asked, and what did a judge say?

The layouts of emergent-misalignment (Betley et al. 2025): a YAML list of questions with paraphrases
and judge prompts, and a CSV of answers with a judge's scores from 0 to 100.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from persona_interp import schema
from persona_interp.errors import SchemaError, excerpt, unknown
from persona_interp.files import read_text, write_text
from persona_interp.readers.entries import check_keys, strings
from persona_interp.readers.prompt_rows import SPLITS, prompt_row
from persona_interp.readers.rows import UNNAMED, read_rows, refuse
from persona_interp.values import parse_yaml, parse_yaml_list

TYPES = ("free_form_judge_0_100", "free_form_judge", "free_form_0_100", "free_form")
REQUIRED_COLUMNS = ("question", "answer")
TEXT_COLUMNS = ("question", "prompt", "answer", "question_id")


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
        path: A YAML list of ``{id, type, paraphrases, samples_per_paraphrase, system, judge,
            judge_prompts}``; anchors and aliases are resolved.

    Returns:
        The questions, in order.

    Raises:
        SchemaError: The file cannot be read, is no YAML list, or questions cannot be used: every
            one is named by its line, among them those with the id of an earlier one.
    """
    path = Path(path)
    text = read_text(path)
    try:
        entries = parse_yaml_list(text)
    except ValueError as error:
        raise SchemaError(f"{path} is not valid YAML: {error}.") from error
    if not entries:
        raise SchemaError(
            f"{path}: expected a list of questions, each with id and paraphrases; got "
            f"{excerpt(parse_yaml(text))}."
        )
    questions: list[EvalQuestion] = []
    problems: list[tuple[int, str]] = []
    lines: dict[str, int] = {}  # id -> line
    for line, entry in entries:
        try:
            question = _question(entry)
            if question.id in lines:
                raise SchemaError(f"the id '{question.id}' is that of line {lines[question.id]}")
        except SchemaError as error:
            problems.append((line, str(error)))
            continue
        lines[question.id] = line
        questions.append(question)
    refuse(path, problems, total=len(entries))
    return tuple(questions)


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
        path: A CSV of ``question``, ``answer`` and one number a score, mostly a trait's name and
            ``coherence``; ``prompt`` and ``question_id`` may be there too. Scores run from 0 to
            100; empty where the judge gave none.

    Returns:
        One row an answer: the columns of the file, scores as numbers (NaN for none), and
        ``source``, ``line``.

    Raises:
        SchemaError: The file cannot be read, lacks a column, has no score, or rows cannot be used;
            each is named.
    """
    rows = read_rows(path)
    columns = list(dict.fromkeys(column for row in rows for column in row.value))
    check_keys(
        str(path),
        dict.fromkeys(columns),
        required=REQUIRED_COLUMNS,
        optional=("prompt", "question_id", "coherence", "coherent"),
    )
    scores = []
    for column in columns:
        # pandas writes the index of a table as a column without a name.
        is_index = column.startswith((UNNAMED, "Unnamed:"))
        if column not in TEXT_COLUMNS and not is_index:
            if _holds_scores(row.value.get(column) for row in rows):
                scores.append(column)
    if not scores:
        raise SchemaError(
            f"{path}: no column of scores beside {', '.join(columns)}; expected a trait and "
            "coherence."
        )
    answers, problems = [], []
    for row in rows:
        answer: dict[str, Any] = {column: row.value.get(column, "") for column in columns}
        for column in scores:
            score = _score(row.value.get(column))
            if score is None:
                value = excerpt(row.value[column])
                what = f"{column} must be a number from 0 to 100, or empty; got {value}"
                problems.append((row.line, what))
            answer[column] = score
        answers.append(answer | {"source": str(path), "line": row.line})
    refuse(path, problems, total=len(rows))
    return pd.DataFrame(answers)


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
    path = Path(path).expanduser()
    judged[columns].to_csv(path, index=False, encoding="utf-8")
    return path


def _question(value: Any) -> EvalQuestion:
    optional = ("type", "system", "samples_per_paraphrase", "judge", "judge_prompts")
    extra = check_keys("a question", value, required=("id", "paraphrases"), optional=optional)
    # An entry left empty in YAML is None, which says the same as no entry.
    entries = {key: entry for key, entry in value.items() if entry is not None}
    for key in ("id", "type", "system", "judge"):
        if key in entries and not isinstance(entries[key], str):
            raise SchemaError(f"{key} must be a text; got {excerpt(entries[key])}")
    judge_prompts = entries.get("judge_prompts", {})
    if not isinstance(judge_prompts, Mapping):
        raise SchemaError(f"judge_prompts must be a mapping; got {excerpt(judge_prompts)}")
    type_ = entries.get("type", TYPES[0])
    if type_ not in TYPES:
        raise SchemaError(unknown("type", type_, TYPES))
    samples = entries.get("samples_per_paraphrase", 1)
    if isinstance(samples, bool) or not isinstance(samples, int) or samples < 1:
        raise SchemaError(
            f"samples_per_paraphrase must be a whole number from 1; got {excerpt(samples)}"
        )
    if not all(isinstance(text, str) for text in chain(judge_prompts, judge_prompts.values())):
        raise SchemaError(f"judge_prompts must map names to texts; got {excerpt(judge_prompts)}")
    return EvalQuestion(
        id=entries["id"],
        paraphrases=strings("paraphrases", entries["paraphrases"]),
        type=type_,
        system=entries.get("system", ""),
        samples=samples,
        judge=entries.get("judge", ""),
        judge_prompts=dict(judge_prompts),
        extra=extra,
    )


def _score(cell: Any) -> float | None:
    """A score; NaN for none, None for what is no score."""
    if cell is None or cell == "":
        return math.nan
    try:
        score = float(cell)
    except (TypeError, ValueError):
        return None
    if math.isnan(score) or 0 <= score <= 100:
        return score
    return None


def _holds_scores(cells: Iterable[Any]) -> bool:
    """Whether most cells are scores: a column of texts is not one with many bad rows."""
    cells = [cell for cell in cells if cell not in (None, "")]
    n_scores = sum(_score(cell) is not None for cell in cells)
    return 2 * n_scores > len(cells)
