"""On which tokens does a feature fire, and whose is each token?

Views are CircuitsVis's (``ColoredTokens``), drawn by its own bundle, which a report embeds once
however many views it shows. Tokens go into CircuitsVis as HTML, so they are escaped here;
everything reaches the page as JSON. A notebook, which may run no script and should not grow by a
bundle a view, gets the same tokens as plain colored spans.
"""

import html
from collections.abc import Sequence
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

PIECE = 200
"""Characters shown of one token."""

COLORS = {"positiveColor": "#0072B2", "negativeColor": "#D55E00"}
"""Wong's blue and vermilion, as in the figures."""

ROLES = ("system", "user", "assistant", "text", "template", "special")
EXPLAINED = ("prompt", "pos", "piece", "role", "turn", "learn")


def token_view(
    tokens: pd.DataFrame,
    *,
    feature: int,
    checkpoints: Sequence[str] = (),
    prompts: int = 8,
    source: str = "",
) -> Block:
    """On which tokens does this feature fire, before beside after?

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

    >>> row = {"prompt": "p0", "pos": 0, "role": "text", "turn": 0, "checkpoint": "base", "feature": 7, "counted": True}
    >>> block = token_view(pd.DataFrame([{**row, "piece": "<b>", "act": 2.0}]), feature=7)
    >>> block["rows"][0]["views"][0]["tokens"], block["rows"][0]["views"][0]["maxValue"]
    (['&lt;b&gt;'], 2.0)
    """
    mine, names = selected(tokens, feature=feature, checkpoints=checkpoints)
    counted = mine.loc[mine["counted"].astype(bool)]
    peaks = counted["act"].abs().groupby(counted["prompt"], sort=False).max()
    order = peaks.sort_values(ascending=False, kind="stable").index.tolist()
    order += [p for p in dict.fromkeys(mine["prompt"]) if p not in peaks.index]
    top = _rounded(max(peaks, default=0.0)) or 1.0
    scale = {"minValue": -top, "maxValue": top, **COLORS}
    rows = []
    for prompt in order[:prompts]:
        of_prompt = mine.loc[mine["prompt"] == prompt].sort_values("pos", kind="stable")
        at = [of_prompt.loc[of_prompt["checkpoint"] == name] for name in names]
        rows.append({"prompt": str(prompt), "views": [_view(part) | scale for part in at]})
    once = mine.loc[mine["checkpoint"] == names[0]]
    skipped = int((~once["counted"].astype(bool)).sum())
    hidden = (
        f" {len(order) - prompts} more prompts are in the table." if len(order) > prompts else ""
    )
    caption = (
        f"Feature {feature} on {min(len(order), prompts)} prompts, largest activation first; white "
        "0, full color "
        f"{top:.3g}, the same scale everywhere. {skipped:,} of {len(once):,} tokens are in no "
        "statistics (template, "
        f"special, outliers, roles not asked for).{hidden}"
    )
    return {
        "kind": "tokens", "caption": caption, "source": source, "checkpoints": names, "rows": rows,
        "scripts": scripts(),
    }  # fmt: skip


def role_view(explained: pd.DataFrame) -> Block:
    """Whose is every token, and which does the model learn to say?

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
    for column in EXPLAINED:
        if column not in explained:
            raise SchemaError(unknown("column", column, explained.columns))
    rows = []
    for prompt, part in explained.groupby("prompt", sort=False):
        part = part.sort_values("pos", kind="stable")
        owners = zip(part["role"], part["turn"], strict=True)
        runs = [
            [i for i, _ in run] for _, run in groupby(enumerate(owners), key=lambda pair: pair[1])
        ]
        rows.append({"prompt": str(prompt), "runs": [_run(part.iloc[run]) for run in runs]})
    caption = f"{len(explained):,} tokens by role; the model learns to say the underlined ones."
    return {"kind": "roles", "caption": caption, "rows": rows}


class Shown(str):
    """HTML of a block that a notebook shows: spans without any script."""

    def _repr_html_(self) -> str:
        return str(self)


def show(block: Block) -> Shown:
    """How does a notebook show this view?

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
    caption = html.escape(block["caption"])
    lines = [f"<p><small>{caption}</small></p>"]
    for row in block["rows"]:
        prompt = html.escape(visible(row["prompt"], limit=PIECE))
        if block["kind"] == "tokens":
            for name, view in zip(block["checkpoints"], row["views"], strict=True):
                label = html.escape(visible(name, limit=PIECE))
                lines.append(f"<p><small>{prompt}, {label}</small><br>{_spans(view)}</p>")
        else:
            runs = " ".join(_labelled(run) for run in row["runs"])
            lines.append(f"<p><small>{prompt}</small><br>{runs}</p>")
    return Shown("\n".join(lines))


@cache
def scripts() -> tuple[str, str]:
    """What does a page with token views run?

    Returns:
        The CircuitsVis bundle and the few lines that hand it each view: constants, without any
        data.

    Raises:
        PersonaInterpError: circuitsvis is not installed.
    """
    found = find_spec(
        "circuitsvis"
    )  # found, not imported: its Python side loads torch, and only its bundle is needed
    if found is None or found.origin is None:
        raise PersonaInterpError(
            "token views need circuitsvis, which is not installed: pip install circuitsvis."
        )
    bundle = (Path(found.origin).parent / "dist" / "cdn" / "iife.js").read_text(encoding="utf-8")
    code = bundle.partition("//# sourceMappingURL")[0].replace("</script", "<\\/script")
    return code, (Path(__file__).parent / "tokens.js").read_text(encoding="utf-8")


def piece(text: str) -> str:
    r"""How is a token shown?

    Args:
        text: The token's text.

    Returns:
        The text, invisible characters spelled out; at most ``PIECE`` characters of it.

    >>> piece(""), piece("\u200b")
    ('⟨empty⟩', '⟨U+200B⟩')
    """
    return visible(text, limit=PIECE) or "⟨empty⟩"


def _view(part: pd.DataFrame) -> dict[str, Any]:
    """What CircuitsVis.ColoredTokens takes."""
    return {
        "tokens": [html.escape(piece(text)) for text in part["piece"]],
        "values": [_rounded(act) for act in part["act"]],
    }


def _rounded(act: float) -> float:
    """Four digits: all that a reader who hovers over a token can use."""
    return float(f"{act:.4g}")


def _run(run: pd.DataFrame) -> dict[str, Any]:
    role = str(run["role"].iloc[0])
    tokens = [
        {"piece": escape(piece(p)), "learn": bool(y)}
        for p, y in zip(run["piece"], run["learn"], strict=True)
    ]
    return {"role": role, "style": role if role in ROLES else "other", "tokens": tokens}


def _spans(view: dict[str, Any]) -> str:
    spans = []
    for token, value in zip(view["tokens"], view["values"], strict=True):
        share = min(abs(value) / view["maxValue"], 1.0)
        color = COLORS["positiveColor" if value >= 0 else "negativeColor"]
        ink = "white" if share > 0.6 else "black"
        rgb = [round(255 + (int(color[i : i + 2], 16) - 255) * share) for i in (1, 3, 5)]
        style = f"background:rgb({rgb[0]},{rgb[1]},{rgb[2]});color:{ink};border:1px solid #eee;white-space:pre-wrap"
        spans.append(f'<span title="{value:g}" style="{style}">{token}</span>')
    return "".join(spans)


def _labelled(run: dict[str, Any]) -> str:
    style = "border-right:1px solid #bbb;white-space:pre-wrap"
    said = [
        f"<u>{token['piece']}</u>" if token["learn"] else token["piece"] for token in run["tokens"]
    ]
    spans = "".join(f'<span style="{style}">{piece}</span>' for piece in said)
    return f'<small><b>{html.escape(run["role"])}</b></small> <span style="border-left:3px solid #7f7f7f">{spans}</span>'
