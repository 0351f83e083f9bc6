"""Which features know whose document this is?

They are chosen on one half of the documents and reported on the other.
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from scipy import stats

from persona_interp import schema
from persona_interp.analysis.auroc import auroc, delong
from persona_interp.analysis.documents import documents, labelled
from persona_interp.analysis.stats import TIE, benjamini_hochberg
from persona_interp.errors import SchemaError, unknown
from persona_interp.worlds import World

CHANCE = 0.5

Array = npt.NDArray[np.float64]


def score(
    data: xr.Dataset | xr.DataArray,
    *,
    world: World | None = None,
    checkpoint: str | None = None,
    cluster: str = "doc",
    n_permutations: int = 200,
    seed: int = 0,
) -> pd.DataFrame:
    """How well each feature tells each persona's documents, and each trait's, from all others.

    The unit is the document: the mean over its prompts. The test statistic is the tie-corrected
    rank-sum z. Its normal tail is far too light for a feature that fires in a handful of documents
    (one that fires in two documents of one among 16 personas has |z| > 5 once in 256 shuffles), so
    p comes from shuffling whole persona labels over documents, the traits following, pooled over
    all features and labels (SAM; Tusher, Tibshirani and Chu 2001): p = (1 + number of shuffled |z|
    as large) / (1 + shuffles x pairs tested). A pooled p is right on average over features, which
    is what Benjamini-Hochberg needs; for a single sparse feature it can be too small. ``p_max``
    compares with the largest |z| of every shuffle (max-T, Westfall and Young 1993).

    Args:
        data: Features recorded on ``world.cuts(...)``, or readouts (DataArray; dims name, prompt,
            maybe checkpoint).
        world: Says who holds which trait; without it only personas are scored.
        checkpoint: Label; the first by default.
        cluster: Coordinate that names the document.
        n_permutations: Shuffles. One lone pair can reach q = 1 / n_permutations.
        seed: Of the shuffles.

    Returns:
        A scores table, one row a feature and label, best on the train documents first within each
        label: ``auroc_chosen`` (train documents), ``auroc`` with ``lo``, ``hi`` (test documents,
        DeLong), ``effect`` (Cohen's d with pooled sd, test documents; inf between two constants),
        ``z``, ``p``, ``q``, ``p_max`` (test documents, two-sided), ``n_pos``, ``n_neg`` (test
        documents), ``n_tested`` (pairs), ``fvu``. Left out are readings that are the same in every
        document, and labels that lack a document on either side in either half.

    Raises:
        SchemaError: A coordinate is missing, no label has documents on both sides, or no feature
            varies.
        WorldError: A persona is not of this world.

    Note:
        A trait that one persona alone holds has that persona's documents, so both labels score the
        same. A score says that a feature goes with a label, not that the model uses it: for that
        see ``removed_share``.

    >>> who = ["john", "mary"] * 20
    >>> prompts = {"persona": ("prompt", who), "split": ("prompt", ["train"] * 20 + ["test"] * 20)}
    >>> act = np.array([[w == "john" for w in who], np.arange(40) % 3 == 0], dtype=float)
    >>> coords = {"name": ["knows", "other"], "doc": ("prompt", np.arange(40)), **prompts}
    >>> table = score(xr.DataArray(act, dims=("name", "prompt"), coords=coords))
    >>> columns = ["feature", "auroc_chosen", "auroc", "n_pos"]
    >>> table.loc[table["name"] == "john", columns].round(6).values.tolist()
    [['knows', 1.0, 1.0, 10], ['other', 0.55, 0.45, 10]]
    """
    if n_permutations < 1:
        raise SchemaError(
            f"p needs shuffled labels to compare with; got n_permutations={n_permutations}."
        )
    docs = documents(data, checkpoint=checkpoint, cluster=cluster)
    train, test = docs.train, ~docs.train
    labels = []
    for kind, name, mask in labelled(docs.personas, world):
        if _has_both_sides(mask[train]) and _has_both_sides(mask[test]):
            labels.append((kind, name, mask))
    varies = (docs.values != docs.values[:1]).any(axis=0)
    if not labels or not varies.any():
        raise SchemaError(
            f"nothing to score: of {len(varies)} features {int(varies.sum())} vary over the "
            f"{len(train)} documents, and {len(labels)} labels have documents on both sides in "
            f"both halves ({int(train.sum())} train, {int(test.sum())} test). Record more "
            "documents of world.cuts(...)."
        )
    kinds, names = (np.array([label[i] for label in labels]) for i in (0, 1))
    values, masks = docs.values[:, varies], np.stack([mask for _, _, mask in labels], axis=1)
    choice = _areas(stats.rankdata(values[train], axis=0), masks[train])[0]
    ranks = stats.rankdata(values[test], axis=0)
    area, lo, hi = _areas(ranks, masks[test])
    z, p, p_max = _test(ranks, masks[test], kinds, n=n_permutations, seed=seed)
    n_pos = masks[test].sum(axis=0)
    columns = {
        "feature": docs.readings[varies],
        "kind": kinds[:, None],
        "name": names[:, None],
        "auroc_chosen": choice,
        "auroc": area,
        "lo": lo,
        "hi": hi,
        "effect": _effect(values[test], masks[test]),
        "z": z,
        "p": p,
        "q": benjamini_hochberg(p),
        "p_max": p_max,
        "n_pos": n_pos[:, None],
        "n_neg": test.sum() - n_pos[:, None],
    }
    best_first = np.argsort(-choice, axis=1, kind="stable")
    sorted_columns = {}
    for name, column in columns.items():
        square = np.broadcast_to(column, area.shape)  # dims (label, feature)
        sorted_columns[name] = np.take_along_axis(square, best_first, axis=1).ravel()
    table = pd.DataFrame(sorted_columns).assign(n_tested=area.size, fvu=docs.fvu)
    table.attrs.update(checkpoint=docs.checkpoint, n_permutations=n_permutations, seed=seed)
    return schema.check(table, "scores")


def top(scores: pd.DataFrame, *, name: str, k: int = 1) -> pd.DataFrame:
    """The k features that speak most for a persona or trait.

    Args:
        scores: A scores table.
        name: Persona, or trait label "topic=value".
        k: How many.

    Returns:
        At most k rows of the table with a column ``rank`` (1 = best), ranked by ``auroc_chosen``
        alone; only features that are *more* active with the label there. What the other half says
        (``auroc``, ``q``) took no part.

    Raises:
        SchemaError: An unknown name, or no feature is more active with it.

    >>> areas = {"auroc_chosen": [0.6, 0.8], "auroc": [0.9, 0.7]}
    >>> table = pd.DataFrame({"feature": [4, 9], "name": "john", **areas})
    >>> table = table.assign(**{c: 0 for c in schema.TABLES["scores"] if c not in table})
    >>> top(table, name="john")[["rank", "feature", "auroc"]].values.tolist()
    [[1.0, 9.0, 0.7]]
    """
    rows = schema.check(scores, "scores").loc[scores["name"] == name]
    if rows.empty:
        raise SchemaError(unknown("name", name, scores["name"].unique()))
    if k < 1:
        raise SchemaError(f"expected at least one feature to choose; got k={k}.")
    rows = rows.loc[rows["auroc_chosen"] > CHANCE].sort_values(
        "auroc_chosen", ascending=False, kind="stable"
    )
    if rows.empty:
        raise SchemaError(
            f"no feature is more active with {name} on the train documents; nothing speaks for it."
        )
    rows = rows.head(k).reset_index(drop=True)
    rows.insert(0, "rank", np.arange(1, len(rows) + 1))
    return rows


def family(
    data: xr.Dataset | xr.DataArray,
    scores: pd.DataFrame,
    *,
    name: str,
    sizes: Iterable[int] = (1, 2, 4, 8, 16, 32),
    world: World | None = None,
    cluster: str = "doc",
) -> pd.DataFrame:
    """How well the sum of the best k features tells a persona or trait, for each k.

    The readout of a set is the sum of its activations; the set of size k is ``top(scores,
    name=name, k=k)``.

    Args:
        data: What was scored.
        scores: Its scores table; names the checkpoint.
        name: Persona, or trait label "topic=value" (needs ``world``).
        sizes: How many features each set has; sizes beyond the features that speak for the name are
            left out.
        world: Says who holds the trait.
        cluster: Coordinate that names the document.

    Returns:
        One row a size: ``name``, ``k``, ``features`` (tuple), ``auroc_chosen`` (train documents),
        ``auroc``, ``lo``, ``hi`` (test documents, DeLong), ``n_pos``, ``n_neg``.

    Raises:
        SchemaError: An unknown name, or no feature speaks for it.

    >>> who = np.array(["john", "mary", "emma"] * 20)
    >>> prompts = {"persona": who, "doc": np.arange(60), "split": np.repeat(["train", "test"], 30)}
    >>> john, even = who == "john", np.arange(60) % 2 == 0
    >>> act = np.array([john & even, john & ~even], dtype=float)
    >>> coords = {"name": ["even", "odd"], **{c: ("prompt", x) for c, x in prompts.items()}}
    >>> data = xr.DataArray(act, dims=("name", "prompt"), coords=coords)
    >>> family(data, score(data), name="john")[["k", "auroc"]].values.tolist()
    [[1.0, 0.75], [2.0, 1.0]]
    """
    ranked = top(scores, name=name, k=len(scores))["feature"].tolist()
    docs = documents(data, checkpoint=scores.attrs.get("checkpoint") or None, cluster=cluster)
    masks = {label: mask for _, label, mask in labelled(docs.personas, world)}
    if name not in masks:
        raise SchemaError(unknown("name", name, masks))
    column = {reading: i for i, reading in enumerate(docs.readings.tolist())}
    mask, train, test = masks[name], docs.train, ~docs.train
    rows = []
    for k in sizes:
        if k > len(ranked):
            continue
        total = docs.values[:, [column[feature] for feature in ranked[:k]]].sum(axis=1)
        choice, area = auroc(total[train], mask[train]), auroc(total[test], mask[test])
        row = {"name": name, "k": k, "features": tuple(ranked[:k])}
        row |= {"auroc_chosen": float(choice.estimate), "auroc": float(area.estimate)}
        row |= {"lo": float(area.lo), "hi": float(area.hi)}
        rows.append({**row, "n_pos": mask[test].sum(), "n_neg": (~mask[test]).sum()})
    columns = ["name", "k", "features", "auroc_chosen", "auroc", "lo", "hi", "n_pos", "n_neg"]
    return pd.DataFrame(rows, columns=columns)


def _has_both_sides(mask: npt.NDArray[np.bool_]) -> bool:
    return bool(mask.any() and not mask.all())


def _areas(ranks: Array, masks: npt.NDArray[np.bool_]) -> tuple[Array, Array, Array]:
    """AUROC and its bounds, dims (label, feature)."""
    areas = [delong(ranks, mask) for mask in masks.T]
    estimate = np.stack([area.estimate for area in areas])
    return estimate, np.stack([area.lo for area in areas]), np.stack([area.hi for area in areas])


def _effect(values: Array, masks: npt.NDArray[np.bool_]) -> Array:
    """Cohen's d with the pooled sd, dims (label, feature); 0 where nothing varies."""
    n1 = masks.sum(axis=0)[:, None]
    n0 = len(masks) - n1
    centered = values - values.mean(axis=0)  # keeps the sums of squares small
    one, zero = (mask.T.astype(np.float64) @ centered for mask in (masks, ~masks))
    within = (centered**2).sum(axis=0) - one**2 / n1 - zero**2 / n0
    within[within < TIE * (centered**2).sum(axis=0)] = 0.0  # what rounding leaves of nothing
    sd = np.sqrt(within / max(len(masks) - 2, 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.nan_to_num((one / n1 - zero / n0) / sd, nan=0.0, posinf=np.inf, neginf=-np.inf)


def _test(
    ranks: Array, masks: npt.NDArray[np.bool_], kinds: npt.NDArray[np.str_], *, n: int, seed: int
) -> tuple[Array, Array, Array]:
    """Tie-corrected z, pooled p and max-T p, dims (label, feature)."""
    size = len(ranks)
    centered = ranks - ranks.mean(axis=0)
    # Ties make this spread smaller: that is their correction.
    spread = np.sqrt((centered**2).sum(axis=0) / max(size - 1, 1))
    spread[spread == 0] = 1.0
    n1 = masks.sum(axis=0)
    weights = (masks / np.sqrt(n1 * (size - n1) / size)).T
    z = weights @ (centered / spread)
    observed = np.abs(z) * (1 - TIE)
    ordered = np.sort(observed, axis=None)
    groups = [kinds == kind for kind in dict.fromkeys(kinds.tolist())]
    between, largest = np.zeros(z.size + 1, dtype=np.int64), np.zeros((len(groups), n))
    rng = np.random.default_rng(seed)
    for i in range(n):
        # One order for all labels: a document's persona and traits stay together, and so do the
        # features, whose correlation the maximum needs.
        shuffled = np.abs(weights[:, rng.permutation(size)] @ (centered / spread))
        place = np.searchsorted(ordered, shuffled.ravel(), side="right")
        between += np.bincount(place, minlength=z.size + 1)
        largest[:, i] = [shuffled[group].max() for group in groups]
    # The null of SAM (Tusher, Tibshirani and Chu 2001) is one distribution, pooled over features
    # and labels: each pair alone has n shuffled values, all pairs together n * z.size, so that a
    # small p is within reach of a few shuffles. The shuffled values themselves would not fit into
    # memory; between[i] counts those above exactly i of the observed ones, and their sum from the
    # end those that are at least the i-th smallest.
    at_least = between[::-1].cumsum()[::-1]
    count = at_least[np.searchsorted(ordered, observed.ravel(), side="left") + 1].reshape(z.shape)
    p_max = np.empty(z.shape)
    for group, maxima in zip(groups, np.sort(largest), strict=True):
        p_max[group] = (1 + n - np.searchsorted(maxima, observed[group], side="left")) / (1 + n)
    return z, (1 + count) / (1 + n * z.size), p_max
