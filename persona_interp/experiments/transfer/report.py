"""What did a transfer run find, in words and figures?"""

from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd

from persona_interp import analysis, plots
from persona_interp.errors import StoreError
from persona_interp.experiments.transfer import findings
from persona_interp.experiments.transfer.inside.report import contexts, inside, layers
from persona_interp.report import page
from persona_interp.report.page import Block
from persona_interp.report.rows import only
from persona_interp.report.worst import worst_cases

Tables = dict[str, pd.DataFrame]


TITLE = "Transfer: what comes along with the taught trait?"


def blocks(run: Path, tables: Tables, *, provenance: Mapping[str, Any]) -> list[Block]:
    """What did this transfer run find?

    Args:
        run: The run's folder; figures are written there.
        tables: What the experiment's ``summarize`` returned.
        provenance: From ``provenance_of``; the first arm makes the claim, all others are its
            controls.

    Returns:
        Headline, controls, what is inside, base models, samples.

    Raises:
        StoreError: No lesson is finished.
    """
    if "summary" not in tables:
        raise StoreError(
            f"{run} has no finished lesson yet, so there is nothing to report; run the experiment "
            "on."
        )
    arm, target = provenance["arms"][0], str(tables["summary"].persona.iloc[0])
    own = tables["transfer"].loc[tables["transfer"].trained & (tables["transfer"].arm == arm)]
    taught = " or ".join(dict.fromkeys(own.trait))
    lrs = sorted(tables["summary"].lr.unique(), reverse=True)
    found: list[Block] = []
    for i, lr in enumerate(lrs):
        found += _behavior(
            run,
            tables,
            arm=arm,
            target=target,
            taught=taught,
            lr=lr,
            lead=not i,
            provenance=provenance,
        )
    hooks = list(dict.fromkeys(tables["features"].hook)) if "features" in tables else []
    for lr, hook in product(lrs, hooks):
        read = {name: only(tables[name], hook=hook) for name in ("features", "fidelity")}
        found += _features(run, read, arm=arm, lr=lr, hook=hook, provenance=provenance)
        found += inside(
            run, tables, arm=arm, target=target, lr=lr, hook=hook, provenance=provenance
        )
    for lr in lrs:
        found += layers(run, tables, lr=lr, target=target, provenance=provenance)
        found += contexts(tables, lr=lr)
        found += worst_cases(tables, lr=lr)
    return found + _base(tables, target=target) + _samples(tables)


def _behavior(
    run: Path,
    tables: Tables,
    *,
    arm: str,
    target: str,
    taught: str,
    lr: float,
    lead: bool,
    provenance: Mapping[str, Any],
) -> list[Block]:
    """Headline, controls, matrix and curves of one learning rate."""
    summary, source = tables["summary"], "tables/summary.csv"
    blocks = [page.heading(f"Behavior, lesson at lr {lr:g}")]
    said = findings.headline(summary, arm=arm, target=target, taught=taught, lr=lr)
    warning = findings.warning(tables["gates"]) if "gates" in tables else ""
    blocks.append(page.paragraph(f"{said} {warning}".strip(), source=source, lead=lead))
    blocks += [
        page.paragraph(s, source=source)
        for s in findings.controls(summary, arm=arm, target=target, lr=lr)
    ]
    mine = only(tables["transfer"], lr=lr, persona=target, trained=False)
    one_seed = mine.seed.nunique() == 1
    matrix = mine if one_seed else analysis.across_seeds(mine, by=["arm", "trait"])
    curve = only(tables["curve"], lr=lr, persona=target)
    averaged = curve if one_seed else analysis.across_seeds(curve, by=["arm", "step"])
    figures = {
        f"transfer_lr{lr:g}": (
            plots.transfer(matrix),
            matrix,
            "Shift of each untaught trait, by lesson and world.",
        ),
        f"curve_lr{lr:g}": (
            plots.trajectory(averaged, seeds=None if one_seed else curve),
            averaged,
            f"Mean shift of {target}'s untaught traits over the steps of the lesson, beside what exact Bayes expects.",
        ),
    }
    return blocks + [
        page.saved_figure(run, name, drawn, table=table, caption=caption, provenance=provenance)
        for name, (drawn, table, caption) in figures.items()
    ]


def _features(
    run: Path, tables: Tables, *, arm: str, lr: float, hook: str, provenance: Mapping[str, Any]
) -> list[Block]:
    """What moved inside, and whether the dictionary may be read."""
    if tables["features"].empty:
        return []
    moved, gate = tables["features"], tables["fidelity"]
    said = findings.features(moved, gate, arm=arm, lr=lr)
    blocks = [
        page.heading(f"Features at {hook}, lesson at lr {lr:g}"),
        page.paragraph(said, source="tables/features.csv"),
    ]
    others = [a for a in moved.arm.unique() if a != arm]
    for other in others:
        said = findings.features(moved, gate, arm=other, lr=lr)
        blocks.append(
            page.paragraph(f"Beside it, the {other}. {said}", source="tables/features.csv")
        )
    mine = only(moved, arm=arm, lr=lr)
    if mine.empty:
        return blocks
    seed = mine.seed.min()
    first, fit, name = only(mine, seed=seed), only(gate, arm=arm, lr=lr, seed=seed), f"seed {seed}"
    at = f"{hook.replace('.', '_')}_lr{lr:g}"
    volcano = plots.volcano(first, title=name)
    health = plots.fidelity(fit, title=name)
    return [
        *blocks,
        page.saved_figure(
            run,
            f"volcano_{at}",
            volcano,
            table=first,
            caption=f"Every feature tested, {name}.",
            provenance=provenance,
        ),
        page.saved_figure(
            run,
            f"fidelity_{at}",
            health,
            table=fit,
            caption=f"Does the dictionary still fit? {name}.",
            provenance=provenance,
        ),
    ]


def _base(tables: Tables, *, target: str) -> list[Block]:
    """Is the base model fit for the question?"""
    if "gates" not in tables:
        return []
    blocks = [page.heading("Base models")]
    said = findings.base(tables["gates"], target=target)
    blocks += [page.paragraph(sentence, source="tables/gates.csv") for sentence in said]
    if "mixing" in tables:
        text = "K, the weight of one lesson against one document of the assistant's population, by maximum likelihood."
        columns = ["lr", "seed", "k", "lo", "hi", "at_bound", "n"]
        blocks.append(
            page.table(tables["mixing"].loc[:, columns], caption=text, source="tables/mixing.csv")
        )
    return blocks


def _samples(tables: Tables) -> list[Block]:
    """Sampled answers."""
    blocks: list[Block] = []
    if "samples" in tables:
        frame = tables["samples"]
        beside = only(frame, seed=frame.seed.min()).pivot_table(
            index=["arm", "lr", "prompt"],
            columns="checkpoint",
            values="text",
            aggfunc=" / ".join,
            sort=False,
        )
        text = f"Drawn at temperature 1, seed {frame.seed.min()}; several answers are separated by slashes."
        blocks += [
            page.heading("Sampled answers, before and after"),
            page.table(beside.reset_index(), caption=text, source="tables/samples.csv"),
        ]
    return blocks
