"""Features of finetunes on traits: their cells, and a toy run on a random model of a few words."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from persona_interp import schema
from persona_interp.analysis.nulls import against_null
from persona_interp.errors import StoreError, WorldError
from persona_interp.experiments import compute, from_dict, preset, to_dict
from persona_interp.experiments.dictionaries.config import AFTER, BEFORE, Verb
from persona_interp.experiments.dictionaries.tables import by_seed
from persona_interp.experiments.trait_dictionaries import report
from persona_interp.experiments.trait_dictionaries.config import (
    GROUPS,
    MATCHED,
    TRAIT,
    Life,
    TraitDictionaries,
)
from persona_interp.experiments.trait_transfer.config import TraitTransfer
from persona_interp.models import Trajectory
from persona_interp.schema.words import Departure
from persona_interp.store import Store
from persona_interp.tables import read_dataset
from tests.experiments.toys import save_start, save_traits, trait_dictionaries

Tables = dict[str, pd.DataFrame]
TRAITS = ("arty", "sporty")


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> TraitDictionaries:
    folder = tmp_path_factory.mktemp("material")
    return trait_dictionaries(save_traits(folder / "traits"), save_start(folder / "start"))


@pytest.fixture(scope="module")
def run(toy: TraitDictionaries, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Tables]:
    folder = tmp_path_factory.mktemp("toy") / "run"
    return folder, compute(toy, folder, workers=0, progress=False)


def test_answers_are_those_of_the_transfer_between_traits(toy: TraitDictionaries) -> None:
    names = ("traits", "names", "start", "chat_template", "max_new_tokens", "dtype")
    transfer = TraitTransfer(**{name: getattr(toy, name) for name in names})
    own, others = toy.seed_cells(0), transfer.base_cells()
    assert all(own["answers", trait].id == others["answers", trait].id for trait in TRAITS)
    assert {key[0] for key in own} == {
        *("answers", "lesson", "null", Life.AGAIN, "crosscoder", "features")
    }
    assert own["lesson", "arty"].id != own[Life.AGAIN, "arty"].id
    again = from_dict(json.loads(json.dumps(to_dict(toy))))
    assert [cell.id for cell in again.cells()] == [cell.id for cell in toy.cells()]


@pytest.mark.parametrize("steps", [(4, 12), (0, 4), (0, 12, 4), (0, 12, 12), ()])
def test_steps_go_from_before_to_the_end(steps: tuple[int, ...]) -> None:
    with pytest.raises(WorldError, match="from 0 to the finetune's last"):
        TraitDictionaries(steps=steps)
    with pytest.raises(WorldError, match="--traits FOLDER"):
        preset("quick", "trait_dictionaries").cells()


def test_every_life_of_every_trait_has_its_checkpoints(run: tuple[Path, Tables]) -> None:
    _, tables = run
    own = tables["reconstruction"].query("trait == 'arty'")
    labels = {life: rows["checkpoint"].tolist() for life, rows in own.groupby("life")}
    assert labels == {
        Life.LESSON: ["arty lesson@0", "arty lesson@3"],
        Life.NULL: ["arty null@0", "arty null@3"],
        Life.AGAIN: ["seed 0", "seed 1"],
    }
    for name in ("statuses", "reconstruction", "groups"):
        schema.check(tables[name], name)
        assert set(tables[name]["trait"]) == set(TRAITS)
    assert tables["shares"].groupby("life")["estimate"].sum().to_numpy() == pytest.approx(1)
    assert (tables["shares"]["n_traits"] == 2).all()


def test_groups_are_chosen_on_other_questions_than_they_are_told_by(
    run: tuple[Path, Tables], toy: TraitDictionaries
) -> None:
    """AUROC counted pair by pair, from the file of the cell."""
    folder, tables = run
    cells = toy.seed_cells(0)
    feats = read_dataset(Store(folder).path(cells["features", "arty"], f"{AFTER}.nc"))
    act = feats["act"].isel(checkpoint=0).to_numpy()
    shows, split = (feats[name].to_numpy() for name in ("side", "split"))

    def area(feature: int, half: str) -> float:
        pos = act[(shows == "pos") & (split == half), feature]
        neg = act[(shows == "neg") & (split == half), feature]
        higher = np.sign(pos[:, None] - neg[None])
        return float(0.5 + 0.5 * higher.mean())

    own = tables["groups"].query("trait == 'arty'")
    told = own.loc[own["group"] == TRAIT]
    best = sorted((area(j, "train") for j in range(act.shape[1])), reverse=True)
    assert [area(j, "train") for j in told["feature"]] == pytest.approx(best[:2])
    assert told[f"auroc_{AFTER}"].to_numpy() == pytest.approx(
        [area(j, "test") for j in told["feature"]]
    )
    assert (told["lo_before"] <= told[f"auroc_{BEFORE}"]).all()
    others = own.loc[own["group"] == MATCHED[TRAIT], "feature"]
    assert not set(others) & set(own.loc[own["group"].isin(list(GROUPS)), "feature"])


def test_answers_are_read_without_their_instruction(
    run: tuple[Path, Tables], toy: TraitDictionaries
) -> None:
    folder, _ = run
    feats = read_dataset(Store(folder).path(toy.seed_cells(0)["features", "arty"], f"{BEFORE}.nc"))
    assert set(feats["side"].to_numpy()) == {"pos", "neg"}
    neutral = read_dataset(Store(folder).path(toy.seed_cells(0)["features", "arty"], "neutral.nc"))
    assert set(neutral["split"].to_numpy()) == {"train", "test"}
    assert neutral.sizes["prompt"] == 6


def test_a_finetune_keeps_its_checkpoints(run: tuple[Path, Tables], toy: TraitDictionaries) -> None:
    store, cells = Store(run[0]), toy.seed_cells(0)
    for key in (("lesson", "arty"), ("null", "arty"), (Life.AGAIN, "sporty")):
        trained = Trajectory.open(store.path(cells[key]) / "model")
        assert [checkpoint.step for checkpoint in trained] == [0, 3]


def test_the_page_says_every_verb_and_names_each_trait(run: tuple[Path, Tables]) -> None:
    folder, tables = run
    text = " ".join(
        [
            *report.answer(tables["verbs"], tables["groups"]),
            *report.everything(tables),
            *report.before(tables["groups"], tables["directions"]),
        ]
    )
    assert all(word in text for word in (*Verb, *TRAITS, "2 traits, 95 %", *Life))
    assert report.blocks(folder, tables, provenance={"run": "toy"})
    with pytest.raises(StoreError, match="no finished crosscoder"):
        report.blocks(folder, {}, provenance={})
    numbers = report.numbers(tables)
    figure = report.draw(tables)
    assert len(figure.axes[0].get_yticklabels()) >= len(numbers)
    assert any("over 2 traits" in text.get_text() for text in figure.findobj(Text))


def test_of_one_trait_nothing_is_claimed(run: tuple[Path, Tables]) -> None:
    _, tables = run
    groups = tables["groups"].query("trait == 'arty'")
    verbs = against_null(by_seed(groups, matched=MATCHED), by=["group", "verb"])
    assert verbs["difference_lo"].isna().all()
    for text in report.answer(verbs, groups):
        assert text.count("one trait, described and not claimed") == len(Verb)


def test_that_no_feature_is_born_is_not_said_where_none_could_be_seen(
    run: tuple[Path, Tables],
) -> None:
    verbs = run[1]["verbs"].assign(verdict=str(Departure.NONE))
    for text in report.answer(verbs, run[1]["groups"]):
        creates, *others = text.split("; " + Verb.MOVES)
        assert Departure.UNKNOWN in creates and Departure.UNKNOWN not in others[0]
