"""Vector files of other tools: their layer is the layer we name, and nothing in them runs."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

from persona_interp.errors import ModelError, SchemaError
from persona_interp.record import add, cap, read_capping, read_vectors, write_capping, write_vectors
from persona_interp.record.edit_runs import apply_edit

DIFF = torch.arange(1.0, 21.0).reshape(5, 4)  # 4 blocks and the embedding


def saved(value: Any, path: Path) -> Path:
    torch.save(value, path)
    return path


def test_row_l_of_persona_vectors_is_the_output_of_block_l_minus_1(tmp_path: Path) -> None:
    vectors = read_vectors(saved(DIFF, tmp_path / "evil_response_avg_diff.pt"), n_layers=4)
    assert vectors.dims == ("name", "hook", "d_model") and vectors["name"].values.tolist() == [
        "evil"
    ]
    assert vectors["hidden_state"].values.tolist() == [0, 1, 2, 3, 4]
    assert vectors["hook"].values.tolist()[:2] == ["blocks.0.hook_in", "blocks.0.hook_out"]
    assert np.array_equal(vectors.sel(name="evil", hook="blocks.2.hook_out"), DIFF[3])
    assert vectors.attrs["layout"] == "persona_vectors" and vectors.attrs["pool"] == "response_avg"


@pytest.mark.parametrize(
    "content",
    [DIFF, {"axis": DIFF, "n_roles": 3}, {"vector": DIFF, "type": "pos_3", "role": "axis"}],
)
def test_row_l_of_assistant_axis_is_the_output_of_block_l(content: Any, tmp_path: Path) -> None:
    vectors = read_vectors(
        saved(content, tmp_path / "assistant_axis.pt"), layout="assistant_axis", n_layers=5
    )
    assert np.array_equal(vectors.isel(name=0).sel(hook="blocks.2.hook_out"), DIFF[2])
    assert vectors["hidden_state"].values.tolist() == [1, 2, 3, 4, 5]


def test_means_beside_the_axis_are_directions_by_name(tmp_path: Path) -> None:
    path = saved(
        {"axis": DIFF, "default_mean": 2 * DIFF, "role_mean": DIFF, "n_default": 1, "n_roles": 3},
        tmp_path / "a.pt",
    )
    assert read_vectors(path)["name"].values.tolist() == ["axis", "default_mean", "role_mean"]
    assert read_vectors(path, name="axis")["name"].values.tolist() == ["axis"]
    with pytest.raises(ModelError, match="did you mean 'axis'"):
        read_vectors(path, name="axes")


def test_half_precision_becomes_float32(tmp_path: Path) -> None:
    vectors = read_vectors(saved(DIFF.bfloat16(), tmp_path / "evil_diff.pt"))
    assert vectors.dtype == np.float32 and np.array_equal(vectors.to_numpy()[0], DIFF)


def test_rows_of_zeros_are_no_directions(tmp_path: Path) -> None:
    rows = DIFF.clone()
    rows[[0, 2]] = 0
    vectors = read_vectors(saved(rows, tmp_path / "evil_diff.pt"))
    assert vectors.attrs["absent"] == [0, 2] and vectors["hidden_state"].values.tolist() == [
        1,
        3,
        4,
    ]
    with pytest.raises(ModelError, match="every row is zero"):
        read_vectors(saved(torch.zeros(5, 4), tmp_path / "zero_diff.pt"))


@pytest.mark.parametrize("layout", ["persona_vectors", "assistant_axis"])
def test_written_files_are_what_the_tools_read(layout: str, tmp_path: Path) -> None:
    hooks = [f"blocks.{i}.hook_out" for i in range(4)]
    ours = xr.DataArray(
        np.random.default_rng(0).normal(size=(2, 4, 3)), dims=("name", "hook", "d_model")
    )
    ours = ours.assign_coords(name=["dry", "warm"], hook=hooks)
    path = write_vectors(ours, tmp_path / "warm_response_avg_diff.pt", name="warm", layout=layout)
    raw, shift = torch.load(path, weights_only=True), layout == "persona_vectors"
    assert raw.shape == (4 + shift, 3) and raw.dtype == torch.float32
    for block in range(4):
        assert np.allclose(
            raw[block + shift], ours.sel(name="warm", hook=f"blocks.{block}.hook_out")
        )
    again = read_vectors(path, layout=layout, n_layers=4)
    assert again["hook"].values.tolist() == hooks and np.allclose(again, ours.sel(name=["warm"]))


def test_a_few_hooks_are_written_where_the_model_is_known(tmp_path: Path) -> None:
    ours = xr.DataArray(np.ones((1, 1, 3)), dims=("name", "hook", "d_model"))
    ours = ours.assign_coords(name=["dry"], hook=["blocks.2.hook_out"])
    with pytest.raises(SchemaError, match=r"\[0, 1\] have none.*n_layers="):
        write_vectors(ours, tmp_path / "dry_diff.pt")
    raw = torch.load(write_vectors(ours, tmp_path / "dry_diff.pt", n_layers=4), weights_only=True)
    assert raw.any(dim=1).tolist() == [False, False, False, True, False]
    with pytest.raises(SchemaError, match="say which"):
        write_vectors(ours.isel(name=[0, 0]).assign_coords(name=["a", "b"]), tmp_path / "x.pt")
    for hook, kind in {
        "blocks.9.hook_out": "blocks",
        "blocks.0.mlp.hook_out": "not the output",
    }.items():
        with pytest.raises((ModelError, SchemaError), match=kind):
            write_vectors(ours.assign_coords(hook=[hook]), tmp_path / "x.pt", n_layers=4)
    with pytest.raises(SchemaError, match="no row for the embedding"):
        write_vectors(
            ours.assign_coords(hook=["blocks.0.hook_in"]),
            tmp_path / "x.pt",
            layout="assistant_axis",
            n_layers=4,
        )


def test_a_read_vector_can_be_used(tmp_path: Path) -> None:
    vectors = read_vectors(saved(DIFF, tmp_path / "evil_diff.pt"))
    edit = add(vectors.sel(name="evil"), hook="blocks.3.hook_out", absolute=2.0)
    assert edit.vectors is not None and np.array_equal(edit.vectors[0], 2 * DIFF[4])


class Bomb:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("read", [read_vectors, read_capping])
def test_a_hostile_pickle_is_refused_and_never_run(read: Any, legacy: bool, tmp_path: Path) -> None:
    path, mark = tmp_path / "evil_diff.pt", tmp_path / "owned"
    torch.save({"axis": DIFF, "x": Bomb(mark)}, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(
        ModelError, match=r"evil_diff\.pt cannot be read .* can run any code: .*mkdir"
    ) as error:
        read(path)
    assert not mark.exists() and "weights_only" not in str(error.value), "torch advises to run it"


def test_a_plain_pickle_is_refused_without_a_word_of_torch(tmp_path: Path) -> None:
    path = tmp_path / "evil_diff.pt"
    path.write_bytes(b"\x80\x04]\x94.")  # an empty list, protocol 4
    with pytest.raises(ModelError, match=r"can run any code: torch\.save did not write it"):
        read_vectors(path)


def test_broken_files_are_refused_by_name(tmp_path: Path) -> None:
    whole = saved(torch.ones(50, 64), tmp_path / "whole_diff.pt").read_bytes()
    (tmp_path / "cut_diff.pt").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty_diff.pt").write_bytes(b"")
    (tmp_path / "text_diff.pt").write_text("not tensors")
    for name in ("cut_diff.pt", "empty_diff.pt", "text_diff.pt", "gone_diff.pt"):
        with pytest.raises(ModelError, match=name):
            read_vectors(tmp_path / name)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (torch.ones(4), r"\[layers, d_model\]; found the shape \(4,\)"),
        (torch.ones(2, 3, 4), r"found the shape \(2, 3, 4\)"),
        (torch.ones(0, 4), "found the shape"),
        (torch.ones(5, 4, dtype=torch.int64), "a tensor \\(5, 4\\) of int64"),
        (torch.full((5, 4), torch.nan), r"not finite in rows \[0, 1, 2, 3, 4\]"),
        ({"a": torch.ones(5, 4), "b": torch.ones(4, 4)}, "one shape"),
        ({"axes": torch.ones(5, 4), "n": 3}, r"found a dict of axes \(Tensor\), n \(int\)"),
        ({"axis": "far"}, r"found a dict of axis \(str\)"),
        ([1, 2], "layer 0' must be a dense tensor of floats; found int 1"),
    ],
)
def test_other_layouts_are_named(content: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=message):
        read_vectors(saved(content, tmp_path / "evil_diff.pt"))


def test_the_count_of_layers_is_never_guessed(tmp_path: Path) -> None:
    path = saved(DIFF, tmp_path / "vector.pt")
    with pytest.raises(ModelError, match="Give layout=, or n_layers="):
        read_vectors(path)
    assert read_vectors(path, n_layers=5).attrs["layout"] == "assistant_axis"
    assert read_vectors(path, n_layers=4).attrs["layout"] == "persona_vectors"
    with pytest.raises(ModelError, match="made for another model"):
        read_vectors(path, n_layers=6)
    with pytest.raises(ModelError, match="other layout"):
        read_vectors(saved(DIFF, tmp_path / "evil_diff.pt"), n_layers=5)
    with pytest.raises(SchemaError, match="did you mean 'assistant_axis'"):
        read_vectors(path, layout="assistant_axes")


CAPPING = {
    "vectors": {"layer_1/contrast": {"vector": torch.tensor([0.0, 3.0]), "layer": 1}},
    "experiments": [
        {"id": "layers_1:2-p0.25", "interventions": [{"vector": "layer_1/contrast", "cap": -16.9}]}
    ],
}


def test_capping_files_round_trip(tmp_path: Path) -> None:
    ((key, (edit,)),) = read_capping(saved(CAPPING, tmp_path / "capping_config.pt")).items()
    assert key == "layers_1:2-p0.25" and edit.hook == "blocks.1.hook_out"
    assert edit.kind == "cap" and edit.values == (-16.9,) and edit.vectors is not None
    assert edit.vectors.tolist() == [[0.0, 1.0]]
    path = write_capping({key: [edit]}, tmp_path / "ours.pt")
    raw = torch.load(path, weights_only=True)
    (step,) = raw["experiments"][0]["interventions"]
    assert step["cap"] == -16.9 and raw["vectors"][step["vector"]]["layer"] == 1
    assert read_capping(path)[key][0].values == edit.values


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (DIFF, "expected a capping file with vectors .*found a tensor"),
        ({"vectors": {}}, "with experiments"),
        (CAPPING | {"vectors": {}}, "with layer_1/contrast"),
        (CAPPING | {"experiments": CAPPING["experiments"] * 2}, "there twice"),
        (CAPPING | {"experiments": [{"id": "a", "interventions": []}]}, "is empty"),
        (
            CAPPING | {"experiments": [{"id": "a", "interventions": [{"vector": "x"}]}]},
            "without cap",
        ),
    ],
)
def test_other_capping_files_are_named(content: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=message):
        read_capping(saved(content, tmp_path / "capping_config.pt"))


def test_a_cap_does_nothing_below_and_the_same_twice() -> None:
    axis = np.random.default_rng(1).normal(size=8)
    h = torch.randn(3, 5, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    along = h @ torch.tensor(axis / np.linalg.norm(axis))

    def capped(acts: torch.Tensor, vector: np.ndarray, at: float) -> torch.Tensor:
        return apply_edit(cap(vector, hook="blocks.0.hook_out", at=at), acts, patch=lambda: acts)

    once = capped(h, axis, 0.2)
    assert torch.equal(capped(h, axis, float(along.max()) + 1e-9), h)
    assert (
        torch.equal(once[along <= 0.2], h[along <= 0.2])
        and (along <= 0.2).any()
        and (along > 0.2).any()
    )
    assert torch.allclose(capped(once, axis, 0.2), once, atol=1e-12)
    assert torch.allclose(
        once @ torch.tensor(axis / np.linalg.norm(axis)), along.clamp(max=0.2), atol=1e-12
    )
    floor = capped(h, -axis, 0.3) @ torch.tensor(axis / np.linalg.norm(axis))
    assert torch.allclose(floor, along.clamp(min=-0.3), atol=1e-12)
    with pytest.raises(SchemaError, match="other than 0"):
        cap(np.zeros(3), hook="blocks.0.hook_out", at=1)
