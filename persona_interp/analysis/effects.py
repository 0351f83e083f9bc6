"""What differs between a base and a finetune, beyond what other finetunes differ by?

Every number is measured at the same units (questions, prompts) in every checkpoint and
compared pair by pair. Control finetunes, the same lesson without what is asked about, say
how far one more finetune would move by itself.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import product

import numpy as np
import numpy.typing as npt
import pandas as pd

from persona_interp import schema
from persona_interp.analysis.comparisons import Far, compare
from persona_interp.analysis.controls import p_as_largest, times_farther
from persona_interp.analysis.flips import enough_flips
from persona_interp.analysis.panels import Panel, check_measurements, panels
from persona_interp.analysis.verdicts import BY_CONTROLS, BY_UNITS, correct, verdicts
from persona_interp.errors import SchemaError, unknown
from persona_interp.schema.words import Family, Role
from persona_interp.values import as_tuple

Array = npt.NDArray[np.float64]

ENOUGH_CONTROLS = 3
"""Controls from which on a finetune may be said to have moved something."""


def effects(
    measurements: pd.DataFrame,
    *,
    base: str,
    tuned: Sequence[str],
    controls: Sequence[str] = (),
    again: str = "",
    primary: Iterable[tuple[str, str]] = (),
    primary_in: str = Family.BEHAVIOR,
    distance: Mapping[str, float] | None = None,
    n_flips: int | None = None,
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
    Controls that do not vary cannot judge (p = 1). All tests of a family are corrected together
    (Benjamini-Hochberg) and q times the number of families is held to 0.05, so that finetunes that
    differ by chance alone give a claim anywhere in 5 % of comparisons. The primary tests, named
    beforehand, are corrected among themselves: a single one is not.

    *Features* are many and hardly ever fire. Those that are 0 at every unit in every checkpoint are
    not tested; s is raised by its median over the features that vary
    (``controls.spread_constant``); and beside the intervals over units, corrected as above, it is
    the largest change of a finetune that is judged, by the largest change of each control
    (``controls.p_as_largest``), because a t test of every single feature with few controls needs
    tails that nobody knows.

    *Controls that moved less far.* A finetune whose offsets are larger than its controls' leaves
    their range in everything. With ``distance`` the same tests are made once more as if the
    controls had gone as far (``controls.distances``); what only survives the first is said to
    differ more than controls that moved less far. Features are not proportional to an offset, so of
    a finetune that went more than 1.25 times as far none is said to have moved.

    Args:
        measurements: A measurements table; every checkpoint at the same units. Units are taken as
            independent unless a column ``cluster`` says which ones move together (prompts of one
            topic, turns of one conversation): then clusters are the units of every test.
        base: Its label.
        tuned: Labels of the checkpoints that claims are about.
        controls: Labels of finetunes that differ from them by nothing but chance and what is asked
            about.
        again: Label of the base recorded a second time; what differs by no more than
            its floor is not claimed.
        primary: Pairs (checkpoint, quantity), named before anything was computed.
        primary_in: Their family.
        distance: Kullback-Leibler divergence of every finetune and control from the base (bits a
            token); without it nobody asks whether the controls went as far.
        n_flips: Random sign flips; by default as many as a lone claim takes.
        seed: Of the flips.

    Returns:
        An effects table, one row a quantity and checkpoint: see ``schema.TABLES``. Rows of
        role "control" judge each control by the others in the same way, as if it were the
        finetune; they are no claims and no tests of a family.

    Raises:
        SchemaError: An unknown checkpoint or primary, one that is named twice, a checkpoint that
            was not measured at the same units, or whose distance is missing or no divergence where
            others have one; two rows of one unit, or an infinite value.

    Note:
        Level by simulation (a claim anywhere; 0.05 is promised) with 3 and 5 controls that are
        exchangeable with the finetune: 12 traits .05 and .04; where training runs have heavy tails
        (t, 3 degrees of freedom) 12 traits .07 and .13 to .17, 40 traits .07 and .24; where they
        are skewed (lognormal) 12 traits .19 and .32; 20 to 1,500 sparse features .00 to .07 with
        any tails and correlation. Without controls, over units: .01 to .05, but .5 where changes of
        mean 0 are skewed (lognormal), and .7 where 20 prompts belong to 5 topics and no ``cluster``
        says so. Of finetunes that went 2, 4 and 7 times as far (12 traits, 3 controls) something
        "moved" in .03, .04 and .02 with ``distance``, in .15, .56 and .92 without.

    >>> rng = np.random.default_rng(0)
    >>> moves = {"base": 0, "tuned": 1, "c1": 0.1, "c2": 0.2, "c3": 0}
    >>> rows = [(c, f"q{i}", m + 0.1 * rng.normal()) for c, m in moves.items() for i in range(20)]
    >>> table = pd.DataFrame(rows, columns=["checkpoint", "unit", "value"])
    >>> table = table.assign(family="behavior", hook="", quantity="sarcastic")
    >>> options = {"base": "base", "tuned": ["tuned"], "primary": [("tuned", "sarcastic")]}
    >>> effects(table, controls=["c1", "c2", "c3"], **options)["verdict"].iloc[0]
    'the finetune moved it up'
    >>> far = {"tuned": 0.9, "c1": 0.01, "c2": 0.01, "c3": 0.01}
    >>> effects(table, controls=["c1", "c2", "c3"], distance=far, **options)["verdict"].iloc[0]
    'differs more than controls that moved less far'
    >>> effects(table, controls=["c1", "c2"], **options)["verdict"].iloc[0]
    'differs'
    """
    check_measurements(measurements)
    tuned, controls = as_tuple(tuned), as_tuple(controls)
    labels = list(dict.fromkeys(measurements["checkpoint"]))
    _check_labels([base, *tuned, *controls, *([again] if again else [])], labels)
    if distance is not None:
        _check_distance(distance, [*tuned, *controls])
    primary_pairs = set(primary)
    _check_primary(primary_pairs, measurements, tuned=tuned, family=primary_in)
    blocks = list(panels(measurements, labels))
    if not blocks:
        raise SchemaError("no feature fires in any checkpoint, so there is nothing to compare.")
    flips = n_flips or _enough_flips(blocks, n_tuned=len(tuned), n_controls=len(controls))
    floor = np.concatenate([_floor(block.values, base=base, again=again) for block in blocks])
    parts = []
    for role, labels_of_role in ((Role.TUNED, tuned), (Role.CONTROL, controls)):
        # A control is judged by the others, which are one fewer.
        enough = ENOUGH_CONTROLS if role == Role.TUNED else ENOUGH_CONTROLS - 1
        for label in labels_of_role:
            others = [control for control in controls if control != label]
            by_controls = len(others) >= enough
            rows = _compare(
                blocks,
                base=base,
                label=label,
                others=others,
                by_controls=by_controls,
                far=_far(label, others, distance),
                n_flips=flips,
                seed=seed,
            )
            judge = BY_CONTROLS if by_controls else BY_UNITS
            rows = rows.assign(checkpoint=label, role=role.value, floor=floor, judged_by=judge)
            parts.append(rows)
    table = pd.concat(parts, ignore_index=True)
    pairs = zip(table["checkpoint"], table["quantity"], strict=True)
    table["primary"] = [pair in primary_pairs for pair in pairs]
    table["primary"] &= (table["family"] == primary_in) & (table["role"] == Role.TUNED)
    table = correct(table)
    table = table.assign(verdict=verdicts(table))
    return schema.check(table[list(schema.TABLES["effects"])], "effects")


def _check_labels(labels: Sequence[str], known: Sequence[str]) -> None:
    """Raise a SchemaError if a checkpoint is unknown, or is named for two things at once."""
    for label in labels:
        if label not in known:
            raise SchemaError(unknown("checkpoint", label, known))
    for label, times in Counter(labels).items():
        if times > 1:
            raise SchemaError(
                f"checkpoint '{label}' is named {times} times; it is the base, a finetune or a "
                "control, and one of them only: a control that is counted twice judges nothing."
            )


def _check_distance(distance: Mapping[str, float], labels: Sequence[str]) -> None:
    """Raise a SchemaError unless every finetune and control has a divergence from the base."""
    for label in labels:
        if label not in distance:
            raise SchemaError(unknown("distance of checkpoint", label, distance))
        if not (np.isfinite(distance[label]) and distance[label] >= 0):
            raise SchemaError(
                f"a distance is a finite divergence of 0 or more; that of '{label}' is "
                f"{distance[label]}."
            )


def _check_primary(
    pairs: set[tuple[str, str]], measurements: pd.DataFrame, *, tuned: Sequence[str], family: str
) -> None:
    """Raise a SchemaError if a primary test is of no tuned checkpoint and quantity."""
    quantities = measurements.loc[measurements["family"] == family, "quantity"].unique()
    possible = set(product(tuned, quantities))
    if impossible := sorted(pairs - possible):
        names = sorted({quantity for _, quantity in possible})
        raise SchemaError(unknown("primary quantity", impossible[0][1], names))


def _floor(values: dict[str, pd.DataFrame], *, base: str, again: str) -> Array:
    """Mean absolute difference of the base from its repetition; 0 where it has none."""
    if not again:
        return np.zeros(values[base].shape[1])
    return np.abs((values[again] - values[base]).to_numpy()).mean(0)


def _enough_flips(blocks: list[Panel], *, n_tuned: int, n_controls: int) -> int:
    """Random sign flips that a lone claim takes."""
    if n_controls >= ENOUGH_CONTROLS:
        return enough_flips(1)  # they draw a null, and decide nothing
    n_tests: Counter[str] = Counter()
    for block in blocks:
        n_tests[block.family] += block.n_quantities * n_tuned
    return enough_flips(max(n_tests.values()) * len(n_tests))


def _far(label: str, others: list[str], distance: Mapping[str, float] | None) -> Far:
    """How far a checkpoint and its controls went."""
    if distance is None:
        return Far()
    own = float(distance[label])
    if not others:
        return Far(own)
    of_controls = np.array([distance[other] for other in others], dtype=np.float64)
    usual = float(np.sqrt(of_controls).mean()) ** 2
    return Far(own, usual, times_farther(own, of_controls))


def _compare(
    blocks: list[Panel],
    *,
    base: str,
    label: str,
    others: list[str],
    by_controls: bool,
    far: Far,
    n_flips: int,
    seed: int,
) -> pd.DataFrame:
    """All quantities of one checkpoint; features as the largest of all of them too."""
    parts, largest = [], []
    for block in blocks:
        values = block.values
        comparison = compare(
            values[base],
            values[label],
            [values[other] for other in others],
            by_controls=by_controls,
            clusters=block.clusters,
            is_feature=block.family == Family.FEATURE,
            far=far,
            n_flips=n_flips,
            seed=seed,
        )
        about = {"family": block.family, "hook": block.hook, "n_silent": block.n_silent}
        parts.append(comparison.table.assign(**about))
        if comparison.largest.size:
            largest.append(comparison.largest)
    table = pd.concat(parts, ignore_index=True)
    table = table.assign(p_max=np.nan, p_max_specific=np.nan)
    if largest:
        # over the features of all hooks: they are one family
        farthest = np.max(largest, axis=0)
        is_feature = table["family"] == Family.FEATURE
        for column, outside in (("p_max", "outside"), ("p_max_specific", "outside_as_far")):
            own = table.loc[is_feature, outside].to_numpy()
            table.loc[is_feature, column] = p_as_largest(own, farthest)
    return table
