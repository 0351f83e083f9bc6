import numpy as np
import pandas as pd
import pytest
import xarray as xr

from persona_interp import analysis
from persona_interp.errors import SchemaError
from persona_interp.models import Checkpoint
from persona_interp.readers import RoleFile, role_prompts
from persona_interp.record import (
    activations,
    answers,
    assistant_axis,
    conversations,
    role_components,
    role_means,
)

Pair = tuple[Checkpoint, Checkpoint]
HOOKS = ["blocks.0.hook_out", "blocks.1.hook_in"]
ROLES = {
    "default": "",
    "golf": "you are golf .",
    "art": "you really like art .",
    "beach": "you are football beach .",
}


@pytest.fixture(scope="module")
def acts(pair: Pair) -> list[xr.Dataset]:
    """The answers of four roles to the same questions."""
    questions = (
        "what do you like ?",
        "what art ?",
        "what sport do you like ?",
        "do you like golf ?",
    )
    files = [RoleFile(name, (text,)) for name, text in ROLES.items()]
    prompts = pd.concat(
        [role_prompts(role, questions=questions) for role in files], ignore_index=True
    )
    table = answers(pair[0], prompts, n=2, max_new_tokens=6, cache=False)
    return activations(pair[0], conversations(table), hook=HOOKS, position="answer")


def test_the_axis_is_default_minus_the_mean_of_the_roles(acts: list[xr.Dataset]) -> None:
    means = role_means(acts)
    assert [str(m.attrs["hook"]) for m in means] == HOOKS
    assert list(means[0]["prompt"].values) == sorted(ROLES)
    assert int(means[0]["n"].sum()) == acts[0].sizes["prompt"]
    axis = assistant_axis(means)
    for hook, part in zip(HOOKS, acts, strict=True):
        by_role = {
            role: part["act"].values[0][part["role"].values == role].mean(0) for role in ROLES
        }
        expected = by_role["default"] - np.mean(
            [by_role[r] for r in ROLES if r != "default"], axis=0
        )
        np.testing.assert_allclose(
            axis.sel(name="assistant", hook=hook), expected, rtol=1e-4, atol=1e-5
        )
    assert axis["hidden_state"].values.tolist() == [1, 1] and axis["n"].item() == 3


def test_components_are_those_of_the_roles_signed_by_the_axis(acts: list[xr.Dataset]) -> None:
    means = role_means(acts)
    components = role_components(means, n=2)
    axis = assistant_axis(means)
    assert ((components * axis.isel(name=0, drop=True)).sum("d_model") >= 0).all()
    h = means[0].sel(prompt=["art", "beach", "golf"])["act"].values[0]
    _, sizes, axes = np.linalg.svd(h - h.mean(0))
    component = components.sel(name="pc1", hook=HOOKS[0]).values
    assert abs(component @ axes[0]) == pytest.approx(np.linalg.norm(component), rel=1e-4)
    share = sizes**2 / (sizes**2).sum()
    np.testing.assert_allclose(components["variance"].sel(hook=HOOKS[0]), share[:2], rtol=1e-4)


def test_loadings_of_roles_are_their_projections(acts: list[xr.Dataset]) -> None:
    axis = assistant_axis(role_means(acts))
    table = analysis.role_loadings(acts[0], axis).set_index("role")
    assert table["n"].sum() == acts[0].sizes["prompt"] and table["n_clusters"].between(3, 4).all()
    assert table.index[0] == "default" and table["estimate"].iloc[0] > 0
    assert (table["lo"] <= table["estimate"]).all() and (table["estimate"] <= table["hi"]).all()


def test_axis_and_loadings_from_different_questions(acts: list[xr.Dataset]) -> None:
    train, test = (
        [part.sel(prompt=part["split"] == half) for part in acts] for half in ("train", "test")
    )
    table = analysis.role_loadings(test[1], assistant_axis(role_means(train)))
    assert set(table["role"]) == set(ROLES)
    assert table["n"].sum() == test[1].sizes["prompt"] < acts[1].sizes["prompt"]


def planted(strength: float, *, seed: int = 0, n: int = 30, d: int = 40) -> xr.Dataset:
    """Roles spread along one axis, and a default far out on it."""
    rng = np.random.default_rng(seed)
    h = rng.standard_normal((n + 1, d))
    h[:, 0] += 4 * rng.standard_normal(n + 1)
    h[n, 0] = strength
    names = [*(f"role {i}" for i in range(n)), "default"]
    data = xr.Dataset(
        {"act": (("checkpoint", "prompt", "d_model"), h[None])}, attrs={"hook": "blocks.0.hook_out"}
    )
    return data.assign_coords(checkpoint=["base@0"], prompt=names)


def test_the_cosine_has_the_roles_as_its_null() -> None:
    (row,) = analysis.axis_cosine(planted(40.0)).itertuples()
    assert row.cosine > 0.95 and row.cosine > row.null_hi and row.p <= 1 / 30 and row.n_roles == 30
    p = [
        analysis.axis_cosine(planted(4 * np.random.default_rng(s).standard_normal(), seed=s))[
            "p"
        ].item()
        for s in range(40)
    ]
    assert np.mean(np.array(p) <= 0.1) <= 0.2  # an ordinary role is nothing special


def test_bad_roles_are_named(acts: list[xr.Dataset]) -> None:
    means = role_means(acts)
    with pytest.raises(SchemaError, match="role 'defualt' is unknown; did you mean 'default'"):
        assistant_axis(means, default="defualt")
    with pytest.raises(SchemaError, match="there is none"):
        assistant_axis([part.sel(prompt=["default"]) for part in means])
    with pytest.raises(SchemaError, match="needs three beside"):
        analysis.axis_cosine(means[0].sel(prompt=["default", "art"]))
    with pytest.raises(SchemaError, match="coordinate along prompt 'roles' is unknown"):
        role_means(acts, by="roles")
