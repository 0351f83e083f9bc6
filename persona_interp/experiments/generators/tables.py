"""What do the finished cells of the experiment with other generators say, as tables?"""

from typing import Any

import numpy as np
import pandas as pd

from persona_interp import analysis
from persona_interp.experiments.generators.config import (
    PERSONA,
    Generators,
    Readout,
    taught_value,
    worlds_of,
)
from persona_interp.store import Cell, Store
from persona_interp.tables import read_table
from persona_interp.worlds import World, conditioning_limit
from persona_interp.worlds.families import FAMILIES

Tables = dict[str, pd.DataFrame]


def summarize(experiment: Generators, store: Store) -> Tables:
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
    shifts, gates = [], []
    for seed in experiment.seeds:
        for (kind, arm, *about), cell in experiment.seed_cells(seed).items():
            if not store.has(cell):
                continue
            if kind == "documents":
                gates.append(_gates(store, cell).assign(seed=seed, arm=arm))
            else:
                shifts.append(_lesson(store, cell).assign(arm=arm, lesson=kind, about=about[0]))
    tables: Tables = {}
    if gates:
        tables["gates"] = pd.concat(gates, ignore_index=True)
    if shifts:
        tables |= _summaries(pd.concat(shifts, ignore_index=True))
    return tables


def _summaries(shifts: pd.DataFrame) -> Tables:
    """Shifts after the lesson, and their means over seeds there and at every snapshot."""
    runs = shifts.groupby(["seed", "arm", "lesson", "about"])
    after = shifts.loc[shifts["step"] == runs["step"].transform("max")]
    # Personas are asked before and after only, so they are at no snapshot between.
    processes = shifts.loc[shifts["read"] != Readout.PERSONA]
    return {
        "generators": after.reset_index(drop=True),
        "summary": _over_seeds(after, ["arm", "lesson", "read"]),
        "steps": _over_seeds(processes, ["arm", "lesson", "read", "step"]),
    }


def _lesson(store: Store, cell: Cell) -> pd.DataFrame:
    """Shift of each value that a target holds, beside exact Bayes; a row a value and snapshot."""
    processes, personas = worlds_of(cell.config["world"])
    about, trait = cell.config["about"], taught_value(processes, cell.config)
    shifts = _shifts(read_table(store.path(cell, "behavior.parquet")))
    bayes = _expected_shift(processes.statements(), processes.statements(trait))
    parts = []
    for family in FAMILIES:
        own = [str(value) for value in processes.target(family).traits]
        readouts = dict.fromkeys(own, Readout.ELSEWHERE.value)
        if family == about:
            readouts = dict.fromkeys(own, Readout.FOLLOWS.value)
            # A lesson on a value that the target lacks is on the property of its first one.
            is_own = str(trait) == own[0]
            readouts[own[0]] = Readout.TAUGHT.value if is_own else Readout.SAME.value
        rows = shifts.loc[shifts["trait"].isin(own)]
        traits = rows["trait"]
        parts.append(rows.assign(read=traits.map(readouts), family=family, bayes=traits.map(bayes)))
    if personas is not None:
        behavior = read_table(store.path(cell, "personas.parquet"))
        parts.append(_persona(_shifts(behavior), personas, is_taught=about == PERSONA))
    return pd.concat(parts, ignore_index=True)


def _persona(shifts: pd.DataFrame, world: World, *, is_taught: bool) -> pd.DataFrame:
    """Shift of the target persona's values, beside exact Bayes."""
    own = [str(trait) for trait in world.persona(world.target).traits]
    before = world.posterior().statement
    if is_taught:
        readouts = dict.fromkeys(own, Readout.FOLLOWS.value)
        readouts[str(world.taught)] = Readout.TAUGHT.value
        bayes = _expected_shift(before, conditioning_limit(world))
    else:
        readouts = dict.fromkeys(own, Readout.PERSONA.value)
        bayes = _expected_shift(before, before)
    rows = shifts.loc[shifts["trait"].isin(own)]
    traits = rows["trait"]
    return rows.assign(read=traits.map(readouts), family=PERSONA, bayes=traits.map(bayes))


def _shifts(behavior: pd.DataFrame) -> pd.DataFrame:
    """Shift at every snapshot, on all templates and on either half of them."""
    steps = sorted(step for step in behavior["step"].unique() if step)
    shifts = analysis.shift(behavior, after=steps)
    for split in ("train", "test"):
        shifts[split] = analysis.shift(behavior, after=steps, split=split)["estimate"]
    return shifts


def _expected_shift(before: pd.DataFrame, after: pd.DataFrame) -> pd.Series:
    """Difference of the log odds of what is said, bits, by trait."""
    p, q = (table.set_index("trait")["probability"] for table in (before, after))
    return pd.Series(np.log2(q / (1 - q)) - np.log2(p / (1 - p)))


def _over_seeds(shifts: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Means over seeds of each seed's mean over values, and the worst value beside it.

    One seed has an interval over values instead. The value that moves most (``who``) is found on
    the train templates and ``worst`` is its shift on the test templates, so that it is not the
    worst by luck.
    """
    rows = []
    for _, group in shifts.groupby(by, sort=False):
        values: Any = group.groupby("trait", sort=False)[["estimate", "train", "test"]].mean()
        who = values["train"].abs().idxmax()
        row = {"lo_topics": np.nan, "hi_topics": np.nan}
        if len(set(group["seed"])) == 1:
            interval = analysis.stats.t_interval(values["estimate"])
            row = {"lo_topics": interval.lo, "hi_topics": interval.hi}
        row |= {"n_topics": len(values), "who": who, "worst": values["test"][who]}
        rows.append(row)
    means = analysis.across_seeds(shifts, by=by, beside=("bayes",))  # groups in the same order
    return pd.concat([means, pd.DataFrame(rows)], axis=1)


def _gates(store: Store, cell: Cell) -> pd.DataFrame:
    """Log odds of the targets' values: plain, after their first value, under their title (bits)."""
    processes, _ = worlds_of(cell.config["world"])
    plain: Any = _odds(store, cell, "behavior").set_index("trait")["logodds"]
    odds = _odds(store, cell, "gates")
    prior = processes.statements().set_index("trait")["probability"]
    rows = []
    for family in FAMILIES:
        target = processes.target(family)
        traits = [str(trait) for trait in target.traits]
        own = odds.loc[odds["trait"].isin(traits)]
        # How far each value is above its plain log odds.
        rises = own["logodds"] - plain[own["trait"]].to_numpy()
        after_first, under_title = own["shown"] == traits[0], own["persona"] == target.title
        p = prior[traits]
        rows.append(
            {
                "family": family,
                "plain": plain[traits].mean(),
                "bayes_plain": float(np.log2(p / (1 - p)).mean()),
                "shown": own["logodds"][after_first].mean(),
                "rise_shown": rises[after_first].mean(),
                "rise_titled": rises[under_title].mean(),
            }
        )
    return pd.DataFrame(rows)


def _odds(store: Store, cell: Cell, name: str) -> pd.DataFrame:
    """Log odds of what documents taught, with the label of each trait."""
    odds = analysis.logodds(read_table(store.path(cell, f"{name}.parquet")))
    return odds.assign(trait=odds["topic"] + "=" + odds["value"])
