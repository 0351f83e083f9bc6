import numpy as np
import pandas as pd
import pytest
import xarray as xr

from persona_interp.analysis import effective_answers, separability, trait_scores
from persona_interp.errors import SchemaError


def rows(
    trait: str, question: str, *, pos: list[float], neg: list[float]
) -> list[dict[str, object]]:
    sides = {"pos": pos, "neg": neg}
    key = {"checkpoint": "base@0", "trait": trait, "question": question, "split": "test"}
    return [
        {**key, "side": side, "sample": i, "bits": bits, "n_tokens": 10}
        for side, v in sides.items()
        for i, bits in enumerate(v)
    ]


def test_scores_are_bits_a_token_by_question() -> None:
    table = pd.DataFrame(
        [
            *rows("dry", "a", pos=[-10, -30], neg=[-40]),
            *rows("dry", "b", pos=[-50], neg=[-20]),
            *rows("dry", "c", pos=[], neg=[-1]),
        ]
    )
    found = trait_scores(table)
    assert found["question"].tolist() == ["a", "b"] and found[
        "logodds"
    ].to_numpy() == pytest.approx([2, -3])
    assert found["n_pos"].tolist() == [2, 1] and found.attrs["n_one_sided"] == 1
    more = pd.concat([table, table.assign(side="default", bits=-1e6)])
    pd.testing.assert_frame_equal(trait_scores(more), found)


def test_a_trait_without_a_side_is_named() -> None:
    table = pd.DataFrame(
        [*rows("dry", "a", pos=[-1], neg=[-2]), *rows("wry", "a", pos=[-1], neg=[])]
    )
    with pytest.raises(SchemaError, match="trait 'wry' has no question with answers of both sides"):
        trait_scores(table)
    with pytest.raises(SchemaError, match="trait 'wry'"):
        trait_scores(table.query("trait == 'wry'"))


def acts(strength: float, *, n: int = 40, d: int = 16, seed: int = 0) -> xr.Dataset:
    """Two answers a question, apart by ``strength`` along the first axis."""
    side = np.array(["pos", "neg"] * n)
    h = np.random.default_rng(seed).standard_normal((1, 2 * n, d))
    h[0, :, 0] += np.where(side == "pos", strength, -strength) / 2
    along = {
        "trait": ["dry"] * 2 * n,
        "side": side,
        "question": np.repeat([f"q{i}" for i in range(n)], 2),
    }
    along["split"] = np.repeat(["train", "test"] * (n // 2), 2)
    data = xr.Dataset(
        {"act": (("checkpoint", "prompt", "d_model"), h)}, attrs={"hook": "blocks.0.hook_out"}
    )
    coords = {name: ("prompt", values) for name, values in along.items()}
    return data.assign_coords(checkpoint=["base@0"], prompt=np.arange(2 * n).astype(str), **coords)


def test_separability_finds_a_planted_trait_and_none_where_there_is_none() -> None:
    (found,) = separability(acts(3.0)).itertuples()
    assert (
        found.auroc > 0.9
        and found.lo > 0.7
        and (found.n_pos, found.n_neg, found.n_questions) == (20, 20, 20)
    )
    covered = [
        row.lo <= 0.5 <= row.hi
        for seed in range(30)
        for row in separability(acts(0.0, seed=seed)).itertuples()
    ]
    assert np.mean(covered) > 0.8


def test_separability_does_not_see_the_training_half() -> None:
    data = acts(0.0)
    train = data["split"] == "train"
    push = xr.where(train & (data["side"] == "pos"), 50.0, 0.0)
    easy = data.assign(act=data["act"] + push)
    assert separability(easy)["auroc"].item() < 0.8


def test_both_sides_of_both_halves_are_needed() -> None:
    data = acts(1.0)
    with pytest.raises(SchemaError, match="trait 'dry' has no answers of train neg"):
        separability(
            data.isel(prompt=((data["split"] == "test") | (data["side"] == "pos")).to_numpy())
        )
    with pytest.raises(SchemaError, match="coordinate along prompt 'side' is unknown"):
        separability(data.drop_vars("side"))


def test_ineffective_answers_go_in_pairs() -> None:
    rows = [("pos", "a", 90, 90), ("neg", "a", 10, 90), ("pos", "b", 90, 90), ("neg", "b", 50, 90)]
    rows += [
        ("pos", "c", 50, 50),
        ("neg", "c", 49, 50),
        ("pos", "d", 90, np.nan),
        ("neg", "d", 10, 90),
    ]
    table = pd.DataFrame(rows, columns=["side", "question", "dry", "coherence"]).assign(
        trait="dry", sample=0
    )
    other = table.query("question == 'a'").assign(trait="wry", wry=[np.nan, 1.0])
    found = effective_answers(
        pd.concat([table, other], ignore_index=True).sample(frac=1, random_state=1)
    )
    assert sorted(found["question"]) == ["a", "a", "c", "c"] and set(found["trait"]) == {"dry"}
    assert found.attrs["kept"] == {"dry": (2, 4), "wry": (0, 1)}
    with pytest.raises(SchemaError, match="expected one answer of side pos and one of neg"):
        effective_answers(table.iloc[1:])
    with pytest.raises(SchemaError, match="column 'dry' is unknown"):
        effective_answers(table.drop(columns="dry"))
