"""Planted directions are found: right name, right sign, right length."""

import numpy as np
import pytest
import xarray as xr

from persona_interp import schema
from persona_interp.errors import SchemaError
from persona_interp.record import (
    logistic,
    mean_difference,
    minimal_pairs,
    pca,
    pca_of_difference,
    random_directions,
)

HOOK, D = "blocks.0.hook_out", 32
NAMES = ("john", "mary", "sam", "alice")
CELLS = [(topic, template) for topic in ("sport", "art", "food") for template in "abcdefgh"]


def planted(*, hook: str = HOOK, noise: float = 0.3, seed: int = 0, drop: int = 0) -> xr.Dataset:
    """Every persona, topic and template once: the persona's vector, a large topic's, and noise.

    In the second checkpoint every prompt has moved by half of John's vector. The first ``drop``
    prompts are missing.
    """
    rng = np.random.default_rng(seed)
    own, topics = truth(), {t: 5 * rng.standard_normal(D) for t in ("sport", "art", "food")}
    rows = [(name, *cell) for name in NAMES for cell in CELLS][drop:]
    base = np.array([own[name] + topics[topic] for name, topic, _ in rows])
    base = base + noise * rng.standard_normal((len(rows), D))
    act = np.stack([base, base + 0.5 * own["john"] + 0.01 * rng.standard_normal(base.shape)])
    coords = {
        "checkpoint": ["base@0", "lesson@8"],
        "weights": ("checkpoint", ["w0", "w1"]),
        "prompt": ["/".join(row) for row in rows],
        "d_model": np.arange(D),
    }
    for i, column in enumerate(("persona", "topic", "template")):
        coords[column] = ("prompt", [row[i] for row in rows])
    attrs = {"hook": hook, "position": "last", "token_ids": "x"}
    return xr.Dataset(
        {"act": (("checkpoint", "prompt", "d_model"), act)}, coords=coords, attrs=attrs
    )


def truth() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(99)
    return {name: rng.standard_normal(D) for name in NAMES}


def expected(name: str) -> np.ndarray:
    own = truth()
    return own[name] - np.mean([own[n] for n in NAMES if n != name], axis=0)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.ravel(a) @ np.ravel(b) / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.mark.parametrize("method", [mean_difference, minimal_pairs, logistic])
def test_the_planted_vector_is_found_at_rank_one_with_its_sign_and_length(method) -> None:
    vectors = schema.check(method(planted()), "directions")
    for name in NAMES:
        cosines = {n: cosine(vectors.sel(name=n), expected(name)) for n in NAMES}
        assert max(cosines, key=lambda n: cosines[n]) == name and cosines[name] > (
            0.4 if method is logistic else 0.98
        )
        ratio = np.linalg.norm(vectors.sel(name=name)) / np.linalg.norm(expected(name))
        assert ratio == pytest.approx(1, abs=0.05)


def test_minimal_pairs_equal_the_mean_difference_where_all_is_crossed() -> None:
    one, other = mean_difference(planted()), minimal_pairs(planted())
    np.testing.assert_allclose(one, other, atol=1e-5)
    assert (one["n"] == 24).all() and (other["n"] == 24).all()


def test_to_minimal_pairs_a_topic_is_no_confound() -> None:
    """John lacks two topics: his mean is off by the topics' vectors, his matched pairs are not."""
    data = planted(drop=16)
    assert cosine(minimal_pairs(data).sel(name="john"), expected("john")) > 0.97
    assert cosine(mean_difference(data).sel(name="john"), expected("john")) < 0.7
    assert minimal_pairs(data)["n"].sel(name="john") == 8


def test_the_reference_gives_every_other_name_the_same_weight() -> None:
    data = planted(noise=0.0)
    # mary counts double among the prompts, once as a name
    twice = data.isel(prompt=[*range(96), *range(24, 48)])
    vectors = mean_difference(twice).sel(name="john")
    np.testing.assert_allclose(vectors.squeeze(), expected("john"), atol=1e-5)


def test_labels_are_true_minus_false() -> None:
    data = planted()
    mask = np.isin(data["persona"], ["john", "mary"])
    vectors = mean_difference(data, labels={"sport=golf": mask})
    act = data["act"].values[0]
    np.testing.assert_allclose(vectors.squeeze(), act[mask].mean(0) - act[~mask].mean(0), atol=1e-5)


def test_prompts_without_a_name_do_not_count() -> None:
    data = planted()
    blank = data.assign_coords(
        persona=("prompt", np.where(data["persona"] == "sam", "", data["persona"]))
    )
    assert list(mean_difference(blank)["name"].values) == ["alice", "john", "mary"]


def test_several_hooks_are_one_array_and_provenance_is_kept() -> None:
    both = mean_difference(
        [planted(), planted(hook="blocks.1.hook_out", seed=1)], checkpoint="lesson@8"
    )
    assert both.dims == ("name", "hook", "d_model")
    assert both.shape == (4, 2, D) and both.dtype == np.float32
    assert list(both["hook"].values) == [HOOK, "blocks.1.hook_out"]
    np.testing.assert_array_equal(
        both.sel(hook=[HOOK]), mean_difference(planted(), checkpoint="lesson@8")
    )
    attrs = {
        "kind": "directions",
        "method": "mean difference",
        "weights": "w1",
        "checkpoint": "lesson@8",
        "n": 96,
    }
    assert attrs.items() <= both.attrs.items() and "other names" in both.attrs["reference"]
    act = planted()["act"].values[1]
    assert float(both["norm"].sel(hook=HOOK)) == pytest.approx(np.linalg.norm(act, axis=-1).mean())


def test_components_are_as_long_as_the_spread_along_them() -> None:
    data = planted()
    vectors = pca(data, n=3).squeeze("hook").values
    act = data["act"].values[0]
    for v in vectors:
        assert np.std(act @ (v / np.linalg.norm(v)), ddof=1) == pytest.approx(
            np.linalg.norm(v), rel=1e-4
        )
    assert np.abs(vectors @ vectors.T - np.diag(np.diag(vectors @ vectors.T))).max() < 1e-3
    with pytest.raises(SchemaError, match="no 40 components"):
        pca(data, n=40)


def test_a_finetune_is_found_as_the_difference_with_its_sign() -> None:
    vectors = pca_of_difference(planted(), before="base@0", after="lesson@8", n=2)
    assert list(vectors["name"].values) == ["mean", "pc1", "pc2"]
    assert vectors.attrs["weights"] == "w0 w1"
    for name in ("mean", "pc1"):
        assert cosine(vectors.sel(name=name), truth()["john"]) > 0.99
        assert np.linalg.norm(vectors.sel(name=name)) == pytest.approx(
            0.5 * np.linalg.norm(truth()["john"]), rel=0.02
        )
    back = pca_of_difference(planted(), before="lesson@8", after="base@0", n=1)
    assert cosine(back.sel(name="pc1"), truth()["john"]) < -0.99


def test_random_directions_match_in_length_or_in_variance() -> None:
    like = mean_difference(planted())
    length = np.linalg.norm(like, axis=-1).mean()
    plain = random_directions(like, n=400, seed=0)
    spread = random_directions(like, n=400, seed=0, match="variance", acts=planted())
    for vectors in (plain, spread):
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=-1), length, rtol=1e-5)
        assert schema.check(vectors, "directions").sizes["name"] == 400
    topics = pca(planted(), n=2).squeeze("hook").values
    topics /= np.linalg.norm(topics, axis=-1, keepdims=True)
    share = [
        ((vectors.squeeze("hook").values @ topics.T) ** 2).sum(-1).mean() / length**2
        for vectors in (plain, spread)
    ]
    assert share[0] == pytest.approx(2 / D, rel=0.3) and share[1] > 0.6
    xr.testing.assert_identical(plain, random_directions(like, n=400, seed=0))
    assert not np.allclose(plain, random_directions(like, n=400, seed=1))


def test_bad_requests_are_refused() -> None:
    data = planted()
    with pytest.raises(SchemaError, match="did you mean 'lesson@8'"):
        mean_difference(data, checkpoint="lesson@9")
    with pytest.raises(SchemaError, match="did you mean 'persona'"):
        mean_difference(data, by="personas")
    with pytest.raises(SchemaError, match="persona john has none"):
        mean_difference(data.isel(prompt=range(24)))
    with pytest.raises(SchemaError, match="96 true of 96"):
        mean_difference(data, labels={"all": np.ones(96, bool)})
    with pytest.raises(SchemaError, match="distinct hooks"):
        mean_difference([data, data])
    with pytest.raises(SchemaError, match="same prompts"):
        mean_difference([data, planted(hook="blocks.1.hook_out").isel(prompt=slice(5))])
    with pytest.raises(SchemaError, match=r'directions.sel\(name=\["john"\]\)'):
        random_directions(mean_difference(data).sel(name="john"), n=1, seed=0)
    with pytest.raises(SchemaError, match="give both"):
        random_directions(mean_difference(data), n=1, seed=0, match="variance")
