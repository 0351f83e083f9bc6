"""What did a transfer run find? Tables and figures into the run's folder, and ``report.html`` that says it in words."""

import re
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from persona_interp import analysis, plots
from persona_interp.plots.save import as_csv
from persona_interp.report import findings, page
from persona_interp.report.findings import only
from persona_interp.report.inside import contexts, inside, layers
from persona_interp.report.page import Block
from persona_interp.tables import atomic

Tables = dict[str, pd.DataFrame]


def write_report(
    run: Path, tables: Tables, *, arm: str, target: str, taught: str, provenance: Mapping[str, Any]
) -> Path:
    """Where is the report of this transfer run?

    Args:
        run: The run's folder; ``tables/``, ``figures/`` and ``report.html`` are written there.
        tables: What the experiment's ``summarize`` returned.
        arm: The arm that makes the claim; all others are its controls.
        target: Persona whose traits are read out.
        taught: Label of the taught trait.
        provenance: Configuration, seeds, versions, cells done: written beside every figure and into the report.

    Returns:
        Path of ``report.html``.
    """
    for name, frame in tables.items():
        with atomic(run / "tables" / f"{name}.csv") as path:
            path.write_bytes(as_csv(frame))
    lrs = sorted(tables["summary"].lr.unique(), reverse=True) if "summary" in tables else []
    blocks = [page.paragraph(_about(provenance))]
    for i, lr in enumerate(lrs):
        blocks += _behavior(
            run, tables, arm=arm, target=target, taught=taught, lr=lr, lead=not i, provenance=provenance
        )
    hooks = list(dict.fromkeys(tables["features"].hook)) if "features" in tables else []
    for lr, hook in product(lrs, hooks):
        read = {name: only(tables[name], hook=hook) for name in ("features", "fidelity")}
        blocks += _features(run, read, arm=arm, lr=lr, hook=hook, provenance=provenance)
        blocks += inside(run, tables, arm=arm, target=target, lr=lr, hook=hook, provenance=provenance)
    for lr in lrs:
        blocks += layers(run, tables, lr=lr, target=target, provenance=provenance)
        blocks += contexts(tables, lr=lr)
    blocks += _base(tables, target=target) + _samples(tables) + _provenance(provenance)
    document = page.page(f"Transfer: what comes along with '{taught}'?", blocks)
    with atomic(run / "report.html") as path:
        path.write_text(document, encoding="utf-8")
    return run / "report.html"


def _about(provenance: Mapping[str, Any]) -> str:
    seeds = provenance["seeds"]
    one = (
        " With one seed no interval over seeds exists; intervals are over topics or prompts." if len(seeds) == 1 else ""
    )
    return (
        f"{provenance['cells_done']} of {provenance['cells']} cells are done. Start: {provenance['start']}; world: "
        f"{provenance['world']}; seeds: {', '.join(map(str, seeds))}.{one} Log odds and shifts are in bits "
        "(after minus before). Every number below comes from the CSV linked beside it."
    )


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
    blocks += [page.paragraph(s, source=source) for s in findings.controls(summary, arm=arm, target=target, lr=lr)]
    mine = only(tables["transfer"], lr=lr, persona=target, trained=False)
    one_seed = mine.seed.nunique() == 1
    matrix = mine if one_seed else analysis.across_seeds(mine, by=["arm", "trait"])
    curve = only(tables["curve"], lr=lr, persona=target)
    averaged = curve if one_seed else analysis.across_seeds(curve, by=["arm", "step"])
    figures = {
        f"transfer_lr{lr:g}": (plots.transfer(matrix), matrix, "Shift of each untaught trait, by lesson and world."),
        f"curve_lr{lr:g}": (
            plots.trajectory(averaged, seeds=None if one_seed else curve),
            averaged,
            f"Mean shift of {target}'s untaught traits over the steps of the lesson, beside what exact Bayes expects.",
        ),
    }
    return blocks + [_figure(run, name, *what, provenance=provenance) for name, what in figures.items()]


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
        blocks.append(page.paragraph(f"Beside it, the {other}. {said}", source="tables/features.csv"))
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
        _figure(run, f"volcano_{at}", volcano, first, f"Every feature tested, {name}.", provenance=provenance),
        _figure(run, f"fidelity_{at}", health, fit, f"Does the dictionary still fit? {name}.", provenance=provenance),
    ]


def _figure(
    run: Path, name: str, drawn: Figure, table: pd.DataFrame, caption: str, *, provenance: Mapping[str, Any]
) -> Block:
    saved = plots.save(drawn, table, run / "figures" / name, provenance=provenance)
    return page.figure(saved.png, caption=caption)


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
        blocks.append(page.table(tables["mixing"].loc[:, columns], caption=text, source="tables/mixing.csv"))
    return blocks


def _samples(tables: Tables) -> list[Block]:
    """Sampled answers."""
    blocks: list[Block] = []
    if "samples" in tables:
        frame = tables["samples"]
        beside = only(frame, seed=frame.seed.min()).pivot_table(
            index=["arm", "lr", "prompt"], columns="checkpoint", values="text", aggfunc=" / ".join, sort=False
        )
        text = f"Drawn at temperature 1, seed {frame.seed.min()}; several answers are separated by slashes."
        blocks += [
            page.heading("Sampled answers, before and after"),
            page.table(beside.reset_index(), caption=text, source="tables/samples.csv"),
        ]
    return blocks


def _provenance(provenance: Mapping[str, Any]) -> list[Block]:
    frame = pd.DataFrame({"key": list(provenance), "value": [re.sub(r"\s+", " ", str(v)) for v in provenance.values()]})
    return [page.heading("Provenance"), page.table(frame, caption="How this was made.", source="run.json", rows=60)]
