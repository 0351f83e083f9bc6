"""Which edits remove a candidate or add it, and which random edits stand beside it?"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from persona_interp import record
from persona_interp.experiments.causes.candidates import Array, Candidate, Part, within
from persona_interp.experiments.causes.config import MOST_SIZE
from persona_interp.record import Edit
from persona_interp.schema.words import Group, Way


class Case(NamedTuple):
    """One run of a model.

    Attributes:
        row: Of the cases table.
        edits: What is on together.
        draw: Number of a random one among those of its kind.
    """

    row: dict[str, Any]
    edits: tuple[Edit, ...]
    draw: int = 0


def remove(candidates: Iterable[Candidate]) -> list[Case]:
    """Each candidate taken out of the tuned model.

    Args:
        candidates: Directions are projected out, features set to 0.

    Returns:
        Cases.
    """
    cases = []
    for one in candidates:
        name = f"remove {one.name} ({one.size}) at {one.sites}"
        null = f"{Way.REMOVED} {one.size} at {one.sites}"
        row = _row(one, Way.REMOVED, edit=name, null=null)
        edits = [_take_out(part, f"{name}: {i}") for i, part in enumerate(one.parts)]
        cases.append(Case(row, tuple(edits), one.draw))
    return cases


def add(
    one: Candidate,
    shift: Mapping[str, Array],
    *,
    way: str,
    strength: float = 1.0,
    most: float = np.nan,
    random: Mapping[str, Mapping[str, Array]] | None = None,
    n_random: int = 0,
    along: Mapping[str, Array] | None = None,
) -> list[Case]:
    """A candidate added to the base, and random directions as long beside it.

    At several sites each gets an equal part, because later ones hold what earlier ones passed on.

    Args:
        one: The candidate.
        shift: How far the finetune moved the mean residual, by hook.
        way: "added", "pushed" or "pushed the other way".
        strength: Multiple of what the finetune moved within the candidate; negative = away.
        most: What the strength of a push may be at most, as far as is told.
        random: Random directions, as of ``random_candidates``.
        n_random: Of either kind.
        along: What is added instead of the part of the shift, by hook: a control as long as the
            target's.

    Returns:
        Cases, the candidate first; none where the finetune did not move along it.
    """
    factor, own = strength / len(one.parts), along or {}
    vectors = {part.hook: own.get(part.hook, within(part, shift[part.hook])) for part in one.parts}
    lengths = {hook: float(np.linalg.norm(vector)) for hook, vector in vectors.items()}
    if not all(lengths.values()):
        return []
    name, null = f"{way} {one.name} ({one.size}) at {one.sites}", f"{way} {one.name} at {one.sites}"
    row = _row(one, way, edit=name, null=null) | {"strength": strength, "strength_hi": most}
    cases = [Case(row, _pushes(vectors, factor, name))]
    for kind, by_hook in (random or {}).items():
        for i in range(n_random):
            rows = {hook: by_hook[hook][i * MOST_SIZE] for hook in vectors}
            drawn = {hook: _scale(vector, lengths[hook]) for hook, vector in rows.items()}
            edit = f"{name}: {kind} {i}"
            about = {"edit": edit, "group": kind, "candidate": f"{null}: {kind} {i}"}
            cases.append(Case(row | about, _pushes(drawn, factor, edit), i))
    return cases


def patches(source: Any, sites: Iterable[tuple[str, ...]], *, way: str) -> list[Case]:
    """The other model's whole residual put in at every set of sites.

    Args:
        source: The other model.
        sites: Sets of hooks.
        way: "removed" from the tuned model, or "added" to the base.

    Returns:
        Cases.
    """
    cases = []
    for hooks in sites:
        name = f"{way} whole residual at {', '.join(hooks)}"
        edits = [record.patch(source, hook=hook, name=f"{name}: {hook}") for hook in hooks]
        parts = tuple(Part(hook, np.zeros((0, 0))) for hook in hooks)
        one = Candidate(str(Group.PATCH), "residual", Group.PATCH, parts)
        cases.append(Case(_row(one, way, edit=name, null=""), tuple(edits)))
    return cases


def table_of(cases: Iterable[Case], *, of: str) -> pd.DataFrame:
    """Table of cases, as ``analysis.carriers`` takes it.

    Args:
        cases: Cases.
        of: Label of the finetune.

    Returns:
        One row a case.
    """
    return pd.DataFrame([case.row for case in cases]).assign(of=of)


def _row(one: Candidate, way: str, *, edit: str, null: str) -> dict[str, Any]:
    return {
        **{"edit": edit, "candidate": one.name, "kind": one.kind, "group": str(one.group)},
        **{"size": one.size, "sites": one.sites, "how": str(way), "null": null, "strength": 1.0},
        "strength_hi": np.nan,
    }


def _take_out(part: Part, name: str) -> Edit:
    if part.dictionary is not None:
        return record.ablate(part.dictionary, features=part.features, name=name)
    return record.project_out(part.rows, hook=part.hook, name=name)


def _pushes(vectors: Mapping[str, Array], factor: float, name: str) -> tuple[Edit, ...]:
    return tuple(
        record.add(vector, hook=hook, absolute=factor, name=f"{name}: {hook}")
        for hook, vector in vectors.items()
    )


def _scale(vector: Array, length: float) -> Array:
    return vector * (length / float(np.linalg.norm(vector)))
