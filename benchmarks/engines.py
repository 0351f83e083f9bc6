"""Does the sparse engine train the dictionary that SAELens' trainer does?

    python benchmarks/engines.py [--data planted,tail,...] [--seeds 3] [--steps 1000] [--model PATH]
        [--table FILE.csv]

Five kinds of residuals: ``planted`` (sparse, even rates), ``tail`` (rates and magnitudes with heavy
tails), ``personas`` (features of a group fire together), ``tiny`` (a tiny model trained here) and
``model`` (a real one, ``--model``). On each both engines train from the same start on the same
batches. A row a seed says by how much the losses differ at the first three steps, in their mean and
at most, and of held-out residuals the fraction of variance unexplained, the features a token and
the share of features that never fire. ``itself`` is SAELens against SAELens from a start that is
moved by two units of rounding: what a difference of no meaning grows to.

The engine holds on a kind of residuals if the losses agree within 1e-5 at each of three steps and
within 1e-3 in the mean of all, and if each held-out mean differs from SAELens' by no more than its
spread over seeds. Beside it stands in how many runs every single step agrees within 1e-3: where two
activations at the cut are equal but for rounding, two trainings part, SAELens' from itself too.
Exits with 1 if the engine does not hold on all.
"""

import argparse
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from persona_interp import models, worlds
from persona_interp.dictionaries.harvest import harvest
from persona_interp.dictionaries.planted import NO_EFFECT, Plan, plant
from persona_interp.dictionaries.saelens import train
from persona_interp.dictionaries.sparse_training import trainer
from persona_interp.models.inputs import list_checkpoints

FIRST, WHOLE = 1e-5, 1e-3
"""Relative difference of the losses at each of three steps, and over all."""
HELD_OUT = 0.2
"""Share of the tokens that are not trained on."""
MOVED = 1 + 2**-22
"""Factor of the encoder in the run that SAELens is compared with itself on."""
FIT = ("fvu", "l0", "dead")
EVEN: dict[str, Any] = {"n_checkpoints": 1, "shares": NO_EFFECT, "n_tokens": 40_000}
PLANS = {
    "planted": Plan(**EVEN, tail=0.0, spread=0.2),
    "tail": Plan(**EVEN, tail=1.5, spread=1.2),
    "personas": Plan(**EVEN, correlation=0.7),
}


class Run(NamedTuple):
    """One training: its losses, and how it describes held-out residuals."""

    losses: np.ndarray
    fit: dict[str, float]


def planted(name: str, model: str) -> Tensor:
    """Residuals of a plan, dims (token, d_model)."""
    return torch.as_tensor(plant(PLANS[name], seed=0).residuals[0])


def of_model(name: str, model: str) -> Tensor:
    """Residuals of the middle block of a tiny model trained here, or of a real one."""
    world = worlds.john_and_sam(0)
    n_tokens = 40_000 if name == "tiny" else 12_000
    with tempfile.TemporaryDirectory() as folder:
        corpus = world.corpus(seed=0)
        if name == "tiny":
            out = Path(folder) / "tiny"
            checkpoint: Any = models.train("tiny", corpus, seed=0, out=out, progress=False)[-1]
        else:
            checkpoint = models.resolve(model)
        block = 1 if name == "tiny" else 15
        (one,) = list_checkpoints(checkpoint)
        hook = f"blocks.{block}.hook_out"
        return harvest([one], corpus, hook=hook, n_tokens=n_tokens, seed=0).acts


SOURCES: dict[str, Callable[[str, str], Tensor]] = {
    **dict.fromkeys(PLANS, planted),
    **dict.fromkeys(("tiny", "model"), of_model),
}


def watched(engine: str, losses: list[Tensor], moved: float) -> Callable[..., Any]:
    """What makes a trainer that writes down the loss of every step."""

    def make(plan: Any, sae: Any, batches: Any) -> Any:
        sae.W_enc.data.mul_(moved)
        own = trainer(engine)(plan, sae, batches)
        step = own._train_step

        def watch(**given: Any) -> Any:
            output = step(**given)
            losses.append(output.loss.detach())
            return output

        own._train_step = watch
        return own

    return make


def run(acts: Tensor, engine: str, *, seed: int, steps: int, moved: float = 1.0) -> Run:
    """Train on the first residuals, and measure on the rest."""
    n = int(len(acts) * (1 - HELD_OUT))
    shuffled = acts[torch.randperm(len(acts), generator=torch.Generator().manual_seed(0))]
    losses: list[Tensor] = []
    sae = train(
        shuffled[:n],
        hook="blocks.0.hook_out",
        d_sae=max(256, 2 * acts.shape[1]),
        k=8,
        steps=steps,
        batch=256,
        lr=2e-3,
        seed=seed,
        trainer=watched(engine, losses, moved),
    )
    rows = shuffled[n:]
    feats = sae.encode(rows)
    error = (rows - sae.decode(feats)).double().pow(2).sum()
    fires = feats > 0
    fit = {
        "fvu": float(error / (rows - rows.mean(0)).double().pow(2).sum()),
        "l0": float(fires.double().sum(1).mean()),
        "dead": float((~fires.any(0)).double().mean()),
    }
    return Run(torch.stack(losses).double().numpy(), fit)


def compare(name: str, acts: Tensor, seed: int, steps: int) -> dict[str, Any]:
    """One row: both engines from one start."""
    one, other = (run(acts, who, seed=seed, steps=steps) for who in ("saelens", "sparse"))
    itself = run(acts, "saelens", seed=seed, steps=steps, moved=MOVED)
    row: dict[str, Any] = {"data": name, "seed": seed, "width": acts.shape[1]}
    for label, its in (("sparse", other), ("itself", itself)):
        gap = np.abs(its.losses / one.losses - 1)
        row[f"first_three_{label}"] = gap[:3].max()
        row[f"mean_{label}"] = abs(its.losses.mean() / one.losses.mean() - 1)
        row[f"largest_{label}"] = gap.max()
        row[f"beyond_{label}"] = int((gap > WHOLE).sum())
    for key in FIT:
        row |= {
            key: one.fit[key],
            f"{key}_sparse": other.fit[key],
            f"{key}_itself": itself.fit[key],
        }
    return row


def holds(rows: pd.DataFrame) -> bool:
    """Whether the engine holds on one kind of residuals."""
    within = [(rows["first_three_sparse"] <= FIRST).all(), (rows["mean_sparse"] <= WHOLE).all()]
    for key in FIT:
        spread = rows[key].max() - rows[key].min()
        within.append(abs(rows[f"{key}_sparse"].mean() - rows[key].mean()) <= spread)
    return all(within)


def main() -> None:
    """Print the table and what follows from it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default=",".join(SOURCES))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--model", default="", help="a folder or a file, for `model`")
    parser.add_argument("--table", type=Path, help="where to write the rows")
    args = parser.parse_args()
    names = args.data.split(",")
    if set(names) - set(SOURCES):
        parser.error(f"choose among {', '.join(SOURCES)}; got {args.data}")
    if "model" in names and not args.model:
        parser.error("data of a model needs --model")
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    rows = []
    for name in names:
        acts = SOURCES[name](name, args.model)
        for seed in range(args.seeds):
            rows.append(compare(name, acts, seed, args.steps))
            shown = {k: f"{v:.4g}" if isinstance(v, float) else v for k, v in rows[-1].items()}
            print(*(f"{key}={value}" for key, value in shown.items()), flush=True)
    table = pd.DataFrame(rows)
    if args.table:
        table.to_csv(args.table, index=False)
    verdicts = []
    for name, part in table.groupby("data", sort=False):
        verdicts.append(holds(part))
        word = "holds" if verdicts[-1] else "does not hold"
        counts = [(part[f"beyond_{which}"].to_numpy() == 0).sum() for which in ("sparse", "itself")]
        print(
            f"{name:<10} {word}; every step within {WHOLE:g} in {counts[0]} of {len(part)} runs "
            f"(SAELens against itself: {counts[1]})"
        )
    if not all(verdicts):
        sys.exit(1)


if __name__ == "__main__":
    main()
