"""What does each document read on average?

Labels belong to documents, and chance acts on them: prompts of one document are not independent.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from persona_interp import schema
from persona_interp.errors import SchemaError, unknown
from persona_interp.worlds import World


class Documents(NamedTuple):
    """Readings of documents, averaged over the prompts of each.

    Attributes:
        values: Mean reading, dims (document, reading), float64.
        readings: What each column is: index of a feature, or name of a readout; dims (reading).
        personas: Whose document it is, dims (document).
        train: Is the document in the half that features are chosen on? Dims (document).
        fvu: Mean over prompts of the fraction of variance unexplained; NaN for readouts.
        checkpoint: Label of the checkpoint that was read; "" when there is none.
    """

    values: npt.NDArray[np.float64]
    readings: npt.NDArray
    personas: npt.NDArray[np.str_]
    train: npt.NDArray[np.bool_]
    fvu: float
    checkpoint: str


def documents(
    data: xr.Dataset | xr.DataArray, *, checkpoint: str | None = None, cluster: str = "doc"
) -> Documents:
    """Mean readings of each document, with whose it is and in which half.

    Args:
        data: Features (a Dataset) or readouts (a DataArray with dims name, prompt and maybe
            checkpoint), recorded on prompts of documents (``world.cuts``); coordinates
            persona, split and ``cluster`` along prompt.
        checkpoint: Label; the first by default.
        cluster: Coordinate that names the document of a prompt.

    Returns:
        The documents that somebody speaks in or that are about somebody, sorted by name.

    Raises:
        SchemaError: A coordinate or checkpoint is missing, a reading is not finite, or the
            prompts of one document differ in persona or split.

    >>> data = xr.DataArray([[1.0, 3.0, 5.0]], dims=("name", "prompt"), coords={"name": ["john"]})
    >>> along = {"persona": ["john"] * 3, "split": ["test"] * 3, "doc": [0, 0, 1]}
    >>> data = data.assign_coords({name: ("prompt", x) for name, x in along.items()})
    >>> documents(data).values.tolist()
    [[2.0], [5.0]]
    """
    if isinstance(data, xr.Dataset):
        column, act = "feature", schema.check(data, "features")["act"]
    else:
        column, act = "name", data
    if set(act.dims) - {"checkpoint"} != {column, "prompt"}:
        raise SchemaError(
            f"readouts have dims (name, checkpoint, prompt) or (name, prompt); got {act.dims}."
        )
    label = _checkpoint(act, checkpoint)
    if label:
        act = act.sel(checkpoint=label)
    along = [str(name) for name, c in act.coords.items() if c.dims == ("prompt",)]
    for name in ("persona", "split", cluster):
        if name not in along:
            problem = unknown("coordinate along prompt", name, along)
            raise SchemaError(f"{problem} Record prompts of world.cuts(...).")
    prompts = pd.DataFrame({name: act[name].to_numpy() for name in ("persona", "split", cluster)})
    has_persona = (prompts["persona"] != "").to_numpy()
    if not has_persona.any():
        raise SchemaError(
            "no prompt names a persona, so there is nothing to score; use documents that do."
        )
    prompts = prompts.loc[has_persona]
    values = act.transpose("prompt", column).to_numpy().astype(np.float64)[has_persona]
    if not np.isfinite(values).all():
        raise SchemaError(
            "expected finite readings; got NaN or infinity. Record these prompts again."
        )
    names, group = np.unique(prompts[cluster].to_numpy(), return_inverse=True)
    if len(prompts.drop_duplicates()) > len(names):
        raise SchemaError(
            f"the prompts of one {cluster} differ in persona or split; cluster by the document."
        )
    sums = np.zeros((len(names), values.shape[1]))
    np.add.at(sums, group, values)
    first = prompts.groupby(group).first()
    fvu = float(_fvu(data, label)[has_persona].mean())
    return Documents(
        values=sums / np.bincount(group)[:, None],
        readings=act[column].to_numpy(),
        personas=first["persona"].to_numpy().astype(str),
        train=(first["split"] == "train").to_numpy(),
        fvu=fvu,
        checkpoint=label,
    )


def labelled(
    personas: npt.NDArray[np.str_], world: World | None
) -> list[tuple[str, str, npt.NDArray[np.bool_]]]:
    """Labels of documents: whose they are, and which traits that persona holds.

    Args:
        personas: Whose document it is, dims (document).
        world: Says who holds which trait; None = no traits.

    Returns:
        Kind ("persona" or "trait"), name and booleans, dims (document); personas first.

    Raises:
        WorldError: A persona is not of this world.
    """
    names = sorted(set(personas.tolist()))
    labels = [("persona", name, personas == name) for name in names]
    if world is None:
        return labels
    traits = {name: set(world.persona(name).traits) for name in names}
    for trait in world.traits:
        holders = [name for name in names if trait in traits[name]]
        labels.append(("trait", str(trait), np.isin(personas, holders)))
    return labels


def _checkpoint(act: xr.DataArray, label: str | None) -> str:
    """Label of the checkpoint to read; "" where there is no such dim."""
    labels = [str(c) for c in act["checkpoint"].to_numpy()] if "checkpoint" in act.dims else []
    if label is None:
        return labels[0] if labels else ""
    if label not in labels:
        raise SchemaError(unknown("checkpoint", label, labels))
    return label


def _fvu(data: xr.Dataset | xr.DataArray, checkpoint: str) -> npt.NDArray[np.float64]:
    """Fraction of variance unexplained of each prompt; NaN for readouts."""
    if isinstance(data, xr.DataArray):
        return np.full(data.sizes["prompt"], np.nan)
    return data["fvu"].sel(checkpoint=checkpoint).to_numpy().astype(np.float64)
