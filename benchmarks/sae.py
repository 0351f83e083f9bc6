"""How fast is a training step of an SAE?

    python benchmarks/sae.py [--pairs 5] [--steps 10]

576 -> 4,608 features, k 32, batch 1,024, residuals in memory, one thread. The reference is the
plainest dense step of torch with Adam: no clipping, no dead counts. Beside it stand SAELens' own
``SAETrainer``, the sparse engine, and dictionary_learning and sparsify where they are installed.
Each line is min/median/max of how many times as fast as the reference, in interleaved pairs.
"""

import argparse
import contextlib
import io
import os
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from typing import Any, NamedTuple

os.environ["OMP_NUM_THREADS"] = "1"

import torch
from torch import Tensor

from line import Line, beside
from persona_interp.dictionaries.saelens import import_saelens
from persona_interp.dictionaries.sparse_training import ENGINES, trainer
from persona_interp.schema.words import Ruling

TARGETS = {"topk": 3.5, "batchtopk": 4.0}
"""How many times as fast as the dense step each has to be."""
SPEED = "speed, in dense torch steps"
OURS = "ours, engine=sparse"


class Shape(NamedTuple):
    """How large a step is."""

    d_in: int = 576
    d_sae: int = 4608
    k: int = 32
    batch: int = 1024
    n: int = 20_000
    """Rows in memory."""
    device: str = "cpu"


SHAPE = Shape()


def residuals(shape: Shape = SHAPE) -> Tensor:
    """Sums of k directions and noise, dims (row, d_in)."""
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(shape.d_sae, shape.d_in, generator=generator)
    chosen = torch.randint(shape.d_sae, (shape.n, shape.k), generator=generator)
    acts = torch.nn.functional.embedding_bag(chosen, directions, mode="sum")
    acts += 0.1 * torch.randn(shape.n, shape.d_in, generator=generator)
    return (acts / acts.pow(2).mean().sqrt()).to(shape.device)


def batches(acts: Tensor, batch: int) -> Iterator[Tensor]:
    """Endless random batches."""
    generator = torch.Generator().manual_seed(1)
    while True:
        yield acts[torch.randint(len(acts), (batch,), generator=generator).to(acts.device)]


def dense(name: str, acts: Tensor, steps: int, shape: Shape) -> Callable[[], None]:
    """The plainest dense steps."""
    generator = torch.Generator().manual_seed(0)
    decoder = torch.randn(shape.d_sae, shape.d_in, generator=generator)
    decoder = (decoder / decoder.norm(dim=1, keepdim=True)).to(shape.device)
    W_dec = torch.nn.Parameter(decoder)
    W_enc = torch.nn.Parameter(decoder.T.contiguous())
    b_enc = torch.nn.Parameter(torch.zeros(shape.d_sae, device=shape.device))
    b_dec = torch.nn.Parameter(torch.zeros(shape.d_in, device=shape.device))
    optimizer = torch.optim.Adam([W_enc, b_enc, W_dec, b_dec], lr=1e-3)
    source = batches(acts, shape.batch)

    def run() -> None:
        for _ in range(steps):
            x = next(source)
            pre = torch.relu((x - b_dec) @ W_enc + b_enc)
            ranked, k = (pre, shape.k) if name == "topk" else (pre.flatten(), shape.k * shape.batch)
            top = ranked.topk(k, dim=-1, sorted=False)
            feats = torch.zeros_like(ranked).scatter(-1, top.indices, top.values).view_as(pre)
            loss = (feats @ W_dec + b_dec - x).pow(2).sum(dim=1).mean()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()

    return run


def engine(which: str, name: str, acts: Tensor, steps: int, shape: Shape) -> Callable[[], None]:
    """Steps of SAELens' ``fit``, or of the sparse engine's."""
    from sae_lens import BatchTopKTrainingSAE as BatchTopK
    from sae_lens import BatchTopKTrainingSAEConfig as BatchTopKConfig
    from sae_lens import TopKTrainingSAE as TopK
    from sae_lens import TopKTrainingSAEConfig as TopKConfig
    from sae_lens.config import LoggingConfig, SAETrainerConfig

    kind, config = {"topk": (TopK, TopKConfig), "batchtopk": (BatchTopK, BatchTopKConfig)}[name]
    torch.manual_seed(0)
    sae = kind(config(d_in=shape.d_in, d_sae=shape.d_sae, k=shape.k, decoder_init_norm=1.0))
    sae.to(shape.device)
    plan = SAETrainerConfig(
        total_training_samples=0,
        train_batch_size_samples=shape.batch,
        lr=1e-3,
        lr_end=1e-3,
        dead_feature_window=1000,
        device=shape.device,
        logger=LoggingConfig(log_to_wandb=False),
    )
    own = trainer(which)(plan, sae, batches(acts, shape.batch))

    def run() -> None:
        plan.total_training_samples += steps * shape.batch
        with contextlib.redirect_stderr(io.StringIO()):  # SAELens' progress bar
            own.fit()

    return run


def dictionary_learning(name: str, acts: Tensor, steps: int, shape: Shape) -> Callable[[], None]:
    """Steps of dictionary_learning's trainer, whose nnsight is for harvesting alone."""
    stub = types.ModuleType("nnsight")
    stub.__dict__["LanguageModel"] = object
    sys.modules.setdefault("nnsight", stub)
    file, kind = {
        "topk": ("top_k", "TopKTrainer"),
        "batchtopk": ("batch_top_k", "BatchTopKTrainer"),
    }[name]
    own = getattr(import_module(f"dictionary_learning.trainers.{file}"), kind)(
        steps=100_000,
        activation_dim=shape.d_in,
        dict_size=shape.d_sae,
        k=shape.k,
        layer=0,
        lm_name="none",
        lr=1e-3,
        seed=0,
        device=shape.device,
    )
    source, step = batches(acts, shape.batch), iter(range(1, 100_000))

    def run() -> None:
        for _ in range(steps):
            own.update(next(step), next(source))

    return run


def sparsify(name: str, acts: Tensor, steps: int, shape: Shape) -> Callable[[], None]:
    """Steps of sparsify's coder with Adam, which is always TopK."""
    peer = import_module("sparsify")
    coder = peer.SparseCoder(shape.d_in, peer.SparseCoderConfig(num_latents=shape.d_sae, k=shape.k))
    optimizer, source = torch.optim.Adam(coder.parameters(), lr=1e-3), batches(acts, shape.batch)

    def run() -> None:
        for _ in range(steps):
            coder(next(source)).fvu.backward()
            optimizer.step()
            optimizer.zero_grad()
            coder.set_decoder_norm_to_unit_norm()

    return run


def lines(*, pairs: int, steps: int = 10, shape: Shape = SHAPE) -> Iterator[Line]:
    """The speed of every trainer.

    Args:
        pairs: Interleaved pairs.
        steps: Steps of each run of a pair.
        shape: How large a step is.
    """
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # of peers
    import_saelens()
    acts = residuals(shape)
    for name, least in TARGETS.items():
        work = f"SAE step, {name}"
        contenders: dict[str, tuple[Any, tuple[str, ...]]] = {
            "dense torch again": (dense, ()),
            "SAELens SAETrainer": (partial(engine, "saelens"), ("sae_lens",)),
            "dictionary_learning update": (dictionary_learning, ("dictionary_learning",)),
            "sparsify SparseCoder + Adam": (sparsify, ("sparsify",)),
            OURS: (partial(engine, "sparse"), ("sae_lens",)),
        }
        for label, (make, peers) in contenders.items():
            line = Line(work, label, SPEED, at_least=least if label == OURS else None)
            if make is sparsify and name != "topk":
                yield line._replace(remark="it has no BatchTopK")
                continue
            reference = dense(name, acts, steps, shape)
            maker = partial(make, name, acts, steps, shape)
            yield beside(line, reference, maker, pairs=pairs, peers=peers)
        saelens, sparse = (partial(engine, which, name, acts, steps, shape) for which in ENGINES)
        line = Line(work, OURS, "speed, in SAELens' steps")
        yield beside(line, saelens(), sparse, pairs=pairs)


def main() -> None:
    """Print the lines; exit with 1 where a target is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10, help="steps of each run of a pair")
    args = parser.parse_args()
    met = True
    for line in lines(pairs=args.pairs, steps=args.steps):
        print(f"{line.work:<20} {line}", flush=True)
        met &= line.verdict != Ruling.FAILS
    if not met:
        sys.exit(1)


if __name__ == "__main__":
    main()
