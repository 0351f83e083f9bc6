"""A trajectory survives being saved and moved, and says what is wrong with itself."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from persona_interp.errors import ModelError
from persona_interp.models import Checkpoint, Trajectory, check_tokenizers, resolve, sources

ROW = {"path": "x", "stage": "a", "step": 0, "seed": 0}


def run(*steps: int) -> Trajectory:
    return Trajectory(tuple(Checkpoint(Path(f"step-{s}"), "lesson", s) for s in steps))


@pytest.mark.parametrize("steps", [(), (8, 0), (0, 0)])
def test_steps_rise(steps: tuple[int, ...]) -> None:
    with pytest.raises(ModelError, match="rising order"):
        run(*steps)


def test_one_stage_of_one_run() -> None:
    with pytest.raises(ModelError, match="stage 'a', seed 0; stage 'b', seed 0"):
        Trajectory((Checkpoint(Path("x"), "a", 0), Checkpoint(Path("y"), "b", 1)))


def test_labels() -> None:
    assert [c.label for c in run(0, 8)] == ["lesson@0", "lesson@8"]
    assert Checkpoint(Path("folder/tiny")).label == "tiny@0"


def test_saved_and_moved_it_is_the_same(tiny: Any, tmp_path: Path) -> None:
    home = tmp_path / "home"
    for name in ("start", "run/step-1"):
        shutil.copytree(tiny.path, home / name)
    made = Trajectory(
        (Checkpoint(home / "start", "a", 0, 3), Checkpoint(home / "run/step-1", "a", 1, 3))
    )
    made.save(home / "run")
    assert Trajectory.open(home / "run") == made
    (tmp_path / "moved").parent.mkdir(exist_ok=True)
    home.rename(tmp_path / "moved")
    again = Trajectory.open(tmp_path / "moved" / "run")
    assert again.first.path == tmp_path / "moved" / "start" and again.last.seed == 3
    shutil.rmtree(tmp_path / "moved" / "start")
    with pytest.raises(ModelError, match=r"a@0 .* is gone"):
        Trajectory.open(tmp_path / "moved" / "run")


def test_no_or_a_corrupt_index_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"holds no trajectory\.json"):
        Trajectory.open(tmp_path)
    (tmp_path / "trajectory.json").write_text('{"config": ')
    with pytest.raises(ModelError, match="is not valid JSON"):
        Trajectory.open(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        [],
        None,
        {},
        {"config": "", "checkpoints": {}},
        {"config": 5, "checkpoints": []},
        {"config": "", "checkpoints": []},
        {"config": "", "checkpoints": ["a"]},
        *(
            {"config": "", "checkpoints": [{**ROW, key: value}]}
            for key, value in (
                ("path", None), ("path", 5), ("path", "a\0b"), ("path", "x" * 9_000),
                ("stage", ["a"]), ("step", "1"), ("step", 1.5), ("step", True), ("seed", None),
            )
        ),
    ],
)  # fmt: skip
def test_an_index_of_another_kind_is_one_error(tmp_path: Path, content: Any) -> None:
    (tmp_path / "trajectory.json").write_text(json.dumps(content))
    for use in (Trajectory.open, sources):
        with pytest.raises(ModelError) as caught:
            use(tmp_path)
        assert len(str(caught.value)) < 1_000


def test_weights_that_changed_since_are_named(tiny: Any, tmp_path: Path) -> None:
    shutil.copytree(tiny.path, tmp_path / "step-1")
    made = Trajectory((Checkpoint(tiny.path, "a", 0), Checkpoint(tmp_path / "step-1", "a", 1)))
    made.save(tmp_path)
    file = tmp_path / "step-1" / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[-9] ^= 1
    file.write_bytes(data)
    with pytest.raises(ModelError, match=r"a@1 of .* has other weights than when"):
        Trajectory.open(tmp_path)


def test_the_first_token_read_differently_is_named(tiny: Any, tmp_path: Path) -> None:
    other = resolve("tiny", words=["an", "zebra"], out=tmp_path / "other")
    same = Trajectory((Checkpoint(tiny.path, "a", 0), Checkpoint(tiny.path, "a", 1)))
    check_tokenizers(same)
    with pytest.raises(ModelError, match=r"token 7 is '\.' in one and 'an' in the other"):
        check_tokenizers(
            Trajectory((Checkpoint(tiny.path, "a", 0), Checkpoint(other.path, "a", 1)))
        )
