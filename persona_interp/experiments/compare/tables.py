"""What do the finished cells of a comparison say, as tables?"""

from typing import TYPE_CHECKING

import pandas as pd
import xarray as xr

from persona_interp import analysis
from persona_interp.experiments.inside import JOINED
from persona_interp.store import Cell, Store
from persona_interp.tables import read_dataset, read_table

if TYPE_CHECKING:
    from persona_interp.experiments.compare import Compare

Tables = dict[str, pd.DataFrame]
Cells = dict[tuple[str, ...], Cell]


class _Done:
    """The finished cells of a comparison."""

    def __init__(self, experiment: "Compare", store: Store) -> None:
        self.of, self.store, self.cells = experiment, store, experiment.keyed_cells()
        controls = experiment.controls
        self.labels = [
            s.label for s in (experiment.base, experiment.again, *experiment.tuned, *controls)
        ]
        self.base, self.tuned = experiment.base.label, [s.label for s in experiment.tuned]
        self.controls = [s.label for s in controls]

    def has(self, *keys: tuple[str, ...]) -> bool:
        """Are these cells there, and done?"""
        return all(key in self.cells and self.store.has(self.cells[key]) for key in keys)

    def everybody(self, *kind: str) -> bool:
        """Is this kind of cell done of every checkpoint? What is compared is compared whole."""
        return self.has(*((*kind, label) for label in self.labels))

    def tables(self, kind: str, name: str) -> pd.DataFrame:
        """One file of the cells of this kind, all checkpoints together."""
        parts = [
            read_table(self.store.path(self.cells[kind, label], f"{name}.parquet"))
            for label in self.labels
        ]
        return pd.concat(parts, ignore_index=True)

    def data(self, *kind: str, name: str) -> xr.Dataset:
        """The same of labelled arrays, along checkpoint."""
        parts = [
            read_dataset(self.store.path(self.cells[(*kind, label)], f"{name}.nc"))
            for label in self.labels
        ]
        return xr.concat(parts, "checkpoint", **JOINED)

    def directions(self, name: str) -> xr.DataArray:
        """Trait vectors or random directions."""
        data = read_dataset(self.store.path(self.cells["directions",], f"{name}.nc"))
        return data["vector"].assign_attrs(data.attrs)


def tables(experiment: "Compare", store: Store) -> Tables:
    """What was found? See ``Compare.summarize``.

    Args:
        experiment: The comparison.
        store: Its run.

    Returns:
        Tables by name.
    """
    done = _Done(experiment, store)
    found: Tables = {"sources": sources(experiment)}
    measured, random = [], []
    if experiment.traits and done.everybody("behavior"):
        scores = analysis.trait_scores(done.tables("behavior", "continuations"))
        measured.append(analysis.measure_behavior(scores))
    if experiment.traits and done.everybody("spoken"):
        measured.append(analysis.measure_answers(done.tables("spoken", "spoken")))
    if done.has(("directions",)) and done.everybody("inside"):
        vectors, drawn = done.directions("vectors"), done.directions("random")
        last, novel = [], []
        for i in range(vectors.sizes["hook"]):
            acts = done.data("inside", name=f"answer {i}")
            measured.append(analysis.measure_projections(acts, vectors))
            random.append(analysis.measure_projections(acts, drawn))
            last.append(
                analysis.measure_projections(done.data("inside", name=f"last {i}"), vectors)
            )
            novel.append(analysis.span_share(acts, vectors, drawn, base=done.base))
        found["shift"] = _effects(done, last)
        novelty = pd.concat(novel, ignore_index=True)
        found["novelty"] = novelty.loc[novelty["checkpoint"] != experiment.again.label]
    for sae in experiment.sae:
        if done.everybody("features", sae.name):
            parts = [
                read_table(store.path(done.cells["features", sae.name, label], "fidelity.parquet"))
                for label in done.labels
            ]
            fits = pd.concat(parts, ignore_index=True).assign(sae=sae.name)
            found["fidelity"] = pd.concat(
                [found.get("fidelity", fits.head(0)), fits], ignore_index=True
            )
            if "unusable" not in set(fits["verdict"]):
                feats = done.data("features", sae.name, name="features")
                measured.append(analysis.measure_features(feats))
                moved = [
                    analysis.feature_shift(feats, before=done.base, after=s.label).assign(
                        sae=sae.name, end=s.label
                    )
                    for s in experiment.ends
                ]
                found["features"] = pd.concat(
                    [*([found["features"]] if "features" in found else []), *moved]
                )
    if measured:
        effects = _effects(done, measured)
        drawn = (
            pd.concat(random, ignore_index=True)
            if random
            else pd.DataFrame(columns=list(measured[0].columns))
        )
        found["effects"] = analysis.random_range(effects, drawn, base=done.base)
    return found | _told(done)


def sources(experiment: "Compare") -> pd.DataFrame:
    """Which weights were compared, and are some of them the same?

    Args:
        experiment: The comparison.

    Returns:
        One row a checkpoint: ``checkpoint``, ``role``, ``given`` as, ``step``, ``weights`` (hash),
        ``note``.
    """
    roles = [
        ("base", (experiment.base,)),
        ("tuned", experiment.tuned),
        ("control", experiment.control),
    ]
    used = {s.label for s in (experiment.base, *experiment.tuned, *experiment.controls)}
    rows, first = [], dict[str, str]()
    for role, listed in roles:
        for source in listed:
            twin = first.setdefault(source.weights, source.label)
            note = "" if twin == source.label else f"the same weights as {twin}"
            if source.label not in used:
                note = (
                    f"{note}; no control of its own"
                    if note
                    else "an earlier step of its training; not used"
                )
            note = "; ".join(filter(None, (note, source.note)))
            row = {
                "checkpoint": source.label,
                "role": role,
                "given": source.run,
                "step": source.step,
            }
            rows.append({**row, "weights": source.weights[:16], "note": note})
    return pd.DataFrame(rows)


def _effects(done: _Done, measured: list[pd.DataFrame]) -> pd.DataFrame:
    table = pd.concat(measured, ignore_index=True)
    named = "answers" in set(table["family"]) and done.of.primary
    return analysis.effects(
        table,
        base=done.base,
        tuned=done.tuned,
        controls=done.controls,
        again=done.of.again.label,
        primary=[(source.label, done.of.primary) for source in done.of.ends] if named else (),
        primary_in="answers",
        seed=done.of.seeds[0],
    )


def _told(done: _Done) -> Tables:
    """What is shown and not tested."""
    found: Tables = {}
    store, cells = done.store, done.cells
    if done.everybody("drift"):
        found["kl"] = analysis.kl_by_role(done.tables("drift", "drift"))
    if done.everybody("heard"):
        found["samples"] = done.tables("heard", "samples")
        if all(
            (store.path(cells["heard", label]) / "instructed.parquet").is_file()
            for label in done.labels
        ):
            found["heard"] = analysis.sound_shift(
                done.tables("heard", "instructed"), base=done.base
            )
    parts = {
        "separability": [("trait", file.name) for file in done.of.traits],
        "lens": [("lens", source.label) for source in done.of.ends],
    }
    for name, keys in parts.items():
        if keys and done.has(*keys):
            rows = [read_table(store.path(cells[key], f"{name}.parquet")) for key in keys]
            if name == "lens":
                rows = [
                    part.assign(checkpoint=key[-1]) for part, key in zip(rows, keys, strict=True)
                ]
            found[name] = pd.concat(rows, ignore_index=True)
    for sae in done.of.sae:
        folder = store.path(cells["pages", sae.name]) if done.has(("pages", sae.name)) else None
        for name in ("tokens", "words"):
            if folder and (folder / f"{name}.parquet").is_file():
                rows = read_table(folder / f"{name}.parquet").assign(sae=sae.name)
                found[name] = (
                    pd.concat([found[name], rows], ignore_index=True) if name in found else rows
                )
    return found
