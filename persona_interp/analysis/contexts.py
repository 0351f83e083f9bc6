"""How far does a lesson to the nameless assistant spread into every other context?"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from persona_interp import schema
from persona_interp.analysis.logodds import ASKED, blocks, chosen_split, pooled, run_columns
from persona_interp.analysis.shift import Step, check_same, compared
from persona_interp.analysis.stats import Interval, jackknife, t_interval
from persona_interp.errors import SchemaError
from persona_interp.worlds import Trait, World

LEAK, OWN, TAUGHT = "leak", "own", "taught"
WORSE = {LEAK: 1.0, OWN: -1.0, TAUGHT: 1.0}  # sign of what nobody wants in somebody else

Key = tuple[str, str, str]  # context, persona, topic


class _Moved(NamedTuple):
    """Shift of the log odds (bits) of one topic: by value, and by value with template i left out."""

    templates: tuple[str, ...]
    whole: dict[str, float]
    left: dict[str, npt.NDArray[np.float64]]


def contexts(
    behavior: pd.DataFrame,
    world: World,
    *,
    before: Step | None = None,
    after: Step | None = None,
    taught: str | Trait | None = None,
) -> pd.DataFrame:
    """How far did the lesson spread: into plain text, into named personas, into what is said about them?

    Three quantities, each a mean shift of log odds over topics: ``leak``, the target's untaught
    traits; ``own``, the persona's own traits (a named Mary must keep Mary's); ``taught``, the trait
    of the lesson. Where a persona shares a trait with the target, leak and loss would cancel: of
    everybody else those traits are left out of both. The target's ``own`` are all its untaught
    traits, and it has no leak. Untaught = of no topic that a lesson taught.

    Args:
        behavior: A behavior table with at least two checkpoints a run, on probes of this world.
        world: Says who holds what, and who is the target.
        before: A checkpoint's label or step; the first of the run by default.
        after: A label or step; the last of the run by default.
        taught: The trait of the lesson; the world's taught trait by default; ``"filler"`` = none.

    Returns:
        A contexts table, one row a run, context, persona and quantity that is defined: ``estimate``
        (bits, after minus before), ``lo``, ``hi`` (95 %, jackknife over templates, one left out in
        all topics at once), ``n`` templates. Contexts that name somebody get two more rows a
        quantity, over the personas that are not the target: ``"average"`` (t interval over
        personas, ``n`` personas) and ``"worst"``: the one with the largest leak or loss on the
        train templates (``who``), estimated on the test templates, so that it is not the worst by
        luck.

    Raises:
        SchemaError: As ``shift``; templates that differ between topics; no train or no test
            templates to find the worst with.
        WorldError: A persona or trait that is not of this world.

    >>> from persona_interp.worlds import john_and_sam
    >>> world = john_and_sam()
    >>> rows = world.probes(contexts="nameless").drop(columns=["messages", "answers"]).explode("values")
    >>> rows = rows.rename(columns={"values": "value"}).assign(seed=0, stage="lesson", answer_mass=1.0, logprob=-3.0)
    >>> after = rows.assign(logprob=np.where(rows["value"] == "jazz", -2.0, -3.0))
    >>> steps = [rows.assign(step=0, checkpoint="lesson@0"), after.assign(step=8, checkpoint="lesson@8")]
    >>> table = contexts(pd.concat(steps), world)  # one of four untaught traits moved by one bit
    >>> table[["context", "quantity", "estimate", "n"]].round(3).values.tolist()
    [['nameless', 'leak', 0.25, 10], ['nameless', 'taught', 0.0, 10]]
    """
    schema.check(behavior, "behavior")
    lesson = None if taught == "filler" else world.trait(world.taught if taught is None else taught)
    run, rows = run_columns(behavior), []
    for r, first, (last,) in compared(behavior, run, before=before, after=after):
        ours = behavior.loc[behavior.groupby(run, sort=False, dropna=False).ngroup() == r]
        at = {**ours[run].iloc[0].to_dict(), "checkpoint": last}
        wanted = _wanted(ours, world, lesson)
        whole = _moved(ours, first=first, last=last)
        found = {key: _mean(whole, *key[:2], traits=traits) for key, traits in wanted.items()}
        rows += [{**at, **_row(key, interval, who="")} for key, interval in found.items()]
        others = [key for key in wanted if key[1] not in ("", world.target)]
        if others:
            halves = {
                s: _moved(chosen_split(ours, s), first=first, last=last) for s in ("train", "test")
            }
            rows += [{**at, **row} for row in _over_personas(others, found, halves, wanted)]
    table = pd.DataFrame(rows)
    order = [*(c for c in schema.TABLES["contexts"] if c not in run), "checkpoint"]
    return schema.check(table[[*run, *order]], "contexts")


def _row(key: Key, interval: Interval, *, who: str) -> dict[str, Any]:
    numbers = dict(zip(("estimate", "lo", "hi", "n"), map(float, interval), strict=True))
    return {
        **dict(zip(("context", "persona", "quantity"), key, strict=True)),
        **numbers,
        "n": interval.n,
        "who": who,
    }


def _wanted(
    behavior: pd.DataFrame, world: World, lesson: Trait | None
) -> dict[Key, tuple[Trait, ...]]:
    """Which traits make up each quantity? By context, persona and quantity; empty ones are left out."""
    lessons = {world.taught.topic, *([lesson.topic] if lesson else [])}
    target = [t for t in world.persona(world.target).traits if t.topic not in lessons]
    found: dict[Key, tuple[Trait, ...]] = {}
    for context, name in behavior[["context", "persona"]].drop_duplicates().itertuples(index=False):
        held = world.persona(name).traits if name else ()
        own = [t for t in held if t.topic not in lessons]
        if name == world.target:
            quantities = {OWN: own}
        else:
            leaked, kept = [t for t in target if t not in held], [t for t in own if t not in target]
            quantities = {LEAK: leaked, OWN: kept}
        quantities[TAUGHT] = [lesson] if lesson and lesson not in held else []
        found |= {
            (context, name, quantity): tuple(traits)
            for quantity, traits in quantities.items()
            if traits
        }
    return found


def _moved(behavior: pd.DataFrame, *, first: str, last: str) -> dict[Key, _Moved]:
    """Shifts by context, persona and topic; templates are named alike in every topic."""
    rows = behavior.loc[behavior["checkpoint"].isin([first, last])].reset_index(drop=True)
    rows = rows.assign(prompt=rows["split"] + ": " + rows["template"])
    labels, asked = rows["checkpoint"].to_numpy(), list(zip(*(rows[c] for c in ASKED), strict=True))
    found: dict[str, dict[Key, Any]] = {first: {}, last: {}}
    for block in blocks(rows, ["checkpoint", *ASKED]):
        found[labels[block.row]][asked[block.row]] = block
    check_same(found[first], found[last], first=first, last=last)
    moved = {}
    for key, end in found[last].items():
        start, n = found[first][key], len(end.prompts)
        rest = np.array([[j for j in range(n) if j != i] for i in range(n)], dtype=int)
        with np.errstate(
            invalid="ignore"
        ):  # inf - inf: a move between two certainties is undefined
            whole = pooled(end.logprob)[1] - pooled(start.logprob)[1]
            left = (
                pooled(end.logprob[rest])[1] - pooled(start.logprob[rest])[1]
                if n > 1
                else np.empty((0, len(whole)))
            )
        by_value = dict(zip(end.values, whole.tolist(), strict=True))
        moved[key] = _Moved(end.prompts, by_value, dict(zip(end.values, left.T, strict=True)))
    return moved


def _mean(
    moved: Mapping[Key, _Moved], context: str, persona: str, *, traits: Iterable[Trait]
) -> Interval:
    """Mean shift of these traits over topics; a topic with two values counts once."""
    by_topic: dict[str, list[str]] = {}
    for trait in traits:
        by_topic.setdefault(trait.topic, []).append(trait.value)
    parts, whole, left = [], [], []
    for topic, values in by_topic.items():
        part = moved.get((context, persona, topic))
        if part is None or not set(values) <= set(part.whole):
            raise SchemaError(
                f"context={context}, persona={persona or 'nobody'} was not asked about "
                f"{topic}={values[0]}; record "
                "probes of this world."
            )
        parts.append(part)
        whole.append(np.mean([part.whole[v] for v in values]))
        left.append(np.mean([part.left[v] for v in values], axis=0))
    if len({part.templates for part in parts}) > 1:
        raise SchemaError(
            f"the topics of context={context}, persona={persona or 'nobody'} were asked with "
            "different templates; a "
            "template is left out in all topics at once, so record probes of this world with all "
            "of them."
        )
    return jackknife(np.mean(whole), np.mean(left, axis=0))


def _over_personas(
    others: Iterable[Key],
    found: Mapping[Key, Interval],
    halves: Mapping[str, Mapping[Key, _Moved]],
    wanted: Mapping[Key, tuple[Trait, ...]],
) -> Iterator[dict[str, Any]]:
    """Rows "average" and "worst" of every context and quantity."""
    groups: dict[tuple[str, str], list[Key]] = {}
    for key in others:
        groups.setdefault((key[0], key[2]), []).append(key)
    for (context, quantity), keys in groups.items():
        average = t_interval([float(found[key].estimate) for key in keys])
        yield _row((context, "average", quantity), average, who="")
        on_train = [
            float(_mean(halves["train"], *key[:2], traits=wanted[key]).estimate) for key in keys
        ]
        worst = keys[int(np.argmax(WORSE[quantity] * np.array(on_train)))]
        on_test = _mean(halves["test"], *worst[:2], traits=wanted[worst])
        yield _row((context, "worst", quantity), on_test, who=worst[1])
