"""Calibration of how well rows of a data set are flagged."""

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.stats import norm

from persona_interp import analysis
from rows.row import Outcome, Row, coverage


def _quality(
    rng: np.random.Generator, *, n: int, planted: float, share: float, apart: float, column: str
) -> Outcome:
    """Normal scores, higher by ``apart`` where a row was planted; every row is, by chance."""
    # the score above which this share of all rows lies, and the share of planted rows there
    root: Any = brentq(
        lambda x: planted * norm.sf(x - apart) + (1 - planted) * norm.sf(x) - share, -10, 20
    )
    at = float(root)
    recall = norm.sf(at - apart)
    truth = {"recall": recall, "precision": planted * recall / share}[column]
    label = rng.random(n) < planted
    label[:2] = True, False  # both kinds are there
    score = rng.standard_normal(n) + apart * label
    table = pd.DataFrame({"doc": range(n), "score": score})
    seed = int(rng.integers(2**31))
    quality = analysis.flag_quality(
        table, np.flatnonzero(label), value="score", share=share, seed=seed
    )
    return coverage(quality[f"{column}_lo"], quality[f"{column}_hi"], truth)


ROWS = [
    Row(
        "flags.flag_quality",
        f"{column}, {planted:.0%} of {n} rows planted, {apart:g} apart",
        partial(_quality, n=n, planted=planted, share=planted, apart=apart, column=column),
        2_000,
    )
    for column in ("precision", "recall")
    for n, planted, apart in (
        (200, 0.05, 2.0),
        (200, 0.2, 2.0),
        (200, 0.2, 3.5),
        (200, 0.5, 2.0),
        (60, 0.2, 2.0),
    )
]
