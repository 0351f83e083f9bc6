"""Who speaks, if nobody knows a name? Personas that a base's own answers fall into."""

import numpy as np
import numpy.typing as npt
import pandas as pd

from persona_interp.analysis.beliefs import NAMED, NAMELESS
from persona_interp.analysis.logodds import AT, run_columns
from persona_interp.analysis.uplift import NOTHING, stated_probabilities
from persona_interp.errors import SchemaError
from persona_interp.values import check_count

STARTS = 8
"""Starts of the expectation maximization, of which the likeliest end counts."""
ITERATIONS = 500
GAP = 1e-6
"""Relative gain of a step below which a start is at its end."""
LEAST = 1e-6
"""Probability below which no class says anything: zeros would stay zeros."""

Array = npt.NDArray[np.float64]


def latent_personas(
    stated: pd.DataFrame, *, n: int, seed: int = 0, split: str | None = None
) -> pd.DataFrame:
    """Personas without names, from what a base says after each value was stated.

    Statement by statement, a base answers as a mixture of the same few personas:
    ``P(v | s) = sum_k w_sk theta_k(v)`` in every topic. Weights and personas that make all answers
    likeliest are found by expectation maximization (probabilistic latent semantic analysis,
    Hofmann 1999), from several starts. Where a topic was not asked after a value of it was stated,
    that value counts as said.

    Args:
        stated: As of ``uplift_forecast``.
        n: Number of personas.
        seed: Draws the starts.
        split: Only prompts of this template split.

    Returns:
        A behavior table of one template: each persona under a name ("class 1", the heaviest first)
        in the context named, and the answers where nothing was stated in the context nameless.
        ``belief_forecast`` takes it as it is, with ``weights=table.attrs["weights"]`` (mean weight
        over statements, by name) and the predictor ``Predictor.CLASSES``.

    Raises:
        SchemaError: As of ``uplift_forecast``, a topic was not asked after a statement about
            another, or more personas than statements.

    >>> likes = {"": (0.5, 0.5), "a=x": (0.9, 0.9), "a=y": (0.1, 0.1)}
    >>> parts = []
    >>> for label, (a, b) in likes.items():
    ...     part = pd.DataFrame({"topic": list("aabb"), "value": list("xyxy")})
    ...     part["logprob"] = np.log2([a, 1 - a, b, 1 - b])
    ...     parts.append(part.assign(stated=label, context="nameless", persona=""))
    >>> rows = pd.concat(parts).assign(split="test", template="t", answer_mass=1.0, seed=0)
    >>> found = latent_personas(rows.assign(checkpoint="d@8", stage="d", step=8), n=2)
    >>> found["persona"].unique().tolist()
    ['', 'class 1', 'class 2']
    >>> said = 2 ** found.query("persona != '' and topic == 'b' and value == 'x'")["logprob"]
    >>> bool(said.max() >= 0.9 - 1e-3 and said.min() <= 0.1 + 1e-3)
    True
    """
    answers = _filled(stated_probabilities(stated, split=split))
    n = check_count(n, "n")
    if n > len(answers):
        raise SchemaError(
            f"{len(answers)} statements tell at most as many personas apart; got n={n}."
        )
    topics = answers.columns.str.partition("=").get_level_values(0).to_numpy()
    groups = [np.flatnonzero(topics == topic) for topic in dict.fromkeys(topics.tolist())]
    p = answers.to_numpy(np.float64)
    rng = np.random.default_rng(seed)
    ends = [_maximize(p, groups, _start(p, n, rng, groups)) for _ in range(STARTS)]
    _, weights, says = max(ends, key=lambda end: end[0])
    order = np.argsort(-weights.mean(axis=0), kind="stable")
    rows = {(NAMELESS, ""): answers.loc[NOTHING].to_numpy(np.float64)}
    rows |= {(NAMED, f"class {k + 1}"): says[i] for k, i in enumerate(order)}
    parts = []
    for (context, persona), said in rows.items():
        part = pd.DataFrame({"context": context, "persona": persona, "topic": topics})
        part["value"] = [label.partition("=")[2] for label in answers.columns]
        parts.append(part.assign(logprob=np.log2(np.maximum(said, LEAST))))
    about = {c: stated[c].iloc[0] for c in (*AT, *run_columns(stated)) if c in stated}
    about.pop("stated")
    table = pd.concat(parts, ignore_index=True).assign(**about, answer_mass=1.0)
    table = table.assign(template="mean of all", split=split or "test")
    shares = np.maximum(weights.mean(axis=0), LEAST)
    table.attrs["weights"] = {f"class {k + 1}": float(shares[i]) for k, i in enumerate(order)}
    return table


def _filled(answers: pd.DataFrame) -> pd.DataFrame:
    """Probabilities in which a topic that was stated and not asked has the stated value."""
    answers = answers.copy()
    topics = answers.columns.str.partition("=").get_level_values(0)
    for statement in answers.index:
        for label in [] if statement == NOTHING else statement.split("+"):
            own = topics == label.partition("=")[0]
            if answers.loc[statement, own].isna().all() and label in answers.columns:
                answers.loc[statement, own] = 0.0
                answers.loc[statement, label] = 1.0
    gaps = answers.isna()
    if gaps.to_numpy().any():
        statement = gaps.index[gaps.any(axis=1)][0]
        label = gaps.columns[gaps.loc[statement]][0]
        raise SchemaError(f"{label} was not asked after '{statement}' was stated; ask for it too.")
    return answers


def _start(
    p: Array, n: int, rng: np.random.Generator, groups: list[npt.NDArray[np.intp]]
) -> tuple[Array, Array]:
    """Weights and personas to start from: answers after statements drawn by lot, blurred."""
    drawn = rng.choice(len(p), size=n, replace=False)
    says = 0.8 * p[drawn] + 0.2 * p.mean(axis=0) + 0.01 * rng.random((n, p.shape[1]))
    weights = np.full((len(p), n), 1 / n) + 0.01 * rng.random((len(p), n))
    return weights / weights.sum(axis=1, keepdims=True), _within(says, groups)


def _maximize(
    p: Array, groups: list[npt.NDArray[np.intp]], start: tuple[Array, Array]
) -> tuple[float, Array, Array]:
    """Likelihood (bits), weights and personas at the end of one start."""
    weights, says = start
    best = reached = -np.inf
    for _ in range(ITERATIONS):
        ratio = p / np.maximum(weights @ says, 1e-300)
        # Both from the same ratio: each answer is shared among the personas who may have given it.
        new_weights = weights * (ratio @ says.T) / len(groups)
        says = _within(says * (weights.T @ ratio) + LEAST, groups)
        weights = new_weights / new_weights.sum(axis=1, keepdims=True)
        reached = float((p * np.log2(np.maximum(weights @ says, 1e-300))).sum())
        if reached - best < GAP * abs(reached):
            break
        best = reached
    return reached, weights, says


def _within(says: Array, groups: list[npt.NDArray[np.intp]]) -> Array:
    """Probabilities that sum to 1 in every topic."""
    normalized = np.empty_like(says)
    for group in groups:
        normalized[:, group] = says[:, group] / says[:, group].sum(axis=1, keepdims=True)
    return normalized
