"""How does a notebook show a view?

As plain spans, which need no script: they are what GitHub, an untrusted notebook or a printout
shows. The first view of a kernel brings CircuitsVis's bundle with it, which draws that view and
all others of the notebook, live and in its saved HTML, without a network.
"""

import html
import json
import sys
from itertools import chain, repeat
from typing import Any

from persona_interp.characters import visible
from persona_interp.report.bundle import scripts

LABEL_LIMIT = 200
"""Characters shown of a prompt's or checkpoint's name."""

TABLE = "table-layout:fixed;width:100%;border-collapse:collapse"
CELL = "text-align:left;vertical-align:top;overflow-wrap:anywhere;padding:4px 8px;font-weight:400"
STYLE = ".persona-view [data-popper-interactive]{display:none}"
"""CircuitsVis's own tooltip, which would show entities; the titles of tokens say all."""


class View(dict[str, Any]):
    """A block of a report that a notebook shows by itself: on which tokens, or whose they are."""

    def __repr__(self) -> str:
        return f"View({self['caption']!r})"

    def _repr_html_(self) -> str:
        return view_html(self)


def view_html(view: View, *, cell: str | None = None) -> str:
    """View as HTML of a notebook.

    Args:
        view: What ``tokens`` or ``roles`` returned.
        cell: The notebook's cell that shows it; the one that runs by default.

    Returns:
        Escaped spans on a background of their activation, in a table with one row a prompt; with
        the scripts that let CircuitsVis draw them where they are not in the notebook yet.
    """
    head, rows = "", []
    if view["kind"] == "tokens":
        names = "".join(f'<th style="{CELL}">{_text(name)}</th>' for name in view["checkpoints"])
        head = f'<tr><th style="{CELL};width:7rem">prompt</th>{names}</tr>'
    for row in view["rows"]:
        if view["kind"] == "tokens":
            places = [_spans(part) for part in row["views"]]
        else:
            places = [" ".join(map(_run, row["runs"]))]
        cells = "".join(f'<td style="{CELL}">{place}</td>' for place in places)
        prompt = f'<th style="{CELL};width:7rem">{_text(row["prompt"])}</th>'
        rows.append(f'<tr style="background:white;color:black">{prompt}{cells}</tr>')
    table = f'<table style="{TABLE}">{head}{"".join(rows)}</table>'
    caption = f"<p><small>{html.escape(view['caption'])}</small></p>"
    tail = _scripts(cell or _running_cell()) if view["kind"] == "tokens" else ""
    return f'<div class="persona-view">{caption}{table}</div>{tail}'


_bundle_cell: list[str] = []  # the one cell of this kernel whose output holds the bundle


def _scripts(cell: str) -> str:
    """Style and scripts; the bundle, 1.3 MB, only in the output of one cell."""
    bundle, calls = scripts()
    # a cell that runs again loses its output, so it brings the bundle again
    if not _bundle_cell or (cell and cell == _bundle_cell[0]):
        _bundle_cell[:] = [cell]
        needed = [bundle, calls]
    else:
        needed = [calls]
    return f"<style>{STYLE}</style>" + "".join(f"<script>{code}</script>" for code in needed)


def _running_cell() -> str:
    """Identity of the cell that runs, as its front end names it; "" where it does not."""
    module = sys.modules.get("IPython")  # which only a notebook has loaded
    shell = module.get_ipython() if module else None
    parent: dict[str, Any] = getattr(shell, "get_parent", dict)()
    return str(parent.get("metadata", {}).get("cellId", ""))


def _text(name: str) -> str:
    return html.escape(visible(name, limit=LABEL_LIMIT))


def _spans(view: dict[str, Any]) -> str:
    """Tokens on a background of their activation; hovering tells activation, text and role."""
    if not view["tokens"]:
        return "not recorded"
    roles = chain.from_iterable(repeat(role, n) for role, n in view["roles"])
    spans = []
    for token, value, role in zip(view["tokens"], view["values"], roles, strict=True):
        title = f"{value:g} · {token} · {html.escape(role)}"
        style = f"{_background(value, view)};border:1px solid #eee;white-space:pre-wrap"
        spans.append(f'<span data-act="{value:g}" title="{title}" style="{style}">{token}</span>')
    keys = ("minValue", "maxValue", "positiveColor", "negativeColor")
    scale = html.escape(json.dumps({key: view[key] for key in keys}))
    return f'<div data-persona-scale="{scale}" style="line-height:1.7">{"".join(spans)}</div>'


def _background(value: float, view: dict[str, Any]) -> str:
    """White at 0, the full color at the largest activation, with ink that can be read on it."""
    share = min(abs(value) / view["maxValue"], 1.0)
    color = view["positiveColor"] if value >= 0 else view["negativeColor"]
    channels = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
    red, green, blue = (round(255 + (channel - 255) * share) for channel in channels)
    ink = "white" if share > 0.6 else "black"
    return f"background:rgb({red},{green},{blue});color:{ink}"


def _run(run: dict[str, Any]) -> str:
    """Tokens of a run behind the name of its role; those to be learned are underlined."""
    style = "border-right:1px solid #bbb;white-space:pre-wrap"
    spans = []
    for token in run["tokens"]:
        text = f"<u>{token['piece']}</u>" if token["learn"] else token["piece"]
        spans.append(f'<span style="{style}">{text}</span>')
    return (
        f"<small><b>{_text(run['role'])}</b></small> "
        f'<span style="border-left:3px solid #7f7f7f">{"".join(spans)}</span>'
    )
