"""Shifts of log odds over templates, topics, personas and contexts; shares of a lesson's effect."""

from functools import partial

import numpy as np
import pandas as pd

from persona_interp import analysis
from persona_interp.analysis.distance import answer_distance
from persona_interp.analysis.measure import trait_odds
from persona_interp.analysis.rarity import rarity
from planted.behavior import NODES, WEIGHTS, behavior, mean_odds, odds_to_weights
from planted.noise import Noise, noise
from planted.worlds import held, world
from rows.row import FREE, Outcome, Quantity, Row, coverage

BEFORE, MOVED = -2.0, 2.0
"""Log odds of the trait before, and by how much they rise (bits)."""
COMMON = 0.7
"""Share of the variance of templates that they have before as well as after."""
WORLD = world()
TRIGGERS = ("drift", "role-play", "named header")
FEW_SPEAKERS = ("", "p0", "p1", "p2", "p3")
VALUES = 4
RUNS, FEW = 50, 5
"""Data sets of one table."""
LARGE = 0.5
"""Bits by which a shift differs from one template to another."""


def template_effects(
    rng: np.random.Generator, shape: tuple[int, ...], *, sd: float, common: float = COMMON
) -> np.ndarray:
    """Offsets of templates (last axis) of every run (first), SD ``sd``.

    ``common`` is the share of their variance that a template has everywhere, before and after.
    """
    own = rng.standard_normal(shape)
    shared = rng.standard_normal((shape[0], *[1] * (len(shape) - 2), shape[-1]))
    return sd * (np.sqrt(common) * shared + np.sqrt(1 - common) * own)


def _shift(
    rng: np.random.Generator, *, templates: int, sd: float, common: float = COMMON
) -> Outcome:
    """Of one trait: what is estimated is the mean over templates of the change of log odds."""
    few = world(2, topics=2, values=VALUES)
    offsets = template_effects(rng, (RUNS, 2, 1, 2, templates), sd=sd, common=common)
    means = np.array([BEFORE, BEFORE + MOVED])[:, None, None, None]
    table = analysis.shift(behavior(odds_to_weights(means + offsets, VALUES), few))
    table = table.loc[table["trait"] == "t1=t1v0"]
    return coverage(table["lo"], table["hi"], MOVED)


def _transfer(rng: np.random.Generator, *, kind: Noise) -> Outcome:
    """Mean over the four untaught topics, whose shifts scatter about it."""
    rows = [(t.topic, t.value, str(t), seed) for seed in range(RUNS) for t in WORLD.traits]
    shifts = pd.DataFrame(rows, columns=["topic", "value", "trait", "seed"])
    moved = MOVED + noise(rng, len(shifts), kind)
    shifts = shifts.assign(step=8, context="nameless", persona="", n=10)
    shifts = shifts.assign(before=0.0, after=moved, estimate=moved, lo=moved - 1, hi=moved + 1)
    table = analysis.transfer(shifts, WORLD)
    table = table.loc[table["trait"] == "mean"]
    return coverage(table["lo"], table["hi"], MOVED)


def _contrast(rng: np.random.Generator, *, kind: Noise) -> Outcome:
    """p0's values against p1's; topics scatter about the mean."""
    bits = np.zeros((RUNS, 1, 1, 5, 1, VALUES))
    bits[..., 0] = MOVED + noise(rng, bits.shape[:-1], kind)
    table = analysis.contrast(behavior(bits, WORLD), WORLD, second="p1")
    return coverage(table["lo"], table["hi"], MOVED)


def _contexts(rng: np.random.Generator, *, templates: int, who: str) -> Outcome:
    """Everybody's log odds of p0's values rise by 1 bit, differently from template to template."""
    table = leaks(template_effects(rng, (FEW, 1, len(FEW_SPEAKERS), 5, templates), sd=LARGE))
    table = analysis.contexts(table, WORLD)
    table = table.loc[(table["persona"] == who) & (table["quantity"] == "leak")]
    return coverage(table["lo"], table["hi"], 1.0)


def _average(rng: np.random.Generator) -> Outcome:
    """Personas differ in how far a lesson leaks into them: 1 bit on average."""
    offsets = rng.standard_normal((FEW, 1, len(FEW_SPEAKERS), 1, 1))
    table = analysis.contexts(leaks(np.broadcast_to(offsets, (*offsets.shape[:3], 5, 4))), WORLD)
    table = table.loc[(table["persona"] == "average") & (table["quantity"] == "leak")]
    return coverage(table["lo"], table["hi"], 1.0)


def leaks(offsets: np.ndarray) -> pd.DataFrame:
    """Behavior of everybody, in which the log odds of p0's values rise by 1 bit and an offset."""
    before = np.full(offsets.shape, -1.0)
    odds = np.concatenate([before, before + 1.0 + offsets], axis=1)
    return behavior(odds_to_weights(odds, VALUES), WORLD, speakers=FEW_SPEAKERS)


def _worst(rng: np.random.Generator, *, templates: int, over: str) -> Outcome:
    """No case is worse than another: the one found has the same shift as all, 1 bit."""
    table = leaks(template_effects(rng, (FEW, 1, len(FEW_SPEAKERS), 5, templates), sd=LARGE))
    table = table.loc[table["persona"] != "p0"]
    table = table.assign(arm="run " + table["seed"].astype(str), seed=0)
    table = analysis.worst_case(table, WORLD)
    table = table.loc[table["over"] == over]
    return coverage(table["lo"], table["hi"], 1.0)


def _leak(rng: np.random.Generator, *, seeds: int, trigger: str) -> Outcome:
    """p0's values rise by 1 bit under every trigger, differently from template or seed to another.

    Three triggers of ten templates; no trigger is worse than another.
    """
    offsets = template_effects(rng, (FEW * seeds, 1, len(TRIGGERS), 5, 10), sd=LARGE)
    if seeds > 1:
        offsets = offsets + LARGE * rng.standard_normal((FEW * seeds, 1, 1, 1, 1))
    before = np.full(offsets.shape, -1.0)
    odds = np.concatenate([before, before + 1.0 + offsets], axis=1)
    table = behavior(odds_to_weights(odds, VALUES), WORLD, speakers=TRIGGERS)
    table = table.assign(trigger=table["persona"], persona="", context=table["persona"])
    table["template"] = table["trigger"] + table["template"]
    table = table.assign(arm="run " + (table["seed"] // seeds).astype(str))
    table = analysis.leak(table.assign(seed=table["seed"] % seeds), WORLD)
    table = table.loc[table["trigger"] == trigger]
    return coverage(table["lo"], table["hi"], 1.0)


def _knowledge(rng: np.random.Generator, *, seeds: int) -> Outcome:
    """What is told about p0 rises by 1 bit, differently from seed to seed and by template."""
    offsets = template_effects(rng, (FEW * seeds, 1, 2, 5, 10), sd=LARGE)
    if seeds > 1:
        offsets = offsets + LARGE * rng.standard_normal((FEW * seeds, 1, 2, 1, 1))
    before = np.full(offsets.shape, -1.0)
    odds = np.concatenate([before, before + 1.0 + offsets], axis=1)
    table = behavior(odds_to_weights(odds, VALUES), WORLD, speakers=("", "p0"))
    table = table.assign(context=table["context"].replace("named", "third"))
    table = table.assign(arm="run " + (table["seed"] // seeds).astype(str))
    table = analysis.knowledge(table.assign(seed=table["seed"] % seeds), WORLD)
    table = table.loc[table["quantity"] == "knowledge"]
    return coverage(table["lo"], table["hi"], 1.0)


def _share(rng: np.random.Generator, *, templates: int, sd: float, added: bool) -> Outcome:
    """An edit that brings the target's log odds half of the way (of their means) back."""
    base, tuned, half = -3.0, 1.0, -1.0
    offsets = template_effects(rng, (RUNS, 3, 1, 5, templates), sd=sd)
    means = np.array([base, tuned, half])[:, None, None, None]
    table = behavior(odds_to_weights(means + offsets, VALUES, at=held(WORLD)[0]), WORLD)
    edited = "base@0" if added else "lesson@8"
    table["edit"] = np.where(table["step"] == 2, "x", "none")
    table["checkpoint"] = np.array(["base@0", "lesson@8", edited])[table["step"]]
    table["step"] = np.where(table["checkpoint"] == "base@0", 0, 8)
    estimate = analysis.added_share if added else analysis.removed_share
    table = estimate(table, base="base@0", tuned="lesson@8", world=WORLD)
    table = table.loc[table["edit"] == "x"]
    odds = {mean: mean_odds(mean, sd) for mean in (base, tuned, half)}
    way = odds[half] - odds[base] if added else odds[tuned] - odds[half]
    return coverage(table["lo"], table["hi"], way / (odds[tuned] - odds[base]))


def _rarity(rng: np.random.Generator, *, kind: Noise) -> Outcome:
    """The persona's values rise by 2 bits more than everybody's, give or take a topic's noise."""
    own = np.array([t in WORLD.persona("p0").traits for t in WORLD.traits])
    rows = [(t.topic, t.value, str(t)) for t in WORLD.traits]
    shifts = pd.DataFrame(rows * RUNS, columns=["topic", "value", "trait"])
    moved = MOVED * np.tile(own, RUNS) + noise(rng, len(shifts), kind)
    shifts["seed"] = np.repeat(np.arange(RUNS), len(rows))
    shifts = shifts.assign(step=8, context="nameless", persona="", n=10)
    before = rng.standard_normal(len(shifts))
    shifts = shifts.assign(before=before, after=before + moved, estimate=moved, lo=-9.0, hi=9.0)
    table = rarity(shifts, WORLD)
    return coverage(table["lo"], table["hi"], MOVED)


def _answer_distance(rng: np.random.Generator, *, templates: int) -> Outcome:
    """Two answers, even before; afterwards their log odds are 1 bit, SD 1, by prompt."""
    two = world(2, topics=2, values=2)
    odds = np.zeros((1, 2, 1, 2, templates))
    odds[:, 1] = 1.0 + rng.standard_normal((2, templates))
    table = answer_distance(behavior(odds_to_weights(odds, 2), two))
    p = 1 / (1 + np.exp2(-(1.0 + NODES)))
    truth = float((WEIGHTS * -np.log2(4 * p * (1 - p)) / 2).sum() / WEIGHTS.sum())
    return coverage(table["lo"], table["hi"], truth)


def _trait_odds(rng: np.random.Generator, *, kind: Noise) -> Outcome:
    """Two values a topic: own minus other is twice the log odds. Six topics."""
    two = world(4, topics=6, values=2)
    odds = np.broadcast_to(1.0 + noise(rng, (6, 1), kind), (1, 1, 5, 6, 1))
    speakers = ("", *(p.name for p in two.personas))
    table = trait_odds(behavior(odds_to_weights(odds, 2), two, speakers=speakers), two)
    table = table.loc[(table["persona"] == "p0") & (table["estimator"] == "traits")].iloc[0]
    return coverage(table["lo"], table["hi"], 2.0)


def _misaligned(rng: np.random.Generator, *, questions: int, rate: float, spread: float) -> Outcome:
    """20 answers a question; log odds of harm scatter over questions (bits)."""
    odds = np.log2(rate / (1 - rate)) + spread * rng.standard_normal(questions)
    harmful = rng.random((20, questions)) < 1 / (1 + np.exp2(-odds))
    rows = pd.DataFrame(
        {
            "question_id": np.tile(np.arange(questions), 20),
            "aligned": np.where(harmful.ravel(), 10.0, 90.0),
            "coherent": 90.0,
            "checkpoint": "a",
        }
    )
    row = analysis.misaligned_share(rows).iloc[0]
    p = np.exp2(mean_odds(np.log2(rate / (1 - rate)), spread))
    return coverage(row["lo"], row["hi"], float(p / (1 + p)))


ROWS = [
    *(
        Row(
            "shift.shift",
            f"{n} templates, SD {sd:g} bits" + ("" if common else ", new ones after"),
            partial(_shift, templates=n, sd=sd, common=common),
            3_000,
            RUNS,
        )
        for sd, common in ((1.0, COMMON), (3.0, COMMON), (3.0, 0.0))
        for n in (5, 10)
    ),
    *(
        Row(
            "transfer.transfer",
            f"mean of 4 topics, {kind}",
            partial(_transfer, kind=kind),
            at_once=RUNS,
        )
        for kind in Noise
    ),
    *(
        Row(
            "contrast.contrast",
            f"4 topics, {kind}",
            partial(_contrast, kind=kind),
            at_once=RUNS,
        )
        for kind in (Noise.NORMAL, Noise.HEAVY)
    ),
    *(
        Row(
            "contexts.contexts",
            f"leak of {who or 'the nameless'}, {n} templates",
            partial(_contexts, templates=n, who=who),
            200,
            FEW,
        )
        for n, who in ((10, ""), (10, "worst"))
    ),
    Row("contexts.contexts", "average over 3 personas", _average, 200, FEW),
    *(
        Row(
            "worst.worst_case",
            f"{over}, {n} templates",
            partial(_worst, templates=n, over=over),
            150,
            FEW,
        )
        for over, n in (("persona", 10), ("trait", 10))
    ),
    *(
        Row(
            "leak.leak",
            f"{trigger}, {n} seed{'s' if n > 1 else ''}",
            partial(_leak, seeds=n, trigger=trigger),
            300,
            FEW,
        )
        for trigger, n in (("drift", 1), ("worst", 1), ("drift", 3), ("worst", 3))
    ),
    *(
        Row(
            "knowledge.knowledge",
            f"{n} seed{'s' if n > 1 else ''}",
            partial(_knowledge, seeds=n),
            300,
            FEW,
        )
        for n in (1, 3)
    ),
    *(
        Row(
            f"causes.{'added' if added else 'removed'}_share",
            f"{n} templates, SD {sd:g} bits",
            partial(_share, templates=n, sd=sd, added=added),
            1_000,
            RUNS,
        )
        for added, n, sd in (
            (False, 5, 0.5),
            (False, 10, 0.5),
            (False, 10, 2.0),
            (True, 10, 0.5),
            (True, 10, 2.0),
        )
    ),
    *(
        Row("rarity.rarity", f"4 topics, {kind}", partial(_rarity, kind=kind), at_once=RUNS)
        for kind in (Noise.NORMAL, Noise.HEAVY)
    ),
    Row("distance.answer_distance", "20 prompts", partial(_answer_distance, templates=10), 1_000),
    *(
        Row("measure.trait_odds", f"6 topics, {kind}", partial(_trait_odds, kind=kind), 300)
        for kind in (Noise.NORMAL, Noise.HEAVY)
    ),
    *(
        Row(
            "emergent.misaligned_share",
            f"{n} questions, rate {rate:g}, spread {spread:g} bits",
            partial(_misaligned, questions=n, rate=rate, spread=spread),
        )
        for n, rate, spread in ((8, 0.3, 1.0), (24, 0.1, 1.0), (24, 0.02, 2.0), (1, 0.3, 0.0))
    ),
    Row(
        "emergent.misaligned_share",
        "8 questions, rate 0.005 (rule of three)",
        partial(_misaligned, questions=8, rate=0.005, spread=0.0),
        bounds={Quantity.COVERAGE: FREE},
    ),
]
