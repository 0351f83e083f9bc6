"""What does the report say about the inside of the models: directions, features, causes, contexts?"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from persona_interp import analysis, plots
from persona_interp.experiments.transfer.findings import UNREADABLE
from persona_interp.experiments.transfer.inside.config import VECTOR
from persona_interp.experiments.transfer.inside.findings import (
    carries,
    knows,
    points,
    seeds_of,
    stays,
    together,
    towards,
)
from persona_interp.report import page
from persona_interp.report.features import feature_page
from persona_interp.report.page import Block
from persona_interp.report.rows import has, only, rows

Tables = dict[str, pd.DataFrame]

GROUPS = {
    "persona": "other personas, mean",
    "matched": "features that fire as often in documents, mean",
    "active": "features as active after the lesson, mean",
}
"""Edits that stand for one kind of control, and what their mean is called."""
BESIDE = ["method", "auroc", "rise", "rise_control", "excess", "share", "no_better_than"]
"""Columns of the baselines that are shown in numbers."""


def inside(
    run: Path,
    tables: Tables,
    *,
    arm: str,
    target: str,
    lr: float,
    hook: str,
    provenance: Mapping[str, Any],
) -> list[Block]:
    """What happened at one hook, after the lesson at one learning rate?

    Args:
        run: The run's folder; figures are written below it.
        tables: Of ``Transfer.summarize``; what is not there yet is left out.
        arm: The arm that makes the claim.
        target: The persona whose traits are read out.
        lr: Learning rate of the lesson.
        hook: Where.
        provenance: Written beside every figure.

    Returns:
        Blocks, none where nothing was measured.
    """
    at = {
        name: only(frame, lr=lr, hook=hook)
        for name, frame in tables.items()
        if {"lr", "hook"} <= set(frame.columns)
    }
    if at.get("directions", pd.DataFrame()).empty:
        return []
    stem = f"{hook.replace('.', '_')}_lr{lr:g}"

    def drawn(name: str, figure: Figure, table: pd.DataFrame, caption: str) -> Block:
        saved = plots.save(figure, table, run / "figures" / f"{name}_{stem}", provenance=provenance)
        return page.figure(saved.png, caption=caption)

    blocks = [page.heading(f"Inside at {hook}, lesson at lr {lr:g}")]
    blocks += [
        page.paragraph(s, source="tables/directions.csv")
        for s in towards(at["directions"], arm, target=target)
    ]
    if has(at, "lens"):
        seed, words = _first(only(at["lens"], of="shift"))
        text = f"Tokens that this shift makes likelier (positive) or less likely, through the unembedding; seed {seed}."
        blocks.append(
            page.table(words.loc[:, ["token", "weight"]], caption=text, source="tables/lens.csv")
        )
    if has(at, "refit"):
        blocks.append(page.paragraph(stays(at["refit"], target=target), source="tables/refit.csv"))
    if has(at, "scores"):
        blocks.append(
            page.paragraph(knows(at["scores"], target=target), source="tables/scores.csv")
        )
    if has(at, "causes"):
        blocks.append(
            page.paragraph(carries(at["causes"], target=target), source="tables/causes.csv")
        )
        shown = grouped(at["causes"])
        text = "Share of the untaught traits' shift that goes when each is taken out of the tuned model"
        blocks.append(
            drawn("causes", plots.causes(shown), shown, f"{text}, {seeds_of(at['causes'])}.")
        )
    if has(at, "baselines"):
        seed, table = _first(at["baselines"])
        text = f"Does a feature say more than simpler readouts do? Seed {seed}; all seeds are in tables/baselines.csv."
        blocks.append(drawn("baselines", plots.baselines(table), table, text))
        text = "The same in numbers, and whom each method does not beat on any of them."
        blocks.append(page.table(table.loc[:, BESIDE], caption=text, source="tables/baselines.csv"))
    if has(at, "cosines"):
        blocks.append(
            page.paragraph(together(at["cooccurrence"]), source="tables/cooccurrence.csv")
        )
        blocks.append(page.paragraph(points(at["stated"]), source="tables/stated.csv"))
        seed, table = _first(only(at["cosines"], method=VECTOR))
        text = f"Cosines between the personas' {VECTOR} vectors, seed {seed}."
        blocks.append(drawn("cosines", plots.cosines(table), table, text))
    return blocks + _pages(run, at, stem, arm=arm, target=target, provenance=provenance)


def grouped(causes: pd.DataFrame) -> pd.DataFrame:
    """Which bars are drawn: each method, the mean of each kind of control, over seeds where there are several?

    Args:
        causes: Table ``causes`` at one hook and rate; edits of a numbered feature are left out, its
            number is a seed's.

    Returns:
        A table that ``plots.causes`` takes; controls have the t interval over their directions, or
        over seeds, and ``n`` says how many of these; of a single edit of one seed its interval and
        n over templates.
    """
    named = causes.loc[~causes["group"].isin(["none", "added", "feature"])]
    said = GROUPS | {
        group: f"{group}, mean" for group in named["group"] if group.startswith("random")
    }
    named = named.assign(edit=[said.get(r.group, r.edit) for r in rows(named)])
    found = []
    for edit, part in named.groupby("edit", sort=False):
        means = part.groupby("seed")["share"].mean()
        values = means if len(means) > 1 else part["share"]
        estimate, lo, hi, n = analysis.t_interval(values)
        if n == 1:
            lo, hi, n = (part[column].iloc[0] for column in ("lo", "hi", "n"))
        mean = part[["base", "tuned", "edited"]].mean()
        found.append(
            {"edit": edit, **mean, "share": float(estimate), "lo": lo, "hi": hi, "n": int(n)}
        )
    return pd.DataFrame(found)


def layers(
    run: Path, tables: Tables, *, lr: float, target: str, provenance: Mapping[str, Any]
) -> list[Block]:
    """At which hook, on whose tokens, did the residual of neutral prompts move towards the target?

    Args:
        run: The run's folder; the figure is written below it.
        tables: Of ``Transfer.summarize``.
        lr: Learning rate of the lesson.
        target: The persona.
        provenance: Written beside the figure.

    Returns:
        A heading and a figure, or nothing.
    """
    at = {"profile": only(tables["profile"], lr=lr)} if "profile" in tables else {}
    if not has(at, "profile"):
        return []
    seed, table = _first(at["profile"])
    text = (
        f"Change along {target}'s {VECTOR} vector of each hook, lesson at lr {lr:g}, seed {seed}: "
        "0 = it stayed, 1 = it moved as far as the vector is long."
    )
    label = f"change along {target}'s vector (fraction of its length)"
    saved = plots.save(
        plots.heatmap(table, label=label),
        table,
        run / "figures" / f"layers_lr{lr:g}",
        provenance=provenance,
    )
    return [
        page.heading(f"Layers and roles, lesson at lr {lr:g}"),
        page.figure(saved.png, caption=text),
    ]


def contexts(tables: Tables, *, lr: float) -> list[Block]:
    """How far did the lesson spread outside of the nameless assistant?

    Args:
        tables: Of ``Transfer.summarize``.
        lr: Learning rate of the lesson.

    Returns:
        A heading and a table, or nothing.
    """
    if "contexts" not in tables:
        return []
    frame = only(tables["contexts"], lr=lr)
    frame = frame.loc[frame["persona"].isin(["", "average", "worst"])]
    if frame.empty:
        return []
    over = analysis.across_seeds(frame, by=["arm", "context", "persona", "quantity"])
    if len(set(frame["seed"])) == 1:
        over[["lo", "hi"]] = frame[["lo", "hi"]].to_numpy()
    wide = over.assign(
        where=over["context"] + over["persona"].map(lambda name: f" {name}" if name else "")
    )
    wide["found"] = [f"{r.estimate:+.2f} [{r.lo:+.2f}, {r.hi:+.2f}]" for r in rows(wide)]
    wide = wide.pivot_table(
        index=["arm", "where"], columns="quantity", values="found", aggfunc="first", sort=False
    )
    text = (
        f"Lesson at lr {lr:g}: shift (bits) of the target's untaught traits (leak), of the "
        "persona's own traits (own) "
        "and of the taught trait (taught) in every context; average over the named personas, and "
        "the worst of them, "
        "found on one half of the templates and estimated on the other. 95 % intervals over "
        "templates, personas or "
        "seeds."
    )
    table = page.table(
        wide.fillna("—").reset_index(), caption=text, source="tables/contexts.csv", rows=80
    )
    return [page.heading(f"Other contexts, lesson at lr {lr:g}"), table]


def _first(table: pd.DataFrame) -> tuple[int, pd.DataFrame]:
    """The first seed that has rows, and these."""
    seed = int(min(table["seed"]))
    return seed, only(table, seed=seed)


def _pages(
    run: Path, at: Tables, stem: str, *, arm: str, target: str, provenance: Mapping[str, Any]
) -> list[Block]:
    """A page for each of the top features of one seed, where the dictionary may be read."""
    if not has(at, "tokens"):
        return []
    seed, tokens = _first(at["tokens"])
    moved, gate = (only(at[name], arm=arm, seed=seed) for name in ("features", "fidelity"))
    if "unusable" in set(gate["verdict"]) or max(moved["fvu_after"], default=0.0) > UNREADABLE:
        return [
            page.paragraph(
                "The dictionary does not fit here after the lesson, so no feature is read."
            )
        ]
    causes = only(at["causes"], seed=seed)
    others, random = (
        causes.loc[causes["group"] == group, "edit"].tolist()
        for group in ("persona", "random (norm)")
    )
    blocks = [
        page.paragraph(
            f"Features that know {target} best (seed {seed}), on neutral prompts before and after:"
        )
    ]
    for feature in map(int, tokens["feature"].unique()):
        score = only(at["scores"], seed=seed, name=target, feature=feature)["auroc"].iloc[0]
        blocks.append(
            feature_page(
                run,
                tokens,
                feature=feature,
                at=stem,
                provenance=provenance,
                summary=f"AUROC for {target} {score:.2f} on hidden documents",
                lens=only(at["lens"], seed=seed, of=str(feature)).loc[:, ["token", "weight"]],
                nearest=only(at["nearest"], seed=seed, of=feature),
                causes=causes.loc[
                    causes["edit"].isin([f"feature {feature}", VECTOR, *others, *random])
                ],
                others=others,
                random=random,
            )
        )
    return blocks
