"""What does the report say about the inside: directions, features, causes, layers, contexts?"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from persona_interp import analysis, plots
from persona_interp.experiments.transfer.findings import unreadable
from persona_interp.experiments.transfer.inside.config import (
    BRINGS,
    GROUPS,
    PATCH,
    RANDOM,
    VARIED,
    VECTOR,
)
from persona_interp.experiments.transfer.inside.findings import (
    brings,
    carries,
    knows,
    knows_beside,
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
from persona_interp.schema.words import AVERAGE, WORST

Tables = dict[str, pd.DataFrame]

ALONE = ("method", "patch")
"""Groups of edits that get a bar each; all others get one together."""
RIVAL_COLUMNS = ["measure", "group", "n", "own", "least", "least_edit", "most", "most_edit"]
RIVAL_COLUMNS += ["difference", "rank"]
"""Columns of the rivals that stand in the report in numbers."""
BASELINE_COLUMNS = ["method", "auroc", "auroc_same", "rise", "rise_control", "excess", "share"]
BASELINE_COLUMNS += ["no_better_than"]
"""Columns of the baselines that stand in the report in numbers."""


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
    """Blocks on what happened at one hook, after the lesson at one learning rate.

    Args:
        run: The run's folder; figures are written below it.
        tables: Of ``summarize``; what is not there yet is left out.
        arm: The arm that makes the claim.
        target: The persona whose traits are read out.
        lr: Learning rate of the lesson.
        hook: Where.
        provenance: Written beside every figure.

    Returns:
        Blocks, none where nothing was measured.
    """
    here = {
        name: only(table, lr=lr, hook=hook)
        for name, table in tables.items()
        if {"lr", "hook"} <= set(table.columns)
    }
    if not has(here, "directions"):
        return []
    stem = f"{hook.replace('.', '_')}_lr{lr:g}"
    at: dict[str, Any] = {"stem": stem, "provenance": provenance}
    blocks = [page.heading(f"Inside at {hook}, lesson at lr {lr:g}")]
    chance = here.get("chance", pd.DataFrame({"arm": []}))
    for sentence in towards(here["directions"], chance, arm=arm, target=target):
        blocks.append(page.paragraph(sentence, source="tables/directions.csv"))
    blocks += _words(here)
    for name, sentence in ("refit", stays), ("scores", knows):
        if has(here, name):
            text = sentence(here[name], target=target)
            blocks.append(page.paragraph(text, source=f"tables/{name}.csv"))
    if has(here, "pairs"):
        blocks.append(page.paragraph(knows_beside(here["pairs"]), source="tables/pairs.csv"))
    blocks += _causes(run, here, target=target, **at)
    blocks += _baselines(run, here, **at)
    blocks += _cosines(run, here, **at)
    return blocks + _pages(run, here, arm=arm, target=target, **at)


def grouped(causes: pd.DataFrame) -> pd.DataFrame:
    """Bars to draw: each method and the mean of each kind of control.

    Args:
        causes: Table ``causes`` at one hook and rate; edits of the base are left out.

    Returns:
        A table that ``plots.causes`` takes; of a group the mean with the t interval over its
        members, or over seeds where there are several, and ``n`` says how many of these; of a
        single edit of one seed its interval and n over templates. ``least`` and ``most`` are the
        smallest and the largest of a group in any seed.
    """
    edits = causes.loc[~causes["group"].isin([*BRINGS, "none"])]
    names = [GROUPS.get(row.group, row.group) for row in rows(edits)]
    edits = edits.assign(edit=edits["edit"].where(edits["group"].isin(ALONE), names))
    bars = []
    for edit, part in edits.groupby("edit", sort=False):
        values = part.groupby("seed")["share"].mean()
        if len(values) == 1:
            values = part["share"]
        estimate, lo, hi, n = analysis.stats.t_interval(values)
        if n == 1:  # a single edit of one seed: no t interval, but its own over templates
            lo, hi, n = (part[column].iloc[0] for column in ("lo", "hi", "n"))
        mean = part[["base", "tuned", "edited"]].mean()
        share = {"share": float(estimate), "lo": lo, "hi": hi, "n": int(n)}
        ends = {"least": part["share"].min(), "most": part["share"].max()}
        bars.append({"edit": edit, **mean, **share, **ends})
    return pd.DataFrame(bars)


def layers(
    run: Path, tables: Tables, *, lr: float, target: str, provenance: Mapping[str, Any]
) -> list[Block]:
    """Blocks on where, and on whose tokens, residuals of neutral prompts moved to the target.

    Args:
        run: The run's folder; the figure is written below it.
        tables: Of ``summarize``.
        lr: Learning rate of the lesson.
        target: The persona.
        provenance: Written beside the figure.

    Returns:
        A heading and a figure, or nothing.
    """
    if "profile" not in tables:
        return []
    profile = only(tables["profile"], lr=lr)
    if profile.empty:
        return []
    seed, table = _first(profile)
    caption = (
        f"Change along {target}'s {VECTOR} vector of each hook, lesson at lr {lr:g}, seed {seed}: "
        "0 = it stayed, 1 = it moved as far as the vector is long."
    )
    label = f"change along {target}'s vector (fraction of its length)"
    figure = page.saved_figure(
        run,
        f"layers_lr{lr:g}",
        plots.heatmap(table, label=label),
        table=table,
        caption=caption,
        provenance=provenance,
    )
    return [page.heading(f"Layers and roles, lesson at lr {lr:g}"), figure]


def contexts(tables: Tables, *, lr: float) -> list[Block]:
    """Blocks on how far the lesson spread outside of the nameless assistant.

    Args:
        tables: Of ``summarize``.
        lr: Learning rate of the lesson.

    Returns:
        A heading and a table, or nothing.
    """
    if "contexts" not in tables:
        return []
    shifts = only(tables["contexts"], lr=lr)
    shifts = shifts.loc[shifts["persona"].isin(["", AVERAGE, WORST])]
    if shifts.empty:
        return []
    means = analysis.across_seeds(shifts, by=["arm", "context", "persona", "quantity"])
    if shifts["seed"].nunique() == 1:  # no interval over seeds, but that of the only seed
        means[["lo", "hi"]] = shifts[["lo", "hi"]].to_numpy()
    means["where"] = [f"{row.context} {row.persona}".strip() for row in rows(means)]
    means["text"] = [f"{r.estimate:+.2f} [{r.lo:+.2f}, {r.hi:+.2f}]" for r in rows(means)]
    wide = means.pivot_table(
        index=["arm", "where"], columns="quantity", values="text", aggfunc="first", sort=False
    )
    text = (
        f"Lesson at lr {lr:g}: shift (bits) of the target's untaught traits (leak), of the "
        "persona's own traits (own) and of the taught trait (taught) in every context; average "
        "over the named personas, and the worst of them, found on one half of the templates and "
        "estimated on the other. 95 % intervals over templates, personas or seeds."
    )
    table = page.table(
        wide.fillna("—").reset_index(), caption=text, source="tables/contexts.csv", rows=80
    )
    return [page.heading(f"Other contexts, lesson at lr {lr:g}"), table]


def _words(here: Tables) -> list[Block]:
    """Words that the lesson's shift of neutral prompts writes."""
    if not has(here, "lens"):
        return []
    seed, words = _first(only(here["lens"], of="shift"))
    text = (
        "Tokens that this shift makes likelier (positive) or less likely, through the "
        f"unembedding; seed {seed}."
    )
    words = words.loc[:, ["token", "weight"]]
    return [page.table(words, caption=text, source="tables/lens.csv")]


def _causes(
    run: Path, here: Tables, *, target: str, stem: str, provenance: Mapping[str, Any]
) -> list[Block]:
    """What goes with the target's vector, and with everything else that is taken out."""
    if not has(here, "causes"):
        return []
    causes, bars = here["causes"], grouped(here["causes"])
    caption = (
        "Share of the untaught traits' shift that goes when each is taken out of the tuned model, "
        f"{seeds_of(causes)}."
    )
    figure = page.saved_figure(
        run,
        f"causes_{stem}",
        plots.causes(bars, patch=PATCH),
        table=bars,
        caption=caption,
        provenance=provenance,
    )
    blocks = []
    for sentence in [*carries(causes, target=target), *brings(causes, target=target)]:
        blocks.append(page.paragraph(sentence, source="tables/causes.csv"))
    blocks.append(figure)
    if has(here, "rivals"):
        seed, rivals = _first(here["rivals"])
        text = f"{target}'s vector beside the smallest and the largest of its rivals, seed {seed}."
        numbers = rivals.loc[:, RIVAL_COLUMNS]
        blocks.append(page.table(numbers, caption=text, source="tables/rivals.csv"))
    return blocks


def _baselines(run: Path, here: Tables, *, stem: str, provenance: Mapping[str, Any]) -> list[Block]:
    """Whether features say more than simpler readouts, drawn and in numbers."""
    if not has(here, "baselines"):
        return []
    seed, baselines = _first(here["baselines"])
    caption = (
        f"Does a feature say more than simpler readouts do? Seed {seed}; "
        "all seeds are in tables/baselines.csv."
    )
    figure = page.saved_figure(
        run,
        f"baselines_{stem}",
        plots.baselines(baselines),
        table=baselines,
        caption=caption,
        provenance=provenance,
    )
    text = (
        "The same in numbers, with the AUROC on documents about the topics learned on, and whom "
        "each method does not beat on the others, paired by document (tables/pairs.csv)."
    )
    numbers = baselines.loc[:, BASELINE_COLUMNS]
    return [figure, page.table(numbers, caption=text, source="tables/baselines.csv")]


def _cosines(run: Path, here: Tables, *, stem: str, provenance: Mapping[str, Any]) -> list[Block]:
    """Which directions lie together, beside what goes together in the documents."""
    if not has(here, "cosines"):
        return []
    seed, cosines = _first(only(here["cosines"], method=VECTOR))
    figure = page.saved_figure(
        run,
        f"cosines_{stem}",
        plots.cosines(cosines),
        table=cosines,
        caption=f"Cosines between the personas' {VECTOR} vectors, seed {seed}.",
        provenance=provenance,
    )
    return [
        page.paragraph(together(here["cooccurrence"]), source="tables/cooccurrence.csv"),
        page.paragraph(points(here["stated"]), source="tables/stated.csv"),
        figure,
    ]


def _pages(
    run: Path, here: Tables, *, arm: str, target: str, stem: str, provenance: Mapping[str, Any]
) -> list[Block]:
    """A page for each of the top features of one seed, where the dictionary may be read."""
    if not has(here, "tokens"):
        return []
    seed, tokens = _first(here["tokens"])
    shifts, gate = (only(here[name], arm=arm, seed=seed) for name in ("feature_shift", "fidelity"))
    if unreadable(shifts, gate):
        text = "The dictionary does not fit here after the lesson, so no feature is read."
        return [page.paragraph(text)]
    text = f"Features that know {target} best (seed {seed}), on neutral prompts before and after:"
    blocks = [page.paragraph(text)]
    causes = only(here["causes"], seed=seed)
    others = only(causes, group="persona")["edit"].tolist()
    random = causes.loc[causes["group"].isin([RANDOM, VARIED]), "edit"].tolist()
    for feature in map(int, tokens["feature"].unique()):
        scores = only(here["scores"], seed=seed, name=target, feature=feature)
        lens = only(here["lens"], seed=seed, of=str(feature)).loc[:, ["token", "weight"]]
        edits = [f"feature {feature}", VECTOR, *others, *random]
        block = feature_page(
            run,
            tokens,
            feature=feature,
            at=stem,
            provenance=provenance,
            summary=f"AUROC for {target} {scores['auroc'].iloc[0]:.2f} on hidden documents",
            lens=lens,
            nearest=only(here["nearest"], seed=seed, of=feature),
            causes=causes.loc[causes["edit"].isin(edits)],
            others=others,
            random=random,
        )
        blocks.append(block)
    return blocks


def _first(table: pd.DataFrame) -> tuple[int, pd.DataFrame]:
    """The first seed that has rows, and these."""
    seed = int(min(table["seed"]))
    return seed, only(table, seed=seed)
