"""How far does a lesson to the nameless assistant spread into every other context?"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import compress
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from persona_interp import schema
from persona_interp.analysis.logodds import (
    ASKED,
    Block,
    blocks,
    chosen_split,
    prompt_odds,
    questions,
    run_columns,
)
from persona_interp.analysis.shift import Step, check_same, compared
from persona_interp.analysis.stats import Interval, t_interval
from persona_interp.errors import SchemaError
from persona_interp.schema.words import AVERAGE, WORST
from persona_interp.worlds import Trait, World

LEAK, OWN, TAUGHT = "leak", "own", "taught"
WORSE = {LEAK: 1.0, OWN: -1.0, TAUGHT: 1.0}
"""Sign of the shift that nobody wants in somebody else."""

Key = tuple[str, str, str]
"""Context, persona, and topic or quantity."""


class _Shift(NamedTuple):
    """Shift of the log odds (bits) of one topic by value, dims (template)."""

    templates: tuple[str, ...]
    values: dict[str, npt.NDArray[np.float64]]


def contexts(
    behavior: pd.DataFrame,
    world: World,
    *,
    before: Step | None = None,
    after: Step | None = None,
    taught: str | Trait | None = None,
) -> pd.DataFrame:
    """Shift of the target's, the own and the taught traits in every context, in bits.

    Three quantities, each a mean shift of log odds over topics: ``leak``, the target's
    untaught traits; ``own``, the persona's own traits (a named Mary must keep Mary's);
    ``taught``, the trait of the lesson. Where a persona shares a trait with the target,
    leak and loss would cancel: of everybody else those traits are left out of both. The
    target's ``own`` are all its untaught traits, and it has no leak. Untaught = of no
    topic that a lesson taught.

    Args:
        behavior: A behavior table with at least two checkpoints a run, on probes of this world.
        world: Says who holds what, and who is the target.
        before: A checkpoint's label or step; the first of the run by default.
        after: A label or step; the last of the run by default.
        taught: The trait of the lesson; the world's taught trait by default; ``"filler"`` = none.

    Returns:
        A contexts table, one row a run, context, persona and quantity that is defined:
        ``estimate`` (bits, after minus before; the mean over templates, as in ``shift``), ``lo``,
        ``hi`` (95 %, t interval over templates, each in all topics at once), ``n`` templates.
        Contexts that name somebody get two more rows a quantity, over the personas that are not the
        target: ``"average"`` (t interval over personas, ``n`` personas) and ``"worst"``: the one
        with the largest leak or loss on the train templates (``who``), estimated on the test
        templates, so that it is not the worst by luck.

    Raises:
        SchemaError: As ``shift``; templates that differ between topics; no train or no test
            templates to find the worst with.
        WorldError: A persona or trait that is not of this world.

    >>> from persona_interp.worlds import john_and_sam
    >>> world = john_and_sam()
    >>> rows = world.probes(contexts="nameless").drop(columns=["messages", "answers"])
    >>> rows = rows.explode("values").rename(columns={"values": "value"})
    >>> rows = rows.assign(seed=0, stage="lesson", answer_mass=1.0, logprob=-3.0)
    >>> before = rows.assign(step=0, checkpoint="lesson@0")
    >>> after = rows.assign(step=8, checkpoint="lesson@8")
    >>> after["logprob"] = np.where(rows["value"] == "jazz", -2.0, -3.0)  # one of four untaught
    >>> table = contexts(pd.concat([before, after]), world)
    >>> table[["context", "quantity", "estimate", "n"]].round(3).values.tolist()
    [['nameless', 'leak', 0.25, 10], ['nameless', 'taught', 0.0, 10]]
    """
    schema.check(behavior, "behavior")
    lesson = _lesson(world, taught)
    run, rows = run_columns(behavior), []
    for r, first, (last,) in compared(behavior, run, before=before, after=after):
        own = behavior.loc[behavior.groupby(run, sort=False, dropna=False).ngroup() == r]
        head = {**own[run].iloc[0].to_dict(), "checkpoint": last}
        quantities = _quantities(own, world, lesson)
        shifts = _shifts(own, first=first, last=last)
        intervals = {}
        for key, traits in quantities.items():
            intervals[key] = _mean_shift(shifts, *key[:2], traits=traits)
            rows.append({**head, **_row(key, intervals[key], who="")})
        others = [key for key in quantities if key[1] not in ("", world.target)]
        if others:
            halves = {split: _half(shifts, own, split) for split in ("train", "test")}
            for row in _over_personas(others, intervals, halves, quantities):
                rows.append({**head, **row})
    table = pd.DataFrame(rows)
    order = [*(c for c in schema.TABLES["contexts"] if c not in run), "checkpoint"]
    return schema.check(table[[*run, *order]], "contexts")


def _lesson(world: World, taught: str | Trait | None) -> Trait | None:
    """Trait that the lesson taught; None of a lesson without one."""
    if taught == "filler":
        return None
    return world.trait(world.taught if taught is None else taught)


def _row(key: Key, interval: Interval, *, who: str) -> dict[str, Any]:
    """One row of the table without the columns of its run."""
    row: dict[str, Any] = dict(zip(("context", "persona", "quantity"), key, strict=True))
    for name in ("estimate", "lo", "hi"):
        row[name] = float(getattr(interval, name))
    return {**row, "n": interval.n, "who": who}


def _quantities(
    behavior: pd.DataFrame, world: World, lesson: Trait | None
) -> dict[Key, tuple[Trait, ...]]:
    """Traits of each quantity, by context, persona and quantity; those without any are left out."""
    lessons = {world.taught.topic}
    if lesson:
        lessons.add(lesson.topic)
    target = [t for t in world.persona(world.target).traits if t.topic not in lessons]
    quantities: dict[Key, tuple[Trait, ...]] = {}
    for context, name in behavior[["context", "persona"]].drop_duplicates().itertuples(index=False):
        traits = world.persona(name).traits if name else ()
        own = [t for t in traits if t.topic not in lessons]
        if name == world.target:
            by_quantity = {OWN: own}
        else:
            # A trait of both would count as leak and as loss at once, and they would cancel.
            by_quantity = {
                LEAK: [t for t in target if t not in traits],
                OWN: [t for t in own if t not in target],
            }
        by_quantity[TAUGHT] = [lesson] if lesson and lesson not in traits else []
        for quantity, members in by_quantity.items():
            if members:
                quantities[context, name, quantity] = tuple(members)
    return quantities


def _shifts(behavior: pd.DataFrame, *, first: str, last: str) -> dict[Key, _Shift]:
    """Shifts by context, persona and topic; templates are named alike in every topic."""
    rows = behavior.loc[behavior["checkpoint"].isin([first, last])].reset_index(drop=True)
    rows = rows.assign(prompt=questions(rows))
    labels = rows["checkpoint"].to_numpy()
    keys = list(zip(*(rows[c].to_numpy() for c in ASKED), strict=True))
    by_checkpoint: dict[str, dict[Key, Block]] = {first: {}, last: {}}
    for block in blocks(rows, ["checkpoint", *ASKED]):
        by_checkpoint[labels[block.row]][keys[block.row]] = block
    check_same(by_checkpoint[first], by_checkpoint[last], first=first, last=last)
    shifts = {}
    for key, end in by_checkpoint[last].items():
        shifts[key] = _shift(by_checkpoint[first][key], end)
    return shifts


def _half(shifts: Mapping[Key, _Shift], behavior: pd.DataFrame, split: str) -> dict[Key, _Shift]:
    """Those of the shifts that are of this template split."""
    rows = chosen_split(behavior, split)
    names = set(questions(rows).unique())
    half = {}
    for key, shift in shifts.items():
        mask = [name in names for name in shift.templates]
        if any(mask):
            templates = tuple(compress(shift.templates, mask))
            values = {value: moved[mask] for value, moved in shift.values.items()}
            half[key] = _Shift(templates, values)
    return half


def _shift(start: Block, end: Block) -> _Shift:
    """Shift of one topic between two checkpoints."""
    with np.errstate(invalid="ignore"):  # inf - inf: a move between two certainties is undefined
        shift = prompt_odds(end.logprob) - prompt_odds(start.logprob)
    return _Shift(end.prompts, dict(zip(end.values, shift.T, strict=True)))


def _mean_shift(
    shifts: Mapping[Key, _Shift], context: str, persona: str, *, traits: Iterable[Trait]
) -> Interval:
    """Mean shift of these traits over topics; a topic with two values counts once."""
    by_topic: dict[str, list[str]] = {}
    for trait in traits:
        by_topic.setdefault(trait.topic, []).append(trait.value)
    parts, shifts_of_topics = [], []
    for topic, values in by_topic.items():
        part = shifts.get((context, persona, topic))
        if part is None or not set(values) <= set(part.values):
            raise SchemaError(
                f"context={context}, persona={persona or 'nobody'} was not asked about "
                f"{topic}={values[0]}; record probes of this world."
            )
        parts.append(part)
        shifts_of_topics.append(np.mean([part.values[v] for v in values], axis=0))
    # A template is one unit in all topics at once: wording is what varies.
    if len({part.templates for part in parts}) > 1:
        raise SchemaError(
            f"the topics of context={context}, persona={persona or 'nobody'} were asked with "
            "different templates; a template is one unit in all topics at once, so record probes "
            "of this world with all of them."
        )
    return t_interval(np.mean(shifts_of_topics, axis=0))


def _over_personas(
    others: Iterable[Key],
    intervals: Mapping[Key, Interval],
    halves: Mapping[str, Mapping[Key, _Shift]],
    quantities: Mapping[Key, tuple[Trait, ...]],
) -> Iterator[dict[str, Any]]:
    """Rows "average" and "worst" of every context and quantity."""
    groups: dict[tuple[str, str], list[Key]] = {}
    for key in others:
        groups.setdefault((key[0], key[2]), []).append(key)
    for (context, quantity), keys in groups.items():
        average = t_interval([float(intervals[key].estimate) for key in keys])
        yield _row((context, AVERAGE, quantity), average, who="")
        # The largest of several noisy numbers is too large. Half of the templates say who
        # is worst, the other half how much.
        on_train = []
        for key in keys:
            shift = _mean_shift(halves["train"], *key[:2], traits=quantities[key])
            on_train.append(float(shift.estimate))
        worst = keys[int(np.argmax(WORSE[quantity] * np.array(on_train)))]
        on_test = _mean_shift(halves["test"], *worst[:2], traits=quantities[worst])
        yield _row((context, WORST, quantity), on_test, who=worst[1])
