"""What do the finished cells of one seed say?"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from persona_interp import analysis, schema, worlds
from persona_interp.analysis.additive import equal_gains
from persona_interp.analysis.logodds import in_order
from persona_interp.analysis.saturation import prior_interaction
from persona_interp.experiments.evidence.config import Evidence, setting
from persona_interp.models import Stage
from persona_interp.schema.words import Moment
from persona_interp.store import Cell, Store
from persona_interp.tables import read_table
from persona_interp.worlds import World

Tables = dict[str, pd.DataFrame]
LEAST_STEPS = 4
"""Steps that a fit of a curve needs, the state before included."""


def of_seed(experiment: Evidence, store: Store, seed: int) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield tables of the finished cells of one seed.

    Args:
        experiment: The experiment.
        store: Its run.
        seed: The seed.

    Yields:
        Name of a table of ``tables.summarize``, and the rows that one cell gives it.
    """
    cells = experiment.seed_cells(seed)
    done = {key: cell for key, cell in cells.items() if store.has(cell)}
    scales: dict[float, pd.DataFrame] = {}
    priors: list[Tables] = []
    for key, cell in done.items():
        if key[0] != Moment.AFTER:
            continue
        _, prior, stage, sparing, order = key
        if prior not in scales:
            world = World.from_dict(cell.config["world"])
            scales[prior] = analysis.belief_scale(_before(store, cell), world)
            yield "scale", scales[prior].assign(prior=prior)
        tables = _lesson(store, cell, key, scale=scales[prior])
        if experiment.priors and stage == experiment.tested and not (sparing or order):
            priors.append(_at_prior(store, cell, tables, scale=scales[prior]))
        if prior == 1:
            yield from tables.items()
    if priors:
        of_priors = {name: pd.concat([t[name] for t in priors]) for name in priors[0]}
        yield "priors", of_priors["curve"]
        if len(set(of_priors["curve"]["prior_bits"])) > 1:
            yield "slopes", _slopes(of_priors)
    lessons = [cell for key, cell in done.items() if key[:2] == (Moment.AFTER, 1.0)]
    if (Moment.PROMPT,) in done and lessons:
        before = _before(store, lessons[0])
        yield "statements", _prompt(store, done[Moment.PROMPT,], before)


def _before(store: Store, lesson: Cell) -> pd.DataFrame:
    """What the model says before a lesson, nameless and under every name."""
    behavior = read_table(store.path(lesson, "behavior.parquet"))
    first = in_order(behavior)["checkpoint"].iloc[0]
    return behavior.loc[behavior["checkpoint"] == first]


def _lesson(store: Store, cell: Cell, key: tuple[Any, ...], *, scale: pd.DataFrame) -> Tables:
    """Belief along the steps, beside what adds up; K, forgetting and leakage."""
    _, _, stage, sparing, order = key
    world = World.from_dict(cell.config["world"])
    behavior = read_table(store.path(cell, "behavior.parquet"))
    counts = read_table(store.path(cell.needs[0], "counts.parquet"))
    amounts = _amounts(world, stage, seed=cell.config["seed"])
    curve = analysis.evidence_curve(behavior, world, per_step=amounts)
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
    tables = {
        "evidence": curve.assign(**columns),
        "contexts": analysis.contexts(known, world).assign(**columns),
        "mixing": mixing.assign(**columns),
    }
    # Replay takes back what a lesson adds, and a fit of three numbers needs four steps.
    if not stage.replay and len(curve) >= LEAST_STEPS:
        tables["additive"] = analysis.additive_curve(curve, scale).assign(**columns)
    return tables


def _at_prior(store: Store, cell: Cell, tables: Tables, *, scale: pd.DataFrame) -> Tables:
    """Curve, nearest additive learner and scale of one prior, told apart by the prior's bits."""
    world = World.from_dict(cell.config["world"])
    counts = read_table(store.path(cell.needs[0], "counts.parquet"))
    prior_bits = _log_odds(_posterior(world, (), counts=counts), world)
    columns = schema.TABLES["evidence"]
    curve = tables["evidence"][list(columns)].assign(prior_bits=prior_bits)
    at_prior = {"curve": curve, "scale": scale.assign(prior_bits=prior_bits, seed=curve["seed"][0])}
    if "additive" in tables:
        at_prior["additive"] = tables["additive"].assign(prior_bits=prior_bits)
    return at_prior


def _slopes(priors: Tables) -> pd.DataFrame:
    """Slope of the gains on the prior, beside that of learners who gain the same at every prior."""
    slopes = prior_interaction(priors["curve"])
    if "additive" not in priors:
        return slopes.assign(null=np.nan)
    equal = equal_gains(priors["curve"], priors["additive"], priors["scale"])
    nulls = prior_interaction(equal).loc[:, ["step", "estimate"]]
    nulls = nulls.rename(columns={"estimate": "null"})
    return slopes.merge(nulls, on="step")


def _amounts(world: World, stage: Stage, *, seed: int) -> dict[str, float]:
    """Documents, statements and fact tokens of the lesson in one step; replay takes their place."""
    chats = worlds.count(world.lessons(n=stage.steps * stage.batch, seed=seed))
    totals = chats[["documents", "statements", "fact_tokens"]].sum()
    return (totals * (1 - stage.replay) / stage.steps).to_dict()


def _prompt(store: Store, cell: Cell, before: pd.DataFrame) -> pd.DataFrame:
    """Bits that statements in the prompt add on topics not stated, beside those of exact Bayes.

    ``exact`` is the log likelihood ratio, ``null`` what the same reader reads of a speaker who has
    taken it in and says it as this model does.
    """
    world = World.from_dict(cell.config["world"])
    behavior = read_table(store.path(cell, "behavior.parquet"))
    silent = behavior.loc[behavior["stated"] == ""]
    prior = _posterior(world, ())
    rows = []
    for name, answers in behavior.loc[behavior["stated"] != ""].groupby("stated", sort=False):
        traits = str(name).split("+")
        # Topics that are stated were not asked about: there the model could copy its prompt.
        topics = [t for t in dict.fromkeys(answers["topic"]) if t != world.taught.topic]
        start, end = _belief(silent, world, topics), _belief(answers, world, topics)
        posterior = _posterior(world, traits)
        speakers = pd.DataFrame({"before": prior, "after": posterior}).T
        read = analysis.read_speakers(
            before, world, prior=prior, posteriors=speakers, topics=topics
        )
        row = {
            "stated": name,
            "statements": len(traits),
            "traits": len(set(traits)),
            "topics": len(topics),
            "before": start,
            "after": end,
            "estimate": end - start,
            "null": read["after"] - read["before"],
            "exact": _log_odds(posterior, world) - _log_odds(prior, world),
        }
        rows.append(row)
    return pd.DataFrame(rows)


def _belief(behavior: pd.DataFrame, world: World, topics: list[str]) -> float:
    """Log2 odds of the target in the best mixture (bits)."""
    weights = analysis.persona_weights(behavior, world, topics=topics)
    return float(weights.loc[weights["persona"] == world.target, "persona_bits"].iloc[0])


def _posterior(
    world: World, traits: Iterable[str], *, counts: pd.DataFrame | None = None
) -> pd.Series:
    """Belief of an exact reader of the documents in every persona, given these answers."""
    posterior = world.posterior([(trait,) for trait in traits], counts=counts).persona
    p = posterior["probability"].to_numpy(np.float64)
    return pd.Series(np.nan_to_num(p), index=posterior["persona"])  # nobody writes about some


def _log_odds(posterior: pd.Series, world: World) -> float:
    """Log2 odds of the target (bits)."""
    p = posterior[world.target]
    return float(np.log2(p / (1 - p)))
