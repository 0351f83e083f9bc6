"""Which groups there are, what reaches them, and how the checker ends."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

import validate
from claim import Claim
from persona_interp import worlds
from persona_interp.errors import WorldError
from persona_interp.schema.words import Ruling
from trial import OWN_WORLD, Reach, Trial

PLANTED = {
    Ruling.HOLDS: Claim("right", (1.0, 1.1, 0.9), above=0),
    Ruling.FAILS: Claim("wrong", (-1.0, -1.1, -0.9), above=0),
    Ruling.UNDECIDED: Claim("open", (-1.0, 2.0), above=0),
    Ruling.REPORTED: Claim("number", (1.0,), reported=True),
}


def group(*claims: Claim, reach: Reach = Reach.WORLD) -> SimpleNamespace:
    return SimpleNamespace(PLACE=0, REACH=reach, claims=lambda trial: iter(claims))


def run(
    monkeypatch: pytest.MonkeyPatch, groups: dict[str, SimpleNamespace], *arguments: str
) -> int:
    monkeypatch.setattr(validate, "groups", lambda: groups)
    monkeypatch.setattr(sys, "argv", ["validate.py", *arguments])
    return validate.main()


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ((Ruling.HOLDS, Ruling.UNDECIDED, Ruling.REPORTED), 0),
        ((Ruling.HOLDS, Ruling.FAILS), 1),
    ],
)
def test_the_last_line_counts_and_a_failure_is_the_exit_code(
    words: tuple[Ruling, ...],
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(monkeypatch, {"planted": group(*(PLANTED[word] for word in words))}) == code
    *lines, last = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [str(word) for word in words]
    for word in Ruling:
        assert f"{word} {int(word in words)}" in last


def test_a_group_that_breaks_is_named_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def broken(trial: Trial) -> Iterator[Claim]:
        yield PLANTED[Ruling.HOLDS]
        raise WorldError("nobody lives here.")

    groups = {"broken": group(), "whole": group(PLANTED[Ruling.HOLDS])}
    groups["broken"].claims = broken
    assert run(monkeypatch, groups) == 1
    text = capsys.readouterr().out
    assert "broken: cannot be tried: nobody lives here." in text
    assert f"{Ruling.HOLDS} 2" in text and "not tried: broken" in text
    # A world of the user's own may not allow a group, which is no failure of a claim.
    file = worlds.save(worlds.john_and_sam(), tmp_path / "world.yaml")
    assert run(monkeypatch, groups, "--world", str(file)) == 0
    assert "not tried: broken" in capsys.readouterr().out


def test_a_world_reaches_a_group_or_the_group_says_that_it_does_not(tmp_path: Path) -> None:
    file = str(worlds.save(worlds.john_and_sam(), tmp_path / "alone.yaml"))
    unshared = worlds.graded()
    other = str(worlds.save(unshared, tmp_path / "other.yaml"))
    trial = Trial([0], file, tmp_path)
    assert trial.reaching(Reach.WORLD) == (trial, "")
    assert trial.reaching(Reach.RIVALS) == (trial, "")  # john and sam both hold the beach
    for reach in (Reach.SEEDS, Reach.SIMULATED):
        own, text = trial.reaching(reach)
        assert own.is_recipe and OWN_WORLD in text
    holders = [p.name for p in unshared.personas if unshared.taught in p.traits]
    own, text = Trial([0], other, tmp_path).reaching(Reach.RIVALS)
    assert own.is_recipe == (len(holders) == 1) and (OWN_WORLD in text) == own.is_recipe
    recipe = Trial([0], None, tmp_path)
    assert recipe.reaching(Reach.SEEDS) == (recipe, "")
    assert "--seeds" in recipe.reaching(Reach.SIMULATED)[1]
    assert recipe.rival == "sam"


def test_every_group_says_where_it_stands_and_what_reaches_it() -> None:
    modules = validate.groups()
    assert len(modules) >= 15
    for name, module in modules.items():
        assert isinstance(module.PLACE, int) and isinstance(module.REACH, Reach), name
        assert callable(module.claims), name


def test_a_wrong_world_file_ends_the_command_line_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "world.yaml"
    file.write_text("name: nowhere\n")
    with pytest.raises(SystemExit) as stop:
        run(monkeypatch, {"planted": group()}, "--world", str(file))
    assert stop.value.code == 2
    assert "lacks" in capsys.readouterr().err


def test_a_world_does_not_reach_a_group_whose_needs_it_lacks(tmp_path: Path) -> None:
    recipe = worlds.john_and_sam()
    open_world = replace(recipe, kinds={"third": 0.6, "named": 0.4})
    silent = replace(recipe, weights={**recipe.weights, "john": {"hidden": 0.0}})
    for world, reach in ((open_world, Reach.HIDDEN), (silent, Reach.SPEAKER)):
        trial = Trial([0], str(worlds.save(world, tmp_path / "world.yaml")), tmp_path)
        own, text = trial.reaching(reach)
        assert own.is_recipe and OWN_WORLD in text
        assert trial.reaching(Reach.WORLD) == (trial, "")
    whole = Trial([0], str(worlds.save(recipe, tmp_path / "whole.yaml")), tmp_path)
    for reach in (Reach.HIDDEN, Reach.SPEAKER):
        assert whole.reaching(reach) == (whole, "")
