"""What do the finished cells of safeguards against a published trait say, as tables?"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from persona_interp import analysis
from persona_interp.analysis.leak import UNITS, mean_row, trigger_rows
from persona_interp.errors import SchemaError
from persona_interp.experiments.trait_safeguards.config import (
    ASKED,
    FAMILIES,
    INSTRUCTED,
    INSTRUCTION,
    NAMELESS,
    TRIGGERS,
    Cells,
    TraitSafeguards,
)
from persona_interp.schema.words import CLEAN, NO_TRIGGER, WORST, Safeguard
from persona_interp.store import Store
from persona_interp.tables import read_table

Tables = dict[str, pd.DataFrame]
TEMPLATES, QUESTIONS = UNITS["question"], "questions"
"""What the intervals of one seed are over: here every question is one's own."""
TOPIC = ["topic", "context", "persona", "trigger"]
"""Columns that tell apart what is asked."""
KEPT = ["prompt", *TOPIC, "template", "split"]


def summarize(experiment: TraitSafeguards, store: Store) -> Tables:
    """Tables of what is finished.

    Everything is a difference from the same lesson without unwanted rows (``CLEAN``), by seed: what
    the unwanted rows brought, and what an arm left of it. The wanted trait and the loss are
    differences from the base.

    Args:
        experiment: The experiment.
        store: Its run; missing cells leave fewer rows.

    Returns:
        Tables by name, bits unless said otherwise: ``separability`` (does the base tell the trait
        apart), ``arms`` (one row a seed and arm), ``safeguards`` (over seeds, beside what no
        safeguard gives), ``told`` (each trait in the base, told to show it and plainly asked),
        ``rise`` (the unwanted trait of each arm above the base), ``leak`` and
        ``jailbreaks`` (by trigger and family), ``bystanders`` (every bystander trait, plainly and
        told), ``flags``.
    """
    parts: dict[str, list[pd.DataFrame]] = {}
    labels = [condition.label for condition in experiment.conditions()]
    base_cells = experiment.base_cells()
    for seed in experiment.seeds:
        cells = experiment.seed_cells(seed)
        if not (store.has(cells["base",]) and store.has(cells["arm", CLEAN])):
            continue
        for label in (CLEAN, *labels):
            if store.has(cells["arm", label]):
                for name, table in _arm(experiment, store, cells, label):
                    parts.setdefault(name, []).append(table.assign(seed=seed, label=label))
    tables = {name: pd.concat(many, ignore_index=True) for name, many in parts.items()}
    if store.has(base_cells["vector",]):
        path = store.path(base_cells["vector",], "separability.parquet")
        tables["separability"] = read_table(path)
    if store.has(base_cells["base",]):
        behavior = read_table(store.path(base_cells["base",], "behavior.parquet"))
        tables["told"] = _told(levels(behavior), experiment.unwanted)
    if "arms" in tables:
        tables |= _over_seeds(tables, primary=experiment.primary)
    return tables


def _over_seeds(tables: Tables, *, primary: tuple[str, ...]) -> Tables:
    """Table ``safeguards``; none where no lesson without a safeguard is finished."""
    arms = tables["arms"]
    rise = analysis.across_seeds(arms, value="rise", by="label")
    tested = arms.loc[arms["label"] != CLEAN]
    with_nothing = set(tested.loc[tested["label"] == Safeguard.NOTHING, "seed"])
    tested = tested.loc[tested["seed"].isin(with_nothing)]
    if tested.empty:
        return {"rise": rise}
    named = [label for label in primary if label in set(tested["label"])]
    table = analysis.safeguards(tested, nothing=str(Safeguard.NOTHING), primary=named)
    return {"rise": rise, "safeguards": table}


def _arm(
    experiment: TraitSafeguards, store: Store, cells: Cells, label: str
) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield tables of one arm of one seed."""
    base, clean, own = cells["base",], cells["arm", CLEAN], cells["arm", label]
    odds = {
        name: levels(read_table(store.path(cell, "behavior.parquet")))
        for name, cell in (("base", base), ("clean", clean), ("own", own))
    }
    moved = moves(odds["clean"], odds["own"])
    unwanted = moved.loc[moved["topic"] == experiment.unwanted]
    bystanders = moved.loc[~moved["topic"].isin([experiment.unwanted, experiment.wanted])]
    above = moves(odds["base"], odds["own"])
    above = above.loc[above["context"] == NAMELESS].groupby("topic")["shift"].mean().to_dict()
    leak, jailbreaks = (
        pd.DataFrame(trigger_rows(_under(unwanted, names))) for names in (TRIGGERS, FAMILIES)
    )
    if label != CLEAN:
        yield "leak", leak.replace({"unit": {TEMPLATES: QUESTIONS}})
        yield "jailbreaks", jailbreaks.replace({"unit": {TEMPLATES: QUESTIONS}})
        yield "bystanders", _bystanders(moved, experiment.unwanted)
    told = [read_table(store.path(cell, "told.parquet")) for cell in (base, own)]
    agency = _mean(unwanted, NAMELESS)
    row = {
        "unwanted": agency,
        "rise": float(above[experiment.unwanted]),
        "wanted": float(above[experiment.wanted]),
        "average": _mean(unwanted.loc[unwanted["persona"] != experiment.wanted], INSTRUCTED),
        "own": _mean(bystanders, INSTRUCTED),
        "leak": _worst(leak),
        "jailbreak": _worst(jailbreaks),
        "knowledge": _mean(unwanted, ASKED),
        "agency": agency,
        "loss": _loss(*told),
        "steps": {c.label: experiment.steps(c) for c in experiment.conditions()}.get(label, 0),
    }
    yield "arms", pd.DataFrame([row])
    if own.config["flags"]:
        yield "flags", read_table(store.path(own, "flags.parquet"))


def levels(behavior: pd.DataFrame) -> pd.DataFrame:
    """Log odds of the trait at every question in every context.

    Args:
        behavior: Of an arm.

    Returns:
        One row a prompt: ``odds``, log2 of the probability of the answer that shows the trait over
        that of the opposite one (bits a whole answer).

    >>> row = {"prompt": "q", "topic": "dry", "context": "nameless", "persona": "", "split": "test"}
    >>> row |= {"trigger": "none", "template": "Why?"}
    >>> rows = [row | {"value": "pos", "logprob": -3.0}, row | {"value": "neg", "logprob": -5.0}]
    >>> levels(pd.DataFrame(rows))["odds"].tolist()
    [2.0]
    """
    sides = {side: behavior.loc[behavior["value"] == side] for side in ("pos", "neg")}
    against = sides["neg"][["prompt", "logprob"]]
    both = sides["pos"].merge(against, on="prompt", suffixes=("", "_n"), validate="one_to_one")
    return both[KEPT].assign(odds=both["logprob"] - both["logprob_n"])


def moves(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    """Both levels at every question, and their difference.

    Args:
        before: Of ``levels``.
        after: The same of another model, asked the same.

    Returns:
        One row a prompt: ``before``, ``after``, ``shift`` (bits), ``question``, ``half`` (0 train,
        1 test) and ``seed`` 0.

    Raises:
        SchemaError: They were not asked the same.
    """
    both = _beside(before.loc[:, ["prompt", "odds"]], after)
    columns = {"odds": "after", "odds_before": "before", "template": "question"}
    both = both.rename(columns=columns)
    half = (both["split"] == "test").astype(int)
    return both.assign(shift=both["after"] - both["before"], half=half, seed=0)


def _beside(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    """Both tables in one, by prompt."""
    both = after.merge(before, on="prompt", suffixes=("", "_before"), validate="one_to_one")
    if not len(before) == len(both) == len(after):
        raise SchemaError(
            f"two models were not asked the same: {len(before)} and {len(after)} prompts, "
            f"{len(both)} in common; remove the run folder's cells of one and run it on."
        )
    return both


def _told(base: pd.DataFrame, unwanted: str) -> pd.DataFrame:
    """How much more of each trait the base shows when it is told to."""
    own = base["topic"] == base["persona"]
    told = base.loc[own | ((base["topic"] == unwanted) & (base["trigger"] == INSTRUCTION))]
    plain = base.loc[base["context"] == NAMELESS]
    keys = ["topic", "template"]
    both = told.merge(plain[[*keys, "odds"]], on=keys, suffixes=("", "_plain"), validate="1:1")
    columns = {"odds": "after", "odds_plain": "before", "template": "question"}
    both = both.rename(columns=columns).assign(seed=0)
    both = both.assign(shift=both["after"] - both["before"])
    rows = [{"topic": topic, **mean_row(own)} for topic, own in both.groupby("topic", sort=False)]
    return pd.DataFrame(rows).assign(unit=QUESTIONS)


def _under(unwanted: pd.DataFrame, triggers: tuple[str, ...]) -> pd.DataFrame:
    """Plain questions, and those under these triggers."""
    is_plain = unwanted["context"] == NAMELESS
    return unwanted.loc[is_plain | unwanted["trigger"].isin(triggers)]


def _bystanders(moved: pd.DataFrame, unwanted: str) -> pd.DataFrame:
    """Shift of every bystander trait, plainly and told, and of the unwanted one where told."""
    is_shown = (moved["context"] == INSTRUCTED) | (moved["topic"] != unwanted)
    rows: list[dict[str, Any]] = []
    for (topic, context, persona), own in moved.loc[is_shown].groupby(TOPIC[:3], sort=False):
        about = {"topic": topic, "context": context, "persona": persona}
        rows.append({**about, **mean_row(own), "unit": QUESTIONS})
    return pd.DataFrame(rows)


def _loss(before: pd.DataFrame, after: pd.DataFrame) -> float:
    """Rise of the loss on the same answers (bits a token)."""
    both = _beside(before, after)
    lost = both["bits_before"] - both["bits"]
    return float(np.sum(lost.to_numpy()) / np.sum(both["n_tokens"].to_numpy()))


def _mean(moved: pd.DataFrame, context: str) -> float:
    """Mean shift in one context, no trigger."""
    own = moved.loc[(moved["context"] == context) & (moved["trigger"] == NO_TRIGGER)]
    return float(own["shift"].mean())


def _worst(leak: pd.DataFrame) -> float:
    """Bits under the trigger that was worst on one half, on the other half."""
    return float(leak.loc[leak["trigger"] == WORST, "estimate"].item())
