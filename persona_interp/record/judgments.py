"""Which scores does a judge give answers? Each is asked for once and stored on disk."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from persona_interp import schema
from persona_interp.errors import SchemaError, unknown
from persona_interp.models.cache import cache as cache_folder
from persona_interp.models.cache import short_hash
from persona_interp.record.judge import Judge
from persona_interp.record.ledger import append_row, read_ledger
from persona_interp.record.parallel import call_all
from persona_interp.values import check_mapping, is_number

KINDS = {"score": (int, float, type(None))}


def judgments(
    answers: pd.DataFrame,
    judge: Judge,
    *,
    prompts: Mapping[str, str | Mapping[str, str]],
    cache: Path | str | bool | None = None,
) -> pd.DataFrame:
    """Scores that the judge gives these answers.

    Args:
        answers: An answers table. The question is its column ``question``, or the last user
            message.
        judge: The judge; one with ``parallel`` is asked so many times at once.
        prompts: Prompt of the judge by name of the score: ``{trait.name: trait.eval_prompt}`` of a
            trait file. Where every question has its own, by ``question_id``: ``{"aligned": {q.id:
            q.judge_prompts["aligned"] for q in readers.read_questions(file)}, ...}``.
        cache: Folder of earlier scores, found by judge, prompt, question and answer; each is
            written when it is given. None: a folder in the model cache; False: none.

    Returns:
        The answers with one column a score, from 0 to 100, NaN where the judge gave none;
        ``attrs["n_unscored"]`` counts those by name.

    Raises:
        SchemaError: No answers table, a name that is a column already, a question without a prompt,
            a prompt without a place for the answer, a judge without a name, or a score out of
            range.
        StoreError: The stored scores are corrupt.
    """
    schema.check(answers, "answers")
    _check(answers, judge, prompts)
    if "question" in answers:
        questions = list(answers["question"])
    else:
        questions = [_question(messages) for messages in answers["messages"]]
    file = _file(cache, judge.name)
    stored = {key: row["score"] for key, row in read_ledger(file, KINDS).items()}
    keys: dict[str, list[str]] = {}
    missing: dict[str, tuple[str, str, str]] = {}
    for name, eval_prompts in prompts.items():
        keys[name] = []
        for question, answer, prompt in zip(
            questions, answers["answer"], _prompts(answers, eval_prompts), strict=True
        ):
            key = short_hash([judge.name, prompt, question, answer])
            keys[name].append(key)
            if key not in stored:
                missing[key] = (str(question), str(answer), prompt)
    with tqdm(total=len(missing), desc=f"scores of {judge.name}", delay=2) as bar:
        for key, score in call_all(judge, missing, workers=getattr(judge, "parallel", 1)):
            _check_score(score, judge.name)
            stored[key] = score
            # at once: a judge may be paid, and may fail at the next answer
            append_row(file, key, {"score": score})
            bar.update()
    table = answers.copy()
    for name in prompts:
        scores = [stored[key] for key in keys[name]]
        table[name] = pd.Series(scores, index=answers.index, dtype=float)
    n_unscored = {name: int(np.isnan(table[name].to_numpy(float)).sum()) for name in prompts}
    table.attrs = {**answers.attrs, "judge": judge.name, "n_unscored": n_unscored}
    return table


def _check(answers: pd.DataFrame, judge: Judge, prompts: Mapping[str, object]) -> None:
    check_mapping(prompts, "prompts", of="the judge's prompt")
    columns = sorted(set(prompts) & set(answers.columns))
    if columns or not prompts:
        raise SchemaError(
            "scores need names that are no columns of the answers; got "
            f"{', '.join(columns) or '(none)'}."
        )
    if not isinstance(getattr(judge, "name", None), str) or not judge.name:
        raise SchemaError("a judge has a name, which keys its stored scores; see record.Judge.")


def _check_score(score: float | None, judge: str) -> None:
    if score is None:
        return
    if not (is_number(score) and 0 <= score <= 100):
        raise SchemaError(
            f"judge {judge!r} gave the score {score!r}; scores are numbers from 0 to 100, or None."
        )


def _prompts(answers: pd.DataFrame, prompts: str | Mapping[str, str]) -> list[str]:
    """The judge's prompt for each answer."""
    if isinstance(prompts, str):
        return [prompts] * len(answers)
    if "question_id" not in answers:
        raise SchemaError(
            "prompts by question need answers with a question_id, of readers.question_prompts."
        )
    ids = [str(name) for name in answers["question_id"]]
    for name in ids:
        if name not in prompts:
            raise SchemaError(unknown("question with a judge's prompt", name, prompts))
    return [prompts[name] for name in ids]


def _question(messages: list[dict[str, str]]) -> str:
    """Text of the last user message."""
    for message in reversed(messages):
        if message["role"] == "user":
            return message["content"]
    return ""


def _file(cache: Any, judge: str) -> Path | None:
    """File of a judge's scores; None where they are not stored."""
    if cache is False:
        return None
    folder = cache_folder() / "judged"
    if isinstance(cache, Path | str):
        folder = Path(cache)
    return folder / f"{short_hash(judge)}.jsonl"
