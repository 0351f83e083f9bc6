"""What may be claimed of many differences, tested together?

One row a quantity of one checkpoint; see ``analysis.effects``.
"""

import math

import numpy as np
import numpy.typing as npt
import pandas as pd

from persona_interp.analysis.stats import benjamini_hochberg
from persona_interp.schema.words import ALPHA, Role, Verdict
from persona_interp.values import check_count

BY_CONTROLS, BY_UNITS = "controls", "units"
"""Values of the column ``judged_by``."""


def needed_units(n_tests: int, *, n_families: int = 1) -> int:
    """How many units it takes until one difference alone can be claimed, judged by units.

    Args:
        n_tests: Tests that are corrected together.
        n_families: Families of tests.

    Returns:
        The smallest G with ``2 / 2^G x n_tests x n_families <= 0.05``: a test that flips the signs
        of G units gives no smaller p.

    >>> needed_units(1), needed_units(489), needed_units(489, n_families=3)
    (6, 15, 16)
    """
    check_count(n_tests, "n_tests")
    check_count(n_families, "n_families")
    return math.ceil(math.log2(2 * n_tests * n_families / ALPHA))


def correct(table: pd.DataFrame) -> pd.DataFrame:
    """Add what many tests cost.

    Args:
        table: Rows of ``comparisons.compare`` with ``family``, ``checkpoint``, ``role``,
            ``primary``, ``p_max`` and ``p_max_specific``.

    Returns:
        The table with ``q``, ``q_specific``, ``n_tests``, ``n_families``, ``possible`` and
        ``n_needed``.
    """
    # Claims of a family are corrected together, its primary tests among themselves. A control's
    # rows are no claims and must not change those of the finetunes: each control stands alone.
    claims = pd.Series(np.where(table["role"] == Role.TUNED, "", table["checkpoint"]), table.index)
    others = table.loc[~table["primary"]]
    n_families = others.groupby(claims[others.index])["family"].nunique()
    # Bonferroni over the families, so that a claim anywhere is by chance in 5 % of comparisons.
    n_families = claims.map(n_families).where(~table["primary"], 1).astype(int)
    groups = table.groupby([table["family"], table["primary"], claims], sort=False)
    n_tests = groups["p"].transform("size")
    n_checkpoints = groups["checkpoint"].transform("nunique")
    q = {}
    for name, p, p_max in (
        ("q", table["p"], table["p_max"]),
        ("q_specific", table["p_specific"], table["p_max_specific"]),
    ):
        # The largest of all features is one test a checkpoint; the choice of units is corrected
        # for every feature.
        by_max = table["p_max"].notna() & ~table["primary"]
        single = p.where(~by_max, table["p_units"])
        corrected = single.groupby([table["family"], table["primary"], claims], sort=False)
        corrected = corrected.transform(lambda p: pd.Series(benjamini_hochberg(p), index=p.index))
        largest = (p_max * n_checkpoints).where(by_max, 0.0)
        both = np.maximum(corrected.to_numpy(), largest.to_numpy())
        q[name] = np.minimum(both * n_families.to_numpy(), 1.0)
    needed = [
        needed_units(tests, n_families=families)
        for tests, families in zip(n_tests, n_families, strict=True)
    ]
    possible = table["p_min"] * n_tests * n_families <= ALPHA
    return table.assign(
        **q, n_tests=n_tests, n_families=n_families, possible=possible, n_needed=needed
    )


def verdicts(table: pd.DataFrame) -> npt.NDArray[np.str_]:
    """Verdict of each row; the first case that holds decides.

    Args:
        table: What ``correct`` returned, with ``floor``.

    Returns:
        Words of ``Verdict``.
    """
    # p is already the largest of all the p values that are asked for: over units from the
    # base (t and sign flips) without enough controls; with them the prediction interval of
    # one more control and both intervals over units. q must be small, and the estimate
    # larger than what the base differs by from itself when it is recorded twice.
    significant = (table["q"] <= ALPHA) & (table["estimate"].abs() > table["floor"])
    by_controls = table["judged_by"] == BY_CONTROLS
    is_farther, is_specific = table["ratio"] > 1, table["q_specific"] <= ALPHA
    cases = [
        # Too few units, or controls that do not vary: silence is no finding.
        (~significant & ~table["possible"], Verdict.IMPOSSIBLE),
        # Chance explains it, or the noise of recording does.
        (~significant, Verdict.NONE),
        # Any finetune may differ there: without enough controls nobody knows who moved it.
        (~by_controls, Verdict.DIFFERS),
        # Controls that had gone as far might have moved it as much.
        (is_farther & ~is_specific, Verdict.FARTHER),
        # It lies outside the prediction interval of one more control, so this finetune
        # moved it. Excess and estimate have the same sign here: where they differ p is 1.
        (table["excess"] > 0, Verdict.UP),
    ]
    conditions = [condition.to_numpy() for condition, _ in cases]
    words = [verdict.value for _, verdict in cases]
    return np.select(conditions, words, default=Verdict.DOWN.value)
