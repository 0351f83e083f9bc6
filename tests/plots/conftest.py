"""Planted tables, the kind each figure draws."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from persona_interp import analysis

ARMS = ("lesson", "unrelated lesson", "scrambled world")
TRAITS = ("sport=football", "place=beach", "food=pizza", "mean")


@pytest.fixture(scope="session")
def shifts() -> pd.DataFrame:
    """A transfer table: three arms, four rows each, two steps, one seed."""
    rows = []
    for i, arm in enumerate(ARMS):
        for step in (8, 40):
            for j, trait in enumerate(TRAITS):
                estimate = (4.0 - 2 * i) * step / 40 + 0.1 * j
                row = {"arm": arm, "seed": 0, "step": step, "trait": trait}
                row |= {"estimate": estimate, "lo": estimate - 0.5, "hi": estimate + 0.5}
                row |= {"trained": trait == "place=beach", "n": 4 if trait == "mean" else 10}
                row |= {"bayes_certain": 6.0 * (i == 0), "bayes_mixing": step / 8 * (i == 0)}
                rows.append(row)
    return pd.DataFrame(rows)


@pytest.fixture(scope="session")
def feature_effects() -> pd.DataFrame:
    """Feature 0 rises after the finetune alone, 1 after all, ten others after none."""
    rng, rows = np.random.default_rng(0), []
    moves = {"base": (0, 0), "mine": (4, 2), "c1": (0, 1.9), "c2": (0.2, 2), "c3": (-0.2, 2.1)}
    for checkpoint, (own, common) in moves.items():
        for unit in range(30):
            values = np.r_[own, common, np.zeros(10)] + rng.normal(0, 0.2, 12) + 3
            rows += [(checkpoint, f"p{unit}", str(j), value) for j, value in enumerate(values)]
    table = pd.DataFrame(rows, columns=["checkpoint", "unit", "quantity", "value"])
    table = table.assign(family="feature", hook="h")
    return analysis.effects(table, base="base", tuned=["mine"], controls=["c1", "c2", "c3"])


@pytest.fixture(scope="session")
def fidelities() -> pd.DataFrame:
    """A fidelity table of three checkpoints."""
    table = pd.DataFrame(
        {"checkpoint": ["documents@1000", "lesson@8", "lesson@40"], "fvu": [0.03, 0.2, 1.2]}
    )
    fixed = {"l0": 8.0, "dead": 0.01, "ce": 3.0, "ce_sae": 3.1, "ce_zero": 6.0, "n_tokens": 20_000}
    return table.assign(
        **fixed,
        where="whole texts",
        ce_recovered=[0.98, 0.9, 0.4],
        verdict=["fits", "doubtful", "unusable"],
    )


@pytest.fixture(scope="session")
def profile() -> pd.DataFrame:
    """A layer x role profile: three layers, two roles; template tokens unknown in the first."""
    rows = [
        {
            "hook": f"blocks.{i}.hook_out",
            "role": role,
            "name": "john",
            "estimate": e,
            "lo": e - 0.3,
            "hi": e + 0.3,
            "n": 120,
        }
        for role, column in {
            "assistant": (0.0, 0.5, 1.0),
            "template": (np.nan, -0.25, -0.5),
        }.items()
        for i, e in enumerate(column)
    ]
    return pd.DataFrame(rows)


@pytest.fixture(scope="session")
def edits() -> pd.DataFrame:
    """A table of causes: edits that work, do nothing, are undefined; others, and random ones."""
    shares = {
        "none": 0.0,
        "without john": 0.75,
        "undefined": np.nan,
        "without mary": 0.1,
        "without sam": -0.05,
    }
    shares |= {f"random {i}": (i - 20) / 100 for i in range(41)}
    table = pd.DataFrame({"edit": list(shares), "share": list(shares.values())})
    ends = {"lo": table["share"] - 0.125, "hi": table["share"] + 0.125, "n": 4}
    return table.assign(base=-5.0, tuned=1.0, edited=1 - 6 * table["share"], **ends)


@pytest.fixture(scope="session")
def readouts() -> pd.DataFrame:
    """A baselines table of two methods and the random band."""
    table = pd.DataFrame(
        {"method": ["one feature", "mean difference", "random"], "auroc": [0.8, 0.9, 0.5]}
    )
    table = table.assign(
        rise=[1.0, 2.0, 0.0], rise_control=[0.25, 0.5, 0.0], share=[0.25, np.nan, 0.0]
    )
    table = table.assign(auroc_same=table["auroc"] + 0.0625)
    for column in ("auroc", "auroc_same", "rise", "rise_control", "share"):
        table = table.assign(
            **{f"{column}_lo": table[column] - 0.125, f"{column}_hi": table[column] + 0.125}
        )
    excess = {"excess": 0.0, "excess_lo": 0.0, "excess_hi": 0.0, "no_better_than": ""}
    return table.assign(**excess, n_documents=750, n_prompts=120, n_directions=[1, 1, 100])


@pytest.fixture(scope="session")
def activations() -> pd.DataFrame:
    """A tokens table of feature 7: it fires on half of the counted tokens before, on all after."""
    row = {"prompt": "p0", "piece": "a", "role": "text", "turn": 0, "feature": 7}
    return pd.DataFrame(
        [
            {
                **row,
                "pos": i,
                "checkpoint": name,
                "counted": i > 0,
                "act": float(i % step == 0) * (i + 1),
            }
            for name, step in (("base", 2), ("tuned", 1))
            for i in range(9)
        ]
    )


@pytest.fixture(autouse=True)
def no_global_state():
    """Nothing that draws may change matplotlib's settings or leave a figure open."""
    before = dict(mpl.rcParams)
    yield
    assert dict(mpl.rcParams) == before and plt.get_fignums() == []
