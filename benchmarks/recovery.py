"""Which method finds planted features, their statuses and when they changed? A table per condition.

    python benchmarks/recovery.py --preset first --seed 101 --out docs/results/recovery.csv
    python benchmarks/recovery.py --preset nulls --seed 201 --out nulls.csv

Truth: ``dictionaries.planted``. Presets: ``small`` (minutes), ``first`` (64 dims, 5 checkpoints, 4
times overcomplete), ``eight`` (8 checkpoints), ``grid`` (overcompleteness, correlation, tokens;
hours), ``copula`` (another generator, ``planted/copula.py``; inside and outside of that regime) and
``nulls`` (20 crosscoders of checkpoints that do not differ, 25 relabelings each).
Rows are appended as they come, so that a run that is stopped keeps what it has.
"""

import argparse
import itertools
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from persona_interp.analysis import statuses
from persona_interp.dictionaries.planted import NO_EFFECT, Plan, Planted, plant
from persona_interp.schema.words import Status
from planted.copula import copula
from recovery_methods import METHODS, Settings, crosscoder_sums

FIRST = Plan(n_features=256, correlation=0.3, faint=0.3, composed=0.3)
SMALL = replace(FIRST, n_checkpoints=4, d_model=48, n_features=96, n_tokens=60_000)
EIGHT = replace(FIRST, n_checkpoints=8, n_features=128)
LONG, SHORT = Settings(steps=2400), Settings(steps=1000)
PRESETS: dict[str, list[tuple[str, Plan, Settings]]] = {
    "small": [("small", SMALL, SHORT)],
    "first": [("first", FIRST, LONG)],
    "eight": [("eight", EIGHT, LONG)],
    "grid": [
        (
            f"x{over}-c{correlation}-n{n_tokens}",
            replace(FIRST, n_features=64 * over, correlation=correlation, n_tokens=n_tokens),
            LONG,
        )
        for over, correlation, n_tokens in itertools.product(
            (1, 2, 4, 8), (0.0, 0.3, 0.6), (20_000, 150_000)
        )
    ],
}
COPULA = {
    "copula": {"checkpoints": 5, "width": 64, "features": 256},
    "copula, 8 checkpoints": {"checkpoints": 8, "width": 64, "features": 128},
    "copula, 128 dims": {"checkpoints": 5, "width": 128, "features": 256},
    "copula, 20k tokens": {"checkpoints": 5, "width": 64, "features": 256, "tokens": 20_000},
    "copula, correlation .6": {"checkpoints": 5, "width": 64, "features": 256, "correlation": 0.6},
    "copula, 8 times": {"checkpoints": 5, "width": 64, "features": 512},
}
N_NULLS, N_RELABELINGS = 20, 25
CLAIMS = (
    Status.AMPLIFIED,
    Status.SHRUNK,
    Status.ROTATED,
    Status.BORN,
    Status.DIED,
    Status.SPLIT,
)


def conditions(preset: str, *, seed: int) -> Iterator[tuple[str, Planted, Settings]]:
    """Name, truth and training of each condition of a preset."""
    if preset == "copula":
        for name, shape in COPULA.items():
            yield name, copula(seed, **{"tokens": 150_000, "correlation": 0.3, **shape}), LONG
    else:
        for name, plan, settings in PRESETS[preset]:
            yield name, plant(plan, seed=seed), settings


def compare(
    name: str, planted: Planted, settings: Settings, *, seed: int, only: list[str]
) -> Iterator[dict[str, Any]]:
    """One row a method."""
    for method, run in METHODS.items():
        if only and method not in only:
            continue
        start, cpu = time.time(), time.process_time()
        findings = run(planted, settings)
        row = {"condition": name, "seed": seed, "method": method}
        row |= {"seconds": time.time() - start, "cpu": time.process_time() - cpu}
        yield row | judge(planted, findings)


def judge(planted: Planted, findings: pd.DataFrame) -> dict[str, float]:
    """What of the truth a method found.

    Args:
        planted: The truth.
        findings: One row a planted feature: ``cosine`` of what was found for it, ``status`` and
            ``at`` that were read ("" and -1 where the method reads none), ``ratio`` (norm after
            over before); ``attrs["claims"]``: status and best cosine of whatever else was claimed.

    Returns:
        Shares, NaN where a method says nothing of the kind.
    """
    truth = {name: planted.truth[name].to_numpy() for name in planted.truth}
    own = {name: findings[name].to_numpy() for name in findings}
    recovered = own["cosine"] >= 0.9
    row = {"recovered": float(recovered.mean()), "cosine": float(np.median(own["cosine"]))}
    for status in planted.truth["status"].unique():
        row[f"recovered {status}"] = float(recovered[truth["status"] == status].mean())
    if not any(own["status"]):
        return row
    right = own["status"] == truth["status"]
    row["status right"] = _mean(right[recovered])
    row["not decided"] = _mean((own["status"] == Status.UNDECIDED)[recovered])
    born = recovered & (truth["status"] == Status.BORN)
    if (own["at"] >= 0).any():
        row["birth within 1"] = _mean(np.abs(own["at"] - truth["at"])[born] <= 1)
    artifact = recovered & (truth["artifact"] != "")
    called = np.isin(own["status"][artifact], [Status.BORN, Status.DIED])
    row["artifact not born or dead"] = _mean(~called)
    claims: pd.DataFrame = findings.attrs["claims"]
    false = (claims["cosine"] < 0.9).to_numpy() | (claims["truth"] == Status.SHARED).to_numpy()
    row["claims"] = len(claims)
    row["false discovery"] = float(false.mean()) if len(claims) else 0.0
    scaled = np.isin(truth["status"], [Status.AMPLIFIED, Status.SHRUNK]) & right & recovered
    sizes = np.linalg.norm(planted.decoders, axis=2)
    sizes = sizes / np.median(sizes, axis=1, keepdims=True)
    rows = np.flatnonzero(scaled)
    true = sizes[truth["at"][rows], rows] / sizes[truth["at"][rows] - 1, rows]
    row["sign right"] = _mean((own["ratio"][rows] > 1) == (true > 1))
    if len(rows):
        row["magnitude error"] = float(np.median(np.abs(np.log(own["ratio"][rows] / true))))
    return row


def _mean(hits: np.ndarray) -> float:
    """Share of hits; NaN of none."""
    return float(hits.mean()) if len(hits) else float("nan")


def nulls(*, seed: int) -> Iterator[dict[str, Any]]:
    """One row a crosscoder of checkpoints that do not differ, and its relabelings."""
    plan = replace(SMALL, d_model=32, n_features=64, n_tokens=40_000, shares=NO_EFFECT)
    for i in range(N_NULLS):
        planted = plant(plan, seed=seed + i)
        sums, _ = crosscoder_sums(planted, replace(SHORT, steps=500))
        rng = np.random.default_rng(seed + i)
        found = []
        for _ in range(N_RELABELINGS):
            order = rng.permutation(plan.n_checkpoints)
            table = statuses(sums.isel(checkpoint=order))
            found.append(int(np.isin(table["status"].to_numpy(), CLAIMS).sum()))
        own = statuses(sums)["status"].value_counts().to_dict()
        yield {
            "seed": seed + i,
            **own,
            "relabelings with a discovery": int(np.sum(np.array(found) > 0)),
            "relabelings": N_RELABELINGS,
        }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--preset", choices=[*PRESETS, "copula", "nulls"], default="small")
    parser.add_argument("--seed", type=int, default=101)
    parser.add_argument("--methods", default="", help="only these, by comma")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    if given.preset == "nulls":
        source: Iterator[dict[str, Any]] = nulls(seed=given.seed)
    else:
        only = [name for name in given.methods.split(",") if name]
        source = itertools.chain.from_iterable(
            compare(*condition, seed=given.seed, only=only)
            for condition in conditions(given.preset, seed=given.seed)
        )
    for row in source:
        rows.append(row)
        pd.DataFrame(rows).to_csv(given.out, index=False, float_format="%.4g")
        print(
            {key: round(v, 3) if isinstance(v, float) else v for key, v in row.items()}, flush=True
        )


if __name__ == "__main__":
    main()
