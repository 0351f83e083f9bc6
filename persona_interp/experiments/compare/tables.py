"""What do the finished cells of a comparison say, as tables?"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from persona_interp import analysis, schema
from persona_interp.analysis.drift import kl_by_role
from persona_interp.analysis.span import span_share
from persona_interp.experiments.browser import beside_controls
from persona_interp.experiments.causes import tables as causes
from persona_interp.experiments.compare.config import SAME_WEIGHTS, Compare
from persona_interp.schema.words import Family, Fit, Requests, Role
from persona_interp.store import Store
from persona_interp.tables import concat, read_dataset, read_directions, read_table

Tables = dict[str, pd.DataFrame]

ANSWER = "assistant"
"""Role of the tokens by which distance is measured."""


class FinishedCells:
    """The finished cells of a comparison."""

    def __init__(self, experiment: Compare, store: Store) -> None:
        """Look the cells up.

        Args:
            experiment: The comparison.
            store: Its run.
        """
        self.experiment, self.store = experiment, store
        self.cells = experiment.seed_cells(experiment.seeds[0])
        self.labels = [source.label for source in experiment.sources]

    def has(self, *keys: tuple[str, ...]) -> bool:
        """Whether all of these cells are there, and done."""
        return all(key in self.cells and self.store.has(self.cells[key]) for key in keys)

    def has_all(self, *kind: str) -> bool:
        """Whether this kind of cell is done of every checkpoint; a comparison is of all or none."""
        return self.has(*((*kind, label) for label in self.labels))

    def has_file(self, key: tuple[str, ...], file: str) -> bool:
        """Whether a cell is done and wrote this file; some files are written on occasion only."""
        return self.has(key) and (self.store.path(self.cells[key]) / file).is_file()

    def table(self, key: tuple[str, ...], name: str) -> pd.DataFrame:
        """One file of one cell."""
        return read_table(self.store.path(self.cells[key], f"{name}.parquet"))

    def tables(self, *kind: str, name: str) -> pd.DataFrame:
        """One file of the cells of this kind, all checkpoints together."""
        parts = [self.table((*kind, label), name) for label in self.labels]
        return pd.concat(parts, ignore_index=True)

    def data(self, *kind: str, name: str) -> xr.Dataset:
        """The same of labelled arrays, along checkpoint."""
        paths = [self.store.path(self.cells[*kind, label], f"{name}.nc") for label in self.labels]
        return concat([read_dataset(path) for path in paths], "checkpoint")

    def directions(self, name: str) -> xr.DataArray:
        """Trait vectors or random directions."""
        return read_directions(self.store.path(self.cells["directions",], f"{name}.nc"))


def summarize(experiment: Compare, store: Store) -> Tables:
    """Tables of what is finished.

    Args:
        experiment: The comparison.
        store: Its run; missing cells leave fewer tables.

    Returns:
        Tables by name: ``sources``, ``distance`` (of everybody from the base), ``effects``
        (everything that was tested), ``shift`` (last prompt token), ``drift``, ``samples``,
        ``sound`` (what the samples sound like), ``separability``, ``novelty``, ``lens``;
        ``features``, ``fidelity``, ``tokens`` and ``words`` of dictionaries; of a search for what
        carries the effect ``carriers`` (q over all finetunes), ``ranking``, ``text`` and
        ``strengths``, each with ``of``, the finetune.
    """
    cells = FinishedCells(experiment, store)
    tables: Tables = {"sources": sources(experiment)}
    distance = None
    if cells.has_all("drift"):
        tables["distance"] = distances(cells)
        judging = tables["distance"].query("judges")
        distance = dict(zip(judging["checkpoint"], judging["estimate"], strict=True))
    measurements: list[pd.DataFrame] = []
    random: list[pd.DataFrame] = []
    if experiment.traits and cells.has_all("behavior"):
        scores = analysis.trait_scores(cells.tables("behavior", name="continuations"))
        measurements.append(analysis.measurements.measure_behavior(scores))
    if experiment.traits and cells.has_all("answers"):
        bits = cells.tables("answers", name="trait_bits")
        measurements.append(analysis.measurements.measure_answers(bits))
    if cells.has(("directions",)) and cells.has_all("residuals"):
        tables |= _along_directions(cells, measurements, random, distance=distance)
    tables |= _of_dictionaries(cells, measurements)
    if measurements:
        effects = _effects(cells, measurements, distance=distance)
        by_chance = pd.DataFrame(columns=list(measurements[0].columns))
        if random:
            by_chance = pd.concat(random, ignore_index=True)
        tables["effects"] = analysis.measurements.random_range(
            effects, by_chance, base=experiment.base.label
        )
    return tables | _untested(cells) | _causes(cells)


def browsable(tables: Tables, *, config: Mapping[str, Any]) -> dict[str, Any]:
    """What a page of all features takes of the tables of a comparison.

    Args:
        tables: As its report wrote them.
        config: Of the run.

    Returns:
        Arguments of ``report.browse``; none where no dictionary was read.
    """
    if "features" not in tables:
        return {}
    by = ("sae", "end")
    effects = tables["effects"]
    # the hook names the dictionary too
    effects = effects.assign(
        sae=effects["hook"].str.rpartition(" at ")[0], end=effects["checkpoint"]
    )
    shift, controls = beside_controls(tables["features"], effects, by=by)
    named = {
        name: tables[name].rename(columns={"of": "end"})
        for name in ("tokens", "examples", "words")
        if name in tables
    }
    return {
        "shift": shift,
        "controls": controls,
        "fidelity": tables.get("fidelity"),
        "tokens": named.get("examples", named.get("tokens")),
        "lens": named.get("words"),
        "by": by,
    }


def sources(experiment: Compare) -> pd.DataFrame:
    """Weights that were compared, and which of them are the same.

    Args:
        experiment: The comparison.

    Returns:
        One row a checkpoint: ``checkpoint``, ``role``, ``given`` as, ``step``, ``weights`` (hash),
        ``note``.
    """
    by_role = {
        Role.BASE: (experiment.base,),
        Role.TUNED: experiment.tuned,
        Role.CONTROL: experiment.control,
    }
    used = {source.label for source in experiment.sources}
    first_of: dict[str, str] = {}
    rows = []
    for role, members in by_role.items():
        for source in members:
            notes = []
            twin = first_of.setdefault(source.weights, source.label)
            if twin != source.label:
                notes.append(f"{SAME_WEIGHTS} {twin}")
            if source.label not in used and notes:
                notes.append("no control of its own")
            elif source.label not in used:
                notes.append("an earlier step of its training; not used")
            if source.note:
                notes.append(source.note)
            about = {"checkpoint": source.label, "role": str(role), "given": source.run}
            about |= {"step": source.step, "weights": source.weights[:16]}
            rows.append({**about, "note": "; ".join(notes)})
    return pd.DataFrame(rows)


def distances(cells: FinishedCells) -> pd.DataFrame:
    """How far every checkpoint is from the base, in the base's own answers.

    Args:
        cells: With the drift of every checkpoint.

    Returns:
        A distance table (``schema``), one row a checkpoint but the base and what was asked.
    """
    experiment = cells.experiment
    roles = {experiment.again.label: Role.AGAIN}
    roles |= {source.label: Role.TUNED for source in experiment.tuned}
    roles |= {source.label: Role.CONTROL for source in experiment.controls}
    files = {Requests.PROMPTS: "drift"}
    if experiment.neutral:
        files[Requests.NEUTRAL] = "neutral"
    parts = []
    for requests, name in files.items():
        kl = kl_by_role(cells.tables("drift", name=name))
        kl = kl.loc[(kl["role"] == ANSWER) & kl["checkpoint"].isin(roles)]
        parts.append(kl.assign(role=kl["checkpoint"].map(roles).map(str), requests=str(requests)))
    table = pd.concat(parts, ignore_index=True)
    table["judges"] = table["requests"] == farthest(table)
    return schema.check(table[list(schema.TABLES["distance"])], "distance")


def farthest(distance: pd.DataFrame) -> Requests:
    """On which requests a finetune went farthest beyond the controls.

    Offsets go as the root of a KL, so roots are compared, the largest of the finetunes with the
    mean of the controls. Whoever chooses the prompts chooses where a finetune is near its base; by
    the larger ratio he cannot choose it for the verdicts.

    Args:
        distance: Rows of a distance table.

    Returns:
        What was asked; the comparison's prompts where there are no controls.

    >>> kl = {"role": ["tuned", "control"] * 2, "estimate": [1.0, 1.0, 0.4, 0.1]}
    >>> table = pd.DataFrame(kl).assign(requests=[Requests.PROMPTS] * 2 + [Requests.NEUTRAL] * 2)
    >>> farthest(table).name
    'NEUTRAL'
    """
    ratios = {}
    for requests in map(Requests, distance["requests"].unique()):
        root = np.sqrt(distance.loc[distance["requests"] == requests, "estimate"])
        by_role = root.groupby(distance["role"])
        if Role.CONTROL not in by_role.groups:
            return Requests.PROMPTS
        ratios[requests] = by_role.max()[Role.TUNED] / by_role.mean()[Role.CONTROL]
    return max(ratios, key=lambda requests: ratios[requests])


def _along_directions(
    cells: FinishedCells,
    measurements: list[pd.DataFrame],
    random: list[pd.DataFrame],
    *,
    distance: dict[str, float] | None,
) -> Tables:
    """Projections on trait vectors: adds what is tested, returns what is only shown."""
    experiment = cells.experiment
    vectors, random_vectors = cells.directions("vectors"), cells.directions("random")
    last, novelty = [], []
    for i in range(vectors.sizes["hook"]):
        acts = cells.data("residuals", name=f"answer {i}")
        measurements.append(analysis.measurements.measure_projections(acts, vectors))
        random.append(analysis.measurements.measure_projections(acts, random_vectors))
        before_answer = cells.data("residuals", name=f"last {i}")
        last.append(analysis.measurements.measure_projections(before_answer, vectors))
        novelty.append(span_share(acts, vectors, random_vectors, base=experiment.base.label))
    shares = pd.concat(novelty, ignore_index=True)
    shares = shares.loc[shares["checkpoint"] != experiment.again.label]
    return {"shift": _effects(cells, last, distance=distance), "novelty": shares}


def _of_dictionaries(cells: FinishedCells, measurements: list[pd.DataFrame]) -> Tables:
    """Fidelity of every dictionary; of those that may be read, features: adds what is tested."""
    fidelity, shifts = [], []
    for sae in cells.experiment.sae:
        if not cells.has_all("features", sae.name):
            continue
        fits = cells.tables("features", sae.name, name="fidelity").assign(sae=sae.name)
        fidelity.append(fits)
        if Fit.UNUSABLE in set(fits["verdict"]):
            continue
        feats = cells.data("features", sae.name, name="features")
        measurements.append(analysis.measurements.measure_features(feats))
        for end in cells.experiment.ends:
            shift = analysis.feature_shift(
                feats, before=cells.experiment.base.label, after=end.label
            )
            shifts.append(shift.assign(sae=sae.name, end=end.label))
    tables: Tables = {}
    if fidelity:
        tables["fidelity"] = pd.concat(fidelity, ignore_index=True)
    if shifts:
        tables["features"] = pd.concat(shifts)
    return tables


def _effects(
    cells: FinishedCells,
    measurements: list[pd.DataFrame],
    *,
    distance: dict[str, float] | None,
) -> pd.DataFrame:
    experiment = cells.experiment
    table = pd.concat(measurements, ignore_index=True)
    primary = []
    if experiment.primary and Family.ANSWERS in set(table["family"]):
        primary = [(source.label, experiment.primary) for source in experiment.ends]
    return analysis.effects(
        table,
        base=experiment.base.label,
        tuned=[source.label for source in experiment.tuned],
        controls=[source.label for source in experiment.controls],
        again=experiment.again.label,
        primary=primary,
        primary_in=Family.ANSWERS,
        distance=distance,
        seed=experiment.seeds[0],
    )


def _untested(cells: FinishedCells) -> Tables:
    """What is shown and not tested."""
    experiment, tables = cells.experiment, {}
    if cells.has_all("drift"):
        tables["drift"] = kl_by_role(cells.tables("drift", name="drift"))
    if cells.has_all("samples"):
        tables["samples"] = cells.tables("samples", name="samples")
        if all(cells.has_file(("samples", label), "trait_bits.parquet") for label in cells.labels):
            bits = cells.tables("samples", name="trait_bits")
            tables["sound"] = analysis.measurements.sound_shift(bits, base=experiment.base.label)
    traits = [("trait", file.name) for file in experiment.traits]
    if traits and cells.has(*traits):
        parts = [cells.table(key, "separability") for key in traits]
        tables["separability"] = pd.concat(parts, ignore_index=True)
    ends = [("lens", source.label) for source in experiment.ends]
    if ends and cells.has(*ends):
        parts = [cells.table(key, "lens").assign(checkpoint=key[-1]) for key in ends]
        tables["lens"] = pd.concat(parts, ignore_index=True)
    for name in ("tokens", "examples", "words"):
        keys = [("pages", sae.name) for sae in experiment.sae]
        keys = [key for key in keys if cells.has_file(key, f"{name}.parquet")]
        if keys:
            parts = [cells.table(key, name).assign(sae=key[-1]) for key in keys]
            tables[name] = pd.concat(parts, ignore_index=True)
    return tables


def _causes(cells: FinishedCells) -> Tables:
    """What carries the effect of each finetune, of those whose search is finished."""
    parts: dict[str, list[pd.DataFrame]] = {}
    for label, search in cells.experiment.searches.items():
        for name, table in causes.summarize(search, cells.store).items():
            if name != "sources":
                parts.setdefault(name, []).append(table.assign(of=label))
    together = {name: pd.concat(tables, ignore_index=True) for name, tables in parts.items()}
    if "carriers" in together:
        together["carriers"] = analysis.in_one_family(together["carriers"])
    return together
