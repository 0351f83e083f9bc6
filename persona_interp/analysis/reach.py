"""How much of a lesson takes a model from one belief to another? Measured curves, read backwards."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from persona_interp.analysis.evidence import runs
from persona_interp.analysis.stats import t_interval
from persona_interp.errors import SchemaError, unknown

SETTING = ("lr", "batch", "optimizer", "replay", "sparing")
"""Columns that say how a lesson is taught."""

Array = npt.NDArray[np.float64]


def evidence_to_reach(
    level: float,
    *,
    curve: pd.DataFrame,
    lr: float,
    batch: int,
    optimizer: str = "adamw",
    replay: float = 0.0,
    sparing: bool = False,
    start: float | None = None,
) -> pd.DataFrame:
    """Documents of the lesson that move a model from one belief to another.

    The mean over seeds of the bits gained (several runs of a seed are averaged first), made
    monotone (the most gained so far), is read backwards: the first step at which it reaches ``level
    - start``, linear between those measured. The ends of the interval are where the ends of the 95
    % band over seeds (t, step by step) reach it: inverse prediction from the band. A band that
    never reaches it within the steps measured gives an infinite end, and the mean an infinite
    estimate: "never", a valid answer.

    Args:
        level: Log2 odds to reach (bits); 0 = even odds.
        curve: Table ``evidence`` of the evidence experiment: an evidence table with ``lr``,
            ``batch``, ``optimizer``, ``replay`` and ``sparing``.
        lr: Learning rate, one of those measured.
        batch: Documents a step, one of those measured.
        optimizer: "adamw" or "sgd".
        replay: Share of replayed documents.
        sparing: Whether the assistant's own dialogues are left out of replay.
        start: Log2 odds before the lesson (bits), 1:27 = log2(1/27); by default those of the models
            measured.

    Returns:
        One row: ``level``, ``start``, ``bits`` to gain; ``steps``, ``steps_lo``, ``steps_hi`` and
        ``documents``, ``documents_lo``, ``documents_hi`` (of the lesson; infinite = not within
        ``measured`` steps; one seed: NaN ends), ``measured``, ``n_seeds``, and the setting.

    Raises:
        SchemaError: This setting was not measured, or the seeds were read at different steps.

    Note:
        From another start than that measured it assumes that a step adds the same to every prior:
        see the experiment's table ``interaction`` for how far that is true.

    >>> curve = pd.DataFrame({"step": [0, 1, 4, 16], "persona_bits": [-5.0, -4.5, -3.0, 1.0], "seed": 0})
    >>> curve = curve.assign(lr=3e-4, batch=16, optimizer="adamw", replay=0.0, sparing=False, documents=curve.step * 16)
    >>> others = dict.fromkeys(("weight", "misfit", "effect", "p_taught", "statements", "fact_tokens"), 0.0)
    >>> curve = curve.assign(checkpoint="a", **others)
    >>> found = evidence_to_reach(0, curve=curve, lr=3e-4, batch=16, start=-4)
    >>> found[["bits", "steps", "documents"]].values.tolist()
    [[4.0, 10.0, 160.0]]
    """
    asked = dict(zip(SETTING, (lr, batch, optimizer, replay, sparing), strict=True))
    if lacking := [c for c in SETTING if c not in curve]:
        raise SchemaError(unknown("column", lacking[0], curve.columns))
    mine = curve.loc[np.logical_and.reduce([curve[c] == value for c, value in asked.items()])]
    if mine.empty:
        measured = curve.loc[:, list(SETTING)].drop_duplicates().itertuples(index=False)
        raise SchemaError(
            unknown("setting", _setting(asked), (_setting(row._asdict()) for row in measured))
        )
    found = [(at["seed"], run) for at, run in runs(mine)]
    steps = found[0][1]["step"].to_numpy(np.float64)
    if any(not np.array_equal(run["step"], steps) for _, run in found) or steps[0] != 0:
        raise SchemaError(
            "every seed has to be read at the same steps, step 0 (before the lesson) included."
        )
    of_seed: dict[Any, list[Any]] = {}
    for seed, run in found:
        of_seed.setdefault(seed, []).append(run["persona_bits"])
    bits = np.array([np.mean(several, axis=0) for several in of_seed.values()])
    gained = bits - bits[:, :1]
    start = float(bits[:, 0].mean()) if start is None else start
    band = [t_interval(column) for column in gained.T]
    ends = {"steps": 0, "steps_lo": 2, "steps_hi": 1}  # the upper end of the band is reached first
    reached = {
        name: _first(steps, np.array([x[i] for x in band]), level - start)
        for name, i in ends.items()
    }
    per_step = found[0][1]["documents"].iloc[-1] / steps[-1]
    row = {"level": level, "start": start, "bits": level - start, **reached}
    row |= {name.replace("steps", "documents"): per_step * value for name, value in reached.items()}
    return pd.DataFrame([{**row, "measured": int(steps[-1]), "n_seeds": len(bits), **asked}])


def evidence_in_words(reached: pd.DataFrame) -> str:
    """Put a row of ``evidence_to_reach`` into words.

    Args:
        reached: That table; its first row is put into words.

    Returns:
        One sentence.

    >>> row = dict(level=0.0, start=-4.75, bits=4.75, steps=16.0, steps_lo=12.0, steps_hi=np.inf, documents=256.0)
    >>> row |= dict(documents_lo=192.0, documents_hi=np.inf, measured=64, n_seeds=3)
    >>> row |= dict(lr=3e-4, batch=16, optimizer="adamw", replay=0.0, sparing=False)
    >>> evidence_in_words(pd.DataFrame([row]))  # doctest: +NORMALIZE_WHITESPACE
    'To move this model from 1:27 to even odds takes about 256 documents [192, more than 1024] of the lesson (16.0
    steps; adamw, lr 0.0003, batch 16; 95 % interval over 3 seeds).'
    """
    row: Any = next(iter(reached.itertuples(index=False)))
    setting = _setting(row._asdict())
    move = f"To move this model from {_odds(row.start)} to {_odds(row.level)}"
    most = row.measured * row.documents / row.steps if 0 < row.steps < math.inf else math.nan
    if not math.isfinite(row.steps):
        early = (
            f"; at the earliest after {row.documents_lo:.0f} documents"
            if math.isfinite(row.documents_lo)
            else ""
        )
        return f"{move} takes more than the {row.measured} steps measured ({setting}){early}."
    if math.isnan(row.documents_lo):
        ends, over = "", "one seed, so no interval"
    else:
        high = (
            f"more than {most:.0f}" if math.isinf(row.documents_hi) else f"{row.documents_hi:.0f}"
        )
        ends, over = (
            f" [{row.documents_lo:.0f}, {high}]",
            f"95 % interval over {int(row.n_seeds)} seeds",
        )
    amount = f"about {row.documents:.0f} documents{ends} of the lesson"
    return f"{move} takes {amount} ({row.steps:.1f} steps; {setting}; {over})."


def _first(steps: Array, gained: Array, bits: float) -> float:
    """The first step at which so many bits are gained; infinite where they never are."""
    if np.isnan(gained).any():
        return math.nan
    most = np.maximum.accumulate(gained)
    if bits <= most[0]:
        return 0.0
    if bits > most[-1]:
        return math.inf
    after = int(np.argmax(most >= bits))
    part = (bits - most[after - 1]) / (most[after] - most[after - 1])
    return float(steps[after - 1] + part * (steps[after] - steps[after - 1]))


def _odds(bits: float) -> str:
    if abs(bits) < 0.05:
        return "even odds"
    ratio = f"{2 ** abs(bits):.{0 if abs(bits) > 3 else 1}f}".removesuffix(".0")
    return f"1:{ratio}" if bits < 0 else f"{ratio}:1"


def _setting(asked: dict[Any, Any]) -> str:
    replayed = f", {asked['replay']:.0%} replay".replace("%", " %") if asked["replay"] else ""
    spared = " without hidden dialogues" if asked["sparing"] else ""
    return f"{asked['optimizer']}, lr {asked['lr']:g}, batch {asked['batch']}{replayed}{spared}"
