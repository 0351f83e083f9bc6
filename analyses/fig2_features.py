"""Figure 2: features and directions of the base model carry each persona, and the lesson moves the model towards one.

Before any lesson, in text by speakers without a name, one feature and one direction a persona tell
that persona's documents from all others: both are found on one half of the documents and read on
the other, beside the best feature of a dictionary whose decoder is random, and random directions. A
lesson on one trait of John moves neutral prompts along his direction and along no other persona's;
the unrelated lesson moves them towards those who hold its trait instead.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from persona_interp import analysis, experiments, plots, record
from persona_interp.experiments import Transfer, figure_script, preset
from persona_interp.store import Store
from persona_interp.tables import read_dataset, read_directions, read_table

NAME = "fig2_features"
METHOD = "mean difference"
"""Directions found where the features are: in documents by speakers without a name."""
N_RANDOM = 100
COSINE, AUROC = (
    "cosine of the shift with the\npersona's direction",
    "AUROC of the persona's documents,\nno name in them",
)
RANDOM, FROZEN = "random", "best feature, random decoder"


def compute(
    out: Path, *, size: str = "quick", workers: int | None = None, **changes: Any
) -> dict[str, pd.DataFrame]:
    """Which tables does this figure show?

    Args:
        out: Run folder; finished cells are read, missing ones computed.
        size: Name of a preset, run at its highest learning rate with the lesson and the unrelated
            lesson.
        workers: Processes; all cores by default, 0 = this one.
        changes: Fields of the preset to set otherwise.

    Returns:
        What ``Transfer.summarize`` returns, and what ``readings`` does as "readings".
    """
    wanted = preset(size)
    wanted = replace(wanted, arms=("lesson", "unrelated lesson"), lrs=(max(wanted.lrs),))
    experiment = replace(wanted, **changes)
    tables = experiments.compute(experiment, out, workers=workers)
    return {**tables, "readings": readings(experiment, Store.open(out))}


def readings(experiment: Transfer, store: Store) -> pd.DataFrame:
    """What do directions and the features of a random decoder read, and what random directions?

    Args:
        experiment: The experiment.
        store: Its finished run.

    Returns:
        A row a seed, quantity, series and name: ``estimate``, ``lo``, ``hi``; of the name "random"
        the mean over directions and their 2.5 and 97.5 % points.
    """
    lr, hook = max(experiment.lrs), experiment.hooks[0]
    rows: list[dict[str, Any]] = []
    for seed in experiment.seeds:
        cells = experiment.seed_cells(seed)
        found = store.path(cells["personas", lr, hook])
        vectors = read_directions(found / f"{METHOD}.nc")
        drawn = record.random_directions(vectors, n=N_RANDOM, seed=seed)
        acts = read_dataset(found / "acts.nc")
        areas = {
            kind: analysis.score(analysis.readouts(acts, directions=v), n_permutations=1)
            for kind, v in {"direction": vectors, RANDOM: drawn}.items()
        }
        own = areas["direction"].loc[areas["direction"]["feature"] == areas["direction"]["name"]]
        frozen = read_table(found / "random_scores.parquet")
        best = frozen.loc[frozen["kind"] == "persona"].sort_values("auroc_chosen", ascending=False)
        for series, table in (("direction", own), (FROZEN, best.drop_duplicates("name"))):
            kept = table[["name", "auroc", "lo", "hi"]].rename(columns={"auroc": "estimate"})
            rows += kept.assign(seed=seed, quantity=AUROC, series=series).to_dict("records")
        rows.append({"seed": seed, "quantity": AUROC, **_band(areas[RANDOM]["auroc"].to_numpy())})
        neutral = read_dataset(
            store.path(cells["features", experiment.arms[0], lr, hook], "acts.nc")
        )
        turned = analysis.direction_shift(neutral, drawn)["cosine"].to_numpy()
        rows.append({"seed": seed, "quantity": COSINE, **_band(turned)})
    return pd.DataFrame(rows)


def shown(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Which numbers are in the figure?

    Args:
        tables: From ``compute``.

    Returns:
        One row a quantity, series and persona, the personas that the lesson moved towards most
        first: ``estimate``, ``lo``, ``hi``; of several seeds ``across_seeds`` of them, and of the
        random directions the mean band.
    """
    moved, scores = tables["directions"], tables["scores"]
    moved = moved.loc[(moved["hook"] == moved["hook"].iloc[0]) & (moved["method"] == METHOD)]
    moved = moved.assign(quantity=COSINE, series=moved["arm"], estimate=moved["cosine"])
    best = scores.loc[(scores["kind"] == "persona") & (scores["rank"] == 1)]
    best = best.loc[best["hook"] == moved["hook"].iloc[0]]
    best = best.assign(quantity=AUROC, series="best feature", estimate=best["auroc"])
    columns = ["quantity", "series", "name", "estimate", "lo", "hi", "seed"]
    rows = pd.concat([moved, best, tables["readings"]], ignore_index=True).reindex(columns=columns)
    if len(set(rows["seed"])) > 1:
        by = ["quantity", "series", "name"]
        band = rows.loc[rows["name"] == RANDOM].groupby(by)[["lo", "hi"]].mean()
        rows = analysis.across_seeds(rows, by=by).set_index(by)
        rows.update(band)
        rows = rows.reset_index()
    first = rows.loc[rows["series"] == rows["series"].iloc[0]].sort_values(
        "estimate", ascending=False
    )["name"]
    order = [*first, RANDOM]
    return rows.sort_values(
        "name", key=lambda names: names.map(order.index), kind="stable", ignore_index=True
    )


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """What does the claim look like?

    Args:
        tables: From ``compute``.

    Returns:
        Personas in rows: whom the lessons moved neutral prompts towards, and how well each is read
        in documents.
    """
    rows = shown(tables).sort_values("quantity", key=lambda names: names == AUROC, kind="stable")
    arms = [arm for arm in rows.loc[rows["quantity"] == COSINE, "series"].unique() if arm != RANDOM]
    return plots.personas(
        rows,
        target=str(tables["transfer"]["persona"].iloc[0]),
        controls=[*arms[1:], FROZEN],
        zeros={AUROC: 0.5},
        title="Whom a lesson moves the model towards, and who is there to be moved towards",
    )


def main() -> None:
    """Computes the figure and saves it as PNG, PDF and CSV with its provenance."""
    figure_script(__doc__, NAME, compute=compute, shown=shown, draw=draw, out="runs/inside")


def _band(values: np.ndarray) -> dict[str, Any]:
    lo, hi = np.nanpercentile(values, [2.5, 97.5])
    return {"series": RANDOM, "name": RANDOM, "estimate": float(values.mean()), "lo": lo, "hi": hi}


if __name__ == "__main__":
    main()
