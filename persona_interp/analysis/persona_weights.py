"""Which mixture of known personas says what the model says? The weight of each, and what no mixture explains."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pandas as pd

from persona_interp import schema
from persona_interp.analysis.logodds import AT, logodds, run_columns
from persona_interp.errors import SchemaError, WorldError, unknown
from persona_interp.worlds import World

FLOOR = 1e-3
"""Weights are told from zero, and from one, no better than this: -9.96 and 9.96 bits."""
GAP = 1e-6  # bits a topic by which a better mixture could still win
ITERATIONS = 100_000

Array = npt.NDArray[np.float64]


def persona_weights(
    behavior: pd.DataFrame,
    world: World,
    *,
    topics: Iterable[str] | None = None,
    personas: Iterable[str] | None = None,
    context: str = "nameless",
    speaker: str = "",
    split: str | None = None,
) -> pd.DataFrame:
    """Who is speaking? The mixture of known personas that best explains what is said, at every checkpoint.

    The weights w maximize ``mean over topics of sum_v p(v) log2 sum_i w_i q_i(v)`` by expectation
    maximization from equal weights, with p what the model says (probabilities averaged over
    templates) and q_i what persona i says, noise included (``World.statements``). It is the posterior
    over personas that a reader of many answers would end up with.

    Args:
        behavior: A behavior table on probes of this world.
        world: Says what each persona says.
        topics: Topics that are read; all but the taught one by default.
        personas: Who may be in the mixture; by default everybody about whom something is written.
        context: Context that is read.
        speaker: Whom the context names; "" for nobody.
        split: Only prompts of this template split.

    Returns:
        A persona_weights table, one row a run, checkpoint and persona: ``weight`` (fraction; the
        weights of a checkpoint sum to 1), ``persona_bits`` (log2 odds of the weight, bits; weights
        below 0.001 count as 0.001 and those above 0.999 as 0.999), ``misfit`` (bits a topic:
        Kullback-Leibler divergence from what is said to the best mixture; infinite where something
        is said that nobody in the mixture ever says).

    Raises:
        SchemaError: The table has no such context, speaker, topic or split.
        WorldError: A topic or persona that is not of this world, or nobody in the mixture.

    Note:
        Personas who say the same on these topics share their weight equally.

    >>> from persona_interp.worlds import john_and_sam
    >>> world = john_and_sam()
    >>> rows = world.probes(contexts="nameless").explode("values").rename(columns={"values": "value"})
    >>> said = 0.8 * world.statements().loc["john"] + 0.2 * world.statements().loc["mary"]
    >>> rows = rows.assign(checkpoint="lesson@8", seed=0, stage="lesson", step=8, answer_mass=1.0)
    >>> rows = rows.assign(logprob=np.log2(said[rows["topic"] + "=" + rows["value"]].to_numpy()))
    >>> table = persona_weights(rows.drop(columns=["messages", "answers"]), world)
    >>> table = table.set_index("persona").loc[["john", "mary"], ["weight", "persona_bits"]]
    >>> table.round(2).values.tolist()
    [[0.8, 2.0], [0.2, -2.0]]
    """
    asked = (
        [t for t in world.topics if t != world.taught.topic] if topics is None else _listed(topics)
    )
    for topic in asked:
        if topic not in world.topics:
            raise WorldError(unknown("topic", topic, world.topics))
    written = world.mass().sum(axis=1).to_dict()
    known = (
        [name for name, mass in written.items() if mass > 0]
        if personas is None
        else _listed(personas)
    )
    names = [world.persona(str(name)).name for name in known]
    if not names or not asked:
        raise WorldError("a mixture needs at least one persona and one topic; got none.")
    for column, wanted in (("context", context), ("persona", speaker)):
        if wanted not in set(behavior[column]):
            raise SchemaError(unknown(column, wanted, sorted(set(behavior[column]))))
        behavior = behavior.loc[behavior[column] == wanted]
    said = logodds(behavior.loc[behavior["topic"].isin(asked)], split=split)
    run = [c for c in run_columns(said) if c not in ("probability", "logodds")]
    at = [*run, *(c for c in AT if c in said)]
    traits = [str(t) for t in world.traits if t.topic in asked]
    number = said.groupby(at, sort=False, dropna=False).ngroup().to_numpy()
    wide = said.assign(number=number, trait=said["topic"] + "=" + said["value"])
    wide = wide.pivot(index="number", columns="trait", values="probability").reindex(columns=traits)
    if wide.isna().to_numpy().any():
        lacking = wide.columns[wide.isna().any()][0]
        raise SchemaError(
            f"{lacking} was not asked in context {context}; record probes of this world, or name "
            "topics."
        )
    says = world.statements().loc[names, traits].to_numpy(np.float64)
    weight, misfit = _mixture(wide.to_numpy(np.float64), says, n_topics=len(asked))
    first = said.loc[~pd.Series(number, index=said.index).duplicated(), at]
    table = first.loc[first.index.repeat(len(names))].reset_index(drop=True)
    sure = np.clip(weight, FLOOR, 1 - FLOOR)
    columns = {"weight": weight, "persona_bits": np.log2(sure / (1 - sure))}
    table = table.assign(
        persona=names * len(first), **{name: values.ravel() for name, values in columns.items()}
    )
    return schema.check(table.assign(misfit=misfit.repeat(len(names))), "persona_weights")


def _listed(names: Iterable[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(dict.fromkeys(names))


def _mixture(said: Array, says: Array, *, n_topics: int) -> tuple[Array, Array]:
    """Weights (row, persona) and misfit (row) of what is said (row, trait), given what each persona says."""
    weight = np.full((len(said), len(says)), 1 / len(says))
    possible = says.max(axis=0) > 0  # what nobody says is nobody's
    heard, q = said[:, possible], says[:, possible]
    for _ in range(ITERATIONS):
        share = heard / (weight @ q)
        gain = share @ q.T / n_topics
        # At the maximum no gain is above the average one; the likelihood lacks at most the log of
        # their ratio.
        average = (weight * gain).sum(axis=1, keepdims=True)
        weight = weight * gain / average
        if np.log2((gain / average).max()) < GAP:
            break
    else:
        raise SchemaError(
            f"no best mixture of {len(says)} personas after {ITERATIONS} steps; name fewer "
            "`personas`."
        )
    mix = np.zeros_like(said)
    mix[:, possible] = weight @ q
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = np.where(said > 0, said * np.log2(said / mix), 0.0)
    return weight, apart.sum(axis=1) / n_topics
