"""Tables with a planted truth: what is there, and that nothing else is, is known by construction.

Nothing is read of the package's estimators; worlds are the package's words for who says what.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from persona_interp.worlds import World

PLANT = "0"
"""The feature that is switched on."""
JITTER = "1"
"""A silent feature that fires once, in one control, by a rounding error."""
SILENT = 0.95
"""Share of features that no checkpoint ever fires."""
N_PROMPTS = 12
N_TRAITS, N_QUESTIONS = 8, 20
N_TOPICS, N_VALUES, N_TEMPLATES = 8, 8, 2
SD_SAYING = 0.5
"""Bits by which what somebody says of a value is off, at all templates alike."""


def measurements(shifts: dict[str, np.ndarray], *, family: str) -> pd.DataFrame:
    """A measurements table of numbers by checkpoint, dims (unit, quantity)."""
    parts = []
    for checkpoint, values in shifts.items():
        n_units, n_quantities = values.shape
        units = np.repeat([f"q{i}" for i in range(n_units)], n_quantities)
        names = np.tile([str(i) for i in range(n_quantities)], n_units)
        part = {"checkpoint": checkpoint, "unit": units, "quantity": names, "value": values.ravel()}
        parts.append(pd.DataFrame(part))
    return pd.concat(parts, ignore_index=True).assign(family=family, hook="")


def switched_on(
    rng: np.random.Generator, n_features: int, n_controls: int
) -> dict[str, np.ndarray]:
    """Features of a base, a finetune and its controls, dims (prompt, feature).

    Most features are silent everywhere. The others are moved by every finetune, none more than
    another. The plant is silent in base and controls and fires about 5.0 in the finetune.
    """
    n_active = round((1 - SILENT) * n_features)
    active = np.arange(n_features - n_active, n_features)
    shape = (N_PROMPTS, n_active)
    own = np.abs(rng.normal(1.0, 0.5, shape))
    labels = ["base", "tuned", *control_names(n_controls)]
    tables = {}
    for label in labels:
        values = np.zeros((N_PROMPTS, n_features))
        values[:, active] = own
        if label != "base":
            offsets = 0.1 * rng.standard_t(5, n_active)
            values[:, active] += offsets + rng.normal(0, 0.1, shape)
        tables[label] = values
    tables["tuned"][:, int(PLANT)] = rng.normal(5.0, 0.5, N_PROMPTS)
    tables[labels[-1]][0, int(JITTER)] = 1e-6
    return tables


def farther(
    rng: np.random.Generator, n_controls: int, times: float
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Traits that finetunes move at random, the tuned one farther; and how far each went.

    Nothing is special about any trait: offsets of the finetune are ``times`` as large as those of
    its controls, on all traits. Distances (bits a token) are those of the offsets: they grow with
    the square.
    """
    tables = {"base": np.zeros((N_QUESTIONS, N_TRAITS))}
    distance = {}
    for label in ("tuned", *control_names(n_controls)):
        size = times if label == "tuned" else 1.0
        offsets = size * rng.normal(0, 1.0, N_TRAITS)
        tables[label] = offsets + size * rng.normal(0, 0.3, (N_QUESTIONS, N_TRAITS))
        distance[label] = float(0.1 * size**2 * np.exp(rng.normal(0, 0.2)))
    return tables, distance


def control_names(n: int) -> list[str]:
    """Labels of the controls."""
    return [f"control {i}" for i in range(n)]


def crowd(rng: np.random.Generator, n_personas: int) -> World:
    """A world of this many personas, each with random values."""
    topics = {f"topic{t}": [f"v{t}x{v}" for v in range(N_VALUES)] for t in range(N_TOPICS)}
    topics["place"] = ["sea", "town", "hill"]
    personas: dict[str, Any] = {}
    for i in range(n_personas):
        traits = {topic: str(rng.choice(values)) for topic, values in topics.items()}
        # Two hold what the world has to say is taught and unrelated; it is not read.
        traits["place"] = ("sea", "town")[i] if i < 2 else "hill"
        personas[f"person{i}"] = {"traits": traits}
    about = {"target": "person0", "taught": "place=sea", "unrelated": "place=town"}
    return World.from_dict({"name": "crowd", "topics": topics, "personas": personas, **about})


def stranger(rng: np.random.Generator, world: World) -> dict[str, str]:
    """Somebody who shares a value with nobody in particular: random values of all topics."""
    return {topic: str(rng.choice(values)) for topic, values in world.topics.items()}


def traits_of(world: World, persona: str) -> dict[str, str]:
    """What a persona of the crowd holds."""
    return {trait.topic: trait.value for trait in world.persona(persona).traits}


def behavior(
    rng: np.random.Generator,
    world: World,
    speakers: Sequence[dict[str, str]],
    *,
    names: Sequence[str],
) -> pd.DataFrame:
    """What speakers say, each off by noise of the same size.

    Args:
        rng: Draws the noise.
        world: Whose topics, and whose own noise.
        speakers: Traits of each.
        names: Under whose name each speaks; "" is nobody's, and such speakers are runs of their
            own.
    """
    parts = []
    for topic, values in world.topics.items():
        held = np.array([values.index(traits[topic]) for traits in speakers])
        p = np.full((len(speakers), len(values)), world.noise / len(values))
        p[np.arange(len(held)), held] += 1 - world.noise
        bits = np.log2(p) + rng.normal(0, SD_SAYING, p.shape)
        bits -= np.log2(np.exp2(bits).sum(axis=1, keepdims=True))
        who = np.repeat(np.arange(len(speakers)), len(values))
        said = {"who": who, "value": np.tile(values, len(speakers)), "logprob": bits.ravel()}
        for template in range(N_TEMPLATES):
            parts.append(pd.DataFrame(said).assign(topic=topic, template=f"t{template}"))
    table = pd.concat(parts, ignore_index=True)
    who = table.pop("who").to_numpy()
    persona = np.array(names, dtype=object)[who]
    context, run = np.where(persona == "", "nameless", "named"), np.where(persona == "", who, 0)
    constants: dict[str, Any] = {"checkpoint": "lesson@8", "stage": "lesson", "step": 8}
    said_by = {"persona": persona, "context": context, "seed": run}
    return table.assign(**said_by, **constants, split="test", answer_mass=1.0)


def scores(
    rng: np.random.Generator, areas: tuple[float, ...], *, n: tuple[int, int], correlation: float
) -> tuple[np.ndarray, np.ndarray]:
    """Readouts of these true AUROCs on the same documents, and which documents have the label.

    Normal numbers whose means are ``sqrt(2) z(AUROC)`` apart; ``n`` documents with the label and
    without.
    """
    positive = np.repeat([True, False], n)
    shared = rng.normal(size=(len(positive), 1))
    own = rng.normal(size=(len(positive), len(areas)))
    noise = np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * own
    return noise + positive[:, None] * np.sqrt(2) * stats.norm.ppf(areas), positive


def firing(
    rng: np.random.Generator, rates: tuple[float, float], *, n: tuple[int, int], n_features: int
) -> tuple[np.ndarray, float]:
    """Sparse features, positive documents first, and their true AUROC.

    A feature fires in these shares of documents with the label and without, and where it fires it
    is as large in both. Pairs in which neither fires are ties.
    """
    fires = np.concatenate([rng.random((m, n_features)) < r for m, r in zip(n, rates, strict=True)])
    values = fires * rng.exponential(size=fires.shape)
    with_label, without = rates
    ties = (1 - with_label) * (1 - without) + with_label * without
    return values, with_label * (1 - without) + ties / 2
