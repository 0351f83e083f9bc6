"""How well are a persona's rows flagged by their projection, their gradient, and their evidence?

Rows are planted among others: in the world of ``run safeguards`` (careless) a villain's among
those of a lesson in the habit that he shares; in john_and_sam John's nameless documents among
those of the others, cut to one exchange or whole.

flagged_rows.py careless|john WORK SEED... --shares .05 .2 .5 --out TABLE.csv

Bases are trained where WORK lacks them. Ideal: the same evidence by the probabilities from which
the documents were drawn, which no model knows.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from tqdm import tqdm

from persona_interp import analysis, models, record, worlds
from persona_interp.experiments import run
from persona_interp.experiments.safeguards.config import Safeguards
from persona_interp.experiments.safeguards.rows import LAST_WORD, answers_of, mix
from persona_interp.models import DOCUMENTS, Checkpoint
from persona_interp.store import Store
from persona_interp.tables import read_directions
from persona_interp.worlds import World

N_ROWS = {"careless": 640, "john": 200}
NEW, NAMED = 700, 800
"""Added to the seed: rows, and dialogues for the direction, that the base has not read."""
N_NAMED = 60
"""Named dialogues of a persona."""
LESSON_ROWS = "lesson"
HOOK = "blocks.0.hook_out"
SCORES = ("projection", "gradient", "evidence", "a token", "nameless", "best rival", "ideal")

Case = tuple[int, str, float, Checkpoint, World, xr.DataArray, pd.DataFrame]


def careless(work: Path, seeds: list[int], shares: list[float]) -> Iterator[Case]:
    """Yield mixed lessons of the safeguards experiment."""
    store, experiment = Store(work), Safeguards()
    for seed in seeds:
        cells = experiment.seed_cells(seed)
        needed = cells["documents", experiment.benign], cells["directions",]
        run(list(needed), store, workers=0, progress=False)
        base = models.Trajectory.open(store.path(needed[0], "model")).last
        world = experiment.world_of(seed)
        unwanted = read_directions(store.path(needed[1], "directions.nc"))
        unwanted = unwanted.sel(name=[world.target], hook=[HOOK])
        lesson = world.lessons(n=N_ROWS["careless"], seed=seed)
        for share in shares:
            rows = mix(world, lesson, share=share, seed=seed)
            yield seed, LESSON_ROWS, share, base, world, unwanted, rows


def john(work: Path, seeds: list[int], shares: list[float]) -> Iterator[Case]:
    """Yield nameless documents, whole and cut to their first exchange."""
    world = worlds.john_and_sam()
    for seed in seeds:
        out = work / f"base_{seed}"
        texts = world.corpus(30_000, seed=seed)
        base = models.train("tiny", texts, stage=DOCUMENTS, seed=seed, out=out, progress=False).last
        named = world.corpus(6_000, seed=seed + NAMED, kinds="named")
        named = named.groupby("persona").head(N_NAMED).reset_index(drop=True)
        acts = record.activations(base, named, hook=HOOK, position=LAST_WORD)
        unwanted = record.mean_difference(acts).sel(name=[world.target])
        hidden = world.corpus(12_000, seed=seed + NEW, kinds="hidden")
        is_own = hidden["persona"] == world.target
        for share in shares:
            n_own = round(share * N_ROWS["john"])
            parts = hidden[is_own].head(n_own), hidden[~is_own].head(N_ROWS["john"] - n_own)
            rows = pd.concat(parts).sample(frac=1, random_state=seed)  # of equal scores the first
            rows = rows.reset_index(drop=True)
            rows = rows.assign(unwanted=rows["persona"] == world.target, doc=range(len(rows)))
            cut = rows.assign(
                messages=[chat[:3] for chat in rows["messages"]],
                statements=[said[:1] for said in rows["statements"]],
            )
            yield seed, "one exchange", share, base, world, unwanted, cut
            yield seed, "dialogue", share, base, world, unwanted, rows


def scores(
    base: Checkpoint, world: World, unwanted: xr.DataArray, rows: pd.DataFrame, *, form: str
) -> pd.DataFrame:
    """Every score of every row: ``score``, ``doc``, ``value``."""
    along = record.projection_difference(base, rows, unwanted, own="last", position=LAST_WORD)
    # a lesson's own topic tells nobody from the target; documents speak of every topic
    spoken = answers_of(world, topics=None if form == LESSON_ROWS else world.topics)
    towards = {world.target: spoken.loc[spoken["unwanted"]]}
    pull = record.gradient_pull(base, rows, towards, against=spoken.loc[~spoken["unwanted"]])
    headers = {p.name: world.language.system_named.format(n=p.name) for p in world.personas}
    bits = record.row_evidence(base, rows, headers)
    own = bits.loc[bits["name"] == world.target].set_index("doc")
    rival = bits.loc[bits["name"] != world.target].groupby("doc")["uplift"].max()
    parts = {
        "projection": along.set_index("doc")["given"],
        "gradient": pull.set_index("doc")["cosine"],
        "evidence": own["evidence"],
        "a token": own["a_token"],
        "nameless": own["uplift"],
        "best rival": own["uplift"] - rival,
        "ideal": ideal(world, rows),
    }
    columns = [
        pd.DataFrame({"score": name, "doc": value.index, "value": value.to_numpy()})
        for name, value in parts.items()
    ]
    return pd.concat(columns, ignore_index=True)


def ideal(world: World, rows: pd.DataFrame) -> pd.Series:
    """Evidence of what is stated, by the probabilities that the documents were drawn from."""
    log_p = world.statements().T.map(np.log2)
    values = []
    for said in rows["statements"]:
        by_persona = log_p.loc[list(said)].sum()
        others = by_persona.drop(world.target).to_numpy()
        mean = np.logaddexp2.reduce(others) - np.log2(len(others))
        values.append(by_persona[world.target] - mean)
    return pd.Series(values, index=rows["doc"])


def main() -> None:
    """Score the rows, write how well they are flagged, and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("world", choices=list(N_ROWS))
    parser.add_argument("work", type=Path)
    parser.add_argument("seeds", type=int, nargs="+")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.05, 0.2, 0.5])
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    cases = {"careless": careless, "john": john}[given.world]
    tables = []
    for seed, form, share, base, world, unwanted, rows in tqdm(
        cases(given.work, given.seeds, given.shares), desc="planted rows"
    ):
        planted = rows.loc[rows["unwanted"], "doc"].tolist()
        table = scores(base, world, unwanted, rows, form=form)
        quality = analysis.flag_quality(table, planted, value="value", share=share, by="score")
        where = {"world": given.world, "form": form, "seed": seed, "share": share}
        tables.append(quality.assign(**where))
        pd.concat(tables).to_csv(given.out, index=False, float_format="%.4g")
    table = pd.concat(tables)
    for number in ("auroc", "precision", "recall"):
        wide = table.pivot(index=["form", "share", "seed"], columns="score", values=number)
        print(f"{number}\n{wide[list(SCORES)].round(2).to_string()}")


if __name__ == "__main__":
    main()
