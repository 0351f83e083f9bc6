"""Vectors by layer, in every form that files hold them: read, and never one of them lost."""

import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

from persona_interp.errors import ModelError, PersonaInterpError
from persona_interp.record import cap, read_capping, read_vectors, write_capping, write_vectors

ROWS = torch.arange(1.0, 21.0).reshape(5, 4)  # layer l holds 4 l + 1, ...
BY_LAYER = {layer: ROWS[layer] for layer in range(5)}


def saved(value: Any, path: Path) -> Path:
    torch.save(value, path)
    return path


@pytest.mark.parametrize(
    "content",
    [
        list(ROWS),
        tuple(row[None] for row in ROWS),
        BY_LAYER,
        {str(layer): row for layer, row in BY_LAYER.items()},
        {f"layer_{layer}": row for layer, row in BY_LAYER.items()},
        {4 - layer: ROWS[4 - layer] for layer in range(5)},
        {layer: row.half() for layer, row in BY_LAYER.items()},
        {"vector": BY_LAYER, "metadata": {"model": "org/model"}},
        {"vector": list(ROWS), "role": "evil"},
        {"evil": BY_LAYER},
        {"evil": list(ROWS)},
    ],
)
@pytest.mark.parametrize(("layout", "n_layers"), [("persona_vectors", 4), ("assistant_axis", 5)])
def test_every_form_is_the_tensor_of_its_rows(
    content: Any, layout: str, n_layers: int, tmp_path: Path
) -> None:
    asked = {"layout": layout, "n_layers": n_layers}
    found = read_vectors(saved(content, tmp_path / "evil_diff.pt"), **asked)  # type: ignore[arg-type]
    expected = read_vectors(saved(ROWS, tmp_path / "evil_response_avg_diff.pt"), **asked)  # type: ignore[arg-type]
    xr.testing.assert_equal(found, expected)
    assert found["name"].values.tolist() == ["evil"]


def test_a_few_layers_are_those_layers(tmp_path: Path) -> None:
    path = saved({"3": ROWS[3], 1: ROWS[1]}, tmp_path / "evil.pt")
    with pytest.raises(ModelError, match="Give layout="):
        read_vectors(path)
    with pytest.raises(ModelError, match="Give layout="):
        read_vectors(path, n_layers=5)
    found = read_vectors(path, layout="assistant_axis", n_layers=5)
    assert found["hook"].values.tolist() == ["blocks.1.hook_out", "blocks.3.hook_out"]
    np.testing.assert_array_equal(found.sel(name="evil", hook="blocks.3.hook_out"), ROWS[3])
    with pytest.raises(ModelError, match="the last of layer 3; a model of 3 blocks"):
        read_vectors(path, layout="assistant_axis", n_layers=3)


def test_one_vector_of_a_stated_layer(tmp_path: Path) -> None:
    for stated in ({"layer": 2}, {"metadata": {"layer": "2"}}):
        path = saved({"vector": ROWS[2], "type": "x", **stated}, tmp_path / "pirate.pt")
        found = read_vectors(path, layout="assistant_axis")
        assert found["hook"].values.tolist() == ["blocks.2.hook_out"]
        assert found["name"].values.tolist() == ["pirate"]


@pytest.mark.parametrize("key", ["layer", "layers"])
def test_vectors_of_stated_layers(key: str, tmp_path: Path) -> None:
    content = {"vector": ROWS[2:4], key: [2, 3], "role": "evil"}
    found = read_vectors(saved(content, tmp_path / "a.pt"), layout="assistant_axis")
    assert found["hook"].values.tolist() == ["blocks.2.hook_out", "blocks.3.hook_out"]
    np.testing.assert_array_equal(found.sel(name="evil"), ROWS[2:4])
    for layers in ([2], [2, 2], [2, "top"]):
        path = saved({**content, key: layers}, tmp_path / "b.pt")
        with pytest.raises(ModelError, match="must be 2 different numbers"):
            read_vectors(path, layout="assistant_axis")


def test_a_cap_that_says_two_things_is_refused(tmp_path: Path) -> None:
    path = write_capping(
        {"a": [cap([1.0, 0.0], hook="blocks.3.hook_out", at=1)]}, tmp_path / "a.pt"
    )
    content = torch.load(path, weights_only=True)
    content["vectors"]["layer_3/a/0"]["layer"] = 1
    with pytest.raises(ModelError, match="says that it is of layer 1; which is meant"):
        read_capping(saved(content, path))
    content["vectors"]["layer_3/a/0"]["layer"] = 3
    content["experiments"][0]["interventions"][0]["coefficient"] = 2.0
    with pytest.raises(ModelError, match="says 'coefficient' beside the cap"):
        read_capping(saved(content, path))


def test_several_names_by_layer(tmp_path: Path) -> None:
    content = {"evil": BY_LAYER, "kind": {str(k): 2 * v for k, v in BY_LAYER.items()}}
    found = read_vectors(saved(content, tmp_path / "traits.pt"), n_layers=5)
    assert found["name"].values.tolist() == ["evil", "kind"]
    np.testing.assert_array_equal(found.sel(name="kind"), 2 * found.sel(name="evil"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({5: ROWS[0], "5": ROWS[1]}, "'evil' holds layer 5 twice, once as '5'"),
        ({"05": ROWS[0], "5": ROWS[1]}, "holds layer 5 twice"),
        ({"evil": {5: ROWS[0], "5": ROWS[1]}}, "holds layer 5 twice"),
        ({7.5: ROWS, "7.5": ROWS}, r"the name '7\.5' is there twice"),
        ({"vector": ROWS, "bias": ROWS}, "expected one direction, 'vector'"),
        ({"evil": BY_LAYER, "kind": {0: ROWS[0]}}, "one shape and the same layers"),
        ({0: ROWS[0], 1: ROWS[1, :2]}, "all of one width"),
        ({0: ROWS[:2]}, "one vector a layer"),
        ([ROWS[0], ROWS[1].long()], "'evil, layer 1' must be a dense tensor of floats"),
        ([ROWS[0], ROWS[1] / 0 * 0], "layer 1' has numbers that are not finite"),
        ([], "is empty"),
        ({"axis": ROWS, "evil": ROWS[:2]}, "one shape and the same layers"),
        ({"vector": 5}, "'evil' must be a dense tensor of floats; found int 5"),
        (torch.tensor(1.0), r"found the shape \(\)"),
        ([ROWS[0]] * 100_000, "holds 100,000 vectors; at most 50,000"),
        ([ROWS[0]] * 1001, "is a list of 1,001 layers; at most 1,000"),
        ([None], "is empty"),
        ({"vector": ROWS[0]}, r"must be \[layers, d_model\]; found the shape \(4,\)"),
        ({"vector": ROWS[0], "layer": [2, 3]}, "must be 1 different numbers"),
        ({0: ROWS[0], 10**6: ROWS[1]}, "found the shape|by layer, 0 to 999"),
        ({-1: ROWS[0], 0: ROWS[1]}, "found the shape|by layer"),
        ({True: ROWS[0]}, "found the shape|by layer"),
        ({"evil": {"x" * 5000: ROWS[0]}}, "must hold vectors by layer"),
        ({"evil": {"a": {"b": ROWS[0]}}}, "must hold vectors by layer"),
    ],
)
def test_what_would_lose_a_vector_is_refused(content: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=message) as error:
        read_vectors(saved(content, tmp_path / "evil_diff.pt"))
    assert len(str(error.value)) < 1500


def capping(**step: Any) -> dict[str, Any]:
    vector = {"vector": ROWS[0], "layer": 1} | {k: v for k, v in step.items() if k != "cap"}
    steps = [{"vector": "v", "cap": step.get("cap", 1.5)}]
    return {"vectors": {"v": vector}, "experiments": [{"id": "a", "interventions": steps}]}


@pytest.mark.parametrize("value", [1, 1.0, torch.tensor(1.0)])
def test_caps_are_numbers(value: Any, tmp_path: Path) -> None:
    ((edit,),) = read_capping(saved(capping(cap=value), tmp_path / "c.pt")).values()
    assert edit.values == (1.0,)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (capping(cap="high"), "at a finite number; found layer 1, cap 'high'"),
        (capping(cap=float("nan")), "cap nan"),
        (capping(cap=True), "cap True"),
        (capping(cap=torch.ones(2)), "at a finite number"),
        (capping(layer=-1), "from 0 at a finite number; found layer -1"),
        (capping(layer="1"), r"with layer \(int\)"),
        (capping(vector=torch.zeros(4)), "one vector other than 0"),
        (capping(vector=ROWS), "one vector other than 0"),
        (capping(vector=[1.0]), r"with vector \(Tensor\)"),
        ({"vectors": {}, "experiments": "abc"}, "expected a capping file"),
        ({"vectors": [], "experiments": []}, r"with vectors \(Mapping\)"),
    ],
)
def test_capping_files_with_odd_entries_are_named(
    content: Any, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=message):
        read_capping(saved(content, tmp_path / "c.pt"))


def test_a_vector_named_a_million_times_is_not_copied(tmp_path: Path) -> None:
    content = capping()
    content["experiments"][0]["interventions"] *= 100_000
    with pytest.raises(ModelError, match="more than 10,000 caps"):
        read_capping(saved(content, tmp_path / "c.pt"))


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    """Written beside, synced and renamed: what was there stays until the new file is whole."""
    hook = "blocks.0.hook_out"
    small, large = np.ones((1, 1, 4)), np.ones((1, 1, 200_000))
    coords = {"name": ["dry"], "hook": [hook]}
    made = [
        xr.DataArray(v, dims=("name", "hook", "d_model"), coords=coords) for v in (small, large)
    ]
    writers = {
        "dry_diff.pt": lambda i, path: write_vectors(made[i], path),
        "caps.pt": lambda i, path: write_capping(
            {"a": [cap((small, large)[i].ravel(), hook=hook, at=1.0)]}, path
        ),
    }
    for name, write in writers.items():
        path = write(0, tmp_path / name)
        before = path.read_bytes()
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, hard))
        try:
            with pytest.raises(OSError, match="File too large"):
                write(1, path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert path.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["caps.pt", "dry_diff.pt"]


@pytest.mark.parametrize("read", [read_vectors, read_capping])
@pytest.mark.parametrize("path", ["gone.pt", ".", "a\0b.pt"])
def test_no_file_is_an_error_of_ours(read: Any, path: str, tmp_path: Path) -> None:
    with pytest.raises(PersonaInterpError, match=r"cannot be read|is a folder"):
        read(tmp_path / path)
