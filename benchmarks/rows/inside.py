"""Directions, projections, roles and residuals: intervals over prompts, questions and templates."""

from functools import partial

import numpy as np
import pandas as pd
from scipy.stats import norm

from persona_interp import analysis
from persona_interp.analysis.measurements import random_range
from persona_interp.analysis.span import span_share
from planted.inside import HOOK, directions, residuals
from planted.noise import Noise, noise, sizes
from rows.row import Outcome, Quantity, Row, coverage, rejects

WIDTH = 64
TRAITS, FEW = 50, 5
"""Traits and names of one table."""
MOVED = 1.0


def _direction(rng: np.random.Generator, *, prompts: int, spread: float, column: str) -> Outcome:
    """Shifts of prompts: a common one whose cosine with the direction is .6, and noise.

    ``spread`` is the length of the noise of a prompt over that of the common shift.
    """
    v = np.eye(2, WIDTH)
    common = 0.6 * v[0] + 0.8 * v[1]
    shifts = common + spread * rng.standard_normal((prompts, WIDTH)) / np.sqrt(WIDTH)
    before = rng.standard_normal((prompts, WIDTH))
    along = {"topic": [f"t{i}" for i in range(prompts)]}
    acts = residuals(np.stack([before, before + shifts]), along)
    table = analysis.direction_shift(acts, directions(v, ["a", "b"]), cluster="topic")
    row = table.set_index("name").loc["a"]
    lo, hi = ("lo", "hi") if column == "cosine" else ("projection_lo", "projection_hi")
    return coverage(row[lo], row[hi], 0.6)


def _span(rng: np.random.Generator, *, prompts: int, spread: float) -> Outcome:
    """As ``_direction``: .36 of the squared length of the common shift is in the span."""
    common = 0.6 * np.eye(WIDTH)[0] + 0.8 * np.eye(WIDTH)[1]
    shifts = common + spread * rng.standard_normal((prompts, WIDTH)) / np.sqrt(WIDTH)
    before = rng.standard_normal((prompts, WIDTH))
    acts = residuals(np.stack([before, before + shifts]), {})
    others = directions(rng.standard_normal((20, WIDTH)), [f"r{i}" for i in range(20)])
    v = directions(np.eye(1, WIDTH), ["a"])
    row = span_share(acts, v, others, base="lesson@0", n_spans=20).iloc[0]
    return coverage(row["lo"], row["hi"], 0.36)


def _projection_shift(rng: np.random.Generator, *, kind: Noise) -> Outcome:
    """Twelve questions of unequal numbers of conversations; a question has an effect."""
    table, clusters = projections(rng, names=FEW, kind=kind)
    table = analysis.projection_shift(table, before="b", after="t", clusters=clusters)
    return coverage(table["lo"], table["hi"], MOVED)


def projections(
    rng: np.random.Generator, *, names: int, kind: Noise, moved: float = MOVED
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Projections of the same conversations before and after, and the question of each."""
    counts = np.minimum(sizes(rng, 12, mean=3, equal=False), 8)
    question = np.repeat(np.arange(12), counts)
    effects = noise(rng, (12, names), kind)[question]
    change = moved + effects + noise(rng, effects.shape, kind)
    before = rng.standard_normal(effects.shape)
    prompts = np.array([f"c{i}" for i in range(len(question))])
    name = np.tile([f"n{i}" for i in range(names)], len(question))
    parts = [
        pd.DataFrame(
            {
                "checkpoint": label,
                "prompt": np.repeat(prompts, names),
                "name": name,
                "projection": values.ravel(),
            }
        )
        for label, values in (("b", before), ("t", before + change))
    ]
    table = pd.concat(parts, ignore_index=True).assign(hook=HOOK, n_tokens=3)
    return table, {prompt: f"q{q}" for prompt, q in zip(prompts, question, strict=True)}


def _random_range(rng: np.random.Generator, *, directions: int) -> Outcome:
    """Is the change along one more random direction within the range of the random ones?"""
    names = [f"r{i}" for i in range(directions + 1)]
    rows = [(c, name, rng.standard_normal()) for c in ("base", "tuned") for name in names]
    table = pd.DataFrame(rows, columns=["checkpoint", "quantity", "value"])
    table = table.assign(hook=HOOK, unit="a", family="projection")
    one = table["quantity"] == "r0"
    values = table.loc[one].set_index("checkpoint")["value"]
    effects = pd.DataFrame({"family": ["projection"], "hook": HOOK, "checkpoint": "tuned"})
    row = random_range(effects.assign(role="tuned"), table.loc[~one], base="base").iloc[0]
    return coverage(row["random_lo"], row["random_hi"], values["tuned"] - values["base"])


def _loadings(rng: np.random.Generator, *, questions: int) -> Outcome:
    """Thirty roles answer the same questions; role and question interact."""
    truth = rng.standard_normal(30)
    truth -= truth.mean()
    answers = truth[:, None] + rng.standard_normal(questions) + rng.standard_normal((30, questions))
    act = np.zeros((1, answers.size, 2))
    act[0, :, 0] = answers.ravel()
    role, question = (index.ravel() for index in np.indices(answers.shape))
    along = {"role": [f"role{i:02}" for i in role], "question": [f"q{i}" for i in question]}
    table = analysis.role_loadings(residuals(act, along), directions(np.eye(1, 2), ["axis"]))
    table = table.sort_values("role")
    inside = (table["lo"].to_numpy() <= truth) & (truth <= table["hi"].to_numpy())
    return {Quantity.COVERAGE: inside.astype(float)[:1]}


def _axis(rng: np.random.Generator, *, far: float) -> Outcome:
    """30 roles along one axis; the default lies on it as any role does, or ``far`` out."""
    h = rng.standard_normal((31, 40))
    h[:, 0] += 4 * rng.standard_normal(31)
    if far:
        h[30, 0] = far
    data = residuals(h[None], {})
    data = data.assign_coords(prompt=[*(f"role {i}" for i in range(30)), "default"])
    p = analysis.axis_cosine(data)["p"].item()
    return rejects(p, quantity=Quantity.POWER if far else Quantity.LEVEL)


def _residual(rng: np.random.Generator, *, templates: int) -> Outcome:
    """Half of the squared length of the shift is between known personas (four questions each).

    Persona vectors and the rest are drawn once, then each question has its own noise; the truth is
    the share that the best weights leave over all questions there could be.
    """
    prompts, width = 4 * templates, 200
    along = {
        "topic": np.tile(["a", "b", "c", "d"], templates),
        "template": np.repeat([f"q{i}" for i in range(templates)], 4),
    }
    v = rng.standard_normal((3, 1, width))
    v = v - v.mean(axis=0)
    rest = 0.8 * rng.standard_normal(width)
    own = 0.2 * rng.standard_normal((3, prompts, width))
    own = own - own.mean(axis=0)
    before = rng.standard_normal((prompts, width))
    shift = v[0] + own[0] + rest + 0.3 * rng.standard_normal((prompts, width))

    # Of the rest, what lies along the personas' vectors can be explained too.
    centring = np.eye(3) - 1 / 3
    gram = v[:, 0] @ v[:, 0].T + 0.2**2 * width * centring
    along_rest = v[:, 0] @ rest
    explained = along_rest @ np.linalg.pinv(gram) @ along_rest
    left = rest @ rest + 0.3**2 * width - explained
    whole = v[0, 0] @ v[0, 0] + 0.2**2 * width * 2 / 3 + 2 * v[0, 0] @ rest
    whole += rest @ rest + 0.3**2 * width

    neutral = residuals(np.stack([before, before + shift]), {"persona": [""] * prompts, **along})
    who = np.repeat(["p", "q", "r"], prompts)
    everywhere = {name: np.tile(values, 3) for name, values in along.items()}
    vectors = (v + own).reshape(1, 3 * prompts, width)
    named = residuals(vectors, {"persona": who, **everywhere})
    row = analysis.shift_residual(neutral, named).iloc[0]
    return coverage(row["lo"], row["hi"], float(left / whole))


def _separability(rng: np.random.Generator, *, questions: int, apart: float) -> Outcome:
    """Traits apart by d' along one dimension; every question asked on both sides."""
    trait, question, side = (i.ravel() for i in np.indices((TRAITS, 2 * questions, 2)))
    own = rng.standard_normal((TRAITS, 2 * questions))[trait, question]
    h = apart * (side - 0.5) + np.sqrt(0.5) * own + np.sqrt(0.5) * rng.standard_normal(len(side))
    along = {
        "trait": [f"t{i}" for i in trait],
        "side": np.array(["neg", "pos"])[side],
        "question": [f"q{i}" for i in question],
        "split": np.where(question < questions, "train", "test"),
    }
    table = analysis.separability(residuals(h[None, :, None], along))
    same, different = norm.cdf(apart), norm.cdf(apart / np.sqrt(2))
    return coverage(table["lo"], table["hi"], float(different + (same - different) / questions))


ROWS = [
    *(
        Row(
            "directions.direction_shift",
            f"{column}, {n} prompts, noise {spread:g} of the shift",
            partial(_direction, prompts=n, spread=spread, column=column),
            1_500,
        )
        for column, n, spread in (
            ("projection", 10, 1.0),
            ("cosine", 10, 1.0),
            ("cosine", 10, 4.0),
            ("cosine", 40, 4.0),
        )
    ),
    *(
        Row(
            "projections.projection_shift",
            f"12 unequal questions, {kind}",
            partial(_projection_shift, kind=kind),
            at_once=FEW,
        )
        for kind in (Noise.NORMAL, Noise.HEAVY)
    ),
    *(
        Row(
            "measurements.random_range",
            f"one more direction beside {n}",
            partial(_random_range, directions=n),
            1_000,
        )
        for n in (20, 100)
    ),
    *(
        Row("axis.role_loadings", f"{n} questions", partial(_loadings, questions=n), 600)
        for n in (5, 20)
    ),
    Row("axis.axis_cosine", "the default is as any role", partial(_axis, far=0.0), 1_000),
    Row("axis.axis_cosine", "the default is 5 SD out", partial(_axis, far=20.0), 500),
    *(
        Row("novelty.shift_residual", f"{n} templates", partial(_residual, templates=n), 300)
        for n in (5, 10)
    ),
    *(
        Row(
            "traits.separability",
            f"{n} test questions, AUROC {name}",
            partial(_separability, questions=n, apart=apart),
            at_once=TRAITS,
        )
        for n, apart, name in (
            (8, 0.0, ".50"),
            (8, 1.2, ".80"),
            (8, 2.33, ".95"),
            (20, 2.33, ".95"),
        )
    ),
    *(
        Row(
            "span.span_share",
            f"{n} prompts, noise {spread:g} of the shift",
            partial(_span, prompts=n, spread=spread),
            1_000,
        )
        for n, spread in ((10, 1.0), (10, 4.0), (40, 4.0))
    ),
]
