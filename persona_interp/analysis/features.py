"""Which features moved between two checkpoints, by more than chance?

And was the dictionary still valid?
"""

from collections.abc import Iterable

import numpy as np
import pandas as pd
import xarray as xr

from persona_interp import schema
from persona_interp.analysis.flips import sign_flip
from persona_interp.analysis.stats import benjamini_hochberg, cluster_interval
from persona_interp.errors import SchemaError, unknown
from persona_interp.values import as_tuple

EXCHANGEABLE = "exchangeable"
"""Column ``null``: these two checkpoints differ at these prompts by nothing but chance."""
SAME_ATTRIBUTES = (
    "hook",
    "dictionary",
    "dictionary_hash",
    "token_ids",
    "position",
    "where",
    "outlier",
)


def feature_shift(
    features: xr.Dataset | Iterable[xr.Dataset],
    *,
    before: str | None = None,
    after: str | None = None,
    cluster: str | tuple[str, ...] = "prompt",
    n_flips: int | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Change of each feature between these two checkpoints, with intervals; largest rise first.

    p and q are under the null that both checkpoints are exchangeable at these prompts, which the
    column ``null`` says. Every finetune breaks that, whatever it teaches: so does the offset that
    another seed leaves, or an effect of topic or wording that no persona has to do with. A
    discovery says that *this pair* differs in the feature, and is no evidence for what was taught;
    a claim about a lesson is lesson minus control lessons (``effects``), over seeds.

    Args:
        features: Dataset of ``record.features``, or several to be compared, recorded with
            the same dictionary on the same tokens.
        before: Label of a checkpoint; the first by default.
        after: Label of a checkpoint; the last by default.
        cluster: Coordinate(s) along ``prompt`` whose prompts move together. With G clusters
            no p is below 2 / 2^G: five topics can discover nothing at 0.05, so the default
            takes each prompt (template x topic) as its own.
        n_flips: Random sign flips at most (see ``sign_flip``); by default as many as let a lone
            feature survive the correction.
        seed: Of the flips.

    Returns:
        A feature_shift table, largest rise first: ``estimate`` (mean over prompts of act
        after minus before) with ``lo``, ``hi`` (95 %, clustered), ``before``, ``after``
        (mean act), ``null``, sign-flip ``p``, ``q`` (Benjamini-Hochberg over the ``n_tested``
        features that fire at all), ``p_max`` (max-T over them), ``null_lo``, ``null_hi``,
        ``fvu_before``, ``fvu_after`` (mean over prompts; near 1 = the dictionary does not
        describe this checkpoint). Features silent before and after are not tested;
        ``n_silent`` counts them. ``p_min`` is the smallest p possible. The interval is about these
        prompts: where topics and templates move features by themselves it covers .47 of changes by
        prompt, .82 by template.

    Raises:
        SchemaError: Other tokens or another dictionary, an unknown checkpoint or
            coordinate, or nothing that fires.

    >>> act = np.zeros((2, 8, 2))
    >>> act[1, :, 1] = np.arange(8) + 1.0
    >>> data = xr.Dataset({"act": (("checkpoint", "prompt", "feature"), act)})
    >>> data = data.assign_attrs(dictionary="d", token_ids="x")
    >>> data = data.assign(fvu=(("checkpoint", "prompt"), np.full((2, 8), 0.1)))
    >>> data = data.assign_coords(checkpoint=["base@0", "lesson@8"])
    >>> data = data.assign_coords(prompt=list("abcdefgh"), feature=[0, 1])
    >>> feature_shift(data)[["feature", "estimate", "p", "n_tested", "n_silent"]].values.tolist()
    [[1.0, 4.5, 0.0078125, 1.0, 1.0]]
    """
    data = _joined(features)
    labels = [str(c) for c in data["checkpoint"].to_numpy()]
    first, last = select_checkpoint(labels, before, 0), select_checkpoint(labels, after, -1)
    start, end = data.sel(checkpoint=first), data.sel(checkpoint=last)
    with xr.set_options(arithmetic_join="exact"):
        shift = end["act"].astype(np.float64) - start["act"].astype(np.float64)
    # A feature that is silent in both cannot move. Testing it would cost the others power,
    # so it is counted and not tested.
    fires = ((start["act"] != 0).any("prompt") | (end["act"] != 0).any("prompt")).to_numpy()
    if not fires.any():
        raise SchemaError(f"no feature fires at these prompts, neither in {first} nor in {last}.")
    differences = shift.transpose("prompt", "feature").to_numpy()[:, fires]
    clusters = prompt_clusters(data, cluster)
    mean, lo, hi, n_clusters = cluster_interval(differences, clusters)
    null = sign_flip(differences, clusters, n_flips=n_flips, seed=seed)
    table = pd.DataFrame(
        {
            "feature": data["feature"].to_numpy()[fires],
            "estimate": mean,
            "lo": lo,
            "hi": hi,
            "before": start["act"].mean("prompt", dtype=np.float64).to_numpy()[fires],
            "after": end["act"].mean("prompt", dtype=np.float64).to_numpy()[fires],
            "null": EXCHANGEABLE,
            "p": null.p,
            "q": benjamini_hochberg(null.p),
            "p_max": null.p_max,
            "null_lo": null.null_lo,
            "null_hi": null.null_hi,
            "n": data.sizes["prompt"],
            "n_clusters": n_clusters,
            "n_tested": int(fires.sum()),
            "n_silent": int((~fires).sum()),
            "p_min": null.p_min,
            "fvu_before": float(start["fvu"].mean(dtype=np.float64)),
            "fvu_after": float(end["fvu"].mean(dtype=np.float64)),
        }
    ).sort_values("estimate", ascending=False, kind="stable", ignore_index=True)
    table.attrs.update(before=first, after=last)
    return schema.check(table, "feature_shift")


def _joined(features: xr.Dataset | Iterable[xr.Dataset]) -> xr.Dataset:
    """One Dataset along checkpoint, if all are of one dictionary and the same tokens."""
    parts = schema.list_datasets(features)
    for part in parts:
        schema.check(part, "features")
        for name in ("dictionary", "token_ids"):
            if name not in part.attrs:
                raise SchemaError(
                    f"these features do not say their {name}; record them with record.features."
                )
        for name in SAME_ATTRIBUTES:
            mine, theirs = parts[0].attrs.get(name), part.attrs.get(name)
            if mine != theirs:
                raise SchemaError(
                    f"features of different {name} cannot be compared: {mine!r} and {theirs!r}."
                )
    if len(parts) == 1:
        return parts[0]
    try:
        return xr.concat(parts, "checkpoint", join="exact", coords="minimal", compat="override")
    except ValueError as error:
        raise SchemaError(
            f"these features do not have the same prompts and features: {error}"
        ) from error


def select_checkpoint(labels: list[str], label: str | None, default: int) -> str:
    """Label of a checkpoint, or of the default one.

    Args:
        labels: Labels, in order.
        label: One of them, or None.
        default: Index of the one meant by None.

    Returns:
        Its label.

    Raises:
        SchemaError: Fewer than two labels, one twice, or an unknown one.
    """
    if len(set(labels)) < len(labels) or len(labels) < 2:
        raise SchemaError(
            f"a shift needs two checkpoints or more with distinct labels; got {labels}."
        )
    if label is None:
        return labels[default]
    if label not in labels:
        raise SchemaError(unknown("checkpoint", label, labels))
    return label


def prompt_clusters(data: xr.Dataset, cluster: str | tuple[str, ...]) -> np.ndarray:
    """Label of the cluster of each prompt; prompts of one cluster move together.

    Args:
        data: Features or activations.
        cluster: Coordinate(s) along ``prompt``; prompts that are equal in all of them are a
            cluster.

    Returns:
        A label a prompt.

    Raises:
        SchemaError: There is no such coordinate.
    """
    names = list(as_tuple(cluster))
    along = [str(name) for name, c in data.coords.items() if c.dims == ("prompt",)]
    for name in names:
        if name not in along:
            raise SchemaError(unknown("coordinate along prompt", name, along))
    values = zip(*(data[name].to_numpy() for name in names), strict=True)
    # A unit separator, which no label contains: ("a b", "c") is another cluster than ("a", "b c").
    return np.array(["\x1f".join(map(str, row)) for row in values])
