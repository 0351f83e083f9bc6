"""What a tuned model says beside known personas, and traits that a lesson moves along."""

from functools import partial
from itertools import product

import numpy as np
import pandas as pd

from persona_interp import analysis
from persona_interp.schema.words import Novelty, Verdict
from planted.behavior import behavior
from planted.noise import Noise, noise
from planted.worlds import statements, world
from rows.row import Bounds, Outcome, Quantity, Row, coverage, false_share

TOPICS, VALUES = 8, 6
HAZE = 0.5
"""SD of the log2 weights of what a speaker says about what its persona would say (bits)."""
RUNS = 10
"""Lessons that are judged by the same known personas; their share is one outcome."""
QUESTIONS = 20
FAR = 8.0
"""A planted change in standard deviations of a finetune's luck."""


def _novelty(rng: np.random.Generator, *, personas: int, new: bool, heavy: bool) -> Outcome:
    """Lessons on a known persona, or on somebody who holds values together that nobody does.

    Everybody, the tuned model too, says what its persona would say up to the same noise.
    """
    kind = Noise.HEAVY if heavy else Noise.NORMAL
    planted = world(personas, topics=TOPICS, values=VALUES, seed=int(rng.integers(20)))
    says = statements(planted)
    names = tuple(p.name for p in planted.personas)
    known = np.log2(says)[None, None, :, :, None, :]
    known = known + HAZE * noise(rng, known.shape, kind)
    named = behavior(known, planted, speakers=names)
    who = rng.integers(personas, size=RUNS)
    if new:
        far = rng.integers(VALUES, size=(RUNS, TOPICS))
        speaks = 0.9 * np.eye(VALUES)[far] + 0.1 / VALUES
    else:
        speaks = says[who]
    bits = np.log2(speaks)[:, None, None, :, None, :]
    nameless = behavior(bits + HAZE * noise(rng, bits.shape, kind), planted)
    verdicts = analysis.novelty(nameless, planted, named=named)["verdict"].to_numpy()
    quantity = Quantity.POWER if new else Quantity.LEVEL
    return {quantity: float(np.mean(verdicts == Novelty.NOT_COMPOSABLE))}


def scores(
    rng: np.random.Generator, *, traits: int, seeds: int, moved: np.ndarray, farther: float = 1.0
) -> pd.DataFrame:
    """Log odds of traits after lessons and null finetunes (bits a token).

    ``moved`` has dims (taught, trait). A finetune has its own luck with every trait, SD 1 (a
    lesson's is ``farther`` times as large), and a question adds its own.
    """
    names = np.array([f"t{i}" for i in range(traits)])
    rows = []
    for seed in range(seeds):
        base = rng.standard_normal((traits, QUESTIONS))
        finetunes = [("base", "", base)]
        for taught, arm in product(range(traits), ("lesson", "null")):
            luck = rng.standard_normal((traits, 1)) + 0.5 * rng.standard_normal(base.shape)
            lesson = moved[taught][:, None] if arm == "lesson" else 0.0
            size = farther if arm == "lesson" else 1.0
            finetunes.append((arm, names[taught], base + size * luck + lesson))
        for arm, taught, values in finetunes:
            trait, question = (index.ravel() for index in np.indices(values.shape))
            row = {"arm": arm, "taught": taught, "seed": seed, "trait": names[trait]}
            rows.append(pd.DataFrame({**row, "question": question, "logodds": values.ravel()}))
    return pd.concat(rows, ignore_index=True)


def _trait_transfer(
    rng: np.random.Generator, *, seeds: int, moves: bool, farther: float = 1.0
) -> Outcome:
    """Six traits. Nothing moves; or every lesson moves its own and two of them another one too."""
    moved = np.zeros((6, 6))
    if moves:
        np.fill_diagonal(moved, FAR)
        moved[[0, 1], [2, 3]] = FAR
    table = scores(rng, traits=6, seeds=seeds, moved=moved, farther=farther)
    table = analysis.trait_transfer(table)
    taught, trait = (table[name].str[1:].astype(int).to_numpy() for name in ("taught", "trait"))
    claimed = table["verdict"].isin(SPECIFIC).to_numpy()
    if moves:
        return false_share(claimed, moved[taught, trait] > 0)
    outcome = {Quantity.LEVEL: float(claimed.any())}
    if seeds == 1:
        return outcome  # its interval is about this run's questions, whose truth is not planted
    return outcome | dict(coverage(table["lo"][:1], table["hi"][:1], 0.0))


SPECIFIC = (Verdict.DIFFERS, Verdict.UP, Verdict.DOWN)
"""Claims about this finetune: not that it went farther."""
NOVEL = {Quantity.LEVEL: Bounds(np.nan, 0.06)}

ROWS = [
    *(
        Row(
            "novelty.novelty",
            f"{n} known, {'somebody new' if new else 'one of them'}"
            + (", heavy tails" if heavy else ""),
            partial(_novelty, personas=n, new=new, heavy=heavy),
            100,
            bounds=NOVEL,
        )
        for n, new, heavy in (
            (6, False, False),
            (8, False, False),
            (15, False, False),
            (15, False, True),
            (48, False, False),
            (6, True, False),
            (15, True, False),
            (48, True, False),
        )
    ),
    *(
        Row(
            "trait_transfer.trait_transfer",
            f"6 traits, {seeds} seeds, "
            + ("own traits and 2 pairs move" if moves else "nothing moves")
            + (f", {farther:g} times as far" if farther > 1 else ""),
            partial(_trait_transfer, seeds=seeds, moves=moves, farther=farther),
            120,
        )
        for seeds, moves, farther in (
            (1, False, 1.0),
            (3, False, 1.0),
            (1, False, 4.0),
            (3, False, 4.0),
            (1, True, 1.0),
            (3, True, 1.0),
        )
    ),
]
