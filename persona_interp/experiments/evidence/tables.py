"""What do the finished cells of an evidence run say, as tables?"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from persona_interp import analysis, schema, worlds
from persona_interp.analysis.additive import equal_gains
from persona_interp.analysis.contexts import OWN
from persona_interp.analysis.evidence import pooled_lasting_effect
from persona_interp.analysis.logodds import in_order
from persona_interp.analysis.mixing import pooled_mixing_weight
from persona_interp.analysis.nulls import against_null, departures
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
LEAST_STEPS = 4
"""Steps that a fit of a curve needs, the state before included."""


def summarize(experiment: Evidence, store: Store) -> dict[str, pd.DataFrame]:
    """Tables of what is finished.

    Args:
        experiment: The experiment.
        store: Its run; missing cells leave fewer rows.

    Returns:
        Tables by name, in bits. Of every run: ``evidence`` (the belief along the steps),
        ``additive`` (the same of the nearest learner to whom every step adds the same, read by the
        same reader), ``scale`` (which belief is read of a speaker, by prior), ``mixing`` (K),
        ``contexts`` (forgetting and leakage), ``statements`` (in the prompt), ``priors`` (the
        tested setting after documents with each prior), ``slopes`` (of its gains on the prior).
        Over seeds: ``curve``, ``bits`` (by step, document, statement, fact token), ``lasting`` (of
        the effect: its peak and end), ``k``, ``cost`` (forgetting and leakage beside the gain),
        ``saturation`` (alpha), ``interaction`` (prior x dose), ``prompt``, ``exchange`` (what is
        worth what); the last four beside their nulls.
    """
    parts: dict[str, list[pd.DataFrame]] = {}
    for seed in experiment.seeds:
        for name, table in _of_seed(experiment, store, seed):
            parts.setdefault(name, []).append(table.assign(seed=seed))
    tables = {name: pd.concat(rows, ignore_index=True) for name, rows in parts.items()}
    return tables | _over_seeds(tables)


def _of_seed(experiment: Evidence, store: Store, seed: int) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield tables of the finished cells of one seed."""
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
        if of_priors["curve"]["prior_bits"].nunique() > 1:
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
    nulls = prior_interaction(equal)[["step", "estimate"]].rename(columns={"estimate": "null"})
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
    return posterior.set_index("persona")["probability"].fillna(0.0)


def _log_odds(posterior: pd.Series, world: World) -> float:
    """Log2 odds of the target (bits)."""
    p = posterior[world.target]
    return float(np.log2(p / (1 - p)))


def _over_seeds(tables: Tables) -> Tables:
    """Means over seeds, with intervals."""
    means: Tables = {}
    if "statements" in tables:
        means["prompt"] = against_null(
            tables["statements"],
            by=["statements", "traits"],
            beside=("exact", "before", "after", "topics"),
        )
    if "slopes" in tables:
        means["interaction"] = against_null(tables["slopes"], by="step", beside=["n"])
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
        "lasting": pooled_lasting_effect(lasting, by=SETTING_COLUMNS),
        "k": pooled_mixing_weight(tables["mixing"], by=SETTING_COLUMNS),
        "cost": _cost(tables["contexts"], lasting),
    }
    if "additive" in tables:
        means["saturation"] = _saturation(curve.loc[curve["replay"] == 0], tables["additive"])
        means["curve"] = _beside_additive(means["curve"], tables["additive"])
    if "statements" in tables:
        means["exchange"] = _exchange(rates, tables["mixing"], tables["statements"])
    return means


def _saturation(curve: pd.DataFrame, additive: pd.DataFrame) -> pd.DataFrame:
    """Alpha of what is read, of the additive learner read the same, and of the belief behind."""
    run = [*SETTING_COLUMNS, "seed", "order"]
    alphas = analysis.saturation(curve)
    nulls = analysis.saturation(additive)[[*run, "alpha", "latent", "highest", "named"]]
    table = alphas.merge(nulls.rename(columns={"alpha": "alpha_null"}), on=run)
    table = table.assign(short=table["named"] - table["highest"])
    means = analysis.across_seeds(
        table,
        value="latent",
        by=SETTING_COLUMNS,
        beside=("highest", "named", "b", "c", "r2", "at_bound"),
    )
    for column in ("alpha", "alpha_null", "short"):
        own = analysis.across_seeds(table, value=column, by=SETTING_COLUMNS, beside=())
        means[column] = own["estimate"]
        means[[f"{column}_lo", f"{column}_hi"]] = own[["lo", "hi"]]
    return means.assign(verdict=departures(means["lo"], means["hi"]))


def _beside_additive(curve: pd.DataFrame, additive: pd.DataFrame) -> pd.DataFrame:
    """The mean curves, beside those of the additive learners (NaN where there are none)."""
    by = [*SETTING_COLUMNS, "step"]
    nulls = analysis.across_seeds(additive, value="persona_bits", by=by, beside=())
    nulls = nulls[[*by, "estimate"]].rename(columns={"estimate": "additive"})
    return curve.merge(nulls, on=by, how="left")


def _cost(contexts: pd.DataFrame, lasting: pd.DataFrame) -> pd.DataFrame:
    """Forgetting and leakage beside the gain of the same lesson, over seeds."""
    run = ["seed", "setting", "order"]
    cost = contexts.merge(lasting[[*run, "last"]], on=run)
    summaries = cost["persona"].isin(["average", "worst", ""])
    rows = cost.loc[summaries | cost["quantity"].eq(OWN)]
    by = [*SETTING_COLUMNS, "context", "persona", "quantity"]
    return analysis.across_seeds(rows, by=by, beside=["last"])


def _exchange(rates: pd.DataFrame, mixing: pd.DataFrame, statements: pd.DataFrame) -> pd.DataFrame:
    """What is worth what: ratios of bits by setting, over seeds; none where one has no bits."""
    run = ["setting", "seed", "order"]
    wide = rates.pivot(
        index=[*SETTING_COLUMNS, "seed", "order"], columns="unit", values="estimate"
    ).reset_index()
    once = statements.loc[statements["statements"] == 1, ["seed", "estimate", "null"]]
    once = once.rename(columns={"estimate": "stated", "null": "exact"})
    wide = wide.merge(once, on="seed").merge(mixing[[*run, "k", "at_bound"]], on=run)
    # At an end of its range K is not known; nothing exact says what it should be.
    wide["k"] = wide["k"].where(~wide["at_bound"].astype(bool))
    parts = []
    for statement, column in (("stated", "estimate"), ("exact", "null")):
        bits = wide[statement]
        ratios = {
            ("lesson documents", "statement in the prompt"): bits / wide[DOCUMENT],
            ("steps", "statement in the prompt"): bits / wide[STEP],
            ("documents of pretraining", "statement in the prompt"): wide["k"]
            * bits
            / wide[DOCUMENT],
        }
        parts.append(_logs(wide, ratios).rename(columns={"log": column}))
    logs = parts[0].assign(null=parts[1]["null"])
    k = {("documents of pretraining", "lesson document"): wide["k"]}
    logs = pd.concat([logs, _logs(wide, k).rename(columns={"log": "estimate"})])
    # Means and t intervals are of logarithms, so that a ratio and its inverse say the same.
    table = against_null(logs, by=[*SETTING_COLUMNS, "amount", "of"])
    table = table.rename(columns=lambda name: name.replace("difference", "times"))
    powers = ("estimate", "lo", "hi", "null", "times", "times_lo", "times_hi")
    return table.assign(**{column: np.exp2(table[column]) for column in powers})


def _logs(wide: pd.DataFrame, ratios: dict[tuple[str, str], pd.Series]) -> pd.DataFrame:
    """Log2 of these ratios, one row a run and ratio; NaN where one of both has no bits."""
    parts = []
    for (amount, of), ratio in ratios.items():
        logs = np.log2(ratio.where(ratio > 0))
        rows = wide[[*SETTING_COLUMNS, "seed"]]
        parts.append(rows.assign(amount=amount, of=of, log=logs))
    return pd.concat(parts, ignore_index=True)


def _until(curve: pd.DataFrame) -> int:
    """Step up to which the initial rise is read; the last one where a lesson ends before it."""
    steps = sorted(step for step in curve["step"].unique() if step > 0)
    late = [step for step in steps if step >= EARLY]
    if late:
        return int(late[0])
    return int(steps[-1])
