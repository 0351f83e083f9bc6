"""What do the finished cells of an evidence run say, as tables?"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from persona_interp import analysis, worlds
from persona_interp.analysis.contexts import OWN
from persona_interp.analysis.mixing import pooled_mixing_weight
from persona_interp.analysis.reach import SETTING
from persona_interp.analysis.saturation import prior_interaction
from persona_interp.experiments.evidence.config import Evidence, setting
from persona_interp.models import Stage
from persona_interp.schema.words import Moment
from persona_interp.store import Cell, Store
from persona_interp.tables import read_table
from persona_interp.worlds import World

Tables = dict[str, pd.DataFrame]
SETTING_COLUMNS = ["setting", *SETTING]
STEP, DOCUMENT = "step", "document"
"""Units that bits are counted by, of ``analysis.evidence.UNITS``."""
EARLY = 4
"""Step up to which a rise is called initial."""


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
            if key[0] not in READERS or not store.has(cell):
                continue
            for name, table in READERS[key[0]](experiment, store, cell, key).items():
                parts.setdefault(name, []).append(table.assign(seed=seed))
    tables = {name: pd.concat(rows, ignore_index=True) for name, rows in parts.items()}
    return tables | _over_seeds(tables)


def _lesson(experiment: Evidence, store: Store, cell: Cell, key: tuple[Any, ...]) -> Tables:
    """Belief along the steps; after the usual documents also K, forgetting and leakage."""
    _, prior, stage, sparing, order = key
    world = World.from_dict(cell.config["world"])
    behavior = read_table(store.path(cell, "behavior.parquet"))
    counts = read_table(store.path(cell.needs[0], "counts.parquet"))
    amounts = _amounts(world, stage, seed=cell.config["seed"])
    curve = analysis.evidence_curve(behavior, world, per_step=amounts)
    tables: Tables = {}
    if experiment.priors and stage == experiment.tested and not (sparing or order):
        tables["priors"] = curve.assign(prior_bits=_odds(world, (), counts=counts))
    if prior != 1:
        return tables
    columns = {
        "setting": setting(stage, sparing=sparing),
        "sparing": sparing,
        "order": order,
        "lr": stage.lr,
        "batch": stage.batch,
        "optimizer": stage.optimizer,
        "replay": stage.replay,
    }
    lessons = float(curve["documents"].iloc[-1])
    last = behavior.loc[behavior["step"] == behavior["step"].max()]
    mixing = analysis.mixing_weight(last, world, n_lessons=lessons, counts=counts)
    # A name that no document holds is nobody's: it has nothing to lose.
    masses = world.mass().sum(axis=1).to_dict()
    names = [name for name, mass in masses.items() if mass > 0]
    known = behavior.loc[behavior["persona"].isin(["", *names])]
    tables["evidence"] = curve.assign(**columns)
    tables["contexts"] = analysis.contexts(known, world).assign(**columns)
    tables["mixing"] = mixing.assign(**columns)
    return tables


def _amounts(world: World, stage: Stage, *, seed: int) -> dict[str, float]:
    """Documents, statements and fact tokens of the lesson in one step; replay takes their place."""
    chats = worlds.count(world.lessons(n=stage.steps * stage.batch, seed=seed))
    totals = chats[["documents", "statements", "fact_tokens"]].sum()
    return (totals * (1 - stage.replay) / stage.steps).to_dict()


def _prompt(experiment: Evidence, store: Store, cell: Cell, key: tuple[Any, ...]) -> Tables:
    """Bits that statements in the prompt add on topics not stated, beside those of exact Bayes."""
    world = World.from_dict(cell.config["world"])
    behavior = read_table(store.path(cell, "behavior.parquet"))
    silent = behavior.loc[behavior["stated"] == ""]
    rows = []
    for name, answers in behavior.loc[behavior["stated"] != ""].groupby("stated", sort=False):
        traits = str(name).split("+")
        # Topics that are stated were not asked about: there the model could copy its prompt.
        topics = [t for t in dict.fromkeys(answers["topic"]) if t != world.taught.topic]
        before, after = _belief(silent, world, topics), _belief(answers, world, topics)
        row = {
            "stated": name,
            "statements": len(traits),
            "traits": len(set(traits)),
            "topics": len(topics),
            "before": before,
            "after": after,
            "estimate": after - before,
            "exact": _odds(world, traits) - _odds(world, ()),
        }
        rows.append(row)
    return {"statements": pd.DataFrame(rows)}


READERS = {Moment.AFTER: _lesson, Moment.PROMPT: _prompt}
"""What a cell is, the first word of its key -> the function that reads it."""


def _belief(behavior: pd.DataFrame, world: World, topics: list[str]) -> float:
    """Log2 odds of the target in the best mixture (bits)."""
    weights = analysis.persona_weights(behavior, world, topics=topics)
    return float(weights.loc[weights["persona"] == world.target, "persona_bits"].iloc[0])


def _odds(world: World, traits: Iterable[str], *, counts: pd.DataFrame | None = None) -> float:
    """Log2 odds of the target for an exact reader of the documents, given these answers (bits)."""
    posterior = world.posterior([(trait,) for trait in traits], counts=counts).persona
    p = posterior.set_index("persona")["probability"][world.target]
    return float(np.log2(p / (1 - p)))


def _over_seeds(tables: Tables) -> Tables:
    """Means over seeds, with intervals."""
    means: Tables = {}
    if "statements" in tables:
        means["prompt"] = analysis.across_seeds(
            tables["statements"],
            by=["statements", "traits"],
            beside=("exact", "before", "after", "topics"),
        )
    if "priors" in tables:
        priors = _complete(tables["priors"])
        if not priors.empty:
            slopes = prior_interaction(priors)
            means["interaction"] = analysis.across_seeds(slopes, by="step", beside=["n"])
    if "evidence" in tables:
        means |= _lessons_over_seeds(tables)
    return means


def _lessons_over_seeds(tables: Tables) -> Tables:
    """Means over seeds of what the lessons after the usual documents say."""
    curve = tables["evidence"]
    rates = analysis.bits_per_unit(curve, until=_until(curve))
    lasting = analysis.lasting_effect(curve)
    means = {
        "curve": analysis.across_seeds(
            curve,
            value="persona_bits",
            by=[*SETTING_COLUMNS, "step"],
            beside=("effect", "p_taught", "misfit", "documents"),
        ),
        "bits": analysis.across_seeds(rates, by=[*SETTING_COLUMNS, "unit"]),
        "lasting": analysis.across_seeds(
            lasting,
            value="kept",
            by=SETTING_COLUMNS,
            beside=("peak", "peak_step", "last", "p_taught"),
        ),
        "k": pooled_mixing_weight(tables["mixing"], by=SETTING_COLUMNS),
        "cost": _cost(tables["contexts"], lasting),
    }
    plain = curve.loc[curve["replay"] == 0]
    # The curve has three numbers (b, c, alpha), so three steps would fit it whatever they are.
    if len(set(plain["step"])) > 3:
        means["saturation"] = analysis.across_seeds(
            analysis.saturation(plain),
            value="alpha",
            by=SETTING_COLUMNS,
            beside=("b", "c", "r2", "at_bound"),
        )
    if "statements" in tables:
        means["exchange"] = _exchange(rates, tables["mixing"], tables["statements"])
    return means


def _cost(contexts: pd.DataFrame, lasting: pd.DataFrame) -> pd.DataFrame:
    """Forgetting and leakage beside the gain of the same lesson, over seeds."""
    run = ["seed", "setting", "order"]
    cost = contexts.merge(lasting[[*run, "last"]], on=run)
    summaries = cost["persona"].isin(["average", "worst", ""])
    rows = cost.loc[summaries | cost["quantity"].eq(OWN)]
    by = [*SETTING_COLUMNS, "context", "persona", "quantity"]
    return analysis.across_seeds(rows, by=by, beside=["last"])


def _complete(priors: pd.DataFrame) -> pd.DataFrame:
    """Rows of the seeds that have at least two priors by now."""
    n_priors = priors.groupby("seed")["prior_bits"].transform("nunique")
    return priors.loc[n_priors.to_numpy() > 1]


def _exchange(rates: pd.DataFrame, mixing: pd.DataFrame, statements: pd.DataFrame) -> pd.DataFrame:
    """What is worth what: ratios of bits by setting, over seeds; none where one has no bits."""
    run = ["setting", "seed", "order"]
    wide = rates.pivot(
        index=[*SETTING_COLUMNS, "seed", "order"], columns="unit", values="estimate"
    ).reset_index()
    once = statements.loc[statements["statements"] == 1, ["seed", "estimate"]]
    wide = wide.merge(once.rename(columns={"estimate": "statement_bits"}), on="seed")
    wide = wide.merge(mixing[[*run, "k", "at_bound"]], on=run)
    k = wide["k"].where(~wide["at_bound"].astype(bool))  # at an end of its range K is not known
    statement = wide["statement_bits"]
    ratios = {
        ("lesson documents", "statement in the prompt"): statement / wide[DOCUMENT],
        ("steps", "statement in the prompt"): statement / wide[STEP],
        ("documents of pretraining", "lesson document"): k,
        ("documents of pretraining", "statement in the prompt"): k * statement / wide[DOCUMENT],
    }
    # Means and t intervals are of logarithms, so that a ratio and its inverse say the same.
    parts = []
    for (amount, of), ratio in ratios.items():
        logs = wide[[*SETTING_COLUMNS, "seed"]].assign(
            amount=amount, of=of, estimate=np.log2(ratio.where(ratio > 0))
        )
        parts.append(analysis.across_seeds(logs, by=[*SETTING_COLUMNS, "amount", "of"]))
    table = pd.concat(parts, ignore_index=True)
    return table.assign(**{column: np.exp2(table[column]) for column in ("estimate", "lo", "hi")})


def _until(curve: pd.DataFrame) -> int:
    """Step up to which the initial rise is read; the last one where a lesson ends before it."""
    steps = sorted(step for step in curve["step"].unique() if step > 0)
    late = [step for step in steps if step >= EARLY]
    if late:
        return int(late[0])
    return int(steps[-1])
