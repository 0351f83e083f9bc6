"""What is this feature? Its page: strength, nearest features, examples, words it writes, what happens without it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from persona_interp import plots
from persona_interp.plots.features import selected
from persona_interp.plots.save import as_csv
from persona_interp.report import page
from persona_interp.report.page import Block
from persona_interp.report.tokens import token_view
from persona_interp.tables import atomic

CONTEXT = 8
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
    """What is this feature: when does it fire, what is like it, what does it do?

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
    stem = f"feature_{feature}" + f"_{at}" * bool(at)
    drawn = plots.feature_page(tokens, feature=feature, checkpoints=checkpoints, nearest=nearest)
    mine, names = selected(tokens, feature=feature, checkpoints=checkpoints)
    saved = plots.save(drawn, mine, run / "figures" / stem, provenance=provenance)
    top = examples(tokens, feature=feature, checkpoints=checkpoints)
    blocks = [
        page.figure(saved.png, caption=f"Activations of feature {feature} on counted tokens."),
        token_view(tokens, feature=feature, checkpoints=names, source=f"figures/{stem}.csv"),
        _table(
            run,
            f"{stem}_examples",
            top,
            caption="Largest activation of each prompt, with what stands around it.",
        ),
    ]
    if hint:
        blocks.append(
            page.paragraph(f"Perhaps described at {hint} (not verified, in no statistic).")
        )
    if lens is not None:
        said = "Tokens that its decoder row makes likelier (positive) or less likely, through the unembedding."
        blocks.append(_table(run, f"{stem}_lens", lens, caption=said))
    if causes is not None:
        bars = plots.causes(causes, others=others, random=random)
        saved = plots.save(bars, causes, run / "figures" / f"{stem}_causes", provenance=provenance)
        blocks.append(
            page.figure(
                saved.png, caption="Share of the shift that goes with it, beside its controls."
            )
        )
    return page.details(f"Feature {feature}" + f": {summary}" * bool(summary), blocks)


def examples(
    tokens: pd.DataFrame, *, feature: int, checkpoints: Sequence[str] = (), prompts: int = 10
) -> pd.DataFrame:
    """Where does this feature fire most, in words?

    Args:
        tokens: A tokens table.
        feature: Index in the dictionary.
        checkpoints: Labels, in order; all of the table by default. The largest activation is the
            last one's.
        prompts: Rows.

    Returns:
        One row a prompt, largest first: ``prompt``, ``before``, ``piece``, ``after`` (text around
        the counted token of the largest activation), and that token's activation, one column a
        checkpoint; NaN where a checkpoint was not recorded on the prompt.

    Raises:
        SchemaError: Not a tokens table, a feature or checkpoint that it lacks, or activations that
            are no numbers.

    >>> row = {"prompt": "p", "role": "text", "turn": 0, "checkpoint": "base", "feature": 7, "counted": True}
    >>> words = [("I like ", 0.0), ("football", 2.0), (" .", 0.5)]
    >>> table = pd.DataFrame([{**row, "pos": i, "piece": w, "act": a} for i, (w, a) in enumerate(words)])
    >>> examples(table, feature=7).iloc[0].astype(str).tolist()
    ['p', 'I like ', 'football', ' .', '2.0']
    """
    mine, names = selected(tokens, feature=feature, checkpoints=checkpoints)
    last = mine.loc[(mine["checkpoint"] == names[-1]) & mine["counted"].astype(bool)]
    tops = last.loc[last.groupby("prompt", sort=False)["act"].idxmax()]
    rows = []
    for row in tops.sort_values("act", ascending=False, kind="stable").head(prompts).itertuples():
        of_prompt = mine.loc[mine["prompt"] == row.prompt]
        text = (
            of_prompt.loc[of_prompt["checkpoint"] == names[-1]]
            .set_index("pos")["piece"]
            .sort_index()
        )
        there = of_prompt.loc[of_prompt["pos"] == row.pos].set_index("checkpoint")["act"]
        rows.append(
            {
                "prompt": row.prompt,
                "before": "".join(text.loc[: row.pos - 1].tail(CONTEXT)),
                "piece": row.piece,
                "after": "".join(text.loc[row.pos + 1 :].head(CONTEXT)),
                **{name: float(there.get(name, np.nan)) for name in names},
            }
        )
    return pd.DataFrame(rows, columns=["prompt", "before", "piece", "after", *names])


def _table(run: Path, name: str, frame: pd.DataFrame, *, caption: str) -> Block:
    with atomic(run / "tables" / f"{name}.csv") as path:
        path.write_bytes(as_csv(frame))
    return page.table(frame, caption=caption, source=f"tables/{name}.csv")
