"""Which features did training create, move or merely wake, and at which checkpoint?

Every feature of a crosscoder has a vector at each checkpoint (``latent_scaling``). One change is
looked for: the checkpoint from which on the vectors differ most from those before. Before and after
are then compared: their lengths, the angle between them, and whether the feature is there at all on
the weaker side. A claim needs a departure beyond its margin, at a false discovery rate of .05 over
all features, and an interval that does not straddle; else the feature is undecided.

A checkpoint that the crosscoder does not fit (of which it leaves more than .1 unexplained) says
nothing: it is left out, and what may have happened there is undecided. Copies of one checkpoint
show why: a crosscoder that leaves .19 of them unexplained wrote one feature with decoders 58
degrees apart.

The margins were fixed on planted data, seeds 7 to 12 (``docs/log/dictionaries.md``).
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from scipy import stats as distributions

from persona_interp.analysis import changes
from persona_interp.analysis.latent_scaling import (
    SELDOM,
    inner_products,
    latent_scaling,
    with_parts,
)
from persona_interp.analysis.reconstruction import reconstruction
from persona_interp.analysis.stats import LEVEL, benjamini_hochberg
from persona_interp.errors import SchemaError
from persona_interp.schema.words import ALPHA, Fit, Status

Array = npt.NDArray[np.float64]
LONGER = 1.25
"""Ratio of lengths up to which a feature is as long as before."""
TURN = 25.0
"""Degrees up to which a feature points where it did."""
ASIDE = 0.3
"""What a turned vector must have at right angles to the other, over the longer of both."""
ABSENT = 0.04
"""Share of the longer vector under which the shorter one is not there."""
DECOUPLED = 0.5
"""Share of the reconstruction from which on what seems absent stands under other names."""
ACCOMPANIED = 0.65
"""Share of a feature's tokens on which one other fires too, from which on they are not two."""
MUDDLED = 0.4
"""Error on a feature's tokens, beyond the usual, over what it explains: it is no one thing."""
ONE_WAY = 0.9
"""Cosine from which on two features have one direction."""
CORRECTS = 0.4
"""Cosine with its companion beyond which a feature that is born beside it corrects it."""
ABOUT = ("crosscoder", "hook", "sparsity", "fvu")
"""What is said of the crosscoder."""
ONE_STEP = 0.6
"""Share of the variation over checkpoints that one change must explain."""


def statuses(scaling: xr.Dataset) -> pd.DataFrame:
    """What training did to each feature of a crosscoder, and when.

    Args:
        scaling: What ``dictionaries.scaling`` gives: sums over tokens, for each part of the
            documents.

    Returns:
        One row a feature: ``feature``, ``status`` (a ``Status``), ``at``, ``at_lo``, ``at_hi``
        (number of the first checkpoint after the change, from 1, with the interval over documents;
        NA where nothing is claimed), ``checkpoint`` (its label), ``norms`` (length at each
        checkpoint over the longest, free of what is common to most features), ``ratio``,
        ``ratio_lo``, ``ratio_hi`` (length after over before), ``turn``, ``turn_lo``, ``turn_hi``
        (angle between before and after, degrees), ``beta_error`` and ``beta_reconstruction`` (of
        the weaker side over the stronger), ``p``, ``q`` (of the departure; Benjamini-Hochberg over
        ``n_tested`` features), ``beside`` (the feature that it never goes without; -1 for none),
        ``n_tokens``, ``fvus`` (fraction of variance that the crosscoder leaves unexplained at each
        checkpoint, ``reconstruction``; the same in every row) and ``why``: what keeps an undecided
        feature so; "" for all others. In ``attrs`` the crosscoder,
        its convention of sparsity and its ``fvu``.

    Raises:
        SchemaError: It is no such dataset, or of one checkpoint or one document.
    """
    scaling = with_parts(scaling)
    if scaling.sizes["checkpoint"] < 2:
        raise SchemaError("a status is a change between checkpoints; this crosscoder has one.")
    fits = reconstruction(scaling)
    usable = np.flatnonzero(fits["verdict"].to_numpy() == Fit.FITS)
    if len(usable) < 2:  # nothing is left to compare: described all the same, and undecided
        usable = np.arange(len(fits))
    table = _changes(scaling.isel(checkpoint=usable), numbers=usable)
    norms = np.full((len(table), len(fits)), np.nan)
    norms[:, usable] = np.stack(table["norms"].tolist())
    table["norms"] = [tuple(np.round(row, 4)) for row in norms]
    table = _gate(table, fits)
    fvus = tuple(np.round(fits["fvu"], 4))
    table.insert(table.shape[1] - 1, "fvus", [fvus] * len(table))
    table.attrs |= {name: scaling.attrs[name] for name in ABOUT if name in scaling.attrs}
    return table


def _gate(table: pd.DataFrame, fits: pd.DataFrame) -> pd.DataFrame:
    """Undecided is what may have happened at a checkpoint that is not well reconstructed."""
    bad = np.flatnonzero(fits["verdict"].to_numpy() != Fit.FITS)
    if not len(bad):
        return table
    # a change is seen at the first good checkpoint after it: it may have been at a bad one before
    seen_after = (table["at"] - 1).isin(bad.tolist())
    rows = table["at"].isna() | seen_after | (len(fits) - len(bad) < 2)
    rows &= table["status"] != Status.DEAD
    rows_of_bad = fits.iloc[bad]
    columns = (rows_of_bad[name] for name in ("verdict", "checkpoint", "fvu"))
    texts = [f"{fit} at {label} (FVU {fvu:.2f})" for fit, label, fvu in zip(*columns, strict=True)]
    table.loc[rows, "status"] = str(Status.UNDECIDED)
    table.loc[rows, "why"] = f"the crosscoder is {', '.join(texts)}"
    table.loc[rows, "checkpoint"] = ""
    table.loc[rows, ["at", "at_lo", "at_hi"]] = pd.NA
    return table


def _changes(scaling: xr.Dataset, *, numbers: npt.NDArray[np.intp]) -> pd.DataFrame:
    """Statuses from checkpoints of these numbers, whatever their reconstruction."""
    whole, left_out = inner_products(scaling)
    tokens = scaling["fires"].to_numpy().sum(axis=0)
    alive = tokens >= SELDOM
    gains = changes.common_gains(whole[alive])
    whole, left_out = whole / np.outer(gains, gains), left_out / np.outer(gains, gains)
    whole[~alive], left_out[:, ~alive] = np.nan, np.nan
    at, one_step = changes.change_points(whole)
    change, without = changes.around(whole, at), changes.around(left_out, at)
    df = len(left_out) - 1
    table = pd.DataFrame({"feature": scaling["feature"].to_numpy(), "n_tokens": tokens.astype(int)})
    log_ratio, log_se = changes.spread(changes.log_ratio(change), changes.log_ratio(without))
    turn, turn_se = changes.spread(changes.turn(change), changes.turn(without))
    share, share_se = changes.spread(changes.share(change), changes.share(without))
    aside, aside_se = changes.spread(changes.aside(change), changes.aside(without))
    width = float(distributions.t.ppf(0.5 + LEVEL / 2, df))
    for name, values, se in (("log_ratio", log_ratio, log_se), ("turn", turn, turn_se)):
        table[name], table[f"{name}_lo"], table[f"{name}_hi"] = (
            values,
            values - width * se,
            values + width * se,
        )
    p_length = _p_beyond(np.abs(log_ratio), np.log(LONGER), log_se, df)
    p_turn = np.maximum(_p_beyond(turn, TURN, turn_se, df), _p_beyond(aside, ASIDE, aside_se, df))
    # two ways to depart, at any of the checkpoints
    n_looks = 2 * max(1, whole.shape[1] - 1)
    table["p"] = np.minimum(1, n_looks * np.fmin(p_length, p_turn))
    table["q"] = benjamini_hochberg(table["p"])
    table["n_tested"] = int(alive.sum())
    betas = _weaker_betas(scaling, at)
    facts = table.assign(
        up=log_ratio > 0,
        longer=p_length * n_looks <= ALPHA,
        turned=p_turn * n_looks <= ALPHA,
        absent=(np.abs(share) + width * share_se < ABSENT) & (aside + width * aside_se < ASIDE),
        present=(share - width * share_se > ABSENT) | (aside - width * aside_se > ASIDE),
        one_step=one_step,
        beside=_companions(scaling),
        muddled=_muddle(scaling) > MUDDLED,
        alive=alive,
        at=at,
        **betas,
    )
    status = _decide(facts)
    status = _join_splits(status, facts, scaling)
    claimed = ~np.isin(status, [Status.SHARED, Status.UNDECIDED, Status.DEAD])
    lo, hi = changes.from_when(whole, left_out, at, width)
    lengths = np.sqrt(np.clip(np.diagonal(whole, axis1=1, axis2=2), 0, None))
    with np.errstate(invalid="ignore"):
        lengths = lengths / lengths.max(axis=1, keepdims=True)
    columns: dict[str, Any] = {"feature": table["feature"], "status": status}
    for name, values in (("at", at), ("at_lo", lo), ("at_hi", hi)):
        columns[name] = pd.array(np.where(claimed, numbers[values], -1), dtype="Int64")
        columns[name][~claimed] = pd.NA
    columns["checkpoint"] = np.where(claimed, scaling["checkpoint"].to_numpy()[at], "")
    columns["norms"] = [tuple(row) for row in lengths]
    for end in ("", "_lo", "_hi"):
        columns[f"ratio{end}"] = np.exp(table[f"log_ratio{end}"])
    for end in ("", "_lo", "_hi"):
        columns[f"turn{end}"] = table[f"turn{end}"].clip(0, 180)
    kept = ["beta_error", "beta_reconstruction", "p", "q", "n_tested", "beside", "n_tokens"]
    columns |= {name: facts[name] for name in kept}
    return pd.DataFrame({**columns, "why": _reasons(status, facts)})


def _reasons(status: npt.NDArray[np.object_], facts: pd.DataFrame) -> npt.NDArray[np.object_]:
    """What keeps each undecided feature from a status, in words; "" for all others."""
    departs = facts["q"] <= ALPHA
    beside = facts["beside"].astype(str).radd("it hardly ever fires without feature ")
    cases = [
        (status != Status.UNDECIDED, ""),
        (departs & facts["muddled"], "it explains too little of its own tokens"),
        (departs & (facts["beside"] >= 0), beside),
        (departs & (facts["one_step"] < ONE_STEP), "it changes more than once, or step by step"),
        (departs, "its interval holds more than one status"),
    ]
    conditions, words = zip(*cases, strict=True)
    conditions = [np.asarray(condition) for condition in conditions]
    return np.select(conditions, list(words), default="its departure is within its interval")


def _p_beyond(values: Array, margin: float, se: Array, df: int) -> Array:
    """One-sided p that a number is no larger than its margin."""
    with np.errstate(invalid="ignore", divide="ignore"):
        t = (values - margin) / se
    # copies of one checkpoint differ by nothing, and vary by nothing
    t = np.where(se > 0, t, np.where(values > margin, np.inf, -np.inf))
    return np.where(np.isnan(values), np.nan, distributions.t.sf(t, df))


def _weaker_betas(scaling: xr.Dataset, at: npt.NDArray[np.intp]) -> dict[str, Array]:
    """Both betas of the weaker side over the stronger, each a mean over its checkpoints."""
    betas = latent_scaling(scaling)
    rows, steps = np.arange(len(at)), np.arange(scaling.sizes["checkpoint"])
    after = steps >= at[:, None]
    sides = {}
    for name in ("beta_error", "beta_reconstruction"):
        values = betas[name].to_numpy().reshape(after.shape)
        means = [np.where(side, values, 0).sum(1) / side.sum(1) for side in (~after, after)]
        sides[name] = np.stack(means)
    weaker = np.abs(sides["beta_error"]).argmin(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {name: both[weaker, rows] / both[1 - weaker, rows] for name, both in sides.items()}


def _companions(scaling: xr.Dataset) -> npt.NDArray[np.intp]:
    """Feature that each never goes without; -1 for none."""
    together = scaling["together"].to_numpy().copy()
    own = np.diagonal(together).copy()
    np.fill_diagonal(together, 0)
    share = together / np.maximum(own, 1)[:, None]
    return np.where(share.max(axis=1) >= ACCOMPANIED, share.argmax(axis=1), -1)


def _muddle(scaling: xr.Dataset) -> Array:
    """Squared error that each feature's tokens have over others, over what it explains there."""
    explained = scaling["squares"].to_numpy().sum(axis=0) * (
        scaling["decoder"].to_numpy() ** 2
    ).sum(axis=(0, 2))
    sums = {name: scaling[name].to_numpy().sum(axis=0) for name in ("unexplained", "fires")}
    usual = float(scaling["error"].sum() / scaling["tokens"].sum())
    return (sums["unexplained"] - usual * sums["fires"]) / np.maximum(explained, 1e-12)


def _decide(facts: pd.DataFrame) -> npt.NDArray[np.object_]:
    """Status of every feature on its own."""
    status = np.full(len(facts), str(Status.UNDECIDED), dtype=object)
    same_length = (facts["log_ratio_lo"] > -np.log(LONGER)) & (
        facts["log_ratio_hi"] < np.log(LONGER)
    )
    same_way = facts["turn_hi"] < TURN
    status[(same_length & same_way).to_numpy()] = Status.SHARED
    claim = (facts["q"] <= ALPHA) & (facts["one_step"] >= ONE_STEP)
    claim &= ~facts["muddled"] & (facts["beside"] < 0)
    elsewhere = facts["beta_reconstruction"].abs() >= DECOUPLED
    gone = claim & facts["longer"] & facts["absent"] & ~elsewhere
    status[(gone & facts["up"]).to_numpy()] = Status.BORN
    status[(gone & ~facts["up"]).to_numpy()] = Status.DIED
    there = claim & facts["present"]
    status[(there & facts["turned"]).to_numpy()] = Status.ROTATED
    scaled = there & facts["longer"] & ~facts["turned"]
    status[(scaled & facts["up"]).to_numpy()] = Status.AMPLIFIED
    status[(scaled & ~facts["up"]).to_numpy()] = Status.SHRUNK
    departs = (facts["q"] <= ALPHA).to_numpy() & (status == Status.SHARED)
    status[departs] = Status.UNDECIDED
    status[~facts["alive"].to_numpy()] = Status.DEAD
    return status


def _join_splits(
    status: npt.NDArray[np.object_], facts: pd.DataFrame, scaling: xr.Dataset
) -> npt.NDArray[np.object_]:
    """Features that turned at one checkpoint away from one direction are a feature that split.

    A dictionary may write it otherwise: one feature that turns with all of it, and one that is born
    at that checkpoint and fires nowhere but beside the first.
    """
    joined = status.copy()
    at = facts["at"].to_numpy()
    rotated = np.flatnonzero(status == Status.ROTATED)
    before, after = _mean_vectors(scaling, rotated, at[rotated])
    same = (before @ before.T > ONE_WAY) & (after @ after.T < ONE_WAY)
    same &= at[rotated][:, None] == at[rotated]
    joined[rotated[same.any(axis=1)]] = Status.SPLIT
    together = scaling["together"].to_numpy()
    born = np.flatnonzero(status == Status.BORN)
    share = together[np.ix_(born, rotated)] / np.maximum(np.diagonal(together)[born], 1)[:, None]
    _, own = _mean_vectors(scaling, born, at[born])
    # what it adds points away from what its companion is without it
    child = (share >= 0.5) & (own @ after.T < -CORRECTS) & (at[born][:, None] == at[rotated])
    joined[born[child.any(axis=1)]] = Status.SPLIT
    joined[rotated[child.any(axis=0)]] = Status.SPLIT
    return joined


def _mean_vectors(
    scaling: xr.Dataset, features: npt.NDArray[np.intp], at: npt.NDArray[np.intp]
) -> tuple[Array, Array]:
    """Unit mean vectors of some features before and after their change, dims (feature, d_model)."""
    left = scaling["left"].to_numpy()[:, :, features].sum(axis=0).transpose(1, 0, 2)
    after = np.arange(left.shape[1]) >= at[:, None]
    sides = [np.einsum("jkd,jk->jd", left, side.astype(float)) for side in (~after, after)]
    before, later = (
        side / np.linalg.norm(side, axis=1, keepdims=True).clip(1e-12) for side in sides
    )
    return before, later
