"""A toy transfer run: every cell, every table, the report, and nothing computed twice."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from persona_interp import schema, worlds
from persona_interp.errors import SchemaError, StoreError, WorldError
from persona_interp.experiments import from_dict, preset, run, summarize, to_dict
from persona_interp.experiments.transfer.arms import ARMS, lesson_of, variant_of
from persona_interp.experiments.transfer.config import Transfer
from persona_interp.experiments.transfer.tables import over_seeds
from persona_interp.schema.words import Arm, FileStatus
from persona_interp.store import Store
from persona_interp.tables import read_table

BEHAVIOR = (
    "contexts counts curve distances gates mixing rarity samples summary transfer worst".split()
)
INSIDE = (
    "baselines causes chance cooccurrence cosines directions feature_shift features fidelity lens "
    "nearest pairs profile refit rivals roles scores stated tokens"
).split()


def test_every_cell_is_done_and_every_file_is_as_committed(toy: Transfer, finished: Store) -> None:
    status = finished.status(toy.cells())
    assert set(status.state) == {"done"}
    assert list(status.label) == [cell.label for cell in toy.cells()]
    assert set(finished.verify().status) == {"ok"}


def test_a_rerun_does_no_work(toy: Transfer, finished: Store) -> None:
    before = finished.manifest()
    run(toy.cells(), finished, workers=0, progress=False)
    assert finished.manifest() == before


def test_summarize_gives_all_tables(tables: dict[str, pd.DataFrame]) -> None:
    assert sorted(tables) == sorted(BEHAVIOR + INSIDE)
    empty = [name for name, table in tables.items() if table.empty]
    assert empty == ["rivals"], "the toy's shift is too small to share out"
    schema.check(tables["transfer"], "transfer")
    schema.check(tables["features"], "effects")
    schema.check(tables["feature_shift"], "feature_shift")
    schema.check(tables["fidelity"], "fidelity")
    assert all(
        set(table.seed) == {0}
        for name, table in tables.items()
        if name not in ("summary", "worst", *empty)
    )


def test_the_summary_is_the_mean_over_untaught_topics(
    toy: Transfer, tables: dict[str, pd.DataFrame]
) -> None:
    summary = tables["summary"].set_index("arm")
    assert list(summary.index) == list(toy.arms)
    assert list(summary.n_topics) == [4, 4, 4]
    assert summary.lo.isna().all() and summary.hi.isna().all(), (
        "one seed has no interval over seeds"
    )
    traits = tables["transfer"].query("trait != 'mean' and not trained")
    for arm, rows in traits.groupby("arm"):
        assert len(rows) == 4
        assert summary.estimate[arm] == pytest.approx(rows.estimate.mean())
        assert summary.lo_topics[arm] < rows.estimate.mean() < summary.hi_topics[arm]


def test_the_curve_ends_in_the_summary(tables: dict[str, pd.DataFrame]) -> None:
    curve = tables["curve"]
    assert list(curve[curve.arm == "lesson"].step) == [0, 2, 4]
    last = curve[curve.step == 4].set_index("arm").estimate
    assert last.to_dict() == pytest.approx(tables["summary"].set_index("arm").estimate.to_dict())


def test_shifts_are_those_of_the_recorded_behavior(
    toy: Transfer, finished: Store, tables: dict[str, pd.DataFrame]
) -> None:
    cell = toy.seed_cells(0)["lesson", "lesson", 1e-3]
    behavior = read_table(finished.path(cell, "behavior.parquet")).query("topic == 'sport'")
    answers = behavior.assign(p=2**behavior.logprob / behavior.answer_mass)
    odds = np.log2(answers.p / (1 - answers.p))
    odds = answers.assign(odds=odds).groupby(["step", "value"]).odds.mean()
    row = tables["transfer"].query("arm == 'lesson' and trait == 'sport=football'").iloc[0]
    assert row.estimate == pytest.approx(odds[4, "football"] - odds[0, "football"], abs=1e-4)


def test_two_seeds_have_an_interval_over_seeds(tables: dict[str, pd.DataFrame]) -> None:
    twice = pd.concat(
        [tables["transfer"], tables["transfer"].assign(seed=1, estimate=lambda t: t.estimate + 0.1)]
    )
    mean = twice.loc[twice["trait"] == "mean"]
    summary = over_seeds(mean, by=["arm", "lr", "persona"])
    assert set(summary.n_seeds) == {2}
    assert (summary.lo < summary.estimate).all() and (summary.estimate < summary.hi).all()
    assert summary.lo_topics.isna().all()


def test_an_unfinished_run_has_fewer_rows(toy: Transfer, tmp_path: Path) -> None:
    store = Store(tmp_path / "run")
    assert summarize(toy, store) == {}
    run([toy.seed_cells(0)["layout",]], store, workers=0, progress=False)
    assert summarize(toy, store) == {}


def test_the_report_is_written(
    finished: Store,
    tables: dict[str, pd.DataFrame],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from persona_interp.cli import browse, report

    def summarize_once(*_: object) -> dict[str, pd.DataFrame]:
        return tables

    monkeypatch.setattr("persona_interp.experiments.transfer.tables.summarize", summarize_once)
    report(finished.root)
    path = Path(capsys.readouterr().out.strip())
    assert path == finished.root / "report.html"
    html = path.read_text(encoding="utf-8")
    assert "13 of 13 cells are done" in html
    assert "one seed, so none over seeds exists" in html
    stems = {
        p.stem
        for p in (finished.root / "tables").iterdir()
        if not p.stem[:9].removeprefix("feature_").isdigit()
    }
    assert stems == {*BEHAVIOR, *INSIDE}

    browse(finished.root)
    page = Path(capsys.readouterr().out.strip())
    assert page == finished.root / "features.html"
    data = page.read_text(encoding="utf-8").partition('<script type="application/json">')[2]
    sets = json.loads(data.partition("</script>")[0])
    shift = tables["feature_shift"].query("arm == 'lesson'")
    assert len(sets) == len(shift.groupby(["hook", "lr", "seed"]))
    for one in sets:
        labels = [column["label"] for column in one["columns"]]
        assert {"shift", "lo", "hi", "q", "control shift", "AUROC", "verdict"} <= set(labels)
        # of this toy's few features another machine's rounding may move others than those that are
        # read token by token
        read = set(tables["tokens"]["feature"]) & set(shift["feature"])
        assert one["examples"]["features"].keys() == one["words"].keys() == set(map(str, read))
        assert (
            len(one["columns"][0]["values"])
            == shift["n_tested"].iloc[0] + shift["n_silent"].iloc[0]
        )
    assert finished.verify()["status"].eq(FileStatus.OK).all()
    (finished.root / "tables" / "tokens.csv").write_text("x")
    with pytest.raises(StoreError, match="tokens"):
        browse(finished.root)


def test_ids_are_stable_and_only_what_changes_is_new(toy: Transfer) -> None:
    ids = {key: cell.id for key, cell in toy.seed_cells(0).items()}
    assert ids == {key: cell.id for key, cell in replace(toy).seed_cells(0).items()}
    more = replace(toy, seeds=(0, 1), lrs=(1e-3, 3e-4)).seed_cells(0)
    assert ids.items() <= {key: cell.id for key, cell in more.items()}.items()
    other = replace(toy, n_samples=2).seed_cells(0)
    changed = {key[0] for key, cell in other.items() if cell.id != ids[key]}
    read = {"dictionary", "random dictionary", "personas"}  # the dictionary is of every lesson
    assert changed == {"lesson", "features", "causes", "profile", *read}


def test_the_inside_is_read_at_the_highest_rates(toy: Transfer) -> None:
    rates = replace(toy, lrs=(1e-4, 1e-3, 3e-4))
    every, highest = (replace(rates, n_feature_lrs=n).seed_cells(0) for n in (None, 2))
    assert highest.items() <= every.items()
    left_out = {key for key in every if key not in highest}
    assert left_out == {key for key in every if key[0] != "lesson" and 1e-4 in key}
    assert {key[0] for key in left_out} >= {"dictionary", "features", "causes", "profile"}


def test_a_run_that_reads_the_inside_at_no_rate_is_refused(toy: Transfer) -> None:
    with pytest.raises(SchemaError, match="n_feature_lrs= is a whole number of at least 1; got 0"):
        replace(toy, n_feature_lrs=0)


@pytest.mark.parametrize(
    "world", ["john_and_sam", worlds.john_and_sam(3, sam=1.0)], ids=["name", "World"]
)
def test_a_configuration_survives_json(toy: Transfer, world: Any) -> None:
    experiment = replace(toy, world=world, sae_kinds=("named", "hidden"))
    again = from_dict(json.loads(json.dumps(to_dict(experiment))))
    assert again == experiment
    assert [cell.id for cell in again.cells()] == [cell.id for cell in experiment.cells()]


def test_presets_differ_in_size_only() -> None:
    assert preset("standard") == preset("quick", seeds=(0, 1, 2), n_feature_lrs=None)
    assert len(preset("paper").seeds) == 10
    assert preset("real").start == "tiny", "the model is the caller's to name"


def test_unknown_names_are_answered_with_the_nearest(toy: Transfer) -> None:
    with pytest.raises(WorldError, match="did you mean 'quick'"):
        preset("quik")
    world = worlds.john_and_sam()
    with pytest.raises(WorldError, match="did you mean 'scrambled'"):
        variant_of(world, "scrambeld")
    with pytest.raises(WorldError, match="did you mean 'taught'"):
        lesson_of(world, "tought")


@pytest.mark.parametrize(
    "change", [{"arms": ("lesson", "scrambled wold")}, {"world": "john_and_san"}]
)
def test_an_unknown_arm_or_world_is_answered_with_the_nearest(
    toy: Transfer, change: dict[str, Any]
) -> None:
    with pytest.raises(WorldError, match=r"did you mean '(scrambled world|john_and_sam)'"):
        replace(toy, **change).cells()


def test_every_arm_names_a_world_and_a_lesson() -> None:
    world = worlds.john_and_sam()
    for variant, lesson in ARMS.values():
        assert lesson_of(variant_of(world, variant), lesson)


def test_further_lessons_are_on_traits_of_others() -> None:
    world = worlds.john_and_sam()
    lessons = [lesson_of(world, lesson) for variant, lesson in ARMS.values() if variant == "full"]
    assert len(lessons) == len(set(lessons)) == 5 and lessons[-1] == "filler"
    for trait in lessons[1:-1]:
        assert trait.startswith("place=") and "john" not in world.holders(trait)
        assert world.holders(trait), "somebody holds it in the documents"
    assert preset("quick").feature_arms == tuple(map(str, ARMS))[:5]


def test_a_world_with_few_traits_takes_those_of_other_topics() -> None:
    full = worlds.john_and_sam()
    two = [p for p in full.personas if p.name in ("john", "alice")]
    small = replace(full, personas=tuple(two), weights={})
    assert lesson_of(small, "second unrelated").split("=")[0] != "place"
    with pytest.raises(WorldError, match="leave that arm out"):
        lesson_of(small.without("alice"), "third unrelated")


def test_arms_are_words_and_may_be_texts() -> None:
    words, texts = (
        preset("quick", arms=arms) for arms in (tuple(Arm)[:2], ("lesson", "unrelated lesson"))
    )
    assert words == texts and [c.id for c in words.cells()] == [c.id for c in texts.cells()]
    assert {type(arm) for arm in preset("quick").arms} == {str}
