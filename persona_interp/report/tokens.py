"""On which tokens does a feature fire, and whose is each token?

``tokens`` and ``roles`` give a view: a block of a report, which a notebook shows by itself
(``cell``). Views of tokens are CircuitsVis's (``ColoredTokens``), drawn by its own bundle, which a
report or notebook holds once however many views it shows. Tokens go into CircuitsVis as HTML, so
they are escaped here; everything reaches a report's page as JSON.
"""

import html
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import pandas as pd
from markupsafe import escape

from persona_interp import schema
from persona_interp.characters import visible
from persona_interp.plots.features import select
from persona_interp.report.bundle import scripts
from persona_interp.report.cell import View

PIECE_LIMIT = 200
"""Characters shown of one token."""

COLORS = {"positiveColor": "#0072B2", "negativeColor": "#D55E00"}
"""Wong's blue and vermilion, as in the figures."""

ROLES = ("system", "user", "assistant", "text", "template", "special")
"""Roles that have a style of their own on the page."""

ROLE_COLUMNS = ("prompt", "pos", "piece", "role", "turn", "learn")
"""Columns of what ``models.explain_tokens`` returns."""


def tokens(
    table: pd.DataFrame,
    *,
    feature: int,
    checkpoints: Sequence[str] = (),
    prompts: int = 8,
    source: str = "",
) -> View:
    """Tokens on which this feature fires, before beside after.

    Args:
        table: A tokens table (``record.tokens``).
        feature: Index in the dictionary.
        checkpoints: Columns of the view, in order; all of the table by default.
        prompts: Rows of the view, the same prompts for every checkpoint: those with the largest
            activation on a counted token, of any checkpoint, first.
        source: Path of the table's CSV relative to the report.

    Returns:
        A view, one row a prompt and one column a checkpoint; hovering over a token tells its
        activation, text and role. One color scale for all of it: white is 0, and full color is the
        largest activation on a counted token. A report takes it as a block, a notebook shows it.

    Raises:
        SchemaError: Not a tokens table, a feature or checkpoint that it lacks, or activations that
            are no numbers.

    >>> row = {"prompt": "p0", "pos": 0, "role": "text", "turn": 0, "checkpoint": "base"}
    >>> row |= {"feature": 7, "counted": True, "piece": "<b>", "act": 2.0}
    >>> view = tokens(pd.DataFrame([row]), feature=7)
    >>> view["rows"][0]["views"][0]["tokens"], view["rows"][0]["views"][0]["maxValue"]
    (['&lt;b&gt;'], 2.0)
    """
    acts, names = select(table, feature=feature, checkpoints=checkpoints)
    order = ranked_prompts(acts)
    counted = acts.loc[acts["counted"].astype(bool), "act"]
    top = _round(max(counted.abs(), default=0.0)) or 1.0  # a scale of width 0 cannot be drawn
    scale = {"minValue": -top, "maxValue": top, **COLORS}
    rows = []
    for prompt in order[:prompts]:
        own = acts.loc[acts["prompt"] == prompt].sort_values("pos", kind="stable")
        parts = [own.loc[own["checkpoint"] == name] for name in names]
        rows.append({"prompt": str(prompt), "views": [_view(part) | scale for part in parts]})
    once = acts.loc[acts["checkpoint"] == names[0], "counted"].astype(bool)
    caption = (
        f"Feature {feature} on {len(rows)} prompts, largest activation first; white 0, full color "
        f"{top:.3g}, the same scale everywhere. {int((~once).sum()):,} of {len(once):,} tokens are "
        "in no statistics (template, special, outliers, roles not asked for)."
    )
    if len(order) > prompts:
        caption += f" {len(order) - prompts} more prompts are in the table."
    return View(
        kind="tokens",
        caption=caption,
        source=source,
        checkpoints=names,
        rows=rows,
        scripts=scripts(),
    )


def ranked_prompts(acts: pd.DataFrame) -> list[Any]:
    """Prompts by their largest activation on a counted token, whichever checkpoint it is of.

    Args:
        acts: Rows of a tokens table that are of one feature.

    Returns:
        Every prompt once; those without a counted token last.

    >>> acts = pd.DataFrame({"prompt": ["a", "a", "b"], "checkpoint": ["base", "tuned", "base"]})
    >>> ranked_prompts(acts.assign(counted=True, act=[0.5, 3.0, 2.0]))
    ['a', 'b']
    """
    counted = acts.loc[acts["counted"].astype(bool)]
    peaks = counted["act"].abs().groupby(counted["prompt"], sort=False).max()
    order = peaks.sort_values(ascending=False, kind="stable").index.tolist()
    return order + [prompt for prompt in dict.fromkeys(acts["prompt"]) if prompt not in peaks.index]


def roles(explained: pd.DataFrame) -> View:
    """Whose every token is, and which ones the model learns to say.

    Args:
        explained: What ``models.explain_tokens`` returns: prompt, pos, piece, role, turn, learn.

    Returns:
        A view: each run of tokens of one turn and role is labelled and colored; tokens to be
        learned are underlined. A report takes it as a block, a notebook shows it.

    Raises:
        SchemaError: A column is missing.

    >>> row = {"prompt": "p0", "pos": 0, "piece": "Hi", "role": "user", "turn": 0, "learn": False}
    >>> roles(pd.DataFrame([row]))["rows"][0]["runs"][0]["role"]
    'user'
    """
    schema.require(explained, *ROLE_COLUMNS)
    rows = []
    for prompt, part in explained.groupby("prompt", sort=False):
        runs = [_run(run) for run in _runs(part.sort_values("pos", kind="stable"))]
        rows.append({"prompt": str(prompt), "runs": runs})
    caption = f"{len(explained):,} tokens by role; the model learns to say the underlined ones."
    return View(kind="roles", caption=caption, rows=rows)


def piece(text: str) -> str:
    r"""Text of a token as it is shown.

    Args:
        text: The token's text.

    Returns:
        The text, invisible characters spelled out; at most ``PIECE_LIMIT`` characters of it.

    >>> piece(""), piece("\u200b")
    ('⟨empty⟩', '⟨U+200B⟩')
    """
    return visible(text, limit=PIECE_LIMIT) or "⟨empty⟩"


def _view(part: pd.DataFrame) -> dict[str, Any]:
    """What CircuitsVis.ColoredTokens takes, and the roles of its tokens in runs."""
    owners = groupby(part["role"].astype(str))
    return {
        "tokens": [html.escape(piece(text)) for text in part["piece"]],
        "values": [_round(act) for act in part["act"]],
        "roles": [[visible(role, limit=PIECE_LIMIT), len(list(run))] for role, run in owners],
    }


def _round(act: float) -> float:
    """Four digits: all that a reader who hovers over a token can use."""
    return float(f"{act:.4g}")


def _runs(part: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Neighboring tokens of one turn and role, in order."""
    owners = enumerate(zip(part["role"], part["turn"], strict=True))
    for _, run in groupby(owners, key=lambda pair: pair[1]):
        yield part.iloc[[i for i, _ in run]]


def _run(run: pd.DataFrame) -> dict[str, Any]:
    """A run as the page takes it."""
    role = str(run["role"].iloc[0])
    style = role if role in ROLES else "other"
    tokens = []
    for text, learn in zip(run["piece"], run["learn"], strict=True):
        tokens.append({"piece": escape(piece(text)), "learn": bool(learn)})
    return {"role": role, "style": style, "tokens": tokens}
