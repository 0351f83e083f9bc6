"""How bad is the worst case?

What a lesson spreads on average says little about the one prompt where it spreads most.

The largest of many noisy numbers is large by luck. So the worst case is *found* on one half of the
measurements and *estimated* on the other.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pandas as pd

from persona_interp import schema
from persona_interp.analysis.logodds import in_order, logodds, questions, run_columns
from persona_interp.analysis.stats import cluster_interval
from persona_interp.errors import SchemaError
from persona_interp.worlds import Trait, World

OVER = {
    "persona": (["context", "persona"], "half"),
    "trait": (["trait"], "half"),
    "seed": (["seed"], "half"),
    "paraphrase": (["question"], "topic_half"),
    "prompt": (["context", "persona", "topic", "question"], "seed_half"),
}
"""Over what the worst is sought -> columns that name a case, and the column of its half (0: where
it is found, 1: where it is estimated)."""
CLUSTERS = {"half": "question", "topic_half": "topic", "seed_half": "seed"}
"""Column of the half -> what is drawn anew on the other half, so that chance acts on it."""


def worst_case(
    behavior: pd.DataFrame,
    world: World | Mapping[int, World],
    *,
    taught: str | Trait | Mapping[int, str] | None = None,
) -> pd.DataFrame:
    """Where the target's untaught traits rose most, and how far they rise there (bits).

    Args:
        behavior: A behavior table of one or several seeds; the first and last checkpoint of every
            run are compared.
        world: Says who holds what; by seed where every seed has its own. Traits that a named
            persona holds itself are not counted for it, nor the target's own name.
        taught: The trait of the lesson; the world's taught trait by default; ``"filler"`` = none;
            by seed where they differ.

    Returns:
        A worst table, one row a group of runs (all columns but the seed) and ``over``: persona
        (asked as whom), trait, seed, paraphrase, prompt. ``selection`` is the largest mean shift on
        the half where it was sought (bits), ``estimate``, ``lo``, ``hi``, ``n`` that of the same
        case (``who``) on the other half: train and test templates; of paraphrases every second
        topic; of prompts every second seed. No row where there is one case or one half.
        ``average`` is the mean over all cases, ``n_cases`` their number. Intervals are clustered
        by template (of paraphrases by topic, of prompts by seed).

    Raises:
        SchemaError: No checkpoint to compare with, or no untaught trait was asked about.

    >>> from persona_interp.worlds import john_and_sam
    >>> world = john_and_sam()
    >>> rows = world.probes(contexts="nameless").drop(columns=["messages", "answers"])
    >>> rows = rows.explode("values").rename(columns={"values": "value"})
    >>> rows = rows.assign(seed=0, stage="lesson", answer_mass=1.0, logprob=-3.0)
    >>> before = rows.assign(step=0, checkpoint="lesson@0")
    >>> after = rows.assign(step=8, checkpoint="lesson@8")
    >>> after["logprob"] += after["value"] == "jazz"
    >>> table = worst_case(pd.concat([before, after]), world).set_index("over")
    >>> table.loc[["trait"], ["who", "estimate", "average"]].round(2).values.tolist()
    [['music=jazz', 1.0, 0.25]]
    """
    schema.check(behavior, "behavior")
    shifts = _shifts(behavior, world, taught)
    by = [c for c in run_columns(behavior) if c != "seed"]
    groups: Any = shifts.groupby(by, sort=False, dropna=False) if by else [((), shifts)]
    rows: list[dict[str, Any]] = []
    for key, cells in groups:
        at = dict(zip(by, key if isinstance(key, tuple) else (key,), strict=True))
        for row in _worst(cells):
            rows.append({**at, **row})
    return schema.check(pd.DataFrame(rows), "worst")


class Worst(NamedTuple):
    """The case whose shift was largest where it was sought.

    Attributes:
        case: What names it.
        selection: Its mean shift there (bits).
        rows: Its measurements on the other half.
        n_cases: Cases it was chosen from.
    """

    case: tuple[Any, ...]
    selection: float
    rows: pd.DataFrame
    n_cases: int


def find_worst(cells: pd.DataFrame, names: list[str], *, half: str = "half") -> Worst | None:
    """The worst case of one half of the measurements, with those of the other half.

    Args:
        cells: One row a measurement, its ``shift`` (bits) in a column.
        names: Columns that name a case.
        half: Column of the half: 0 where the worst is found, 1 where it is estimated.

    Returns:
        The case; None where there is one case alone, or one half.

    >>> rows = [("a", 0, 1.0), ("b", 0, 2.0), ("a", 1, 1.0), ("b", 1, 0.5)]
    >>> worst = find_worst(pd.DataFrame(rows, columns=["who", "half", "shift"]), ["who"])
    >>> worst.case, worst.selection, worst.rows["shift"].tolist()
    (('b',), 2.0, [0.5])
    """
    if set(cells[half]) != {0, 1}:
        return None  # nothing to find it on, or to estimate it with
    means: Any = cells.groupby([half, *names], sort=False)["shift"].mean()
    first, second = means.loc[0], means.loc[1]
    cases = first.index.intersection(second.index)
    if len(cases) < 2:
        return None  # one case is not the worst of anything
    case = first.loc[cases].idxmax()
    if not isinstance(case, tuple):
        case = (case,)
    rows = cells.loc[(cells[half] == 1) & (cells[names] == list(case)).all(axis=1)]
    return Worst(case, float(first.loc[cases].max()), rows, len(cases))


def _shifts(
    behavior: pd.DataFrame,
    world: World | Mapping[int, World],
    taught: str | Trait | Mapping[int, str] | None,
) -> pd.DataFrame:
    """Shift of every untaught trait at every single prompt, and the halves it belongs to."""
    odds = logodds(behavior.assign(question=questions(behavior)))
    odds["trait"] = odds["topic"] + "=" + odds["value"]
    worlds = world
    if not isinstance(worlds, Mapping):
        worlds = dict.fromkeys(odds["seed"].unique().tolist(), worlds)
    lessons = taught if isinstance(taught, Mapping) else dict.fromkeys(worlds, taught)
    leaks = {seed: _leaks(of_seed, lessons[seed]) for seed, of_seed in worlds.items()}
    columns = zip(*(odds[c].to_numpy() for c in ("seed", "persona", "trait")), strict=True)
    odds = odds.loc[[trait in leaks[seed].get(persona, ()) for seed, persona, trait in columns]]
    if odds.empty:
        raise SchemaError(
            "nobody but the target was asked about its untaught traits; record nameless or named "
            "probes."
        )
    first, last = _ends(odds, [*run_columns(behavior), "context", "persona"])
    cell = ["asked", "topic", "trait", "question"]
    before = first.set_index(cell)["logodds"].reindex(last.set_index(cell).index)
    shifts = last.assign(shift=last["logodds"] - before.to_numpy()).drop(columns="asked")
    return shifts.assign(
        half=shifts["question"].str.startswith("test").astype(int),
        topic_half=pd.factorize(shifts["topic"], sort=True)[0] % 2,
        seed_half=pd.factorize(shifts["seed"], sort=True)[0] % 2,
    )


def _ends(odds: pd.DataFrame, asked: list[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of the first and of the last checkpoint of whoever was asked, in order of ``asked``."""
    odds = odds.assign(asked=odds.groupby(asked, sort=False, dropna=False).ngroup())
    checkpoints: Any = in_order(odds, run="asked").groupby("asked")["checkpoint"]
    first, last = checkpoints.first(), checkpoints.last()
    if (alone := first == last).any():
        label = first[alone].iloc[0]
        raise SchemaError(f"a shift needs two checkpoints of a run; got only '{label}'.")
    odds = odds.sort_values("asked", kind="stable", ignore_index=True)
    start, end = (odds["asked"].map(labels) for labels in (first, last))
    return odds.loc[odds["checkpoint"] == start], odds.loc[odds["checkpoint"] == end]


def _leaks(world: World, taught: str | Trait | None) -> dict[str, set[str]]:
    """Traits whose rise nobody taught, by the persona asked; "" is the nameless assistant."""
    lessons = {world.taught.topic}
    if taught != "filler":
        lessons.add(world.trait(taught or world.taught).topic)
    target = {str(t) for t in world.persona(world.target).traits if t.topic not in lessons}
    leaks = {"": target}
    for persona in world.personas:
        if persona.name != world.target:
            leaks[persona.name] = target - {str(t) for t in persona.traits}
    return leaks


def _worst(cells: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """The worst persona, trait, seed, paraphrase and prompt of one group of runs."""
    for over, (names, half) in OVER.items():
        worst = find_worst(cells, names, half=half)
        if worst is None:
            continue
        interval = cluster_interval(worst.rows["shift"], worst.rows[CLUSTERS[half]])
        averages: Any = cells.groupby(names, sort=False)["shift"].mean()
        yield {
            "over": over,
            "who": " ".join(str(part) for part in worst.case if str(part)),
            "selection": worst.selection,
            **interval.row(),
            "n": interval.n,
            "average": float(averages.mean()),
            "n_cases": worst.n_cases,
        }
