"""What does one cell do that looks for personas inside a model?

``personas`` asks the base model: which features and which directions carry each persona and trait.
``causes`` asks the model after a lesson: what is left of the lesson's effect without them, and
without the controls that should not matter.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr

from persona_interp import analysis, dictionaries, models, record
from persona_interp.dictionaries import Dictionary
from persona_interp.experiments.transfer.inside.config import (
    FAMILY,
    METHODS,
    NEAREST,
    SHOWN,
    SPAN,
)
from persona_interp.experiments.transfer.tasks import Needs, world_of
from persona_interp.record import Edit
from persona_interp.tables import (
    concat,
    read_dataset,
    read_directions,
    read_table,
    write_dataset,
    write_directions,
    write_table,
)
from persona_interp.worlds import World


def personas(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """Which features and directions carry each persona in the base model?

    Needs documents, dictionary and random dictionary. Documents by speakers without a name are read
    just before every value but their first, so that nothing found here is a detector of names; one
    half of them chooses, the other is what is reported. Writes ``acts.nc``, ``features.nc``,
    ``random_features.nc`` (what was read), ``named.nc`` (named probes), ``scores.parquet``,
    ``random_scores.parquet`` and a file of directions for each of ``METHODS``, ``traits.nc`` and
    ``trait pairs.nc``.
    """
    world = world_of(needs[0], config)
    base = models.Trajectory.open(needs[1] / "model").last
    trained, random = (dictionaries.open_dictionary(folder / "dictionary") for folder in needs[2:4])
    documents = world.corpus(
        config["n_documents"], seed=config["seed"] + 3_000, kinds=config["kinds"]
    )
    hidden = world.cuts(documents).query(
        "order > 0"
    )  # before the first value nothing says who speaks
    acts = record.activations(base, hidden, hook=trained.hook)
    write_dataset(acts, out / "acts.nc")
    for name, sae in (("", trained), ("random_", random)):
        feats = record.encode(acts, dictionary=sae)
        write_dataset(feats, out / f"{name}features.nc")
        write_table(
            analysis.score(feats, world=world, seed=config["seed"]), out / f"{name}scores.parquet"
        )
    named = record.activations(base, world.probes(contexts=("named",)), hook=trained.hook)
    write_dataset(named, out / "named.nc")
    first_half = acts.sel(prompt=acts["split"] == "train")
    stated = record.activations(base, world.stated(world.taught.topic), hook=trained.hook)
    holders = {
        str(trait): first_half["persona"].isin(world.holders(trait)).to_numpy()
        for trait in world.traits
    }
    found = {
        "mean difference": record.mean_difference(first_half),
        "minimal pair": record.minimal_pairs(named),
        "probe": record.logistic(first_half),
        "traits": record.mean_difference(
            first_half, labels={k: v for k, v in holders.items() if v.any()}
        ),
        "trait pairs": record.minimal_pairs(stated, by="value"),
    }
    for name, vectors in found.items():
        write_directions(vectors, out / f"{name}.nc")


def causes(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """What is left of the lesson without the persona, and do simpler readouts say as much as a feature?

    Needs lesson, dictionary, random dictionary, personas, features, and the features of the
    unrelated lesson where there is one. Writes ``behavior.parquet`` (base and tuned, tuned under
    every edit, base with the persona added), ``edits.parquet`` (name, group), what every method
    reads of documents (``hidden.nc``) and of neutral prompts (``neutral.nc``, ``control.nc``),
    ``refit.parquet`` (are the vectors still the same, found anew in the tuned model), and for the
    pages of the top features ``tokens.parquet``, ``lens.parquet`` and ``nearest.parquet``.
    """
    world = world_of(needs[0], config)
    tuned = models.Trajectory.open(needs[1] / "model")
    trained, random = (dictionaries.open_dictionary(folder / "dictionary") for folder in needs[2:4])
    found = needs[4]
    top = chosen(found, "scores", world.target, k=FAMILY)
    sets = {"top feature": top[:1], f"top {FAMILY} features": top}
    frozen = {"random-decoder feature": chosen(found, "random_scores", world.target, k=1)}
    methods, band = (
        _methods(world, found, neutral=needs[5]),
        _band(world, found, n=config["n_random"]),
    )
    for name, folder in zip(("hidden", "neutral", "control"), needs[4:], strict=False):
        vectors = concat([methods, band["norm"]], "name")
        read = _readouts(folder, vectors, sets=sets, frozen=frozen)
        write_dataset(read.to_dataset(name="readout", promote_attrs=True), out / f"{name}.nc")
    edits = [("method", record.ablate(sets[name], dictionary=trained, name=name)) for name in sets]
    edits += [
        ("method", record.ablate(frozen[name], dictionary=random, name=name)) for name in frozen
    ]
    edits += [
        ("feature", record.ablate(j, dictionary=trained, name=f"feature {j}")) for j in top[:SHOWN]
    ]
    edits.append(
        ("patch", record.patch(tuned.first, hook=trained.hook, name="base residual patched in"))
    )
    edits += _projected("method", methods)
    edits.append(
        (
            "method",
            record.project_out(methods.sel(name=list(METHODS)), hook=trained.hook, name=SPAN),
        )
    )
    pairs = read_directions(found / "minimal pair.nc")
    edits += _projected("persona", pairs.sel(name=pairs["name"] != world.target))
    edits += [
        edit for match, drawn in band.items() for edit in _projected(f"random ({match})", drawn)
    ]
    for (
        group,
        feats,
    ) in {  # what fires as often in documents may be silent at these prompts, so the second is harder
        "matched": read_dataset(found / "features.nc"),
        "active": read_dataset(needs[5] / "features.nc").isel(checkpoint=[-1]),
    }.items():
        for j in matched(feats, top[0], k=FAMILY, without=top):
            edits.append((group, record.ablate(j, dictionary=trained, name=f"{group} feature {j}")))
    probes = world.probes(contexts=("nameless",)).query("split == 'test'")
    asked = probes.loc[probes["topic"] != world.taught.topic]
    put = record.add(
        methods.sel(name=["minimal pair"]),
        hook=trained.hook,
        absolute=1.0,
        name=f"{world.target} added",
    )
    behavior = [
        record.behavior(tuned.last, asked, edits=[edit for _, edit in edits]),
        record.behavior(tuned.first, asked, edits=[put]),
    ]
    write_table(pd.concat(behavior, ignore_index=True), out / "behavior.parquet")
    write_table(
        pd.DataFrame([(e.name, group) for group, e in edits], columns=["edit", "group"]),
        out / "edits.parquet",
    )
    _pages(
        tuned,
        trained,
        top[:SHOWN],
        probes=probes,
        shift=read_dataset(needs[5] / "acts.nc"),
        out=out,
    )
    again = record.activations(tuned.last, world.probes(contexts=("named",)), hook=trained.hook)
    write_table(analysis.refit(pairs, record.minimal_pairs(again)), out / "refit.parquet")


def profile(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """At which hook and on whose tokens did the residual move towards the target? Needs lesson, then personas.

    Writes ``profile.parquet``, at the hooks of the ``personas`` cells.
    """
    world = world_of(needs[0], config)
    tuned = models.Trajectory.open(needs[1] / "model")
    found = [
        read_directions(folder / "minimal pair.nc").sel(name=[world.target]) for folder in needs[2:]
    ]
    vectors = concat(found, "hook")
    asked = world.probes(contexts=("nameless",)).query("split == 'test'")
    hooks = [str(hook) for hook in vectors["hook"].values]
    table = record.profile((tuned.first, tuned.last), asked, hooks=hooks, directions=vectors)
    write_table(table, out / "profile.parquet")


def chosen(folder: Path, scores: str, persona: str, *, k: int) -> list[int]:
    """Which features of a ``personas`` cell speak most for this persona?

    Args:
        folder: The cell.
        scores: "scores" or "random_scores".
        persona: Its name.
        k: How many, at most.

    Returns:
        Features, best on the train documents first.
    """
    return [
        int(j)
        for j in analysis.top(read_table(folder / f"{scores}.parquet"), name=persona, k=k)[
            "feature"
        ]
    ]


def _methods(world: World, found: Path, *, neutral: Path) -> xr.DataArray:
    """The target's direction by every method that gives one, named by the method."""
    vectors = [
        read_directions(found / f"{m}.nc").sel(name=[world.target]).assign_coords(name=[m])
        for m in METHODS
    ]
    acts = read_dataset(neutral / "acts.nc")
    before, after = (str(label) for label in acts["checkpoint"].values)
    moved = record.pca_of_difference(acts, before=before, after=after, n=1).sel(name=["pc1"])
    return concat([*vectors, moved.assign_coords(name=["PCA of the difference"])], "name")


def _band(world: World, found: Path, *, n: int) -> dict[str, xr.DataArray]:
    """Random directions as long as the target's, uniform and in proportion to how much residuals vary."""
    like = read_directions(found / "minimal pair.nc").sel(name=[world.target])
    acts = {"norm": None, "variance": read_dataset(found / "acts.nc")}
    drawn = {
        match: record.random_directions(like, n=n, seed=0, match=match, acts=a)
        for match, a in acts.items()
    }
    return {
        m: d.assign_coords(name=[f"{name} ({m})" for name in d["name"].values])
        for m, d in drawn.items()
    }


def _projected(group: str, vectors: xr.DataArray) -> list[tuple[str, Edit]]:
    """Each direction taken out by itself."""
    hook = str(vectors["hook"].item())
    names = [str(name) for name in vectors["name"].values]
    return [
        (group, record.project_out(vectors.sel(name=[name]), hook=hook, name=name))
        for name in names
    ]


def _readouts(
    folder: Path, vectors: xr.DataArray, *, sets: dict[str, list[int]], frozen: dict[str, list[int]]
) -> xr.DataArray:
    """What every method reads of the prompts of a ``personas`` or ``features`` cell."""
    acts, feats, random = (
        read_dataset(folder / f"{name}.nc") for name in ("acts", "features", "random_features")
    )
    trained = analysis.readouts(acts, feats, directions=vectors, spans={SPAN: METHODS}, sets=sets)
    return concat([trained, analysis.readouts(feats=random, sets=frozen)], "name")


def _pages(
    tuned: models.Trajectory,
    dictionary: Dictionary,
    features: list[int],
    *,
    probes: pd.DataFrame,
    shift: xr.Dataset,
    out: Path,
) -> None:
    """What the pages of some features show: their activations, the words they write, the features like them."""
    ends = (tuned.first, tuned.last)
    write_table(
        record.tokens(ends, probes, dictionary=dictionary, features=features),
        out / "tokens.parquet",
    )
    moved = (shift["act"][-1] - shift["act"][0]).mean("prompt").to_numpy()
    rows = {str(j): dictionary.W_dec[j].numpy() for j in features} | {"shift": moved}
    words = [record.lens(tuned.first, row).assign(of=name) for name, row in rows.items()]
    write_table(pd.concat(words, ignore_index=True), out / "lens.parquet")
    unit = torch.nn.functional.normalize(dictionary.W_dec, dim=1)
    near = [(unit @ unit[j]).topk(NEAREST + 1) for j in features]  # the first is the feature itself
    tables = [
        pd.DataFrame(
            {"of": j, "feature": found.indices[1:].numpy(), "cosine": found.values[1:].numpy()}
        )
        for j, found in zip(features, near, strict=True)
    ]
    write_table(pd.concat(tables, ignore_index=True), out / "nearest.parquet")


def matched(feats: xr.Dataset, feature: int, *, k: int, without: list[int]) -> list[int]:
    """Which other features fire about as often?

    Args:
        feats: Features at some prompts.
        feature: The feature to be matched.
        k: How many.
        without: Features that are no controls.

    Returns:
        Features, nearest firing rate first.

    >>> act = np.array([[[1.0, 0, 1, 1], [0, 0, 0, 1]]])
    >>> matched(xr.Dataset({"act": (("checkpoint", "prompt", "feature"), act)}), 0, k=2, without=[0])
    [2, 1]
    """
    firing = (feats["act"] > 0).mean(("checkpoint", "prompt")).to_numpy()
    order = np.argsort(np.abs(firing - firing[feature]), kind="stable")
    return [int(j) for j in order if j not in {feature, *without}][:k]
