"""What do the finished cells of the experiment with other generators say, as tables?"""

from typing import Any

import numpy as np
import pandas as pd

from persona_interp import analysis
from persona_interp.experiments.generators.config import (
    PERSONA,
    Generators,
    taught_value,
    worlds_of,
)
from persona_interp.store import Cell, Store
from persona_interp.tables import read_table
from persona_interp.worlds import World, conditioning_limit
from persona_interp.worlds.families import FAMILIES

TAUGHT, SAME, FOLLOWS, ELSEWHERE, OTHERS = (
    "taught",
    "same property",
    "goes with it",
    "other texts",
    "the persona",
)
"""What is read out of a target: the taught value, or the one that competes with what an unrelated lesson teaches; the
values that go with it; those of other families of text; those of the persona, where the lesson is
about a process."""


def summarize(experiment: Generators, store: Store) -> dict[str, pd.DataFrame]:
    """Tables of what is finished.

    Args:
        experiment: The experiment.
        store: Its run; missing cells leave fewer rows.

    Returns:
        Tables by name, log odds in bits: ``generators`` (one row a seed, arm, lesson and value
        of a target: shift beside what exact Bayes expects), ``summary`` (means over seeds by
        what was read out), ``steps`` (the same at every snapshot), ``gates`` (what the
        documents taught: does a title, does a value bring the others?).
    """
    moved, gates = [], []
    for seed in experiment.seeds:
        for (what, arm, *about), cell in experiment.seed_cells(seed).items():
            if not store.has(cell):
                continue
            if what == "documents":
                gates.append(_gates(store, cell).assign(seed=seed, arm=arm))
            else:
                moved.append(_moved(store, cell).assign(arm=arm, lesson=what, about=about[0]))
    tables = {"gates": pd.concat(gates, ignore_index=True)} if gates else {}
    if moved:
        every = pd.concat(moved, ignore_index=True)
        last = every.loc[
            every["step"]
            == every.groupby(["seed", "arm", "lesson", "about"])["step"].transform("max")
        ]
        tables["generators"] = last.reset_index(drop=True)
        tables["summary"] = _over_seeds(last, ["arm", "lesson", "read"])
        tables["steps"] = _over_seeds(
            every.loc[every["read"] != OTHERS], ["arm", "lesson", "read", "step"]
        )
    return tables


def _moved(store: Store, cell: Cell) -> pd.DataFrame:
    """Shift of every value that a target holds, beside what exact Bayes expects; one row a value and snapshot."""
    processes, personas = worlds_of(cell.config["world"])
    about, trait = cell.config["about"], taught_value(processes, cell.config)
    moved = _shifts(read_table(store.path(cell, "behavior.parquet")))
    expected = _expected(processes.statements(), processes.statements(trait))
    parts = []
    for family in FAMILIES:
        mine = [str(value) for value in processes.target(family).traits]
        rows = moved.loc[moved["trait"].isin(mine)]
        first = ELSEWHERE if family != about else TAUGHT if str(trait) == mine[0] else SAME
        read = [
            first if label == mine[0] else FOLLOWS if family == about else ELSEWHERE
            for label in rows["trait"]
        ]
        parts.append(rows.assign(read=read, family=family, bayes=rows["trait"].map(expected)))
    if personas is not None:
        told = read_table(store.path(cell, "personas.parquet"))
        parts.append(_persona(_shifts(told), personas, summoned=about == PERSONA))
    return pd.concat(parts, ignore_index=True)


def _shifts(behavior: pd.DataFrame) -> pd.DataFrame:
    """Shift at every snapshot, on all templates and on either half of them."""
    steps = sorted(step for step in behavior["step"].unique() if step)
    moved = analysis.shift(behavior, after=steps)
    halves = {
        split: analysis.shift(behavior, after=steps, split=split)["estimate"]
        for split in ("train", "test")
    }
    return moved.assign(**halves)


def _persona(moved: pd.DataFrame, world: World, *, summoned: bool) -> pd.DataFrame:
    """Shift of the target persona's values; the taught one is in no mean."""
    own = [str(trait) for trait in world.persona(world.target).traits]
    rows = moved.loc[moved["trait"].isin(own)]
    read = [
        (TAUGHT if label == str(world.taught) else FOLLOWS) if summoned else OTHERS
        for label in rows["trait"]
    ]
    before = world.posterior().statement
    expected = _expected(before, conditioning_limit(world) if summoned else before)
    return rows.assign(read=read, family=PERSONA, bayes=rows["trait"].map(expected))


def _expected(before: pd.DataFrame, after: pd.DataFrame) -> pd.Series:
    """Difference of the log odds of what is said, bits, by trait."""
    p, q = (table.set_index("trait")["probability"] for table in (before, after))
    return pd.Series(np.log2(q / (1 - q)) - np.log2(p / (1 - p)))


def _over_seeds(moved: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Means over seeds of each seed's mean over values, and the worst value beside it.

    One seed has an interval over values instead. The value that moves most (``who``) is found on
    the train templates and ``worst`` is its shift on the test templates, so that it is not the
    worst by luck.
    """
    rows = []
    for _, group in moved.groupby(by, sort=False):
        values: Any = group.groupby("trait", sort=False)[["estimate", "train", "test"]].mean()
        who = values["train"].abs().idxmax()
        over = analysis.t_interval(values["estimate"])
        one = len(set(group["seed"])) == 1
        rows.append(
            {
                "lo_topics": over.lo if one else np.nan,
                "hi_topics": over.hi if one else np.nan,
                "n_topics": len(values),
                "who": who,
                "worst": values["test"][who],
            }
        )
    return pd.concat(
        [analysis.across_seeds(moved, by=by, beside=("bayes",)), pd.DataFrame(rows)], axis=1
    )


def _gates(store: Store, cell: Cell) -> pd.DataFrame:
    """What the documents taught: log odds of the targets' values, plain, after their first value, under their title."""
    processes, _ = worlds_of(cell.config["world"])
    asked = analysis.logodds(read_table(store.path(cell, "behavior.parquet")))
    plain: Any = asked.set_index(asked["topic"] + "=" + asked["value"])["logodds"]
    shown = analysis.logodds(read_table(store.path(cell, "gates.parquet")))
    shown = shown.assign(trait=shown["topic"] + "=" + shown["value"])
    prior = processes.statements().set_index("trait")["probability"]
    rows = []
    for family in FAMILIES:
        target = processes.target(family)
        own = [str(trait) for trait in target.traits]
        stated = shown.loc[(shown["shown"] == own[0]) & shown["trait"].isin(own)]
        titled = shown.loc[(shown["persona"] == target.title) & shown["trait"].isin(own)]
        p = prior[own]
        rows.append(
            {
                "family": family,
                "plain": plain[own].mean(),
                "bayes_plain": float(np.log2(p / (1 - p)).mean()),
                "shown": stated["logodds"].mean(),
                "rise_shown": (stated["logodds"] - plain[stated["trait"]].to_numpy()).mean(),
                "rise_titled": (titled["logodds"] - plain[titled["trait"]].to_numpy()).mean(),
            }
        )
    return pd.DataFrame(rows)
