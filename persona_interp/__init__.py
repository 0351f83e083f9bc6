"""Which persona did a finetune summon, through which features, and what came along?

Documents bind traits to personas; a finetune teaches one trait; this package measures how the
traits that co-occur with it, and were never taught, moved. The folders are the experiment in order,
and the whole tour is ten lines::

    import persona_interp as pi

    world = pi.worlds.john_and_sam()                      # personas, documents, probes, Bayes
    base = pi.models.train("tiny", world.corpus())        # documents -> a trajectory of checkpoints
    lesson = world.lessons("place=beach")                 # one trait, nobody named
    tuned = pi.models.train(base.last, lesson, stage=pi.models.LESSON)
    behavior = pi.record.behavior([base.last, tuned.last], world.probes())
    shifts = pi.analysis.shift(behavior)                  # after minus before (bits), intervals
    transfer = pi.analysis.transfer(shifts, world)        # beside what exact Bayes expects
    figure = pi.plots.transfer(transfer)

Rooms load when they are first used, so importing this package costs next to nothing and no torch.
"""

import importlib
import warnings
from typing import TYPE_CHECKING, Any

from persona_interp.loading import load_module

if TYPE_CHECKING:
    from persona_interp import (
        analysis,
        dictionaries,
        experiments,
        models,
        plots,
        readers,
        record,
        report,
        schema,
        store,
        worlds,
    )
    from persona_interp.experiments.causes.config import CausesSettings as CausesSettings
    from persona_interp.experiments.causes.sources import causes as causes
    from persona_interp.experiments.compare.config import CompareOptions as CompareOptions
    from persona_interp.experiments.compare.config import CompareSettings as CompareSettings
    from persona_interp.experiments.compare.sources import compare as compare
    from persona_interp.experiments.estimates import estimate as estimate
    from persona_interp.experiments.forecast.features import forecast_features as forecast_features
    from persona_interp.experiments.forecast.rows import forecast_rows as forecast_rows
    from persona_interp.experiments.forecast.sources import forecast as forecast

    __version__: str

__all__ = [
    "analysis",
    "dictionaries",
    "experiments",
    "models",
    "plots",
    "readers",
    "record",
    "report",
    "schema",
    "store",
    "worlds",
]


_DOORS = {
    "CausesSettings": "causes.config",
    "CompareOptions": "compare.config",
    "CompareSettings": "compare.config",
    "causes": "causes.sources",
    "compare": "compare.sources",
    "estimate": "estimates",
    "forecast": "forecast.sources",
    "forecast_features": "forecast.features",
    "forecast_rows": "forecast.rows",
}
"""The one question of the whole package, and what a run will cost: name -> file of experiments."""


NOISE = (
    "IProgress not found",  # tqdm, asked by transformers for a notebook's bar, takes the plain one
    "`is_gradient_checkpointing` is deprecated",  # peft asks transformers by the old name
)
"""Starts of warnings of libraries about each other, which no user of this package can mend."""

for start in NOISE:
    warnings.filterwarnings("ignore", message=start)


def __getattr__(name: str) -> Any:
    """Room or fact of this name, loaded on first use (PEP 562)."""
    if name in __all__:
        return load_module(f"{__name__}.{name}")
    if name in _DOORS:
        home = importlib.import_module(f"{__name__}.experiments.{_DOORS[name]}")
        return getattr(home, name)
    if name == "__version__":
        from importlib.metadata import (
            version,  # reading package metadata is slow, and rarely wanted
        )

        return version(__name__)
    raise AttributeError(f"module '{__name__}' has no '{name}'; it has {', '.join(__all__)}.")


def __dir__() -> list[str]:
    """Everything that can be asked for, so that tab completion lists the rooms."""
    return sorted({*globals(), *__all__, "__version__", *_DOORS})
