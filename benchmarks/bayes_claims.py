"""Is exact Bayes exact? It has to equal other arithmetic, and counting in a world's documents."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from scipy import stats

from claim import Claim, taught_trait, values_of
from ideal import bayes_log_odds
from trial import Reach, Trial, progress

if TYPE_CHECKING:
    from persona_interp.worlds import World

PLACE = 0
REACH = Reach.WORLD
N_DOCUMENTS = 100_000


def claims(trial: Trial) -> Iterator[Claim]:
    """The conditioning limit equals the checker's own arithmetic, `posterior` equals counting."""
    gaps, errors = [], []
    for seed in progress(trial.seeds, "bayes"):
        world = trial.world_of(seed)
        gaps.append(limit_gap(world))
        errors.append(counting_error(world, seed))
    name = "Bayes: conditioning limit against own arithmetic, largest gap"
    yield Claim(name, tuple(gaps), at_most=1e-9, unit="prob", exact=True)
    name = "Bayes: posterior against counting in 100,000 documents"
    # Each seed is a test of its own, which a right posterior passes in 9,999 of 10,000 cases.
    yield Claim(name, tuple(errors), at_most=4.0, unit="SE", every=True, least=1)


def limit_gap(world: "World") -> float:
    """Largest gap of the conditioning limit to `claim.bayes_log_odds`, as a probability."""
    from persona_interp import worlds

    file = world.to_dict()
    odds = bayes_log_odds(file, taught_trait(file), file["target"])
    limit = worlds.conditioning_limit(world).set_index("trait").probability
    return max(
        abs(limit[f"{topic}={value}"] - 1 / (1 + 2 ** -odds[topic]))
        for topic, value in untaught_values(world).items()
    )


def counting_error(world: "World", seed: int) -> float:
    """Largest gap of the posterior to frequencies in documents of the population.

    In standard errors: of an exact binomial test, since some values are hardly ever said.
    """
    file = world.to_dict()
    taught = file["taught"]
    documents = world.corpus(N_DOCUMENTS, seed=seed, kinds=world.population)
    beside = [set(labels) - {taught} for labels in documents.statements if taught in labels]
    posterior = world.posterior([{taught}]).statement.set_index("trait").probability
    errors = []
    for topic, value in untaught_values(world).items():
        trait = f"{topic}={value}"
        about = [labels for labels in beside if any(s.startswith(f"{topic}=") for s in labels)]
        p, n = posterior[trait], len(about)
        if n:
            test = stats.binomtest(sum(trait in labels for labels in about), n, min(p, 1.0))
            errors.append(stats.norm.isf(test.pvalue / 2))
    return float(max(errors, default=math.nan))


def untaught_values(world: "World") -> dict[str, str]:
    """Values that the target holds, but for the one that is taught."""
    file = world.to_dict()
    taught, _ = taught_trait(file)
    values = values_of(file, file["target"])
    return {topic: value for topic, value in values.items() if topic != taught}
