"""How fast is a training step of an SAE, and how fast are a few features of a wide one?

    python benchmarks/sae.py [step] [subset] [--pairs 5] [--steps 10]

``step``: 576 -> 4,608 features, k 32, batch 1,024, residuals in memory, one thread. The reference
is the plainest dense step of torch with Adam: no clipping, no dead counts. Beside it stand SAELens'
own ``SAETrainer``, the sparse engine, and dictionary_learning and sparsify where they are
installed.

``subset``: 50 of 65,536 JumpReLU features. The reference encodes all of them by SAELens, 1,024 rows
at a time, and keeps the fifty; differences and flips are counted beside.

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

os.environ["OMP_NUM_THREADS"] = "1"

import torch
from torch import Tensor

from pairs import compare
from persona_interp.dictionaries.dictionary import SparseDictionary
from persona_interp.dictionaries.saelens import import_saelens
from persona_interp.dictionaries.sparse_training import trainer
from persona_interp.dictionaries.subset import FeatureEncoder, encode_features

WIDTH, N_FEATURES, K, BATCH = 576, 4608, 32, 1024
WIDE, FEW, ROWS = 65_536, 50, 20_000
TARGETS = {"topk": 3.5, "batchtopk": 4.0, "subset": 1000.0}
"""How many times as fast as its reference each has to be."""


def residuals() -> Tensor:
    """Sums of 32 of 4,608 directions and noise, dims (token, d_in)."""
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(N_FEATURES, WIDTH, generator=generator)
    chosen = torch.randint(N_FEATURES, (ROWS, K), generator=generator)
    acts = torch.nn.functional.embedding_bag(chosen, directions, mode="sum")
    acts += 0.1 * torch.randn(ROWS, WIDTH, generator=generator)
    return acts / acts.pow(2).mean().sqrt()


def batches(acts: Tensor) -> Iterator[Tensor]:
    """Endless random batches."""
    generator = torch.Generator().manual_seed(1)
    while True:
        yield acts[torch.randint(len(acts), (BATCH,), generator=generator)]


def dense(name: str, acts: Tensor, steps: int) -> Callable[[], None]:
    """The plainest dense steps."""
    generator = torch.Generator().manual_seed(0)
    decoder = torch.randn(N_FEATURES, WIDTH, generator=generator)
    decoder /= decoder.norm(dim=1, keepdim=True)
    W_dec = torch.nn.Parameter(decoder)
    W_enc = torch.nn.Parameter(decoder.T.contiguous())
    b_enc = torch.nn.Parameter(torch.zeros(N_FEATURES))
    b_dec = torch.nn.Parameter(torch.zeros(WIDTH))
    optimizer = torch.optim.Adam([W_enc, b_enc, W_dec, b_dec], lr=1e-3)
    source = batches(acts)

    def run() -> None:
        for _ in range(steps):
            x = next(source)
            pre = torch.relu((x - b_dec) @ W_enc + b_enc)
            ranked, k = (pre, K) if name == "topk" else (pre.flatten(), K * BATCH)
            top = ranked.topk(k, dim=-1, sorted=False)
            feats = torch.zeros_like(ranked).scatter(-1, top.indices, top.values).view_as(pre)
            loss = (feats @ W_dec + b_dec - x).pow(2).sum(dim=1).mean()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()

    return run


def engine(which: str, name: str, acts: Tensor, steps: int) -> Callable[[], None]:
    """Steps of SAELens' ``fit``, or of the sparse engine's."""
    from sae_lens import BatchTopKTrainingSAE as BatchTopK
    from sae_lens import BatchTopKTrainingSAEConfig as BatchTopKConfig
    from sae_lens import TopKTrainingSAE as TopK
    from sae_lens import TopKTrainingSAEConfig as TopKConfig
    from sae_lens.config import LoggingConfig, SAETrainerConfig

    kind, config = {"topk": (TopK, TopKConfig), "batchtopk": (BatchTopK, BatchTopKConfig)}[name]
    torch.manual_seed(0)
    sae = kind(config(d_in=WIDTH, d_sae=N_FEATURES, k=K, decoder_init_norm=1.0))
    plan = SAETrainerConfig(
        total_training_samples=0,
        train_batch_size_samples=BATCH,
        lr=1e-3,
        lr_end=1e-3,
        dead_feature_window=1000,
        logger=LoggingConfig(log_to_wandb=False),
    )
    own = trainer(which)(plan, sae, batches(acts))

    def run() -> None:
        plan.total_training_samples += steps * BATCH
        with contextlib.redirect_stderr(io.StringIO()):  # SAELens' progress bar
            own.fit()

    return run


def dictionary_learning(name: str, acts: Tensor, steps: int) -> Callable[[], None]:
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
        activation_dim=WIDTH,
        dict_size=N_FEATURES,
        k=K,
        layer=0,
        lm_name="none",
        lr=1e-3,
        seed=0,
        device="cpu",
    )
    source, step = batches(acts), iter(range(1, 100_000))

    def run() -> None:
        for _ in range(steps):
            own.update(next(step), next(source))

    return run


def sparsify(name: str, acts: Tensor, steps: int) -> Callable[[], None]:
    """Steps of sparsify's coder with Adam; it has no BatchTopK."""
    if name != "topk":
        raise ImportError("sparsify has no BatchTopK")
    peer = import_module("sparsify")
    coder = peer.SparseCoder(WIDTH, peer.SparseCoderConfig(num_latents=N_FEATURES, k=K))
    optimizer, source = torch.optim.Adam(coder.parameters(), lr=1e-3), batches(acts)

    def run() -> None:
        for _ in range(steps):
            coder(next(source)).fvu.backward()
            optimizer.step()
            optimizer.zero_grad()
            coder.set_decoder_norm_to_unit_norm()

    return run


def measure_steps(pairs: int, steps: int) -> bool:
    """Print the speed of every trainer; whether the sparse engine is as fast as asked for."""
    acts, met = residuals(), True
    for name in ("topk", "batchtopk"):
        contenders = {
            "dense again": dense,
            "SAELens": partial(engine, "saelens"),
            "dictionary_learning": dictionary_learning,
            "sparsify": sparsify,
            "engine='sparse'": partial(engine, "sparse"),
        }
        for label, make in contenders.items():
            try:
                contender = make(name, acts, steps)
            except ImportError as error:
                print(f"{name:<10} {label:<22} not run: {error}", flush=True)
                continue
            ratios = compare(dense(name, acts, steps), contender, pairs=pairs)
            verdict = ""
            if label == "engine='sparse'":
                is_met = ratios.median >= TARGETS[name]
                met &= is_met
                verdict = f"   target {TARGETS[name]:g}: {'PASS' if is_met else 'FAIL'}"
            print(f"{name:<10} {label:<22} {ratios}{verdict}", flush=True)
        saelens, sparse = (engine(which, name, acts, steps) for which in ("saelens", "sparse"))
        ratios = compare(saelens, sparse, pairs=pairs)
        print(f"{name:<10} {'sparse over SAELens':<22} {ratios}", flush=True)
    return met


def measure_subset(pairs: int) -> bool:
    """Print the speed of fifty features and how they differ; whether that is as asked for."""
    from sae_lens import JumpReLUSAE, JumpReLUSAEConfig

    generator = torch.Generator().manual_seed(0)
    sae = JumpReLUSAE(JumpReLUSAEConfig(d_in=WIDTH, d_sae=WIDE)).requires_grad_(requires_grad=False)
    decoder = torch.randn(WIDE, WIDTH, generator=generator)
    decoder /= decoder.norm(dim=1, keepdim=True)
    sae.W_dec.copy_(decoder)
    sae.W_enc.copy_(decoder.T)
    sae.b_enc.copy_(0.1 * torch.randn(WIDE, generator=generator))
    sae.b_dec.copy_(torch.randn(WIDTH, generator=generator))
    sae.threshold.fill_(3.0)
    own = SparseDictionary(sae, "wide", "blocks.0.hook_out", torch.zeros(WIDTH), 1.0)
    few = torch.randperm(WIDE, generator=generator)[:FEW].tolist()
    acts = torch.randn(ROWS, WIDTH, generator=generator) + sae.b_dec
    once = FeatureEncoder(own, few)

    kept: dict[int, Tensor] = {}

    def whole(rows: Tensor) -> None:
        kept[len(rows)] = torch.cat([sae.encode(part)[:, few] for part in rows.split(1024)])

    met = True
    for label, n, contender in (
        ("read in each call", ROWS, lambda rows: encode_features(own, rows, features=few)),
        ("read in each call", 2048, lambda rows: encode_features(own, rows, features=few)),
        ("read once", 2048, once.encode),
    ):
        rows = acts[:n]
        ratios = compare(partial(whole, rows), partial(contender, rows), pairs=pairs)
        verdict = ""
        if n == ROWS:
            met = ratios.median >= TARGETS["subset"]
            verdict = f"   target {TARGETS['subset']:g}: {'PASS' if met else 'FAIL'}"
        print(f"{n:>6} rows, {label:<20} {ratios}{verdict}", flush=True)
    full, found = kept[ROWS], encode_features(own, acts, features=few)
    flipped = (full > 0) != (found > 0)
    gap = float((full - found)[~flipped].abs().max())
    outside = int((flipped & ((full + found - 3.0).abs() > 1e-5)).sum())
    print(
        f"largest difference {gap:.1e}, flips {int(flipped.sum())} of {flipped.numel():,} "
        f"({int((full > 0).sum()):,} fire), outside a band of 1e-5: {outside}"
    )
    return met and gap <= 1e-5 and not outside


def main() -> None:
    """Measure what is asked for; exit with 1 where a target is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="*", help="step, subset; both by default")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10, help="steps of each run of a pair")
    args = parser.parse_args()
    what = args.what or ["step", "subset"]
    if set(what) - {"step", "subset"}:
        parser.error(f"choose among step and subset; got {' '.join(what)}")
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # of peers
    import_saelens()
    met = True
    if "step" in what:
        met &= measure_steps(args.pairs, args.steps)
    if "subset" in what:
        met &= measure_subset(min(args.pairs, 3))
    if not met:
        sys.exit(1)


if __name__ == "__main__":
    main()
