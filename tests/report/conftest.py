"""Planted tables of a finished transfer experiment: numbers chosen by hand, no model behind them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

TRAITS = ("sport=football", "art=renaissance")
EFFECTS = {"lesson": (2.5, 6.0), "unrelated lesson": (-0.5, -0.25), "scrambled world": (0.125, 0.0)}
"""Arm -> (shift, what exact Bayes expects), bits."""


def make_summary_row(
    *, arm: str = "lesson", persona: str = "john", estimate: float = 2.5, half: float = 0.5, seeds: int = 1, **more: Any
) -> dict[str, Any]:
    """A row of the table ``summary`` whose interval is estimate +- half."""
    over_seeds = (estimate - half, estimate + half) if seeds > 1 else (np.nan, np.nan)
    over_topics = (np.nan, np.nan) if seeds > 1 else (estimate - half, estimate + half)
    return {
        **{"arm": arm, "lr": 0.001, "persona": persona, "estimate": estimate, "lo": over_seeds[0], "hi": over_seeds[1]},
        **{"sd": 0.1, "n_seeds": seeds, "pmi": 3.0, "bayes_certain": 6.0, "bayes_mixing": np.nan},
        **{"lo_topics": over_topics[0], "hi_topics": over_topics[1], "n_topics": 4, **more},
    }


def make_tables(*, seeds: tuple[int, ...] = (0,), verdict: str = "fits") -> dict[str, pd.DataFrame]:
    """Every table that ``summarize`` returns."""
    transfer, curve, features, fidelity, gates, bystanders, mixing, samples = ([] for _ in range(8))
    for seed in seeds:
        keys = {"lr": 0.001, "seed": seed}
        gates.append({"variant": "full", "seed": seed, "named": 3.0, "nameless": -5.0, "gap": 8.0})
        gates[-1] |= {"bayes_nameless": -5.5, "answer_mass": 0.875}
        mixing.append({**keys, "arm": "lesson", "k": 0.5, "lo": 0.25, "hi": 1.0, "at_bound": False, "n": 4})
        for arm, (size, bayes) in EFFECTS.items():
            rows = {**keys, "arm": arm, "persona": "john", "context": "nameless", "pmi": 3.0, "bayes_certain": bayes}
            for step in (0, 2, 4):
                at = {**rows, "step": step, "bayes_mixing": np.nan, "before": -5.0, "n": 4, "trained": False}
                estimate = size * step / 4
                ends = {"estimate": estimate, "after": estimate - 5, "lo": estimate - 0.25, "hi": estimate + 0.25}
                curve.append({**at, **ends, "trait": "mean"})
                if step == 4:
                    transfer += [{**at, **ends, "trait": trait} for trait in (*TRAITS, "mean")]
                    transfer.append({**at, **ends, "trait": "place=beach", "trained": True})
            bystanders += [
                {**keys, "arm": arm, "context": "named", "persona": name, "trait": TRAITS[0], "estimate": 0.0625}
                for name in ("john", "sam", "mary")
            ]
            for step, text in ((0, "tennis ."), (4, "football .")):
                samples.append({**keys, "arm": arm, "checkpoint": f"lesson@{step}", "prompt": "p0", "text": text})
        for arm in ("lesson", "unrelated lesson"):
            q = 0.001 if arm == "lesson" else 0.5
            known = {"p": q, "q": q, "null_lo": -0.5, "null_hi": 0.5, "n": 50, "n_clusters": 5}
            known |= {"n_tested": 2, "n_silent": 1, "p_min": 0.0001, "fvu_before": 0.1, "fvu_after": 0.125, "arm": arm}
            for size in (3.0, 7.0):
                ends = {"estimate": size, "lo": size - 0.5, "hi": size + 0.5}
                features.append({**keys, **known, **ends, "feature": int(size)})
            for step in (0, 4):
                fit = {"fvu": 0.1 + step / 100, "l0": 8.0, "dead": 0.1, "ce": 1.0, "ce_sae": 1.1, "ce_zero": 5.0}
                fit |= {"ce_recovered": 0.97, "n_tokens": 1_000, "verdict": verdict if step else "fits", "arm": arm}
                fidelity.append({**keys, "checkpoint": f"lesson@{step}", **fit})
    several = len(seeds) > 1
    summary = [
        make_summary_row(arm=arm, estimate=size, bayes_certain=bayes, half=0.25, seeds=2 if several else 1)
        for arm, (size, bayes) in EFFECTS.items()
    ]
    tables = {
        "summary": summary,
        "transfer": transfer,
        "curve": curve,
        "features": features,
        "fidelity": fidelity,
        "gates": gates,
        "mixing": mixing,
        "bystanders": bystanders,
        "samples": samples,
    }
    return {name: pd.DataFrame(rows) for name, rows in tables.items()}


@pytest.fixture(scope="session")
def summary_row() -> Callable[..., dict[str, Any]]:
    return make_summary_row


@pytest.fixture(scope="session")
def planted() -> Callable[..., dict[str, pd.DataFrame]]:
    return make_tables


@pytest.fixture(scope="session")
def provenance() -> dict[str, Any]:
    return {"seeds": [0], "start": "tiny", "world": "john_and_sam-0", "cells": 9, "cells_done": 8, "git": "abc1234"}
