"""What does one cell do that looks for personas inside a model?

``personas`` asks the base model: which features and which directions carry each persona and trait.
``causes`` asks the model after a lesson: what is left of the lesson's effect without them, and
without the controls that should not matter. ``profile`` compares the layers.
"""

from pathlib import Path
from typing import Any

import pandas as pd
import torch
import xarray as xr

from persona_interp import analysis, dictionaries, models, record
from persona_interp.experiments.transfer.inside.cases import Edits, edits_of
from persona_interp.experiments.transfer.inside.config import (
    METHODS,
    N_NEIGHBORS,
    N_PAGES,
    SPAN,
    VECTOR,
)
from persona_interp.experiments.transfer.inside.sources import (
    Carriers,
    Inputs,
    carriers_of,
    hidden_cuts,
    open_inputs,
    persona_directions,
    random_directions,
)
from persona_interp.experiments.transfer.tasks import Needs, world_of
from persona_interp.tables import (
    concat,
    read_dataset,
    read_directions,
    write_dataset,
    write_directions,
    write_table,
)
from persona_interp.worlds import World


def personas(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """Find features and directions of each persona in the base model.

    Needs documents, dictionary and random dictionary. Documents by speakers without a name are read
    just before every value but their first, so that nothing that is found is a detector of names.
    What is chosen or learned, is so on one half of them and on statements about some topics
    (``analysis.parts``); reported is the other half, about other topics. Writes ``acts.nc``,
    ``features.nc``, ``random_features.nc`` (what was read), ``named.nc`` (named probes),
    ``scores.parquet``, ``random_scores.parquet`` and a file of directions for each of ``METHODS``,
    ``traits.nc`` and ``trait pairs.nc``.
    """
    world = world_of(needs[0], config)
    base = models.Trajectory.open(needs[1] / "model").last
    trained, random = (dictionaries.open_dictionary(folder / "dictionary") for folder in needs[2:4])
    seed = config["seed"]
    hidden = hidden_cuts(world, n=config["n_documents"], kinds=config["kinds"], seed=seed)
    acts = record.activations(base, hidden, hook=trained.hook)
    write_dataset(acts, out / "acts.nc")
    for prefix, sae in (("", trained), ("random_", random)):
        feats = record.encode(acts, dictionary=sae)
        write_dataset(feats, out / f"{prefix}features.nc")
        write_table(analysis.score(feats, world=world, seed=seed), out / f"{prefix}scores.parquet")
    named = record.activations(base, world.probes(contexts=("named",)), hook=trained.hook)
    write_dataset(named, out / "named.nc")
    stated = record.activations(base, world.stated(world.taught.topic), hook=trained.hook)
    for name, vectors in _directions(world, acts, named, stated).items():
        write_directions(vectors, out / f"{name}.nc")


def causes(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """Take the persona out of both models or put it in, and read it out beside simpler methods.

    Needs lesson, dictionary, random dictionary, personas, features, and the features of the
    control lessons, the unrelated one first. Writes ``behavior.parquet`` (base and tuned, each
    under every edit), ``edits.parquet`` (name, group), ``random (norm).nc`` and ``random
    (variance).nc`` (directions that chance gives), what every method reads of documents
    (``hidden.nc``) and of neutral prompts (``neutral.nc``, ``control.nc``),
    ``refit.parquet`` (are the vectors still the same, found anew in the tuned model), and for the
    pages of the top features ``tokens.parquet``, ``lens.parquet`` and ``nearest.parquet``.
    """
    inputs = open_inputs(config, needs)
    carriers = carriers_of(inputs, n_random=config["n_random"])
    folders = (inputs.personas, *inputs.features)
    for name, folder in zip(("hidden", "neutral", "control"), folders, strict=False):
        readouts = _readouts(folder, carriers)
        write_dataset(readouts.to_dataset(name="readout", promote_attrs=True), out / f"{name}.nc")
    edits = edits_of(inputs, carriers)
    groups = [(edit.name, group) for group, edit in edits]
    write_table(pd.DataFrame(groups, columns=["edit", "group"]), out / "edits.parquet")
    write_table(_behavior(inputs, edits), out / "behavior.parquet")
    for match, vectors in random_directions(inputs, n=config["n_chance"]).items():
        write_directions(vectors, out / f"random ({match}).nc")
    write_table(_refit(inputs), out / "refit.parquet")
    features = carriers.family[:N_PAGES]
    write_table(_tokens(inputs, features), out / "tokens.parquet")
    write_table(_lens(inputs, features), out / "lens.parquet")
    write_table(_nearest(inputs.trained.W_dec.cpu(), features), out / "nearest.parquet")


def profile(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """Measure at which hook, on whose tokens, the residual moved towards the target.

    Needs lesson, then personas. Writes ``profile.parquet``, at the hooks of the ``personas`` cells.
    """
    world = world_of(needs[0], config)
    tuned = models.Trajectory.open(needs[1] / "model")
    files = [folder / f"{VECTOR}.nc" for folder in needs[2:]]
    vectors = concat([read_directions(file).sel(name=[world.target]) for file in files], "hook")
    prompts = world.probes(contexts=("nameless",)).query("split == 'test'")
    hooks = [str(hook) for hook in vectors["hook"].values]
    table = record.profile((tuned.first, tuned.last), prompts, hooks=hooks, directions=vectors)
    write_table(table, out / "profile.parquet")


def _directions(
    world: World, acts: xr.Dataset, named: xr.Dataset, stated: xr.Dataset
) -> dict[str, xr.DataArray]:
    """Directions of personas by every method, and of traits; by the name of their file."""
    # traits are no readouts that would be tested: all topics of the train documents
    first_half = acts.sel(prompt=acts["split"] == "train")
    holders = {}
    for trait in world.traits:
        mask = first_half["persona"].isin(world.holders(trait)).to_numpy()
        if mask.any():
            holders[str(trait)] = mask
    return {
        **persona_directions(acts, named),
        "traits": record.mean_difference(first_half, labels=holders),
        "trait pairs": record.minimal_pairs(stated, by="value"),
    }


def _readouts(folder: Path, carriers: Carriers) -> xr.DataArray:
    """What every method reads of the prompts of a ``personas`` or ``features`` cell."""
    acts, feats, random_feats = (
        read_dataset(folder / f"{name}.nc") for name in ("acts", "features", "random_features")
    )
    directions = concat([carriers.directions, carriers.random_directions["norm"]], "name")
    trained = analysis.readouts(
        acts, feats, directions=directions, spans={SPAN: METHODS}, sets=carriers.sets
    )
    random = analysis.readouts(feats=random_feats, sets=carriers.random_sets)
    return concat([trained, random], "name")


def _behavior(inputs: Inputs, edits: Edits) -> pd.DataFrame:
    """Answers about untaught traits of base and tuned, each unedited and under every edit."""
    world, tuned = inputs.world, inputs.tuned
    probes = world.probes(contexts=("nameless",)).query("split == 'test'")
    untaught = probes.loc[probes["topic"] != world.taught.topic]
    ends = (tuned.first, tuned.last)
    return record.behavior(ends, untaught, edits=[edit for _, edit in edits])


def _refit(inputs: Inputs) -> pd.DataFrame:
    """Agreement of the personas' vectors with those found anew in the tuned model."""
    named = inputs.world.probes(contexts=("named",))
    acts = record.activations(inputs.tuned.last, named, hook=inputs.hook)
    before = read_directions(inputs.personas / f"{VECTOR}.nc")
    return analysis.refit(before, record.minimal_pairs(acts))


def _tokens(inputs: Inputs, features: list[int]) -> pd.DataFrame:
    """Activations of features token by token, at neutral prompts, before and after."""
    probes = inputs.world.probes(contexts=("nameless",)).query("split == 'test'")
    ends = (inputs.tuned.first, inputs.tuned.last)
    return record.tokens(ends, probes, dictionary=inputs.trained, features=features)


def _lens(inputs: Inputs, features: list[int]) -> pd.DataFrame:
    """Words that features write, and those that the lesson's shift of neutral prompts writes."""
    act = read_dataset(inputs.features[0] / "acts.nc")["act"]
    shift = (act[-1] - act[0]).mean("prompt").to_numpy()
    vectors = {str(feature): inputs.trained.W_dec[feature].cpu().numpy() for feature in features}
    vectors["shift"] = shift
    base = inputs.tuned.first
    tables = [record.lens(base, vector).assign(of=name) for name, vector in vectors.items()]
    return pd.concat(tables, ignore_index=True)


def _nearest(decoder: torch.Tensor, features: list[int]) -> pd.DataFrame:
    """Features whose decoder rows point most nearly the same way."""
    unit = torch.nn.functional.normalize(decoder, dim=1)
    tables = []
    for feature in features:
        cosines, neighbors = (unit @ unit[feature]).topk(N_NEIGHBORS + 1)
        # the first is the feature itself
        columns = {"feature": neighbors[1:].numpy(), "cosine": cosines[1:].numpy()}
        tables.append(pd.DataFrame({"of": feature, **columns}))
    return pd.concat(tables, ignore_index=True)
