"""What did a transfer run find? Tables and figures into the run's folder, and ``report.html`` that says it in words."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from persona_interp import analysis, plots
from persona_interp.report import findings, page
from persona_interp.report.page import Block
from persona_interp.tables import atomic

Tables = dict[str, pd.DataFrame]
GAP = 3.6
"""Base gate: log odds of the target's traits, named minus nameless (bits; 2.5 nats)."""
MASS = 0.5
"""Base gate: probability that a nameless answer is one of the topic's values."""


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
            frame.to_csv(path, index=False)
    lrs = sorted(tables["summary"].lr.unique(), reverse=True) if "summary" in tables else []
    blocks = [page.paragraph(_about(provenance))]
    for i, lr in enumerate(lrs):
        blocks += _behavior(
            run, tables, arm=arm, target=target, taught=taught, lr=lr, lead=not i, provenance=provenance
        )
    for lr in lrs:
        blocks += _features(run, tables, arm=arm, lr=lr, provenance=provenance)
    blocks += _base(tables, target=target) + _rest(tables) + _provenance(provenance)
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
        "(after minus before). Every number below is in the CSV linked beside it."
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
    blocks.append(page.paragraph(said, source=source, lead=lead))
    blocks += [page.paragraph(s, source=source) for s in findings.controls(summary, arm=arm, target=target, lr=lr)]
    mine = tables["transfer"][(tables["transfer"].lr == lr)]
    mine = mine[(mine.persona == target) & ~mine.trained]
    one_seed = mine.seed.nunique() == 1
    matrix = mine if one_seed else analysis.across_seeds(mine, by=["arm", "trait"])
    curve = tables["curve"][(tables["curve"].lr == lr) & (tables["curve"].persona == target)]
    curve = curve[curve.step > 0]  # before the lesson every shift is 0; the figure starts there by itself
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


def _features(run: Path, tables: Tables, *, arm: str, lr: float, provenance: Mapping[str, Any]) -> list[Block]:
    """What moved inside, and whether the dictionary may be read."""
    if "features" not in tables:
        return []
    moved, gate = tables["features"], tables["fidelity"]
    said = findings.features(moved, gate, arm=arm, lr=lr)
    blocks = [page.heading(f"Features, lesson at lr {lr:g}"), page.paragraph(said, source="tables/features.csv")]
    others = [a for a in moved.arm.unique() if a != arm]
    for other in others:
        said = findings.features(moved, gate, arm=other, lr=lr)
        blocks.append(page.paragraph(f"Beside it, the {other}: {said}", source="tables/features.csv"))
    mine = moved[(moved.arm == arm) & (moved.lr == lr)]
    if mine.empty:
        return blocks
    first = mine[mine.seed == mine.seed.min()]
    fit = gate[(gate.arm == arm) & (gate.lr == lr) & (gate.seed == mine.seed.min())]
    name = f"seed {mine.seed.min()}"
    volcano = plots.volcano(first, title=name)
    health = plots.fidelity(fit, title=name)
    return [
        *blocks,
        _figure(run, f"volcano_lr{lr:g}", volcano, first, f"Every feature tested, {name}.", provenance=provenance),
        _figure(
            run, f"fidelity_lr{lr:g}", health, fit, f"Does the dictionary still fit? {name}.", provenance=provenance
        ),
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
    for row in tables["gates"][tables["gates"].variant == "full"].itertuples():
        bound: Any = row
        drift = bound.nameless - bound.bayes_nameless
        verdict = (
            "passed" if bound.gap >= GAP and bound.answer_mass >= MASS else "NOT passed: read nothing into this seed"
        )
        text = (
            f"Seed {bound.seed}: base gate {verdict}. {target}'s untaught traits stand {bound.gap:+.2f} bits higher under "
            f"the name than for the nameless assistant (needed: {GAP:g}); answers hold {bound.answer_mass:.2f} of the "
            f"nameless assistant's probability (needed: {MASS:g}); the nameless prior is {drift:+.2f} bits from what the "
            "documents say."
        )
        blocks.append(page.paragraph(text, source="tables/gates.csv"))
    if "mixing" in tables:
        text = "K, the weight of one lesson against one document of the assistant's population, by maximum likelihood."
        columns = ["lr", "seed", "k", "lo", "hi", "at_bound", "n"]
        blocks.append(page.table(tables["mixing"][columns], caption=text, source="tables/mixing.csv"))
    return blocks


def _rest(tables: Tables) -> list[Block]:
    """Other contexts and sampled answers."""
    blocks = []
    if "bystanders" in tables:
        frame = tables["bystanders"].copy()
        frame["whom"] = frame.context + frame.persona.map(lambda p: f" {p}" if p else "")
        by = ["arm", "lr", "whom"]
        means = frame.groupby(by, sort=False).estimate.agg(["mean", "count"]).reset_index()
        text = "Shift of the target's traits (the taught one included) in every other context: leakage (bits)."
        blocks += [
            page.heading("Other contexts"),
            page.table(means, caption=text, source="tables/bystanders.csv", rows=25),
        ]
    if "samples" in tables:
        shown = tables["samples"]
        shown = shown[shown.seed == shown.seed.min()].drop(columns=["seed"])
        blocks += [
            page.heading("Sampled answers, before and after"),
            page.table(shown, caption="Drawn at temperature 1, first seed.", source="tables/samples.csv", rows=30),
        ]
    return blocks


def _provenance(provenance: Mapping[str, Any]) -> list[Block]:
    frame = pd.DataFrame({"key": list(provenance), "value": [re.sub(r"\s+", " ", str(v)) for v in provenance.values()]})
    return [page.heading("Provenance"), page.table(frame, caption="How this was made.", source="run.json", rows=60)]
