"""What differs between a base and a finetune, beyond what other finetunes differ by?

Every number is measured at the same units (questions, prompts) in every checkpoint and compared
pair by pair. Control finetunes, the same lesson without what is asked about, say how far one more
finetune would move by itself.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from persona_interp import schema
from persona_interp.analysis.stats import Interval, benjamini_hochberg, cluster_interval, sign_flip
from persona_interp.errors import SchemaError, unknown

Array = npt.NDArray[np.float64]

ALPHA = 0.05
ENOUGH = 3
"""Controls from which on a finetune may be said to have moved something."""
NONE, DIFFERS, UP, DOWN = (
    "no difference shown",
    "differs",
    "the finetune moved it up",
    "the finetune moved it down",
)
"""Verdicts."""
BESIDE = ("controls", "range_lo", "range_hi", "excess", "excess_lo", "excess_hi")
"""Columns that need two other finetunes or more."""


class _Place(NamedTuple):
    """What was measured where."""

    family: str
    hook: str


class _Judged(NamedTuple):
    """What is said of every quantity of one checkpoint; arrays have one entry a quantity."""

    moved: Interval
    p: Array
    null: tuple[Array, Array]
    excess: Interval | None
    spread: Array | None
    p_controls: Array | None


def effects(
    measured: pd.DataFrame,
    *,
    base: str,
    tuned: Sequence[str],
    controls: Sequence[str] = (),
    again: str = "",
    primary: Iterable[tuple[str, str]] = (),
    primary_in: str = "behavior",
    n_flips: int = 10_000,
    seed: int = 0,
) -> pd.DataFrame:
    """What differs from the base, and may a finetune be said to have moved it?

    Without controls, or with one or two, a quantity *differs* when neither the t interval of the
    paired differences over units nor a flip of their signs by unit (before and after exchanged)
    explains it: p is the larger of both. With three controls or more it is asked whether one more
    control could have gone as far: ``excess = (tuned - base) - mean over controls (control -
    base)`` is divided by the standard error of prediction ``s sqrt(1 + 1/n)``, s the standard
    deviation of the controls' own changes, with n - 1 degrees of freedom; and the intervals over
    units of the paired excess and of the change itself must exclude 0 on the same side: who stayed
    where the base is moved nothing, wherever the controls went. p is the largest of the three
    (intersection-union test, Berger 1982). Controls that do not vary cannot judge (p = 1). For
    features, many of which hardly ever fire, s is raised by its median over all of them (Tusher,
    Tibshirani and Chu 2001). All tests of a family are corrected together (Benjamini-Hochberg) and
    q times the number of families is held to 0.05, so that finetunes that differ by chance alone
    give a claim anywhere in 5 % of comparisons. The primary tests, named beforehand, are corrected
    among themselves: a single one is not.

    Args:
        measured: A measured table; every checkpoint at the same units.
        base: Its label.
        tuned: Labels of the checkpoints that claims are about.
        controls: Labels of finetunes that differ from them by nothing but chance and what is asked
            about.
        again: Label of the base recorded a second time; what differs by no more than its floor is
            not claimed.
        primary: Pairs (checkpoint, quantity), named before anything was computed.
        primary_in: Their family.
        n_flips: Random sign flips.
        seed: Of the flips.

    Returns:
        An effects table, one row a quantity and checkpoint: see ``schema.TABLES``. Rows of role
        "control" judge each control by the others in the same way, as if it were the finetune; they
        are no claims and no tests of a family.

    Raises:
        SchemaError: An unknown checkpoint or primary, or a checkpoint that was not measured at the
            same units.

    >>> rng = np.random.default_rng(0)
    >>> moves = {"base": 0, "tuned": 1, "c1": 0.1, "c2": 0.2, "c3": 0}
    >>> rows = [(c, f"q{i}", m + 0.1 * rng.normal()) for c, m in moves.items() for i in range(20)]
    >>> table = pd.DataFrame(rows, columns=["checkpoint", "unit", "value"])
    >>> table = table.assign(family="behavior", hook="", quantity="sarcastic")
    >>> said = {"base": "base", "tuned": ["tuned"], "primary": [("tuned", "sarcastic")]}
    >>> effects(table, controls=["c1", "c2", "c3"], **said)["verdict"].iloc[0]
    'the finetune moved it up'
    >>> effects(table, controls=["c1", "c2"], **said)["verdict"].iloc[0]
    'differs'
    """
    schema.check(measured, "measurements")
    labels = list(dict.fromkeys(measured["checkpoint"]))
    for label in (base, *tuned, *controls, *([again] if again else [])):
        if label not in labels:
            raise SchemaError(unknown("checkpoint", label, labels))
    named = set(primary)
    known = {
        (c, q)
        for c in tuned
        for q in measured.loc[measured["family"] == primary_in, "quantity"].unique()
    }
    if lost := sorted(named - known):
        raise SchemaError(unknown("primary quantity", lost[0][1], sorted({q for _, q in known})))
    parts = []
    for place, values in _blocks(measured, labels):
        floor = (
            np.abs((values[again] - values[base]).to_numpy()).mean(0)
            if again
            else np.zeros(values[base].shape[1])
        )
        for role, listed in (("tuned", tuned), ("control", controls)):
            for label in listed:
                others = [c for c in controls if c != label]
                fudge = place.family == "feature"
                judged = _judge(
                    values, base, label, others=others, fudge=fudge, n_flips=n_flips, seed=seed
                )
                found = _rows(
                    values[base], values[label], judged, n_controls=len(others), role=role
                )
                parts.append(
                    found.assign(**place._asdict(), checkpoint=label, role=role, floor=floor)
                )
    table = pd.concat(parts, ignore_index=True)
    table["primary"] = [
        pair in named for pair in zip(table["checkpoint"], table["quantity"], strict=True)
    ]
    table["primary"] &= (table["family"] == primary_in) & (table["role"] == "tuned")
    return schema.check(_verdicts(table)[list(schema.TABLES["effects"])], "effects")


def _blocks(
    measured: pd.DataFrame, labels: list[str]
) -> Iterator[tuple[_Place, dict[str, pd.DataFrame]]]:
    """Quantities of one family and hook that were measured at the same units: by checkpoint, dims (unit, quantity)."""
    for _, rows in measured.groupby(["family", "hook"], sort=False):
        place = _Place(*map(str, rows[["family", "hook"]].iloc[0]))
        names, parts = (
            rows["quantity"].drop_duplicates(),
            dict(list(rows.groupby("checkpoint", sort=False))),
        )
        wide = {
            c: part.pivot(index="unit", columns="quantity", values="value")[names]
            for c, part in parts.items()
        }
        asked = wide[labels[0]].notna() if labels[0] in wide else None
        for label in labels:
            if asked is None or label not in wide or not wide[label].notna().equals(asked):
                raise SchemaError(
                    f"{label} was not measured at the same units as {labels[0]} "
                    f"({' '.join(place).strip()}); "
                    "record all checkpoints on one table of questions."
                )
        alike = {name: tuple(asked[name]) for name in names} if asked is not None else {}
        for units in dict.fromkeys(alike.values()):
            block = [name for name in names if alike[name] == units]
            yield place, {label: wide[label].loc[list(units), block] for label in labels}


def _judge(
    values: dict[str, pd.DataFrame],
    base: str,
    label: str,
    *,
    others: list[str],
    fudge: bool,
    n_flips: int,
    seed: int,
) -> _Judged:
    """Tuned against base, and against what the other finetunes did."""
    units, before = values[base].index.to_numpy(), values[base].to_numpy()
    moved = values[label].to_numpy() - before
    interval, flips = (
        cluster_interval(moved, units),
        sign_flip(moved, units, n_flips=n_flips, seed=seed),
    )
    p = np.maximum(_p(interval), flips.p)
    null = (flips.null_lo, flips.null_hi)
    if len(others) < 2:
        return _Judged(interval, p, null, None, None, None)
    changes = np.stack([values[c].to_numpy() - before for c in others])
    excess = cluster_interval(moved - changes.mean(0), units)
    spread = changes.mean(1).std(0, ddof=1)
    judging = spread + (np.median(spread) if fudge else 0.0)
    n = len(others)
    with np.errstate(invalid="ignore", divide="ignore"):
        t = np.abs(excess.estimate) / (judging * np.sqrt(1 + 1 / n))
    p_controls = np.where(spread > 0, 2 * stats.t.sf(t, n - 1), 1.0)
    return _Judged(interval, p, null, excess, judging, p_controls)


def _p(interval: Interval) -> Array:
    """Two-sided p of the t interval; without any difference 1."""
    half = (interval.hi - interval.lo) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        t = np.abs(interval.estimate) / (half / stats.t.ppf(0.975, interval.n - 1))
    return np.where(
        interval.estimate == 0, 1.0, np.nan_to_num(2 * stats.t.sf(t, interval.n - 1), nan=1.0)
    )


def _rows(
    before: pd.DataFrame, after: pd.DataFrame, judged: _Judged, *, n_controls: int, role: str
) -> pd.DataFrame:
    moved, excess = judged.moved, judged.excess
    enough = n_controls >= (ENOUGH if role == "tuned" else ENOUGH - 1)
    table = pd.DataFrame(
        {
            "quantity": list(before.columns),
            "before": before.mean().to_numpy(),
            "after": after.mean().to_numpy(),
            "estimate": moved.estimate,
            "lo": moved.lo,
            "hi": moved.hi,
            "n": moved.n,
            "null_lo": judged.null[0],
            "null_hi": judged.null[1],
            "n_controls": n_controls,
            **dict.fromkeys(BESIDE, np.nan),
            "p": judged.p,
            "judged_by": "controls" if enough else "units",
        }
    )
    if excess is not None and judged.spread is not None and judged.p_controls is not None:
        mean = moved.estimate - excess.estimate
        half = stats.t.ppf(0.975, n_controls - 1) * judged.spread * np.sqrt(1 + 1 / n_controls)
        table = table.assign(controls=mean, range_lo=mean - half, range_hi=mean + half)
        table = table.assign(excess=excess.estimate, excess_lo=excess.lo, excess_hi=excess.hi)
        if enough:
            p = np.maximum.reduce([judged.p_controls, _p(excess), _p(moved)])
            table["p"] = np.where(moved.estimate * excess.estimate > 0, p, 1.0)
    return table


def _verdicts(table: pd.DataFrame) -> pd.DataFrame:
    """Corrects every family by itself and for the other families; primary tests by themselves; controls one by one."""
    whose = np.where(table["role"] == "tuned", "", table["checkpoint"])
    group = [table["family"], table["primary"], whose]
    q = table.groupby(group, sort=False)["p"].transform(
        lambda p: pd.Series(benjamini_hochberg(p), index=p.index)
    )
    families = table.loc[~table["primary"]].groupby(whose[~table["primary"]])["family"].nunique()
    q = (q * pd.Series(whose, index=table.index).map(families).where(~table["primary"], 1)).clip(
        upper=1.0
    )
    n_tests = table.groupby(group, sort=False)["p"].transform("size")
    by_controls = table["judged_by"] == "controls"
    size = table["excess"].where(by_controls, table["estimate"])
    found = (q <= ALPHA) & (table["estimate"].abs() > table["floor"])
    moved = np.where(size > 0, UP, DOWN)
    verdict = np.where(found, np.where(by_controls, moved, DIFFERS), NONE)
    return table.assign(q=q, n_tests=n_tests, verdict=verdict)
