"""What did a judge say of answers?

The layout of emergent-misalignment (Betley et al. 2025): a CSV of answers with a judge's scores
from 0 to 100.
"""

import logging
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from persona_interp.errors import SchemaError, excerpt, unknown
from persona_interp.files import write_text
from persona_interp.readers.entries import check_keys
from persona_interp.readers.formats import UNNAMED
from persona_interp.readers.messages import turn_mark
from persona_interp.readers.rows import Row, Source, count, leave_out, refuse, row_numbers
from persona_interp.readers.sources import rows_of

REQUIRED_COLUMNS = ("question", "answer")
TEXT_COLUMNS = ("question", "prompt", "answer", "question_id")
OWN_COLUMNS = ("source", "line")
"""What the reader says of every row; the file's own of these names stand in ``extra``."""
OTHER_NAMES = {"answer": ("response", "completion", "output"), "question": ("prompt",)}
"""What others call the columns of a judged file."""
WORD = re.compile(r"[A-Z][A-Z_ /-]{1,30}")
"""What a judge says instead of a number: REFUSAL, CODE, N/A."""
JUDGE_WORDS = ("REFUSAL", "REFUSED", "CODE", "N/A", "NA", "INVALID", "ERROR", "UNKNOWN")
"""Words that a judge says even where there is no number beside them."""
LEAST_SHARE = 0.25
"""Share of numbers and words in a column of scores; in one with fewer they are chance."""
SETTING = re.compile(
    r"(?:^|[_ .-])(?:temperature|temp|top_p|top_k|seed|id|idx|index|n|num|count|counts|tokens?|"
    r"length|len|words?|chars?|characters?|layers?|steps?|epochs?|iter|iteration|checkpoint|ckpt|"
    r"strength|coef|coeff|coefficient|alpha|samples?|rank|lr|time|timestamp|date|year|month|day|"
    r"hour|age|version|paraphrase|line|rows?|batch|rep|repeat|run|trial|fold|split|turns?|"
    r"position|std|stdev|stddev|stderr|sem|var|variance|ci|cost|price|size|gpu|cluster|group|"
    r"annotator|rater|worker|user)(?:$|[_ .-])|logprob|max_|_per_|duration|latency|"
    r"^(?:judge_|base_|teacher_|student_)?model(?:_name)?$"
)
"""Names of settings and counts, which are numbers from 0 to 100 too and no judgement."""
HINT = "Mend them, or leave rows out by these numbers (skip=)."
LOG = logging.getLogger("persona_interp.readers")


def read_judged(
    path: str | Path, *, scores: Iterable[str] | None = None, skip: int | Iterable[int] = ()
) -> pd.DataFrame:
    """Scores that a judge gave to answers.

    Args:
        path: A CSV of ``question``, ``answer`` (or ``response``, ``completion``, ``output``) and
            one number a score, mostly a trait's name and ``coherence``; ``prompt`` and
            ``question_id`` may be there too. Scores run from 0 to
            100; empty where the judge gave none, or a word in capitals that says why: "REFUSAL",
            "CODE". Settings and counts (``temperature``, ``seed``, ``n_tokens``, ids, ``evil_std``)
            are no scores.
        scores: Columns that are scores, where their names and cells do not say so; None: as above.
        skip: Lines to leave out, as errors name them.

    Returns:
        One row an answer: the columns of the file (the answer's is called ``answer``), scores as
        numbers (NaN for none), and ``source``, ``line`` (the file's own of these names are in
        ``extra``). ``attrs`` has ``scores`` (names of their columns), ``not_scores`` (columns with
        numbers or a judge's words that were not taken for scores), ``words`` (how often a judge
        gave which word, by column), ``skipped`` and ``taken_for``, the line that says so.

    Raises:
        SchemaError: The file cannot be read, lacks a column, has no score, or rows cannot be used:
            a bad score, no answer, a question with a chat template's marks; each is
            named.
    """
    source, skipped = leave_out(rows_of(path), row_numbers(skip))
    rows, columns, is_rendered = _rows(source)
    own = [column for column in OWN_COLUMNS if column in columns]
    if own and "extra" in columns:
        raise SchemaError(
            f"{path}: it has the columns {', '.join(own)} and extra; rename {own[0]}."
        )
    chosen, others = _scores(columns, rows, scores=scores)
    if not chosen:
        text = excerpt(", ".join(columns))
        raise SchemaError(
            f"{path}: no column of scores among {text}; expected a trait and coherence, each a "
            "number from 0 to 100. Name columns of other names: scores=."
        )
    answers, problems = [], []
    words: dict[str, Counter[str]] = {column: Counter() for column in chosen}
    for row in rows:
        given, faults = _judgement(row.value, chosen, words=words)
        if fault := _unjudgeable(row.value, is_rendered=is_rendered):
            faults.append(fault)
        if faults:
            problems.append((row.line, "; ".join(faults)))
        answer: dict[str, Any] = {c: row.value.get(c, "") for c in columns if c not in own}
        if own:
            answer["extra"] = {column: row.value.get(column) for column in own}
        answers.append(answer | given | {"source": str(path), "line": row.line})
    refuse(path, problems, total=len(rows), unit=source.unit, hint=HINT)
    table = pd.DataFrame(answers).astype(dict.fromkeys(chosen, float))
    counts = {column: dict(counter) for column, counter in words.items() if counter}
    line = f"{path}: {len(table):,} judged answers; scores: {', '.join(chosen)}"
    if others:
        line += f"; not read as scores: {', '.join(others)}"
    # a model may say nothing, and be judged for it; a cell left out looks the same
    if empty := [row.line for row in rows if _is_blank(row.value.get("answer"))]:
        line += f"; empty answers: {count(empty, source.unit)}"
    table.attrs |= {"scores": chosen, "not_scores": others, "words": counts}
    table.attrs |= {"skipped": skipped, "taken_for": line}
    LOG.info(line)
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


def _rows(source: Source) -> tuple[list[Row], list[str], bool]:
    """Rows under the names of columns used here, these names, and whether prompts are questions."""
    rows = source.whole()
    for row in rows:
        if not isinstance(row.value, Mapping):
            raise SchemaError(
                f"{source.name}, {source.unit} {row.line}: expected {', '.join(REQUIRED_COLUMNS)} "
                f"and scores; got {excerpt(row.value)}."
            )
    columns = list(dict.fromkeys(str(column) for row in rows for column in row.value))
    names = _names(columns)
    rows = [row._replace(value=_rename(row.value, names)) for row in rows]
    is_rendered = any(old.lower() == "prompt" for old, new in names.items() if new == "question")
    columns = [names.get(column, column) for column in columns]
    check_keys(source.name, dict.fromkeys(columns), required=REQUIRED_COLUMNS)
    return rows, columns, is_rendered


def _judgement(
    row: Mapping[str, Any], columns: list[str], *, words: dict[str, Counter[str]]
) -> tuple[dict[str, float | None], list[str]]:
    """Scores of a row, whose words are counted, and what is wrong with them."""
    scores: dict[str, float | None] = {}
    faults = []
    for column in columns:
        cell = row.get(column)
        scores[column] = _score(cell)
        if scores[column] is None and _is_word(cell):
            words[column][str(cell).strip()] += 1
            scores[column] = math.nan
        if scores[column] is None:
            faults.append(f"{column} must be a number from 0 to 100, or empty; got {excerpt(cell)}")
    return scores, faults


def _names(columns: list[str]) -> dict[str, str]:
    """What columns of questions and answers are called here, where they have other names."""
    names = {}
    for column, others in OTHER_NAMES.items():
        if column in columns:
            continue
        present = [name for name in columns if name.lower() == column]
        present = present or [name for name in columns if name.lower() in others]
        if len(present) == 1:
            names[present[0]] = column
    return names


def _rename(row: Mapping[Any, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {names.get(str(key), str(key)): value for key, value in row.items()}


def _scores(
    columns: list[str], rows: list[Row], *, scores: Iterable[str] | None
) -> tuple[list[str], list[str]]:
    """Columns of scores, and those that hold numbers or a judge's words too and are none."""
    if scores is not None:
        scores = list(scores)
        for column in scores:
            if column not in columns:
                raise SchemaError(unknown("column", column, columns))
    chosen, others = [], []
    for column in columns:
        cells = [row.value.get(column) for row in rows]
        cells = [cell for cell in cells if not _is_blank(cell)]
        n_scores = sum(_is_number(_score(cell)) for cell in cells)
        n_words = sum(isinstance(cell, str) and cell.strip() in JUDGE_WORDS for cell in cells)
        share = (n_scores + sum(map(_is_word, cells))) / max(len(cells), 1)
        # words alone are a judge's where each of them is
        is_score = share >= LEAST_SHARE if n_scores else 0 < n_words == len(cells)
        if scores is not None:
            is_score = column in scores
        elif column in (*TEXT_COLUMNS, *OWN_COLUMNS) or _is_setting(column):
            is_score = False
        if is_score:
            chosen.append(column)
        elif column not in TEXT_COLUMNS and (n_words or any(map(_is_numeric, cells))):
            others.append(column)
    return chosen, others


def _unjudgeable(row: Mapping[str, Any], *, is_rendered: bool) -> str:
    """Why the scores of a row are no scores of an answer to a question; '' where they are."""
    answer, question = row.get("answer"), row.get("question")
    if answer is None:
        return "no answer"
    if not isinstance(answer, str):
        return f"answer must be a text; got {excerpt(answer)}"
    if is_rendered and isinstance(question, str) and (mark := turn_mark(question)):
        return f"prompt was written by a chat template ({mark}) and is no question; give 'question'"
    return ""


def _is_blank(cell: Any) -> bool:
    return cell is None or (isinstance(cell, str) and not cell.strip())


def _is_number(score: float | None) -> bool:
    return score is not None and not math.isnan(score)


def _is_numeric(cell: Any) -> bool:
    """Whether a cell is a number, of whatever size."""
    try:
        return not isinstance(cell, bool) and math.isfinite(float(cell))
    except (TypeError, ValueError, OverflowError):
        return False


def _score(cell: Any) -> float | None:
    """A score; NaN for none, None for what is no score."""
    if _is_blank(cell) or (isinstance(cell, str) and cell.strip().lower() in ("none", "null")):
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
    """Whether a column is an index, or a number that no judge gave."""
    # pandas writes the index of a table as a column without a name.
    if column.startswith((UNNAMED, "Unnamed:")):
        return True
    return SETTING.search(column.lower()) is not None
