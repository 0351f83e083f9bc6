"""What is this feature?

Its page: strength, nearest features, examples, words it writes, what happens without it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from persona_interp import plots
from persona_interp.files import write_bytes
from persona_interp.plots.features import select
from persona_interp.plots.save import as_csv
from persona_interp.report import page
from persona_interp.report.page import Block
from persona_interp.report.tokens import ranked_prompts
from persona_interp.report.tokens import tokens as token_view

CONTEXT_TOKENS = 8
"""Tokens shown on each side of an example's largest activation."""


def feature_page(
    run: Path,
    tokens: pd.DataFrame,
    *,
    feature: int,
    provenance: Mapping[str, Any],
    at: str = "",
    checkpoints: Sequence[str] = (),
    summary: str = "",
    hint: str = "",
    lens: pd.DataFrame | None = None,
    nearest: pd.DataFrame | None = None,
    causes: pd.DataFrame | None = None,
    others: Sequence[str] = (),
    random: Sequence[str] = (),
) -> Block:
    """Page of a feature: when it fires, what is like it, what it does.

    Args:
        run: The run's folder; figures and tables of this page are written below it.
        tokens: A tokens table.
        feature: Index in the dictionary.
        provenance: Written beside every figure.
        at: Which dictionary and run it is of, for the names of files.
        checkpoints: Labels, in order; all of the table by default.
        summary: Said of it while the page is folded, beside its number.
        hint: Address where somebody may have described it; shown as unverified.
        lens: Tokens that the feature's decoder row makes likelier or less likely: ``token``,
            ``weight``.
        nearest: Other features: ``feature``, ``cosine`` of decoder rows.
        causes: A table of causes (``plots.causes``) of edits of this feature and their controls.
        others: Edits drawn as dots, as in ``plots.causes``.
        random: Edits drawn as a band, as in ``plots.causes``.

    Returns:
        A folded block.

    Raises:
        SchemaError: A table is not what it should be.
    """
    stem = f"feature_{feature}"
    if at:
        stem += f"_{at}"
    rows, names = select(tokens, feature=feature, checkpoints=checkpoints)
    plot = plots.feature_page(tokens, feature=feature, checkpoints=checkpoints, nearest=nearest)
    text = f"Activations of feature {feature} on counted tokens."
    save = {"table": rows, "caption": text, "provenance": provenance}
    blocks = [
        page.saved_figure(run, stem, plot, **save),
        token_view(tokens, feature=feature, checkpoints=names, source=f"figures/{stem}.csv"),
    ]
    top = examples(tokens, feature=feature, checkpoints=checkpoints)
    text = "Largest activation of each prompt, with what stands around it."
    blocks.append(_table(run, f"{stem}_examples", top, caption=text))
    if hint:
        text = f"Perhaps described at {hint} (not verified, in no statistic)."
        blocks.append(page.paragraph(text))
    if lens is not None:
        text = (
            "Tokens that its decoder row makes likelier (positive) or less likely, through the "
            "unembedding."
        )
        blocks.append(_table(run, f"{stem}_lens", lens, caption=text))
    if causes is not None:
        bars = plots.causes(causes, others=others, random=random)
        text = "Share of the shift that goes with it, beside its controls."
        save = {"table": causes, "caption": text, "provenance": provenance}
        blocks.append(page.saved_figure(run, f"{stem}_causes", bars, **save))
    title = f"Feature {feature}"
    if summary:
        title += f": {summary}"
    return page.details(title, blocks)


def examples(
    tokens: pd.DataFrame, *, feature: int, checkpoints: Sequence[str] = (), prompts: int = 10
) -> pd.DataFrame:
    """Texts in which this feature fires most.

    Args:
        tokens: A tokens table.
        feature: Index in the dictionary.
        checkpoints: Labels, in order; all of the table by default.
        prompts: Rows.

    Returns:
        One row a prompt, that with the largest activation of any checkpoint first: ``prompt``,
        ``before``, ``piece``, ``after`` (text around the counted token of that activation), and
        that token's activation, one column a checkpoint; NaN where a checkpoint was not recorded on
        the prompt.

    Raises:
        SchemaError: Not a tokens table, a feature or checkpoint that it lacks, or activations that
            are no numbers.

    >>> table = pd.DataFrame({"piece": ["I like ", "football", " ."], "act": [0.0, 2.0, 0.5]})
    >>> table = table.assign(pos=range(3), prompt="p", role="text", turn=0, checkpoint="base")
    >>> examples(table.assign(feature=7, counted=True), feature=7).iloc[0].astype(str).tolist()
    ['p', 'I like ', 'football', ' .', '2.0']
    """
    acts, names = select(tokens, feature=feature, checkpoints=checkpoints)
    acts = acts.reset_index(drop=True)
    counted = acts.loc[acts["counted"].astype(bool)]
    size = counted["act"].abs()
    tops = counted.loc[size.groupby(counted["prompt"], sort=False).idxmax()].set_index("prompt")
    rows = []
    for prompt in ranked_prompts(counted)[:prompts]:
        top = tops.loc[prompt]
        own = acts.loc[acts["prompt"] == prompt]
        text = own.drop_duplicates("pos").set_index("pos")["piece"].sort_index()
        row = {
            "prompt": prompt,
            "before": "".join(text.loc[: top.pos - 1].tail(CONTEXT_TOKENS)),
            "piece": top.piece,
            "after": "".join(text.loc[top.pos + 1 :].head(CONTEXT_TOKENS)),
        }
        act = own.loc[own["pos"] == top.pos].set_index("checkpoint")["act"]
        rows.append({**row, **{name: float(act.get(name, np.nan)) for name in names}})
    return pd.DataFrame(rows, columns=["prompt", "before", "piece", "after", *names])


def _table(run: Path, name: str, frame: pd.DataFrame, *, caption: str) -> Block:
    """A table, saved into the run and shown."""
    write_bytes(as_csv(frame), run / "tables" / f"{name}.csv")
    return page.table(frame, caption=caption, source=f"tables/{name}.csv")
