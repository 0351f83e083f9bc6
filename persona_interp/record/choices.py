"""Which of two descriptions of its answers does a model take, the trait's or the opposite one?"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from persona_interp import schema
from persona_interp.errors import SchemaError
from persona_interp.models import Checkpoint
from persona_interp.models.device import Batch
from persona_interp.models.dtype import AUTO, FULL
from persona_interp.readers import TraitFile
from persona_interp.record.behavior import behavior
from persona_interp.record.inputs import distinct_checkpoints
from persona_interp.values import check_mapping

LETTERS = ("A", "B")
ORDERS = {"pos first": ("pos", "neg"), "neg first": ("neg", "pos")}
QUESTION = (
    "Which of these two describes better how you answer?\n"
    "A: {A}\n"
    "B: {B}\n"
    "Reply with one letter, A or B."
)


def choices(
    checkpoints: Checkpoint | Iterable[Checkpoint],
    traits: Mapping[str, TraitFile],
    *,
    device: object = None,
    dtype: str = FULL,
    batch: Batch = AUTO,
) -> pd.DataFrame:
    """Log odds that a model says the trait's instruction describes its answers, not the opposite.

    Every pair of instructions is offered in both orders, and ``log2 P(letter of pos) - log2
    P(letter of neg)`` is averaged over the two: a liking for a letter or a place, however strong,
    cancels.

    Args:
        checkpoints: A checkpoint, a trajectory or any iterable of checkpoints with distinct labels.
        traits: Traits, of ``readers.read_traits``.
        device: Where the models run; by default "cuda" where there is one.
        dtype: "float32", "bfloat16" or "auto"; use one for all that will be compared.
        batch: Tokens a forward pass, padding included; "auto": what fits into memory.

    Returns:
        A choices table, one row a checkpoint, trait and pair of instructions: ``logodds`` (bits;
        positive = the trait), ``letter_bias`` (bits for A, whatever it says), ``letter_mass``
        (probability of A or B; where it is small the model does not answer the question, and the
        log odds say little).

    Raises:
        SchemaError: No trait, or two checkpoints share a label.
        ModelError: The model has no chat template.
    """
    if not traits:
        raise SchemaError("no trait to choose by; give traits=readers.read_traits(folder).")
    models = distinct_checkpoints(checkpoints)
    letters = behavior(models, _probes(traits), device=device, dtype=dtype, batch=batch)
    keys = ["checkpoint", "step", "topic", "template"]
    wide = letters.pivot(index=[*keys, "order"], columns="value", values="logprob")
    rows = pd.DataFrame({"logodds": wide["pos"] - wide["neg"]})
    # the mean of +1 and -1 times the log odds is what stays when the descriptions change places
    sign = np.where(wide.index.get_level_values("order") == "pos first", 1, -1)
    rows["letter_bias"] = sign * rows["logodds"]
    rows["letter_mass"] = np.exp2(wide[["pos", "neg"]]).sum(axis=1)
    table = pd.DataFrame(rows.groupby(keys, sort=False).agg("mean")).reset_index()
    table = table.rename(columns={"topic": "trait", "template": "instruction"})
    return schema.check(table.astype({"instruction": int}), "choices")


def _probes(traits: Mapping[str, TraitFile]) -> pd.DataFrame:
    """Every pair of instructions in both orders, as a probes table."""
    check_mapping(traits, "traits", of="trait files, readers.read_traits(folder),")
    rows: list[dict[str, Any]] = []
    for name, trait in traits.items():
        for number, pair in enumerate(trait.instructions):
            for order, (first, second) in ORDERS.items():
                text = QUESTION.format(A=getattr(pair, first), B=getattr(pair, second))
                probe = {
                    "prompt": f"{name}/{number}/{order}",
                    "context": "nameless",
                    "persona": "",
                    "topic": name,
                    "template": str(number),
                    "split": "test",
                    "order": order,
                    "messages": [{"role": "user", "content": text}],
                    "values": (first, second),
                    "answers": LETTERS,
                }
                rows.append(probe)
    return pd.DataFrame(rows)
