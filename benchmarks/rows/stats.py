"""Intervals and tests of means: independent values, clusters, seeds, many tests at once."""

from functools import partial

import numpy as np
import pandas as pd
from scipy import stats as scipy_stats

from persona_interp.analysis import across_seeds
from persona_interp.analysis.flips import sign_flip
from persona_interp.analysis.stats import (
    benjamini_hochberg,
    cluster_interval,
    jackknife,
    t_interval,
)
from planted.noise import Noise, clustered, correlated, noise, sizes
from rows.row import Outcome, Quantity, Row, coverage, false_share, rejects

TRUTH = 1.5
"""Mean of what is simulated; the noise has SD 1."""
FAR = 5.0
"""Effect in standard errors of a planted feature."""


def _t_interval(rng: np.random.Generator, *, units: int, kind: Noise) -> Outcome:
    interval = t_interval(TRUTH + noise(rng, units, kind))
    return coverage(float(interval.lo), float(interval.hi), TRUTH)


def _across_seeds(rng: np.random.Generator, *, seeds: int, kind: Noise) -> Outcome:
    """Two rows a seed, which share the seed's luck."""
    values = TRUTH + np.repeat(noise(rng, seeds, kind), 2) + 0.3 * noise(rng, 2 * seeds, kind)
    table = pd.DataFrame({"seed": np.repeat(np.arange(seeds), 2), "estimate": values, "arm": "a"})
    row = across_seeds(table, by="arm").iloc[0]
    return coverage(row["lo"], row["hi"], TRUTH)


def _cluster_interval(
    rng: np.random.Generator, *, clusters: int, equal: bool, kind: Noise, within: float = 1.0
) -> Outcome:
    counts = sizes(rng, clusters, mean=5, equal=equal)
    rows, labels = clustered(rng, counts, within=within, kind=kind)
    interval = cluster_interval(rows + TRUTH, labels)
    return coverage(float(interval.lo[0]), float(interval.hi[0]), TRUTH)


def _jackknife_ratio(rng: np.random.Generator, *, units: int, kind: Noise) -> Outcome:
    """A ratio of means: 3 / 2, both with a coefficient of variation of about a third."""
    parts = np.array([3.0, 2.0]) + noise(rng, (units, 2), kind) * [1.0, 0.6]
    left_out = (parts.sum(axis=0) - parts) / (units - 1)
    mean = parts.mean(axis=0)
    interval = jackknife(mean[0] / mean[1], left_out[:, 0] / left_out[:, 1])
    return coverage(float(interval.lo), float(interval.hi), 1.5)


def _sign_flip(rng: np.random.Generator, *, clusters: int, equal: bool, kind: Noise) -> Outcome:
    """One feature; effects of clusters are symmetric about 0, unless they are skewed."""
    counts = sizes(rng, clusters, mean=4, equal=equal)
    rows, labels = clustered(rng, counts, within=1.0, kind=kind)
    return rejects(float(sign_flip(rows, labels, n_flips=999).p[0]))


def _largest(rng: np.random.Generator, *, features: int, rho: float, silent: float) -> Outcome:
    """The smallest p_max of a correlated family without effects, many of whose entries are 0."""
    rows = correlated(rng, (20, features), rho=rho)
    rows = np.where(rng.random(rows.shape) < silent, 0.0, rows)
    result = sign_flip(rows, np.arange(20), n_flips=499)
    return rejects(float(np.nanmin(result.p_max)))


def _discoveries(rng: np.random.Generator, *, rho: float) -> Outcome:
    """Of 200 features 20 rise; t tests of 15 paired differences each."""
    planted = np.arange(200) < 20
    rows = correlated(rng, (15, 200), rho=rho) + planted * FAR / np.sqrt(15)
    p = np.asarray(scipy_stats.ttest_1samp(rows, 0)[1])
    return false_share(benjamini_hochberg(p) <= 0.05, planted)


def _power(rng: np.random.Generator, *, clusters: int) -> Outcome:
    """A mean of one standard deviation of a cluster."""
    rows = 1.0 + noise(rng, (clusters, 1), Noise.NORMAL)
    result = sign_flip(rows, np.arange(clusters), n_flips=999)
    return rejects(float(result.p[0]), quantity=Quantity.POWER)


UNITS = (3, 5, 10)

ROWS = [
    *(
        Row(
            "stats.t_interval",
            f"{kind}, {n} units",
            partial(_t_interval, units=n, kind=kind),
            5_000,
        )
        for kind in Noise
        for n in UNITS
    ),
    *(
        Row("stats.across_seeds", f"{n} seeds", partial(_across_seeds, seeds=n, kind=Noise.NORMAL))
        for n in UNITS
    ),
    *(
        Row(
            "stats.cluster_interval",
            f"{kind}, {n} {'equal' if equal else 'unequal'} clusters",
            partial(_cluster_interval, clusters=n, equal=equal, kind=kind),
            5_000,
        )
        for n in (5, 10, 30)
        for equal, kind in ((True, Noise.NORMAL), (False, Noise.NORMAL), (False, Noise.HEAVY))
    ),
    *(
        Row(
            "stats.jackknife",
            f"ratio of means, {kind}, {n} units",
            partial(_jackknife_ratio, units=n, kind=kind),
            5_000,
        )
        for kind in (Noise.NORMAL, Noise.HEAVY)
        for n in (5, 10)
    ),
    *(
        Row(
            "flips.sign_flip",
            f"{kind}, {n} {'equal' if equal else 'unequal'} clusters",
            partial(_sign_flip, clusters=n, equal=equal, kind=kind),
        )
        for n, equal, kind in (
            (8, True, Noise.NORMAL),
            (8, False, Noise.HEAVY),
            (20, False, Noise.HEAVY),
            (8, True, Noise.SKEWED),
        )
    ),
    *(
        Row("flips.sign_flip", f"mean of 1 SD, {n} clusters", partial(_power, clusters=n))
        for n in (6, 10, 20)
    ),
    Row(
        "flips.sign_flip",
        "largest of 200 features, correlation .5",
        partial(_largest, features=200, rho=0.5, silent=0.0),
    ),
    Row(
        "flips.sign_flip",
        "largest of 200 features, 90 % of entries silent",
        partial(_largest, features=200, rho=0.2, silent=0.9),
    ),
    Row("stats.benjamini_hochberg", "20 of 200 risen, independent", partial(_discoveries, rho=0.0)),
    Row(
        "stats.benjamini_hochberg",
        "20 of 200 risen, correlation .5",
        partial(_discoveries, rho=0.5),
    ),
]
