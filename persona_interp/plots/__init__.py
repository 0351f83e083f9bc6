"""How is each table drawn? One function a table; each returns a ``Figure`` of matplotlib.

No function leaves global state. Sample sizes, seeds and nulls are written below every figure; where
there is no interval it says so. ``save`` puts the figure (PNG, PDF), its numbers (CSV) and their
provenance (JSON) side by side, with equal bytes for equal input.
"""

from persona_interp.arguments import doors
from persona_interp.plots.agreement import agreement, agreement_matrix
from persona_interp.plots.baselines import baselines
from persona_interp.plots.carriers import carriers
from persona_interp.plots.cases import misalignment, novelty
from persona_interp.plots.causes import causes
from persona_interp.plots.cosines import cosines
from persona_interp.plots.dose import dose
from persona_interp.plots.effects import drift, forest, layers
from persona_interp.plots.evidence import evidence
from persona_interp.plots.features import feature_page
from persona_interp.plots.fidelity import fidelity
from persona_interp.plots.forecasts import forecast_costs, forecasts
from persona_interp.plots.frontier import frontier
from persona_interp.plots.heatmap import heatmap
from persona_interp.plots.norms import norms
from persona_interp.plots.order import order
from persona_interp.plots.personas import personas
from persona_interp.plots.recovery import recovery
from persona_interp.plots.save import Saved, save
from persona_interp.plots.seeds import seeds
from persona_interp.plots.statuses import statuses
from persona_interp.plots.style import style
from persona_interp.plots.summon import summon
from persona_interp.plots.sweep import sweep
from persona_interp.plots.trait_transfer import trait_transfer
from persona_interp.plots.trajectory import trajectory
from persona_interp.plots.transfer_matrix import transfer
from persona_interp.plots.volcano import volcano

__all__ = [
    "Saved",
    "agreement",
    "agreement_matrix",
    "baselines",
    "carriers",
    "causes",
    "cosines",
    "dose",
    "drift",
    "evidence",
    "feature_page",
    "fidelity",
    "forecast_costs",
    "forecasts",
    "forest",
    "frontier",
    "heatmap",
    "layers",
    "misalignment",
    "norms",
    "novelty",
    "order",
    "personas",
    "recovery",
    "save",
    "seeds",
    "statuses",
    "style",
    "summon",
    "sweep",
    "trait_transfer",
    "trajectory",
    "transfer",
    "volcano",
]

globals().update(doors(__name__, globals(), __all__))
