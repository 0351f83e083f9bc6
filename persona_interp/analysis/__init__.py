"""How far did behavior and features move, how sure is that, and what would exact Bayes have said?

Tables in, tables out; no torch. Behavior becomes log odds (bits), two checkpoints become a
**shift** (after minus before), a shift beside the world that wrote the documents becomes a
**transfer**: the traits that were never taught, with their co-occurrence and both Bayes
predictions. Features get the same treatment in ``feature_shift``, with a null; directions in
``direction_shift``, ``cosine_map`` and ``refit``; edits in ``removed_share`` and ``added_share``,
beside their ``rivals``, and by their strength in ``sweep``; a lesson beside other lessons in
``effects`` and ``roles``; everything recorded along a training in ``over_checkpoints``.
``flags`` says which rows of a data set would pull towards a persona, and ``flag_quality`` how many
of the flags are right. ``score`` says which features know a persona (``top``), ``baselines`` and
``pairs`` whether simpler ``readouts`` know as much, ``contexts`` how far a lesson spreads.
``score`` says which features know a persona (``top``), ``baselines`` and ``pairs`` whether simpler
``readouts`` know as much, ``contexts`` how far a lesson spreads, ``leak`` under which triggers a
persona comes back, ``knowledge`` what is known of it apart from who speaks.
``score`` says which features know a persona (``top``), ``baselines`` and ``pairs`` whether simpler
``readouts`` know as much, ``contexts`` how far a lesson spreads, ``leak`` under which triggers a
persona comes back, ``knowledge`` what is known of it apart from who speaks.
``flags`` says which rows of a data set would pull towards a persona, and ``flag_quality`` how many
of the flags are right. ``score`` says which features know a persona (``top``), ``baselines`` and
``pairs`` whether simpler ``readouts`` know as much, ``contexts`` how far a lesson spreads.
``alarm_scores`` says how often an alarm is right about what will move, ``datamodel_score`` whether
scores of rows foretell what a finetune on some of them does.

Before a lesson is taught, ``belief_forecast`` and its neighbors foretell what it moves, each a
``predictors`` table; ``fit_stack`` makes one forecast of all, ``forecast_personas`` puts traits
together, and ``forecast_scores`` says how good it was.

- about wording, at fixed weights: ``lo`` and ``hi`` of ``shift`` (t interval over templates)
- about prompts, at fixed weights: ``feature_shift`` (clusters, sign flips, q over all features
  tested)
- about training runs: ``across_seeds`` (t interval on seed means; one seed has no interval, and
  says NaN); ``standings`` says what may be claimed of a difference
"""

from persona_interp.analysis import measure, measurements, metric, stats
from persona_interp.analysis.additive import additive_curve
from persona_interp.analysis.agreement import agreement
from persona_interp.analysis.alarm_scores import alarm_scores
from persona_interp.analysis.auroc import auroc, auroc_differences
from persona_interp.analysis.axis import axis_cosine, role_loadings
from persona_interp.analysis.baselines import baselines
from persona_interp.analysis.beliefs import belief_forecast, summon_forecast
from persona_interp.analysis.carriers import carriers, in_one_family
from persona_interp.analysis.causal_ranking import causal_ranking, net_effects
from persona_interp.analysis.causes import added_share, removed_share
from persona_interp.analysis.checkpoints import over_checkpoints
from persona_interp.analysis.companions import companions
from persona_interp.analysis.contexts import contexts
from persona_interp.analysis.contrast import contrast, expected_contrast
from persona_interp.analysis.cosines import cosine_against_cooccurrence, cosine_map
from persona_interp.analysis.datamodel import datamodel_score
from persona_interp.analysis.directions import direction_shift, refit
from persona_interp.analysis.distance import answer_distance
from persona_interp.analysis.documents import parts
from persona_interp.analysis.dose import ed50, slopes
from persona_interp.analysis.drift import drift_by_turn
from persona_interp.analysis.effects import effects
from persona_interp.analysis.emergent import misaligned_share
from persona_interp.analysis.evidence import bits_per_unit, evidence_curve, lasting_effect
from persona_interp.analysis.features import feature_shift
from persona_interp.analysis.fit_stack import fit_stack
from persona_interp.analysis.flags import drop_flagged, flag_quality, flags
from persona_interp.analysis.forecast_personas import forecast_personas
from persona_interp.analysis.forecast_scores import forecast_scores
from persona_interp.analysis.knowledge import knowledge
from persona_interp.analysis.latent_personas import latent_personas
from persona_interp.analysis.latent_scaling import latent_scaling
from persona_interp.analysis.leak import leak
from persona_interp.analysis.logodds import logodds
from persona_interp.analysis.misalignment import misalignment
from persona_interp.analysis.mixing import mixing_weight
from persona_interp.analysis.novelty import novelty, shift_residual
from persona_interp.analysis.nulls import chance_range
from persona_interp.analysis.order import recency
from persona_interp.analysis.pairs import pairs
from persona_interp.analysis.paths import paths
from persona_interp.analysis.persona_weights import persona_weights
from persona_interp.analysis.predictors import predictors
from persona_interp.analysis.projections import projection_pull, projection_shift
from persona_interp.analysis.rarity import rarity
from persona_interp.analysis.reach import evidence_in_words, evidence_to_reach
from persona_interp.analysis.readouts import readouts
from persona_interp.analysis.reconstruction import reconstruction
from persona_interp.analysis.reliable import predict_curves, reliable_dose
from persona_interp.analysis.rivals import rivals, standings
from persona_interp.analysis.roles import role_contrast, roles
from persona_interp.analysis.safeguards import safeguards
from persona_interp.analysis.saturation import saturation
from persona_interp.analysis.score import score, top
from persona_interp.analysis.shift import shift
from persona_interp.analysis.speakers import belief_scale, read_speakers
from persona_interp.analysis.spillover import spillover
from persona_interp.analysis.stability import stability
from persona_interp.analysis.stack import Stack
from persona_interp.analysis.stats import across_seeds
from persona_interp.analysis.statuses import statuses
from persona_interp.analysis.summon import summon_law, summon_rivals
from persona_interp.analysis.sweep import sweep
from persona_interp.analysis.trait_predictors import trait_predictors
from persona_interp.analysis.trait_transfer import trait_transfer
from persona_interp.analysis.traits import (
    effective_answers,
    judge_fitness,
    separability,
    trait_scores,
)
from persona_interp.analysis.transfer import transfer
from persona_interp.analysis.uplift import uplift_forecast
from persona_interp.analysis.verdicts import needed_units
from persona_interp.analysis.worst import worst_case
from persona_interp.arguments import doors

__all__ = [
    "Stack",
    "across_seeds",
    "added_share",
    "additive_curve",
    "agreement",
    "alarm_scores",
    "answer_distance",
    "auroc",
    "auroc_differences",
    "axis_cosine",
    "baselines",
    "belief_forecast",
    "belief_scale",
    "bits_per_unit",
    "carriers",
    "causal_ranking",
    "chance_range",
    "companions",
    "contexts",
    "contrast",
    "cosine_against_cooccurrence",
    "cosine_map",
    "datamodel_score",
    "direction_shift",
    "drift_by_turn",
    "drop_flagged",
    "ed50",
    "effective_answers",
    "effects",
    "evidence_curve",
    "evidence_in_words",
    "evidence_to_reach",
    "expected_contrast",
    "feature_shift",
    "fit_stack",
    "flag_quality",
    "flags",
    "forecast_personas",
    "forecast_scores",
    "in_one_family",
    "judge_fitness",
    "knowledge",
    "lasting_effect",
    "latent_personas",
    "latent_scaling",
    "leak",
    "logodds",
    "measure",
    "measurements",
    "metric",
    "misaligned_share",
    "misalignment",
    "mixing_weight",
    "needed_units",
    "net_effects",
    "novelty",
    "over_checkpoints",
    "pairs",
    "parts",
    "paths",
    "persona_weights",
    "predict_curves",
    "predictors",
    "projection_pull",
    "projection_shift",
    "rarity",
    "read_speakers",
    "readouts",
    "recency",
    "reconstruction",
    "refit",
    "reliable_dose",
    "removed_share",
    "rivals",
    "role_contrast",
    "role_loadings",
    "roles",
    "safeguards",
    "saturation",
    "score",
    "separability",
    "shift",
    "shift_residual",
    "slopes",
    "spillover",
    "stability",
    "standings",
    "stats",
    "statuses",
    "summon_forecast",
    "summon_law",
    "summon_rivals",
    "sweep",
    "top",
    "trait_predictors",
    "trait_scores",
    "trait_transfer",
    "transfer",
    "uplift_forecast",
    "worst_case",
]

globals().update(doors(__name__, globals(), __all__))
