"""What does one cell of a search for causes do?

``questions`` settles what is asked and which directions are candidates; ``moved`` asks, on the
questions that choose, what one finetune moved and which features matter; ``edits`` removes and adds
every candidate, and measures on the other questions.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from persona_interp import analysis, readers, record
from persona_interp.analysis.coherence import Excess, excess, of_edits, search
from persona_interp.experiments.causes.candidates import (
    DIRECTION,
    Candidate,
    Part,
    at_all_sites,
    direction_candidates,
    feature_candidates,
    joint_candidates,
    random_candidates,
    within,
)
from persona_interp.experiments.causes.cases import Case, add, patches, remove, table_of
from persona_interp.experiments.causes.config import MOST_SIZE
from persona_interp.experiments.causes.inputs import (
    CHOICE,
    TEST,
    WHERE,
    Asked,
    half,
    judge_of,
    measure,
    name_owners,
    open_asked,
    open_sae,
    read_features,
    read_texts,
    trait_directions,
    trait_items,
    trait_prompts,
    world_directions,
    world_items,
)
from persona_interp.experiments.inputs import unchanged_path
from persona_interp.experiments.sources import checkpoint_of
from persona_interp.schema.words import UNEDITED, Group, Way
from persona_interp.tables import (
    concat,
    read_directions,
    read_table,
    write_dataset,
    write_directions,
    write_table,
)
from persona_interp.worlds import World

Needs = tuple[Path, ...]
COLUMNS = ["dictionary", "feature", "before", "after", "effect", "lo", "hi", "share"]
"""Of ``ranked.parquet``."""
TRIED = ["candidate", "sites", "strength", "excess", "excess_lo", "excess_hi", "n", "coherence"]
"""Of ``strengths.parquet``."""


def questions(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """Settle what is asked, and find directions of everybody in the base.

    Writes ``items.parquet`` (what behavior is measured on), ``prompts.parquet`` (whose answers are
    drawn), ``trait.json`` (by what they are judged), ``directions.nc``, ``owners.parquet``, and
    random directions, ``random (norm).nc`` and ``random (variance).nc``.
    """
    base, hooks = checkpoint_of(config["base"]), config["hooks"]
    if config["world"]:
        world = World.from_dict(config["world"])
        items, prompts = world_items(world)
        trait = judge_of(world)
        directions = world_directions(world, base, hooks)
    else:
        world = None
        files = {file["name"]: file for file in config["traits"]}
        trait = readers.read_trait(unchanged_path(files[config["target"]]))
        items, prompts = trait_items(config, base, trait), trait_prompts(trait)
        directions = {} if config["directions"] else trait_directions(config, base, items)
    if config["directions"]:
        given = read_directions(unchanged_path(config["directions"]))
        directions = {"given": given.sel(hook=hooks)}
    every, owners = name_owners(directions)
    few = prompts.groupby("split", sort=False).head(config["prompts"]).reset_index(drop=True)
    write_table(items, out / "items.parquet")
    write_table(few, out / "prompts.parquet")
    readers.write_trait(trait, out / "trait.json")
    write_directions(every, out / "directions.nc")
    write_table(owners, out / "owners.parquet")
    asked = Asked(world, items, few, trait, every, owners, {})
    tokens = _tokens([base], asked, hooks)
    for kind in (Group.NORM, Group.VARIANCE):
        by_tokens = {"match": "variance", "acts": tokens} if kind == Group.VARIANCE else {}
        drawn = record.random_directions(
            every, n=config["n_random"] * MOST_SIZE, seed=config["seed"], **by_tokens
        )
        write_directions(drawn, out / f"{kind}.nc")


def moved(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """Find, on the questions that choose, what one finetune moved and which features matter.

    Needs questions. Writes ``shift.nc`` (mean residual of the tuned model minus the base's),
    ``axes.nc`` (along which it moved most, token by token), ``features <i>.nc`` of every
    dictionary, and ``ranked.parquet``: what taking each of the most moved features out of the tuned
    model takes of the effect.
    """
    asked = open_asked(config, needs[0])
    base, tuned = checkpoint_of(config["base"]), checkpoint_of(config["tuned"])
    shifts, axes = [], []
    for acts in _tokens([base, tuned], asked, config["hooks"]):
        difference = (acts["act"][1] - acts["act"][0].to_numpy()).to_numpy().astype(np.float64)
        # the axes of the second moment, not of the covariance: the mean is what moved too
        _, vectors = np.linalg.eigh(difference.T @ difference)
        shifts.append(_directions(difference.mean(0)[None], ["shift"], acts.attrs["hook"]))
        main = vectors[:, ::-1].T[: config["axes"]]
        names = [f"axis {i + 1}" for i in range(len(main))]
        axes.append(_directions(main, names, acts.attrs["hook"]))
    write_directions(concat(shifts, "hook"), out / "shift.nc")
    write_directions(concat(axes, "hook"), out / "axes.nc")
    ranked = []
    for i, file in enumerate(config["sae"]):
        sae = open_sae(file)
        feats = record.features(
            [base, tuned], read_texts(asked), dictionary=sae, position="mean", where=WHERE
        )
        write_dataset(feats, out / f"features {i}.nc")
        ranked.append(_rank(config, asked, sae, feats))
    table = pd.concat([pd.DataFrame(columns=COLUMNS), *ranked], ignore_index=True)
    write_table(table.astype({"dictionary": str, "feature": int}), out / "ranked.parquet")


def edits(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """Remove every candidate from the tuned model, add it to the base, and measure.

    Needs questions, moved, then moved of all finetunes and of all controls. Writes
    ``cases.parquet`` (every edit), ``measured.parquet`` (behavior under it), ``text.parquet``
    (answers, judged by the base), ``strengths.parquet`` (what pushes were tried).
    """
    asked = open_asked(config, needs[0])
    base, tuned = checkpoint_of(config["base"]), checkpoint_of(config["tuned"])
    shift = read_directions(needs[1] / "shift.nc").sel(name="shift")
    shifts = {str(h): shift.sel(hook=h).to_numpy().astype(float) for h in shift["hook"].values}
    candidates = _candidates(config, asked, needs)
    removed, added = _removed(config, asked, candidates, base), []
    added += _added(config, asked, candidates, shifts)
    pushed, strengths = _pushed(config, asked, candidates, shifts)
    added += pushed
    added += patches(tuned, _sites(config["hooks"]), way=Way.ADDED)
    items, tables, texts = half(asked.items, TEST), [], []
    for checkpoint, cases in ((tuned, removed), (base, added)):
        named = {case.row["edit"]: case.edits for case in cases}
        tables.append(measure(checkpoint, items, asked.world, named))
        spoken = {
            case.row["edit"]: case.edits for case in cases if _is_spoken(case, config["n_spoken"])
        }
        texts.append(_text(config, asked, checkpoint, spoken, split=TEST))
    cases = table_of([*removed, *added], of=tuned.label)
    text = pd.concat(texts, ignore_index=True)
    # the finetune's own text may surprise the base, and is coherent all the same
    ends = [base.label, tuned.label]
    coherence = of_edits(text, checkpoints=ends, limit=config["told_coherent"])
    cases = cases.merge(coherence, on="edit", how="left")
    write_table(cases, out / "cases.parquet")
    write_table(pd.concat(tables, ignore_index=True), out / "measured.parquet")
    write_table(text, out / "text.parquet")
    write_table(strengths, out / "strengths.parquet")


def _candidates(config: dict[str, Any], asked: Asked, needs: Needs) -> list[Candidate]:
    """All that is tried at one site or at all together, controls among them."""
    saes = [open_sae(file) for file in config["sae"]]
    controls = config.get("controls", [])
    finetunes, others = needs[2 : len(needs) - len(controls)], needs[len(needs) - len(controls) :]
    tables = [
        read_table(folder / "ranked.parquet").assign(of=str(i))
        for i, folder in enumerate(finetunes)
    ]
    ranked = analysis.causal_ranking(pd.concat(tables, ignore_index=True), n_tuned=len(tables))
    axes = read_directions(needs[1] / "axes.nc")
    single = direction_candidates(
        asked.directions, asked.owners, axes, sets=config["axes"], target=config["target"]
    )
    feats = read_features(needs[1], len(saes))
    sets = {"sets": config["sets"], "n_matched": config["n_matched"]}
    single += feature_candidates(saes, ranked, feats, **sets)
    single += joint_candidates(single)
    for label, folder in zip(controls, others, strict=True):
        single += _axes_of(label, folder, config["axes"])
    return [*single, *at_all_sites(single, config["hooks"])]


def _axes_of(label: str, folder: Path, sizes: list[int]) -> list[Candidate]:
    """Axes along which a control moved most, of its ``moved`` cell; pushed the way it went."""
    axes, candidates = read_directions(folder / "axes.nc"), []
    shift = read_directions(folder / "shift.nc").sel(name="shift")
    for hook in map(str, axes["hook"].values):
        for size in sizes:
            part = Part(hook, axes.sel(hook=hook).to_numpy()[:size].astype(np.float64))
            toward = within(part, shift.sel(hook=hook).to_numpy().astype(np.float64))
            name = f"{label}: {size} axes" if size > 1 else f"{label}: main axis"
            candidates.append(Candidate(name, DIRECTION, Group.CONTROL, (part,), toward=(toward,)))
    return candidates


def _removed(
    config: dict[str, Any], asked: Asked, candidates: list[Candidate], base: Any
) -> list[Case]:
    """Everything taken out of the tuned model, random sets of every size beside it."""
    sites = {tuple(part.hook for part in one.parts) for one in candidates}
    sizes = {one.size for one in candidates if one.group == Group.CANDIDATE}
    random = random_candidates(asked.random, sites=sorted(sites), sizes=sizes, n=config["n_random"])
    return [*remove([*candidates, *random]), *patches(base, sorted(sites), way=Way.REMOVED)]


def _added(
    config: dict[str, Any], asked: Asked, candidates: list[Candidate], shifts: dict[str, Any]
) -> list[Case]:
    """Everything added to the base as far as the finetune went; others' as far as the target's."""
    cases: list[Case] = []
    lengths: dict[str, float] = {}
    random = {"random": asked.random, "n_random": config["n_random"]}
    for one in candidates:
        if one.group == Group.CANDIDATE:
            cases += add(one, shifts, way=Way.ADDED, **random)
            if one.name.startswith(f"{config['target']}:"):
                for part in one.parts:
                    length = float(np.linalg.norm(within(part, shifts[part.hook])))
                    lengths[part.hook] = max(lengths.get(part.hook, 0.0), length)
    for one in candidates:
        if one.group in (Group.OTHER, Group.CONTROL):
            ways = one.toward or tuple(part.rows.mean(0) for part in one.parts)
            along = {
                part.hook: _rescale(way, lengths[part.hook])
                for part, way in zip(one.parts, ways, strict=True)
            }
            cases += add(one, shifts, way=Way.ADDED, along=along)
    return cases


def _pushed(
    config: dict[str, Any], asked: Asked, candidates: list[Candidate], shifts: dict[str, Any]
) -> tuple[list[Case], pd.DataFrame]:
    """Each candidate at one site pushed as far as text is told coherent, and as far the other way.

    Beside the cases, every strength that was tried.
    """
    base, cases = checkpoint_of(config["base"]), []
    own = _text(config, asked, base, {}, split=CHOICE)
    random = {"random": asked.random, "n_random": config["n_random"]}
    parts = []
    for one in candidates:
        if one.group != Group.CANDIDATE or len(one.parts) > 1:
            continue

        def beyond(strength: float, one: Candidate = one) -> Excess:
            pushes = add(one, shifts, way=Way.PUSHED, strength=strength)
            named = {case.row["edit"]: case.edits for case in pushes}
            text = _text(config, asked, base, named, split=CHOICE)
            return excess(text.loc[text["edit"] != UNEDITED], own)

        if not add(one, shifts, way=Way.PUSHED):
            continue
        found = search(beyond, limit=config["told_coherent"])
        parts.append(found.tried.assign(candidate=one.name, sites=one.sites))
        if math.isfinite(found.told):
            push = {"way": Way.PUSHED, "strength": found.told, "most": found.most}
            cases += add(one, shifts, **push, **random)
            cases += add(one, shifts, way=Way.OPPOSITE, strength=-found.told)
    strengths = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=TRIED)
    return cases, strengths.loc[:, TRIED]


def _rank(config: dict[str, Any], asked: Asked, sae: Any, feats: xr.Dataset) -> pd.DataFrame:
    """What each of the most moved features takes of the effect, net of what it does to the base."""
    base, tuned = checkpoint_of(config["base"]), checkpoint_of(config["tuned"])
    before, after = feats["act"].mean("prompt").to_numpy().astype(np.float64)
    order = np.argsort(-np.abs(after - before), kind="stable")[: config["n_features"]]
    tried = [int(j) for j in order if after[j] != before[j]]
    if not tried:
        return pd.DataFrame()
    items = half(asked.items, CHOICE)
    off = {f"feature {j}": record.ablate(sae, features=j, name=f"feature {j}") for j in tried}
    # in the base too: a feature without which neither model speaks is no cause
    parts = [measure(checkpoint, items, asked.world, off) for checkpoint in (tuned, base)]
    measured = pd.concat(parts, ignore_index=True)
    table = analysis.net_effects(measured, base=base.label, tuned=tuned.label, world=asked.world)
    table = table.assign(dictionary=sae.name, feature=tried)
    table = table.assign(before=before[tried], after=after[tried])
    return table.loc[:, COLUMNS]


def _text(
    config: dict[str, Any], asked: Asked, checkpoint: Any, named: Any, *, split: str
) -> pd.DataFrame:
    """Answers drawn under each edit, how they show the target and how they surprise the base."""
    base, prompts = checkpoint_of(config["base"]), half(asked.prompts, split)
    draw = {name: config[name] for name in ("max_new_tokens", "seed")}
    answers = record.answers(checkpoint, prompts, edits=named, n=config["draws"], **draw)
    if "edit" not in answers:
        answers = answers.assign(edit=UNEDITED)
    nats = record.surprisal(base, answers) * math.log(2)
    columns = ["checkpoint", "edit", "prompt", "question", "sample"]
    table = answers[[*columns, "answer"]].assign(nats=nats)
    if not bool((answers["answer"] != "").to_numpy().any()):
        return table.assign(logodds=np.nan)
    bits = record.trait_bits(base, answers, {config["target"]: asked.trait})
    bits = bits.assign(logodds=(bits["bits_pos"] - bits["bits_neg"]) / bits["n_tokens"])
    keys = ["edit", "prompt", "sample"]
    return table.merge(bits[[*keys, "logodds"]], on=keys, how="left")


def _is_spoken(case: Case, n_random: int) -> bool:
    """Whether text is drawn under this edit: a patch is of given tokens, a push has no null."""
    if case.row["group"] in (Group.NORM, Group.VARIANCE):
        return case.draw < n_random and case.row["how"] in (Way.REMOVED, Way.ADDED)
    return case.row["group"] == Group.CANDIDATE


def _tokens(checkpoints: list[Any], asked: Asked, hooks: list[str]) -> list[xr.Dataset]:
    """Residuals of every token that an edit would be on at, as if each were a prompt."""
    every = record.activations(
        checkpoints, read_texts(asked), hook=hooks, position="all", where=WHERE
    )
    parts = []
    for acts in every:
        values = acts["act"].to_numpy()
        data = xr.Dataset({"act": (("checkpoint", "prompt", "d_model"), values)})
        names = {"checkpoint": acts["checkpoint"].values, "prompt": np.arange(values.shape[1])}
        about = {**acts.attrs, "kind": "activations"}
        parts.append(data.assign_coords(names).assign_attrs(about))
    return parts


def _directions(rows: np.ndarray, names: list[str], hook: str) -> xr.DataArray:
    array = xr.DataArray(rows[:, None].astype(np.float32), dims=("name", "hook", "d_model"))
    return array.assign_coords(name=names, hook=[hook]).assign_attrs(kind="directions")


def _rescale(vector: np.ndarray, length: float) -> np.ndarray:
    """A vector at this length; a control that did not move stays where it is."""
    own = float(np.linalg.norm(vector))
    return vector * (length / own) if own else vector


def _sites(hooks: list[str]) -> list[tuple[str, ...]]:
    """Sets of hooks: each alone, and all of several."""
    alone = [(hook,) for hook in hooks]
    return [*alone, tuple(hooks)] if len(hooks) > 1 else alone
