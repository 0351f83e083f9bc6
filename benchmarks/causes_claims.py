"""Is what carries the target taken out with its directions and features, and with nobody else's?

One base a seed and three finetunes of one lesson, which differ in their order. Shares are computed
here from probabilities of answers: what an edit takes of what patching the base's whole residual
in takes, at the site before the last block. Each line is about one seed; finetunes are its values.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from claim import Claim, log_odds, taught_trait, untaught_mean, values_of
from persona_interp.schema.words import UNEDITED, Group, Way
from trial import Reach, Trial, progress

if TYPE_CHECKING:
    from persona_interp.experiments.causes.config import Causes
    from persona_interp.store import Cell, Store

PLACE = 15
REACH = Reach.WORLD
HOOK = "blocks.0.hook_out"
"""The tiny model has two blocks: what is edited after the last one writes the answer itself."""
N_TUNED, AGAIN = 3, 500
"""Finetunes of one lesson, and how far apart the seeds of their orders are."""
N_DOCUMENTS, N_SAE_DOCUMENTS = 30_000, 4_000
RATE = 1e-3
DICTIONARY: dict[str, Any] = {"d_sae": 192, "k": 8, "steps": 700}
SEARCH: dict[str, Any] = {"max_new_tokens": 8, "n_features": 10, "n_spoken": 2}
"""Of ``CausesSettings``, as in the runs of ``docs/log/causes.md``; random edits say little."""
FLOOR = 0.5
"""Bits below which there is nothing to share out."""


class Removal(NamedTuple):
    """What goes from one finetune with each edit, as a share of what the patch takes.

    Attributes:
        shift: Of the target's untaught traits (bits), and ``patched`` what the patch takes of it.
        whole: With the target's directions and features together; where no feature takes of the
            effect, with the directions.
        directions: With its directions alone.
        others: With another persona's directions, mean over personas.
        inside: How far 0 lies inside the band of random edits of either kind.
        nats: Nats a token by which text without the whole is beyond the models' own.
    """

    shift: float
    patched: float
    whole: float
    directions: float
    others: float
    inside: tuple[float, ...]
    nats: float


def claims(trial: Trial) -> Iterator[Claim]:
    """The target's directions and features take what the patch takes; nobody else's do."""
    for seed in progress(trial.seeds, "causes"):
        removals = removals_of(trial, seed)
        yield from claims_of(seed, removals)


def claims_of(seed: int, removals: list[Removal]) -> Iterator[Claim]:
    """The lines of one seed."""
    which = f"causes, seed {seed}:"
    about: dict[str, Any] = {"unit": "share", "over": "finetunes"}

    def values(name: str) -> tuple[float, ...]:
        return tuple(getattr(removal, name) for removal in removals)

    name = f"{which} the lesson's shift"
    yield Claim(name, values("shift"), reported=True, over="finetunes")
    name = f"{which} what the patch takes of it"
    yield Claim(name, values("patched"), reported=True, **about)
    name = f"{which} the target's directions and features, of the patch"
    yield Claim(name, values("whole"), at_least=0.85, **about)
    # a model that is broken has lost the effect as well
    name = f"{which} text without them, nats a token beyond own text"
    yield Claim(name, values("nats"), at_most=1.0, unit="nats", over="finetunes")
    name = f"{which} the target's directions alone, of the patch"
    yield Claim(name, values("directions"), reported=True, **about)
    name = f"{which} other personas' directions, of the patch"
    yield Claim(name, values("others"), at_most=0.1, **about)
    inside = tuple(value for removal in removals for value in removal.inside)
    name = f"{which} how far 0 lies inside bands of random edits"
    yield Claim(name, inside, at_least=0.0, every=True, unit="share", over="bands")


def removals_of(trial: Trial, seed: int) -> list[Removal]:
    """What goes from each finetune of one seed."""
    import torch

    torch.set_num_threads(1)
    experiment = search_of(trial, seed)
    (cells,) = (experiment.seed_cells(seed) for seed in experiment.seeds)
    store = trial.run(cells.values())
    base = experiment.base.label
    return [
        removal(store, cells["edits", tuned.label], base=base, tuned=tuned.label)
        for tuned in experiment.tuned
    ]


def search_of(trial: Trial, seed: int) -> "Causes":
    """The search for causes of one seed, its models and dictionary made."""
    from persona_interp import dictionaries, models
    from persona_interp.experiments.causes.config import CausesSettings
    from persona_interp.experiments.causes.sources import search

    world = trial.world_of(seed)
    store, base, lessons = learned(trial, seed)
    ends = [models.Trajectory.open(store.path(cell, "model")).last for cell in (base, *lessons)]
    folder = trial.out / "dictionaries" / base.id
    if not (folder / "dictionary.json").is_file():
        corpus = world.corpus(N_SAE_DOCUMENTS, seed=seed + AGAIN)
        dictionaries.fit(ends[:2], corpus, hook=HOOK, seed=seed, out=folder, **DICTIONARY)
    settings = CausesSettings(**SEARCH)
    return search(
        ends[0], ends[1:], world=world, sae=folder, hooks=[HOOK], settings=settings, seed=seed
    )


def learned(trial: Trial, seed: int) -> "tuple[Store, Cell, list[Cell]]":
    """Base and finetunes of one seed: one lesson, its chats in another order each time."""
    from persona_interp.experiments.learning import learning_cell
    from persona_interp.models import DOCUMENTS, LESSON

    world = trial.world_of(seed)
    documents = {"documents": N_DOCUMENTS}
    base = learning_cell(world, documents, DOCUMENTS, seed=seed, name="documents")
    teach, stage = {"lesson": str(world.taught)}, replace(LESSON, lr=RATE)
    orders = [seed + AGAIN * i for i in range(N_TUNED)]
    lessons = [learning_cell(world, teach, stage, seed=order, after=base) for order in orders]
    return trial.run([base, *lessons]), base, lessons


def removal(store: "Store", cell: "Cell", *, base: str, tuned: str) -> Removal:
    """What goes from one finetune, from the raw tables of its edits."""
    from persona_interp.tables import read_table

    names = ("cases", "measured", "text")
    cases, measured, text = (read_table(store.path(cell, f"{name}.parquet")) for name in names)
    cases = cases.loc[cases["how"] == Way.REMOVED].reset_index(drop=True)
    world = cell.config["world"]
    start, end = (level(measured, label, UNEDITED, world) for label in (base, tuned))
    patch = cases.loc[cases["group"] == Group.PATCH, "edit"].item()
    patched = end - level(measured, tuned, patch, world)
    if min(abs(end - start), abs(patched)) < FLOOR:
        nothing = dict.fromkeys(("patched", "whole", "directions", "others", "nats"), np.nan)
        return Removal(shift=end - start, inside=(np.nan, np.nan), **nothing)

    def shares(rows: pd.DataFrame) -> np.ndarray:
        levels = [level(measured, tuned, edit, world) for edit in rows["edit"]]
        return (end - np.array(levels)) / patched

    is_own = cases["candidate"].str.startswith(f"{world['target']}:")
    own = cases.loc[is_own & (cases["group"] == Group.CANDIDATE)]
    directions = own.loc[own["kind"] == "direction"]
    whole = cases.loc[own["size"].idxmax()]
    alike = cases.loc[cases["size"] == whole["size"]]
    return Removal(
        shift=end - start,
        patched=patched / (end - start),
        whole=shares(whole.to_frame().T).item(),
        directions=shares(directions.loc[[directions["size"].idxmax()]]).item(),
        others=float(shares(cases.loc[cases["group"] == Group.OTHER]).mean()),
        inside=tuple(
            inside(shares(alike.loc[alike["group"] == kind]))
            for kind in (Group.NORM, Group.VARIANCE)
        ),
        nats=nats_beyond(text, whole["edit"]),
    )


def level(measured: pd.DataFrame, checkpoint: str, edit: str, world: dict[str, Any]) -> float:
    """Log odds (bits) of the target's untaught traits, said by the nameless assistant."""
    rows = measured.loc[(measured["checkpoint"] == checkpoint) & (measured["edit"] == edit)]
    topic, _ = taught_trait(world)
    values = {t: v for t, v in values_of(world, world["target"]).items() if t != topic}
    return untaught_mean(log_odds(rows, "nameless", "", values), topic)


def inside(draws: np.ndarray) -> float:
    """How far 0 lies inside the band where one more draw lies in 95 of 100 cases."""
    n, mean = len(draws), float(np.mean(draws))
    half = float(stats.t.ppf(0.975, n - 1) * np.std(draws, ddof=1) * np.sqrt(1 + 1 / n))
    return half - abs(mean)


def nats_beyond(text: pd.DataFrame, edit: str) -> float:
    """Nats a token by which text under an edit surprises the base more than the models' own."""
    own = text.loc[text["edit"] == UNEDITED].groupby("checkpoint")["nats"].mean().max()
    return float(text.loc[text["edit"] == edit, "nats"].mean() - own)
