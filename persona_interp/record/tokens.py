"""How active are some features at every single token? The table behind token views."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from tqdm import tqdm

from persona_interp import schema
from persona_interp.dictionaries.inputs import AnyDictionary, as_dictionary, check_features
from persona_interp.errors import SchemaError
from persona_interp.models import Checkpoint, encode, hash_tokens, open_hooked
from persona_interp.models.device import Batch
from persona_interp.models.dtype import AUTO, FULL
from persona_interp.models.explain import pieces
from persona_interp.models.outliers import SINK
from persona_interp.readers import table_of
from persona_interp.record.features import row_encoder
from persona_interp.record.inputs import check_same_tokens, distinct_checkpoints
from persona_interp.record.pooling import WHERE, readings
from persona_interp.values import as_tuple


def tokens(
    checkpoints: Checkpoint | Iterable[Checkpoint],
    prompts: Any,
    *,
    dictionary: AnyDictionary,
    features: Sequence[int],
    top: int | None = None,
    where: Iterable[str] = WHERE,
    outlier: float = SINK,
    fvu: bool = True,
    device: object = None,
    dtype: str = FULL,
    batch: Batch = AUTO,
) -> pd.DataFrame:
    """Activation of these features at every token of these prompts, in each checkpoint.

    Args:
        checkpoints: A checkpoint, a trajectory or any iterable of checkpoints with distinct labels.
        prompts: A probes or prompts table (named by ``prompt``), a corpus table (named by
            ``doc``), or anything that ``readers.read`` takes.
        dictionary: Its ``hook`` says where residuals are read.
        features: Indices in the dictionary.
        top: Keep, of each feature, only this many prompts, the same in every checkpoint: those with
            the largest activation on a counted token of any checkpoint, largest first. All by
            default.
        where: Roles of the tokens that are counted; the others have rows too.
        outlier: Longest residual that is counted, as in ``activations``.
        fvu: As in ``features``.
        device: Where to compute; by default "cuda" where there is one.
        dtype: "float32", "bfloat16", or "auto" for whichever is faster here.
        batch: Tokens a forward pass, padding included; "auto": what fits into memory.

    Returns:
        A tokens table (see ``schema.TABLES``), checkpoints x features x prompts x tokens; ``act``
        in the units of the dictionary. One column more, ``fvu``: squared reconstruction error at
        the token over its squared distance from ``dictionary.mean`` (fraction; near 1 = do not
        believe the dictionary here).

    Raises:
        SchemaError: An empty table, repeated names or labels, an unknown role, a feature that the
            dictionary does not have, no prompt with a counted token.
        ModelError: The hook does not exist, or the checkpoints do not share a tokenizer.

    >>> import torch
    >>> from tempfile import TemporaryDirectory
    >>> from types import SimpleNamespace
    >>> from persona_interp import models, worlds
    >>> world = worlds.john_and_sam()
    >>> eye = SimpleNamespace(hook="blocks.0.hook_out", W_dec=torch.eye(64), mean=torch.zeros(64))
    >>> eye.encode = eye.decode = lambda acts: acts  # every coordinate a feature
    >>> with TemporaryDirectory() as folder:
    ...     start = models.resolve("tiny", words=world.words(), out=folder)
    ...     probes = world.probes(contexts="nameless")
    ...     table = tokens(start, probes, dictionary=eye, features=[3], top=2)
    >>> table["prompt"].nunique(), list(table.query("counted")["piece"].unique())
    (2, [' i', ' like'])
    """
    prompts = table_of(prompts, "prompts")
    models, names = distinct_checkpoints(checkpoints), schema.names(prompts)
    dictionary = as_dictionary(dictionary)
    indices = check_features(features, dictionary)
    if top is not None and top < 1:
        raise SchemaError(f"top is a number of prompts, at least 1; got {top}. None keeps all.")
    where, read = as_tuple(where), row_encoder(dictionary, indices, fvu=fvu)
    recorded: list[list[_Prompt]] = []  # of each checkpoint
    hashes = []
    for checkpoint in tqdm(models, desc="tokens", delay=2, disable=len(models) < 2):
        model = open_hooked(checkpoint, device=device, dtype=dtype)
        coded = encode(model.tokenizer, list(prompts["messages"]))
        hashes.append(hash_tokens(coded))
        texts = pieces(model.tokenizer, (i for row in coded.ids for i in row))
        rows: dict[int, _Prompt] = {}
        marks, hooks = coded.marks(where), [dictionary.hook]
        for reading in readings(
            model, coded, hooks=hooks, marks=marks, outlier=outlier, batch=batch
        ):
            row, acts = reading.row, reading.acts
            columns: dict[str, Any] = {
                "prompt": [names[row]] * len(acts),
                "pos": range(len(acts)),
                "piece": [texts[i] for i in coded.ids[row]],
                "role": coded.roles[row],
                "turn": coded.turns[row],
                "counted": reading.counted.cpu().numpy(),
            }
            values = read(acts)
            columns["fvu"] = values["fvu"].cpu().numpy()
            rows[row] = _Prompt(pd.DataFrame(columns), values["act"].cpu().numpy())
        recorded.append([rows[row] for row in range(len(rows))])
    check_same_tokens(hashes)
    kept = [_top_prompts(recorded, place, top=top) for place in range(len(indices))]
    parts = []
    for checkpoint, in_order in zip(models, recorded, strict=True):
        for place, numbers in enumerate(kept):
            chosen = [in_order[row] for row in numbers]
            table = pd.concat([prompt.table for prompt in chosen], ignore_index=True)
            act = np.concatenate([prompt.acts[:, place] for prompt in chosen])
            own = {"act": act, "checkpoint": checkpoint.label, "feature": indices[place]}
            parts.append(table.assign(**own))
    table = pd.concat(parts, ignore_index=True)
    return schema.check(table[[*schema.TABLES["tokens"], "fvu"]], "tokens")


class _Prompt(NamedTuple):
    """A prompt in one checkpoint.

    Attributes:
        table: A row a token: what is the same for every feature.
        acts: Activations, dims (token, feature).
    """

    table: pd.DataFrame
    acts: np.ndarray


def _top_prompts(recorded: list[list[_Prompt]], place: int, *, top: int | None) -> list[int]:
    """Numbers of the prompts where a feature is most active in any checkpoint, or of all."""
    n = len(recorded[0])
    if top is None:
        return list(range(n))
    # the peak of a prompt without a counted token stays -inf: it is never among the top
    peaks = np.full(n, -np.inf)
    for in_order in recorded:
        for row, prompt in enumerate(in_order):
            counted = prompt.acts[prompt.table["counted"].to_numpy(), place]
            peaks[row] = counted.max(initial=peaks[row])
    if not np.isfinite(peaks).any():
        raise SchemaError(
            "no prompt has a token of these roles to rank it by; name other roles in where=."
        )
    order = np.argsort(-peaks, kind="stable")[:top]
    return [int(row) for row in order if np.isfinite(peaks[row])]
