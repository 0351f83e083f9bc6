"""Which edits take a persona out of a model or put it in, and which stand beside as controls?"""

import xarray as xr

from persona_interp import record
from persona_interp.analysis.activity import matched_features
from persona_interp.experiments.transfer.inside.config import (
    ADDED_PATCH,
    METHODS,
    N_FAMILY,
    PATCH,
    SPAN,
    VECTOR,
)
from persona_interp.experiments.transfer.inside.sources import Carriers, Inputs
from persona_interp.record import Edit
from persona_interp.tables import read_dataset, read_directions

Edits = list[tuple[str, Edit]]
"""Group and edit; a group is one way to take the target out, or one kind of control."""


def edits_of(inputs: Inputs, carriers: Carriers) -> Edits:
    """Edits: features and directions of the target taken out or put in, and controls.

    Args:
        inputs: Of the cell.
        carriers: What may carry the target.

    Returns:
        Edits with their groups, every name once.
    """
    base, tuned = inputs.tuned.first, inputs.tuned.last
    return [
        *_feature_edits(inputs, carriers),
        ("patch", record.patch(base, hook=inputs.hook, name=PATCH)),
        *_direction_edits(inputs, carriers),
        *_matched_edits(inputs, carriers),
        *_added(inputs),
        ("added patch", record.patch(tuned, hook=inputs.hook, name=ADDED_PATCH)),
    ]


def _feature_edits(inputs: Inputs, carriers: Carriers) -> Edits:
    """Sets of features taken out, of either dictionary, and each of the family alone."""
    edits: Edits = []
    for name, features in carriers.sets.items():
        edits.append(("method", record.ablate(inputs.trained, features=features, name=name)))
    for name, features in carriers.random_sets.items():
        edits.append(("method", record.ablate(inputs.random, features=features, name=name)))
    for feature in carriers.family:
        name = f"feature {feature}"
        edits.append(("feature", record.ablate(inputs.trained, features=feature, name=name)))
    return edits


def _direction_edits(inputs: Inputs, carriers: Carriers) -> Edits:
    """The target's directions taken out, other personas' vectors, and random directions."""
    edits = _project_out("method", carriers.directions)
    three = carriers.directions.sel(name=list(METHODS))
    edits.append(("method", record.project_out(three, hook=inputs.hook, name=SPAN)))
    vectors = read_directions(inputs.personas / f"{VECTOR}.nc")
    others = vectors.sel(name=vectors["name"] != inputs.world.target)
    edits += _project_out("persona", others)
    for match, directions in carriers.random_directions.items():
        edits += _project_out(f"random ({match})", directions)
    return edits


def _matched_edits(inputs: Inputs, carriers: Carriers) -> Edits:
    """Features taken out that fire as often as the target's best."""
    # what fires as often in documents may be silent at the edited prompts, where taking it out
    # does nothing; features as active there, after the lesson, are the harder control
    neutral = read_dataset(inputs.features[0] / "features.nc")
    places = {
        "matched": read_dataset(inputs.personas / "features.nc"),
        "active": neutral.isel(checkpoint=[-1]),
    }
    family = carriers.family
    edits: Edits = []
    for group, feats in places.items():
        for feature in matched_features(feats, family[0], k=N_FAMILY, without=family):
            name = f"{group} feature {feature}"
            edits.append((group, record.ablate(inputs.trained, features=feature, name=name)))
    return edits


def _added(inputs: Inputs) -> Edits:
    """Each persona's whole vector added once, the target's beside the others'."""
    vectors = read_directions(inputs.personas / f"{VECTOR}.nc")
    edits: Edits = []
    for persona in map(str, vectors["name"].values):
        group = "added" if persona == inputs.world.target else "added persona"
        vector = vectors.sel(name=[persona])
        name = f"{persona} added"
        edits.append((group, record.add(vector, hook=inputs.hook, absolute=1.0, name=name)))
    return edits


def _project_out(group: str, directions: xr.DataArray) -> Edits:
    """Each direction taken out by itself."""
    hook = str(directions["hook"].item())
    edits: Edits = []
    for name in map(str, directions["name"].values):
        direction = directions.sel(name=[name])
        edits.append((group, record.project_out(direction, hook=hook, name=name)))
    return edits
