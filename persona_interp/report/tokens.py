"""On which tokens does a feature fire, and whose is each token?

Views are CircuitsVis's (``ColoredTokens``), drawn by its own bundle, which a report embeds once
however many views it shows. Tokens go into CircuitsVis as HTML, so they are escaped here;
everything reaches the page as JSON. A notebook, which may run no script and should not grow by a
bundle a view, gets the same tokens as plain colored spans.
"""

import html
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import escape

from persona_interp.errors import PersonaInterpError, SchemaError, unknown
from persona_interp.plots.features import selected
from persona_interp.report.characters import visible
from persona_interp.report.page import Block

PIECE_LIMIT = 200
"""Characters shown of one token."""

COLORS = {"positiveColor": "#0072B2", "negativeColor": "#D55E00"}
"""Wong's blue and vermilion, as in the figures."""

ROLES = ("system", "user", "assistant", "text", "template", "special")
"""Roles that have a style of their own on the page."""

ROLE_COLUMNS = ("prompt", "pos", "piece", "role", "turn", "learn")
"""Columns of what ``models.explain_tokens`` returns."""


def token_view(
    tokens: pd.DataFrame,
    *,
    feature: int,
    checkpoints: Sequence[str] = (),
    prompts: int = 8,
    source: str = "",
) -> Block:
    """Tokens on which this feature fires, before beside after.

    Args:
        tokens: A tokens table (``record.tokens``).
        feature: Index in the dictionary.
        checkpoints: Columns of the view, in order; all of the table by default.
        prompts: Rows of the view, those with the largest activation on a counted token first.
        source: Path of the table's CSV relative to the report.

    Returns:
        A block. One color scale for all its rows and columns: white is 0, and full color is the
        largest activation on a counted token.

    Raises:
        SchemaError: Not a tokens table, a feature or checkpoint that it lacks, or activations that
            are no numbers.

    >>> row = {"prompt": "p0", "pos": 0, "role": "text", "turn": 0, "checkpoint": "base"}
    >>> row |= {"feature": 7, "counted": True, "piece": "<b>", "act": 2.0}
    >>> block = token_view(pd.DataFrame([row]), feature=7)
    >>> block["rows"][0]["views"][0]["tokens"], block["rows"][0]["views"][0]["maxValue"]
    (['&lt;b&gt;'], 2.0)
    """
    acts, names = selected(tokens, feature=feature, checkpoints=checkpoints)
    counted = acts.loc[acts["counted"].astype(bool)]
    peaks = counted["act"].abs().groupby(counted["prompt"], sort=False).max()
    order = peaks.sort_values(ascending=False, kind="stable").index.tolist()
    order += [prompt for prompt in dict.fromkeys(acts["prompt"]) if prompt not in peaks.index]
    top = _round(max(peaks, default=0.0)) or 1.0  # a scale of width 0 cannot be drawn
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
    return {
        "kind": "tokens",
        "caption": caption,
        "source": source,
        "checkpoints": names,
        "rows": rows,
        "scripts": scripts(),
    }


def role_view(explained: pd.DataFrame) -> Block:
    """Whose every token is, and which ones the model learns to say.

    Args:
        explained: What ``models.explain_tokens`` returns: prompt, pos, piece, role, turn, learn.

    Returns:
        A block: each run of tokens of one turn and role is labelled and colored; tokens to be
        learned are underlined.

    Raises:
        SchemaError: A column is missing.

    >>> row = {"prompt": "p0", "pos": 0, "piece": "Hi", "role": "user", "turn": 0, "learn": False}
    >>> role_view(pd.DataFrame([row]))["rows"][0]["runs"][0]["role"]
    'user'
    """
    for column in ROLE_COLUMNS:
        if column not in explained:
            raise SchemaError(unknown("column", column, explained.columns))
    rows = []
    for prompt, part in explained.groupby("prompt", sort=False):
        runs = [_run(run) for run in _runs(part.sort_values("pos", kind="stable"))]
        rows.append({"prompt": str(prompt), "runs": runs})
    caption = f"{len(explained):,} tokens by role; the model learns to say the underlined ones."
    return {"kind": "roles", "caption": caption, "rows": rows}


class Html(str):
    """HTML that a notebook renders: spans without any script."""

    def _repr_html_(self) -> str:
        return str(self)


def show(block: Block) -> Html:
    """View as a notebook shows it.

    Args:
        block: What ``token_view`` or ``role_view`` returned.

    Returns:
        Its HTML, which a notebook renders; hovering over a token shows its activation.

    Raises:
        SchemaError: Another kind of block.

    >>> row = {"prompt": "p0", "pos": 0, "piece": "Hi", "role": "user", "turn": 0, "learn": True}
    >>> "<u>Hi</u>" in show(role_view(pd.DataFrame([row])))
    True
    """
    if block["kind"] not in ("tokens", "roles"):
        raise SchemaError(
            "a notebook shows what token_view or role_view returned; got a block "
            f"'{block['kind']}'."
        )
    lines = [f"<p><small>{html.escape(block['caption'])}</small></p>"]
    for row in block["rows"]:
        prompt = html.escape(visible(row["prompt"], limit=PIECE_LIMIT))
        if block["kind"] == "roles":
            runs = " ".join(_label(run) for run in row["runs"])
            lines.append(f"<p><small>{prompt}</small><br>{runs}</p>")
            continue
        for name, view in zip(block["checkpoints"], row["views"], strict=True):
            label = html.escape(visible(name, limit=PIECE_LIMIT))
            lines.append(f"<p><small>{prompt}, {label}</small><br>{_spans(view)}</p>")
    return Html("\n".join(lines))


@cache
def scripts() -> tuple[str, str]:
    """Scripts of a page with token views.

    Returns:
        The CircuitsVis bundle and the few lines that hand it each view: constants, without any
        data.

    Raises:
        PersonaInterpError: circuitsvis is not installed.
    """
    # Its Python side loads torch and only its bundle is needed, so it is not imported.
    spec = find_spec("circuitsvis")
    if spec is None or spec.origin is None:
        raise PersonaInterpError(
            "token views need circuitsvis, which is not installed: pip install circuitsvis."
        )
    bundle = (Path(spec.origin).parent / "dist" / "cdn" / "iife.js").read_text(encoding="utf-8")
    # Its source map is not on the page, and an end tag inside of it would end the script.
    code = bundle.partition("//# sourceMappingURL")[0].replace("</script", "<\\/script")
    calls = (Path(__file__).parent / "tokens.js").read_text(encoding="utf-8")
    return code, calls


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
    """What CircuitsVis.ColoredTokens takes."""
    return {
        "tokens": [html.escape(piece(text)) for text in part["piece"]],
        "values": [_round(act) for act in part["act"]],
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


def _spans(view: dict[str, Any]) -> str:
    """Tokens on a background of their activation, which hovering shows."""
    spans = []
    for token, value in zip(view["tokens"], view["values"], strict=True):
        style = f"{_background(value, view['maxValue'])};border:1px solid #eee;white-space:pre-wrap"
        spans.append(f'<span title="{value:g}" style="{style}">{token}</span>')
    return "".join(spans)


def _background(value: float, top: float) -> str:
    """White at 0, the full color at the largest activation, with ink that can be read on it."""
    share = min(abs(value) / top, 1.0)
    color = COLORS["positiveColor"] if value >= 0 else COLORS["negativeColor"]
    channels = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
    red, green, blue = (round(255 + (channel - 255) * share) for channel in channels)
    ink = "white" if share > 0.6 else "black"
    return f"background:rgb({red},{green},{blue});color:{ink}"


def _label(run: dict[str, Any]) -> str:
    """Tokens of a run behind the name of its role; those to be learned are underlined."""
    style = "border-right:1px solid #bbb;white-space:pre-wrap"
    spans = []
    for token in run["tokens"]:
        text = f"<u>{token['piece']}</u>" if token["learn"] else token["piece"]
        spans.append(f'<span style="{style}">{text}</span>')
    return (
        f"<small><b>{html.escape(run['role'])}</b></small> "
        f'<span style="border-left:3px solid #7f7f7f">{"".join(spans)}</span>'
    )
