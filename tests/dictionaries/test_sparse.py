"""The sparse step against SAELens' own: the same losses, counts and weights from the same start."""

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from persona_interp.dictionaries.crosscoder import crosscoder
from persona_interp.dictionaries.dictionary import open_dictionary
from persona_interp.dictionaries.planted import Plan, plant
from persona_interp.dictionaries.saelens import train
from persona_interp.dictionaries.sparse import activate, largest
from persona_interp.dictionaries.sparse_training import trainer
from persona_interp.dictionaries.training import fit
from persona_interp.errors import ModelError
from persona_interp.schema.words import Sparsity

HOOK = "blocks.0.hook_out"
BATCH = 64


@pytest.fixture(scope="module")
def rows() -> torch.Tensor:
    """60 directions in 24 dimensions, 3 active at a time, centered and scaled."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(60, 24, generator=generator)
    on = torch.rand(4_000, 60, generator=generator) < 0.05
    acts = (on * (1 + torch.rand(4_000, 60, generator=generator))) @ directions
    acts = acts - acts.mean(0)
    return acts / acts.pow(2).mean().sqrt()


def batches(rows: torch.Tensor) -> Iterator[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    while True:
        yield rows[torch.randint(len(rows), (BATCH,), generator=generator)]


def run(
    engine: str,
    rows: torch.Tensor,
    *,
    name: str,
    steps: int,
    d_sae: int = 80,
    window: int = 50,
    **settings: Any,
) -> Any:
    """Losses of every step, the SAE, and the trainer that made them."""
    from sae_lens import BatchTopKTrainingSAE as BatchTopK
    from sae_lens import BatchTopKTrainingSAEConfig as BatchTopKConfig
    from sae_lens import TopKTrainingSAE as TopK
    from sae_lens import TopKTrainingSAEConfig as TopKConfig
    from sae_lens.config import LoggingConfig, SAETrainerConfig

    kind, config = {"topk": (TopK, TopKConfig), "batchtopk": (BatchTopK, BatchTopKConfig)}[name]
    torch.manual_seed(0)
    sae = kind(config(d_in=24, d_sae=d_sae, k=3, decoder_init_norm=1.0, **settings))
    plan = SAETrainerConfig(
        total_training_samples=BATCH * steps,
        train_batch_size_samples=BATCH,
        lr=3e-3,
        lr_end=3e-4,
        dead_feature_window=window,
        lr_scheduler_name="cosineannealing",
        logger=LoggingConfig(log_to_wandb=False),
    )
    own = trainer(engine)(plan, sae, batches(rows))
    losses, step = [], own._train_step

    def watch(**given: Any) -> Any:
        output = step(**given)
        found = [output.loss, *output.losses.values(), own.dead_neurons.sum()]
        losses.append(torch.stack([value.detach().double() for value in found]))
        return output

    own._train_step = watch
    with contextlib.redirect_stderr(io.StringIO()):
        own.fit()
    return torch.stack(losses), sae, own


@pytest.mark.parametrize("name", ["topk", "batchtopk"])
@pytest.mark.parametrize(
    "settings",
    [{}, {"rescale_acts_by_decoder_norm": False, "apply_b_dec_to_input": False}],
    ids=["defaults", "other settings"],
)
def test_every_step_is_saelens_own(rows: torch.Tensor, name: str, settings: dict[str, Any]) -> None:
    dense, sae, own = run("saelens", rows, name=name, steps=100, **settings)
    sparse, other, also = run("sparse", rows, name=name, steps=100, **settings)
    assert torch.allclose(dense[:3], sparse[:3], rtol=1e-5)
    assert torch.allclose(dense, sparse, rtol=1e-4)
    for one, its in zip(sae.parameters(), other.parameters(), strict=True):
        assert one.shape == its.shape and its.is_contiguous()
        assert torch.allclose(one, its, atol=1e-4)
    assert torch.equal(own.n_forward_passes_since_fired, also.n_forward_passes_since_fired)
    assert torch.equal(own.act_freq_scores, also.act_freq_scores)
    assert sae.cfg.metadata.l0 == other.cfg.metadata.l0
    assert sae.cfg.metadata.num_dead_features == other.cfg.metadata.num_dead_features
    if name == "batchtopk":
        assert other.topk_threshold == pytest.approx(float(sae.topk_threshold), rel=1e-4)


@pytest.mark.parametrize(("d_sae", "n_dead"), [(80, (1, 11)), (640, (13, 640))])
@pytest.mark.parametrize("name", ["topk", "batchtopk"])
def test_dead_features_are_revived_as_saelens_does(
    rows: torch.Tensor, name: str, d_sae: int, n_dead: tuple[int, int]
) -> None:
    """Fewer than half of the width, of which all help, and more, of which the strongest do.

    A feature is dead after one batch here: a few steps later rounding has grown, in either engine.
    """
    dense, sae, _ = run("saelens", rows, name=name, steps=4, d_sae=d_sae, window=1)
    sparse, other, _ = run("sparse", rows, name=name, steps=4, d_sae=d_sae, window=1)
    dead = dense[:, 3].tolist()
    assert any(n_dead[0] <= n <= n_dead[1] for n in dead), dead
    assert dense[:, 2].max() > 0
    assert torch.allclose(dense, sparse, rtol=1e-5)
    for one, its in zip(sae.parameters(), other.parameters(), strict=True):
        # a step of Adam is as long for a gradient that is zero but for rounding
        assert (one - its).abs().gt(1e-4).float().mean() < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("name", ["topk", "batchtopk"])
def test_a_thousand_steps_are_saelens_own(rows: torch.Tensor, name: str) -> None:
    dense, sparse = (run(who, rows, name=name, steps=1000)[0] for who in ("saelens", "sparse"))
    assert ((dense[:, 0] - sparse[:, 0]).abs() / dense[:, 0]).max() < 1e-3


@pytest.mark.parametrize(
    ("shape", "k"), [((7, 100), 3), ((1, 5_000), 40), ((3, 10), 10), ((4, 97), 5), ((2, 9), 4)]
)
def test_the_largest_are_those_of_a_sort(shape: tuple[int, int], k: int) -> None:
    values = torch.randn(*shape, generator=torch.Generator().manual_seed(0))
    for given in (values, values.abs() - 5, values.round(decimals=1)):
        found = given.gather(1, largest(given, k)).sort(dim=1, descending=True).values
        assert torch.equal(found, given.topk(k, dim=1).values)
        places = largest(given, k).sort(dim=1).values
        assert (places.diff(dim=1) > 0).all(), "no place twice"


def test_what_is_not_above_zero_never_fires() -> None:
    ranked = torch.tensor([[2.0, -1.0, 0.0], [-3.0, -2.0, -1.0]])
    for together in (True, False):
        active = activate(ranked, 2, together=together)
        assert (active.rows.tolist(), active.columns.tolist()) == ([0], [0])
        assert active.fires.tolist() == [1, 0, 0]


def test_a_dictionary_is_the_same_by_either_engine(rows: torch.Tensor, tmp_path: Path) -> None:
    """Trained, and with a frozen decoder; kept in SAELens' format."""
    settings = {"hook": HOOK, "d_sae": 80, "k": 3, "steps": 150, "batch": 128}
    given = 3 * rows[None] + 1
    for decoder in ("trained", "random"):
        made = {
            engine: fit(residuals=given, decoder=decoder, engine=engine, **settings)
            for engine in ("saelens", "sparse")
        }
        one, other = made.values()
        assert other.provenance["engine"] == "sparse"
        assert other.provenance["fvu"] == pytest.approx(one.provenance["fvu"], rel=1e-3)
        assert torch.allclose(one.W_dec, other.W_dec, atol=1e-3)
    folder = tmp_path / "sae"
    own = fit(residuals=given, engine="sparse", out=folder, **settings)
    again = open_dictionary(folder)
    assert torch.equal(again.encode(given[0]), own.encode(given[0]))
    from sae_lens import SAE

    plain = SAE.load_from_disk(folder)
    assert torch.equal(plain.encode(given[0]), own.encode(given[0]))


@pytest.mark.parametrize("sparsity", list(Sparsity))
def test_a_crosscoder_is_the_same_by_either_engine(sparsity: str) -> None:
    plan = Plan(n_checkpoints=2, d_model=12, n_features=16, n_tokens=3_000, active=2.0)
    residuals = plant(plan, seed=0).residuals
    settings = {"d_sae": 24, "k": 2.5, "steps": 80, "batch": 128, "hook": HOOK}
    one, other = (
        crosscoder(residuals=residuals, sparsity=sparsity, engine=engine, **settings)
        for engine in ("saelens", "sparse")
    )
    assert torch.allclose(one.decoders, other.decoders, atol=1e-3)
    assert other.dictionary.provenance["engine"] == "sparse"


def test_what_has_no_sparse_step_is_refused(rows: torch.Tensor) -> None:
    from sae_lens import StandardTrainingSAE, StandardTrainingSAEConfig
    from sae_lens.config import SAETrainerConfig

    with pytest.raises(ModelError, match="engine 'sparce' is unknown; did you mean 'sparse'"):
        fit(residuals=rows[None], hook=HOOK, engine="sparce")
    plan = SAETrainerConfig(total_training_samples=64, train_batch_size_samples=64)
    standard = StandardTrainingSAE(StandardTrainingSAEConfig(d_in=24, d_sae=40))
    with pytest.raises(ModelError, match="topk and batchtopk SAEs; got standard"):
        trainer("sparse")(plan, standard, batches(rows))
    plan.autocast = True
    with pytest.raises(ModelError, match="in float32; got autocast=True"):
        run_refused(plan)


def run_refused(plan: Any) -> None:
    from sae_lens import TopKTrainingSAE, TopKTrainingSAEConfig

    trainer("sparse")(plan, TopKTrainingSAE(TopKTrainingSAEConfig(d_in=24, d_sae=40, k=2)), None)


def test_training_stands_where_the_seed_put_it(rows: torch.Tensor) -> None:
    settings = {"hook": HOOK, "d_sae": 40, "k": 3, "steps": 20, "batch": 128, "lr": 1e-3}
    one, same = (train(rows, seed=0, trainer=trainer("sparse"), **settings) for _ in range(2))
    assert torch.equal(one.W_enc, same.W_enc) and torch.equal(one.W_dec, same.W_dec)
