"""Edits of both models, rivals, and control lessons on the toy run: numbers as computed by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from persona_interp import dictionaries, schema
from persona_interp.experiments.transfer.config import Transfer
from persona_interp.experiments.transfer.inside.config import ADDED_PATCH, BRINGS, PATCH
from persona_interp.experiments.transfer.inside.sources import top_features
from persona_interp.schema.words import Place
from persona_interp.tables import read_dataset
from tests.experiments.transfer.conftest import HOOK, LR

Folders = dict[str, Path]
Tables = dict[str, pd.DataFrame]


def test_an_edit_of_the_base_and_a_patch_by_hand(shared_out: Tables) -> None:
    causes = shared_out["causes"].set_index("edit")
    patch, vector = causes.loc[PATCH], causes.loc["minimal pair"]
    assert patch["share_of_patch"] == 1 and patch["share_net"] == pytest.approx(patch["share"])
    assert patch["other_edited"] == pytest.approx(patch["base"]), "its own residual changes nothing"
    assert vector["share_of_patch"] == pytest.approx(vector["share"] / patch["share"])
    total = vector["tuned"] - vector["base"]
    on_base = (vector["base"] - vector["other_edited"]) / total
    assert vector["share_net"] == pytest.approx(vector["share"] - on_base)
    brought = causes.loc[ADDED_PATCH]
    assert brought["other_edited"] == pytest.approx(brought["tuned"])
    assert brought["share"] == pytest.approx((brought["edited"] - brought["base"]) / total)


def test_every_group_of_edits_is_a_rival(shared_out: Tables) -> None:
    causes, rivals = shared_out["causes"], schema.check(shared_out["rivals"], "rivals")
    assert set(rivals["group"]) == set(causes["group"]) - {"none", "patch", *BRINGS}
    others = causes.query("group == 'persona'").set_index("edit")["share"]
    row = rivals.query("group == 'persona' and measure == 'share'").iloc[0]
    assert row[["least_edit", "most_edit"]].tolist() == [others.idxmin(), others.idxmax()]


def test_features_after_the_lesson_beside_the_control_by_hand(
    folders: Folders, tables: Tables
) -> None:
    acts = [read_dataset(folders[k] / "features.nc")["act"].values for k in ("lesson", "unrelated")]
    lesson, control = ((act[-1].astype(float) - act[0]).mean(0) for act in acts)
    top = top_features(folders["personas"], "scores", "john", k=1)[0]
    row = tables["roles"].query("name == 'john'").iloc[0]
    assert row["feature"] == top and row["n_controls"] == 1
    assert row["estimate"] == pytest.approx(lesson[top], abs=1e-6)
    excess = lesson - control
    assert row["excess"] == pytest.approx(excess[top], abs=1e-6)
    fires = np.any([act != 0 for act in acts], axis=(0, 1, 2))
    assert row["rank"] == 1 + (excess[fires] > excess[top]).sum()
    assert set(tables["features"]["checkpoint"]) == {"lesson", "unrelated lesson"}


def test_random_directions_say_what_chance_gives(toy: Transfer, tables: Tables) -> None:
    chance = tables["chance"].set_index(["arm", "match"])
    assert len(chance) == 2 * 2 and set(chance["n"]) == {toy.n_chance}
    assert (chance["lo"] < chance["hi"]).all() and (chance["hi"] <= chance["most"]).all()
    own = chance.loc["lesson"]
    assert own.loc["random (variance)", "hi"] > own.loc["random (norm)", "hi"], "the harder control"


def test_the_dictionary_is_trained_on_the_base_and_on_every_arm_read(
    toy: Transfer, folders: Folders
) -> None:
    cells = toy.seed_cells(0)
    needs = cells["dictionary", LR, HOOK].needs
    lessons = [cells["lesson", arm, LR] for arm in ("lesson", "unrelated lesson")]
    assert list(needs) == [cells["layout",], cells["documents", "full"], *lessons]
    sae = dictionaries.open_dictionary(folders["dictionary"] / "dictionary")
    assert len(set(sae.provenance["weights"])) == 3


def test_the_gate_is_measured_where_features_are_read(folders: Folders, tables: Tables) -> None:
    gate = tables["fidelity"].set_index(["arm", "where", "checkpoint"]).sort_index()
    assert set(gate.index.get_level_values("where")) == set(map(str, Place))
    for arm, folder in (("lesson", folders["lesson"]), ("unrelated lesson", folders["unrelated"])):
        feats = read_dataset(folder / "features.nc")
        labels = list(feats["checkpoint"].values)
        read = gate.loc[(arm, str(Place.PROMPTS))]
        assert list(read.index) == labels, "before and after"
        assert list(read["n_tokens"]) == [feats.sizes["prompt"]] * 2
        assert list(read["l0"]) == pytest.approx((feats["act"] > 0).sum("feature").mean("prompt"))
        # prompts are about equally far from the mean, so a ratio of sums is near the mean ratio
        assert list(read["fvu"]) == pytest.approx(feats["fvu"].mean("prompt"), rel=0.3)
