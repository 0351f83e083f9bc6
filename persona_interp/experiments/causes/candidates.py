"""What may carry an effect: directions and features, and what stands beside them as controls?"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from persona_interp.analysis.activity import matched_features
from persona_interp.errors import SchemaError, unknown
from persona_interp.experiments.causes.config import MOST_SIZE
from persona_interp.schema.words import Group

Array = npt.NDArray[np.float64]

DIRECTION, FEATURES, BOTH = "direction", "features", "directions and features"


class Part(NamedTuple):
    """What is edited at one site.

    Attributes:
        hook: The site.
        rows: Directions, or the features' decoder rows; dims (n, d_model).
        dictionary: Whose features are set; None where directions are projected out.
        features: Which.
    """

    hook: str
    rows: Array
    dictionary: Any = None
    features: tuple[int, ...] = ()


class Candidate(NamedTuple):
    """What may carry the effect, at one site or at several together.

    Attributes:
        name: What tables call it.
        kind: "direction", "features" or "directions and features".
        group: What it is for, a word of ``Group``.
        parts: What is edited, one entry a site.
        draw: Number of a random one among those of its kind.
        toward: Where a control is pushed, one vector a site; the mean of its rows by default.
    """

    name: str
    kind: str
    group: str
    parts: tuple[Part, ...]
    draw: int = 0
    toward: tuple[Array, ...] = ()

    @property
    def size(self) -> int:
        """Directions or features at one site."""
        return len(self.parts[0].rows)

    @property
    def sites(self) -> str:
        """Its hooks, in words."""
        return ", ".join(part.hook for part in self.parts)


def direction_candidates(
    directions: xr.DataArray,
    owners: pd.DataFrame,
    axes: xr.DataArray,
    *,
    sets: Sequence[int],
    target: str,
) -> list[Candidate]:
    """Directions of the target and of others, and the axes along which the finetune moved most.

    Args:
        directions: Everybody's, dims (name, hook, d_model).
        owners: Whose each is, and how it was made: ``name``, ``owner``, ``method``.
        axes: Of a ``moved`` cell.
        sets: Sizes of the sets of axes.
        target: Whose directions are candidates.

    Returns:
        Candidates at one site each, controls among them.

    Raises:
        SchemaError: The target has no direction.
    """
    if target not in set(owners["owner"]):
        raise SchemaError(unknown("owner of a direction", target, owners["owner"]))
    candidates = []
    for hook in map(str, directions["hook"].values):
        for owner, own in owners.groupby("owner", sort=False):
            rows = _rows(directions, list(own["name"]), hook)
            group = Group.CANDIDATE if owner == target else Group.OTHER
            several = len(rows) > 1
            name = f"{owner}: all directions" if several else f"{owner}: {own['method'].iloc[0]}"
            candidates.append(Candidate(name, DIRECTION, group, (Part(hook, rows),)))
            if several and owner == target:
                for method, row in zip(own["method"], rows, strict=True):
                    part = Part(hook, row[None])
                    candidates.append(Candidate(f"{owner}: {method}", DIRECTION, group, (part,)))
        for size in sets:
            rows = axes.sel(hook=hook).to_numpy()[:size].astype(np.float64)
            name = f"moved: {size} axes" if size > 1 else "moved: main axis"
            part = Part(hook, rows)
            candidates.append(Candidate(name, DIRECTION, Group.CANDIDATE, (part,)))
    return candidates


def feature_candidates(
    saes: Sequence[Any],
    ranked: pd.DataFrame,
    feats: Sequence[xr.Dataset],
    *,
    sets: Sequence[int],
    n_matched: int,
) -> list[Candidate]:
    """Sets of the features that carry most, and others that are as often active.

    Args:
        saes: Dictionaries.
        ranked: Of ``ranking``.
        feats: Features of every dictionary, of a ``moved`` cell.
        sets: Sizes of the sets.
        n_matched: Sets of other features.

    Returns:
        Candidates at one site each. A set takes the best features whose removal takes of the
        effect; where fewer do, there is none of its size.
    """
    candidates = []
    for sae, feat in zip(saes, feats, strict=True):
        own = ranked.loc[(ranked["dictionary"] == sae.name) & (ranked["share"] > 0)]
        best = [int(feature) for feature in own["feature"]]
        for size in sets:
            if len(best) < size:
                continue
            top = best[:size]
            name = f"{sae.name}: top {size} features" if size > 1 else f"{sae.name}: top feature"
            candidates.append(_features(name, Group.CANDIDATE, sae, top))
            used = list(best)
            for number in range(n_matched):
                matched = []
                for feature in top:
                    matched += matched_features(feat, feature, k=1, without=[*used, *matched])
                used += matched
                name = f"{sae.name}: {size} others as active ({number})"
                if len(matched) == size:
                    candidates.append(_features(name, Group.MATCHED, sae, matched))
    return candidates


def joint_candidates(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The target's directions and the largest set of features at the same site, as one span.

    Args:
        candidates: Directions and features at one site each.

    Returns:
        Candidates, one a site that has both.
    """
    joint: dict[str, Candidate] = {}
    own = [one for one in candidates if one.group == Group.CANDIDATE]
    for first in own:
        if first.kind != DIRECTION or first.name.startswith("moved"):
            continue
        hook = first.parts[0].hook
        there = [one for one in own if one.kind == FEATURES and one.parts[0].hook == hook]
        if not there or (hook in joint and joint[hook].size >= first.size + there[-1].size):
            continue
        most = max(there, key=lambda one: one.size)
        rows = np.concatenate([first.parts[0].rows, most.parts[0].rows])
        name = f"{first.name} and {most.name}"
        joint[hook] = Candidate(name, BOTH, Group.CANDIDATE, (Part(hook, rows),))
    return list(joint.values())


def at_all_sites(candidates: Iterable[Candidate], hooks: Sequence[str]) -> list[Candidate]:
    """Candidates that every site has, edited at all of them together.

    Args:
        candidates: At one site each.
        hooks: The sites.

    Returns:
        One candidate a name; none where there is one site.
    """
    by_name: dict[tuple[str, str], list[Candidate]] = {}
    for candidate in candidates:
        by_name.setdefault((candidate.name, candidate.group), []).append(candidate)
    together = []
    for same in by_name.values():
        if len(hooks) > 1 and len(same) == len(hooks) and len({one.size for one in same}) == 1:
            parts = tuple(part for one in same for part in one.parts)
            toward = tuple(vector for one in same for vector in one.toward)
            together.append(same[0]._replace(parts=parts, toward=toward))
    return together


def random_candidates(
    random: Mapping[str, Mapping[str, Array]],
    *,
    sites: Iterable[tuple[str, ...]],
    sizes: Iterable[int],
    n: int,
) -> list[Candidate]:
    """Random sets of directions of every size at every set of sites.

    Args:
        random: Directions by kind (``Group.NORM``, ``Group.VARIANCE``), then by hook, dims (n times
            ``MOST_SIZE``, d_model).
        sites: Sets of hooks.
        sizes: Directions in a set.
        n: Sets of either kind.

    Returns:
        Candidates.
    """
    drawn, sizes = [], sorted(set(sizes))
    for hooks in sites:
        for size in sizes:
            for kind, by_hook in random.items():
                for i in range(n):
                    first = i * MOST_SIZE
                    parts = [Part(hook, by_hook[hook][first : first + size]) for hook in hooks]
                    drawn.append(Candidate(f"{kind} {i}", DIRECTION, kind, tuple(parts), i))
    return drawn


def within(part: Part, shift: Array) -> Array:
    """The part of a shift that lies in the span of what is edited at one site.

    Args:
        part: Directions or features.
        shift: Mean residual of the tuned model minus the base's, dims (d_model,).

    Returns:
        A vector as long as the finetune moved within the span.

    >>> within(Part("blocks.0.hook_out", np.array([[0.0, 2.0]])), np.array([3.0, 1.0])).tolist()
    [0.0, 1.0]
    """
    _, sizes, axes = np.linalg.svd(part.rows, full_matrices=False)
    axes = axes[sizes > np.finfo(np.float32).eps * sizes.max(initial=0.0) * max(part.rows.shape)]
    return axes.T @ (axes @ shift)


def _features(name: str, group: str, sae: Any, features: Sequence[int]) -> Candidate:
    rows = sae.W_dec[list(features)].detach().double().cpu().numpy()
    return Candidate(name, FEATURES, group, (Part(sae.hook, rows, sae, tuple(features)),))


def _rows(directions: xr.DataArray, names: list[str], hook: str) -> np.ndarray:
    return directions.sel(name=names, hook=hook).to_numpy().astype(np.float64)
