"""Does the dictionary say more than simpler readouts do?

Of who speaks, of what a lesson moved, and of what causes it.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from persona_interp import schema
from persona_interp.analysis.auroc import auroc
from persona_interp.analysis.ceiling import CEILING
from persona_interp.analysis.nulls import chance_range
from persona_interp.analysis.pairs import RANDOM, pairs, read_documents
from persona_interp.analysis.stats import Interval, cluster_interval
from persona_interp.errors import SchemaError, unknown
from persona_interp.schema.words import ALPHA
from persona_interp.values import as_tuple
from persona_interp.worlds import World

NUMBERS = ("auroc", "auroc_same", "rise", "rise_control", "excess", "share")

Array = npt.NDArray[np.float64]


def baselines(
    hidden: xr.DataArray,
    neutral: xr.DataArray,
    *,
    control: xr.DataArray,
    persona: str,
    causes: pd.DataFrame | None = None,
    world: World | None = None,
    random: Iterable[str] = (),
    topics: Iterable[str] | None = None,
    cluster: str = "prompt",
) -> pd.DataFrame:
    """AUROC, rise and causal share of every readout, and the readouts that it does not beat.

    Args:
        hidden: Readouts (``readouts``) on the cuts of hidden documents, with coordinates
            persona, doc, split, stated; of the first checkpoint, before the lesson. What a method
            learned, it learned on the documents to be chosen on (``parts``).
        neutral: The same readouts on neutral prompts: first checkpoint = before, last = after the
            lesson.
        control: As ``neutral``, after the unrelated lesson; the same prompts.
        persona: Whose documents the AUROC tells from the others'.
        causes: ``removed_share`` table of one run; a method's row is the one whose ``edit`` is its
            name.
        world: The world that wrote the documents; with it exact Bayes has a row, the ceiling.
        random: Names of readouts along random directions; they become one row, the band.
        topics: Topics that were chosen on, see ``parts``.
        cluster: Coordinate along ``prompt`` whose neutral prompts move together.

    Returns:
        A baselines table, one row a method in the order of ``hidden``, then "exact Bayes", then
        "random". ``auroc`` on test documents that state other topics, ``auroc_same`` on those that
        state the topics chosen on. ``rise``: mean over neutral prompts of after minus
        before; its unit is the standard deviation of the readout over hidden documents and neutral
        prompts before, after the lesson and after the control, each of the four with equal weight,
        so that methods compare and none can rise by more than 2.31: over documents alone the unit
        of a feature that hardly ever fires there is tiny. ``rise_control``; ``excess``: rise minus
        rise_control, prompt by prompt (95 %, clustered). ``share`` with its interval as given (NaN
        where ``causes`` lacks the method). Of "random" every number is the mean over the
        directions, lo and hi their 2.5 and 97.5 % points.

        ``no_better_than`` names whom the row does not beat in AUROC on documents about other
        topics: A beats B where the difference, paired by document (``pairs``), is above 0 at q
        0.05. "random" is there the best of the random directions. Rise, excess and share stand
        beside it and decide nothing: they say what moved and what causes, not what is known.

    Raises:
        SchemaError: Other names, prompts or checkpoints than expected, an unknown persona
            or random name, or two rows of ``causes`` with one edit.

    >>> who, rng = np.array(["john", "mary"] * 40), np.random.default_rng(0)
    >>> noise = rng.normal(0, 0.1, 80)
    >>> values = np.stack([(who == "john") + noise, rng.normal(size=80)])[:, None]
    >>> dims, names = ("name", "checkpoint", "prompt"), ["feature", "noise"]
    >>> hidden = xr.DataArray(values, dims=dims)
    >>> hidden = hidden.assign_coords(name=names, checkpoint=["base@0"])
    >>> along = {"persona": who, "doc": range(80), "split": np.repeat(["train", "test"], 40)}
    >>> along |= {"stated": np.tile(np.repeat(["art=op", "food=rice"], 20), 2)}
    >>> hidden = hidden.assign_coords({name: ("prompt", list(x)) for name, x in along.items()})
    >>> still = xr.DataArray(np.zeros((2, 2, 9)), dims=dims)
    >>> still = still.assign_coords(name=names, checkpoint=["base@0", "lesson@8"], prompt=range(9))
    >>> table = baselines(hidden, still, control=still, persona="john")
    >>> table[["method", "rise", "no_better_than"]].values.tolist()
    [['feature', 0.0, ''], ['noise', 0.0, 'feature']]
    """
    names, band = [str(n) for n in hidden["name"].to_numpy()], list(as_tuple(random))
    rivals = pairs(hidden, persona=persona, world=world, random=band, topics=topics)
    readings = read_documents(hidden, world=world, persona=persona, topics=topics)
    methods = [str(name) for name in readings.readings]
    before, after = _ends(neutral, names)
    _, after_control = _ends(control, names)
    if not np.array_equal(neutral["prompt"].to_numpy(), control["prompt"].to_numpy()):
        raise SchemaError(
            "neutral and control are not of the same prompts in the same order; record them alike."
        )
    unit = _unit(readings.values[:, : len(names)].T, before, after, after_control)
    shift, shift_control = (after - before) * unit, (after_control - before) * unit
    clusters = _clusters(neutral, cluster)
    owned = readings.personas == persona
    values, other, same = readings.values, readings.other, readings.same
    columns = {
        "auroc": auroc(values[other], owned[other]),
        "auroc_same": auroc(values[same], owned[same]),
        "share": _shares(causes, methods),
    }
    moved = {
        "rise": cluster_interval(shift.T, clusters),
        "rise_control": cluster_interval(shift_control.T, clusters),
        "excess": cluster_interval((shift - shift_control).T, clusters),
    }
    table = pd.DataFrame({"method": methods, "n_directions": 1, **_columns(columns)})
    # what the documents state is no reading of a model, so exact Bayes does not rise
    table = table.merge(pd.DataFrame({"method": names, **_columns(moved)}), on="method", how="left")
    is_random = table["method"].isin(band)
    rows = table.loc[~is_random]
    if band:
        row = _random_row(table.loc[is_random])
        rows = pd.concat([rows, pd.DataFrame([row])], ignore_index=True)
    rows = rows.assign(
        no_better_than=_no_better_than(rivals, rows["method"].tolist()),
        n_documents=int(other.sum()),
        n_prompts=neutral.sizes["prompt"],
    ).reset_index(drop=True)
    rows.attrs.update(persona=persona, checkpoint=readings.checkpoint)
    return schema.check(rows[list(schema.TABLES["baselines"])], "baselines")


def _unit(*groups: Array) -> Array:
    """One over the standard deviation of each readout, dims (name, 1).

    Every group, dims (name, reading), has the same weight, however many readings it has.
    """
    # Readouts come in units of their own; their spread over people and lessons makes rises
    # comparable. One that never varies has no unit to rise in.
    center = np.mean([group.mean(axis=1) for group in groups], axis=0)[:, None]
    variance = np.mean([((group - center) ** 2).mean(axis=1) for group in groups], axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        unit = 1 / np.sqrt(variance)[:, None]
    unit[~np.isfinite(unit)] = np.nan
    return unit


def _ends(data: xr.DataArray, names: list[str]) -> tuple[Array, Array]:
    """Readouts at the first and at the last checkpoint, dims (name, prompt)."""
    own_names = [str(n) for n in data["name"].to_numpy()]
    if sorted(own_names) != sorted(names):
        raise SchemaError(
            f"expected the readouts {', '.join(names)} everywhere; got {', '.join(own_names)}."
        )
    if data.sizes.get("checkpoint", 0) < 2:
        raise SchemaError("a rise needs two checkpoints, before and after the lesson; record both.")
    data = data.sel(name=names).transpose("name", "checkpoint", "prompt")
    values = data.to_numpy().astype(np.float64)
    return values[:, 0], values[:, -1]


def _clusters(data: xr.DataArray, cluster: str) -> npt.NDArray:
    """Cluster of every prompt."""
    along = [str(name) for name, c in data.coords.items() if c.dims == ("prompt",)]
    if cluster not in along:
        raise SchemaError(unknown("coordinate along prompt", cluster, along))
    return data[cluster].to_numpy()


def _shares(causes: pd.DataFrame | None, names: list[str]) -> Interval:
    """Estimate, lo and hi of every name; NaN where there is none."""
    if causes is None:
        missing = np.full(len(names), np.nan)
        return Interval(missing, missing, missing, 0)
    schema.require(causes, "edit", "share", "lo", "hi")
    twice = causes["edit"][causes["edit"].duplicated()].tolist()
    if twice:
        raise SchemaError(
            f"edit {twice[0]!r} has several rows; give the causes of one run, or their mean over "
            "seeds."
        )
    rows = causes.set_index("edit").reindex(names)
    share, lo, hi = (rows[column].to_numpy(np.float64) for column in ("share", "lo", "hi"))
    return Interval(share, lo, hi, len(rows))


def _columns(intervals: Mapping[str, Interval]) -> dict[str, Array]:
    """Estimate, lo and hi as columns of their own."""
    columns = {}
    for name, (estimate, lo, hi, _) in intervals.items():
        columns |= {name: estimate, f"{name}_lo": lo, f"{name}_hi": hi}
    return columns


def _random_row(rows: pd.DataFrame) -> dict[str, Any]:
    """One row for all random directions: mean and the middle 95 % of their estimates."""
    row: dict[str, Any] = {"method": RANDOM, "n_directions": len(rows)}
    for name in NUMBERS:
        values = rows[name].to_numpy(np.float64)
        lo, hi = chance_range(values)
        row |= {name: values.mean(), f"{name}_lo": lo, f"{name}_hi": hi}
    return row


def _no_better_than(rivals: pd.DataFrame, methods: list[str]) -> list[str]:
    """Names of the methods that each one does not beat."""
    beaten = rivals.loc[(rivals["q"] <= ALPHA) & (rivals["estimate"] > 0)]
    texts = []
    for method in methods:
        below = set(beaten.loc[beaten["method"] == method, "other"])
        # that nobody knows better than the ceiling is no news
        unbeaten = [other for other in methods if other not in {method, CEILING, *below}]
        texts.append(", ".join(unbeaten))
    return texts
