"""What is enough when it is added, and what is missed when it is removed?"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from persona_interp import schema
from persona_interp.errors import SchemaError
from persona_interp.plots.columns import distinct, missing, span
from persona_interp.plots.layout import finish, legend
from persona_interp.plots.style import BAND, COLORS, GRAY, ZERO, label_rows, panels, style
from persona_interp.schema.cells import check_numbers
from persona_interp.schema.words import BEHAVIOR, Group, Way

NUMBERS = ("share_of_patch", "share_of_patch_lo", "share_of_patch_hi", "null_lo", "null_hi")
CONTROLS = (Group.OTHER, Group.CONTROL, Group.MATCHED)
WAYS = {
    Way.REMOVED: "removed from the tuned model (necessity)",
    Way.ADDED: "added to the base (sufficiency)",
}


def carriers(table: pd.DataFrame, *, sites: str = "", title: str = "") -> Figure:
    """Draw how much of the whole residual's effect goes or comes with each candidate.

    Args:
        table: A carriers table of ``analysis.carriers``; what was said of text is left out.
        sites: Where; by default the sites of the first row.
        title: Above the figure; the sites by default.

    Returns:
        Figure: left what goes when a candidate is removed, right what comes when it is added, as a
        share of the whole residual's effect. A dot with its 95 % interval over prompts, behind it
        the range of one more random edit of its size; hollow dots are other directions and
        features. 0 and 1 are marked.

    Raises:
        SchemaError: No carriers table, or other sites.

    >>> from persona_interp.schema import TABLES
    >>> row = dict.fromkeys(TABLES["carriers"], 0.5) | {"group": "candidate", "how": "removed"}
    >>> row |= {"measure": "behavior", "sites": "blocks.0.hook_out", "candidate": "john"}
    >>> len(carriers(pd.DataFrame([row | {"n": 5, "n_tuned": 1, "n_null": 4}])).axes)
    1
    """
    schema.check(table, "carriers")
    check_numbers(table, NUMBERS)
    rows = table.loc[table["measure"] == BEHAVIOR]
    schema.require_rows(rows, "share_of_patch")
    sites = sites or str(rows["sites"].iloc[0])
    rows = rows.loc[rows["sites"] == sites]
    schema.require_rows(rows, "share_of_patch")
    ways = [way for way in WAYS if (rows["how"] == way).any()]
    if not ways:
        words = " or ".join(map(str, WAYS))
        raise SchemaError(f"no row says how='{words}'; record the edits of both ways.")
    claims = rows.loc[rows["group"] == Group.CANDIDATE]
    names = [str(name) for name in distinct(claims["candidate"])]
    with style():
        figure, axes = panels(len(ways))
        for ax, way in zip(axes, ways, strict=True):
            own = claims.loc[claims["how"] == way].set_index("candidate").reindex(names)
            _draw(ax, own)
            controls = rows.loc[(rows["how"] == way) & rows["group"].isin(CONTROLS)]
            y = np.full(len(controls), len(names))
            face = {"facecolor": "white", "edgecolor": "black", "linewidth": 0.8}
            ax.scatter(controls["share_of_patch"], y, s=14, zorder=3, **face)
            ax.margins(x=0.05)
            ax.axvline(0, **ZERO)
            ax.axvline(1, color=GRAY, linewidth=0.8, linestyle="--", label=str(Group.PATCH))
            shown = [*names, "other directions and features"]
            label_rows(ax, shown if ax is axes[0] else [""] * len(shown))
            ax.set_xlabel("share of the whole residual's effect (fraction)")
            ax.set_title(WAYS[way])
        legend(figure, *axes[0].get_legend_handles_labels())
        note = _note(claims.loc[claims["how"].isin(ways)])
        gaps = missing(claims.loc[claims["how"].isin(ways)], "share_of_patch", names="candidate")
        height = 0.4 + 0.24 * (len(names) + 1)
        return finish(figure, f"{note} {gaps}".strip(), height=height, title=title or sites)


def _draw(axes: Axes, own: pd.DataFrame) -> None:
    y = np.arange(len(own))
    share, lo, hi, null_lo, null_hi = (own[c].to_numpy(np.float64) for c in NUMBERS)
    axes.barh(
        y, null_hi - null_lo, left=null_lo, height=0.62, color=BAND, label="one more random edit"
    )
    axes.hlines(y, lo, hi, color=COLORS[0], linewidth=1.2, zorder=3)
    axes.scatter(share, y, color=COLORS[0], s=16, zorder=4, label="candidate")


def _note(claims: pd.DataFrame) -> str:
    text = f"95 % intervals over {span(claims['n'])} prompts that chose nothing; "
    text += f"{span(claims['n_tuned'])} finetunes. Band: where one more random edit of the same "
    return text + f"size lies (95 %, t prediction from {span(claims['n_null'])} of either kind)."
