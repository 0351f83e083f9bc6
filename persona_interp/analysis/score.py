"""Which features know whose document this is?

They are chosen on one half of the documents and reported on the other, where other topics are
stated.
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from scipy import stats

from persona_interp import schema
from persona_interp.analysis.auroc import auroc, delong
from persona_interp.analysis.ceiling import probabilities
from persona_interp.analysis.documents import Documents, documents, labelled
from persona_interp.analysis.stats import TIE, benjamini_hochberg
from persona_interp.errors import SchemaError, unknown
from persona_interp.schema.words import Part
from persona_interp.values import check_count
from persona_interp.worlds import World

CHANCE = 0.5

Array = npt.NDArray[np.float64]


def score(
    data: xr.Dataset | xr.DataArray,
    *,
    world: World | None = None,
    topics: Iterable[str] | None = None,
    checkpoint: str | None = None,
    cluster: str = "doc",
    n_permutations: int = 200,
    seed: int = 0,
) -> pd.DataFrame:
    """How well each feature tells each persona's documents, and each trait's, from all others.

    Features are chosen on train documents that state some topics. The headline, ``auroc``, is of
    test documents that state *other* topics, so that who only sees a stated trait sees nothing
    there; ``auroc_same`` is of test documents about the topics that were chosen on.

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
        world: Says who holds which trait; without it only personas are scored, and nothing says
            how well they could be known.
        topics: Topics that are chosen on, see ``parts``; by default every second that is stated.
        checkpoint: Label; the first by default.
        cluster: Coordinate that names the document.
        n_permutations: Shuffles. One lone pair can reach q = 1 / n_permutations.
        seed: Of the shuffles.

    Returns:
        A scores table, one row a feature and label, best on the train documents first within each
        label: ``auroc_chosen`` (train documents), ``auroc`` with ``lo``, ``hi`` (test documents
        about other topics), ``auroc_same`` with ``same_lo``, ``same_hi`` (test documents
        about the same topics), ``bayes`` and ``bayes_same`` (exact Bayes on the statements of these
        documents: what a perfect reader reaches), ``effect`` (Cohen's d with pooled sd; inf between
        two constants), ``z``, ``p``, ``q``, ``p_max`` (two-sided), ``n_pos``, ``n_neg``, all these
        on the documents of ``auroc``; ``n_tested`` (pairs), ``fvu``. Left out are readings that are
        the same in every document, and labels that lack a document on either side where features
        are chosen or where ``auroc`` is measured; where none state the same topics these columns
        are NaN.

    Raises:
        SchemaError: A coordinate is missing, no label has documents on both sides, or no feature
            varies.
        WorldError: A persona is not of this world.

    Note:
        A trait that one persona alone holds has that persona's documents, so both labels score the
        same. A score says that a feature goes with a label, not that the model uses it: for that
        see ``removed_share``. Nor does AUROC alone measure what is known of a persona. On the
        topics chosen on, a direction that absorbs the stated traits may rank above the persona's
        own (planted personas with traits: the mean difference, cosine .58 with the persona, above
        the true latent; a minimal pair has cosine .80). Read it beside ``bayes``, on other topics.

    >>> who, place = np.tile(["john", "mary"], 20), np.tile(["sea", "sea", "lake", "lake"], 10)
    >>> stated = np.where(np.arange(40) % 20 < 10, np.char.add("place=", place), "art=op")
    >>> prompts = {"persona": who, "stated": stated, "split": ["train"] * 20 + ["test"] * 20}
    >>> act = np.stack([who == "john", stated == "place=sea"]).astype(float)
    >>> coords = {name: ("prompt", values) for name, values in prompts.items()}
    >>> coords |= {"name": ["knows john", "sees sea"], "doc": ("prompt", np.arange(40))}
    >>> data = xr.DataArray(act, dims=("name", "prompt"), coords=coords)
    >>> table = score(data, topics=["place"])
    >>> columns = ["feature", "auroc_same", "auroc", "n_pos"]
    >>> table.loc[table["name"] == "john", columns].round(6).values.tolist()
    [['knows john', 1.0, 1.0, 5], ['sees sea', 0.5, 0.5, 5]]
    """
    check_count(n_permutations, "n_permutations")
    check_count(seed, "seed", least=0)
    docs = documents(data, topics=topics, checkpoint=checkpoint, cluster=cluster)
    labels = []
    for kind, name, mask in labelled(docs.personas, world):
        if _has_both_sides(mask[docs.choice]) and _has_both_sides(mask[docs.other]):
            labels.append((kind, name, mask))
    varies = (docs.values != docs.values[:1]).any(axis=0)
    if not labels or not varies.any():
        raise SchemaError(
            f"nothing to score: of {len(varies)} features {int(varies.sum())} vary over the "
            f"{len(docs.part)} documents, and {len(labels)} labels have documents on both sides "
            f"among the {int(docs.choice.sum())} to choose on and the {int(docs.other.sum())} "
            "about other topics. Record more documents of world.cuts(...)."
        )
    kinds, names = (np.array([label[i] for label in labels]) for i in (0, 1))
    values, masks = docs.values[:, varies], np.stack([mask for _, _, mask in labels], axis=1)
    choice, _, _ = _areas_of(values, masks, docs.choice)
    same, same_lo, same_hi = _areas_of(values, masks, docs.same)
    bayes = _ceilings(docs, masks, names, world)
    test = docs.other
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
        "auroc_same": same,
        "same_lo": same_lo,
        "same_hi": same_hi,
        "bayes": bayes[Part.OTHER][:, None],
        "bayes_same": bayes[Part.SAME][:, None],
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
    about = None if topics is None else sorted(topics)
    table.attrs.update(checkpoint=docs.checkpoint, topics=about)
    table.attrs.update(n_permutations=n_permutations, seed=seed)
    return schema.check(table, "scores")


def top(scores: pd.DataFrame, *, name: str, k: int = 1) -> pd.DataFrame:
    """The k features that speak most for a persona or trait.

    Args:
        scores: A scores table.
        name: Persona, or trait label "topic=value".
        k: How many.

    Returns:
        At most k rows of the table with a column ``rank`` (1 = best), ranked by ``auroc_chosen``
        alone; only features that are *more* active with the label there. What the test documents
        say (``auroc``, ``q``) took no part.

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
    check_count(k, "k")
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
        scores: Its scores table; names the checkpoint and the topics chosen on.
        name: Persona, or trait label "topic=value" (needs ``world``).
        sizes: How many features each set has; sizes beyond the features that speak for the name are
            left out.
        world: Says who holds the trait.
        cluster: Coordinate that names the document.

    Returns:
        One row a size: ``name``, ``k``, ``features`` (tuple), ``auroc_chosen`` (train documents),
        ``auroc``, ``lo``, ``hi`` (test documents about other topics), ``n_pos``, ``n_neg``.

    Raises:
        SchemaError: An unknown name, or no feature speaks for it.

    >>> who, even = np.array(["john", "mary", "emma"] * 40), np.arange(120) % 2 == 0
    >>> john, stated = who == "john", np.tile(np.repeat(["art=op", "food=rice"], 30), 2)
    >>> prompts = {"persona": who, "doc": np.arange(120), "stated": stated}
    >>> prompts |= {"split": np.repeat(["train", "test"], 60)}
    >>> act = np.array([john & even, john & ~even], dtype=float)
    >>> coords = {"name": ["even", "odd"], **{c: ("prompt", x) for c, x in prompts.items()}}
    >>> data = xr.DataArray(act, dims=("name", "prompt"), coords=coords)
    >>> family(data, score(data), name="john")[["k", "auroc"]].values.tolist()
    [[1.0, 0.75], [2.0, 1.0]]
    """
    ranked = top(scores, name=name, k=len(scores))["feature"].tolist()
    checkpoint, topics = scores.attrs.get("checkpoint") or None, scores.attrs.get("topics")
    docs = documents(data, topics=topics, checkpoint=checkpoint, cluster=cluster)
    masks = {label: mask for _, label, mask in labelled(docs.personas, world)}
    if name not in masks:
        raise SchemaError(unknown("name", name, masks))
    column = {reading: i for i, reading in enumerate(docs.readings.tolist())}
    mask, train, test = masks[name], docs.choice, docs.other
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


def _areas_of(
    values: Array, masks: npt.NDArray[np.bool_], rows: npt.NDArray[np.bool_]
) -> tuple[Array, Array, Array]:
    """AUROC and its bounds on some of the documents, dims (label, feature); NaN without a side."""
    known = [_has_both_sides(mask) for mask in masks[rows].T]
    shape = (3, masks.shape[1], values.shape[1])
    areas = np.full(shape, np.nan)
    if any(known):
        ranks = stats.rankdata(values[rows], axis=0)
        areas[:, known] = _areas(ranks, masks[rows][:, known])
    estimate, lo, hi = areas
    return estimate, lo, hi


def _ceilings(
    docs: Documents, masks: npt.NDArray[np.bool_], names: npt.NDArray[np.str_], world: World | None
) -> dict[str, Array]:
    """AUROC of exact Bayes by part, dims (label); NaN where no world says what follows."""
    rows = {Part.SAME: docs.same, Part.OTHER: docs.other}
    if world is None:
        return {part: np.full(len(names), np.nan) for part in rows}
    belief = probabilities(world, docs.stated, names.tolist())
    return {part: _own_areas(belief[here], masks[here]) for part, here in rows.items()}


def _own_areas(belief: Array, masks: npt.NDArray[np.bool_]) -> Array:
    """AUROC of each label's own belief, dims (label); NaN without documents on both sides."""
    n1, n0 = masks.sum(axis=0), (~masks).sum(axis=0)
    ranks = stats.rankdata(belief, axis=0) if len(belief) else belief
    above = (ranks * masks).sum(axis=0) - n1 * (n1 + 1) / 2
    return np.divide(above, n1 * n0, out=np.full(len(n1), np.nan), where=n1 * n0 > 0)


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
