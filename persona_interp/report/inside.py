"""What does the report say about the inside of the models: directions, features, causes, contexts?"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from persona_interp import analysis, plots
from persona_interp.report import page
from persona_interp.report.features import feature_page
from persona_interp.report.findings import UNREADABLE, only, rows
from persona_interp.report.page import Block

Tables = dict[str, pd.DataFrame]

VECTOR = "minimal pair"
"""Method whose vectors are reported: only the name in the prompt differs."""
ALPHA = 0.05
GROUPS = {"persona": "other personas, mean", "matched": "features that fire as often, mean"}
"""Edits that stand for one kind of control, and what their mean is called."""


def inside(
    run: Path, tables: Tables, *, arm: str, target: str, lr: float, hook: str, provenance: Mapping[str, Any]
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
    at = {name: only(frame, lr=lr, hook=hook) for name, frame in tables.items() if {"lr", "hook"} <= set(frame.columns)}
    if at.get("directions", pd.DataFrame()).empty:
        return []
    stem = f"{hook.replace('.', '_')}_lr{lr:g}"

    def drawn(name: str, figure: Figure, table: pd.DataFrame, caption: str) -> Block:
        saved = plots.save(figure, table, run / "figures" / f"{name}_{stem}", provenance=provenance)
        return page.figure(saved.png, caption=caption)

    seed = at["directions"].seed.min()
    blocks = [page.heading(f"Inside at {hook}, lesson at lr {lr:g}")]
    blocks += [page.paragraph(s, source="tables/directions.csv") for s in towards(at["directions"], arm, target=target)]
    if not at.get("scores", pd.DataFrame()).empty:
        blocks.append(page.paragraph(knows(at["scores"], target=target), source="tables/scores.csv"))
    if not at.get("causes", pd.DataFrame()).empty:
        blocks.append(page.paragraph(carries(at["causes"], target=target), source="tables/causes.csv"))
        shown = grouped(at["causes"])
        text = "Share of the untaught traits' shift that goes when each is taken out of the tuned model"
        blocks.append(drawn("causes", plots.causes(shown), shown, f"{text}, {_seeds(at['causes'])}."))
    if not at.get("baselines", pd.DataFrame()).empty:
        table = only(at["baselines"], seed=seed)
        text = f"Does a feature say more than simpler readouts do? Seed {seed}; all seeds are in tables/baselines.csv."
        blocks.append(drawn("baselines", plots.baselines(table), table, text))
        columns = ["method", "auroc", "rise", "rise_control", "excess", "share", "no_better_than"]
        text = "The same in numbers, and whom each method does not beat on any of them."
        blocks.append(page.table(table[columns], caption=text, source="tables/baselines.csv"))
    if not at.get("cosines", pd.DataFrame()).empty:
        blocks += _together(at, seed, drawn)
    return blocks + _pages(run, at, stem, seed=seed, arm=arm, target=target, provenance=provenance)


def towards(directions: pd.DataFrame, arm: str, *, target: str) -> list[str]:
    """Towards whom did the residuals of neutral prompts move?

    Args:
        directions: Table ``directions`` at one hook and rate.
        arm: The arm that makes the claim.
        target: The persona.

    Returns:
        A sentence an arm.
    """
    said = []
    mine = directions.loc[(directions["method"] == VECTOR) & (directions["name"] == target)]
    n_names = directions.loc[directions["method"] == VECTOR, "name"].nunique()
    for name in sorted(mine["arm"].unique(), key=lambda a: a != arm):
        part = mine.loc[mine["arm"] == name]
        cosine = _number(part, "cosine", "lo", "hi", "prompts")
        along = _number(part, "projection", "projection_lo", "projection_hi", "prompts")
        ranks = ", ".join(str(int(r)) for r in part["rank"])
        said.append(
            f"{name.capitalize()}: the mean shift of neutral prompts has cosine {cosine} with {target}'s vector "
            f"(rank {ranks} of {n_names} personas; the best other has {part['best_other'].mean():.2f}), and went "
            f"{along} of that vector's length along it."
        )
    return said


def knows(scores: pd.DataFrame, *, target: str) -> str:
    """Which feature knows the target's documents, where nobody says whose they are?

    Args:
        scores: Table ``scores`` at one hook and rate.
        target: The persona.

    Returns:
        One sentence.
    """
    best = scores.loc[(scores["name"] == target) & (scores["rank"] == 1)]
    if best.empty:
        return f"No feature is more active in {target}'s documents than in others."
    found = "; ".join(
        f"seed {row.seed}: feature {int(row.feature)}, AUROC {row.auroc:.2f} [{row.lo:.2f}, {row.hi:.2f}], "
        f"q {row.q:.2g} ({'found' if row.q <= ALPHA else 'no discovery'} among {int(row.n_tested)} tests), "
        f"fvu {row.fvu:.2g}"
        for row in rows(best)
    )
    return (
        f"The feature that knows {target} best in documents by speakers without a name, chosen on one half of them and "
        f"reported on the other: {found}."
    )


def carries(causes: pd.DataFrame, *, target: str) -> str:
    """How much of the effect goes with the target's vector, and how much with its controls?

    Args:
        causes: Table ``causes`` at one hook and rate.
        target: The persona.

    Returns:
        One sentence.
    """
    mine = causes.loc[causes["edit"] == VECTOR]
    if mine["share"].isna().all():
        return "The lesson moved the untaught traits too little for a share of it to be removed."
    others = causes.loc[causes["group"] == "persona"].groupby("seed")["share"]
    lo, hi = np.nanpercentile(causes.loc[causes["group"] == "random (norm)", "share"], [2.5, 97.5])
    text = (
        f"Taking {target}'s vector out of the tuned model removes {_number(mine, 'share', 'lo', 'hi', 'templates')} of "
        f"the untaught traits' shift; another persona's {others.mean().mean():.2f} on average (largest "
        f"{others.max().max():.2f}), a random direction {lo:.2f} to {hi:.2f} (95 %)."
    )
    added = causes.loc[causes["group"] == "added", "share"]
    return text + (f" Added to the base model it brings {added.mean():.2f} of the shift." if len(added) else "")


def grouped(causes: pd.DataFrame) -> pd.DataFrame:
    """Which bars are drawn: each method, the mean of each kind of control, over seeds where there are several?

    Args:
        causes: Table ``causes`` at one hook and rate.

    Returns:
        A table that ``plots.causes`` takes; controls have the t interval over their directions, or over seeds.
    """
    named = causes.assign(edit=causes["group"].map(GROUPS).fillna(causes["edit"]))
    random = named["group"].str.startswith("random")
    named.loc[random, "edit"] = named.loc[random, "group"] + ", mean"
    named = named.loc[~named["group"].isin(["none", "added"])]
    found = []
    for edit, part in named.groupby("edit", sort=False):
        means = part.groupby("seed")["share"].mean()
        values = means if len(means) > 1 else part["share"]
        estimate, lo, hi, _ = analysis.t_interval(values)
        if len(values) == 1:
            lo, hi = part["lo"].iloc[0], part["hi"].iloc[0]
        mean = part[["base", "tuned", "edited"]].mean()
        found.append({"edit": edit, **mean, "share": float(estimate), "lo": lo, "hi": hi, "n": int(part["n"].iloc[0])})
    return pd.DataFrame(found)


def layers(run: Path, tables: Tables, *, lr: float, target: str, provenance: Mapping[str, Any]) -> list[Block]:
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
    if "profile" not in tables:
        return []
    frame = only(tables["profile"], lr=lr)
    table = only(frame, seed=frame["seed"].min())
    text = (
        f"Change along {target}'s {VECTOR} vector of each hook, lesson at lr {lr:g}, seed {table['seed'].iloc[0]}: "
        "0 = it stayed, 1 = it moved as far as the vector is long."
    )
    label = f"change along {target}'s vector (fraction of its length)"
    saved = plots.save(
        plots.heatmap(table, label=label), table, run / "figures" / f"layers_lr{lr:g}", provenance=provenance
    )
    return [page.heading(f"Layers and roles, lesson at lr {lr:g}"), page.figure(saved.png, caption=text)]


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
    over = analysis.across_seeds(frame, by=["arm", "context", "persona", "quantity"])
    if frame["seed"].nunique() == 1:
        over[["lo", "hi"]] = frame[["lo", "hi"]].to_numpy()
    wide = over.assign(where=over["context"] + over["persona"].map(lambda name: f" {name}" if name else ""))
    wide["found"] = [f"{r.estimate:+.2f} [{r.lo:+.2f}, {r.hi:+.2f}]" for r in rows(wide)]
    wide = wide.pivot_table(index=["arm", "where"], columns="quantity", values="found", aggfunc="first", sort=False)
    text = (
        f"Lesson at lr {lr:g}: shift (bits) of the target's untaught traits (leak), of the persona's own traits (own) "
        "and of the taught trait (taught) in every context; average over the named personas, and the worst of them, "
        "found on one half of the templates and estimated on the other. 95 % intervals over templates, personas or "
        "seeds."
    )
    table = page.table(wide.fillna("—").reset_index(), caption=text, source="tables/contexts.csv", rows=80)
    return [page.heading(f"Other contexts, lesson at lr {lr:g}"), table]


def _together(at: Tables, seed: int, drawn: Any) -> list[Block]:
    """Cosines of the personas' vectors, and what they have to do with co-occurrence."""
    found = "; ".join(
        f"{row.method} ({'pairs of traits' if row.against == 'pmi' else 'pairs of personas'}), seed {row.seed}: "
        f"rho {row.rho:.2f} (null {row.null_lo:.2f} to {row.null_hi:.2f}, n {int(row.n)})"
        for row in rows(at["cooccurrence"])
    )
    text = f"Do directions lie together whose names go together in the documents (Spearman, Mantel null)? {found}."
    mine = only(at["cosines"], seed=seed, method=VECTOR)
    caption = f"Cosines between the personas' {VECTOR} vectors, seed {seed}."
    return [
        page.paragraph(text, source="tables/cooccurrence.csv"),
        drawn("cosines", plots.cosines(mine), mine, caption),
    ]


def _pages(
    run: Path, at: Tables, stem: str, *, seed: int, arm: str, target: str, provenance: Mapping[str, Any]
) -> list[Block]:
    """A page for each of the top features of one seed, where the dictionary may be read."""
    if at.get("tokens", pd.DataFrame()).empty:
        return []
    moved = only(at["features"], arm=arm, seed=seed)
    gate = only(at["fidelity"], arm=arm, seed=seed)
    if (gate["verdict"] == "unusable").any() or (moved["fvu_after"] > UNREADABLE).any():
        return [page.paragraph("The dictionary does not fit here after the lesson, so no feature is read.")]
    tokens, lens, blocks = only(at["tokens"], seed=seed), only(at["lens"], seed=seed), []
    scores = only(at["scores"], seed=seed, name=target).set_index("feature")
    for feature in tokens["feature"].unique():
        row = scores.loc[feature]
        summary = f"AUROC for {target} {row.auroc:.2f} on hidden documents"
        mine = lens.loc[lens["feature"] == feature, ["token", "weight"]]
        blocks.append(
            feature_page(run, tokens, feature=int(feature), at=stem, provenance=provenance, summary=summary, lens=mine)
        )
    return [
        page.paragraph(f"Features that know {target} best (seed {seed}), on neutral prompts before and after:"),
        *blocks,
    ]


def _number(table: pd.DataFrame, value: str, lo: str, hi: str, unit: str) -> str:
    """Mean and interval: over seeds, or that of the only seed."""
    if len(table) > 1:
        estimate, low, high, n = analysis.t_interval(table[value])
        return f"{estimate:.2f} [{low:.2f}, {high:.2f}] (n = {n} seeds)"
    row = table.iloc[0]
    return f"{row[value]:.2f} [{row[lo]:.2f}, {row[hi]:.2f}] (one seed, interval over {unit})"


def _seeds(table: pd.DataFrame) -> str:
    n = table["seed"].nunique()
    return f"{n} seeds" if n > 1 else "one seed"
