"""Where does a trait live in a chat model?

A trait file asks the same questions under instructions to show a trait and to show its opposite
(``readers.TraitFile``). The model's own answers (``record.answers``) then give a vector.
"""

import math
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
import xarray as xr

from persona_interp import schema
from persona_interp.dictionaries.harvest import CONTENT_ROLES
from persona_interp.errors import SchemaError, unknown
from persona_interp.models import ROLES, Checkpoint
from persona_interp.models.device import Batch
from persona_interp.models.dtype import AUTO, FULL
from persona_interp.record.activations import activations
from persona_interp.record.answers import conversations
from persona_interp.record.contrasts import weigh_prompts
from persona_interp.record.inputs import SIDES, trait_column
from persona_interp.record.stack import label_directions, stack_hooks
from persona_interp.values import as_tuple

POSITIONS = {"response": "answer", "prompt": "mean", "last": "last"}
"""Position of ``activations`` by what a trait's vector averages over."""
POOLS = {
    "response": ("assistant",),
    "prompt": CONTENT_ROLES,
    "last": ROLES,
}
"""Roles of the tokens that it takes there."""


def trait_vectors(
    checkpoint: Checkpoint,
    answers: pd.DataFrame,
    *,
    hooks: Sequence[str],
    pool: str = "response",
    where: Iterable[str] | None = None,
    device: object = None,
    dtype: str = FULL,
    batch: Batch = AUTO,
) -> xr.DataArray:
    """Direction of each trait, from answers that show it and answers that show its opposite.

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
        device: Where the model runs; by default "cuda" where there is one.
        dtype: "float32", "bfloat16" or "auto".
        batch: Tokens a forward pass, padding included; "auto": what fits into memory.

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
    of_a_side = trait_column(answers, "side").isin(SIDES)
    rows = conversations(answers.loc[of_a_side & (trait_column(answers, "trait") != "")])
    n_empty = rows.attrs["n_empty"]
    if pool != "response":
        # without the answer: what is read is what the model knows before it speaks
        rows = rows.assign(messages=[messages[:-1] for messages in rows["messages"]])
    roles = POOLS[pool] if where is None else where
    parts = activations(
        checkpoint,
        rows,
        hook=as_tuple(hooks),
        position=POSITIONS[pool],
        where=roles,
        outlier=math.inf,
        device=device,
        dtype=dtype,
        batch=batch,
    )
    residuals = stack_hooks(parts, None)
    # mean of pos minus mean of neg, as one weight an answer
    names = sorted(set(rows["trait"]))
    weights = np.zeros((len(names), len(rows)))
    counts = {side: np.zeros(len(names), int) for side in SIDES}
    for i, name in enumerate(names):
        for side, sign in zip(SIDES, (1, -1), strict=True):
            mask = ((rows["trait"] == name) & (rows["side"] == side)).to_numpy()
            if not mask.any():
                raise SchemaError(
                    f"trait '{name}' has no answers of side '{side}'; a vector needs both."
                )
            weights[i] += sign * mask / mask.sum()
            counts[side][i] = mask.sum()
    directions = label_directions(
        weigh_prompts(weights, residuals),
        residuals,
        names=names,
        n=counts["pos"] + counts["neg"],
        method=f"mean difference of answers, {pool}",
        reference="answers under the opposite instruction",
    )
    for side in SIDES:
        directions = directions.assign_coords({f"n_{side}": ("name", counts[side])})
    n_sinks = [part.attrs["n_sinks"] for part in parts]
    return directions.assign_coords(n_sinks=("hook", n_sinks)).assign_attrs(n_empty=n_empty)
