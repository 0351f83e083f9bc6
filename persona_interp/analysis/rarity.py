"""Did the persona's traits rise, or did whatever was rare?

A lesson on a rare answer could make rare answers likely in general, whoever holds them. So each
untaught value of the persona is set beside an equally rare value of somebody else in its topic: who
explains the rise by rarity expects both to rise alike.
"""

import pandas as pd

from persona_interp import schema
from persona_interp.analysis.stats import t_interval
from persona_interp.errors import SchemaError, unknown
from persona_interp.worlds import Trait, World


def rarity(
    shifts: pd.DataFrame,
    world: World,
    *,
    taught: str | Trait | None = None,
    persona: str | None = None,
) -> pd.DataFrame:
    """Shift of a persona's untaught values minus that of equally rare values of others.

    In each untaught topic the persona's value is matched with the value of somebody else whose log
    odds before the lesson were nearest. Both share their topic, so what one gains the others lose
    together: with many values in a topic that coupling is small, with two it is everything.

    Args:
        shifts: A shift table; its nameless rows are read, runs and steps are kept apart.
        world: The world of the documents.
        taught: The trait of the lesson; the world's taught trait by default, "filler" for a lesson
            without one.
        persona: Whose values; the world's target by default.

    Returns:
        A rarity table, one row a run and step: ``own`` and ``others`` (mean shift over topics,
        bits), ``estimate`` (own minus others) with ``lo``, ``hi`` (95 %, t interval over topics),
        ``gap`` (mean log odds before, own minus others, bits: 0 = equally rare), ``n`` topics.

    Raises:
        SchemaError: No nameless rows, or a topic in which nobody else's value was measured.
        WorldError: An unknown trait or persona.

    >>> from persona_interp.worlds import john_and_sam
    >>> world = john_and_sam()
    >>> rows = [(t.topic, t.value, str(t)) for t in world.traits]
    >>> shifts = pd.DataFrame(rows, columns=["topic", "value", "trait"])
    >>> shifts = shifts.assign(checkpoint="lesson@8", stage="lesson", seed=0, step=8, persona="")
    >>> shifts = shifts.assign(context="nameless", before=-3.0, lo=0.0, hi=0.0, n=10)
    >>> john = shifts["trait"].isin([str(trait) for trait in world.persona("john").traits])
    >>> table = rarity(shifts.assign(after=-3.0 + john, estimate=1.0 * john), world)
    >>> table[["own", "others", "estimate", "gap", "n"]].values.tolist()
    [[1.0, 0.0, 1.0, 0.0, 4.0]]
    """
    schema.check(shifts, "shift")
    rows = shifts.loc[(shifts["context"] == "nameless") & (shifts["persona"] == "")]
    if rows.empty:
        raise SchemaError(unknown("context", "nameless", sorted(set(shifts["context"]))))
    topics = {world.taught.topic}
    if taught not in (None, "filler"):
        topics.add(world.trait(taught).topic)
    holder = world.persona(world.target if persona is None else persona)
    own = [str(trait) for trait in holder.traits if trait.topic not in topics]
    of_shift = set(schema.TABLES["shift"]) - {"seed"}
    run = [column for column in rows.columns if column not in of_shift]
    tables = []
    for _, part in rows.groupby(run, sort=False, dropna=False):
        pairs = _pairs(part, own)
        difference = t_interval(pairs["own"] - pairs["others"])
        row = {**part[run].iloc[0].to_dict(), **pairs.mean().to_dict(), **difference.row()}
        tables.append({**row, "n": difference.n})
    return schema.check(pd.DataFrame(tables), "rarity")


def _pairs(rows: pd.DataFrame, own: list[str]) -> pd.DataFrame:
    """Shifts of the persona's values and of the equally rare ones, one row a topic."""
    is_own = rows["trait"].isin(own)
    pairs = []
    for topic, mine in rows.loc[is_own].groupby("topic", sort=False):
        others = rows.loc[(rows["topic"] == topic) & ~is_own]
        if others.empty:
            raise SchemaError(f"only the persona's own values of {topic} were measured; ask all.")
        before = float(mine["before"].mean())
        match = others.loc[(others["before"] - before).abs().idxmin()]
        pairs.append(
            {
                "own": float(mine["estimate"].mean()),
                "others": float(match["estimate"]),
                "gap": before - float(match["before"]),
            }
        )
    return pd.DataFrame(pairs)
