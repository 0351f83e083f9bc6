"""What does an evaluation ask, how is a judge asked, and what did a judge say?

The layouts of emergent-misalignment (Betley et al. 2025): a YAML list of questions with paraphrases
and judge prompts, and a CSV of answers with a judge's scores from 0 to 100.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from persona_interp import schema
from persona_interp.errors import SchemaError, unknown
from persona_interp.readers.files import UNNAMED, keys, read_rows, refuse, shown, strings, text_of
from persona_interp.readers.traits import SPLITS, prompt_row

TYPES = ("free_form_judge_0_100", "free_form_judge", "free_form_0_100", "free_form")
JUDGED = ("question", "answer")
KNOWN = ("prompt", "question_id", "coherence", "coherent", "aligned")
TEXTS = ("question", "prompt", "answer", "question_id")


@dataclass(frozen=True)
class EvalQuestion:
    """What is asked in an evaluation, and how is the answer judged?

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
    """Which questions does this evaluation ask?

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
    loader = _YamlOnce(text_of(path))
    try:
        node = loader.get_single_node()
        given = None if node is None else loader.construct_document(node)
    except (yaml.YAMLError, ValueError) as error:
        raise SchemaError(f"{path} is not valid YAML: {error}.") from error
    finally:
        loader.dispose()
    if node is None or not isinstance(given, list) or not given:
        raise SchemaError(
            f"{path}: expected a list of questions, each with id and paraphrases; got "
            f"{shown(given)}."
        )
    found: list[EvalQuestion] = []
    problems, lines = [], {}
    for entry, place in zip(given, node.value, strict=True):
        line = place.start_mark.line + 1
        try:
            question = _question(entry)
            if question.id in lines:
                raise SchemaError(f"the id '{question.id}' is that of line {lines[question.id]}")
        except SchemaError as error:
            problems.append((line, str(error)))
            continue
        lines[question.id] = line
        found.append(question)
    refuse(path, problems, total=len(given))
    return tuple(found)


def write_questions(questions: Iterable[EvalQuestion], path: str | Path) -> Path:
    """Where are these questions kept?

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
    rows = []
    for q in questions:
        row: dict[str, Any] = {"id": q.id, "type": q.type} | (
            {"system": q.system} if q.system else {}
        )
        row |= {"paraphrases": list(q.paraphrases), "samples_per_paraphrase": q.samples}
        row |= {"judge": q.judge} if q.judge else {}
        row |= {"judge_prompts": dict(q.judge_prompts)} if q.judge_prompts else {}
        rows.append(row | dict(q.extra))
    path.write_text(yaml.safe_dump(rows, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return path


def question_prompts(questions: Iterable[EvalQuestion]) -> pd.DataFrame:
    """What is a model asked in this evaluation?

    Args:
        questions: The questions.

    Returns:
        A prompts table (``schema``), one row a paraphrase, with ``question_id``, ``paraphrase``
        (its number), ``question`` (its text) and ``samples``. Questions are dealt alternately to
        train and test, with all their paraphrases.

    Raises:
        SchemaError: There are no questions.

    >>> question_prompts([EvalQuestion("bored", ("I feel bored.",), system="Answer in JSON.")])["context"][0]
    'instructed'
    """
    rows = []
    for number, q in enumerate(questions):
        for k, text in enumerate(q.paraphrases):
            row = prompt_row(
                f"{q.id}/{k}", text, system=q.system, topic=q.id, split=SPLITS[number % 2]
            )
            rows.append(
                row | {"question_id": q.id, "paraphrase": k, "question": text, "samples": q.samples}
            )
    if not rows:
        raise SchemaError("there are no questions to ask.")
    return schema.check(pd.DataFrame(rows), "prompts")


def read_judged(path: str | Path) -> pd.DataFrame:
    """What did a judge say about these answers?

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
    keys(
        str(path),
        dict.fromkeys(columns),
        required=JUDGED,
        optional=("prompt", "question_id", "coherence", "coherent"),
    )
    named = [c for c in columns if c not in TEXTS and not c.startswith((UNNAMED, "Unnamed:"))]
    scores = [column for column in named if _numbers(row.value.get(column) for row in rows)]
    if not scores:
        raise SchemaError(
            f"{path}: no column of scores beside {', '.join(columns)}; expected a trait and "
            "coherence."
        )
    problems, found = [], []
    for row in rows:
        values: dict[str, Any] = {c: row.value.get(c, "") for c in columns}
        values |= {score: _score(row.value.get(score)) for score in scores}
        problems += [
            (
                row.line,
                f"{score} must be a number from 0 to 100, or empty; got {shown(row.value[score])}",
            )
            for score in scores
            if values[score] is None
        ]
        found.append(values | {"source": str(path), "line": row.line})
    refuse(path, problems, total=len(rows))
    return pd.DataFrame(found)


def write_judged(judged: pd.DataFrame, path: str | Path, *, scores: Iterable[str]) -> Path:
    """Where are these scores kept for other tools?

    Args:
        judged: Answers with scores, of ``record.judgments``.
        path: A ``.csv`` file; an existing one is replaced.
        scores: Columns of scores to write, for example ``("aligned", "coherent")``.

    Returns:
        The path; ``read_judged`` reads it.

    Raises:
        SchemaError: A column is missing.
    """
    columns = [*JUDGED, *(c for c in TEXTS if c in judged and c not in JUDGED), *scores]
    for column in columns:
        if column not in judged:
            raise SchemaError(unknown("column", column, judged.columns))
    path = Path(path).expanduser()
    judged[columns].to_csv(path, index=False, encoding="utf-8")
    return path


def _question(given: Any) -> EvalQuestion:
    optional = ("type", "system", "samples_per_paraphrase", "judge", "judge_prompts")
    extra = keys("a question", given, required=("id", "paraphrases"), optional=optional)
    given = {key: value for key, value in given.items() if value is not None}
    for key, kind in {
        "id": str,
        "type": str,
        "system": str,
        "judge": str,
        "judge_prompts": Mapping,
    }.items():
        if key in given and not isinstance(given[key], kind):
            raise SchemaError(
                f"{key} must be {'a mapping' if kind is Mapping else 'a text'}; got "
                f"{shown(given[key])}"
            )
    if (kind := given.get("type", TYPES[0])) not in TYPES:
        raise SchemaError(unknown("type", kind, TYPES))
    samples = given.get("samples_per_paraphrase", 1)
    if isinstance(samples, bool) or not isinstance(samples, int) or samples < 1:
        raise SchemaError(
            f"samples_per_paraphrase must be a whole number from 1; got {shown(samples)}"
        )
    judges = given.get("judge_prompts", {})
    if not all(isinstance(k, str) and isinstance(v, str) for k, v in judges.items()):
        raise SchemaError(f"judge_prompts must map names to texts; got {shown(judges)}")
    asked = strings("paraphrases", given["paraphrases"])
    head = (given["id"], asked, kind, given.get("system", ""), samples, given.get("judge", ""))
    return EvalQuestion(*head, dict(judges), extra)


def _score(given: Any) -> float | None:
    """A score; NaN for none, None for what is no score."""
    if given is None or given == "":
        return math.nan
    try:
        value = float(given)
    except (TypeError, ValueError):
        return None
    return value if math.isnan(value) or 0 <= value <= 100 else None


def _numbers(given: Iterable[Any]) -> bool:
    """Are most of these scores? A column of texts is not one with many bad rows."""
    filled = [value for value in given if value not in (None, "")]
    return bool(filled) and 2 * sum(_score(value) is not None for value in filled) > len(filled)


class _YamlOnce(yaml.SafeLoader):
    """Plain YAML that refuses a key twice in one mapping, of which the parser would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002
        names = [key.value for key, _ in node.value]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise yaml.YAMLError(
                f"line {node.start_mark.line + 1}: the key '{twice}' is there twice; keep one"
            )
        return super().construct_mapping(node, deep=deep)
