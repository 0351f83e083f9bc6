"""Is exact Bayes exact? It has to equal other arithmetic, and counting in a world's documents."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from claim import Claim, bayes_log_odds, taught_trait, values_of
from trial import Trial

if TYPE_CHECKING:
    from persona_interp.worlds import World

PLACE = 0
N_DOCUMENTS = 100_000


def claims(trial: Trial) -> Iterator[Claim]:
    """The conditioning limit equals the checker's own arithmetic, `posterior` equals counting."""
    gaps, errors = [], []
    for seed in trial.seeds:
        world = trial.world_of(seed)
        gaps.append(limit_gap(world))
        errors.append(counting_error(world, seed))
    name = "Bayes: conditioning limit against own arithmetic, largest gap"
    yield Claim(name, tuple(gaps), at_most=1e-9, unit="prob")
    name = "Bayes: posterior against counting in 100,000 documents"
    yield Claim(name, tuple(errors), at_most=4.0, unit="SE")


def limit_gap(world: "World") -> float:
    """Largest gap of the conditioning limit to `claim.bayes_log_odds`, as a probability."""
    from persona_interp import worlds

    file = world.to_dict()
    odds = bayes_log_odds(file, taught_trait(file), file["target"])
    limit = worlds.conditioning_limit(world).set_index("trait").probability
    return max(
        abs(limit[f"{topic}={value}"] - 1 / (1 + math.exp(-odds[topic])))
        for topic, value in untaught_values(world).items()
    )


def counting_error(world: "World", seed: int) -> float:
    """Largest gap of the posterior to frequencies in hidden documents, in standard errors."""
    file = world.to_dict()
    taught = file["taught"]
    documents = world.corpus(N_DOCUMENTS, seed=seed, kinds="hidden")
    beside = [set(labels) - {taught} for labels in documents.statements if taught in labels]
    posterior = world.posterior([{taught}]).statement.set_index("trait").probability
    errors = []
    for topic, value in untaught_values(world).items():
        trait = f"{topic}={value}"
        about = [labels for labels in beside if any(s.startswith(f"{topic}=") for s in labels)]
        p, n = posterior[trait], len(about)
        if n and 0 < p < 1:
            share = sum(trait in labels for labels in about) / n
            errors.append((share - p) / math.sqrt(p * (1 - p) / n))
    return float(max(map(abs, errors), default=np.nan))


def untaught_values(world: "World") -> dict[str, str]:
    """Values that the target holds, but for the one that is taught."""
    file = world.to_dict()
    taught, _ = taught_trait(file)
    values = values_of(file, file["target"])
    return {topic: value for topic, value in values.items() if topic != taught}
