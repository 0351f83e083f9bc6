"""Does the dictionary say more than simpler readouts do: of who speaks, of what a lesson moved, of what causes it?"""

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
COMPARED = ("auroc", "excess", "share")
NUMBERS = ("auroc", "rise", "rise_control", "excess", "share")
RANGE = (0.025, 0.975)


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
    """Which readout knows the persona best, rises with the lesson most, and carries most of what the lesson did?

    Args:
        hidden: Readouts (``readouts``) on the cuts of hidden documents, with coordinates persona,
            doc, split; of the first checkpoint, before the lesson. What a method learned, it
            learned on the train documents.
        neutral: The same readouts on neutral prompts: first checkpoint = before, last = after the
            lesson.
        control: As ``neutral``, after the unrelated lesson; the same prompts.
        causes: ``removed_share`` table of one run; a method's row is the one whose ``edit`` is its
            name.
        persona: Whose documents the AUROC tells from the others'.
        random: Names of readouts along random directions; they become one row, the band.
        cluster: Coordinate along ``prompt`` whose neutral prompts move together.

    Returns:
        A baselines table, one row a method in the order of ``hidden``, then "random". ``auroc`` on
        the test documents (DeLong). ``rise``: mean over neutral prompts of after minus before, in
        standard deviations of the readout over the hidden documents, so that methods compare;
        ``rise_control``; ``excess``: rise minus rise_control, prompt by prompt (95 %, clustered).
        ``share`` with its interval as given (NaN where ``causes`` lacks the method). Of "random"
        every number is the mean over the directions, lo and hi their 2.5 and 97.5 % points.

        ``no_better_than`` names whom the row does not beat. A beats B if the interval of A lies
        above that of B in auroc, excess or share, and below it in none of them. Intervals that
        overlap decide nothing, numbers that are missing neither. Not overlapping is stricter than a
        test of the difference at 5 %: "no better" is not "equal".

    Raises:
        SchemaError: Other names, prompts or checkpoints than expected, an unknown persona or random
            name, or two rows of ``causes`` with one edit.

    >>> who, rng = np.array(["john", "mary"] * 20), np.random.default_rng(0)
    >>> along = {"persona": who, "doc": np.arange(40), "split": np.repeat(["train", "test"], 20)}
    >>> read = np.stack([(who == "john") + rng.normal(0, 0.1, 40), rng.normal(size=40)])[:, None]
    >>> dims, names = ("name", "checkpoint", "prompt"), {"name": ["feature", "noise"], "checkpoint": ["base@0"]}
    >>> hidden = xr.DataArray(read, dims=dims, coords={**names, **{c: ("prompt", x) for c, x in along.items()}})
    >>> still = xr.DataArray(np.zeros((2, 2, 9)), dims=dims)
    >>> still = still.assign_coords(name=names["name"], checkpoint=["base@0", "lesson@8"], prompt=np.arange(9))
    >>> table = baselines(hidden, still, control=still, persona="john")
    >>> table[["method", "auroc", "rise", "no_better_than"]].round(2).values.tolist()
    [['feature', 1.0, 0.0, ''], ['noise', 0.67, 0.0, 'feature']]
    """
    names, band = [str(n) for n in hidden["name"].to_numpy()], list(random)
    for name in band:
        if name not in names:
            raise SchemaError(unknown("random readout", name, names))
    found = documents(hidden)
    if persona not in set(found.personas):
        raise SchemaError(unknown("persona", persona, sorted(set(found.personas))))
    test, held = ~found.train, found.personas == persona
    with np.errstate(
        invalid="ignore", divide="ignore"
    ):  # a readout that never varies has no unit to rise in
        unit = 1 / found.values.std(axis=0, ddof=1)[:, None]
        unit[~np.isfinite(unit)] = np.nan
    moved, moved_control = (_moved(data, names) * unit for data in (neutral, control))
    if not np.array_equal(neutral["prompt"].to_numpy(), control["prompt"].to_numpy()):
        raise SchemaError(
            "neutral and control are not of the same prompts in the same order; record them alike."
        )
    groups = _groups(neutral, cluster)
    columns = {
        "auroc": auroc(found.values[test], held[test]),
        "rise": cluster_interval(moved.T, groups),
        "rise_control": cluster_interval(moved_control.T, groups),
        "excess": cluster_interval((moved - moved_control).T, groups),
        "share": _shares(causes, names),
    }
    table = pd.DataFrame({"method": names, "n_directions": 1, **_three(columns)})
    rows = table.loc[~table["method"].isin(band)]
    if band:
        of_band = _band(table.loc[table["method"].isin(band)])
        rows = pd.concat([rows, pd.DataFrame([of_band])], ignore_index=True)
    rows = rows.assign(
        no_better_than=_no_better(rows),
        n_documents=int(test.sum()),
        n_prompts=neutral.sizes["prompt"],
    ).reset_index(drop=True)
    rows.attrs.update(persona=persona, checkpoint=found.checkpoint)
    return schema.check(rows[list(schema.TABLES["baselines"])], "baselines")


def _moved(data: xr.DataArray, names: list[str]) -> npt.NDArray[np.float64]:
    """Last checkpoint minus first, dims (name, prompt)."""
    has = [str(n) for n in data["name"].to_numpy()]
    if sorted(has) != sorted(names):
        raise SchemaError(
            f"expected the readouts {', '.join(names)} everywhere; got {', '.join(has)}."
        )
    if data.sizes.get("checkpoint", 0) < 2:
        raise SchemaError("a rise needs two checkpoints, before and after the lesson; record both.")
    read = (
        data.sel(name=names).transpose("name", "checkpoint", "prompt").to_numpy().astype(np.float64)
    )
    return read[:, -1] - read[:, 0]


def _groups(data: xr.DataArray, cluster: str) -> npt.NDArray:
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


def _three(columns: Mapping[str, Interval]) -> dict[str, npt.NDArray[np.float64]]:
    """Estimate, lo and hi as columns of their own."""
    found = {}
    for name, (estimate, lo, hi, _) in columns.items():
        found |= {name: estimate, f"{name}_lo": lo, f"{name}_hi": hi}
    return found


def _band(rows: pd.DataFrame) -> dict[str, Any]:
    """One row for all random directions: mean and the middle 95 % of their estimates."""
    found: dict[str, Any] = {"method": RANDOM, "n_directions": len(rows)}
    for name in NUMBERS:
        values = rows[name].to_numpy(np.float64)
        found |= {
            name: values.mean(),
            **dict(zip((f"{name}_lo", f"{name}_hi"), np.quantile(values, RANGE), strict=True)),
        }
    return found


def _no_better(rows: pd.DataFrame) -> list[str]:
    """Whom each row does not beat, by name."""
    lo, hi = (rows[[f"{name}_{end}" for name in COMPARED]].to_numpy() for end in ("lo", "hi"))
    above = lo[:, None] > hi[None]  # dims (row, other, number); NaN is above nothing
    better = np.asarray(above.any(axis=-1))
    beats = better & ~better.T
    names = rows["method"].tolist()
    return [
        ", ".join(n for j, n in enumerate(names) if j != i and not beats[i, j])
        for i in range(len(names))
    ]
