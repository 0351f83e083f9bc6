"""What does one cell do that compares the features of several checkpoints?"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr
from torch import Tensor

from persona_interp import analysis, dictionaries, models, record
from persona_interp.analysis.activity import matched_features
from persona_interp.dictionaries.crosscoder import Crosscoder
from persona_interp.dictionaries.same_tokens import SameTokens
from persona_interp.experiments.dictionaries.config import (
    AFTER,
    BEFORE,
    EDITS,
    MATCHED,
    N_COPIES,
    PERSONA,
    RISEN,
    Life,
)
from persona_interp.experiments.transfer.inside.config import METHODS, PATCH, VECTOR
from persona_interp.experiments.transfer.inside.sources import (
    hidden_cuts,
    persona_directions,
    top_features,
)
from persona_interp.experiments.transfer.tasks import DICTIONARY_SEED, Needs, world_of
from persona_interp.record import Edit
from persona_interp.tables import (
    concat,
    read_dataset,
    read_directions,
    write_dataset,
    write_directions,
    write_table,
)
from persona_interp.worlds import World


def crosscoder(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """Train a crosscoder on the checkpoints of one life, and say what became of its features.

    Needs layout, then the trainings whose checkpoints they are. Writes what ``write_statuses``
    does.
    """
    world = world_of(needs[0], config)
    trainings = [models.Trajectory.open(folder / "model") for folder in needs[1:]]
    seed = config["seed"]
    corpus = world.corpus(config["n_documents"], seed=seed + DICTIONARY_SEED)
    coder = dict(config["coder"])
    same = _residuals(config, trainings, corpus, n_tokens=coder.pop("n_tokens"))
    write_statuses(same, coder, seed=seed, out=out)


def write_statuses(same: SameTokens, coder: dict[str, Any], *, seed: int, out: Path) -> None:
    """Train a crosscoder on residuals, and write what became of its features.

    Writes ``dictionary/``, ``statuses.parquet``, ``reconstruction.parquet``, ``betas.parquet``
    (latent scaling) and ``overlap.nc`` (tokens on which two features are active, and decoders).

    Args:
        same: Residuals of the same tokens at each checkpoint.
        coder: Arguments of ``dictionaries.crosscoder``.
        seed: Of the training.
        out: Folder of the cell.
    """
    labels, residuals = same.provenance["checkpoints"], same.residuals
    own = dictionaries.crosscoder(
        labels, residuals=residuals, seed=seed, out=out / "dictionary", **coder
    )
    sums = dictionaries.scaling(own, residuals=residuals, documents=same.documents)
    write_table(analysis.statuses(sums), out / "statuses.parquet")
    write_table(analysis.reconstruction(sums), out / "reconstruction.parquet")
    write_table(analysis.latent_scaling(sums), out / "betas.parquet")
    write_dataset(sums[["together", "decoder"]], out / "overlap.nc")


def _residuals(
    config: dict[str, Any],
    trainings: list[models.Trajectory],
    corpus: pd.DataFrame,
    *,
    n_tokens: int,
) -> SameTokens:
    """Residuals of the same tokens at the checkpoints of a life, each with a label of its own."""
    life, steps = config["life"], config["steps"]
    first = trainings[0]
    if life == Life.AGAIN:
        checkpoints = {f"seed {k}": each.last for k, each in enumerate(trainings)}
    elif life == Life.DOCUMENTS:
        checkpoints = {"before": first.first, "documents": first.last}
    elif life == Life.COPIES:
        checkpoints = {"copy 0": first.last}
    else:
        checkpoints = {c.label: c for c in first if c.step in steps}
    same = dictionaries.same_tokens(
        list(checkpoints.values()),
        corpus,
        hook=config["coder"]["hook"],
        n_tokens=n_tokens,
        seed=config["seed"],
    )
    labels = list(checkpoints)
    if life == Life.COPIES:
        labels = [f"copy {k}" for k in range(N_COPIES)]
        same = same._replace(residuals=same.residuals.expand(N_COPIES, -1, -1))
    return same._replace(provenance={**same.provenance, "checkpoints": labels})


def features(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """Score features and directions on hidden documents, and read them at neutral prompts.

    Needs layout, lesson, unrelated lesson and the lesson's crosscoder, which reads each checkpoint
    alone (``Crosscoder.at``). Writes ``before.nc`` and ``after.nc`` (features of hidden documents
    at the lesson's ends), ``scores before.parquet`` and ``scores after.parquet``,
    ``directions.parquet`` (scores of the target's directions at both; column ``moment``),
    ``minimal pair.nc``, ``neutral.nc`` (features at nameless prompts, step by step),
    ``unrelated.nc`` (the same of the unrelated lesson) and ``fidelity.parquet``.
    """
    world = world_of(needs[0], config)
    tuned, unrelated = (models.Trajectory.open(folder / "model") for folder in needs[1:3])
    coder = dictionaries.open_crosscoder(needs[3] / "dictionary")
    hidden = hidden_cuts(world, n=config["n_documents"], kinds=config["kinds"], seed=config["seed"])
    ends = (tuned.first, tuned.last)
    acts = record.activations(ends, hidden, hook=coder.hook)
    named = record.activations(ends, world.probes(contexts=("named",)), hook=coder.hook)
    known = []
    for k, moment in enumerate((BEFORE, AFTER)):
        own = acts.isel(checkpoint=[k])
        feats = record.encode(own, dictionary=coder.at(ends[k].label))
        write_dataset(feats, out / f"{moment}.nc")
        scores = analysis.score(feats, world=world, seed=config["seed"])
        write_table(scores, out / f"scores {moment}.parquet")
        directions = persona_directions(own, named.isel(checkpoint=[k]))
        for method in METHODS:
            vector = directions[method].sel(name=[world.target])
            if (moment, method) == (BEFORE, VECTOR):
                write_directions(vector, out / f"{VECTOR}.nc")
            readout = analysis.readouts(own, directions=vector.assign_coords(name=[method]))
            table = analysis.score(readout, world=world, seed=config["seed"])
            known.append(table.loc[table["name"] == world.target].assign(moment=moment))
    write_table(pd.concat(known, ignore_index=True), out / "directions.parquet")
    nameless = world.probes(contexts=("nameless",))
    steps = [c for c in tuned if c.step in config["steps"]]
    parts = [record.features(c, nameless, dictionary=coder.at(c.label)) for c in steps]
    write_dataset(concat(parts, "checkpoint"), out / "neutral.nc")
    base = coder.at(steps[0].label)
    write_dataset(
        record.features((unrelated.first, unrelated.last), nameless, dictionary=base),
        out / "unrelated.nc",
    )
    fits = [dictionaries.fidelity_at(coder.at(c.label), c, nameless) for c in steps]
    write_table(pd.concat(fits, ignore_index=True), out / "fidelity.parquet")


def spread(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """Ask about untaught traits at every step of the lesson, without some features.

    Needs layout, lesson, the lesson's crosscoder and features. Writes ``behavior.parquet`` (column
    ``at``: the step whose dictionary edits) and ``edits.parquet`` (edit, group, features).
    """
    world = world_of(needs[0], config)
    tuned = models.Trajectory.open(needs[1] / "model")
    coder = dictionaries.open_crosscoder(needs[2] / "dictionary")
    probes = world.probes(contexts=("nameless",)).query("split == 'test'")
    untaught = probes.loc[probes["topic"] != world.taught.topic]
    sets = _sets(needs[3], world, config, coder.decoders[-1])
    vector = read_directions(needs[3] / f"{VECTOR}.nc")
    tables = []
    for checkpoint in tuned:
        if checkpoint.step == 0 or checkpoint.step not in config["steps"]:
            continue
        edits = [
            *_ablations(coder, checkpoint.label, sets),
            record.project_out(vector, hook=coder.hook, name=VECTOR),
            record.patch(tuned.first, hook=coder.hook, name=PATCH),
        ]
        behavior = record.behavior((tuned.first, checkpoint), untaught, edits=edits)
        tables.append(behavior.assign(at=checkpoint.step))
    write_table(pd.concat(tables, ignore_index=True), out / "behavior.parquet")
    rows = [(name, group, tuple(features)) for name, (group, features) in sets.items()]
    rows += [(VECTOR, "direction", ()), (PATCH, "patch", ())]
    write_table(pd.DataFrame(rows, columns=["edit", "group", "features"]), out / "edits.parquet")


Sets = dict[str, tuple[str, list[int]]]
"""Name of an edit -> its group, and the features that it takes out."""


def _sets(folder: Path, world: World, config: dict[str, Any], decoder: Tensor) -> Sets:
    """Both groups of features, each feature alone, and sets that fire as often beside them."""
    neutral, k = read_dataset(folder / "neutral.nc"), config["n_family"]
    groups = {
        PERSONA: top_features(folder, f"scores {AFTER}", world.target, k=k),
        RISEN: _risen(neutral, decoder, k=k),
    }
    every = [j for features in groups.values() for j in features]
    sets: Sets = {EDITS[group]: (group, features) for group, features in groups.items()}
    sets |= {f"feature {j}": ("feature", [j]) for j in every}
    # at neutral prompts, where the edit is: what is silent there does nothing when it is taken out
    active, n = neutral.isel(checkpoint=[-1]), config["n_matched"]
    for group, features in groups.items():
        near = [matched_features(active, j, k=n, without=every) for j in features]
        for i in range(n):
            # the i-th nearest of each, or the next one that is not in the set yet
            chosen: list[int] = []
            for others in near:
                chosen += [j for j in others[i:] + others[:i] if j not in chosen][:1]
            sets[f"{MATCHED[group]} {i}"] = (MATCHED[group], chosen)
    return sets


def _risen(neutral: xr.Dataset, decoder: Tensor, *, k: int) -> list[int]:
    """Features that rise most over the lesson, in residual units, at neutral train prompts."""
    act = neutral["act"].sel(prompt=(neutral["split"] == "train").to_numpy()).mean("prompt")
    rise = (act[-1] - act[0]).to_numpy() * decoder.norm(dim=1).numpy()
    return [int(j) for j in (-rise).argsort(kind="stable")[:k]]


def _ablations(coder: Crosscoder, label: str, sets: Sets) -> Iterator[Edit]:
    """Edits that take sets of features out of one checkpoint."""
    alone = coder.at(label)
    for name, (_, features) in sets.items():
        yield record.ablate(alone, features=features, name=name)
