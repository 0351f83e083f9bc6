"""What does a training step of a crosscoder cost, in steps of a single SAE?

    python benchmarks/crosscoders.py [--pairs 3] [--steps 10]

A step on the residuals of five checkpoints side by side, beside five steps of an SAE of the same
width, each on the residuals of one: as many numbers are read and rebuilt. Both are the BatchTopK
that ``dictionaries.crosscoder`` trains, by the same engine, in one process on one thread; the cost
is CPU seconds of the crosscoder over those of the five, lower is better.
"""

import argparse
import contextlib
import io
import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

os.environ["OMP_NUM_THREADS"] = "1"

import torch
from torch import Tensor
from tqdm import tqdm

from line import Line
from pairs import compare
from persona_interp.dictionaries.blocks import as_rows
from persona_interp.dictionaries.saelens import import_saelens
from persona_interp.dictionaries.saelens_training import Settings, _architecture, _batches
from persona_interp.dictionaries.sparse_training import ENGINES, trainer

COST = "cost, in as many steps of a single SAE"
AT_MOST = 1.3


class Shape(NamedTuple):
    """How large a step is."""

    checkpoints: int = 5
    d_model: int = 256
    d_sae: int = 2048
    k: int = 32
    batch: int = 1024
    n: int = 10_000
    """Tokens in memory."""


def residuals(shape: Shape) -> Tensor:
    """What one sparse code leaves at every checkpoint, dims (checkpoint, token, d_model)."""
    generator = torch.Generator().manual_seed(0)
    decoders = torch.randn(shape.checkpoints, shape.d_sae, shape.d_model, generator=generator)
    chosen = torch.randint(shape.d_sae, (shape.n, shape.k), generator=generator)
    bag = torch.nn.functional.embedding_bag
    acts = torch.stack([bag(chosen, decoder, mode="sum") for decoder in decoders])
    return acts + 0.1 * torch.randn(acts.shape, generator=generator)


def steps_of(blocks: Tensor, *, engine: str, steps: int, shape: Shape) -> Callable[[], None]:
    """A call that takes so many more steps on these checkpoints side by side."""
    from sae_lens import BatchTopKTrainingSAEConfig
    from sae_lens.config import LoggingConfig, SAETrainerConfig

    rows = as_rows(blocks)
    settings = Settings(
        shape.d_sae, shape.k, steps, shape.batch, 1e-3, 0, n_blocks=len(blocks), engine=engine
    )
    torch.manual_seed(0)
    config = BatchTopKTrainingSAEConfig(
        d_in=len(rows.center), d_sae=shape.d_sae, k=shape.k, decoder_init_norm=1.0
    )
    sae: Any = _architecture()(config, settings)
    plan = SAETrainerConfig(
        total_training_samples=0,
        train_batch_size_samples=shape.batch,
        lr=1e-3,
        lr_end=1e-3,
        dead_feature_window=1000,
        logger=LoggingConfig(log_to_wandb=False),
    )
    batches = _batches(rows, batch=shape.batch, seed=0, bar=tqdm(disable=True))
    own = trainer(engine)(plan, sae, batches)

    def run() -> None:
        plan.total_training_samples += steps * shape.batch
        with contextlib.redirect_stderr(io.StringIO()):  # SAELens' progress bar
            own.fit()

    return run


def lines(*, pairs: int, steps: int = 10, shape: Shape | None = None) -> Iterator[Line]:
    """The cost of a crosscoder's step, by engine.

    Args:
        pairs: Interleaved pairs.
        steps: Steps of each run of a pair.
        shape: How large a step is.
    """
    torch.set_num_threads(1)
    import_saelens()
    shape = shape or Shape()
    acts = residuals(shape)
    for engine in ENGINES:
        take = partial(steps_of, engine=engine, steps=steps, shape=shape)
        alone = [take(block[None]) for block in acts]
        ratios = compare(take(acts), lambda alone=alone: [run() for run in alone], pairs=pairs)
        yield Line(
            "crosscoder step",
            f"ours, engine={engine}",
            COST,
            ratios,
            at_most=AT_MOST,
            remark=f"{shape.checkpoints} checkpoints, {shape.d_model} -> {shape.d_sae:,}",
        )


def main() -> None:
    """Print the lines."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--steps", type=int, default=10)
    args = parser.parse_args()
    for line in lines(pairs=args.pairs, steps=args.steps):
        print(line, flush=True)


if __name__ == "__main__":
    main()
