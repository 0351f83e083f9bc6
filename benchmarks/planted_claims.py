"""Do verdicts and intervals say what was planted? Nothing is trained; data come from ``plants``.

Each line is a finding of a referee that an earlier version got wrong.
"""

from collections.abc import Iterator

import numpy as np

import plants
from claim import Claim
from persona_interp.schema.words import Family, Novelty, Verdict
from trial import Reach, Trial, progress

PLACE = 1
REACH = Reach.SIMULATED
MOVED = (Verdict.UP, Verdict.DOWN)
DATA_SETS = {64: 20, 4_096: 10, 16_384: 5}
"""Features of a dictionary -> data sets that are simulated."""
N_CONTROLS = (3, 5)
FARTHER, N_FARTHER = (2, 4, 7), 400
"""How much farther a finetune goes than its controls, and simulations of each."""
LEVEL = 0.06
"""What a test at 5 % may be wrong in: the referee's bound."""
KNOWN = {6: 120, 15: 120, 48: 60}
"""Known personas -> simulations."""
N_DOCUMENTS = (10, 150)
N_INTERVALS = 4_000
AREAS = (0.5, 0.8, 0.95, 0.99)
RATES = ((0.95, 0.01), (0.65, 0.1), (0.1, 0.1))
"""How often a sparse feature fires in documents with the label, and without."""
N_PAIRED, N_PAIRS = (60, 240), 1_000
"""Documents of paired readouts, and simulations."""
CORRELATION = 0.8


def claims(trial: Trial) -> Iterator[Claim]:
    """Features from silence, controls that went less far, novelty, AUROCs and their differences."""
    rng = np.random.default_rng(trial.seeds)
    yield from silence_claims(rng)
    yield from distance_claims(rng)
    yield from novelty_claims(rng)
    yield from auroc_claims(rng)
    yield from paired_claims(rng)


def silence_claims(rng: np.random.Generator) -> Iterator[Claim]:
    """A feature that is switched on is claimed in dictionaries of every size; silent ones never."""
    for (n_features, n_sets), n_controls in (
        (size, n) for size in DATA_SETS.items() for n in N_CONTROLS
    ):
        found, others = [], []
        where = f"{n_features:,} features, {n_controls} controls"
        for _ in progress(range(n_sets), where):
            moved = moved_features(rng, n_features, n_controls)
            found.append(plants.PLANT in moved)
            silent = set(map(str, range(1, round(plants.SILENT * n_features))))
            others.append(len(moved & silent))
        name = f"planted: a feature switched on from silence, {where}"
        yield Claim(
            name, tuple(found), at_least=1, unit="found", over="data sets", every=True, least=1
        )
        name = f"planted: silent features that are claimed, {where}"
        yield Claim(
            name, tuple(others), at_most=0, unit="claims", over="data sets", every=True, least=1
        )


def moved_features(rng: np.random.Generator, n_features: int, n_controls: int) -> set[str]:
    """Features of which it is claimed that the finetune moved them."""
    from persona_interp import analysis

    tables = plants.switched_on(rng, n_features, n_controls)
    table = analysis.effects(
        plants.measurements(tables, family=Family.FEATURE),
        base="base",
        tuned=["tuned"],
        controls=plants.control_names(n_controls),
    )
    claimed = table.loc[table["verdict"].isin(MOVED) & (table["checkpoint"] == "tuned")]
    return set(claimed["quantity"])


def distance_claims(rng: np.random.Generator) -> Iterator[Claim]:
    """A finetune that went farther than its controls has moved nothing in particular."""
    for times in FARTHER:
        for n_controls in N_CONTROLS:
            what = f"{times} times as far, {n_controls} controls"
            hits = [is_moved(rng, n_controls, times) for _ in progress(range(N_FARTHER), what)]
            name = f"planted: nothing special, {what}: 'moved'"
            yield share(name, hits, at_most=LEVEL)


def is_moved(rng: np.random.Generator, n_controls: int, times: float) -> bool:
    """Whether it is claimed that the finetune moved the primary trait."""
    from persona_interp import analysis

    tables, distance = plants.farther(rng, n_controls, times)
    table = analysis.effects(
        plants.measurements(tables, family=Family.BEHAVIOR),
        base="base",
        tuned=["tuned"],
        controls=plants.control_names(n_controls),
        primary=[("tuned", "0")],
        distance=distance,
    )
    return bool(table.loc[table["primary"], "verdict"].isin(MOVED).item())


def novelty_claims(rng: np.random.Generator) -> Iterator[Claim]:
    """Somebody known is called new in 5 % of cases at most; how often a stranger is, is said."""
    for n_known, n_simulations in KNOWN.items():
        known, strangers = [], []
        for _ in progress(range(n_simulations), f"{n_known} known"):
            on_known, on_stranger = called_new(rng, n_known)
            known.append(on_known)
            strangers.append(on_stranger)
        name = f"planted: somebody known is called new, {n_known} known"
        yield share(name, known, at_most=LEVEL)
        name = f"planted: a stranger is called new, {n_known} known"
        yield share(name, strangers, reported=True)


def called_new(rng: np.random.Generator, n_known: int) -> tuple[bool, bool]:
    """Whether a known persona, and a stranger, are said not to be composable of the known."""
    from persona_interp import analysis

    world = plants.crowd(rng, n_known)
    names = [persona.name for persona in world.personas]
    traits = [plants.traits_of(world, name) for name in names]
    named = plants.behavior(rng, world, traits, names=names)
    somebody = traits[rng.integers(n_known)]
    both = plants.behavior(rng, world, [somebody, plants.stranger(rng, world)], names=["", ""])
    topics = [topic for topic in world.topics if topic != world.taught.topic]
    table = analysis.novelty(both, world, named=named, topics=topics).set_index("seed")
    is_new = table["verdict"] == Novelty.NOT_COMPOSABLE
    return bool(is_new[0]), bool(is_new[1])


def auroc_claims(rng: np.random.Generator) -> Iterator[Claim]:
    """Intervals hold the true AUROC, of few positive documents and of features that hardly fire."""
    from persona_interp import analysis

    n_with, n_without = N_DOCUMENTS
    for area in AREAS:
        # Columns are simulations: each is a readout of its own.
        values, positive = plants.scores(rng, (area,) * N_INTERVALS, n=N_DOCUMENTS, correlation=0.0)
        intervals = analysis.auroc(values, positive)
        hits = (intervals.lo <= area) & (area <= intervals.hi)
        name = f"planted: coverage of an AUROC of {area:g}, {n_with} against {n_without}"
        yield share(name, hits, at_least=0.92)
    for rates in RATES:
        values, area = plants.firing(rng, rates, n=N_DOCUMENTS, n_features=N_INTERVALS)
        positive = np.repeat([True, False], N_DOCUMENTS)
        intervals = analysis.auroc(values, positive)
        hits = (intervals.lo <= area) & (area <= intervals.hi)
        name = f"planted: coverage of an AUROC, a feature that fires in {rates[0]:g} / {rates[1]:g}"
        yield share(name, hits, at_least=0.92)
        empty = float(np.sum(np.asarray(intervals.hi) - np.asarray(intervals.lo) == 0))
        name = f"planted: intervals of width 0, a feature that fires in {rates[0]:g} / {rates[1]:g}"
        yield Claim(name, (empty,), at_most=0, unit="intervals", over="runs", exact=True)


def paired_claims(rng: np.random.Generator) -> Iterator[Claim]:
    """Two readouts of the same documents are told apart where one is better, and only there."""
    name = "planted: on the same documents, .88 is told from .80"
    hits = [differ(rng, (0.88, 0.80)) for _ in progress(range(N_PAIRS), name)]
    yield share(name, hits, at_least=0.8)
    name = "planted: on the same documents, .85 is told from .85"
    hits = [differ(rng, (0.85, 0.85)) for _ in progress(range(N_PAIRS), name)]
    yield share(name, hits, at_most=LEVEL)


def differ(rng: np.random.Generator, areas: tuple[float, float]) -> bool:
    """Whether the AUROCs of the two readouts differ at p 0.05."""
    from persona_interp.analysis.auroc import auroc_differences

    values, positive = plants.scores(rng, areas, n=N_PAIRED, correlation=CORRELATION)
    return bool(auroc_differences(values, positive).p[0, 1] <= 0.05)


def share(
    name: str,
    hits: "list[bool] | np.ndarray",
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    reported: bool = False,
) -> Claim:
    """A claim about the share of simulations in which something is so."""
    return Claim(
        name,
        tuple(map(float, hits)),
        at_least=at_least,
        at_most=at_most,
        reported=reported,
        unit="share",
        over="simulations",
        share=True,
    )
