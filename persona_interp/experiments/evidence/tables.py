"""What do the finished cells of an evidence run say, as tables?"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from persona_interp import analysis, worlds
from persona_interp.experiments.evidence.config import Evidence, setting
from persona_interp.store import Cell, Store
from persona_interp.tables import read_table
from persona_interp.worlds import World

Tables = dict[str, pd.DataFrame]
SETTING = ["setting", "lr", "batch", "optimizer", "replay", "sparing"]


def summarize(experiment: Evidence, store: Store) -> dict[str, pd.DataFrame]:
    """Tables of what is finished.

    Args:
        experiment: The experiment.
        store: Its run; missing cells leave fewer rows.

    Returns:
        Tables by name, in bits. Of every run: ``evidence`` (the belief along the steps),
        ``mixing`` (K), ``contexts`` (forgetting and leakage), ``statements`` (in the prompt),
        ``priors`` (the tested setting after documents with each prior). Over seeds: ``curve``,
        ``bits`` (by step, document, statement, fact token), ``lasting`` (of the effect: its
        peak and end), ``k``, ``cost`` (forgetting and leakage beside the gain), ``saturation``
        (alpha), ``interaction`` (prior x dose), ``prompt``, ``exchange`` (what is worth what).
    """
    parts: dict[str, list[pd.DataFrame]] = {}
    for seed in experiment.seeds:
        for key, cell in experiment.seed_cells(seed).items():
            if key[0] in READERS and store.has(cell):
                for name, table in READERS[key[0]](experiment, store, cell, key).items():
                    parts.setdefault(name, []).append(table.assign(seed=seed))
    tables = {name: pd.concat(found, ignore_index=True) for name, found in parts.items()}
    return tables | _over_seeds(tables)


def _lesson(experiment: Evidence, store: Store, cell: Cell, key: tuple[Any, ...]) -> Tables:
    """The belief along the steps; after the usual documents also K, forgetting and leakage at the end."""
    _, prior, stage, sparing, order = key
    world = World.from_dict(cell.config["world"])
    behavior = read_table(store.path(cell, "behavior.parquet"))
    counts = read_table(store.path(cell.needs[0], "counts.parquet"))
    chats = worlds.count(world.lessons(n=stage.steps * stage.batch, seed=cell.config["seed"]))
    amounts = (
        chats[["documents", "statements", "fact_tokens"]].sum() * (1 - stage.replay) / stage.steps
    )
    curve = analysis.evidence_curve(behavior, world, per_step=amounts.to_dict())
    found: Tables = {}
    if experiment.priors and stage == experiment.tested and not (sparing or order):
        found["priors"] = curve.assign(prior_bits=_odds(world, (), counts=counts))
    if prior == 1:
        columns = {"setting": setting(stage, sparing=sparing), "sparing": sparing, "order": order}
        columns |= {c: getattr(stage, c) for c in ("lr", "batch", "optimizer", "replay")}
        lessons = float(curve["documents"].iloc[-1])
        last = behavior.loc[behavior["step"] == behavior["step"].max()]
        mixing = analysis.mixing_weight(last, world, n_lessons=lessons, counts=counts)
        masses = (
            world.mass().sum(axis=1).to_dict()
        )  # a name that no document holds is nobody's: it has nothing to lose
        known = behavior.loc[
            behavior["persona"].isin(["", *(name for name, mass in masses.items() if mass > 0)])
        ]
        made = {"evidence": curve, "contexts": analysis.contexts(known, world), "mixing": mixing}
        found |= {name: table.assign(**columns) for name, table in made.items()}
    return found


def _prompted(experiment: Evidence, store: Store, cell: Cell, key: tuple[Any, ...]) -> Tables:
    """Bits that statements in the prompt add, read on topics not stated, and the exact log-likelihood ratio."""
    world = World.from_dict(cell.config["world"])
    behavior = read_table(store.path(cell, "behavior.parquet"))
    silent, rows = behavior.loc[behavior["stated"] == ""], []
    for name, said in behavior.loc[behavior["stated"] != ""].groupby("stated", sort=False):
        topics = [topic for topic in dict.fromkeys(said["topic"]) if topic != world.taught.topic]
        before, after = (_belief(table, world, topics) for table in (silent, said))
        traits = str(name).split("+")
        row = {
            "stated": name,
            "statements": len(traits),
            "traits": len(set(traits)),
            "topics": len(topics),
        }
        exact = _odds(world, traits) - _odds(world, ())
        rows.append(
            {**row, "before": before, "after": after, "estimate": after - before, "exact": exact}
        )
    return {"statements": pd.DataFrame(rows)}


READERS = {"lesson": _lesson, "prompted": _prompted}


def _belief(behavior: pd.DataFrame, world: World, topics: list[str]) -> float:
    """Log2 odds of the target in the best mixture (bits)."""
    weights = analysis.persona_weights(behavior, world, topics=topics)
    return float(weights.loc[weights["persona"] == world.target, "persona_bits"].iloc[0])


def _odds(world: World, said: Iterable[str], *, counts: pd.DataFrame | None = None) -> float:
    """Log2 odds of the target for an exact reader of the documents, after one speaker said so (bits)."""
    who = world.posterior([(trait,) for trait in said], counts=counts).persona.set_index("persona")[
        "probability"
    ]
    return float(np.log2(who[world.target] / (1 - who[world.target])))


def _over_seeds(tables: Tables) -> Tables:
    """Means over seeds, with intervals."""
    found: Tables = {}
    if "statements" in tables:
        beside = ("exact", "before", "after", "topics")
        found["prompt"] = analysis.across_seeds(
            tables["statements"], by=["statements", "traits"], beside=beside
        )
    several = _complete(tables["priors"]) if "priors" in tables else pd.DataFrame()
    if not several.empty:
        slopes = analysis.prior_interaction(several)
        found["interaction"] = analysis.across_seeds(slopes, by="step", beside=["n"])
    if "evidence" not in tables:
        return found
    curve = tables["evidence"]
    over = {"value": "persona_bits", "by": [*SETTING, "step"]}
    found["curve"] = analysis.across_seeds(
        curve, **over, beside=("effect", "p_taught", "misfit", "documents")
    )
    rates = analysis.bits_per_unit(curve, until=_until(curve))
    found["bits"] = analysis.across_seeds(rates, by=[*SETTING, "unit"])
    lasting = analysis.lasting_effect(curve)
    beside = ("peak", "peak_step", "last", "p_taught")
    found["lasting"] = analysis.across_seeds(lasting, value="kept", by=SETTING, beside=beside)
    found["k"] = analysis.pooled_mixing_weight(tables["mixing"], by=SETTING)
    cost = tables["contexts"].merge(
        lasting[["seed", "setting", "order", "last"]], on=["seed", "setting", "order"]
    )
    groups = cost.loc[cost["persona"].isin(["average", "worst", ""]) | cost["quantity"].eq("own")]
    found["cost"] = analysis.across_seeds(
        groups, by=[*SETTING, "context", "persona", "quantity"], beside=["last"]
    )
    plain = curve.loc[curve["replay"] == 0]
    if len(set(plain["step"])) > 3:  # as many as the curve has numbers, and one
        beside = ("b", "c", "r2", "at_bound")
        found["saturation"] = analysis.across_seeds(
            analysis.saturation(plain), value="alpha", by=SETTING, beside=beside
        )
    if "statements" in tables:
        found["exchange"] = _exchange(rates, tables["mixing"], tables["statements"])
    return found


def _complete(priors: pd.DataFrame) -> pd.DataFrame:
    """The seeds that have at least two priors by now."""
    several = [seed for seed, rows in priors.groupby("seed") if len(set(rows["prior_bits"])) > 1]
    return priors.loc[priors["seed"].isin(several)]


def _exchange(rates: pd.DataFrame, mixing: pd.DataFrame, statements: pd.DataFrame) -> pd.DataFrame:
    """What is worth what? Ratios, so means and t intervals are of their logarithms; no ratio, where one has no bits."""
    wide = rates.pivot(
        index=[*SETTING, "seed", "order"], columns="unit", values="estimate"
    ).reset_index()
    said = statements.loc[statements["statements"] == 1, ["seed", "estimate"]].rename(
        columns={"estimate": "said"}
    )
    wide = wide.merge(said, on="seed").merge(
        mixing[["setting", "seed", "order", "k", "at_bound"]], on=["setting", "seed", "order"]
    )
    k = wide["k"].where(~wide["at_bound"].astype(bool))
    ratios = {
        ("lesson documents", "statement in the prompt"): wide["said"] / wide["document"],
        ("steps", "statement in the prompt"): wide["said"] / wide["step"],
        ("documents of pretraining", "lesson document"): k,
        ("documents of pretraining", "statement in the prompt"): k
        * wide["said"]
        / wide["document"],
    }
    parts = []
    for (amount, of), ratio in ratios.items():
        logs = wide[[*SETTING, "seed"]].assign(
            amount=amount, of=of, estimate=np.log2(ratio.where(ratio > 0))
        )
        parts.append(analysis.across_seeds(logs, by=[*SETTING, "amount", "of"]))
    table = pd.concat(parts, ignore_index=True)
    return table.assign(**{column: np.exp2(table[column]) for column in ("estimate", "lo", "hi")})


def _until(curve: pd.DataFrame) -> int:
    """Up to which step a rise is called initial: 4, or the last kept where there is none."""
    steps = sorted(step for step in curve["step"].unique() if step > 0)
    return int(next((step for step in steps if step >= 4), steps[-1]))
