"""A direction that is a row of the unembedding writes that row's token."""

import numpy as np
import pytest
import torch

from persona_interp.errors import SchemaError
from persona_interp.models import Checkpoint, load
from persona_interp.models.explain import pieces
from persona_interp.record import lens


@pytest.fixture(scope="module")
def uneven(
    pair: tuple[Checkpoint, Checkpoint], tmp_path_factory: pytest.TempPathFactory
) -> Checkpoint:
    """A checkpoint whose final norm weighs its dimensions differently."""
    folder = tmp_path_factory.mktemp("uneven")
    model, tokenizer = load(pair[0])
    weight = model.base_model.norm.weight
    weight.data = torch.linspace(0.25, 4, len(weight))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return Checkpoint(folder, stage="uneven", step=0)


def rows_of(checkpoint: Checkpoint) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Unembedding, the norm's weight, and every token's text."""
    model, tokenizer = load(checkpoint)
    unembed = model.get_output_embeddings().weight.detach().double().numpy()
    norm = model.base_model.norm.weight.detach().double().numpy()
    texts = pieces(tokenizer, list(range(len(unembed))))
    return unembed, norm, [texts[i] for i in range(len(unembed))]


@pytest.mark.parametrize("token", [5, 11])
def test_a_row_of_the_unembedding_writes_its_token(uneven: Checkpoint, token: int) -> None:
    unembed, norm, texts = rows_of(uneven)
    table = lens(uneven, unembed[token] / norm, k=3)
    assert table.columns.tolist() == ["token", "weight"] and len(table) == 6
    assert table["token"][0] == texts[token]
    products = unembed @ unembed[token]
    weights = np.sort(products - products.mean())[::-1]
    np.testing.assert_allclose(table["weight"], [*weights[:3], *weights[-3:]], rtol=1e-5)
    # a decoder row as it is: a tensor, whose gradients numpy refuses
    row = torch.as_tensor(unembed[token] / norm).requires_grad_()
    assert lens(uneven, row, k=3).equals(table)


def test_the_opposite_direction_takes_it_away(uneven: Checkpoint) -> None:
    unembed, norm, texts = rows_of(uneven)
    table, away = (lens(uneven, sign * unembed[5] / norm) for sign in (1, -1))
    assert away["token"].iloc[-1] == texts[5]
    assert away["token"].tolist() == table["token"].tolist()[::-1]
    np.testing.assert_allclose(away["weight"], -table["weight"][::-1], rtol=1e-5)


def test_the_norm_counts(uneven: Checkpoint, pair: tuple[Checkpoint, Checkpoint]) -> None:
    vector = np.random.default_rng(0).normal(size=64)
    assert lens(uneven, vector)["token"].tolist() != lens(pair[0], vector)["token"].tolist()


def test_several_directions_are_read_as_one_by_one(uneven: Checkpoint) -> None:
    vectors = np.random.default_rng(0).normal(size=(3, 64))
    table = lens(uneven, vectors, k=2)
    for n, vector in enumerate(vectors):
        part = table.loc[table["row"] == n].drop(columns="row").reset_index(drop=True)
        assert part.equals(lens(uneven, vector, k=2))
    assert lens(uneven, vectors[:1])["row"].tolist() == [0] * 20
    with pytest.raises(SchemaError, match="or rows of that many"):
        lens(uneven, vectors[None])


def test_the_width_of_a_direction_is_that_of_the_model(uneven: Checkpoint) -> None:
    with pytest.raises(
        SchemaError, match=r"a direction of 64 numbers, as wide as the model, or .*; got \(8,\)"
    ):
        lens(uneven, np.ones(8))
