"""How do features, projections and traits move along a training?"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from persona_interp import schema
from persona_interp.analysis.features import prompt_clusters
from persona_interp.analysis.flips import enough_flips, sign_flip
from persona_interp.analysis.logodds import ASKED, blocks, prompt_odds, questions
from persona_interp.analysis.measurements import measure_answers, measure_behavior
from persona_interp.analysis.panels import CLUSTER, Panel, check_measurements, panels
from persona_interp.analysis.stats import benjamini_hochberg, cluster_interval
from persona_interp.analysis.traits import trait_scores
from persona_interp.errors import SchemaError, excerpt, unknown
from persona_interp.schema.words import Family, Unit
from persona_interp.values import is_number

UNITS = {
    Family.FEATURE: Unit.ACTIVATION,
    Family.PROJECTION: Unit.RESIDUAL,
    Family.BEHAVIOR: Unit.BITS_A_TOKEN,
    Family.ANSWERS: Unit.BITS_A_TOKEN,
}
KINDS = ("measurements", "projections", "trait_scores", "continuations", "trait_bits", "behavior")
"""Tables that are read, by their columns; those with more columns first."""
STEP = re.compile(r".*@(\d+)")


class _Reading(NamedTuple):
    """A panel, with what its numbers are."""

    panel: Panel
    unit: str
    fvu: Mapping[str, float]
    """By checkpoint; empty where no dictionary stands between."""


def over_checkpoints(
    *tables: xr.Dataset | pd.DataFrame,
    steps: Mapping[str, int] | None = None,
    cluster: str = "",
    n_flips: int | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """How far everything that was recorded moved from the first checkpoint, at every later one.

    After minus before, prompt by prompt: the sign of ``shift`` and ``feature_shift``. p is theirs
    too, a flip of signs under the null that both checkpoints are exchangeable at these prompts; q
    is corrected over everything in the call: all kinds, things and checkpoints. A discovery says
    that this training moved it; every finetune moves much, and what a lesson did is a question for
    ``effects``, beside control lessons.

    Args:
        *tables: What was recorded on one training: Datasets of ``record.features``, tables of
            ``record.projections``, ``continuations`` (or their ``trait_scores``), ``trait_bits`` or
            ``behavior``, or measurements.
        steps: Step by label of a checkpoint, where neither table nor label ("lesson@8") says it.
        cluster: Coordinate along ``prompt``, or column, whose prompts or questions move together;
            by default each is its own.
        n_flips: Random sign flips at most; by default as many as let a lone one survive the
            correction.
        seed: Of the flips.

    Returns:
        An over_checkpoints table, one row a kind, hook, name and checkpoint, in order of step:
        ``estimate`` with ``lo``, ``hi`` (95 % at fixed weights, clustered by prompt or question,
        ``n_clusters`` of them) in ``unit``; ``p``, ``q``; ``fvu`` of the dictionary at this
        checkpoint (NaN where there is none). The first checkpoint is the line's start: its estimate
        is 0 and untested. Features silent there and here are untested too; those silent everywhere
        are left out. ``n_seeds`` is 1: for several trainings, ``across_seeds`` over their tables.

    Raises:
        SchemaError: A table of another kind, a value that is no finite number, other prompts at one
            checkpoint than at another, or checkpoints without an order: an unknown step, two at
            one step, or steps of two stages.

    >>> rng = np.random.default_rng(0)
    >>> act = 3 + rng.normal(0, 0.1, (3, 20, 2))
    >>> act[2, :, 1] += 2  # feature 1 moves between steps 8 and 16
    >>> data = xr.Dataset({"act": (("checkpoint", "prompt", "feature"), act)})
    >>> data = data.assign(fvu=(("checkpoint", "prompt"), np.full((3, 20), 0.1)))
    >>> data = data.assign_coords(checkpoint=["lesson@0", "lesson@8", "lesson@16"])
    >>> data = data.assign_coords(prompt=np.arange(20).astype(str), feature=[0, 1])
    >>> table = over_checkpoints(data)
    >>> table.loc[table["q"] <= 0.05, ["name", "step", "estimate"]].round(1).values.tolist()
    [['1', 16, 2.0]]
    """
    if not tables:
        raise SchemaError("no table of a training; give features, projections or trait scores.")
    readings = [reading for table in tables for reading in _read(table, cluster)]
    at = _steps(tables, readings, steps)
    firsts = {min(reading.panel.values, key=at.__getitem__) for reading in readings}
    if len(firsts) > 1:
        raise SchemaError(
            f"these tables start at different checkpoints, {' and '.join(sorted(firsts))}; record "
            "all on the same ones, because changes are from the first."
        )
    n_tests = sum(
        reading.panel.n_quantities * (len(reading.panel.values) - 1) for reading in readings
    )
    flips = n_flips or enough_flips(n_tests)
    parts = [_moves(reading, at, n_flips=flips, seed=seed) for reading in readings]
    table = pd.concat(parts, ignore_index=True)
    table = table.assign(q=benjamini_hochberg(table["p"]))
    table.attrs.update(before=firsts.pop(), n_flips=flips, seed=seed)
    columns = list(schema.TABLES["over_checkpoints"])
    return schema.check(table[columns], "over_checkpoints")


def _read(table: xr.Dataset | pd.DataFrame, cluster: str) -> Iterator[_Reading]:
    """Panels of a table of any kind."""
    if isinstance(table, xr.Dataset):
        yield _read_features(table, cluster or "prompt")
        return
    kinds = [kind for kind in KINDS if set(schema.TABLES[kind]) <= set(table.columns)]
    if not kinds:
        raise SchemaError(
            "over_checkpoints reads features, projections, continuations, trait_scores, "
            "trait_bits, behavior or measurements; none of them has exactly the columns "
            f"{excerpt(list(map(str, table.columns)))}."
        )
    kind = kinds[0]
    if cluster and cluster not in table:
        raise SchemaError(unknown("column", cluster, table.columns))
    measurements = _measure(table, kind, cluster)
    missing = measurements["value"].isna().to_numpy()
    if missing.any():
        row = measurements.loc[missing].iloc[0]
        where = f"'{row['quantity']}' at {row['checkpoint']}, {row['unit']}"
        raise SchemaError(
            f"{np.count_nonzero(missing)} values are missing (NaN), the first of {where}; record "
            "them again, or leave out their prompts."
        )
    check_measurements(measurements)
    labels = list(dict.fromkeys(measurements["checkpoint"]))
    for panel in panels(measurements, labels):
        unit = Unit.BITS if kind == "behavior" else UNITS[Family(panel.family)]
        yield _Reading(panel, str(unit), {})


def _measure(table: pd.DataFrame, kind: str, cluster: str) -> pd.DataFrame:
    """A measurements table of any other kind."""
    if kind == "measurements":
        return table.assign(**{CLUSTER: table[cluster]}) if cluster else table
    if kind == "behavior" and "prompt" not in table:
        table = table.assign(prompt=questions(table))
    if kind == "projections":
        measurements = _measure_projections(table)
    elif kind == "behavior":
        measurements = _measure_odds(table)
    elif kind == "trait_bits":
        measurements = measure_answers(table)
    else:
        scores = trait_scores(table) if kind == "continuations" else table
        measurements = measure_behavior(scores)
    if not cluster:
        return measurements
    unit = "question" if kind in ("continuations", "trait_scores") else "prompt"
    of_unit: dict[Any, Any] = {}
    for name, group in zip(table[unit], table[cluster], strict=True):
        if of_unit.setdefault(name, group) != group:
            raise SchemaError(
                f"a {unit} has one {cluster}, the same in all checkpoints; {excerpt(name)} has "
                f"{excerpt(of_unit[name])} and {excerpt(group)}."
            )
    own = measurements["prompt" if "prompt" in measurements else "unit"]
    return measurements.assign(**{CLUSTER: [of_unit[name] for name in own]})


def _measure_projections(table: pd.DataFrame) -> pd.DataFrame:
    """Every direction at every conversation, or turn of one."""
    unit = table["prompt"].astype(str)
    if "turn" in table:
        unit = unit + ", turn " + table["turn"].astype(str)
    # turns of one conversation read the same words before them, so they move together
    rows = table[["checkpoint", "prompt", "hook"]].assign(**{CLUSTER: table["prompt"].astype(str)})
    values = {"quantity": table["name"], "value": table["projection"]}
    return rows.assign(unit=unit, family=str(Family.PROJECTION), **values)


def _measure_odds(behavior: pd.DataFrame) -> pd.DataFrame:
    """Log odds of every trait at every template (bits)."""
    if len(set(behavior["seed"])) > 1:
        raise SchemaError("this behavior table has several seeds; give one training a call.")
    parts = []
    for block in blocks(behavior, ["checkpoint", *ASKED]):
        at = behavior.iloc[block.row]
        asked = " ".join(part for part in (str(at["context"]), str(at["persona"])) if part)
        for value, odds in zip(block.values, prompt_odds(block.logprob).T, strict=True):
            rows = pd.DataFrame({"unit": block.prompts, "value": odds})
            rows = rows.assign(checkpoint=at["checkpoint"], hook="", prompt=rows["unit"])
            parts.append(rows.assign(quantity=f"{at['topic']}={value}, {asked}"))
    return pd.concat(parts, ignore_index=True).assign(family=str(Family.BEHAVIOR))


def _read_features(features: xr.Dataset, cluster: str) -> _Reading:
    """Features of a Dataset that fire somewhere; no long table, which 16,000 of them would fill."""
    data = schema.check(features, "features").transpose("checkpoint", "prompt", ...)
    act = data["act"].to_numpy()
    labels = [str(label) for label in data["checkpoint"].to_numpy()]
    if bad := np.argwhere(~np.isfinite(act)).tolist():
        c, p, f = bad[0]
        raise SchemaError(
            f"{len(bad)} activations are no finite numbers (NaN), the first of feature "
            f"{data['feature'].to_numpy()[f]} at {labels[c]}, {data['prompt'].to_numpy()[p]}; "
            "record them again, or leave out their prompts."
        )
    if len(set(labels)) < len(labels):
        raise SchemaError(f"every checkpoint needs a label of its own; got {excerpt(labels)}.")
    fires = (act != 0).any((0, 1))
    if not fires.any():
        raise SchemaError("no feature fires at these prompts, in no checkpoint.")
    names = data["feature"].to_numpy()[fires].astype(str)
    values = {
        label: pd.DataFrame(act[i][:, fires].astype(np.float64), columns=names)
        for i, label in enumerate(labels)
    }
    hook = f"{data.attrs.get('dictionary', 'dictionary')} at {data.attrs.get('hook', '')}"
    clusters = prompt_clusters(data, cluster).tolist()
    panel = Panel(str(Family.FEATURE), hook, values, clusters, int((~fires).sum()))
    fvu = data["fvu"].mean("prompt", dtype=np.float64).to_numpy()
    unit = UNITS[Family.FEATURE]
    return _Reading(panel, str(unit), dict(zip(labels, fvu.tolist(), strict=True)))


def _steps(
    tables: tuple[xr.Dataset | pd.DataFrame, ...],
    readings: list[_Reading],
    steps: Mapping[str, int] | None,
) -> dict[str, int]:
    """Step of every checkpoint: as given, else as a table or its own label says."""
    labels = list(dict.fromkeys(label for reading in readings for label in reading.panel.values))
    for label in steps or {}:
        if label not in labels:
            raise SchemaError(unknown("checkpoint", label, labels))
    said: dict[str, int] = {}
    for table in tables:
        if "step" in (table.coords if isinstance(table, xr.Dataset) else table):
            names, at_steps = (table[name].to_numpy() for name in ("checkpoint", "step"))
            for label, step in zip(names.astype(str).tolist(), at_steps.tolist(), strict=True):
                if label in (steps or {}):
                    continue
                if said.setdefault(label, _step(label, step)) != step:
                    raise SchemaError(
                        f"{excerpt(label)} is at step {said[label]} and at step {step}; record it "
                        "once, or give steps=."
                    )
    said |= {label: _step(label, step) for label, step in (steps or {}).items()}
    at = {}
    for label in labels:
        if not isinstance(label, str):
            raise SchemaError(f"checkpoints have labels, texts; got {excerpt(label)}.")
        match = STEP.fullmatch(label)
        if label not in said and not match:
            raise SchemaError(
                f"nothing says at which step {excerpt(label)} is, and models without an order are "
                f"no trajectory; give steps={{'{label[:40]}': 0, ...}}."
            )
        at[label] = said[label] if label in said else int(match[1]) if match else 0
    _check_order(at, given=steps is not None)
    return at


def _step(label: str, step: Any) -> int:
    """The step, where it is one."""
    if not is_number(step) or float(step) % 1:
        raise SchemaError(f"a step is a whole number; {excerpt(label)} has {excerpt(step)}.")
    return int(step)


def _check_order(at: Mapping[str, int], *, given: bool) -> None:
    """Raise a SchemaError unless these are at least two points of one training."""
    if len(at) < 2:
        raise SchemaError(
            f"a change needs two checkpoints or more; these tables have {', '.join(at)} alone."
        )
    of_step: dict[int, str] = {}
    for label, step in at.items():
        if step in of_step:
            raise SchemaError(
                f"{of_step[step]} and {label} are both at step {step}; a trajectory has one "
                "checkpoint a step: give steps=, or one training a call."
            )
        of_step[step] = label
    stages = {label.rpartition("@")[0] for label, step in at.items() if step and "@" in label}
    if len(stages) > 1 and not given:
        raise SchemaError(
            f"steps of several stages have no common order: {', '.join(sorted(stages))}; give "
            "one stage with its start, or steps=."
        )


def _moves(reading: _Reading, at: Mapping[str, int], *, n_flips: int, seed: int) -> pd.DataFrame:
    """Change of every quantity of a panel at every checkpoint, tests uncorrected."""
    panel = reading.panel
    start, *later = sorted(panel.values, key=at.__getitem__)
    before = panel.values[start].to_numpy(np.float64)
    after = np.stack([panel.values[label].to_numpy(np.float64) for label in later], axis=1)
    differences = (after - before[:, None]).reshape(len(before), -1)
    mean, lo, hi, n_clusters = cluster_interval(differences, panel.clusters)
    null = sign_flip(differences, panel.clusters, n_flips=n_flips, seed=seed)
    shape = (len(later), panel.n_quantities)
    p: npt.NDArray[np.float64] = null.p.reshape(shape)
    if panel.family == Family.FEATURE:
        # Silent in both, it cannot have moved; testing it would cost the others power.
        fires = (after != 0).any(0) | (before != 0).any(0)
        p = np.where(fires, p, np.nan)
    rows = {}
    for name, numbers, first in (
        ("estimate", mean, 0.0),
        ("lo", lo, 0.0),
        ("hi", hi, 0.0),
        ("p", p, np.nan),
    ):
        grid = np.vstack([np.full(panel.n_quantities, first), np.reshape(numbers, shape)])
        rows[name] = grid.ravel()
    labels = [start, *later]
    repeated = np.repeat(np.arange(len(labels)), panel.n_quantities)
    names = panel.values[start].columns.astype(str).to_list()
    return pd.DataFrame(
        {
            "kind": panel.family,
            "hook": panel.hook,
            "name": names * len(labels),
            "step": [at[labels[i]] for i in repeated],
            "checkpoint": [labels[i] for i in repeated],
            **rows,
            "unit": reading.unit,
            "n": len(before),
            "n_clusters": n_clusters,
            "n_seeds": 1,
            "p_min": null.p_min,
            "fvu": [reading.fvu.get(labels[i], np.nan) for i in repeated],
        }
    )
