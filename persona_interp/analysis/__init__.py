"""How far did behavior and features move, how sure is that, and what would exact Bayes have said?

Tables in, tables out; no torch. Behavior becomes log odds (bits), two checkpoints become a **shift** (after minus
before), a shift beside the world that wrote the documents becomes a **transfer**: the traits that were never taught,
with their co-occurrence and both Bayes predictions. Features get the same treatment in ``feature_shift``, with a null;
directions in ``direction_shift``, ``cosine_map`` and ``refit``; edits in ``removed_share`` and ``added_share``.
``score`` says which features know a persona (``top``, ``family``), ``baselines`` whether simpler ``readouts`` know as
much, ``contexts`` how far a lesson spreads.

- about wording, at fixed weights: ``lo`` and ``hi`` of ``shift`` (jackknife over templates)
- about prompts, at fixed weights: ``feature_shift`` (clusters, sign flips, q over all features tested)
- about training runs: ``across_seeds`` (t interval on seed means; one seed has no interval, and says NaN)
"""

from persona_interp.analysis.auroc import auroc
from persona_interp.analysis.baselines import baselines
from persona_interp.analysis.causes import added_share, removed_share
from persona_interp.analysis.contexts import contexts
from persona_interp.analysis.cosines import cosine_against_cooccurrence, cosine_map
from persona_interp.analysis.directions import direction_shift, refit
from persona_interp.analysis.features import feature_shift
from persona_interp.analysis.logodds import logodds
from persona_interp.analysis.mixing import mixing_weight
from persona_interp.analysis.persona_weights import persona_weights
from persona_interp.analysis.readouts import readouts
from persona_interp.analysis.score import family, score, top
from persona_interp.analysis.shift import shift
from persona_interp.analysis.stats import (
    across_seeds,
    benjamini_hochberg,
    cluster_interval,
    jackknife,
    sign_flip,
    t_interval,
)
from persona_interp.analysis.transfer import transfer

__all__ = [
    "across_seeds",
    "added_share",
    "auroc",
    "baselines",
    "benjamini_hochberg",
    "cluster_interval",
    "contexts",
    "cosine_against_cooccurrence",
    "cosine_map",
    "direction_shift",
    "family",
    "feature_shift",
    "jackknife",
    "logodds",
    "mixing_weight",
    "persona_weights",
    "readouts",
    "refit",
    "removed_share",
    "score",
    "shift",
    "sign_flip",
    "t_interval",
    "top",
    "transfer",
]
