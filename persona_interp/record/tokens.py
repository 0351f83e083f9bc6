"""How active are some features at every single token? The table behind token views."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from persona_interp import schema
from persona_interp.dictionaries.dictionary import Dictionary
from persona_interp.errors import SchemaError
from persona_interp.models import Checkpoint, boot, encode, hash_tokens
from persona_interp.models.explain import pieces
from persona_interp.models.outliers import SINK
from persona_interp.record.pooling import WHERE, distinct, readings, same_tokens


def tokens(
    checkpoints: Checkpoint | Iterable[Checkpoint],
    prompts: pd.DataFrame,
    *,
    dictionary: Dictionary,
    features: Sequence[int],
    top: int | None = None,
    where: Iterable[str] = WHERE,
    outlier: float = SINK,
) -> pd.DataFrame:
    """How active are these features at every token of these prompts, in each checkpoint?

    Args:
        checkpoints: A checkpoint, a trajectory or any iterable of checkpoints with distinct labels.
        prompts: A probes or prompts table (named by ``prompt``) or a corpus table (named by
            ``doc``).
        dictionary: Its ``hook`` says where residuals are read.
        features: Indices in the dictionary.
        top: Keep, of each feature in each checkpoint, only this many prompts: those with the
            largest activation on a counted token, largest first. All by default.
        where: Roles of the tokens that are counted; the others have rows too.
        outlier: Longest residual that is counted, as in ``activations``.

    Returns:
        A tokens table (see ``schema.TABLES``), checkpoints x features x prompts x tokens; ``act``
        in the units of the dictionary. One column more, ``fvu``: squared reconstruction error at
        the token over its squared distance from ``dictionary.mean`` (fraction; near 1 = do not
        believe the dictionary here).

    Raises:
        SchemaError: An empty table, repeated names or labels, an unknown role, a feature that the
            dictionary does not have, no prompt with a counted token.
        ModelError: The hook does not exist, or the checkpoints do not share a tokenizer.

    >>> from tempfile import TemporaryDirectory
    >>> from types import SimpleNamespace
    >>> from persona_interp import models, worlds
    >>> world = worlds.john_and_sam()
    >>> eye = SimpleNamespace(hook="blocks.0.hook_out", d_sae=64, mean=torch.zeros(64))
    >>> eye.encode = eye.decode = lambda acts: acts  # every coordinate a feature
    >>> with TemporaryDirectory() as folder:
    ...     start = models.resolve("tiny", words=world.words(), out=folder)
    ...     table = tokens(start, world.probes(contexts="nameless"), dictionary=eye, features=[3], top=2)
    >>> table["prompt"].nunique(), list(table.query("counted")["piece"].unique())
    (2, [' i', ' like'])
    """
    listed, names, chosen = (
        distinct(checkpoints),
        schema.names(prompts),
        _chosen(features, dictionary),
    )
    if top is not None and top < 1:
        raise SchemaError(f"top is a number of prompts, at least 1; got {top}. None keeps all.")
    where = (where,) if isinstance(where, str) else tuple(where)
    parts, hashes = [], []
    for checkpoint in tqdm(listed, desc="tokens", delay=2, disable=len(listed) < 2):
        bridge = boot(checkpoint)
        coded = encode(bridge.tokenizer, list(prompts["messages"]))
        hashes.append(hash_tokens(coded))
        texts = pieces(bridge.tokenizer, (i for row in coded.ids for i in row))
        rows: dict[int, pd.DataFrame] = {}
        marks = coded.marks(where)
        for row, _, acts, counted, _ in readings(
            bridge, coded, hooks=[dictionary.hook], marks=marks, outlier=outlier
        ):
            with torch.inference_mode():
                feats = dictionary.encode(acts)
                error = (acts - dictionary.decode(feats)).pow(2).sum(-1)
                fvu = error / (acts - dictionary.mean).pow(2).sum(-1)
            rows[row] = pd.DataFrame(
                {
                    "prompt": [names[row]] * len(acts),
                    "pos": range(len(acts)),
                    "piece": [texts[i] for i in coded.ids[row]],
                    "role": coded.roles[row],
                    "turn": coded.turns[row],
                    "counted": counted.cpu().numpy(),
                    "fvu": fvu.cpu().numpy(),
                    **{str(j): feats[:, j].cpu().numpy() for j in chosen},
                }
            )
        parts += [
            _one([rows[n] for n in range(len(rows))], checkpoint.label, j, top=top) for j in chosen
        ]
    same_tokens(hashes)
    table = pd.concat(parts, ignore_index=True)
    return schema.check(table[[*schema.TABLES["tokens"], "fvu"]], "tokens")


def _one(rows: list[pd.DataFrame], label: str, feature: int, *, top: int | None) -> pd.DataFrame:
    """Rows of one checkpoint and feature, of the prompts kept."""
    kept = rows
    if top is not None:
        peaks = np.array(
            [part[str(feature)].to_numpy()[part["counted"]].max(initial=-np.inf) for part in rows]
        )
        if not np.isfinite(peaks).any():
            raise SchemaError(
                "no prompt has a token of these roles to rank it by; name other roles in where=."
            )
        order = np.argsort(-peaks, kind="stable")[:top]
        kept = [rows[n] for n in order if np.isfinite(peaks[n])]
    table = pd.concat(kept, ignore_index=True).rename(columns={str(feature): "act"})
    return table.assign(checkpoint=label, feature=feature)


def _chosen(features: Any, dictionary: Dictionary) -> list[int]:
    chosen = [int(j) for j in np.atleast_1d(features)]
    if not chosen or len(set(chosen)) < len(chosen):
        raise SchemaError(
            f"features are distinct indices in the dictionary, at least one; got {chosen}."
        )
    if wrong := [j for j in chosen if not 0 <= j < dictionary.d_sae]:
        raise SchemaError(
            f"feature {wrong[0]} does not exist; this dictionary has 0 to {dictionary.d_sae - 1}."
        )
    return chosen
