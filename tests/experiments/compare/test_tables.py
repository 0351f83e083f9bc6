"""A base does not differ from itself; a planted shift is found; a wrong name costs nothing."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from persona_interp.errors import ModelError, SchemaError, StoreError
from persona_interp.experiments import browse, from_dict, to_dict
from persona_interp.experiments.compare.config import CompareSettings
from persona_interp.experiments.compare.sources import (
    compare,
    comparison,
    sources_of,
)
from persona_interp.experiments.experiment import draw_report
from persona_interp.models import Checkpoint, Trajectory
from persona_interp.report import provenance_of
from persona_interp.schema.words import CLAIMS, Requests, Verdict
from persona_interp.store import Store
from persona_interp.tables import read_directions
from tests.experiments.compare.conftest import (
    HOOK,
    PROMPTS,
    Run,
    V,
    compare_planted,
    save_model,
    save_parts,
    small,
)


def test_a_base_against_itself_is_zero_and_claims_nothing(run: Run) -> None:
    _, tables = run
    effects = tables["effects"].query("checkpoint == 'base@0'")
    assert set(effects["family"]) == {"behavior", "answers", "projection"}
    assert (effects["estimate"] == 0).all() and not effects["verdict"].isin(CLAIMS).any()
    assert (tables["effects"]["floor"] == 0).all()
    drift = tables["drift"]
    same = drift["checkpoint"].isin(["base", "base again", "base@0"])
    assert (drift.loc[same, "estimate"] == 0).all() and (drift.loc[~same, "estimate"] > 0).all()
    distance = tables["distance"].set_index(["requests", "checkpoint"])["estimate"]
    assert len(distance) == 2 * 3, "base again and both finetunes, on prompts and neutral requests"
    for requests in Requests:
        assert distance[requests, "base again"] == distance[requests, "base@0"] == 0
        assert distance[requests, "planted@0"] > 0
    assert (tables["sound"].query("checkpoint != 'planted@0'")["estimate"] == 0).all()
    notes = tables["sources"].set_index("checkpoint")["note"]
    assert notes["base@0"] == "the same weights as base" and notes["planted@0"] == ""
    assert set(tables["novelty"].query("checkpoint == 'base@0'")["share"].isna()) == {True}


def test_a_planted_shift_is_found_where_it_was_planted(run: Run) -> None:
    out, tables = run
    store = Store(out)
    cell = from_dict(store.config()).seed_cells(0)["directions",]
    vectors = read_directions(store.path(cell, "vectors.nc"))
    vector = vectors.sel(name="dry", hook=HOOK).to_numpy()
    along = float(V.numpy() @ vector / np.linalg.norm(vector))

    planted = {
        name: table.query("checkpoint == 'planted@0'")
        for name, table in tables.items()
        if "checkpoint" in table
    }
    effect = planted["effects"].query("family == 'projection'").iloc[0]
    assert effect["estimate"] == pytest.approx(along, rel=1e-4)
    assert effect["verdict"] == Verdict.DIFFERS
    assert planted["shift"].iloc[0]["estimate"] == pytest.approx(along, rel=1e-4)
    share = planted["novelty"].iloc[0]["share"]
    assert share == pytest.approx(along**2 / float(V @ V), rel=1e-3)
    assert len(planted["lens"]) == 20 and planted["lens"]["weight"].is_monotonic_decreasing


def test_a_rerun_computes_nothing_and_the_report_needs_no_models(material: Path, run: Run) -> None:
    out, tables = run
    before = (out / "manifest.jsonl").read_bytes()
    again = compare_planted(material, out)
    assert (out / "manifest.jsonl").read_bytes() == before
    for name, table in tables.items():
        pd.testing.assert_frame_equal(again[name], table)
    store = Store.open(out)
    first = from_dict(store.config())
    second = from_dict(json.loads(json.dumps(to_dict(first))))
    assert [cell.id for cell in second.cells()] == [cell.id for cell in first.cells()]
    page = draw_report(out, tables, provenance=provenance_of(store, store.config()))
    html = page.read_text(encoding="utf-8")
    assert "cannot be said what the finetune moved" in html and "moved it" not in html
    assert "base@0 (tuned) has the same weights as base." in html and "hidden_states[2]" in html


def test_a_changed_checkpoint_is_another_comparison(material: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(material / "planted", tmp_path / "planted")
    first = comparison(material / "base", folder, **small(material))
    save_model(folder, planted=True, scale=0.01)
    second = comparison(material / "base", folder, **small(material))
    keys = first.seed_cells(0)
    changed = [key for key, cell in second.seed_cells(0).items() if cell.id != keys[key].id]
    assert {key[-1] for key in changed} == {"planted@0"}
    store = Store(tmp_path / "run")
    store.describe(to_dict(first))
    with pytest.raises(StoreError, match="weights"):
        store.describe(to_dict(second))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"primary": "dyr"}, SchemaError, "did you mean 'dry'"),
        ({"hooks": ["blocks.9.hook_out"]}, ModelError, "hook 'blocks.9.hook_out' is unknown"),
        ({"sae": "nowhere/at/all"}, ModelError, "nowhere"),
        ({"control": ["nowhere"]}, ModelError, "nowhere"),
        ({"prompts": "prompts.text"}, SchemaError, "prompts.text"),
    ],
)
def test_a_wrong_name_is_refused_before_anything_is_computed(
    material: Path, tmp_path: Path, changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        compare(
            material / "base",
            material / "planted",
            out=tmp_path / "run",
            **small(material, **changes),
        )
    assert not (tmp_path / "run").exists()


def test_a_wrong_setting_is_refused() -> None:
    with pytest.raises(SchemaError, match=r"at least one question.*questions=0"):
        CompareSettings(questions=0)
    with pytest.raises(TypeError, match="'question'"):
        CompareSettings(question=3)  # type: ignore[call-arg]


def test_dictionaries_of_one_name_are_refused(material: Path, tmp_path: Path) -> None:
    folders = [save_parts(tmp_path / name) for name in ("a", "b")]
    named = small(material, sae=folders)
    with pytest.raises(ModelError, match="two dictionaries are called 'parts'"):
        comparison(material / "base", material / "planted", **named)
    experiment = comparison(
        material / "base", material / "planted", **small(material, sae=folders[0])
    )
    assert [sae.name for sae in experiment.sae] == ["parts"]


def test_the_base_is_trusted_as_much_the_second_time(material: Path) -> None:
    experiment = comparison(material / "base", material / "planted", **small(material))
    trusted = replace(experiment, base=replace(experiment.base, trusted=True))
    assert trusted.again.trusted and not experiment.again.trusted


def test_steps_of_a_training_are_checkpoints_and_its_start_is_the_base(
    material: Path, tmp_path: Path
) -> None:
    steps = (
        Checkpoint(material / "base", "lesson", 0),
        Checkpoint(save_model(tmp_path / "a", scale=0.01), "lesson", 8),
        Checkpoint(save_model(tmp_path / "b", scale=0.02), "lesson", 16),
    )
    training = Trajectory(steps)
    training.save(tmp_path / "run")
    base, tuned, control = sources_of(
        material / "base", tmp_path / "run", [training, material / "base"]
    )
    assert [source.label for source in tuned] == ["lesson@8", "lesson@16"]
    assert len({source.run for source in tuned}) == 1
    labels = [source.label for source in control]
    assert labels == ["lesson@8 (2)", "lesson@16 (2)", "base@0"]

    planted = comparison(material / "base", material / "planted", **small(material))
    experiment = replace(planted, base=base, tuned=tuned)
    assert [source.label for source in experiment.ends] == ["lesson@16"]
    assert replace(experiment, control=control).controls == [], "none of these is another finetune"
    named = small(material, control=[training, training, material / "base"])
    planted = comparison(material / "base", material / "planted", **named)
    assert [source.label for source in planted.controls] == ["lesson@16"], (
        "one run is one control, however often it is named"
    )


@pytest.mark.slow
@pytest.mark.usefixtures("cache")
def test_a_prompt_that_stands_there_three_times_counts_once(
    material: Path, run: Run, tmp_path: Path
) -> None:
    (tmp_path / "prompts.txt").write_text("\n".join(PROMPTS * 3) + "\n")
    named = small(material, prompts=tmp_path / "prompts.txt", primary="dry")
    tuned = [material / "base", material / "planted"]
    out = tmp_path / "run"
    tables = compare(material / "base", tuned, out=out, workers=0, progress=False, **named)
    pd.testing.assert_frame_equal(tables["distance"], run[1]["distance"])
    pd.testing.assert_frame_equal(tables["effects"], run[1]["effects"])


def test_neutral_prompts_are_asked_once(material: Path) -> None:
    models = (material / "base", material / "planted")
    experiment = comparison(*models, **small(material, neutral=material / "prompts.txt"))
    cells = experiment.seed_cells(0)
    assert experiment.neutral == () and ("neutral",) not in cells
    assert cells["drift", "planted@0"].needs == (cells["prompts",],)
    with pytest.raises(ModelError, match=r"neutral requests cannot be asked.*--neutral"):
        comparison(*models, **small(material, neutral=None))


@pytest.mark.slow
@pytest.mark.usefixtures("cache")
def test_three_controls_and_a_dictionary(material: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    controls = [save_model(tmp_path / f"c{i}", seed=i, scale=0.005) for i in (1, 2, 3)]
    tuned = save_model(tmp_path / "tuned", seed=4, scale=0.005, planted=True)
    sae = save_parts(tmp_path / "sae")
    named = small(material, control=controls, sae=sae, traits=material / "traits")
    tables = compare(material / "base", tuned, out=out, workers=0, progress=False, **named)
    effects = tables["effects"].query("role == 'tuned'")
    assert set(effects["judged_by"]) == {"controls"}
    assert set(effects["family"]) == {"behavior", "answers", "projection", "feature"}
    features = effects.query("family == 'feature'").set_index("quantity")
    top = features["excess"].abs().idxmax()
    planted, sign = float(V[int(top) % 32]), 1 if int(top) < 32 else -1
    assert abs(planted) >= 1.5, "the largest change is where the shift is largest"
    assert features.loc[top, "excess"] == pytest.approx(sign * planted, rel=0.2)
    assert (tables["fidelity"]["fvu"] < 1e-6).all() and set(tables["tokens"]["sae"]) == {"parts"}
    store = Store.open(out)
    page = draw_report(out, tables, provenance=provenance_of(store, store.config()))
    html = page.read_text(encoding="utf-8")
    assert "Each of the 3 controls" in html and "cannot be said" not in html
    assert f"largest change of mean activation: {features.loc[top, 'estimate']:+.3g}" in html
    assert tables.run == out and "tuned@0 answers differently" in tables._repr_html_()
    data = browse(out).read_text(encoding="utf-8").partition('<script type="application/json">')[2]
    (one,) = json.loads(data.partition("</script>")[0])
    assert one["name"] == "sae parts, end tuned@0"
    column = {column["label"]: column["values"] for column in one["columns"]}
    place = column["feature"].index(int(top))
    assert column["shift"][place] == pytest.approx(features.loc[top, "estimate"], rel=1e-3)
    controls = tables["effects"].query("role == 'control' and quantity == @top")["estimate"]
    assert column["control max"][place] == pytest.approx(controls.max(), rel=1e-3)
    assert top in one["examples"]["features"] and top in one["words"]
    moved = {str(f) for f, shift in zip(column["feature"], column["shift"], strict=True) if shift}
    assert set(one["examples"]["features"]) == set(one["words"]) == moved, "not of a few alone"
    assert len(moved) > named["options"].settings.n_features
