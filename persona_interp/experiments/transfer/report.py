"""What did a transfer run find, in words and figures?"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from persona_interp import analysis, plots
from persona_interp.errors import StoreError
from persona_interp.experiments.transfer import findings
from persona_interp.experiments.transfer.inside.report import contexts, inside, layers
from persona_interp.experiments.transfer.tables import over_seeds
from persona_interp.report import page
from persona_interp.report.page import Block
from persona_interp.report.rows import decisive, only
from persona_interp.report.worst import worst_cases
from persona_interp.schema.words import Role, Unit

Tables = dict[str, pd.DataFrame]

NONE = pd.DataFrame(columns=["seed", "lr", "hook", "arm", "name", "feature", "excess"])
"""A table of which no row is finished."""

TITLE = "Transfer: what comes along with the taught trait?"


def blocks(run: Path, tables: Tables, *, provenance: Mapping[str, Any]) -> list[Block]:
    """Blocks of the report of a transfer run.

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
            f"{run} has no finished lesson yet, so there is nothing to report; "
            "run the experiment on."
        )
    arm, target = provenance["arms"][0], str(tables["summary"].persona.iloc[0])
    lrs = sorted(tables["summary"].lr.unique(), reverse=True)
    # not every rate is read inside
    read = tables.get("fidelity", NONE).drop_duplicates(["lr", "hook"])
    read = read.sort_values(by="lr", ascending=False, kind="stable")
    at: dict[str, Any] = {"target": target, "provenance": provenance}
    content = page.first_open(
        [_behavior(run, tables, arm=arm, lr=lr, lead=lr == lrs[0], **at)] for lr in lrs
    )
    content += page.first_open(
        [
            _features(run, tables, arm=arm, lr=lr, hook=hook, **at),
            inside(run, tables, arm=arm, lr=lr, hook=hook, **at),
        ]
        for lr, hook in zip(read["lr"], read["hook"], strict=True)
    )
    content += page.first_open(
        [
            layers(run, tables, lr=lr, **at),
            contexts(tables, lr=lr),
            worst_cases(tables, lr=lr),
        ]
        for lr in lrs
    )
    return content + _base(tables, target=target) + _samples(tables)


def _behavior(
    run: Path,
    tables: Tables,
    *,
    arm: str,
    target: str,
    lr: float,
    lead: bool,
    provenance: Mapping[str, Any],
) -> list[Block]:
    """Headline, controls, matrix and curves of one learning rate."""
    summary, source = tables["summary"], "tables/summary.csv"
    transfer = tables["transfer"]
    # every seed has a world of its own, so the lessons may have been on several traits
    trained = transfer.loc[transfer.trained & (transfer.arm == arm), "trait"]
    taught = " or ".join(dict.fromkeys(trained))
    claim = findings.headline(summary, arm=arm, target=target, taught=taught, lr=lr)
    warning = findings.warning(tables["gates"]) if "gates" in tables else ""
    blocks = [
        page.heading(f"Behavior, lesson at lr {lr:g}"),
        page.paragraph(f"{claim} {warning}".strip(), source=source, lead=lead),
    ]
    for sentence in findings.controls(summary, arm=arm, target=target, lr=lr):
        blocks.append(page.paragraph(sentence, source=source))
    if "distances" in tables:
        sentence = findings.distances(only(tables["distances"], lr=lr), arm=arm)
        blocks.append(page.paragraph(sentence, source="tables/distances.csv"))
    if "rarity" in tables:
        sentence = findings.rarity(only(tables["rarity"], lr=lr), target=target)
        blocks.append(page.paragraph(sentence, source="tables/rarity.csv"))
    matrix = only(transfer, lr=lr, persona=target, trained=False)
    curve = seeds = only(tables["curve"], lr=lr, persona=target)
    if matrix.seed.nunique() == 1:
        seeds = None
    else:
        # the sentences above and the dots in its cells are of the same intervals
        matrix = decisive(over_seeds(matrix, by=["arm", "trait"]))
        curve = analysis.across_seeds(curve, by=["arm", "step"])
    caption = "Shift of each untaught trait, by lesson and world."
    matrix_block = page.saved_figure(
        run,
        f"transfer_lr{lr:g}",
        plots.transfer(matrix),
        table=matrix,
        caption=caption,
        provenance=provenance,
    )
    caption = (
        f"Mean shift of {target}'s untaught traits over the steps of the lesson, "
        "beside what exact Bayes expects."
    )
    curve_block = page.saved_figure(
        run,
        f"curve_lr{lr:g}",
        plots.trajectory(
            curve,
            line="arm",
            label="mean shift of untaught traits",
            unit=Unit.BITS,
            start=0,
            seeds=seeds,
        ),
        table=curve,
        caption=caption,
        provenance=provenance,
    )
    return [*blocks, matrix_block, curve_block]


def _features(
    run: Path,
    tables: Tables,
    *,
    arm: str,
    target: str,
    lr: float,
    hook: str,
    provenance: Mapping[str, Any],
) -> list[Block]:
    """Features at one hook after the lesson beside control lessons, if they may be read."""
    at = {"lr": lr, "hook": hook}
    effects, roles, shifts, gate = (
        only(tables.get(name, NONE), **at)
        for name in ("features", "roles", "feature_shift", "fidelity")
    )
    blocks = [page.heading(f"Features at {hook}, lesson at lr {lr:g}")]
    sentences = findings.features(effects, roles, shifts=shifts, fidelity=gate, target=target)
    for sentence in sentences:
        blocks.append(page.paragraph(sentence, source="tables/roles.csv"))
    stem = f"{hook.replace('.', '_')}_lr{lr:g}"
    if len(effects) and not findings.unreadable(shifts, gate):
        seed = effects.seed.min()
        first = only(effects, seed=seed)
        figure = page.saved_figure(
            run,
            f"volcano_{stem}",
            _moved(first, only(roles, seed=seed), target=target),
            table=first,
            caption=f"Every feature after the lesson beside control lessons, seed {seed}.",
            provenance=provenance,
        )
        blocks.append(figure)
    fit = only(gate, arm=arm)
    if len(fit):
        seed = fit.seed.min()
        figure = page.saved_figure(
            run,
            f"fidelity_{stem}",
            plots.fidelity(only(fit, seed=seed), title=f"seed {seed}"),
            table=only(fit, seed=seed),
            caption=f"Does the dictionary still fit? seed {seed}.",
            provenance=provenance,
        )
        blocks.append(figure)
    return blocks


def _moved(effects: pd.DataFrame, roles: pd.DataFrame, *, target: str) -> Figure:
    """Features of one seed against the controls, the target's best marked; alone without any."""
    title = f"seed {effects['seed'].iloc[0]}"
    if any(only(effects, role=Role.TUNED)["controls"].isna()):
        return plots.forest(effects, unit=Unit.ACTIVATION, title=title)
    mine = only(roles, name=target)
    marked = {str(feature): f"{feature} ({target})" for feature in mine["feature"]}
    return plots.volcano(effects, marked=marked, title=title)


def _base(tables: Tables, *, target: str) -> list[Block]:
    """Whether the base models are fit for the question, and the weight of a lesson."""
    if "gates" not in tables:
        return []
    blocks = [page.heading("Base models")]
    for sentence in findings.base(tables["gates"], target=target):
        blocks.append(page.paragraph(sentence, source="tables/gates.csv"))
    if "mixing" in tables:
        text = (
            "K, the weight of one lesson against one document of the assistant's population, "
            "by maximum likelihood."
        )
        mixing = tables["mixing"].loc[:, ["lr", "seed", "k", "lo", "hi", "at_bound", "n"]]
        blocks.append(page.table(mixing, caption=text, source="tables/mixing.csv"))
    return blocks


def _samples(tables: Tables) -> list[Block]:
    """Sampled answers before and after, side by side."""
    if "samples" not in tables:
        return []
    samples = tables["samples"]
    seed = samples.seed.min()
    beside = only(samples, seed=seed).pivot_table(
        index=["arm", "lr", "prompt"],
        columns="checkpoint",
        values="text",
        aggfunc=" / ".join,
        sort=False,
    )
    text = f"Drawn at temperature 1, seed {seed}; several answers are separated by slashes."
    return [
        page.heading("Sampled answers, before and after"),
        page.table(beside.reset_index(), caption=text, source="tables/samples.csv"),
    ]
