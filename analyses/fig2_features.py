"""Figure 2: whom does a lesson move the model towards, and who is there to be moved towards?

Before any lesson, in text by speakers without a name, one feature and one direction a persona tell
that persona's documents from all others: both are found on one half of the documents and read on
the other, where other topics are stated, beside the best feature of a dictionary whose decoder is
random, and random directions of both kinds. After a lesson on one trait of John neutral prompts
have moved along every persona's direction, and every persona's best feature has risen or fallen:
John's are shown among all of them, and beside what lessons on other traits do.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure

from persona_interp import analysis, experiments, plots, record
from persona_interp.experiments import figure_script, preset
from persona_interp.experiments.transfer.config import Transfer
from persona_interp.store import Store
from persona_interp.tables import read_dataset, read_directions, read_table

NAME = "fig2_features"
METHOD = "mean difference"
"""Directions found where the features are: in documents by speakers without a name."""
N_RANDOM = 100
RISE = "rise of the persona's best feature,\nlesson minus control lessons"
COSINE = "cosine of the shift with the\npersona's direction"
AUROC = "AUROC of the persona's documents,\nno name in them"
RANDOM = "random"
MATCHES = ("norm", "variance")
"""Kinds of random directions: uniform, and such as residuals vary along."""
FROZEN = "best feature, random decoder"
KEYS = ["quantity", "series", "name"]


def compute(
    out: Path, *, size: str = "quick", workers: int | None = None, **changes: Any
) -> dict[str, pd.DataFrame]:
    """Tables of the figure.

    Args:
        out: Run folder; finished cells are read, missing ones computed.
        size: Name of a preset, run at its highest learning rate with all lessons to the full
            world's model.
        workers: Processes; all cores by default, 0 = this one.
        changes: Fields of the preset to set otherwise.

    Returns:
        What the ``summarize`` of transfer returns, and what ``readings`` does as "readings".
    """
    chosen = preset(size)
    settings = {"arms": chosen.feature_arms, "lrs": (max(chosen.lrs),), **changes}
    experiment = preset(size, **settings)
    tables = experiments.compute(experiment, out, workers=workers)
    return {**tables, "readings": readings(experiment, Store.open(out))}


def readings(experiment: Transfer, store: Store) -> pd.DataFrame:
    """Readings of directions, of a random decoder's features and of random directions.

    Args:
        experiment: The experiment.
        store: Its finished run.

    Returns:
        A row a seed, quantity, series and name: ``estimate``, ``lo``, ``hi``; of the name "random"
        the mean over directions and where one more would lie (95 %).
    """
    lr, hook = max(experiment.lrs), experiment.hooks[0]
    rows: list[dict[str, Any]] = []
    for seed in experiment.seeds:
        cells = experiment.seed_cells(seed)
        personas = store.path(cells["personas", lr, hook])
        features = store.path(cells["features", experiment.arms[0], lr, hook])
        directions = read_directions(personas / f"{METHOD}.nc")
        documents = read_dataset(personas / "acts.nc")
        tables = {
            "direction": _own_areas(_areas(documents, directions)),
            FROZEN: _best_areas(read_table(personas / "random_scores.parquet")),
        }
        for series, table in tables.items():
            best = table.rename(columns={"auroc": "estimate"})
            best = best.assign(seed=seed, quantity=AUROC, series=series)
            columns = ["name", "estimate", "lo", "hi", "seed", "quantity", "series"]
            rows += best.loc[:, columns].to_dict("records")
        neutral = read_dataset(features / "acts.nc")
        for match in MATCHES:
            like = documents if match == "variance" else None
            options = {"n": N_RANDOM, "seed": seed, "match": match, "acts": like}
            random = record.random_directions(directions, **options)
            values = {
                AUROC: _areas(documents, random)["auroc"].to_numpy(),
                COSINE: analysis.direction_shift(neutral, random)["cosine"].to_numpy(),
            }
            for quantity, numbers_of in values.items():
                band = _band(numbers_of, series=f"{RANDOM} ({match})")
                rows.append({"seed": seed, "quantity": quantity, **band})
    return pd.DataFrame(rows)


def numbers(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Numbers in the figure: every persona's cosine with the shift, its AUROC, its feature's rise.

    Args:
        tables: From ``compute``.

    Returns:
        One row a quantity, series and persona, the personas that the lesson moved towards most
        first: ``estimate``, ``lo``, ``hi``; of several seeds ``across_seeds`` of them, and of the
        random directions the mean band.
    """
    shifts, scores = tables["directions"], tables["scores"]
    hook = shifts["hook"].iloc[0]
    shifts = shifts.loc[(shifts["hook"] == hook) & (shifts["method"] == METHOD)]
    shifts = shifts.assign(quantity=COSINE, series=shifts["arm"], estimate=shifts["cosine"])
    best = scores.loc[(scores["kind"] == "persona") & (scores["rank"] == 1)]
    best = best.loc[best["hook"] == hook]
    best = best.assign(quantity=AUROC, series="best feature", estimate=best["auroc"])
    roles = tables["roles"].loc[tables["roles"]["hook"] == hook]
    roles = roles.assign(quantity=RISE, series="best feature", estimate=roles["excess"])
    roles = roles.assign(lo=roles["excess_lo"], hi=roles["excess_hi"])
    roles = roles.dropna(subset=["excess"])  # there is none without a control lesson
    rows = pd.concat([shifts, best, roles, tables["readings"]], ignore_index=True)
    rows = rows.reindex(columns=[*KEYS, "estimate", "lo", "hi", "seed"])
    if len(set(rows["seed"])) > 1:
        rows = _over_seeds(rows)
    lesson = rows.loc[rows["series"] == rows["series"].iloc[0]]
    order = [*lesson.sort_values("estimate", ascending=False)["name"], RANDOM]
    return rows.sort_values(
        "name", key=lambda names: names.map(order.index), kind="stable", ignore_index=True
    )


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """The claim as a figure.

    Args:
        tables: From ``compute``.

    Returns:
        Personas in rows: whom the lessons moved neutral prompts towards, how much more the lesson
        raised each one's best feature than control lessons did, and how well each is read in
        documents.
    """
    rows = numbers(tables)
    order = [COSINE, RISE, AUROC]
    rows = rows.sort_values("quantity", key=lambda names: names.map(order.index), kind="stable")
    is_arm = (rows["quantity"] == COSINE) & (rows["name"] != RANDOM)
    arms = list(rows.loc[is_arm, "series"].unique())
    return plots.personas(
        rows,
        target=str(tables["transfer"]["persona"].iloc[0]),
        controls=[*arms[1:], FROZEN],
        zeros={AUROC: 0.5},
        title="Whom a lesson moves the model towards, and who is there to be moved towards",
    )


def main() -> None:
    """Compute the figure and save it as PNG, PDF and CSV with its provenance."""
    figure_script(__doc__, NAME, compute=compute, numbers=numbers, draw=draw, out="runs/inside")


def _areas(documents: xr.Dataset, directions: xr.DataArray) -> pd.DataFrame:
    """AUROC of every direction for every persona's documents."""
    projections = analysis.readouts(documents, directions=directions)
    return analysis.score(projections, n_permutations=1)  # p values are not used


def _own_areas(areas: pd.DataFrame) -> pd.DataFrame:
    """AUROC of each persona's own direction."""
    return areas.loc[areas["feature"] == areas["name"]]


def _best_areas(scores: pd.DataFrame) -> pd.DataFrame:
    """AUROC of each persona's best feature, chosen on documents of which the AUROC is not."""
    personas = scores.loc[scores["kind"] == "persona"]
    return personas.sort_values("auroc_chosen", ascending=False).drop_duplicates("name")


def _over_seeds(rows: pd.DataFrame) -> pd.DataFrame:
    """Means over seeds; those of random directions keep the mean of their seeds' bands."""
    # An interval over seeds would say how well their mean is known; a band says how far one goes.
    band = rows.loc[rows["name"] == RANDOM].groupby(KEYS)[["lo", "hi"]].mean()
    means = analysis.across_seeds(rows, by=KEYS).set_index(KEYS)
    means.update(band)
    return means.reset_index()


def _band(values: np.ndarray, *, series: str) -> dict[str, Any]:
    """Mean of random directions, and where one more would lie."""
    lo, hi = analysis.chance_range(values[~np.isnan(values)])
    return {"series": series, "name": RANDOM, "estimate": float(values.mean()), "lo": lo, "hi": hi}


if __name__ == "__main__":
    main()
