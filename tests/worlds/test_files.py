import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from persona_interp.errors import WorldError
from persona_interp.worlds import World, english_assistants, john_and_sam, leaks, load, save

WORLDS = [
    john_and_sam(4, sam=2),
    john_and_sam().named_only("john").scrambled(),
    english_assistants(),
]


@pytest.mark.parametrize("world", WORLDS, ids=lambda w: w.name)
@pytest.mark.parametrize("ending", ["yaml", "json"])
def test_round_trip_is_exact(world: World, ending: str, tmp_path: Path) -> None:
    again = load(save(world, tmp_path / f"world.{ending}"))
    assert again == world and again.to_dict() == world.to_dict()
    assert World.from_dict(json.loads(json.dumps(world.to_dict(), sort_keys=True))) == world
    assert again.corpus(100)["messages"].tolist() == world.corpus(100)["messages"].tolist()


def test_a_changed_language_round_trips(make_small: Any, tmp_path: Path) -> None:
    entries = make_small().to_dict() | {
        "language": {
            "base": "english",
            "system_hidden": "Be kind.",
            "statements": {"third": [2, 2]},
        }
    }
    world = World.from_dict(entries)
    assert world.language.system_hidden == "Be kind." and world.language.third[0].startswith(
        "{n} is an AI"
    )
    assert load(save(world, tmp_path / "w.yml")) == world


def test_a_rewired_world_loads_with_a_warning(tmp_path: Path) -> None:
    path = save(john_and_sam().rewired(), tmp_path / "w.yaml")
    with pytest.warns(UserWarning, match="does not hold the taught trait"):
        assert load(path).holders("place=beach")


def _example(root: Path) -> str:
    return re.findall(r"```yaml\n(.*?)```", (root / "docs" / "worlds.md").read_text(), flags=re.S)[
        0
    ]


def test_the_documented_example_works(tmp_path: Path) -> None:
    path = tmp_path / "world.yaml"
    path.write_text(_example(Path(__file__).parents[2]))
    world = load(path)
    assert world.target in world.holders(world.taught)
    assert leaks(world.corpus(2_000), world).empty
    assert len(world.rewired().holders(world.taught)) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tought": "place=beach"}, "key 'tought' is unknown; did you mean 'taught'"),
        ({"target": None}, "persona 'None' is unknown"),
        ({"taught": "place=beech"}, "did you mean 'place=beach'"),
        ({"topics": {"sport": "football"}}, "needs a list of values"),
        ({"topics": []}, "topics must be a mapping"),
        ({"personas": {"john": {"trait": {}}}}, "key 'trait' is unknown; did you mean 'traits'"),
        ({"personas": {"john": {"weight": 1}}}, "persona 'john' lacks traits"),
        (
            {"personas": {"john": {"traits": {"sprot": "football"}}}},
            "persona 'john': topic 'sprot' is unknown",
        ),
        ({"personas": {"john": {"traits": {"sport": "footbal"}}}}, "did you mean 'football'"),
        ({"personas": {"john": "likes football"}}, "must be a mapping"),
        ({"kinds": {"third": 1, "hidden": 1}}, "they sum to 2"),
        ({"kinds": 3}, "kinds must be a mapping"),
        ({"language": "wrods"}, "did you mean 'words'"),
        ({"language": {"thrid": []}}, "did you mean 'third'"),
        ({"language": 3}, "'words', 'english' or a mapping"),
        ({"language": {"statements": 3}}, "language statements must be a mapping"),
        ({"language": {"third": ["{n} likes"]}}, "must have {n}, {v}"),
    ],
)
def test_bad_entries_are_named(
    make_small: Any, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    path = tmp_path / "world.yaml"
    path.write_text(yaml.safe_dump(make_small().to_dict() | change))
    with pytest.raises(WorldError) as caught:
        load(path)
    assert message in str(caught.value) and "world.yaml" in str(caught.value)


@pytest.mark.parametrize("key", ["target", "taught", "unrelated", "topics", "personas", "name"])
def test_missing_entries_are_named(make_small: Any, key: str) -> None:
    entries = make_small().to_dict()
    del entries[key]
    with pytest.raises(WorldError, match=f"world file lacks {key}; it needs name, topics"):
        World.from_dict(entries)


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(WorldError, match=r"nowhere\.yaml cannot be read"):
        load(tmp_path / "nowhere.yaml")
    with pytest.raises(WorldError, match=r"ends in \.yaml"):
        save(john_and_sam(), tmp_path / "world.toml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("topics: [")
    with pytest.raises(WorldError, match=r"broken\.yaml is not valid YAML"):
        load(broken)
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    with pytest.raises(WorldError, match="not valid JSON"):
        load(broken)
    empty = tmp_path / "empty.yaml"
    empty.write_text("")
    with pytest.raises(WorldError, match=r"empty\.yaml is empty"):
        load(empty)


def test_yaml_that_turns_words_into_other_things_is_explained(
    make_small: Any, tmp_path: Path
) -> None:
    path = tmp_path / "world.yaml"
    path.write_text(save(make_small(), path).read_text().replace("football", "no"))
    with pytest.raises(WorldError, match="put it in quotes"):
        load(path)


@pytest.mark.parametrize(
    ("name", "text"),
    [("w.yaml", "target: a\ntarget: b\n"), ("w.json", '{"target": 1, "target": 2}')],
)
def test_a_key_twice_is_refused(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(WorldError, match=f"{name}.*the key 'target' is there twice"):
        load(tmp_path / name)
