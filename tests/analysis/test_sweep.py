import numpy as np
import pandas as pd
import pytest

from persona_interp.analysis import sweep
from persona_interp.analysis.stats import t_interval
from persona_interp.errors import SchemaError


@pytest.fixture
def table() -> pd.DataFrame:
    """Eight prompts, two answers each: a push of s adds 2 s to the trait, s^2 to the surprisal."""
    rng, rows = np.random.default_rng(0), []
    for direction, control, effect in (("up", False, 1.0), ("random 0", True, 0.0)):
        for strength in (0.0, -1.0, 1.0):
            if control and not strength:
                continue
            for prompt in range(8):
                for sample in range(2):
                    noise = rng.normal(0, 0.1)
                    row = {"direction": direction, "control": control, "strength": strength}
                    row |= {"prompt": f"p{prompt}", "sample": sample, "answer": "so", "n_tokens": 3}
                    row["bits_per_token"] = prompt + effect * strength**2 + noise
                    for trait in ("dry", "warm"):
                        bits = 2 * effect * strength * (trait == "dry") + noise
                        rows.append({**row, "trait": trait, "trait_bits": bits})
    return pd.DataFrame(rows)


def test_planted_effects_are_found_and_nothing_else(table: pd.DataFrame) -> None:
    means = sweep(table).set_index(["direction", "quantity", "strength"])
    assert len(means) == 3 * 3 + 3 * 2
    up = means.loc["up"]
    for quantity, change in (("dry", [-2, 2]), ("warm", [0, 0]), ("bits_per_token", [1, 1])):
        rows = up.loc[quantity]
        assert rows["change"][[-1.0, 1.0]].tolist() == pytest.approx(change, abs=0.1)
        assert rows["change"][0.0] == 0 and np.isnan(rows["p"][0.0])
        found = rows["q"][[-1.0, 1.0]] < 0.05
        assert found.tolist() == [bool(c) for c in change]
        inside = rows["change_lo"] <= [0, change[0], change[1]]
        assert inside.all() or quantity == "warm"
    assert means.loc["random 0", "q"].isna().all()
    assert (means["n"] == 8).all() and (means["n_empty"] == 0).all()
    # paired: prompts differ by far more than the push does
    rows = up.loc["bits_per_token"]
    assert (rows["hi"] - rows["lo"]).min() > 3 > 0.5 > (rows["change_hi"] - rows["change_lo"]).max()


def test_intervals_are_those_of_prompts(table: pd.DataFrame) -> None:
    means = sweep(table)
    row = means[(means["direction"] == "up") & (means["quantity"] == "dry")].iloc[2]
    part = table[(table["direction"] == "up") & (table["trait"] == "dry")]
    by_prompt = part[part["strength"] == row["strength"]].groupby("prompt")["trait_bits"].mean()
    mean, lo, hi, n = t_interval(by_prompt)
    assert (row["estimate"], row["lo"], row["hi"], row["n"]) == pytest.approx((mean, lo, hi, n))


def test_empty_answers_are_counted_and_in_no_mean(table: pd.DataFrame) -> None:
    silent = (table["direction"] == "up") & (table["strength"] == 1) & (table["prompt"] != "p0")
    values = ["bits_per_token", "trait_bits"]
    table.loc[silent, values] = np.nan
    means = sweep(table).set_index(["direction", "quantity", "strength"]).loc["up"]
    row = means.loc["dry", 1.0]
    assert (row["n"], row["n_empty"]) == (1, 14) and np.isnan(row["lo"]) and np.isnan(row["p"])
    assert row["change"] == pytest.approx(2, abs=0.5)
    table.loc[(table["direction"] == "up") & (table["strength"] == 1), values] = np.nan
    row = sweep(table).set_index(["direction", "quantity", "strength"]).loc[("up", "dry", 1.0)]
    assert row["n"] == 0 and np.isnan(row["estimate"]) and np.isnan(row["change"])
    with pytest.raises(SchemaError, match="a sweep table lacks the columns"):
        sweep(table.drop(columns="strength"))
