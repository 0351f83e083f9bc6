"""What differs between a base and a finetune, beyond what other finetunes differ by?

Every number is measured at the same units (questions, prompts) in every checkpoint and
compared pair by pair. Control finetunes, the same lesson without what is asked about, say
how far one more finetune would move by itself.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from persona_interp import schema
from persona_interp.analysis.stats import Interval, benjamini_hochberg, cluster_interval, sign_flip
from persona_interp.errors import SchemaError, unknown
from persona_interp.schema.words import Family, Role, Verdict

Array = npt.NDArray[np.float64]

ALPHA = 0.05
ENOUGH_CONTROLS = 3
"""Controls from which on a finetune may be said to have moved something."""
BY_CONTROLS, BY_UNITS = "controls", "units"
"""Values of the column ``judged_by``."""
CONTROL_COLUMNS = ("controls", "range_lo", "range_hi", "excess", "excess_lo", "excess_hi")
"""Columns that need two other finetunes or more."""


class _Place(NamedTuple):
    """Family and hook of the quantities that are compared together."""

    family: str
    hook: str


class _AgainstControls(NamedTuple):
    """The shift beside those of the controls; arrays have one entry a quantity."""

    excess: Interval
    spread: Array
    p: Array


class _Comparison(NamedTuple):
    """Shift of every quantity of one checkpoint and its nulls; arrays have one entry a quantity."""

    shift: Interval
    p_units: Array
    null: tuple[Array, Array]
    controls: _AgainstControls | None


def effects(
    measurements: pd.DataFrame,
    *,
    base: str,
    tuned: Sequence[str],
    controls: Sequence[str] = (),
    again: str = "",
    primary: Iterable[tuple[str, str]] = (),
    primary_in: str = Family.BEHAVIOR,
    n_flips: int = 10_000,
    seed: int = 0,
) -> pd.DataFrame:
    """Differences from the base, and which of them a finetune may be said to have made.

    Without controls, or with one or two, a quantity *differs* when neither the t interval
    of the paired differences over units nor a flip of their signs by unit (before and after
    exchanged) explains it: p is the larger of both. With three controls or more it is asked
    whether one more control could have gone as far: ``excess = (tuned - base) - mean over
    controls (control - base)`` is divided by the standard error of prediction ``s sqrt(1 +
    1/n)``, s the standard deviation of the controls' own changes, with n - 1 degrees of
    freedom; and the intervals over units of the paired excess and of the change itself must
    exclude 0 on the same side: who stayed where the base is moved nothing, wherever the
    controls went. p is the largest of the three (intersection-union test, Berger 1982).
    Controls that do not vary cannot judge (p = 1). For features, many of which hardly ever
    fire, s is raised by its median over all of them (Tusher, Tibshirani and Chu 2001). All
    tests of a family are corrected together (Benjamini-Hochberg) and q times the number of
    families is held to 0.05, so that finetunes that differ by chance alone give a claim
    anywhere in 5 % of comparisons. The primary tests, named beforehand, are corrected among
    themselves: a single one is not.

    Args:
        measurements: A measurements table; every checkpoint at the same units.
        base: Its label.
        tuned: Labels of the checkpoints that claims are about.
        controls: Labels of finetunes that differ from them by nothing but chance and what is asked
            about.
        again: Label of the base recorded a second time; what differs by no more than
            its floor is not claimed.
        primary: Pairs (checkpoint, quantity), named before anything was computed.
        primary_in: Their family.
        n_flips: Random sign flips.
        seed: Of the flips.

    Returns:
        An effects table, one row a quantity and checkpoint: see ``schema.TABLES``. Rows of
        role "control" judge each control by the others in the same way, as if it were the
        finetune; they are no claims and no tests of a family.

    Raises:
        SchemaError: An unknown checkpoint or primary, or a checkpoint that was not
            measured at the same units.

    >>> rng = np.random.default_rng(0)
    >>> moves = {"base": 0, "tuned": 1, "c1": 0.1, "c2": 0.2, "c3": 0}
    >>> rows = [(c, f"q{i}", m + 0.1 * rng.normal()) for c, m in moves.items() for i in range(20)]
    >>> table = pd.DataFrame(rows, columns=["checkpoint", "unit", "value"])
    >>> table = table.assign(family="behavior", hook="", quantity="sarcastic")
    >>> options = {"base": "base", "tuned": ["tuned"], "primary": [("tuned", "sarcastic")]}
    >>> effects(table, controls=["c1", "c2", "c3"], **options)["verdict"].iloc[0]
    'the finetune moved it up'
    >>> effects(table, controls=["c1", "c2"], **options)["verdict"].iloc[0]
    'differs'
    """
    schema.check(measurements, "measurements")
    labels = list(dict.fromkeys(measurements["checkpoint"]))
    repeated_base = [again] if again else []
    for label in (base, *tuned, *controls, *repeated_base):
        if label not in labels:
            raise SchemaError(unknown("checkpoint", label, labels))
    primary_pairs = set(primary)
    _check_primary(primary_pairs, measurements, tuned=tuned, family=primary_in)
    parts = []
    for place, values in _blocks(measurements, labels):
        floor = _floor(values, base=base, again=again)
        for role, labels_of_role in ((Role.TUNED, tuned), (Role.CONTROL, controls)):
            for label in labels_of_role:
                others = [control for control in controls if control != label]
                comparison = _compare(
                    values,
                    base=base,
                    label=label,
                    others=others,
                    raise_spread=place.family == Family.FEATURE,
                    n_flips=n_flips,
                    seed=seed,
                )
                rows = _rows(
                    values[base], values[label], comparison, n_controls=len(others), role=role
                )
                parts.append(
                    rows.assign(**place._asdict(), checkpoint=label, role=role.value, floor=floor)
                )
    table = pd.concat(parts, ignore_index=True)
    pairs = zip(table["checkpoint"], table["quantity"], strict=True)
    table["primary"] = [pair in primary_pairs for pair in pairs]
    table["primary"] &= (table["family"] == primary_in) & (table["role"] == Role.TUNED)
    table = _correct(table)
    table = table.assign(verdict=_verdicts(table))
    return schema.check(table[list(schema.TABLES["effects"])], "effects")


def _check_primary(
    pairs: set[tuple[str, str]], measurements: pd.DataFrame, *, tuned: Sequence[str], family: str
) -> None:
    """Raise a SchemaError if a primary test is of no tuned checkpoint and quantity."""
    quantities = measurements.loc[measurements["family"] == family, "quantity"].unique()
    possible = set(product(tuned, quantities))
    if impossible := sorted(pairs - possible):
        names = sorted({quantity for _, quantity in possible})
        raise SchemaError(unknown("primary quantity", impossible[0][1], names))


def _blocks(
    measurements: pd.DataFrame, labels: list[str]
) -> Iterator[tuple[_Place, dict[str, pd.DataFrame]]]:
    """Yield the quantities that share their units: by checkpoint, dims (unit, quantity)."""
    for _, rows in measurements.groupby(["family", "hook"], sort=False):
        place = _Place(*map(str, rows[["family", "hook"]].iloc[0]))
        names = rows["quantity"].drop_duplicates()
        wide = {}
        for label, part in rows.groupby("checkpoint", sort=False):
            wide[label] = part.pivot(index="unit", columns="quantity", values="value")[names]
        for label in labels:
            # Pairs need the same unit in both checkpoints, so cells without a value must be alike.
            if label not in wide or not wide[label].notna().equals(wide[labels[0]].notna()):
                raise SchemaError(
                    f"{label} was not measured at the same units as {labels[0]} "
                    f"({' '.join(place).strip()}); record all checkpoints on one table of "
                    "questions."
                )
        has_value = wide[labels[0]].notna()
        # A trait may have questions of its own: quantities with the same units form one block.
        units_of = {name: tuple(has_value[name]) for name in names}
        for units in dict.fromkeys(units_of.values()):
            block = [name for name in names if units_of[name] == units]
            yield place, {label: wide[label].loc[list(units), block] for label in labels}


def _floor(values: dict[str, pd.DataFrame], *, base: str, again: str) -> Array:
    """Mean absolute difference of the base from its repetition; 0 where it has none."""
    if not again:
        return np.zeros(values[base].shape[1])
    return np.abs((values[again] - values[base]).to_numpy()).mean(0)


def _compare(
    values: dict[str, pd.DataFrame],
    *,
    base: str,
    label: str,
    others: list[str],
    raise_spread: bool,
    n_flips: int,
    seed: int,
) -> _Comparison:
    """Compare one checkpoint with the base, and its shift with those of the other finetunes."""
    units, before = values[base].index.to_numpy(), values[base].to_numpy()
    shift = values[label].to_numpy() - before
    interval = cluster_interval(shift, units)
    flips = sign_flip(shift, units, n_flips=n_flips, seed=seed)
    # The t test leans on normal means, the flips on symmetric differences: a claim must survive
    # both.
    p_units = np.maximum(_p(interval), flips.p)
    null = (flips.null_lo, flips.null_hi)
    n = len(others)
    if n < 2:
        return _Comparison(interval, p_units, null, None)
    control_shifts = np.stack([values[control].to_numpy() - before for control in others])
    excess = cluster_interval(shift - control_shifts.mean(0), units)
    sd = control_shifts.mean(1).std(0, ddof=1)
    # Over many features that hardly fire, some spread is small by luck. The median over all
    # features keeps t from exploding there (the s0 of SAM: Tusher, Tibshirani and Chu 2001).
    spread = sd + (np.median(sd) if raise_spread else 0.0)
    # The question is about one more finetune and not about the mean of all, so the error is
    # that of prediction: s sqrt(1 + 1/n), with n - 1 degrees of freedom.
    with np.errstate(invalid="ignore", divide="ignore"):
        t = np.abs(excess.estimate) / (spread * np.sqrt(1 + 1 / n))
    p = np.where(sd > 0, 2 * stats.t.sf(t, n - 1), 1.0)
    return _Comparison(interval, p_units, null, _AgainstControls(excess, spread, p))


def _p(interval: Interval) -> Array:
    """Two-sided p of the t interval; 1 without any difference."""
    half = (interval.hi - interval.lo) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        t = np.abs(interval.estimate) / (half / stats.t.ppf(0.975, interval.n - 1))
    p = np.nan_to_num(2 * stats.t.sf(t, interval.n - 1), nan=1.0)
    return np.where(interval.estimate == 0, 1.0, p)


def _rows(
    before: pd.DataFrame,
    after: pd.DataFrame,
    comparison: _Comparison,
    *,
    n_controls: int,
    role: Role,
) -> pd.DataFrame:
    """One row a quantity of one checkpoint, up to ``p`` and who judges."""
    shift = comparison.shift
    # A control is judged by the others, which are one fewer.
    enough = ENOUGH_CONTROLS if role == Role.TUNED else ENOUGH_CONTROLS - 1
    by_controls = n_controls >= enough
    table = pd.DataFrame(
        {
            "quantity": list(before.columns),
            "before": before.mean().to_numpy(),
            "after": after.mean().to_numpy(),
            "estimate": shift.estimate,
            "lo": shift.lo,
            "hi": shift.hi,
            "n": shift.n,
            "null_lo": comparison.null[0],
            "null_hi": comparison.null[1],
            "n_controls": n_controls,
            **dict.fromkeys(CONTROL_COLUMNS, np.nan),
            "p": comparison.p_units,
            "judged_by": BY_CONTROLS if by_controls else BY_UNITS,
        }
    )
    if comparison.controls is None:
        return table
    excess, spread, p_controls = comparison.controls
    # 95 % prediction interval: where one more control would be.
    mean = shift.estimate - excess.estimate
    half = stats.t.ppf(0.975, n_controls - 1) * spread * np.sqrt(1 + 1 / n_controls)
    table = table.assign(controls=mean, range_lo=mean - half, range_hi=mean + half)
    table = table.assign(excess=excess.estimate, excess_lo=excess.lo, excess_hi=excess.hi)
    if by_controls:
        # Intersection-union test (Berger 1982): beyond the controls, and beyond chance over
        # units both from the controls and from the base, on the same side. Each test alone
        # may be at alpha, so the largest p is that of all three.
        p = np.maximum.reduce([p_controls, _p(excess), _p(shift)])
        table["p"] = np.where(shift.estimate * excess.estimate > 0, p, 1.0)
    return table


def _correct(table: pd.DataFrame) -> pd.DataFrame:
    """Add q and the number of tests that are corrected together."""
    # Claims of a family are corrected together, its primary tests among themselves. A control's
    # rows are no claims and must not change those of the finetunes: each control stands alone.
    is_primary = table["primary"]
    set_of_claims = np.where(table["role"] == Role.TUNED, "", table["checkpoint"])
    group = [table["family"], is_primary, set_of_claims]
    p = table.groupby(group, sort=False)["p"]
    q = p.transform(lambda p: pd.Series(benjamini_hochberg(p), index=p.index))
    # Bonferroni over the families, so that a claim anywhere is by chance in 5 % of comparisons.
    others = table.loc[~is_primary]
    n_families = others.groupby(set_of_claims[~is_primary])["family"].nunique()
    factor = pd.Series(set_of_claims, index=table.index).map(n_families).where(~is_primary, 1)
    return table.assign(q=(q * factor).clip(upper=1.0), n_tests=p.transform("size"))


def _verdicts(table: pd.DataFrame) -> npt.NDArray[np.str_]:
    """Verdict of each row; the first case that holds decides."""
    # p is already the largest of all the p values that are asked for: over units from the
    # base (t and sign flips) without enough controls; with them the prediction interval of
    # one more control and both intervals over units. q must be small, and the estimate
    # larger than what the base differs by from itself when it is recorded twice.
    significant = (table["q"] <= ALPHA) & (table["estimate"].abs() > table["floor"])
    by_controls = table["judged_by"] == BY_CONTROLS
    cases = [
        # Chance explains it, or the noise of recording does.
        (~significant, Verdict.NONE),
        # Any finetune may differ there: without enough controls nobody knows who moved it.
        (~by_controls, Verdict.DIFFERS),
        # It lies outside the prediction interval of one more control, so this finetune
        # moved it. Excess and estimate have the same sign here: where they differ p is 1.
        (table["excess"] > 0, Verdict.UP),
    ]
    conditions = [condition.to_numpy() for condition, _ in cases]
    verdicts = [verdict.value for _, verdict in cases]
    return np.select(conditions, verdicts, default=Verdict.DOWN.value)
