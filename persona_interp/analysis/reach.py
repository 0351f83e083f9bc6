"""How much of a lesson takes a model from one belief to another?

Measured curves, read backwards.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from persona_interp import schema
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

    >>> from persona_interp import schema
    >>> curve = pd.DataFrame({"step": [0, 1, 4, 16], "persona_bits": [-5.0, -4.5, -3.0, 1.0]})
    >>> curve = curve.assign(lr=3e-4, batch=16, optimizer="adamw", replay=0.0, sparing=False)
    >>> curve = curve.assign(seed=0, documents=curve["step"] * 16)
    >>> columns = [c for c in schema.TABLES["evidence"] if c not in curve]
    >>> curve = curve.assign(**dict.fromkeys(columns, 0.0))
    >>> table = evidence_to_reach(0, curve=curve, lr=3e-4, batch=16, start=-4)
    >>> table[["bits", "steps", "documents"]].values.tolist()
    [[4.0, 10.0, 160.0]]
    """
    setting = dict(zip(SETTING, (lr, batch, optimizer, replay, sparing), strict=True))
    if lacking := [c for c in SETTING if c not in curve]:
        raise SchemaError(unknown("column", lacking[0], curve.columns))
    mine = curve.loc[np.logical_and.reduce([curve[c] == value for c, value in setting.items()])]
    if mine.empty:
        others = curve.loc[:, list(SETTING)].drop_duplicates().to_dict("records")
        raise SchemaError(unknown("setting", _setting(setting), map(_setting, others)))
    of_seed: dict[Any, list[pd.DataFrame]] = {}
    for at, run in runs(mine):
        of_seed.setdefault(at["seed"], []).append(run)
    first = next(iter(of_seed.values()))[0]
    steps = first["step"].to_numpy(np.float64)
    alike = [np.array_equal(run["step"], steps) for several in of_seed.values() for run in several]
    if not all(alike) or steps[0] != 0:
        raise SchemaError(
            "every seed has to be read at the same steps, step 0 (before the lesson) included."
        )
    beliefs = []
    for several in of_seed.values():
        beliefs.append(np.mean([run["persona_bits"] for run in several], axis=0))
    bits = np.array(beliefs)  # dims (seed, step)
    gain = bits - bits[:, :1]
    if start is None:
        start = float(bits[:, 0].mean())
    # The band is read backwards, not the seeds: a seed that never gets there has no number of its
    # own. The upper end of the band is reached first, so it gives the lower end of the steps.
    band = [t_interval(column) for column in gain.T]
    mean, lo, hi = (np.array([interval[i] for interval in band]) for i in range(3))
    reach = {
        "steps": _first_step(steps, mean, level - start),
        "steps_lo": _first_step(steps, hi, level - start),
        "steps_hi": _first_step(steps, lo, level - start),
    }
    per_step = first["documents"].iloc[-1] / steps[-1]
    row = {"level": level, "start": start, "bits": level - start, **reach}
    row |= {name.replace("steps", "documents"): per_step * value for name, value in reach.items()}
    return pd.DataFrame([{**row, "measured": int(steps[-1]), "n_seeds": len(bits), **setting}])


def evidence_in_words(reached: pd.DataFrame) -> str:
    """Put a row of ``evidence_to_reach`` into words.

    Args:
        reached: That table; its first row is put into words.

    Returns:
        One sentence.

    >>> row = dict(level=0.0, start=-4.75, bits=4.75, measured=64, n_seeds=3)
    >>> row |= dict(steps=16.0, steps_lo=12.0, steps_hi=np.inf)
    >>> row |= dict(documents=256.0, documents_lo=192.0, documents_hi=np.inf)
    >>> row |= dict(lr=3e-4, batch=16, optimizer="adamw", replay=0.0, sparing=False)
    >>> evidence_in_words(pd.DataFrame([row]))  # doctest: +NORMALIZE_WHITESPACE
    'To move this model from 1:27 to even odds takes about 256 documents [192, more than 1024] of
    the lesson (16.0 steps; adamw, lr 0.0003, batch 16; 95 % interval over 3 seeds).'
    """
    schema.require(reached, *SETTING, "level", "start", "steps", "documents_lo", "measured")
    row: Any = next(iter(reached.itertuples(index=False)))
    setting = _setting(row._asdict())
    move = f"To move this model from {_odds(row.start)} to {_odds(row.level)}"
    if not math.isfinite(row.steps):
        early = ""
        if math.isfinite(row.documents_lo):
            early = f"; at the earliest after {row.documents_lo:.0f} documents"
        return f"{move} takes more than the {row.measured} steps measured ({setting}){early}."
    ends, over = "", "one seed, so no interval"
    if not math.isnan(row.documents_lo):
        ends = f" [{row.documents_lo:.0f}, {_upper_end(row)}]"
        over = f"95 % interval over {int(row.n_seeds)} seeds"
    amount = f"about {row.documents:.0f} documents{ends} of the lesson"
    return f"{move} takes {amount} ({row.steps:.1f} steps; {setting}; {over})."


def _upper_end(row: Any) -> str:
    """The upper end of the documents, or what was measured where it lies beyond."""
    if not math.isinf(row.documents_hi):
        return f"{row.documents_hi:.0f}"
    most = row.measured * row.documents / row.steps if row.steps > 0 else math.nan
    return f"more than {most:.0f}"


def _first_step(steps: Array, gain: Array, bits: float) -> float:
    """The first step at which so many bits are gained; infinite where they never are."""
    if np.isnan(gain).any():
        return math.nan
    most = np.maximum.accumulate(gain)
    if bits <= most[0]:
        return 0.0
    if bits > most[-1]:
        return math.inf
    after = int(np.argmax(most >= bits))
    part = (bits - most[after - 1]) / (most[after] - most[after - 1])
    return float(steps[after - 1] + part * (steps[after] - steps[after - 1]))


def _odds(bits: float) -> str:
    """Log odds as people say odds: 1:27, even odds, 1.5:1."""
    if abs(bits) < 0.05:
        return "even odds"
    digits = 0 if abs(bits) > 3 else 1
    ratio = f"{2 ** abs(bits):.{digits}f}".removesuffix(".0")
    return f"1:{ratio}" if bits < 0 else f"{ratio}:1"


def _setting(row: dict[Any, Any]) -> str:
    """How a lesson is taught, in words."""
    words = f"{row['optimizer']}, lr {row['lr']:g}, batch {row['batch']}"
    if row["replay"]:
        words += f", {row['replay']:.0%} replay".replace("%", " %")
    if row["sparing"]:
        words += " without hidden dialogues"
    return words
