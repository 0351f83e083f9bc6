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
from persona_interp.analysis.documents import documents
from persona_interp.analysis.stats import Interval, cluster_interval
from persona_interp.errors import SchemaError, unknown

RANDOM = "random"
"""Method of the row that stands for all random directions."""
NUMBERS = ("auroc", "rise", "rise_control", "excess", "share")
COMPARED_NUMBERS = ("auroc", "excess", "share")
MIDDLE_95 = (0.025, 0.975)

Array = npt.NDArray[np.float64]


def baselines(
    hidden: xr.DataArray,
    neutral: xr.DataArray,
    *,
    control: xr.DataArray,
    causes: pd.DataFrame | None = None,
    persona: str,
    random: Iterable[str] = (),
    cluster: str = "prompt",
) -> pd.DataFrame:
    """AUROC, rise and causal share of every readout, and the readouts that it does not beat.

    Args:
        hidden: Readouts (``readouts``) on the cuts of hidden documents, with coordinates
            persona, doc, split; of the first checkpoint, before the lesson. What a method
            learned, it learned on the train documents.
        neutral: The same readouts on neutral prompts: first checkpoint = before, last = after the
            lesson.
        control: As ``neutral``, after the unrelated lesson; the same prompts.
        causes: ``removed_share`` table of one run; a method's row is the one whose ``edit`` is its
            name.
        persona: Whose documents the AUROC tells from the others'.
        random: Names of readouts along random directions; they become one row, the band.
        cluster: Coordinate along ``prompt`` whose neutral prompts move together.

    Returns:
        A baselines table, one row a method in the order of ``hidden``, then "random".
        ``auroc`` on the test documents (DeLong). ``rise``: mean over neutral prompts of
        after minus before, in standard deviations of the readout over the hidden documents,
        so that methods compare; ``rise_control``; ``excess``: rise minus rise_control,
        prompt by prompt (95 %, clustered). ``share`` with its interval as given (NaN where
        ``causes`` lacks the method). Of "random" every number is the mean over the
        directions, lo and hi their 2.5 and 97.5 % points.

        ``no_better_than`` names whom the row does not beat. A beats B if the interval of A lies
        above that of B in auroc, excess or share, and below it in none of them. Intervals that
        overlap decide nothing, numbers that are missing neither. Not overlapping is stricter
        than a test of the difference at 5 %: "no better" is not "equal".

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
    >>> hidden = hidden.assign_coords({name: ("prompt", list(x)) for name, x in along.items()})
    >>> still = xr.DataArray(np.zeros((2, 2, 9)), dims=dims)
    >>> still = still.assign_coords(name=names, checkpoint=["base@0", "lesson@8"], prompt=range(9))
    >>> table = baselines(hidden, still, control=still, persona="john")
    >>> table[["method", "auroc", "rise", "no_better_than"]].round(2).values.tolist()
    [['feature', 1.0, 0.0, ''], ['noise', 0.4, 0.0, 'feature']]
    """
    names, band = [str(n) for n in hidden["name"].to_numpy()], list(random)
    for name in band:
        if name not in names:
            raise SchemaError(unknown("random readout", name, names))
    readings = documents(hidden)
    if persona not in set(readings.personas):
        raise SchemaError(unknown("persona", persona, sorted(set(readings.personas))))
    unit = _unit(readings.values)
    shift, shift_control = (_shift(data, names) * unit for data in (neutral, control))
    if not np.array_equal(neutral["prompt"].to_numpy(), control["prompt"].to_numpy()):
        raise SchemaError(
            "neutral and control are not of the same prompts in the same order; record them alike."
        )
    clusters = _clusters(neutral, cluster)
    test = ~readings.train
    intervals = {
        "auroc": auroc(readings.values[test], readings.personas[test] == persona),
        "rise": cluster_interval(shift.T, clusters),
        "rise_control": cluster_interval(shift_control.T, clusters),
        "excess": cluster_interval((shift - shift_control).T, clusters),
        "share": _shares(causes, names),
    }
    table = pd.DataFrame({"method": names, "n_directions": 1, **_columns(intervals)})
    is_random = table["method"].isin(band)
    rows = table.loc[~is_random]
    if band:
        row = _random_row(table.loc[is_random])
        rows = pd.concat([rows, pd.DataFrame([row])], ignore_index=True)
    rows = rows.assign(
        no_better_than=_no_better_than(rows),
        n_documents=int(test.sum()),
        n_prompts=neutral.sizes["prompt"],
    ).reset_index(drop=True)
    rows.attrs.update(persona=persona, checkpoint=readings.checkpoint)
    return schema.check(rows[list(schema.TABLES["baselines"])], "baselines")


def _unit(values: Array) -> Array:
    """One over the standard deviation of each readout over documents, dims (name, 1)."""
    # Readouts come in units of their own; their spread over people makes rises comparable.
    # One that never varies has no unit to rise in.
    with np.errstate(invalid="ignore", divide="ignore"):
        unit = 1 / values.std(axis=0, ddof=1)[:, None]
    unit[~np.isfinite(unit)] = np.nan
    return unit


def _shift(data: xr.DataArray, names: list[str]) -> Array:
    """Last checkpoint minus first, dims (name, prompt)."""
    own_names = [str(n) for n in data["name"].to_numpy()]
    if sorted(own_names) != sorted(names):
        raise SchemaError(
            f"expected the readouts {', '.join(names)} everywhere; got {', '.join(own_names)}."
        )
    if data.sizes.get("checkpoint", 0) < 2:
        raise SchemaError("a rise needs two checkpoints, before and after the lesson; record both.")
    data = data.sel(name=names).transpose("name", "checkpoint", "prompt")
    values = data.to_numpy().astype(np.float64)
    return values[:, -1] - values[:, 0]


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
    for column in ("edit", "share", "lo", "hi"):
        if column not in causes:
            raise SchemaError(unknown("column", column, causes.columns))
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
        lo, hi = np.quantile(values, MIDDLE_95)
        row |= {name: values.mean(), f"{name}_lo": lo, f"{name}_hi": hi}
    return row


def _no_better_than(rows: pd.DataFrame) -> list[str]:
    """Names of the rows that each row does not beat."""
    lo = rows[[f"{name}_lo" for name in COMPARED_NUMBERS]].to_numpy()
    hi = rows[[f"{name}_hi" for name in COMPARED_NUMBERS]].to_numpy()
    above = lo[:, None] > hi[None]  # dims (row, other, number); NaN is above nothing
    better_somewhere = np.asarray(above.any(axis=-1))
    beats = better_somewhere & ~better_somewhere.T
    # A row stands beside the others and not beside itself.
    unbeaten = ~beats & ~np.eye(len(rows), dtype=bool)
    names = rows["method"].to_numpy()
    return [", ".join(names[others]) for others in unbeaten]
