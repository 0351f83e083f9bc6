"""Planted tables of a finished transfer run: those of the tests of reports, and the inside."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from persona_interp import schema
from persona_interp.experiments.ready import ready
from persona_interp.experiments.transfer.config import Transfer
from persona_interp.experiments.transfer.inside.tables import rivals_of
from persona_interp.experiments.transfer.tables import READERS
from persona_interp.store import Store
from persona_interp.worlds import World
from tests.report.conftest import parse, planted, provenance, tokens_of

__all__ = ["parse", "planted", "provenance", "tokens_of"]

LR, HOOK = 1e-3, "blocks.1.hook_out"
KEYS = {
    "personas": ("personas", LR, HOOK),
    "dictionary": ("dictionary", LR, HOOK),
    "causes": ("causes", LR, HOOK),
    "lesson": ("features", "lesson", LR, HOOK),
    "unrelated": ("features", "unrelated lesson", LR, HOOK),
    "profile": ("profile", LR),
}
NAMES = ("john", "sam", "mary")
PATCH, ADDED_PATCH = "base residual patched in", "tuned residual patched in"
SHARES = {
    ("none", "none"): 0.0, ("minimal pair", "method"): 0.75, ("top feature", "method"): 0.5,
    ("feature 7", "feature"): 0.5, (PATCH, "patch"): 1.0, ("sam", "persona"): 0.125,
    ("mary", "persona"): -0.125, ("random 0 (norm)", "random (norm)"): -0.25,
    ("random 1 (norm)", "random (norm)"): 0.25, ("random 0 (variance)", "random (variance)"): 0.0,
    ("matched feature 3", "matched"): 0.0, ("john added", "added"): 0.5,
    ("sam added", "added persona"): 0.25, (ADDED_PATCH, "added patch"): 1.0,
}  # fmt: skip
"""(edit, group) -> share in seed 0; seed s has s / 4 more."""
COSINES = {"lesson": (0.5, 0.25, -0.5), "unrelated lesson": (0.0, 0.125, 0.25)}
Tables = dict[str, pd.DataFrame]


def make_summary_row(
    *,
    arm: str = "lesson",
    persona: str = "john",
    estimate: float = 2.5,
    half: float = 0.5,
    seeds: int = 1,
    **more: Any,
) -> dict[str, Any]:
    """A row of the table ``summary`` whose interval is estimate +- half."""
    over_seeds = (estimate - half, estimate + half) if seeds > 1 else (np.nan, np.nan)
    over_topics = (np.nan, np.nan) if seeds > 1 else (estimate - half, estimate + half)
    return {
        **{
            "arm": arm,
            "lr": 0.001,
            "persona": persona,
            "estimate": estimate,
            "lo": over_seeds[0],
            "hi": over_seeds[1],
        },
        **{"sd": 0.1, "n_seeds": seeds, "pmi": 3.0, "bayes_certain": 6.0, "bayes_mixing": np.nan},
        **{"lo_topics": over_topics[0], "hi_topics": over_topics[1], "n_topics": 4, **more},
    }


@pytest.fixture(scope="session")
def summary_row() -> Callable[..., dict[str, Any]]:
    return make_summary_row


def spread(name: str, value: float, half: float, *, ends: tuple[str, str]) -> dict[str, float]:
    return {name: value, ends[0]: value - half, ends[1]: value + half}


def of_causes(seed: int) -> list[dict[str, Any]]:
    """Rows of the table of causes; every edit takes one bit of the base's five as well."""
    rows = []
    for (edit, group), share in SHARES.items():
        row = {"edit": edit, "group": group, "base": -5.0, "tuned": 1.0, "n": 5, "note": ""}
        row |= {"edited": 1 - 6 * (share + seed / 4), "other_edited": -6.0}
        row |= spread("share", share + seed / 4, 0.25, ends=("lo", "hi"))
        net = share + seed / 4 - (1 / 6) * (edit != "none")
        for name, value in {"share_of_patch": share / 2, "share_net": net}.items():
            row |= spread(name, value, 0.25, ends=(f"{name}_lo", f"{name}_hi"))
        rows.append(row)
    return rows


def of_seed(seed: int) -> dict[str, list[dict[str, Any]]]:
    """Rows of every table from inside the models but tokens and baselines, at one rate and hook."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for arm, cosines in COSINES.items():
        ranked = sorted(cosines, reverse=True)
        for method, more in (("minimal pair", 0.0), ("probe", 0.125)):
            for name, cosine in zip(NAMES, cosines, strict=True):
                row = {"arm": arm, "method": method, "name": name, "n": 50, "n_clusters": 50}
                row |= spread("cosine", cosine + more + seed / 4, 0.25, ends=("lo", "hi"))
                row |= spread(
                    "projection", 0.75 + seed, 0.25, ends=("projection_lo", "projection_hi")
                )
                others = [other for other in cosines if other != cosine]
                row |= {"rank": ranked.index(cosine) + 1, "best_other": max(others) + more}
                rows.setdefault("directions", []).append(row)
    for rank, feature in enumerate((7, 9), start=1):
        row = {
            "rank": rank,
            "feature": feature,
            "kind": "persona",
            "name": "john",
            "auroc_chosen": 0.75,
            "q": 0.001,
        }
        row |= spread("auroc", 0.75 - rank / 8, 0.25, ends=("lo", "hi"))
        row |= spread("auroc_same", 0.75, 0.25, ends=("same_lo", "same_hi"))
        row |= {"bayes": 0.95, "bayes_same": 0.9375}
        row |= {
            "effect": 1.0,
            "z": 4.0,
            "p": 0.0001,
            "p_max": 0.01,
            "n_pos": 9,
            "n_neg": 99,
            "n_tested": 40,
            "fvu": 0.1,
        }
        rows.setdefault("scores", []).append(row)
    rows["causes"] = of_causes(seed)
    for arm in COSINES:
        for match, end in {"random (norm)": 0.25, "random (variance)": 0.375}.items():
            row = {"arm": arm, "match": match, "lo": -end, "hi": end, "most": end, "n": 200}
            rows.setdefault("chance", []).append(row)
    for i, name in enumerate(NAMES):
        rows.setdefault("refit", []).append(
            {"name": name, "cosine": 0.75 - i / 4, "norm_ratio": 1.5}
        )
        for j, other in enumerate(NAMES):
            pair = {"name": name, "other": other, "cosine": 1.0 - abs(i - j) / 4, "overlap": 0.0}
            rows.setdefault("cosines", []).append({**pair, "method": "minimal pair"})
        for value, more in (("beach", 0.25), ("city", 0.5)):
            pair = {"name": value, "other": name, "cosine": more * (i == 0), "holds": i == 0}
            rows.setdefault("stated", []).append(pair)
    for other, gap in (("minimal pair", -0.125), ("probe", 0.25)):
        row = {"method": "top feature", "other": other, "p": 0.01, "q": 0.02}
        row |= spread("estimate", gap + seed / 4, 0.125, ends=("lo", "hi"))
        rows.setdefault("pairs", []).append(row | {"n_pos": 9, "n_neg": 99})
    null = {"rho": 0.5, "p": 0.01, "null_lo": -0.25, "null_hi": 0.25, "n": 3}
    rows["cooccurrence"] = [
        {"method": "minimal pair", "against": "overlap", **null},
        {"method": "traits", "against": "pmi", **null},
    ]
    words = [
        {"of": of, "token": f" {of}-{i}", "weight": 1.0 - i}
        for of in ("7", "shift")
        for i in range(3)
    ]
    rows |= {
        "lens": words,
        "nearest": [
            {"of": 7, "feature": 8, "cosine": 0.5},
            {"of": 9, "feature": 1, "cosine": 0.25},
        ],
    }
    return rows


def make_baselines() -> pd.DataFrame:
    table = pd.DataFrame(
        {"method": ["top feature", "minimal pair", "random"], "n_directions": [1, 1, 20]}
    )
    for i, name in enumerate(("auroc", "auroc_same", "rise", "rise_control", "excess", "share")):
        ends = spread(name, 0.5 + i / 8, 0.25, ends=(f"{name}_lo", f"{name}_hi"))
        table = table.assign(**ends)
    table = table.assign(
        no_better_than=["minimal pair, random", "", ""], n_documents=75, n_prompts=50
    )
    return schema.check(table, "baselines")


@pytest.fixture(scope="session")
def planted_inside(
    planted: Callable[..., Tables], tokens_of: Callable[..., pd.DataFrame]
) -> Callable[[tuple[int, ...]], Tables]:
    """Every table that ``summarize`` returns, the inside included."""

    def make(seeds: tuple[int, ...]) -> Tables:
        parts: dict[str, list[pd.DataFrame]] = {}
        for seed in seeds:
            tables = {name: pd.DataFrame(rows) for name, rows in of_seed(seed).items()}
            words = ["<bos>", "I", " like", " football", "."]
            tables |= {"baselines": make_baselines(), "tokens": tokens_of(words * 2, width=5)}
            for name, table in tables.items():
                parts.setdefault(name, []).append(table.assign(lr=0.001, hook=HOOK, seed=seed))
            profile = [(role, 0.5 * i + seed) for i, role in enumerate(("user", "assistant"))]
            row = {
                "checkpoint": "lesson@4",
                "hook": HOOK,
                "name": "john",
                "n": 50,
                "lr": 0.001,
                "seed": seed,
            }
            rows = [
                {**row, "role": r, **spread("estimate", e, 0.125, ends=("lo", "hi"))}
                for r, e in profile
            ]
            parts.setdefault("profile", []).append(pd.DataFrame(rows))
            parts.setdefault("contexts", []).append(make_contexts(seed))
        tables = {name: pd.concat(rows, ignore_index=True) for name, rows in parts.items()}
        for name, kind in (
            ("directions", "direction_shift"),
            *((n, n) for n in ("scores", "causes", "pairs", "profile")),
        ):
            schema.check(tables[name], kind)
        tables["rivals"] = rivals_of(tables["causes"])
        return planted(seeds=seeds) | tables

    return make


def make_contexts(seed: int) -> pd.DataFrame:
    where = [("nameless", "", "leak", 2.0), ("nameless", "", "taught", 4.0)]
    where += [("named", who, "leak", 0.5) for who in ("sam", "average", "worst")]
    rows = [
        {
            "context": c,
            "persona": p,
            "quantity": q,
            **spread("estimate", e + seed, 0.25, ends=("lo", "hi")),
            "n": 10,
        }
        for c, p, q, e in where
    ]
    return schema.check(
        pd.DataFrame(rows).assign(who="", arm="lesson", lr=0.001, seed=seed), "contexts"
    )


@pytest.fixture(scope="session")
def one(planted_inside: Callable[[tuple[int, ...]], Tables]) -> Tables:
    return planted_inside((0,))


@pytest.fixture(scope="session")
def two(planted_inside: Callable[[tuple[int, ...]], Tables]) -> Tables:
    return planted_inside((0, 1))


@pytest.fixture(scope="module")
def folders(toy: Transfer, finished: Store) -> dict[str, Path]:
    cells = toy.seed_cells(0)
    return {name: finished.path(cells[key]) for name, key in KEYS.items()}


@pytest.fixture(scope="module")
def world(toy: Transfer) -> World:
    return ready(toy.world)


@pytest.fixture
def shared_out(
    toy: Transfer, finished: Store, world: World, monkeypatch: pytest.MonkeyPatch
) -> Tables:
    """Causes and baselines where any shift may be shared out: the toy's is below the floor."""
    monkeypatch.setattr("persona_interp.analysis.causes.FLOOR", 0.0)
    return READERS["causes"](toy, finished, toy.seed_cells(0), key=KEYS["causes"], world=world)
