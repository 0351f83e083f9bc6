"""What does an evaluation ask, and how is a judge asked?

The layout of emergent-misalignment (Betley et al. 2025): a YAML list of questions with paraphrases
and judge prompts.
"""

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
from persona_interp.readers.messages import is_empty
from persona_interp.readers.prompt_rows import SPLITS, prompt_row
from persona_interp.readers.rows import Source, refuse
from persona_interp.readers.sources import rows_of

TYPES = ("free_form_judge_0_100", "free_form_judge", "free_form_0_100", "free_form")
OPTIONAL = ("type", "system", "samples_per_paraphrase", "judge", "judge_prompts")
ONE_TEXT = ("prompt", "question", "text")
"""What a single paraphrase is called."""


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


def _question(value: Any) -> EvalQuestion:
    if not isinstance(value, Mapping):
        raise SchemaError(
            f"a question: expected an object with id, paraphrases; got {excerpt(value)}"
        )
    entries = _entries(value)
    extra = check_keys("a question", entries, required=("id", "paraphrases"), optional=OPTIONAL)
    # numbers, and dates that YAML makes of 2024-01-01
    if isinstance(entries["id"], bool | list | dict) or not str(entries["id"]).strip():
        raise SchemaError(f"id must be a text or a number; got {excerpt(entries['id'])}")
    for key in ("type", "system", "judge"):
        if key in entries and not isinstance(entries[key], str):
            raise SchemaError(f"{key} must be a text; got {excerpt(entries[key])}")
    judge_prompts = entries.get("judge_prompts", {})
    if is_empty(judge_prompts):
        judge_prompts = {}
    if not isinstance(judge_prompts, Mapping):
        raise SchemaError(f"judge_prompts must be a mapping; got {excerpt(judge_prompts)}")
    type_ = entries.get("type", TYPES[0])
    message = unknown("type", type_, TYPES)
    # evaluations have types of their own, which change nothing here; a typing error does
    if type_ not in TYPES and "did you mean" in message:
        raise SchemaError(message)
    samples = _samples(entries)
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


def _samples(entries: Mapping[str, Any]) -> int:
    """Number of answers drawn for each paraphrase."""
    samples = entries.get("samples_per_paraphrase", 1)
    if isinstance(samples, str) and samples.strip().isdecimal():
        samples = int(samples)
    if isinstance(samples, bool) or not isinstance(samples, int) or samples < 1:
        raise SchemaError(
            f"samples_per_paraphrase must be a whole number from 1; got {excerpt(samples)}"
        )
    return samples


def _entries(value: Mapping[Any, Any]) -> dict[str, Any]:
    """Entries of a question, under the names used here."""
    # An entry left empty in YAML is None, which says the same as no entry.
    entries = {str(key): entry for key, entry in value.items() if entry is not None}
    if "system" not in entries and "system_prompt" in entries:
        entries["system"] = entries.pop("system_prompt")
    texts = [key for key in ONE_TEXT if key in entries and "paraphrases" not in entries]
    if len(texts) == 1:
        entries["paraphrases"] = [entries.pop(texts[0])]
    return entries
