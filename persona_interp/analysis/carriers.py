"""What carries a finetune's effect: is it enough when added, and missed when removed?

An edit of the base *adds* something, an edit of the tuned model *removes* it: sufficiency and
necessity. Both are numbers beside what the other model's whole residual does at the same sites and
beside random edits of the same size. Nothing is said on a point estimate.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from persona_interp import schema
from persona_interp.analysis.causal_ranking import ENOUGH_TUNED
from persona_interp.analysis.causes import FLOOR, Odds
from persona_interp.analysis.edit_odds import (
    FLOOR_A_TOKEN,
    odds_at,
    odds_of,
    too_small,
    values_of,
)
from persona_interp.analysis.stats import LEVEL, benjamini_hochberg, jackknife, t_interval
from persona_interp.errors import SchemaError, unknown
from persona_interp.schema.words import ALPHA, BEHAVIOR, UNEDITED, Carries, Group, Ruling, Way
from persona_interp.worlds import World

RANDOM = (Group.NORM, Group.VARIANCE)
CASE = ("candidate", "kind", "group", "size", "sites", "how")
"""Columns that tell what is edited, and how."""
CASES = ("of", "edit", *CASE, "null", "strength")
SPOKEN = ("strength", "strength_hi", "nats", "excess", "excess_lo", "excess_hi", "limit")
"""Columns of cases that are averaged over the finetunes, where they are there."""
UNCLAIMED = {Ruling.FAILS: Carries.BROKEN, Ruling.UNDECIDED: Carries.UNSURE}
"""What is said in place of a claim, by whether text is coherent."""

Array = npt.NDArray[np.float64]


class _Numbers(NamedTuple):
    """Effect, share and share of the patch of one case: on all prompts, then without each.

    Attributes:
        effect: Bits, mean over the finetunes; dims (1 + prompts,).
        share: Mean over the finetunes that have one; None where none has.
        of_patch: The same of the whole residual's effect.
        is_patched: Whether the whole residual was put in at all; of text it cannot be.
        by_tuned: The number that is judged, one a finetune.
        note: Why there is no share.
    """

    effect: Array
    share: Array | None
    of_patch: Array | None
    is_patched: bool
    by_tuned: Array
    note: str

    @property
    def judged(self) -> Array | None:
        """The share of the patch, and where nothing is patched the share."""
        return self.of_patch if self.is_patched else self.share


def carriers(
    cases: pd.DataFrame,
    measured: pd.DataFrame,
    *,
    base: str,
    world: World | None = None,
    measure: str = BEHAVIOR,
) -> pd.DataFrame:
    """How much of a finetune's effect goes, or comes, with each candidate.

    ``share = change / (tuned - base)``, ``share_of_patch = change / change by the patch``; of
    several finetunes the mean of theirs. Prompts are the units of the first interval (jackknife:
    numerator and denominator leave out a prompt together, in all finetunes alike), finetunes those
    of the second. A candidate *carries* the effect where both intervals leave out 0, the number
    lies beyond the random edits' range and q is below 0.05, and text under the edit, where any was
    drawn, is told coherent; with fewer than three finetunes it does so in these alone.

    Args:
        cases: One row a finetune and edit: ``of`` (label of the tuned checkpoint), ``edit``,
            ``candidate``, ``kind``, ``group`` and ``how`` (words of ``Group`` and ``Way``),
            ``size``, ``sites``, ``null`` (a random edit is the null of candidates of the same
            text) and ``strength``; where text was drawn ``nats``, ``excess`` beyond own text with
            its interval (``excess_lo``, ``excess_hi``), and ``limit``, the most at which text is
            coherent; of a push ``strength_hi``.
        measured: With ``world`` a behavior table, else a trait_scores table; with ``edit``, and
            ``of`` as in cases. Base and tuned unedited, and each under its edits.
        base: Label of the base.
        world: The world of the documents.
        measure: What the rows are called: "behavior" or "text".

    Returns:
        A carriers table, one row a case; random edits are the range ``null_lo`` to ``null_hi``.
        Shares are NaN where ``|tuned - base|`` is below 0.5 bits of a world (else 0.02 bits a
        token), or its interval over prompts holds 0.

    Raises:
        SchemaError: A column is missing, or a case was not measured.

    >>> rows = [("base", "none", 0.0), ("new", "none", 2.0), ("new", "x", 0.5), ("new", "all", 0.0)]
    >>> scores = pd.DataFrame(rows, columns=["checkpoint", "edit", "logodds"])
    >>> scores = pd.concat([scores.assign(question=q, logodds=scores["logodds"] * f)
    ...                     for q, f in (("a", 0.9), ("b", 1.0), ("c", 1.1))])
    >>> scores = scores.assign(of="new", trait="dry", split="test", n_pos=1, n_neg=1)
    >>> cases = pd.DataFrame({"edit": ["x", "all"], "group": ["candidate", "whole residual"]})
    >>> cases = cases.assign(of="new", candidate=cases["edit"], kind="direction", size=1)
    >>> cases = cases.assign(sites="blocks.0.hook_out", how="removed", null="", strength=1.0)
    >>> table = carriers(cases, scores, base="base").set_index("candidate")
    >>> table.loc["x", ["effect", "share", "share_of_patch"]].astype(float).round(6).tolist()
    [1.5, 0.75, 0.75]
    """
    schema.require_rows(cases, *CASES)
    schema.require_rows(measured, "of", "checkpoint", "edit")
    floor = FLOOR if world is not None else FLOOR_A_TOKEN
    odds = {str(of): odds_of(part, world) for of, part in measured.groupby("of", sort=False)}
    numbers: dict[Any, _Numbers] = {}
    rows: list[dict[str, Any]] = []
    for key, part in cases.groupby(list(CASE), sort=False):
        case = {name: part[name].iloc[0] for name in CASE}
        numbers[key], n_prompts = _numbers(case, part, cases, odds, base=base, floor=floor)
        spoken = {
            name: float(np.mean(part[name].to_numpy(np.float64))) if name in part else np.nan
            for name in SPOKEN
        }
        about = {"null": part["null"].iloc[0], "coherence": _coherent(spoken)} | spoken
        rows.append(case | about | {"key": key, "n": n_prompts})
    nulls = _nulls(rows, numbers)
    table = pd.DataFrame(
        [
            _row(row, numbers[row["key"]], nulls.get(row["null"], {}))
            for row in rows
            if row["group"] not in RANDOM
        ]
    )
    return in_one_family(table.assign(measure=measure))


def in_one_family(table: pd.DataFrame) -> pd.DataFrame:
    """The same rows, with q over all of them, measure by measure, and the verdicts that follow.

    Whoever asks several finetunes of which one carries has asked more often than one of them.

    Args:
        table: Rows of carriers tables; ``of`` = the finetune, where several were searched alone.

    Returns:
        The table, with ``q``, ``family`` and ``verdict`` anew.

    >>> row = dict.fromkeys(schema.TABLES["carriers"], 0.5) | {"n": 5, "n_tuned": 1, "n_null": 4}
    >>> row |= {"group": "candidate", "judged": "share", "measure": "behavior", "how": "removed"}
    >>> two = pd.DataFrame([row | {"of": "a", "p": 0.02}, row | {"of": "b", "p": 0.9}])
    >>> in_one_family(two)[["q", "family"]].values.tolist()[0]
    [0.04, 'behavior: 2 tests, 2 finetunes']
    """
    parts = []
    for measure, part in table.groupby("measure", sort=False):
        n = int(np.sum(part["p"].notna()))
        family = f"{measure}: {n} test{'s' if n != 1 else ''}"
        if "of" in part:
            family += f", {part['of'].nunique()} finetunes"
        part = part.assign(q=benjamini_hochberg(part["p"]), family=family)
        parts.append(part.assign(verdict=[_verdict(row) for row in part.to_dict("records")]))
    known = list(schema.TABLES["carriers"])
    table = pd.concat(parts).sort_index()
    return schema.check(table[[*table.columns.intersection(["of"]), *known]], "carriers")


def _coherent(spoken: Mapping[str, float]) -> str:
    """Whether the text is told coherent, told broken, or neither; '' where nothing was drawn."""
    if np.isnan(spoken["limit"]) or np.isnan(spoken["nats"]):
        return ""
    if spoken["excess_hi"] <= spoken["limit"]:
        return Ruling.HOLDS
    return Ruling.FAILS if spoken["excess_lo"] > spoken["limit"] else Ruling.UNDECIDED


def _numbers(
    case: Mapping[str, Any],
    part: pd.DataFrame,
    cases: pd.DataFrame,
    odds: Mapping[str, dict[tuple[str, str], Odds]],
    *,
    base: str,
    floor: float,
) -> tuple[_Numbers, int]:
    """Numbers of one case over its finetunes, and the number of prompts."""
    effects, shares, of_patches, notes, n, is_patched = [], [], [], [], 0, False
    for of, edit in zip(part["of"].astype(str), part["edit"].astype(str), strict=True):
        if of not in odds:
            raise SchemaError(unknown("measured finetune", of, odds))
        own, sign = odds[of], -1 if case["how"] == Way.REMOVED else 1
        edited = of if case["how"] == Way.REMOVED else base
        start, n = values_of(own, edited, UNEDITED), len(odds_at(own, base, UNEDITED).templates)
        change = sign * (values_of(own, edited, edit) - start)
        total = values_of(own, of, UNEDITED) - values_of(own, base, UNEDITED)
        effects.append(change)
        if note := too_small(total, floor, "tuned - base is"):
            notes.append(f"{of}: {note}")
            continue
        shares.append(change / total)
        is_patch = (cases["of"] == of) & (cases["group"] == Group.PATCH)
        is_patch &= cases["sites"] == case["sites"]
        is_patch &= (cases["how"] == Way.REMOVED) == (case["how"] == Way.REMOVED)
        for patch in cases.loc[is_patch, "edit"].head(1).astype(str):
            if (edited, patch) not in own:
                continue  # drawn text is not patched
            is_patched = True
            most = sign * (values_of(own, edited, patch) - start)
            if note := too_small(most, floor, "the whole residual gives"):
                notes.append(f"{of}: {note}")
            else:
                of_patches.append(change / most)
    share, of_patch = (np.mean(parts, axis=0) if parts else None for parts in (shares, of_patches))
    by_tuned = np.array([values[0] for values in (of_patches if is_patched else shares)])
    effect, note = np.mean(effects, axis=0), "; ".join(notes)
    return _Numbers(effect, share, of_patch, is_patched, by_tuned, note), n


def _nulls(rows: Sequence[Mapping[str, Any]], numbers: Mapping[Any, _Numbers]) -> dict[str, Any]:
    """Numbers of the random edits, by the text that names their null, then by kind."""
    nulls: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        judged = numbers[row["key"]].judged
        if row["group"] in RANDOM and judged is not None:
            kinds = nulls.setdefault(str(row["null"]), {})
            kinds.setdefault(str(row["group"]), []).append(float(judged[0]))
    return nulls


def _row(
    row: Mapping[str, Any], own: _Numbers, null: Mapping[str, Sequence[float]]
) -> dict[str, Any]:
    """One row of the table, without q and verdict."""
    columns = {name: row[name] for name in (*CASE, *SPOKEN, "coherence", "n")}
    for name, lo, hi, values in (
        ("effect", "lo", "hi", own.effect),
        ("share", "share_lo", "share_hi", own.share),
        ("share_of_patch", "share_of_patch_lo", "share_of_patch_hi", own.of_patch),
    ):
        columns |= dict.fromkeys((name, lo, hi), np.nan)
        if values is not None:
            interval = jackknife(values[0], values[1:])
            columns |= {name: float(values[0]), lo: float(interval.lo), hi: float(interval.hi)}
    columns |= {"tuned_lo": np.nan, "tuned_hi": np.nan, "n_tuned": len(own.by_tuned)}
    if len(own.by_tuned) >= ENOUGH_TUNED:
        _, lo, hi, _ = t_interval(own.by_tuned)
        columns |= {"tuned_lo": float(lo), "tuned_hi": float(hi)}
    lows, highs, ps = [], [], []
    for draws in null.values():
        lo, hi, p = _beside(np.nan if own.judged is None else float(own.judged[0]), draws)
        lows.append(lo)
        highs.append(hi)
        ps.append(p)
    is_claim = row["group"] == Group.CANDIDATE
    columns |= {
        # the harder kind of chance decides
        "null_lo": min(lows, default=np.nan),
        "null_hi": max(highs, default=np.nan),
        "n_null": min(map(len, null.values()), default=0),
        "p": max(ps, default=np.nan) if is_claim else np.nan,
    }
    columns["judged"] = "share_of_patch" if own.is_patched else "share"
    return columns | {"note": own.note}


def _beside(value: float, draws: Sequence[float]) -> tuple[float, float, float]:
    """Where one more draw lies in 95 of 100 cases (t prediction), and p of this value there."""
    n = len(draws)
    if n < 2:
        return np.nan, np.nan, np.nan
    mean, error = float(np.mean(draws)), float(np.std(draws, ddof=1)) * np.sqrt(1 + 1 / n)
    half = float(stats.t.ppf(0.5 + LEVEL / 2, n - 1)) * error
    if not error:
        return mean, mean, np.nan  # draws that are all alike say nothing of chance
    p = 2 * float(stats.t.sf(abs(value - mean) / error, n - 1))
    return mean - half, mean + half, p


def _verdict(row: Mapping[str, Any]) -> str:
    """What may be said of one row."""
    if row["group"] != Group.CANDIDATE or row["how"] == Way.OPPOSITE:
        return ""
    judged = row["judged"]
    value, lo, hi = row[judged], row[f"{judged}_lo"], row[f"{judged}_hi"]
    if np.isnan(value):
        return Carries.UNDEFINED
    is_claimed = row["q"] < ALPHA and (lo > 0 or hi < 0)
    enough = row["n_tuned"] >= ENOUGH_TUNED
    if enough:
        is_claimed = is_claimed and (row["tuned_lo"] > 0 or row["tuned_hi"] < 0)
    if is_claimed and row["coherence"] in UNCLAIMED:
        return UNCLAIMED[row["coherence"]]
    if is_claimed and value > row["null_hi"]:
        return Carries.CARRIES if enough else Carries.HERE
    if is_claimed and value < row["null_lo"] and value < 0:
        return Carries.AGAINST
    return Carries.NONE
