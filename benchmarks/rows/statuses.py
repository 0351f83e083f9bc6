"""Features over checkpoints: betas that vary by document, claims where nothing or much changed."""

import numpy as np

from persona_interp import analysis
from persona_interp.schema.words import Status
from planted.checkpoints import directions, sums, unexplained
from rows.row import Outcome, Quantity, Row, coverage, false_share

SILENT = [Status.SHARED, Status.UNDECIDED, Status.DEAD]


def _beta(rng: np.random.Generator) -> Outcome:
    """The feature is there at .6 of its decoder's length; its strength varies by document."""
    decoder = directions(rng)
    truth = decoder.copy()
    truth[1, 0] *= 0.6
    table = analysis.latent_scaling(sums(rng, decoder, truth, spread=0.5, noise=0.1))
    own = table[(table["feature"] == 0) & (table["checkpoint"] == "step1")]
    # the reference is whichever decoder is longest; all are the same direction of length 1
    return dict(coverage(own["error_lo"], own["error_hi"], 0.6))


def _fvu(rng: np.random.Generator) -> Outcome:
    """The strength of features varies by document, which no dictionary can know."""
    decoder = directions(rng)
    table = analysis.reconstruction(sums(rng, decoder, decoder, spread=0.5, noise=0.1))
    truth = unexplained(spread=0.5, noise=0.1)
    return dict(coverage(table["lo"], table["hi"], truth))


def _null(rng: np.random.Generator) -> Outcome:
    """Nothing changes but what documents do to each checkpoint."""
    decoder = directions(rng)
    table = analysis.statuses(sums(rng, decoder, decoder, spread=0.2, noise=0.05))
    return {Quantity.LEVEL: float(not np.isin(table["status"].to_numpy(), SILENT).all())}


def _effects(rng: np.random.Generator) -> Outcome:
    """Half of the features grow by 1.4 or are born; the decoders know of it."""
    decoder = directions(rng)
    at = rng.integers(1, len(decoder), decoder.shape[1])
    for feature in range(8):
        decoder[: at[feature], feature] *= 0.0 if feature < 4 else 1 / 1.4
    table = analysis.statuses(sums(rng, decoder, decoder, spread=0.2, noise=0.05))
    claimed = ~np.isin(table["status"].to_numpy(), SILENT)
    return false_share(claimed, np.arange(decoder.shape[1]) < 8)


ROWS = [
    Row("reconstruction.reconstruction", "strength varies by document", _fvu, 500),
    Row("latent_scaling.latent_scaling", "strength varies by document", _beta, 500),
    Row("statuses.statuses", "no effect", _null, 500),
    Row("statuses.statuses", "half of the features change", _effects, 500),
]
