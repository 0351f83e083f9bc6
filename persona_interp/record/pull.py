"""Which rows of a data set would pull a model towards a trait? A forecast, before any training."""

from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

from persona_interp import schema
from persona_interp.errors import SchemaError, unknown
from persona_interp.models import Checkpoint
from persona_interp.models.device import Batch
from persona_interp.models.dtype import AUTO, FULL
from persona_interp.readers import read
from persona_interp.record.answers import answers, conversations
from persona_interp.record.pooling import ANSWER, Position
from persona_interp.record.projections import projections

OWN = ("reply", "last")
KEY = ["doc", "name", "hook"]


def projection_difference(
    checkpoint: Checkpoint,
    chats: Any,
    directions: xr.DataArray,
    *,
    own: str = "reply",
    position: Position = ANSWER,
    max_new_tokens: int = 48,
    seed: int = 0,
    cache: Path | str | bool | None = None,
    device: object = None,
    dtype: str = FULL,
    batch: Batch = AUTO,
) -> pd.DataFrame:
    """Projection of each row's answer on each trait, minus that of the model's own answer.

    ``<h(x, y), v / |v|> - <h(x, y'), v / |v|>``, each the mean over the tokens of an answer: y the
    row's, y' the model's own reply to the same conversation (projection difference, Chen et al.
    2025). Positive = training on this row pulls towards the trait. In a chat whose earlier turns
    already show the trait, the model's own reply shows it too, and the difference is about 0: there
    ``given`` says more.

    Args:
        checkpoint: The model that would be trained.
        chats: A corpus table of chats, or anything that ``readers.read`` takes; each ends with the
            assistant's answer.
        directions: Of ``trait_vectors``; random ones among them show what chance gives.
        own: "reply" = the model's own reply is drawn; "last" = read the last token before the
            answer instead, which costs no draw and is only comparable row against row.
        position: Where both answers are read: "answer" = the mean over the answer's tokens, as
            published; or one token by its index from the end of the chat (-2 = the last word where
            a chat ends with one token of the template), which the wording of the answer does not
            dilute. Read the directions at the same position.
        max_new_tokens: Longest reply (tokens).
        seed: Seed of the draw.
        cache: Of ``answers``.
        device: Where the model computes, "cpu", "cuda" or "cuda:1"; by default "cuda" where there
            is one.
        dtype: Of the model, "float32", "bfloat16", or "auto" for whichever is faster here.
        batch: Tokens a forward pass, padding included; "auto": what fits into memory.

    Returns:
        A projection_difference table, one row a chat, name and hook: ``given`` and ``own``
        projections, ``difference`` (residual units), largest first within each name and hook, and
        ``source``, ``line`` where the chats have them. Chats to which the model replied nothing are
        left out; ``attrs["n_empty"]`` counts them.

    Raises:
        SchemaError: No corpus table, a chat that does not end with an answer, an unknown ``own``,
            no directions.
        ModelError: A hook does not exist, or there is no such device or dtype.
    """
    chats = read(chats, "chats")
    schema.names(chats)
    if own not in OWN:
        raise SchemaError(unknown("own", own, OWN))
    for doc, messages in zip(chats["doc"], chats["messages"], strict=True):
        if len(messages) < 2 or messages[-1]["role"] != "assistant":
            raise SchemaError(
                f"document {doc} does not end with an assistant's answer to something; leave it "
                "out."
            )
    questions = _questions(chats)
    reading: dict[str, Any] = {"device": device, "dtype": dtype, "batch": batch}
    data = projections(checkpoint, chats, directions, position=position, **reading)
    data = data.rename(columns={"prompt": "doc"})
    if own == "last":
        n_empty = 0
        model = projections(checkpoint, questions, directions, position="last", **reading)
    else:
        replies = answers(
            checkpoint,
            questions,
            max_new_tokens=max_new_tokens,
            seed=seed,
            cache=cache,
            **reading,
        )
        n_empty = replies.attrs["n_empty"]
        replies = conversations(replies)
        # a reply is called "prompt#sample"; of each document there is one
        names = [name.rpartition("#")[0] for name in replies["prompt"]]
        replies = replies.assign(prompt=names)
        model = projections(checkpoint, replies, directions, position=position, **reading)
    docs = dict(zip(questions["prompt"], chats["doc"], strict=True))
    model = model.assign(doc=[docs[name] for name in model["prompt"]])
    table = data.merge(
        model[[*KEY, "projection"]], on=KEY, suffixes=("", "_own"), validate="one_to_one"
    )
    table = table.rename(columns={"projection": "given", "projection_own": "own"})
    table = table.assign(difference=table["given"] - table["own"])
    origin = [column for column in ("source", "line") if column in chats]
    table = table.merge(chats[["doc", *origin]], on="doc")
    table = table.sort_values(
        ["hook", "name", "difference"], ascending=[True, True, False], kind="stable"
    )
    table.attrs = {"n_empty": n_empty}
    return schema.check(table.reset_index(drop=True), "projection_difference")


def _questions(chats: pd.DataFrame) -> pd.DataFrame:
    """Prompts table of the chats without their last answers, named by document."""
    return pd.DataFrame(
        {
            "prompt": [str(doc) for doc in chats["doc"]],
            "context": "nameless",
            "persona": "",
            "topic": "",
            "split": "train",
            "messages": [list(messages[:-1]) for messages in chats["messages"]],
        }
    )
