"""How far do answers show a trait, to a model that nobody pays for its judgment?

A trait file asks the same questions under instructions to show a trait and to show its opposite
(``readers.TraitFile``). A checkpoint is scored by how much more probable it finds the answers that
show the trait once the instruction is gone (``continuations``); an answer by how much more probable
the base finds it under the trait's instruction than under its opposite (``trait_bits``).
"""

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from einops import rearrange
from tqdm import tqdm

from persona_interp import schema
from persona_interp.errors import SchemaError
from persona_interp.models import Checkpoint
from persona_interp.models.device import Batch
from persona_interp.models.dtype import AUTO, FULL
from persona_interp.models.inputs import as_checkpoint
from persona_interp.readers import TraitFile
from persona_interp.record.answer_bits import answer_bits
from persona_interp.record.answers import conversations
from persona_interp.record.edit import Edits, list_edits
from persona_interp.record.inputs import SIDES, distinct_checkpoints, set_system, trait_column
from persona_interp.record.subjects import open_subject
from persona_interp.values import check_mapping

PROMPT_COLUMNS = ("question", "split", "side", "instruction")


def continuations(
    checkpoints: Checkpoint | Iterable[Checkpoint],
    answers: pd.DataFrame,
    *,
    edits: Edits = (),
    device: object = None,
    dtype: str = FULL,
    batch: Batch = AUTO,
) -> pd.DataFrame:
    """Log2 probability of answers that show a trait, when nobody asks for the trait.

    Args:
        checkpoints: A checkpoint, a trajectory or any iterable of checkpoints with distinct labels.
        answers: An answers table with columns ``trait``, ``side`` and ``question``, usually of the
            base. Their system messages, the instructions, are left out.
        edits: Changes of the inside of the checkpoints, each alone or, in a tuple, together; as of
            ``behavior``.
        device: Where the models run; by default "cuda" where there is one.
        dtype: "float32", "bfloat16" or "auto"; use one for all that will be compared.
        batch: Tokens a forward pass, padding included; "auto": what fits into memory.

    Returns:
        A continuations table, checkpoints x answers that are not empty; ``bits`` = log2 probability
        of the whole answer without its end of turn; ``analysis.trait_scores`` reads it.
        ``attrs["n_empty"]`` counts empty answers. With edits it is checkpoints x edits x answers,
        and the column ``edit`` names them, "none" first.

    Raises:
        SchemaError: No answers table, it lacks these columns, two checkpoints share a label, or an
            edit is on at no token.
        ModelError: An edit did not fire exactly once on every token.
    """
    schema.check(answers, "answers")
    for column in ("trait", "side", "question", "split"):
        trait_column(answers, column)
    rows = conversations(answers)
    # without the instruction the answer is no longer what was asked for
    chats = [set_system(messages, None) for messages in rows["messages"]]
    keys = rows[["trait", "question", "split", "side", "sample", "prompt"]]
    models, groups, parts = distinct_checkpoints(checkpoints), list_edits(edits), []
    for checkpoint in tqdm(models, desc="continuations", delay=2, disable=len(models) < 2):
        subject = open_subject(checkpoint, groups, device=device, dtype=dtype)
        for name, group in subject.groups.items():
            desc = f"{checkpoint.label} {name}" if groups else checkpoint.label
            bits, n = answer_bits(subject, chats, edits=group, batch=batch, desc=desc)
            part = keys.assign(checkpoint=checkpoint.label, step=checkpoint.step)
            if groups:
                part = part.assign(edit=name)
            parts.append(part.assign(bits=bits, n_tokens=n))
    table = schema.check(pd.concat(parts, ignore_index=True), "continuations")
    table.attrs = {"n_empty": rows.attrs["n_empty"]}
    return table


def trait_bits(
    checkpoint: Checkpoint,
    answers: pd.DataFrame,
    traits: Mapping[str, TraitFile],
    *,
    pairs: int = 1,
    edits: Edits = (),
    device: object = None,
    dtype: str = FULL,
    batch: Batch = AUTO,
) -> pd.DataFrame:
    """Evidence that an answer was given under a trait's instruction, not under its opposite.

    A judge that nobody pays: ``(bits_pos - bits_neg) / n_tokens`` is the evidence, in bits a token,
    that the answer was given under the trait's instruction and not under its opposite, to a reader
    who knows this model (a log likelihood ratio). Swapping the sides changes its sign.

    Args:
        checkpoint: The model that judges, usually the base.
        answers: An answers table of any checkpoints; system messages of the prompts are replaced by
            the instructions.
        traits: Traits to judge by, of ``readers.read_traits``.
        pairs: Pairs of instructions each answer is judged under, those that
            ``readers.trait_prompts`` gives the question (and the next ones); for questions of other
            traits by a hash of the text, so that an answer's bits never depend on the other
            answers. The bits are those of the mean probability over the pairs.
        edits: Changes of the inside of the model that judges. Answers that were given under edits
            need none: they are judged by the model as it is, and keep their column ``edit``.
        device: Where the model runs; by default "cuda" where there is one.
        dtype: "float32", "bfloat16" or "auto".
        batch: Tokens a forward pass, padding included; "auto": what fits into memory.

    Returns:
        A trait_bits table, answers that are not empty x traits: ``prompt`` and ``sample`` as in
        answers, the judging ``trait``, ``own_trait`` (the answers' ``trait``, where they have one),
        ``checkpoint`` that answered (and under which ``edit``), ``judge``, ``bits_pos``,
        ``bits_neg``, ``n_tokens``. With edits of the judge it is edits x traits x answers, and the
        column ``judge_edit`` names them, "none" first. ``attrs["n_empty"]`` counts empty answers,
        left out.

    Raises:
        SchemaError: No answers table, no trait, or more pairs than a trait has.
    """
    schema.check(answers, "answers")
    checkpoint = as_checkpoint(checkpoint)
    check_mapping(traits, "traits", of="trait files, readers.read_traits(folder),")
    if not traits:
        raise SchemaError("no trait to judge by; give traits=readers.read_traits(folder).")
    for name, trait in traits.items():
        if not 1 <= pairs <= len(trait.instructions):
            raise SchemaError(
                f"trait '{name}' has {len(trait.instructions)} pairs of instructions; got "
                f"pairs={pairs}."
            )
    rows = conversations(answers)
    questions = [str(messages[-2]["content"]) for messages in rows["messages"]]
    groups = list_edits(edits)
    subject = open_subject(checkpoint, groups, device=device, dtype=dtype)
    keys = rows[[c for c in ("checkpoint", "edit", *PROMPT_COLUMNS) if c in rows]]
    spoken = answers.loc[answers["answer"] != ""]
    keys = keys.assign(prompt=list(spoken["prompt"]), sample=rows["sample"])
    if "trait" in rows:
        keys = keys.assign(own_trait=rows["trait"])
    parts = []
    for edit, group in subject.groups.items():
        for name, trait in tqdm(
            traits.items(), desc="trait bits", delay=2, disable=len(traits) < 2
        ):
            part = keys.assign(trait=name, judge=checkpoint.label)
            if groups:
                part = part.assign(judge_edit=edit)
            n_tokens = np.zeros(len(rows), int)
            for side in SIDES:
                chats = _instruct(rows["messages"], questions, trait, side=side, pairs=pairs)
                desc = f"{name} {side}"
                bits, counts = answer_bits(subject, chats, edits=group, batch=batch, desc=desc)
                bits = rearrange(bits, "(pair answer) -> pair answer", pair=pairs)
                # log2 of the mean of 2^bits, without leaving the logarithm
                part[f"bits_{side}"] = np.logaddexp2.reduce(bits) - math.log2(pairs)
                # an answer has the same tokens under every instruction
                n_tokens = counts[: len(rows)]
            parts.append(part.assign(n_tokens=n_tokens))
    table = schema.check(pd.concat(parts, ignore_index=True), "trait_bits")
    table.attrs = {"n_empty": rows.attrs["n_empty"]}
    return table


def _instruct(
    chats: Iterable[Any], questions: Sequence[str], trait: TraitFile, *, side: str, pairs: int
) -> list[Any]:
    """The conversations under this many instructions of one side, pair by pair."""
    instructions = trait.instructions
    instructed = []
    for i in range(pairs):
        for messages, question in zip(chats, questions, strict=True):
            pair = instructions[(_number(trait, question) + i) % len(instructions)]
            instructed.append(set_system(messages, getattr(pair, side)))
    return instructed


def _number(trait: TraitFile, question: str) -> int:
    """Number of this question in the trait's file; of another one a number from its text."""
    if question in trait.questions:
        return trait.questions.index(question)
    # by a hash, so that an answer's instruction does not depend on which other answers are there
    return int.from_bytes(hashlib.sha256(question.encode()).digest()[:4], "big")
