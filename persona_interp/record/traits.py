"""Where in a chat model does a trait live, and how far does what it says show the trait? From its own answers.

A trait file asks the same questions under instructions to show a trait and to show its opposite
(``readers.TraitFile``). The model's own answers (``record.answers``) then give a vector, and a
score that needs no judge: how much more probable a checkpoint finds the answers that show the trait
once the instruction is gone.
"""

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from tqdm import tqdm

from persona_interp import schema
from persona_interp.errors import SchemaError, unknown
from persona_interp.models import ROLES, Checkpoint, load
from persona_interp.readers import TraitFile
from persona_interp.record.activations import activations
from persona_interp.record.answer_bits import BATCH, answer_bits
from persona_interp.record.answers import conversations
from persona_interp.record.pooling import distinct
from persona_interp.record.stack import made_directions, stacked

POOLS = {
    "response": ("assistant",),
    "prompt": tuple(role for role in ROLES if role != "special"),
    "last": ROLES,
}
"""What a trait's vector averages over, and the roles of the tokens it takes there."""

KEPT = ("question", "split", "side", "instruction")


def trait_vectors(
    checkpoint: Checkpoint,
    answers: pd.DataFrame,
    *,
    hooks: Sequence[str],
    pool: str = "response",
    where: Iterable[str] | None = None,
) -> xr.DataArray:
    """In which direction does each trait lie?

    ``v = mean over answers of pos - mean over answers of neg``, each answer first averaged over its
    tokens: the persona vector of Chen et al. 2025 (``response_avg_diff``, ``prompt_avg_diff``,
    ``prompt_last_diff``). Positive = towards the trait. Answers that were judged are filtered
    before they come here.

    Args:
        checkpoint: The model that is read; usually the one that answered.
        answers: An answers table with columns ``trait`` and ``side``; other sides than pos and neg
            are not read.
        hooks: Hook names, all read in one run.
        pool: "response" = mean over the answer's tokens; "prompt" = over those before it; "last" =
            the last one before.
        where: Roles of the tokens averaged over. By default an answer's own, of a prompt all but
            special tokens: the first token of many models is an attention sink hundreds of times
            longer than the others. The published average over prompts has all of them,
            ``where=models.ROLES``.

    Returns:
        Directions, dims (name = trait, hook, d_model), float32, residual units; ``n``, ``n_pos``
        and ``n_neg`` answers along name; ``hidden_state`` along hook: block i's output is
        ``hidden_states[i + 1]`` of transformers, but for the last block, whose entry there is taken
        after the final norm (here it is before, as at every block). ``n_sinks`` along hook counts
        tokens that are longer than ten times the median and were averaged over all the same, as in
        the published recipe; ``attrs["n_empty"]`` empty answers, left out.

    Raises:
        SchemaError: No answers, an unknown pool, or a trait without answers on one side.
        ModelError: A hook does not exist.
    """
    if pool not in POOLS:
        raise SchemaError(unknown("pool", pool, POOLS))
    schema.check(answers, "answers")
    rows = conversations(
        answers.loc[
            _column(answers, "side").isin(["pos", "neg"]) & (_column(answers, "trait") != "")
        ]
    )
    n_empty = rows.attrs["n_empty"]
    if pool != "response":
        rows = rows.assign(messages=[messages[:-1] for messages in rows["messages"]])
    position = {"response": "answer", "prompt": "mean", "last": "last"}[pool]
    where = POOLS[pool] if where is None else where
    parts = activations(
        checkpoint, rows, hook=list(hooks), position=position, where=where, outlier=math.inf
    )
    acts = stacked(parts, None)
    names = sorted(set(rows["trait"]))
    weights = np.zeros((len(names), len(rows)))
    counts = {side: np.zeros(len(names), int) for side in ("pos", "neg")}
    for i, name in enumerate(names):
        for side, sign in (("pos", 1), ("neg", -1)):
            mask = ((rows["trait"] == name) & (rows["side"] == side)).to_numpy()
            if not mask.any():
                raise SchemaError(
                    f"trait '{name}' has no answers of side '{side}'; a vector needs both."
                )
            weights[i] += sign * mask / mask.sum()
            counts[side][i] = mask.sum()
    vectors = np.einsum("np,hpd->nhd", weights, acts.to_numpy())
    about = {
        "method": f"mean difference of answers, {pool}",
        "reference": "answers under the opposite instruction",
    }
    made = made_directions(vectors, acts, names=names, n=counts["pos"] + counts["neg"], **about)
    made = made.assign_coords({f"n_{side}": ("name", n) for side, n in counts.items()})
    made = made.assign_coords(n_sinks=("hook", [part.attrs["n_sinks"] for part in parts]))
    return made.assign_attrs(n_empty=n_empty)


def continuations(
    checkpoints: Checkpoint | Iterable[Checkpoint],
    answers: pd.DataFrame,
    *,
    dtype: str = "float32",
    batch: int = BATCH,
) -> pd.DataFrame:
    """How probable does each checkpoint find answers that show a trait, when nobody asks for the trait?

    Args:
        checkpoints: A checkpoint, a trajectory or any iterable of checkpoints with distinct labels.
        answers: An answers table with columns ``trait``, ``side`` and ``question``, usually of the
            base. Their system messages, which held the instruction, are left out.
        dtype: "float32" or "bfloat16"; use one for all that will be compared.
        batch: Tokens run together.

    Returns:
        A continuations table, checkpoints x answers that are not empty; ``bits`` = log2 probability
        of the whole answer without its end of turn; ``analysis.trait_scores`` reads it.
        ``attrs["n_empty"]`` counts empty answers.

    Raises:
        SchemaError: No answers table, it lacks these columns, or two checkpoints share a label.
    """
    schema.check(answers, "answers")
    for column in ("trait", "side", "question"):
        _column(answers, column)
    rows = conversations(answers)
    chats = [_headed(messages, None) for messages in rows["messages"]]
    kept = rows[["trait", "question", "split", "side", "sample", "prompt"]]
    listed, parts = distinct(checkpoints), []
    for checkpoint in tqdm(listed, desc="continuations", delay=2, disable=len(listed) < 2):
        model, tokenizer = load(checkpoint)
        model = model.to(getattr(torch, dtype))
        bits, n = answer_bits(model, tokenizer, chats, batch=batch, desc=checkpoint.label)
        parts.append(
            kept.assign(checkpoint=checkpoint.label, step=checkpoint.step, bits=bits, n_tokens=n)
        )
    table = schema.check(pd.concat(parts, ignore_index=True), "continuations")
    table.attrs = {"n_empty": rows.attrs["n_empty"]}
    return table


def trait_bits(
    checkpoint: Checkpoint,
    answers: pd.DataFrame,
    traits: Mapping[str, TraitFile],
    *,
    pairs: int = 1,
    dtype: str = "float32",
    batch: int = BATCH,
) -> pd.DataFrame:
    """Does an answer sound as if the model had been told to show a trait, or to show its opposite?

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
        dtype: "float32" or "bfloat16".
        batch: Tokens run together.

    Returns:
        An instructed table, answers that are not empty x traits: ``prompt`` and ``sample`` as in
        answers, the judging ``trait``, ``asked`` (the answers' own ``trait``, where they have one),
        ``checkpoint`` that answered, ``judge``, ``bits_pos``, ``bits_neg``, ``n_tokens``.
        ``attrs["n_empty"]`` counts empty answers, left out.

    Raises:
        SchemaError: No answers table, no trait, or more pairs than a trait has.
    """
    schema.check(answers, "answers")
    if not traits:
        raise SchemaError("no trait to judge by; give traits=readers.read_traits(folder).")
    rows = conversations(answers)
    names = [name.rpartition("#")[0] for name in rows["prompt"]]
    questions = [str(messages[-2]["content"]) for messages in rows["messages"]]
    model, tokenizer = load(checkpoint)
    model = model.to(getattr(torch, dtype))
    kept = rows[[c for c in ("checkpoint", *KEPT) if c in rows]].assign(
        prompt=names, sample=rows["sample"]
    )
    kept = kept.assign(**({"asked": rows["trait"]} if "trait" in rows else {}))
    parts = []
    for name, trait in tqdm(traits.items(), desc="trait bits", delay=2, disable=len(traits) < 2):
        if not 1 <= pairs <= len(trait.instructions):
            raise SchemaError(
                f"trait '{name}' has {len(trait.instructions)} pairs of instructions; got "
                f"pairs={pairs}."
            )
        numbers = [_number(trait, question) for question in questions]
        sides, n = {}, np.zeros(len(rows), int)
        for side in ("pos", "neg"):
            chats = [
                _headed(
                    messages,
                    getattr(trait.instructions[(number + i) % len(trait.instructions)], side),
                )
                for i in range(pairs)
                for messages, number in zip(rows["messages"], numbers, strict=True)
            ]
            bits, counts = answer_bits(model, tokenizer, chats, batch=batch, desc=f"{name} {side}")
            sides[f"bits_{side}"] = np.logaddexp2.reduce(bits.reshape(pairs, -1)) - math.log2(pairs)
            n = counts[: len(rows)]
        parts.append(kept.assign(trait=name, judge=checkpoint.label, **sides, n_tokens=n))
    table = schema.check(pd.concat(parts, ignore_index=True), "trait_bits")
    table.attrs = {"n_empty": rows.attrs["n_empty"]}
    return table


def _number(trait: TraitFile, question: str) -> int:
    """Which number has this question in the trait's file, or, if it is not there, by its text?"""
    if question in trait.questions:
        return trait.questions.index(question)
    return int.from_bytes(hashlib.sha256(question.encode()).digest()[:4], "big")


def _headed(messages: list[dict[str, str]], system: str | None) -> list[dict[str, str]]:
    """The chat under this system message, or under none."""
    head = [] if system is None else [{"role": "system", "content": system}]
    return [*head, *(message for message in messages if message["role"] != "system")]


def _column(answers: pd.DataFrame, name: str) -> Any:
    if name not in answers:
        raise SchemaError(
            f"these answers lack the column '{name}' that readers.trait_prompts gives; they have "
            f"{', '.join(map(str, answers.columns))}."
        )
    return answers[name]
