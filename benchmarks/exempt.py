"""Which estimators have no row in the calibration, and why."""

THRESHOLD = "a measured share beside a stated threshold; no claim about sampling is made"
NONE = "a measure or metric table without intervals: lo and hi are NaN"
STEP = "a step of effects.effects, which has rows"

EXEMPT: dict[str, str] = {
    "alarm_scores.alarm_scores": "of auroc.auroc and stats.cluster_interval, which have rows",
    "coherence.of_edits": "the interval of stats.t_interval, which has rows, paired by question",
    "causal_ranking.net_effects": "the interval of stats.jackknife, which has rows",
    "causal_ranking.causal_ranking": "the interval of stats.t_interval, which has rows",
    "companions.companions": "describes pairs of one dictionary; seeds are what is claimed over",
    "controls.p_as_largest": STEP,
    "controls.p_of": STEP,
    "diagnosis.diagnose": THRESHOLD,
    "drift.drift_by_turn": "the interval of stats.cluster_interval, which has rows",
    "fidelity.fidelity": THRESHOLD,
    "fidelity.fidelity_at": THRESHOLD,
    "fidelity.judge": THRESHOLD,
    "fidelity.measure": THRESHOLD,
    "forecast_personas.forecast_personas": (
        "means of the intervals of a stack; their coverage is in docs/log/forecast.md"
    ),
    "forecast_scores.forecast_scores": (
        "the intervals of stats.jackknife and stats.cluster_interval, which have rows; of the "
        "median a bootstrap, which decides nothing"
    ),
    "dose.fieller": "the interval of dose.ed50 and reliable.reliable_dose, which have rows",
    "measure.expected_trait_odds": NONE,
    "measure.lesson_dose": NONE,
    "measure.mass": NONE,
    "leak.mean_row": "the intervals of leak.leak and knowledge.knowledge, which have rows",
    "metric.direction_distance": NONE,
    "metric.kernel_distance": NONE,
    "metric.trait_distance": NONE,
    "metric.walk_distance": NONE,
    "novelty.largest_known": "the threshold of novelty.novelty, which has rows",
    "novelty.verdicts": "the rule of novelty.novelty, which has rows",
    "pairs.pairs": "the intervals and p of auroc.auroc_differences, which has rows",
    "reach.evidence_in_words": "puts the interval of reach.evidence_to_reach into words",
    "roles.roles": "rows of effects.effects, unchanged",
    "safeguards.safeguards": "the intervals of stats.across_seeds, which has rows, by seed",
    "score.family": "the interval of auroc.auroc, of a sum of features that was chosen elsewhere",
    "score.top": "rows of score.score, unchanged",
    "metric.axioms": "describes the distances of one table; its word is no claim about others",
    "flips.enough_flips": "a number of flips",
    "sweep.sweep": "the intervals and p of stats.cluster_interval and flips.sign_flip, with rows",
    "verdicts.correct": STEP,
    "verdicts.needed_units": "a number of units, from the smallest p of effects.effects",
}
"""Reason by ``module.function``."""
