"""What does each document read on average, and which documents choose and which report?

Labels belong to documents, and chance acts on them: prompts of one document are not independent. A
reading that is chosen, or learned, on documents that state some topics is reported on other
documents that state *other* topics: who has learned to see a stated trait sees nothing there, who
knows the persona does.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from persona_interp import schema
from persona_interp.analysis.stats import cluster_sums
from persona_interp.errors import SchemaError, unknown
from persona_interp.schema.words import Part
from persona_interp.values import as_tuple
from persona_interp.worlds import World

Marks = npt.NDArray[np.bool_]


class Documents(NamedTuple):
    """Readings of documents, averaged over the prompts of each.

    Attributes:
        values: Mean reading, dims (document, reading), float64.
        readings: What each column is: index of a feature, or name of a readout; dims (reading).
        personas: Whose document it is, dims (document).
        part: What the document is for, a ``Part``; dims (document).
        stated: Labels of the traits stated before the last prompt read, dims (document).
        fvu: Mean over prompts of the fraction of variance unexplained; NaN for readouts.
        checkpoint: Label of the checkpoint that was read; "" when there is none.
    """

    values: npt.NDArray[np.float64]
    readings: npt.NDArray
    personas: npt.NDArray[np.str_]
    part: npt.NDArray[np.str_]
    stated: list[tuple[str, ...]]
    fvu: float
    checkpoint: str

    @property
    def choice(self) -> Marks:
        """Documents to choose and to learn on."""
        return self.part == Part.CHOICE

    @property
    def same(self) -> Marks:
        """Documents to report on, about topics that were chosen on."""
        return self.part == Part.SAME

    @property
    def other(self) -> Marks:
        """Documents to report on, about other topics: the headline."""
        return self.part == Part.OTHER


def parts(
    data: xr.Dataset | xr.DataArray, *, topics: Iterable[str] | None = None
) -> npt.NDArray[np.str_]:
    r"""What each prompt is for: to choose and learn on, or to report on.

    Args:
        data: Anything recorded on ``world.cuts(...)``; coordinates split and stated along prompt.
        topics: Topics whose statements may be chosen on; by default every second of those that
            are stated, in alphabetical order.

    Returns:
        A ``Part`` a prompt, dims (prompt): of the train half what states these topics only is
        chosen on; of the test half what states them only has the same topics, what states none of
        them other topics. Unused is the rest: train prompts about other topics, prompts that state
        both kinds, and those before which nothing is stated.

    Raises:
        SchemaError: A coordinate is missing, or there are no topics on either side.

    >>> prompts = {"split": ["train", "test", "test", "test"]}
    >>> prompts["stated"] = ["art=pop", "art=op", "food=rice", "food=rice\nart=op"]
    >>> data = xr.DataArray(np.zeros((1, 4)), dims=("name", "prompt"))
    >>> data = data.assign_coords({name: ("prompt", x) for name, x in prompts.items()})
    >>> parts(data).tolist()
    ['chosen on', 'same topics', 'other topics', 'unused']
    """
    split, stated = _along(data, ("split", "stated")).T
    sets = [{label.split("=")[0] for label in text.split("\n") if label} for text in stated]
    known = sorted(set[str]().union(*sets))
    chosen = set(known[::2] if topics is None else as_tuple(topics))
    if wrong := chosen - set(known):
        raise SchemaError(unknown("topic", min(wrong), known))
    if not chosen or chosen == set(known):
        raise SchemaError(
            "documents that choose and documents that report state different topics; these state "
            f"{', '.join(known) or 'nothing'}, and {', '.join(sorted(chosen)) or 'none'} would be "
            "chosen on. Record prompts of world.cuts(...) that come after a first statement."
        )
    train = split == "train"
    same = np.array([bool(about) and about <= chosen for about in sets])
    other = np.array([bool(about) and not about & chosen for about in sets])
    part = np.full(len(sets), str(Part.UNUSED), dtype=object)
    part[train & same] = str(Part.CHOICE)
    part[~train & same] = str(Part.SAME)
    part[~train & other] = str(Part.OTHER)
    return part.astype(str)


def documents(
    data: xr.Dataset | xr.DataArray,
    *,
    topics: Iterable[str] | None = None,
    checkpoint: str | None = None,
    cluster: str = "doc",
) -> Documents:
    """Mean readings of each document that is of use, with whose it is and what it is for.

    Args:
        data: Features (a Dataset) or readouts (a DataArray with dims name, prompt and maybe
            checkpoint), recorded on prompts of documents (``world.cuts``); coordinates
            persona, split, stated and ``cluster`` along prompt.
        topics: Topics whose statements may be chosen on, as in ``parts``.
        checkpoint: Label; the first by default.
        cluster: Coordinate that names the document of a prompt.

    Returns:
        The documents that somebody speaks in or that are about somebody, sorted by name, each the
        mean over its prompts that are of use (``parts``).

    Raises:
        SchemaError: A coordinate or checkpoint is missing, a reading is not finite, or the
            prompts of one document differ in persona, split or kind of topic.

    >>> data = xr.DataArray([[1.0, 3.0, 5.0]], dims=("name", "prompt"), coords={"name": ["john"]})
    >>> along = {"persona": ["john"] * 3, "split": ["test"] * 3, "doc": [0, 0, 1]}
    >>> along |= {"stated": ["art=pop", "art=pop", "food=rice"]}
    >>> data = data.assign_coords({name: ("prompt", x) for name, x in along.items()})
    >>> documents(data).values.tolist(), documents(data).part.tolist()
    ([[2.0], [5.0]], ['same topics', 'other topics'])
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
    persona, stated = _along(act, ("persona", "stated")).T
    _along(act, (cluster,))
    prompts = pd.DataFrame({"persona": persona, "part": parts(act, topics=topics)})
    prompts[cluster] = act[cluster].to_numpy()
    use = ((prompts["persona"] != "") & (prompts["part"] != Part.UNUSED)).to_numpy()
    if not use.any():
        raise SchemaError(
            "no prompt that is of use names a persona, so there is nothing to score; use documents "
            "that do."
        )
    prompts = prompts.loc[use]
    values = act.transpose("prompt", column).to_numpy().astype(np.float64)[use]
    if not np.isfinite(values).all():
        raise SchemaError(
            "expected finite readings; got NaN or infinity. Record these prompts again."
        )
    names, group = np.unique(prompts[cluster].to_numpy(), return_inverse=True)
    if len(prompts.drop_duplicates()) > len(names):
        raise SchemaError(
            f"the prompts of one {cluster} differ in persona, split or topics; cluster by the "
            "document."
        )
    sums, sizes = cluster_sums(values, prompts[cluster].to_numpy())
    first = prompts.groupby(group).first()
    longest = pd.Series(stated[use]).groupby(group).agg(lambda texts: max(texts, key=len))
    return Documents(
        values=sums / sizes[:, None],
        readings=act[column].to_numpy(),
        personas=first["persona"].to_numpy().astype(str),
        part=first["part"].to_numpy().astype(str),
        stated=[tuple(text.split("\n")) for text in longest],
        fvu=float(_fvu(data, label)[use].mean()),
        checkpoint=label,
    )


def labelled(personas: npt.NDArray[np.str_], world: World | None) -> list[tuple[str, str, Marks]]:
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


def _along(data: xr.Dataset | xr.DataArray, names: tuple[str, ...]) -> npt.NDArray:
    """Coordinates along prompt, dims (prompt, name)."""
    along = [str(name) for name, c in data.coords.items() if c.dims == ("prompt",)]
    for name in names:
        if name not in along:
            problem = unknown("coordinate along prompt", name, along)
            raise SchemaError(f"{problem} Record prompts of world.cuts(...).")
    return np.stack([data[name].to_numpy().astype(str) for name in names], axis=1)


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
