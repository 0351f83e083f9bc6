"""On which tokens do the features of a browser fire? As much of each text as one reads."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from persona_interp import schema
from persona_interp.characters import visible
from persona_interp.errors import SchemaError, excerpt
from persona_interp.report.tokens import piece

EXAMPLES = 4
"""Prompts of a feature."""
BEFORE, AFTER = 32, 12
"""Tokens shown before and after the one with the largest activation."""
NAME_LIMIT = 120
"""Characters shown of the name of a prompt, checkpoint or role."""


class Words(dict[str, int]):
    """Number of each text: data holds a text once, and its number wherever it stands."""

    def number(self, text: str) -> int:
        """Number of this text, a new one where it was not seen before."""
        return self.setdefault(text, len(self))


def excerpts(tokens: pd.DataFrame, features: list[int]) -> dict[str, Any]:
    """Top examples of features, the same tokens of every checkpoint beside each other.

    Args:
        tokens: A tokens table (``record.tokens``).
        features: Indices in the dictionary; those that the table lacks have no examples.

    Returns:
        JSON-able: ``checkpoints``; ``pieces`` and ``roles``, texts by number; and by feature its
        ``scale`` (largest activation on a counted token) and ``examples``, largest activation of
        any checkpoint first: ``prompt``, ``cut`` (tokens left out before and after), ``tokens`` and
        ``roles`` (numbers), ``acts`` and mean ``fvu`` of each checkpoint.

    Raises:
        SchemaError: Not a tokens table, or activations that are no numbers.

    >>> table = pd.DataFrame({"piece": ["I", " like"], "act": [0.0, 2.0], "role": "text"})
    >>> table = table.assign(pos=range(2), prompt="p", turn=0, checkpoint="base", counted=True)
    >>> found = excerpts(table.assign(feature=7), [7, 8])
    >>> found["pieces"], found["features"]["7"]["examples"][0]["acts"], len(found["features"])
    (['I', ' like'], [[0.0, 2.0]], 1)
    """
    schema.check(tokens, "tokens")
    names = list(dict.fromkeys(map(str, tokens["checkpoint"])))
    tokens = tokens.loc[tokens["feature"].isin(features)]
    _check(tokens)
    pieces, roles = Words(), Words()
    by_feature: dict[str, Any] = {}
    order = {feature: place for place, feature in enumerate(features)}
    for text in sorted(_texts(tokens, names), key=lambda text: (order[text.feature], -text.peak)):
        new = {"scale": short(text.peak) or 1.0, "examples": []}  # the first is the largest
        own = by_feature.setdefault(str(text.feature), new)
        if len(own["examples"]) < EXAMPLES:
            own["examples"].append(_example(text, pieces=pieces, roles=roles))
    return {
        "checkpoints": [visible(name, limit=NAME_LIMIT) for name in names],
        "pieces": list(pieces),
        "roles": list(roles),
        "features": by_feature,
    }


def shorten(tokens: pd.DataFrame) -> pd.DataFrame:
    """The tokens table with those tokens alone that its excerpts show.

    Args:
        tokens: A tokens table (``record.tokens``).

    Returns:
        Its rows around the largest activation of each feature on each prompt, of any checkpoint;
        one column more, ``length``: tokens of the whole prompt.

    >>> table = pd.DataFrame({"pos": range(100), "act": 0.0, "prompt": "p", "feature": 7})
    >>> short = shorten(table.assign(counted=True).replace({"act": {0.0: 1.0}}))
    >>> short["pos"].tolist(), set(short["length"])
    ([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], {100})
    """
    by = ["feature", "prompt"]
    size = np.where(tokens["counted"], tokens["act"].abs(), -1.0)
    # the first of the largest, whichever checkpoint it is of
    ordered = tokens.assign(size=size, peak=tokens["pos"]).sort_values("pos", kind="stable")
    ordered = ordered.sort_values("size", ascending=False, kind="stable")
    peaks = ordered.drop_duplicates(by)[[*by, "peak"]]
    table = tokens.merge(peaks, on=by, how="left")
    table["length"] = table.groupby(by)["pos"].transform(np.max).to_numpy(int) + 1
    distance = table["pos"] - table["peak"]
    return table.loc[distance.between(-BEFORE, AFTER)].drop(columns="peak")


class Text(NamedTuple):
    """One prompt as one feature reads it.

    Attributes:
        feature: Index in the dictionary.
        prompt: Its name.
        peak: Largest activation on a counted token, of any checkpoint.
        at: Number of that token among those here.
        acts: Activations, dims (token, checkpoint); NaN where a checkpoint was not recorded.
        fvu: Mean over counted tokens, a number a checkpoint; NaN where the table does not say it.
        pieces: Texts of the tokens.
        roles: Whose they are.
        cut: Tokens before and after these that the table lacks.
    """

    feature: int
    prompt: str
    peak: float
    at: int
    acts: np.ndarray
    fvu: np.ndarray
    pieces: np.ndarray
    roles: np.ndarray
    cut: tuple[int, int]


def _check(tokens: pd.DataFrame) -> None:
    if not np.isfinite(tokens["act"].to_numpy(np.float64)).all():
        raise SchemaError("the tokens have activations that are no numbers; record them again.")
    twice = tokens.duplicated(["feature", "checkpoint", "prompt", "pos"])
    if any(twice):
        row = tokens.loc[twice].iloc[0]
        raise SchemaError(
            f"token {row['pos']} of prompt {excerpt(row['prompt'])} stands twice in the tokens of "
            f"feature {row['feature']}: name the columns that tell the rows apart in by=, or keep "
            "one of them."
        )


def _texts(tokens: pd.DataFrame, names: list[str]) -> Iterator[Text]:
    """Every prompt of every feature that has a counted token."""
    # arrays with one row a token: a table of each text would take half a minute of 500 features
    numbers, prompts = pd.factorize(tokens["prompt"])
    place = tokens["feature"].to_numpy(), numbers, tokens["pos"].to_numpy()
    keys, first, row = np.unique(np.stack(place, 1), axis=0, return_index=True, return_inverse=True)
    column = pd.Categorical(tokens["checkpoint"].astype(str), categories=names).codes
    acts = _wide(tokens["act"].to_numpy(np.float64), row, column, shape=(len(keys), len(names)))
    fvu = np.full_like(acts, np.nan)
    counted = tokens["counted"].to_numpy(bool)
    if "fvu" in tokens:
        values = np.where(counted, tokens["fvu"], np.nan)
        fvu = _wide(values, row, column, shape=acts.shape)
    size = np.full(len(keys), -np.inf)
    np.maximum.at(size, row[counted], tokens["act"].abs().to_numpy(np.float64)[counted])
    pieces, roles = (tokens[c].to_numpy(object)[first] for c in ("piece", "role"))
    lengths = tokens["length"].to_numpy()[first] if "length" in tokens else None
    starts = np.flatnonzero(np.any(np.diff(keys[:, :2], axis=0, prepend=-1) != 0, axis=1))
    for start, end in pairwise([*starts, len(keys)]):
        own = slice(start, end)
        at = int(size[own].argmax())
        peak = float(size[start + at])
        if np.isfinite(peak):
            feature, prompt = int(keys[start, 0]), str(prompts[keys[start, 1]])
            mean = pd.DataFrame(fvu[own]).mean().to_numpy()
            cut = (0, 0)
            if lengths is not None:
                cut = (int(keys[start, 2]), int(lengths[start] - keys[end - 1, 2]) - 1)
            yield Text(feature, prompt, peak, at, acts[own], mean, pieces[own], roles[own], cut)


def _wide(
    values: np.ndarray, row: np.ndarray, column: np.ndarray, *, shape: tuple[int, int]
) -> np.ndarray:
    """Values by token and checkpoint."""
    wide = np.full(shape, np.nan)
    wide[row, column] = values
    return wide


def _example(text: Text, *, pieces: Words, roles: Words) -> dict[str, Any]:
    """A text around the token of its largest activation, as the page takes it."""
    start, end = max(text.at - BEFORE, 0), min(text.at + AFTER + 1, len(text.pieces))
    shown = slice(start, end)
    return {
        "prompt": visible(text.prompt, limit=NAME_LIMIT),
        "cut": [text.cut[0] + start, text.cut[1] + len(text.pieces) - end],
        "tokens": [pieces.number(piece(token)) for token in text.pieces[shown]],
        "roles": [roles.number(visible(str(role), limit=NAME_LIMIT)) for role in text.roles[shown]],
        "acts": [[short(act) for act in acts] for acts in text.acts[shown].T],
        "fvu": [short(value) for value in text.fvu],
    }


def short(value: float) -> float | str | None:
    """A number with four digits, as JSON takes it.

    Args:
        value: Any number.

    Returns:
        All that a reader can use of it; "inf" or "-inf" where it is infinite, which JSON has no
        number for; None where there is none.

    >>> short(1.23456), short(float("-inf")), short(float("nan"))
    (1.235, '-inf', None)
    """
    if np.isnan(value):
        return None
    return float(f"{value:.4g}") if np.isfinite(value) else f"{value:g}"
