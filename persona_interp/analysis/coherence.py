"""Is text under an edit still text? Nats a token by which it surprises the base, beyond own text.

Nothing hangs on a mean: text is told coherent where the whole 95 % interval over questions lies
below the limit, told broken where it lies beyond, and otherwise neither.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import pandas as pd

from persona_interp.analysis.stats import t_interval
from persona_interp.schema.words import UNEDITED, Ruling

STRENGTHS = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Multiples of what the finetune moved, among which coherent pushes are searched."""


class Excess(NamedTuple):
    """Nats a token by which text surprises the base more than a model's own text does.

    Attributes:
        estimate: Mean over questions; infinite where every answer is empty.
        lo: Lower end of its 95 % interval, questions as units.
        hi: Upper end.
        n: Questions that are answered under the edit and without.
    """

    estimate: float
    lo: float
    hi: float
    n: int


def excess(text: pd.DataFrame, own: pd.DataFrame) -> Excess:
    """How much more text surprises the base than a model's own, question by question.

    Args:
        text: Answers under an edit: ``question``, ``nats`` (NaN = an empty answer).
        own: The unedited model's answers to the same questions.

    Returns:
        The excess; NaN where the model itself says nothing.

    >>> own = pd.DataFrame({"question": ["a", "b", "c"], "nats": [1.0, 2.0, 1.5]})
    >>> excess(own.assign(nats=own["nats"] + 0.5), own)
    Excess(estimate=0.5, lo=0.5, hi=0.5, n=3)
    """
    usual = pd.Series(own.groupby("question")["nats"].mean()).dropna()
    edited = pd.Series(text.groupby("question")["nats"].mean()).dropna()
    if len(usual) and edited.empty:
        return Excess(math.inf, math.inf, math.inf, 0)
    differences = (edited - usual).dropna().to_numpy()
    if not len(differences):
        return Excess(math.nan, math.nan, math.nan, 0)
    mean, lo, hi, n = t_interval(differences)
    return Excess(float(mean), float(lo), float(hi), n)


def judge(beyond: Excess, limit: float) -> Ruling:
    """Whether text is told coherent, told broken, or neither.

    Args:
        beyond: Of ``excess``.
        limit: Most nats a token.

    Returns:
        "holds" = coherent, "fails" = broken, "undecided".

    >>> str(judge(Excess(0.5, -0.2, 1.2, 4), 1.0))
    'undecided'
    """
    if beyond.hi <= limit:
        return Ruling.HOLDS
    return Ruling.FAILS if beyond.lo > limit else Ruling.UNDECIDED


def of_edits(text: pd.DataFrame, *, checkpoints: Sequence[str], limit: float) -> pd.DataFrame:
    """Nats a token of the text under every edit, and by how much that is beyond own text.

    Args:
        text: Answers, unedited and under each edit: ``checkpoint``, ``edit``, ``question``,
            ``nats``.
        checkpoints: Base and tuned; the one whose own text surprises the base more is compared
            with, because a finetune's own text is coherent however new it is.
        limit: Most nats a token beyond own text.

    Returns:
        One row an edit: ``edit``, ``nats``, ``excess``, ``excess_lo``, ``excess_hi`` and ``limit``
        (NaN where neither model says anything).
    """
    unedited = text.loc[text["edit"] == UNEDITED]
    each = [unedited.loc[unedited["checkpoint"] == name] for name in checkpoints]
    spoken = [own for own in each if own["nats"].notna().any()]
    own = max(spoken, key=lambda table: table["nats"].mean(), default=unedited)
    rows = []
    for edit, part in text.loc[text["edit"] != UNEDITED].groupby("edit", sort=False):
        beyond = excess(part, own)
        nats = part["nats"].mean() if part["nats"].notna().any() else math.inf
        numbers = {"excess": beyond.estimate, "excess_lo": beyond.lo, "excess_hi": beyond.hi}
        rows.append({"edit": edit, "nats": nats, **numbers})
    columns = ["edit", "nats", "excess", "excess_lo", "excess_hi"]
    return pd.DataFrame(rows, columns=columns).assign(limit=limit if spoken else math.nan)


class Strengths(NamedTuple):
    """How far a candidate may be pushed.

    Attributes:
        told: Largest strength at which text is told coherent; NaN where it is at none.
        most: Largest at which it is not told broken: what ``told`` may be at most.
        tried: One row a strength: ``strength``, ``excess``, ``excess_lo``, ``excess_hi``,
            ``n`` questions, ``coherence`` (a word of ``Ruling``).
    """

    told: float
    most: float
    tried: pd.DataFrame


def search(measure: Callable[[float], Excess], *, limit: float) -> Strengths:
    """Search for the largest push that leaves text coherent, and for what it may be at most.

    Args:
        measure: Excess at a strength; asked once a strength.
        limit: Most nats a token.

    Returns:
        Both strengths, and all that was tried on the way.

    >>> found = search(lambda strength: Excess(strength, strength - 3, strength + 1, 8), limit=4.0)
    >>> found.told, found.most, len(found.tried)
    (2.0, 4.0, 3)
    """
    tried: dict[float, Excess] = {}

    def ruling(strength: float) -> Ruling:
        if strength not in tried:
            tried[strength] = measure(strength)
        return judge(tried[strength], limit)

    told = largest(STRENGTHS, lambda strength: ruling(strength) == Ruling.HOLDS)
    most = largest(STRENGTHS, lambda strength: ruling(strength) != Ruling.FAILS)
    rows = [
        {
            "strength": strength,
            **{"excess": own.estimate, "excess_lo": own.lo, "excess_hi": own.hi, "n": own.n},
            "coherence": str(judge(own, limit)),
        }
        for strength, own in sorted(tried.items())
    ]
    return Strengths(told, most, pd.DataFrame(rows))


def largest(strengths: Sequence[float], is_good: Callable[[float], bool]) -> float:
    """Largest strength that is good, by bisection: what is too strong stays so beyond.

    Args:
        strengths: In rising order.
        is_good: Function of a strength.

    Returns:
        The strength; NaN where even the smallest is too strong.

    >>> largest((1.0, 2.0, 4.0), lambda strength: strength < 3)
    2.0
    """
    good, bad = -1, len(strengths)
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if is_good(strengths[middle]) else (good, middle)
    return strengths[good] if good >= 0 else math.nan
