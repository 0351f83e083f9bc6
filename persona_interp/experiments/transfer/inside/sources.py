"""What may carry the target: which features and directions, and which random ones beside them?"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import xarray as xr

from persona_interp import analysis, dictionaries, models, record
from persona_interp.dictionaries import Dictionary
from persona_interp.experiments.transfer.inside.config import METHODS, N_FAMILY, TOP, VECTOR
from persona_interp.experiments.transfer.tasks import Needs, world_of
from persona_interp.schema.words import Part
from persona_interp.tables import concat, read_dataset, read_directions, read_table
from persona_interp.worlds import World

HIDDEN_SEED = 3_000
"""Added to the seed: personas are looked for in documents of their own."""


class Inputs(NamedTuple):
    """What a ``causes`` cell reads.

    Attributes:
        world: The full world.
        tuned: The lesson of the claim, from the base model on.
        trained: The dictionary.
        random: Its control with a random decoder.
        personas: Folder of the ``personas`` cell.
        features: Folders of the ``features`` cells, the claim's first.
    """

    world: World
    tuned: models.Trajectory
    trained: Dictionary
    random: Dictionary
    personas: Path
    features: tuple[Path, ...]

    @property
    def hook(self) -> str:
        """Where the dictionary reads and every edit is made."""
        return self.trained.hook


@dataclass(frozen=True)
class Carriers:
    """What may carry the target.

    Attributes:
        sets: Features of the dictionary by the name of their set; one alone, and a family.
        random_sets: The same of the dictionary with a random decoder.
        directions: The target's direction by every method, named by the method.
        random_directions: Random directions as long as the target's, by what they match.
    """

    sets: dict[str, list[int]]
    random_sets: dict[str, list[int]]
    directions: xr.DataArray
    random_directions: dict[str, xr.DataArray]

    @property
    def family(self) -> list[int]:
        """The features that speak most for the target, best first."""
        return self.sets[f"top {N_FAMILY} features"]


def open_inputs(config: dict[str, Any], needs: Needs) -> Inputs:
    """Open what a ``causes`` cell needs.

    Args:
        config: The cell's configuration.
        needs: Folders of layout, lesson, dictionary, random dictionary, personas, and features of
            every arm whose features are read.

    Returns:
        The world, models and dictionaries, and the folders of what was read before.
    """
    layout, lesson, trained, random, personas, *features = needs
    return Inputs(
        world_of(layout, config),
        models.Trajectory.open(lesson / "model"),
        dictionaries.open_dictionary(trained / "dictionary"),
        dictionaries.open_dictionary(random / "dictionary"),
        personas,
        tuple(features),
    )


def carriers_of(inputs: Inputs, *, n_random: int) -> Carriers:
    """Features and directions of the target.

    Args:
        inputs: Of the cell.
        n_random: Random directions of either kind.

    Returns:
        What is read out, and taken out of the tuned model.
    """
    target = inputs.world.target
    family = top_features(inputs.personas, "scores", target, k=N_FAMILY)
    best_random = top_features(inputs.personas, "random_scores", target, k=1)
    return Carriers(
        sets={TOP: family[:1], f"top {N_FAMILY} features": family},
        random_sets={"random-decoder feature": best_random},
        directions=_directions(inputs),
        random_directions=random_directions(inputs, n=n_random),
    )


def hidden_cuts(world: World, *, n: int, kinds: Iterable[str] | None, seed: int) -> pd.DataFrame:
    """Prompts just before each value but the first of new documents.

    Args:
        world: Who writes.
        n: Documents.
        kinds: Kinds of documents; by speakers without a name, so that nothing found is a detector
            of names.
        seed: Of the run.

    Returns:
        Prompts: before its first value nothing in a document says who speaks.
    """
    documents = world.corpus(n, seed=seed + HIDDEN_SEED, kinds=kinds)
    return world.cuts(documents).query("order > 0")


def persona_directions(acts: xr.Dataset, named: xr.Dataset) -> dict[str, xr.DataArray]:
    """Directions of personas by every method.

    Args:
        acts: Activations at ``hidden_cuts``; learned from are the prompts to be chosen on.
        named: Activations at named probes.

    Returns:
        Directions of all personas, by the names of ``METHODS``.
    """
    learned = acts.sel(prompt=analysis.parts(acts) == Part.CHOICE)
    return {
        "mean difference": record.mean_difference(learned),
        "minimal pair": record.minimal_pairs(named),
        "probe": record.logistic(learned),
    }


def top_features(folder: Path, scores: str, persona: str, *, k: int) -> list[int]:
    """Features of a ``personas`` cell that speak most for a persona.

    Args:
        folder: The cell.
        scores: "scores" or "random_scores".
        persona: Its name.
        k: How many, at most.

    Returns:
        Features, best on the train documents first; where none is above chance, the best all the
        same: that such features carry nothing is a result, and no reason to end a run.
    """
    table = read_table(folder / f"{scores}.parquet")
    own = table.loc[table["name"] == persona]
    best = own.sort_values("auroc_chosen", ascending=False, kind="stable").head(k)
    return [int(feature) for feature in best["feature"]]


def _directions(inputs: Inputs) -> xr.DataArray:
    """The target's direction by every method that gives one, named by the method."""
    vectors = []
    for method in METHODS:
        vector = read_directions(inputs.personas / f"{method}.nc").sel(name=[inputs.world.target])
        vectors.append(vector.assign_coords(name=[method]))
    acts = read_dataset(inputs.features[0] / "acts.nc")
    before, after = (str(label) for label in acts["checkpoint"].values)
    # the one method that knows of no persona: the main axis of what the lesson did to each prompt
    shift = record.pca_of_difference(acts, before=before, after=after, n=1).sel(name=["pc1"])
    vectors.append(shift.assign_coords(name=["PCA of the difference"]))
    return concat(vectors, "name")


def random_directions(inputs: Inputs, *, n: int) -> dict[str, xr.DataArray]:
    """Random directions as long as the target's: uniform, and as likely as residuals vary.

    Args:
        inputs: Of the cell.
        n: Directions of either kind; fewer are the first of more.

    Returns:
        Directions by what they match, "norm" or "variance".
    """
    like = read_directions(inputs.personas / f"{VECTOR}.nc").sel(name=[inputs.world.target])
    # a uniform direction mostly hits axes along which residuals hardly vary, so taking it out does
    # little; one with the covariance of residuals is the harder control
    acts = {"norm": None, "variance": read_dataset(inputs.personas / "acts.nc")}
    directions = {}
    for match, residuals in acts.items():
        random = record.random_directions(like, n=n, seed=0, match=match, acts=residuals)
        names = [f"{name} ({match})" for name in random["name"].values]
        directions[match] = random.assign_coords(name=names)
    return directions
