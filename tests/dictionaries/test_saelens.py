from pathlib import Path

import pandas as pd
import pytest
import torch

from persona_interp.dictionaries import (
    Dictionary,
    fit,
    hash_dictionary,
    open_dictionary,
    save_dictionary,
)
from persona_interp.dictionaries.harvest import harvest
from persona_interp.dictionaries.saelens import train
from persona_interp.errors import ModelError
from persona_interp.models import Checkpoint

HOOK = "blocks.0.hook_out"
SMALL = {
    "hook": "blocks.0.hook_resid_post",
    "d_sae": 64,
    "k": 4,
    "steps": 100,
    "batch": 256,
    "n_tokens": 600,
}


def test_planted_sparse_features_are_found() -> None:
    """40 directions in 32 dimensions, 2 active at a time, about a mean far longer than they are."""
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(40, 32, generator=generator)
    directions /= directions.norm(dim=1, keepdim=True)
    active = torch.rand(20_000, 40, generator=generator) < 0.05
    acts = (active * (1 + torch.rand(20_000, 40, generator=generator))) @ directions
    acts += 3 * torch.randn(32, generator=generator)
    sae = train(acts, hook=HOOK, d_sae=64, k=3, steps=600, batch=512, lr=2e-3, seed=0)
    feats = sae.encode(acts)
    fvu = (acts - sae.decode(feats)).pow(2).sum() / (acts - acts.mean(0)).pow(2).sum()
    assert fvu < 0.06
    assert (feats > 0).sum(1).float().mean() == pytest.approx(3, abs=0.3)
    assert torch.allclose(sae.W_dec.norm(dim=1), torch.ones(64), atol=1e-5)
    best = (sae.W_dec @ directions.T).max(0).values
    assert best.median() > 0.9


def test_a_dictionary_is_kept_as_it_was(
    counter: Checkpoint, corpus: pd.DataFrame, tmp_path: Path
) -> None:
    dictionary = fit(counter, corpus, out=tmp_path, **SMALL)
    assert isinstance(dictionary, Dictionary)
    assert (dictionary.hook, dictionary.d_sae) == (HOOK, 64)
    again = open_dictionary(tmp_path)
    acts = (
        torch.randn(10, dictionary.d_in, generator=torch.Generator().manual_seed(0))
        + dictionary.mean
    )
    assert torch.equal(again.encode(acts), dictionary.encode(acts))
    assert torch.equal(again.decode(again.encode(acts)), dictionary.decode(dictionary.encode(acts)))
    assert torch.equal(again.mean, dictionary.mean)
    assert (again.name, again.variance) == (dictionary.name, dictionary.variance)
    assert again.provenance == dictionary.provenance
    assert again.provenance["checkpoints"] == ["documents@60"]
    same = fit(counter, corpus, **SMALL)
    other = fit(counter, corpus, seed=1, **SMALL)
    assert (
        hash_dictionary(dictionary)
        == hash_dictionary(again)
        == hash_dictionary(same)
        != hash_dictionary(other)
    )
    with pytest.raises(ModelError, match="holds another dictionary"):
        save_dictionary(other, tmp_path)


def test_a_folder_without_a_dictionary_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"expected a folder with dictionary\.json"):
        open_dictionary(tmp_path)


def test_too_few_tokens_are_refused(counter: Checkpoint, corpus: pd.DataFrame) -> None:
    with pytest.raises(ModelError, match="less than one batch of 1024"):
        fit(counter, corpus.iloc[:10], hook=HOOK)


def test_checkpoints_share_the_tokens(counter: Checkpoint, corpus: pd.DataFrame) -> None:
    twice = Checkpoint(counter.path, stage="again", step=1)
    found = harvest([counter, twice], corpus, hook=HOOK, n_tokens=300, seed=0)
    assert len(found.acts) == 300
    assert found.provenance["checkpoints"] == ["documents@60", "again@1"]
    assert found.provenance["n_excluded_sinks"] == 0


def test_a_random_decoder_stays_where_it_was_drawn() -> None:
    """Same data, steps and seed: the frozen rows are the initial ones, and the rest has learned."""
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(40, 32, generator=generator)
    directions /= directions.norm(dim=1, keepdim=True)
    acts = (torch.rand(20_000, 40, generator=generator) < 0.05).float() @ directions
    same = {"hook": HOOK, "d_sae": 64, "k": 3, "batch": 512, "lr": 2e-3, "seed": 0}
    drawn, frozen, trained = (
        train(acts, steps=steps, frozen=frozen, **same)
        for steps, frozen in ((1, True), (300, True), (300, False))
    )
    assert torch.allclose(frozen.W_dec, drawn.W_dec, atol=1e-6) and not torch.allclose(
        trained.W_dec, drawn.W_dec, atol=0.1
    )
    assert torch.allclose(frozen.W_dec.norm(dim=1), torch.ones(64), atol=1e-5)
    assert not torch.allclose(frozen.W_enc, drawn.W_enc, atol=0.1)
    fvu = [
        float(
            (acts - sae.decode(sae.encode(acts))).pow(2).sum() / (acts - acts.mean(0)).pow(2).sum()
        )
        for sae in (trained, frozen, drawn)
    ]
    assert fvu[0] < fvu[1] < fvu[2]
    near = [(sae.W_dec @ directions.T).max(0).values.median() for sae in (trained, frozen)]
    assert near[0] > 0.9 and near[1] < 0.7


def test_the_decoder_is_in_the_provenance(
    counter: Checkpoint, corpus: pd.DataFrame, tmp_path: Path
) -> None:
    random = fit(counter, corpus, decoder="random", out=tmp_path, **{**SMALL, "steps": 10})
    assert open_dictionary(tmp_path).provenance["decoder"] == "random" and random.name.endswith(
        "-random-decoder"
    )
    with pytest.raises(ModelError, match="decoder 'randm' is unknown; did you mean 'random'"):
        fit(counter, corpus, decoder="randm", **SMALL)
