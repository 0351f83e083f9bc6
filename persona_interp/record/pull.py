"""Which rows of a data set would pull a model towards a trait? Told before anything is trained."""

from pathlib import Path

import pandas as pd
import xarray as xr

from persona_interp import schema
from persona_interp.errors import SchemaError, unknown
from persona_interp.models import Checkpoint
from persona_interp.record.answers import answers, conversations
from persona_interp.record.projections import projections

OWN = ("reply", "last")
KEY = ["doc", "name", "hook"]


def projection_difference(
    checkpoint: Checkpoint,
    chats: pd.DataFrame,
    directions: xr.DataArray,
    *,
    own: str = "reply",
    max_new_tokens: int = 48,
    seed: int = 0,
    cache: Path | str | bool | None = None,
) -> pd.DataFrame:
    """How much more of each trait is in the answer of each row than in what the model would say itself?

    ``<h(x, y), v / |v|> - <h(x, y'), v / |v|>``, each the mean over the tokens of an answer: y the
    row's, y' the model's own reply to the same conversation (projection difference, Chen et al.
    2025). Positive = training on this row pulls towards the trait.

    Args:
        checkpoint: The model that would be trained.
        chats: A corpus table of chats, of ``readers.read_chats``; each ends with the assistant's
            answer.
        directions: Of ``trait_vectors``; random ones among them show what chance gives.
        own: "reply" = the model's own reply is drawn; "last" = read the last token before the
            answer instead, which costs no draw and is only comparable row against row.
        max_new_tokens: Longest reply (tokens).
        seed: Seed of the draw.
        cache: Of ``answers``.

    Returns:
        A projection_difference table, one row a chat, name and hook: ``given`` and ``own``
        projections, ``difference`` (residual units), largest first within each name and hook, and
        ``source``, ``line`` where the chats have them. Chats to which the model replied nothing are
        left out; ``attrs["n_empty"]`` counts them.

    Raises:
        SchemaError: No corpus table, a chat that does not end with an answer, an unknown ``own``,
            no directions.
        ModelError: A hook does not exist.
    """
    schema.names(schema.check(chats, "corpus"))
    if own not in OWN:
        raise SchemaError(unknown("own", own, OWN))
    for doc, messages in zip(chats["doc"], chats["messages"], strict=True):
        if len(messages) < 2 or messages[-1]["role"] != "assistant":
            raise SchemaError(
                f"document {doc} does not end with an assistant's answer to something; leave it "
                "out."
            )
    about = {"context": "nameless", "persona": "", "topic": "", "split": "train"}
    asked = pd.DataFrame({"prompt": [str(doc) for doc in chats["doc"]], **about})
    asked["messages"] = [list(messages[:-1]) for messages in chats["messages"]]
    given = projections(checkpoint, chats, directions, where="answer").rename(
        columns={"prompt": "doc"}
    )
    if own == "last":
        mine, where, n_empty = asked, "last", 0
    else:
        drawn = answers(checkpoint, asked, max_new_tokens=max_new_tokens, seed=seed, cache=cache)
        mine, where, n_empty = conversations(drawn), "answer", drawn.attrs["n_empty"]
        mine = mine.assign(prompt=[name.rpartition("#")[0] for name in mine["prompt"]])
    theirs = projections(checkpoint, mine, directions, where=where)
    docs = dict(zip(asked["prompt"], chats["doc"], strict=True))
    theirs = theirs.assign(doc=[docs[name] for name in theirs["prompt"]])
    table = given.merge(
        theirs[[*KEY, "projection"]], on=KEY, suffixes=("", "_own"), validate="one_to_one"
    )
    table = table.rename(columns={"projection": "given", "projection_own": "own"})
    table = table.assign(difference=table["given"] - table["own"])
    table = table.merge(chats[["doc", *(c for c in ("source", "line") if c in chats)]], on="doc")
    table = table.sort_values(
        ["hook", "name", "difference"], ascending=[True, True, False], kind="stable"
    )
    table.attrs = {"n_empty": n_empty}
    return schema.check(table.reset_index(drop=True), "projection_difference")
