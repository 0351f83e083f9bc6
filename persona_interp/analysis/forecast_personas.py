"""What will become of each persona? The forecasts of its traits, put together."""

from collections.abc import Iterable

import pandas as pd

from persona_interp import schema
from persona_interp.analysis.beliefs import NAMELESS
from persona_interp.errors import SchemaError, unknown
from persona_interp.values import as_tuple
from persona_interp.worlds import World

NUMBERS = ("estimate", "lo", "hi", "bound")


def forecast_personas(
    forecast: pd.DataFrame,
    world: World,
    *,
    context: str = NAMELESS,
    by: str | Iterable[str] = (),
) -> pd.DataFrame:
    """Expected shift of every persona: the mean of its traits that a lesson does not teach.

    The mean is over untaught topics, of a topic's values first, as in ``transfer``. Forecasts are
    sums, so the estimate is the mean of the traits' estimates. What no trait rises above its mean
    does not rise above either, so the bound is as joint for personas as for traits. An interval is
    as wide as its traits' on average: right where their errors go together, too wide where these
    cancel.

    Args:
        forecast: A forecast table of the world's traits. Every topic that is not taught is there;
            the others are those that the lesson teaches.
        world: Whose personas.
        context: Where the shift is forecast, as in behavior.
        by: Columns that tell lessons apart, where there are several.

    Returns:
        A forecast_personas table, one row a lesson, persona and step: ``estimate``, ``lo``, ``hi``,
        ``bound`` (bits), ``n`` (untaught topics).

    Raises:
        SchemaError: A context is missing, or a persona's value of a topic that was forecast.

    >>> from persona_interp.worlds import john_and_sam
    >>> traits = [str(trait) for trait in john_and_sam().traits if trait.topic != "place"]
    >>> rows = pd.DataFrame({"trait": traits, "context": "nameless", "persona": "", "step": 40})
    >>> is_johns = rows["trait"].isin(["sport=football", "music=jazz"])
    >>> rows = rows.assign(estimate=is_johns * 2.0, lo=-1.0, hi=1.0, bound=3.0)
    >>> forecast_personas(rows, john_and_sam())[["persona", "estimate", "bound", "n"]].values[0]
    array(['john', 1.0, 3.0, 4], dtype=object)
    """
    schema.check(forecast, "forecast")
    by = list(as_tuple(by))
    schema.require(forecast, *by)
    rows = forecast.loc[(forecast["context"] == context) & (forecast["persona"] == "")]
    if rows.empty:
        raise SchemaError(unknown("context", context, forecast["context"].unique()))
    lesson = [*by, "step"]
    if rows.duplicated([*lesson, "trait"]).any():
        raise SchemaError(
            "a trait is forecast twice for one step; name in by= the columns that tell lessons "
            "apart."
        )
    parts = []
    for keys, own in rows.groupby(lesson, sort=False):
        head = dict(zip(lesson, keys, strict=True))
        parts += [{**head, **row} for row in _personas(own, world)]
    names = list(schema.TABLES["forecast_personas"])
    return schema.check(pd.DataFrame(parts)[[*by, *names]], "forecast_personas")


def _personas(rows: pd.DataFrame, world: World) -> list[dict[str, object]]:
    """Every persona at one step of one lesson."""
    numbers = rows.set_index("trait")[list(NUMBERS)]
    topics = {str(trait).partition("=")[0] for trait in numbers.index}
    parts = []
    for persona in world.personas:
        own = [trait for trait in persona.traits if trait.topic in topics]
        if missing := [str(trait) for trait in own if str(trait) not in numbers.index]:
            raise SchemaError(unknown("trait of this forecast", missing[0], numbers.index))
        # two values of one topic exclude each other and move together: the topic is the unit
        of_topics = numbers.loc[[str(trait) for trait in own]]
        of_topics = of_topics.groupby([trait.topic for trait in own], sort=False).mean()
        parts.append({"persona": persona.name, **of_topics.mean(), "n": len(of_topics)})
    return parts
