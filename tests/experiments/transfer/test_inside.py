"""The cells that look inside, on the toy run: files as promised, numbers as computed by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from persona_interp import analysis, dictionaries, record, schema
from persona_interp.analysis.activity import matched_features
from persona_interp.analysis.ceiling import CEILING
from persona_interp.experiments.transfer.config import Transfer
from persona_interp.experiments.transfer.inside.config import (
    ADDED_PATCH,
    BRINGS,
    METHODS,
    N_FAMILY,
    N_NEIGHBORS,
    N_PAGES,
    PATCH,
    SPAN,
)
from persona_interp.experiments.transfer.inside.sources import top_features
from persona_interp.models import Trajectory
from persona_interp.schema.words import Part
from persona_interp.store import Store
from persona_interp.tables import read_dataset, read_directions, read_table
from persona_interp.worlds import World
from tests.experiments.transfer.conftest import HOOK, LR

Folders = dict[str, Path]
Tables = dict[str, pd.DataFrame]


def everybody(world: World) -> set[str]:
    return {persona.name for persona in world.personas}


def readout(folder: Path, name: str) -> xr.DataArray:
    return read_dataset(folder / f"{name}.nc")["readout"]


def vector(folder: Path) -> np.ndarray:
    """The target's vector by minimal pairs."""
    return read_directions(folder / "minimal pair.nc").sel(name="john").values[0].astype(float)


# ---- personas ----


def test_documents_are_read_before_every_value_but_their_first(
    folders: Folders, world: World
) -> None:
    acts = schema.check(read_dataset(folders["personas"] / "acts.nc"), "activations")
    assert acts.attrs["hook"] == HOOK and acts.sizes["checkpoint"] == 1
    assert int(acts["order"].min()) == 1
    assert set(acts["split"].values) == {"train", "test"} and set(
        acts["persona"].values
    ) <= everybody(world)
    halves = (
        pd.DataFrame({"doc": acts["doc"].values, "split": acts["split"].values})
        .groupby("doc")["split"]
        .nunique()
    )
    assert (halves == 1).all(), "a document is in one half"
    for name in ("features", "random_features"):
        feats = schema.check(read_dataset(folders["personas"] / f"{name}.nc"), "features")
        assert feats["prompt"].values.tolist() == acts["prompt"].values.tolist()


def test_vectors_are_those_of_what_was_read(folders: Folders, world: World) -> None:
    folder = folders["personas"]
    acts, named = (read_dataset(folder / f"{name}.nc") for name in ("acts", "named"))
    learned = analysis.parts(acts) == Part.CHOICE
    assert 0 < learned.sum() < (acts["split"] == "train").sum()
    train = acts["act"][0].sel(prompt=learned).astype(float)
    means = train.groupby("persona").mean().to_pandas()
    expected = means.loc["john"] - means.drop(index="john").mean()
    vectors = read_directions(folder / "mean difference.nc")
    np.testing.assert_allclose(vectors.sel(name="john")[0], expected, atol=1e-5)
    table = pd.DataFrame(named["act"].values[0].astype(float)).assign(
        persona=named["persona"].values
    )
    means = table.groupby("persona").mean()  # every question was asked of everybody
    assert sorted(means.index) == sorted(everybody(world))
    expected = means.loc["john"] - means.drop(index="john").mean()
    vectors = read_directions(folder / "minimal pair.nc")
    np.testing.assert_allclose(vectors.sel(name="john")[0], expected, atol=1e-5)


@pytest.mark.parametrize("method", [*METHODS, "traits", "trait pairs"])
def test_every_method_has_its_file_of_directions(
    folders: Folders, world: World, method: str
) -> None:
    vectors = read_directions(folders["personas"] / f"{method}.nc")
    schema.check(vectors, "directions")
    assert vectors["hook"].values.tolist() == [HOOK]
    assert vectors.attrs["kind"] == "directions" and vectors.attrs["method"]
    assert np.isfinite(vectors).all() and (np.linalg.norm(vectors, axis=-1) > 0).all()
    names = {"traits": set(map(str, world.traits)), "trait pairs": set(world.topics["place"])}
    expected = names.get(method, everybody(world))
    assert set(vectors["name"].values) <= expected
    if method in ("minimal pair", "trait pairs"):  # these read prompts for every name
        assert set(vectors["name"].values) == expected


@pytest.mark.parametrize("scores", ["scores", "random_scores"])
def test_top_features_are_the_best_of_the_train_documents(folders: Folders, scores: str) -> None:
    table = schema.check(read_table(folders["personas"] / f"{scores}.parquet"), "scores")
    mine = table.query("name == 'john'").set_index("feature")["auroc_chosen"]
    top = top_features(folders["personas"], scores, "john", k=N_FAMILY)
    assert len(top) == min(N_FAMILY, len(mine)) and all(type(j) is int for j in top)
    assert [mine[j] for j in top] == sorted(mine, reverse=True)[:N_FAMILY]
    assert top_features(folders["personas"], scores, "john", k=1) == top[:1]


def test_matched_features_fire_as_often(folders: Folders) -> None:
    feats = read_dataset(folders["personas"] / "features.nc")
    firing = (feats["act"].values > 0).mean(axis=(0, 1))
    top = top_features(folders["personas"], "scores", "john", k=N_FAMILY)
    others = matched_features(feats, top[0], k=3, without=top)
    assert len(others) == 3 and not set(others) & set(top)
    apart = np.abs(firing - firing[top[0]])
    rest = np.delete(apart, [*top, *others])
    assert apart[others].tolist() == sorted(apart[others]) and apart[others].max() <= rest.min()
    assert len(matched_features(feats, top[0], k=1_000, without=[])) == len(firing) - 1


# ---- causes ----


def test_every_edit_is_recorded_on_untaught_nameless_test_prompts(
    folders: Folders, world: World
) -> None:
    behavior = schema.check(read_table(folders["causes"] / "behavior.parquet"), "behavior")
    edits = read_table(folders["causes"] / "edits.parquet")
    assert edits["edit"].is_unique
    by_checkpoint = behavior.groupby("step")["edit"].agg(set).to_dict()
    both = {"none", *edits["edit"]}
    assert by_checkpoint == {0: both, 4: both}, "every edit is made of base and tuned"
    assert set(behavior["topic"]) == set(world.topics) - {"place"}
    assert set(behavior["context"]) == {"nameless"} and set(behavior["split"]) == {"test"}
    assert behavior.groupby(["step", "edit"]).size().nunique() == 1, "all were asked alike"


def test_every_control_is_there(toy: Transfer, folders: Folders, world: World) -> None:
    edits = read_table(folders["causes"] / "edits.parquet").groupby("group")["edit"].agg(list)
    top = top_features(folders["personas"], "scores", "john", k=N_FAMILY)
    features = ["top feature", f"top {N_FAMILY} features", "random-decoder feature"]
    assert edits["method"] == [*features, *METHODS, "PCA of the difference", SPAN]
    assert edits["feature"] == [f"feature {j}" for j in top]
    assert edits["patch"] == [PATCH] and edits["added patch"] == [ADDED_PATCH]
    assert edits["added"] == ["john added"]
    others = everybody(world) - {"john"}
    assert sorted(edits["added persona"]) == sorted(f"{name} added" for name in others)
    assert sorted(edits["persona"]) == sorted(everybody(world) - {"john"})
    assert len(edits["random (norm)"]) == len(edits["random (variance)"]) == toy.n_random
    assert len(edits["active"]) == N_FAMILY
    assert len(edits["matched"]) == N_FAMILY and not {f"matched feature {j}" for j in top} & set(
        edits["matched"]
    )


def test_one_feature_alone_is_the_top_feature(folders: Folders) -> None:
    behavior = read_table(folders["causes"] / "behavior.parquet").query("step == 4")
    logprobs = behavior.groupby("edit", sort=False)["logprob"].agg(np.array)
    top = top_features(folders["personas"], "scores", "john", k=1)[0]
    np.testing.assert_allclose(logprobs["top feature"], logprobs[f"feature {top}"], atol=1e-5)
    assert np.abs(logprobs["minimal pair"] - logprobs["none"]).max() > 1e-3, (
        "an edit does something"
    )


@pytest.mark.parametrize(
    ("name", "of"), [("hidden", "personas"), ("neutral", "lesson"), ("control", "unrelated")]
)
def test_readouts_are_those_of_the_prompts(folders: Folders, name: str, of: str) -> None:
    read = readout(folders["causes"], name)
    acts, feats = (read_dataset(folders[of] / f"{kind}.nc") for kind in ("acts", "features"))
    assert read["prompt"].values.tolist() == acts["prompt"].values.tolist()
    v = vector(folders["personas"])
    h = acts["act"].values.astype(float)
    np.testing.assert_allclose(
        read.sel(name="minimal pair"), (h - h[0].mean(0)) @ v / (v @ v), atol=1e-3
    )
    top = top_features(folders["personas"], "scores", "john", k=N_FAMILY)
    act = feats["act"].sel(feature=top).transpose("checkpoint", "prompt", "feature").values
    np.testing.assert_allclose(read.sel(name="top feature"), act[..., 0], atol=1e-6)
    np.testing.assert_allclose(read.sel(name=f"top {N_FAMILY} features"), act.sum(-1), atol=1e-5)
    assert (
        read["name"].values.tolist() == readout(folders["causes"], "hidden")["name"].values.tolist()
    )


def test_pages_of_the_top_features(folders: Folders, world: World) -> None:
    top = top_features(folders["personas"], "scores", "john", k=N_PAGES)
    tokens = schema.check(read_table(folders["causes"] / "tokens.parquet"), "tokens")
    assert set(tokens["feature"]) == set(top) and tokens["checkpoint"].nunique() == 2
    lens = read_table(folders["causes"] / "lens.parquet")
    assert lens.groupby("of", sort=False).size().to_dict() == {
        **{str(j): 20 for j in top},
        "shift": 20,
    }
    decoder = (
        dictionaries.open_dictionary(folders["dictionary"] / "dictionary")
        .W_dec.numpy()
        .astype(float)
    )
    unit = decoder / np.linalg.norm(decoder, axis=1, keepdims=True)
    for j, part in read_table(folders["causes"] / "nearest.parquet").groupby("of"):
        cosines = unit @ unit[int(str(j))]
        cosines[int(str(j))] = -np.inf
        np.testing.assert_allclose(part["cosine"], np.sort(cosines)[::-1][:N_NEIGHBORS], atol=1e-5)
        np.testing.assert_allclose(cosines[part["feature"]], part["cosine"], atol=1e-5)
    refit = read_table(folders["causes"] / "refit.parquet")
    assert sorted(refit["name"]) == sorted(everybody(world))
    assert refit["cosine"].between(-1, 1).all() and (refit["norm_ratio"] > 0).all()


def test_the_profile_is_of_the_target(folders: Folders) -> None:
    table = schema.check(read_table(folders["profile"] / "profile.parquet"), "profile")
    assert set(table["name"]) == {"john"} and set(table["hook"]) == {HOOK}
    assert {"system", "user", "assistant"} <= set(table["role"]) and table[
        "checkpoint"
    ].nunique() == 1


def test_layers_are_profiled_from_the_first_to_the_last(toy: Transfer) -> None:
    cells = replace(toy, hooks=("blocks.10.hook_out", "blocks.2.hook_out")).seed_cells(0)
    needs = cells["profile", LR].needs
    assert [cell.label.split()[2] for cell in needs[2:]] == [
        "blocks.2.hook_out",
        "blocks.10.hook_out",
    ]


# ---- tables ----


def test_tables_from_the_inside_are_as_the_schema_says(tables: Tables) -> None:
    kinds = {"directions": "direction_shift", "features": "effects"}
    names = ["directions", "features", "scores", "causes", "baselines", "contexts", "cosines"]
    names += ["tokens", "profile", "fidelity", "feature_shift", "roles"]
    for name in names:
        schema.check(tables[name], kinds.get(name, name))
    for name in (*names, "cooccurrence", "lens", "nearest", "refit", "stated", "chance"):
        assert set(tables[name]["seed"]) == {0} and set(tables[name]["lr"]) == {LR}
    assert set(tables["directions"]["arm"]) == {"lesson", "unrelated lesson"}
    assert set(tables["directions"]["method"]) == set(METHODS)
    assert (
        set(tables["cosines"]["method"])
        == set(tables["cooccurrence"]["method"])
        == {*METHODS, "traits"}
    )
    assert set(tables["contexts"]["context"]) == {"nameless", "named"}


def test_the_shift_towards_the_target_by_hand(folders: Folders, tables: Tables) -> None:
    mine = (
        tables["directions"].query("method == 'minimal pair' and name == 'john'").set_index("arm")
    )
    for arm, folder in (("lesson", folders["lesson"]), ("unrelated lesson", folders["unrelated"])):
        act = read_dataset(folder / "acts.nc")["act"].values.astype(float)
        shifts = act[-1] - act[0]
        shift, n = shifts.mean(0), len(shifts)
        v = vector(folders["personas"])
        row = mine.loc[arm]
        products = shifts @ shifts.T
        length = np.sqrt((products.sum() - np.trace(products)) / (n * (n - 1)))
        assert row.cosine == pytest.approx(shift @ v / length / np.linalg.norm(v), abs=1e-5)
        assert row.projection == pytest.approx(shift @ v / (v @ v), rel=1e-4)


def test_scores_name_the_best_features(folders: Folders, tables: Tables) -> None:
    mine = tables["scores"].query("name == 'john'")
    top = top_features(folders["personas"], "scores", "john", k=N_FAMILY)
    assert mine["feature"].tolist() == top[: len(mine)], "those above chance"
    assert mine["rank"].tolist() == list(range(1, len(mine) + 1))
    assert (tables["scores"].query("name != 'john'").groupby("name").size() == 1).all()


def test_stated_values_are_held_by_their_holders(world: World, tables: Tables) -> None:
    stated = tables["stated"]
    assert len(stated) == len(world.topics["place"]) * len(everybody(world))
    holders = stated.loc[stated["holds"]].groupby("name")["other"].agg(sorted).to_dict()
    assert holders == {v: sorted(world.holders(f"place={v}")) for v in holders}
    assert holders["beach"] == ["john"], "nobody writes about sam"
    n = tables["cooccurrence"].set_index("method")["n"]
    written = len(everybody(world) - {"sam"})
    assert n["minimal pair"] == written * (written - 1) / 2, "pairs of those who are written about"


def test_the_share_of_the_baselines_is_that_of_the_causes(shared_out: Tables) -> None:
    causes, baselines = (
        shared_out["causes"].set_index("edit"),
        shared_out["baselines"].set_index("method"),
    )
    methods = causes.index[causes["group"] == "method"]
    assert sorted(baselines.index) == sorted([*methods, "exact Bayes", "random"])
    for column, theirs in (("share", "share"), ("share_lo", "lo"), ("share_hi", "hi")):
        np.testing.assert_allclose(baselines.loc[methods, column], causes.loc[methods, theirs])
    assert baselines.loc[methods, "share"].notna().all()
    random = causes.loc[causes["group"] == "random (norm)", "share"]
    assert baselines.loc["random", "share"] == pytest.approx(random.mean())
    causes = causes.loc[~causes["group"].isin(BRINGS)]
    removed = (causes["tuned"] - causes["edited"]) / (causes["tuned"] - causes["base"])
    np.testing.assert_allclose(causes["share"], removed)


def test_the_rise_of_the_baselines_by_hand(folders: Folders, tables: Tables) -> None:
    hidden, neutral, control = (
        readout(folders["causes"], name) for name in ("hidden", "neutral", "control")
    )
    part = analysis.parts(hidden)
    used = hidden[:, 0].sel(prompt=part != Part.UNUSED)
    documents = used.to_pandas().T.groupby(used["doc"].values).mean()
    rows = tables["baselines"].set_index("method")
    for method in rows.index.drop(["random", CEILING]):
        before, after, drifted = (
            read.sel(name=method).values for read in (neutral[:, 0], neutral[:, -1], control[:, -1])
        )
        groups = [documents[method].to_numpy(), before, after, drifted]
        center = np.mean([group.mean() for group in groups])
        unit = np.sqrt(np.mean([((group - center) ** 2).mean() for group in groups]))
        rises = {"rise": (after - before) / unit, "rise_control": (drifted - before) / unit}
        for name, rise in rises.items():
            assert rows.loc[method, name] == pytest.approx(rise.mean())
        assert rows.loc[method, "excess"] == pytest.approx(
            (rises["rise"] - rises["rise_control"]).mean()
        )
    assert set(rows["n_prompts"]) == {50}
    assert set(rows["n_documents"]) == {len(set(hidden["doc"].values[part == Part.OTHER]))}


def test_what_the_base_answers_is_what_its_documents_left(
    toy: Transfer, finished: Store, world: World
) -> None:
    """It is taken from the documents' cell; asked again, the lesson's first checkpoint agrees."""
    folder = finished.path(toy.seed_cells(0)["lesson", "lesson", LR])
    first = Trajectory.open(folder / "model").first
    for name in ("behavior", "bystanders"):
        table = schema.check(read_table(folder / f"{name}.parquet"), "behavior")
        assert table["step"].is_monotonic_increasing
        known = table.loc[table["step"] == 0].reset_index(drop=True)
        contexts = tuple(dict.fromkeys(table["context"]))
        again = record.behavior(first, world.probes(contexts=contexts))
        keys = [c for c in again if c not in ("logprob", "answer_mass")]
        pd.testing.assert_frame_equal(known[keys], again[keys])
        np.testing.assert_allclose(known["logprob"], again["logprob"], atol=1e-3)
