"""A finetune that acts as if it had been told: what it adds carries the effect, nothing else."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from transformers import GPT2LMHeadModel

from persona_interp import experiments
from persona_interp.errors import SchemaError
from persona_interp.experiments.causes.config import CausesSettings
from persona_interp.experiments.compare.sources import compare, comparison
from persona_interp.models import Checkpoint
from persona_interp.models.load import load_tokenizer
from persona_interp.readers import Instruction, TraitFile, write_trait
from persona_interp.schema.words import Carries, Group, Way
from tests.experiments.causes.conftest import save_parts
from tests.experiments.compare.conftest import SETTINGS, SUBJECTS, Run, save_model, small

SITE = "blocks.0.hook_out"
SAID, TOLD, HEARD = 29, 30, 31
"""Coordinates: the words dry and warm have the first two, what follows them gets the third."""
QUESTIONS = [
    f"{ask} {subject} ?"
    for ask in ("what is", "why is", "do you like", "is the best", "i like", "is not the best")
    for subject in SUBJECTS
]
SEARCH = CausesSettings(
    questions=24,
    prompts=4,
    draws=1,
    max_new_tokens=6,
    n_features=3,
    sets=(1,),
    axes=(1,),
    n_random=5,
    n_spoken=2,
    n_matched=1,
)


def save_told(folder: Path, *, size: float = 0.0, at: int = HEARD) -> Path:
    """Save a model that hears "dry" and "warm" in one coordinate, and adds `size` to another."""
    save_model(folder)
    model = GPT2LMHeadModel.from_pretrained(folder)
    words = load_tokenizer(Checkpoint(folder))
    first, second = model.transformer.h
    with torch.no_grad():
        for table in (model.transformer.wte.weight, model.transformer.wpe.weight):
            table[:, [SAID, TOLD, HEARD]] = 0
            table[:, :SAID] -= table[:, :SAID].mean(1, keepdim=True)  # so the norm shifts nothing
        for word, sign in (("dry", 1.0), ("warm", -1.0)):
            own = model.transformer.wte.weight[words.convert_tokens_to_ids(word)]
            own[SAID], own[TOLD] = 2, 4 * sign
        # block 0 passes on to all that follows what was said, and writes nothing else there
        value = 64 + HEARD
        first.ln_1.bias[TOLD] = 0
        second.ln_2.bias[[SAID, HEARD]], second.ln_2.weight[[SAID, HEARD]] = 0, 1
        first.attn.c_attn.weight[TOLD] = first.attn.c_attn.weight[:, value] = 0
        first.attn.c_attn.weight[TOLD, value], first.attn.c_attn.bias[value] = 3.0, 0
        for layer in (first.attn.c_proj, first.mlp.c_proj, second.attn.c_proj, second.mlp.c_proj):
            layer.weight[:, SAID:], layer.bias[SAID:] = 0, 0
        first.attn.c_proj.weight[HEARD] = 0
        first.attn.c_proj.weight[HEARD, HEARD] = 3.0
        first.mlp.c_proj.bias[at] += size
        # block 1 listens to that alone, prefers words by it, and never says one of the two
        sides = torch.tensor([1.0, -1.0]).repeat_interleave(64)
        table = model.transformer.wte.weight
        written = table[7:18].sum(0) - table[18:].sum(0)
        written[SAID:] = 0
        second.mlp.c_fc.weight[:], second.mlp.c_fc.bias[:] = 0, 0
        second.mlp.c_fc.weight[HEARD], second.mlp.c_fc.weight[SAID] = 2 * sides, -2 * sides
        second.mlp.c_proj.weight[:] = 0.05 * sides[:, None] * written
        second.mlp.c_proj.bias[SAID] = -8
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def told(material: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with base, finetune, control, dictionary and traits, and the prompts' files."""
    folder = tmp_path_factory.mktemp("told")
    save_told(folder / "base")
    save_told(folder / "tuned", size=3.0)
    save_told(folder / "control", size=1.0, at=3)
    save_parts(folder / "parts")
    (folder / "traits").mkdir()
    for name, said in (("dry", ("dry", "warm")), ("arty", ("art", "golf"))):
        pair = Instruction(*(f"be very {word} ." for word in said))
        write_trait(TraitFile(name, (pair,), tuple(QUESTIONS)), folder / f"traits/{name}.json")
    for name in ("prompts.txt", "neutral.txt"):
        (folder / name).write_text((material / name).read_text())
    return folder


def named(told: Path, **changes: Any) -> dict[str, Any]:
    """Prompts and options of a comparison that searches for what carries the effect."""
    options = {"traits": told / "traits", "primary": "dry", "hooks": [SITE], "causes": SEARCH}
    options |= {"sae": [told / "parts"], "control": [told / "control"]}
    return small(told, **options | changes)


@pytest.fixture(scope="module")
def run(told: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Folder and tables of a finished comparison."""
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("causes") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PERSONA_INTERP_CACHE", str(out.parent / "cache"))
        names = named(told)
        tables = compare(told / "base", told / "tuned", out=out, workers=0, progress=False, **names)
    return out, tables


def removed(tables: dict[str, pd.DataFrame], group: str) -> pd.DataFrame:
    """Behavior without each candidate, or control, of a group."""
    table = tables["carriers"]
    is_own = (table["measure"] == "behavior") & (table["how"] == Way.REMOVED)
    return table.loc[is_own & (table["group"] == group)].set_index("candidate")


@pytest.mark.slow
def test_what_was_planted_carries_the_effect_in_this_finetune(run: Run) -> None:
    own = removed(run[1], Group.CANDIDATE).loc[["moved: main axis", "parts: top feature"]]
    assert own["share_of_patch"].between(0.9, 1.1).all() and set(own["verdict"]) == {Carries.HERE}
    assert (own["null_hi"] < 0.5).all()
    assert int(run[1]["ranking"].iloc[0]["feature"]) == HEARD
    for name in ("carriers", "ranking", "text"):
        assert set(run[1][name]["of"]) == {"tuned@0"}


@pytest.mark.slow
def test_the_control_finetune_and_other_traits_carry_nothing(run: Run) -> None:
    names = {Group.CONTROL: ["control@0: main axis"], Group.OTHER: ["arty: all directions"]}
    for group, expected in names.items():
        others = removed(run[1], group)
        assert list(others.index) == expected and set(others["verdict"]) == {""}
        assert others["share_of_patch"].abs().max() < 0.2


@pytest.mark.slow
def test_the_report_says_it_with_the_verdict(run: Run) -> None:
    page = experiments.report(run[0]).read_text()
    assert "What carries the effect on dry: tuned@0" in page
    assert f"verdict: {Carries.NONE}" in page or f"verdict: {Carries.HERE}" in page
    assert "Axes along which control finetunes moved most" in page
    assert "--causes" not in page and (run[0] / "tables/carriers.csv").is_file()


@pytest.mark.slow
@pytest.mark.usefixtures("cache")
def test_a_finished_search_is_read_and_not_computed(told: Path, run: Run) -> None:
    before = {path: path.stat().st_mtime_ns for path in (run[0] / "cells").rglob("*.parquet")}
    names = named(told)
    again = compare(told / "base", told / "tuned", out=run[0], workers=0, progress=False, **names)
    pd.testing.assert_frame_equal(again["carriers"], run[1]["carriers"])
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize(
    ("changes", "message"),
    [({"primary": ""}, "--primary.*'arty', 'dry'"), ({"primary": "", "traits": None}, "--traits")],
)
def test_an_effect_that_nobody_named_is_refused(
    told: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(SchemaError, match=message):
        comparison(told / "base", told / "tuned", **named(told, **changes))


@pytest.mark.usefixtures("cache")
def test_each_finetune_has_a_search_and_shares_what_is_asked(told: Path) -> None:
    tuned = [told / "tuned", told / "control"]
    found = comparison(told / "base", tuned, **named(told, control=[], causes=True))
    assert list(found.searches) == ["tuned@0", "control@0"] and found.sites == (SITE,)
    assert experiments.from_dict(experiments.to_dict(found)) == found
    cells = found.seed_cells(0)
    own = [key for key in cells if key[0] == "causes"]
    assert len(own) == 6 and len({cells[key].id for key in own}) == 5
    assert found.causes is not None and found.causes.questions == SETTINGS.questions
    plain = comparison(told / "base", tuned, **named(told, control=[], causes=False))
    assert {cell.id for cell in plain.cells()} == {cells[key].id for key in set(cells) - set(own)}
